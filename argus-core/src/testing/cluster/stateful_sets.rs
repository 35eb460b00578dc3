//! StatefulSet -> Pod: copies with a number, made and replaced one after another.

use serde_json::{Value, json};

use super::admission::refusal;
use super::controllers::{create, delete, is_active, is_ready, number, owned_by, owner_reference};
use super::resources::named;
use super::store::{Key, Store};
use crate::digest::Digest;

const REVISION: &str = "controller-revision-hash";

pub(super) fn stateful_set(store: &mut Store, key: &Key) {
    let Some(mut set) = store.get(key).cloned() else {
        return;
    };
    let wanted = number(&set, "/spec/replicas");
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let digest = Digest::of_bytes(template.to_string().as_bytes()).to_string();
    let hash = digest.get(7..17).unwrap_or_default();
    let revision = format!("{}-{hash}", key.name);
    let in_order = set.pointer("/spec/podManagementPolicy") != Some(&"Parallel".into());
    look_after(store, key, &set, wanted, &revision, in_order);
    let pods = |store: &Store| -> Vec<(u64, Value)> {
        let all = store.list("pods", Some(&key.namespace));
        let mine = all.filter(|(_, pod)| owned_by(pod, &set) && is_active(pod));
        mine.filter_map(|(pod_key, pod)| Some((ordinal(key, pod_key)?, pod.clone())))
            .collect()
    };
    let mine = pods(store);
    let count = |of: &dyn Fn(&Value) -> bool| mine.iter().filter(|(_, pod)| of(pod)).count();
    let is_new = |pod: &Value| revision_of(pod) == Some(&revision);
    let (all, ready) = (count(&|_| true), count(&is_ready));
    let updated = count(&is_new);
    let current = match set
        .pointer("/status/currentRevision")
        .and_then(Value::as_str)
    {
        Some(current) if updated < all || ready < all => current.to_owned(),
        _ => revision.clone(),
    };
    set["status"] = json!({
        "observedGeneration": number(&set, "/metadata/generation"), "replicas": all, "readyReplicas": ready, "availableReplicas": ready,
        "updatedReplicas": updated, "currentReplicas": count(&|pod| revision_of(pod) == Some(&current)),
        "currentRevision": current, "updateRevision": revision, "collisionCount": 0,
    });
    store.put(key.clone(), set);
}

/// Makes, replaces or removes a copy; in order, nothing is done while a copy before it doesn't work.
fn look_after(
    store: &mut Store,
    key: &Key,
    set: &Value,
    wanted: u64,
    revision: &str,
    in_order: bool,
) {
    let of = |number: u64| Key::new("pods", &key.namespace, &format!("{}-{number}", key.name));
    for number in 0..wanted {
        let pod_key = of(number);
        let works = match store.get(&pod_key) {
            None => {
                make(store, key, set, number, revision);
                false
            }
            Some(pod) if !is_active(pod) => {
                delete(store, &pod_key);
                false
            }
            Some(pod) => is_ready(pod),
        };
        if !works && in_order {
            return;
        }
    }
    let all = store.list("pods", Some(&key.namespace));
    let mine = all.filter(|(_, pod)| owned_by(pod, set));
    let last = mine.filter_map(|(pod_key, _)| ordinal(key, pod_key)).max();
    if let Some(last) = last.filter(|last| *last >= wanted) {
        delete(store, &of(last));
        return;
    }
    for number in (0..wanted).rev() {
        let pod_key = of(number);
        let Some(pod) = store.get(&pod_key) else {
            return;
        };
        if revision_of(pod) != Some(revision) {
            delete(store, &pod_key);
            return;
        }
        if !is_ready(pod) {
            return;
        }
    }
}

fn make(store: &mut Store, key: &Key, set: &Value, number: u64, revision: &str) {
    let Some(resource) = named("pods") else {
        return;
    };
    let name = format!("{}-{number}", key.name);
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let of = |path: &str| template.pointer(path).cloned().unwrap_or_else(|| json!({}));
    let mut labels = of("/metadata/labels");
    labels[REVISION] = revision.into();
    labels["statefulset.kubernetes.io/pod-name"] = name.clone().into();
    let mut spec = of("/spec");
    spec["hostname"] = name.clone().into();
    let pod = json!({
        "metadata": { "name": name, "labels": labels, "annotations": of("/metadata/annotations"), "ownerReferences": [owner_reference(set)] },
        "spec": spec,
        "status": { "phase": "Pending" },
    });
    if refusal(store, &key.namespace, &pod).is_none() {
        create(store, resource, &key.namespace, pod);
    }
}

fn ordinal(set: &Key, pod: &Key) -> Option<u64> {
    let number = pod.name.strip_prefix(&set.name)?.strip_prefix('-')?;
    number.parse().ok()
}

fn revision_of(pod: &Value) -> Option<&str> {
    pod.pointer("/metadata/labels")?.get(REVISION)?.as_str()
}
