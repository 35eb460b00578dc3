//! Deployment -> ReplicaSet -> Pod, storage and budgets: what the controller manager does, one look at a time.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::admission::refusal;
use super::resources::{Resource, named};
use super::scheduler::{schedule, selects};
use super::stateful_sets::stateful_set;
use super::store::{Key, Store, now, suffix};
use crate::digest::Digest;

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The controllers, with what they keep in memory.
#[derive(Debug, Default)]
pub(super) struct Controllers {
    /// How each Deployment's rollout gets on, by uid.
    rollouts: HashMap<String, Rollout>,
}

#[derive(Debug, Default)]
struct Rollout {
    /// What moved last, and when, in milliseconds.
    progress: String,
    since: i64,
    /// The last revision that was rolled out completely.
    completed: u64,
}

impl Controllers {
    /// Lets every controller look once.
    pub(super) fn reconcile(&mut self, store: &mut Store) {
        collect_garbage(store);
        let keys = |store: &Store, plural| {
            store
                .list(plural, None)
                .map(|(key, _)| key.clone())
                .collect::<Vec<_>>()
        };
        for key in keys(store, "deployments") {
            deployment(store, &key, &mut self.rollouts);
        }
        for key in keys(store, "replicasets") {
            replica_set(store, &key);
        }
        for key in keys(store, "statefulsets") {
            stateful_set(store, &key);
        }
        for key in keys(store, "persistentvolumeclaims") {
            claim(store, &key);
        }
        for key in keys(store, "pods") {
            schedule(store, &key);
        }
        for key in keys(store, "poddisruptionbudgets") {
            disruption_budget(store, &key);
        }
        for key in keys(store, "resourcequotas") {
            resource_quota(store, &key);
        }
    }
}

pub(super) fn number(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

fn uid(object: &Value) -> Value {
    object.pointer("/metadata/uid").cloned().unwrap_or_default()
}

pub(super) fn owned_by(object: &Value, owner: &Value) -> bool {
    let uid = &object["metadata"]["ownerReferences"][0]["uid"];
    !uid.is_null() && *uid == owner["metadata"]["uid"]
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|list| {
        list.iter().any(|c| {
            c.get("type") == Some(&"Ready".into()) && c.get("status") == Some(&"True".into())
        })
    })
}

pub(super) fn is_active(pod: &Value) -> bool {
    let phase = pod
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or_default();
    pod.pointer("/metadata/deletionTimestamp").is_none() && !matches!(phase, "Failed" | "Succeeded")
}

/// Deletes what belongs to an object that is gone.
fn collect_garbage(store: &mut Store) {
    let owned: [(_, &[_]); 2] = [
        ("replicasets", &["deployments"]),
        ("pods", &["replicasets", "statefulsets"]),
    ];
    for (plural, of) in owned {
        let owners = of.iter().flat_map(|of| store.list(of, None));
        let owners: Vec<Value> = owners.map(|(_, owner)| uid(owner)).collect();
        let orphan = |object: &Value| {
            object
                .pointer("/metadata/ownerReferences/0/uid")
                .is_some_and(|uid| !owners.contains(uid))
        };
        let orphans: Vec<Key> = store
            .list(plural, None)
            .filter(|(_, object)| orphan(object))
            .map(|(key, _)| key.clone())
            .collect();
        for key in orphans {
            delete(store, &key);
        }
    }
}

/// Deletes an object; a pod that runs is only marked, and ends when the kubelet says so.
pub(super) fn delete(store: &mut Store, key: &Key) {
    let Some(object) = store.get(key) else { return };
    if key.plural == "pods" && object.pointer("/spec/nodeName").is_some() {
        if object.pointer("/metadata/deletionTimestamp").is_none() {
            let mut object = object.clone();
            object["metadata"]["deletionTimestamp"] = now();
            object["metadata"]["deletionGracePeriodSeconds"] = 30.into();
            store.put(key.clone(), object);
        }
    } else {
        store.remove(key);
    }
}

pub(super) fn create(
    store: &mut Store,
    resource: &'static Resource,
    namespace: &str,
    mut object: Value,
) {
    object["metadata"]["namespace"] = namespace.into();
    store.stamp_new(resource, &mut object);
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    store.put(Key::new(resource.plural, namespace, &name), object);
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(HASH);
    }
    template
}

/// `25%` or a number of `replicas`, rounded up or down.
fn share(value: Option<&Value>, replicas: u64, up: bool) -> u64 {
    let percent = value
        .and_then(Value::as_str)
        .and_then(|text| text.strip_suffix('%')?.parse::<u64>().ok());
    match (percent, value.and_then(Value::as_u64)) {
        (Some(percent), _) if up => (replicas * percent).div_ceil(100),
        (Some(percent), _) => replicas * percent / 100,
        (None, Some(count)) => count,
        (None, None) => 0,
    }
}

fn set_replicas(store: &mut Store, key: &Key, replicas: u64) {
    if let Some(mut set) = store.get(key).cloned() {
        set["spec"]["replicas"] = replicas.into();
        store.put(key.clone(), set);
    }
}

fn deployment(store: &mut Store, key: &Key, rollouts: &mut HashMap<String, Rollout>) {
    let Some(object) = store.get(key).cloned() else {
        return;
    };
    let template = object
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    let sets: Vec<(Key, Value)> = store
        .list("replicasets", Some(&key.namespace))
        .filter(|(_, set)| owned_by(set, &object))
        .map(|(key, set)| (key.clone(), set.clone()))
        .collect();
    let revision_of = |set: &Value| {
        set.pointer("/metadata/annotations")
            .and_then(|a| a.get(REVISION)?.as_str()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let latest = sets
        .iter()
        .map(|(_, set)| revision_of(set))
        .max()
        .unwrap_or(0);
    let current = sets
        .iter()
        .find(|(_, set)| set.pointer("/spec/template").map(without_hash) == Some(template.clone()));
    let Some((new_key, new)) = current else {
        return new_replica_set(store, key, &object, &template, latest + 1);
    };
    let mut annotated = new.clone();
    if revision_of(new) < latest {
        annotated["metadata"]["annotations"][REVISION] = (latest + 1).to_string().into();
    }
    for (name, value) in handed_down(&object) {
        annotated["metadata"]["annotations"][name] = value;
    }
    if annotated != *new {
        store.put(new_key.clone(), annotated);
        return;
    }
    roll(store, &object, new_key, new, &sets);
    let rollout = rollouts
        .entry(uid(&object).as_str().unwrap_or_default().to_owned())
        .or_default();
    write_status(store, key, object, &sets, (new, latest), rollout);
}

fn new_replica_set(store: &mut Store, key: &Key, object: &Value, template: &Value, revision: u64) {
    let Some(resource) = named("replicasets") else {
        return;
    };
    let digest = Digest::of_bytes(template.to_string().as_bytes()).to_string();
    let number = digest
        .get(7..23)
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .unwrap_or(revision);
    let hash = suffix(number, 10);
    let mut template = template.clone();
    template["metadata"]["labels"][HASH] = hash.clone().into();
    let mut selector = object
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or_default();
    selector["matchLabels"][HASH] = hash.clone().into();
    let mut annotations: Map<String, Value> = handed_down(object).collect();
    annotations.insert(REVISION.into(), revision.to_string().into());
    let set = json!({
        "metadata": {
            "name": format!("{}-{hash}", key.name),
            "labels": template.pointer("/metadata/labels"),
            "annotations": annotations,
            "ownerReferences": [owner_reference(object)],
        },
        "spec": { "replicas": 0, "selector": selector, "template": template },
        "status": { "replicas": 0 },
    });
    create(store, resource, &key.namespace, set);
}

/// The annotations of a Deployment that its current ReplicaSet gets too.
fn handed_down(deployment: &Value) -> impl Iterator<Item = (String, Value)> {
    let annotations = deployment
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let own = |key: &str| {
        key.starts_with("deployment.kubernetes.io/")
            || key == "kubectl.kubernetes.io/last-applied-configuration"
    };
    let all = annotations.cloned().unwrap_or_default().into_iter();
    all.filter(move |(key, _)| !own(key))
}

pub(super) fn owner_reference(owner: &Value) -> Value {
    json!({ "apiVersion": owner.get("apiVersion"), "kind": owner.get("kind"), "name": owner.pointer("/metadata/name"),
            "uid": uid(owner), "controller": true, "blockOwnerDeletion": true })
}

/// One step of a rolling update, by the rules of the Deployment controller.
fn roll(store: &mut Store, object: &Value, new_key: &Key, new: &Value, sets: &[(Key, Value)]) {
    let wanted = number(object, "/spec/replicas");
    let surge = share(
        object.pointer("/spec/strategy/rollingUpdate/maxSurge"),
        wanted,
        true,
    );
    let unavailable = share(
        object.pointer("/spec/strategy/rollingUpdate/maxUnavailable"),
        wanted,
        false,
    );
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    let asked = |set: &Value| number(set, "/spec/replicas");
    let available = |set: &Value| number(set, "/status/availableReplicas");
    let total: u64 = sets.iter().map(|(_, set)| asked(set)).sum();
    let mine = asked(new);
    if mine > wanted {
        set_replicas(store, new_key, wanted);
        return;
    }
    if mine < wanted && total < wanted + surge {
        set_replicas(
            store,
            new_key,
            mine + (wanted - mine).min(wanted + surge - total),
        );
        return;
    }
    let old: Vec<&(Key, Value)> = sets
        .iter()
        .filter(|(key, set)| key != new_key && asked(set) > 0)
        .collect();
    let least = wanted.saturating_sub(unavailable);
    // Old pods that don't work may go as soon as the new ones don't need their place.
    let mut may_go = total
        .saturating_sub(least)
        .saturating_sub(mine.saturating_sub(available(new)));
    for (key, set) in &old {
        let broken = asked(set).saturating_sub(available(set)).min(may_go);
        if broken > 0 {
            set_replicas(store, key, asked(set) - broken);
            may_go -= broken;
        }
    }
    let all_available: u64 = sets.iter().map(|(_, set)| available(set)).sum();
    let mut spare = all_available.saturating_sub(least);
    for (key, _) in &old {
        let asked = store
            .get(key)
            .map_or(0, |set| number(set, "/spec/replicas"));
        let go = asked.min(spare);
        if go > 0 {
            set_replicas(store, key, asked - go);
            spare -= go;
        }
    }
}

fn write_status(
    store: &mut Store,
    key: &Key,
    mut object: Value,
    sets: &[(Key, Value)],
    (new, revision): (&Value, u64),
    rollout: &mut Rollout,
) {
    let sum = |path: &str| -> u64 { sets.iter().map(|(_, set)| number(set, path)).sum() };
    let wanted = number(&object, "/spec/replicas");
    let (replicas, ready, available) = (
        sum("/status/replicas"),
        sum("/status/readyReplicas"),
        sum("/status/availableReplicas"),
    );
    let updated = number(new, "/status/replicas");
    let unavailable = share(
        object.pointer("/spec/strategy/rollingUpdate/maxUnavailable"),
        wanted,
        false,
    );
    let complete = updated == wanted && replicas == wanted && available == wanted;
    let old_conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let before = |kind: &str| {
        old_conditions
            .iter()
            .find(|condition| condition.get("type") == Some(&kind.into()))
            .cloned()
            .unwrap_or_default()
    };
    let progress = json!({ "revision": revision, "updated": updated, "available": available, "replicas": replicas }).to_string();
    let observed = |kind: &str, status: &str, reason: &str, message: &str| {
        let before = before(kind);
        let same = before.get("status") == Some(&status.into());
        let since = before
            .get("lastTransitionTime")
            .filter(|_| same)
            .cloned()
            .unwrap_or_else(now);
        json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since, "lastUpdateTime": since })
    };
    let enough = available >= wanted.saturating_sub(unavailable);
    let mut conditions = vec![if enough {
        observed(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        observed(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    }];
    if rollout.progress != progress {
        (rollout.progress, rollout.since) = (progress, millis());
    }
    if complete {
        rollout.completed = revision;
    }
    let deadline = object
        .pointer("/spec/progressDeadlineSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(600)
        * 1000;
    let name = new
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    conditions.push(if rollout.completed == revision {
        observed(
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            &format!("ReplicaSet \"{name}\" has successfully progressed."),
        )
    } else if millis().saturating_sub(rollout.since) >= deadline {
        observed(
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
            &format!("ReplicaSet \"{name}\" has timed out progressing."),
        )
    } else {
        observed(
            "Progressing",
            "True",
            "ReplicaSetUpdated",
            &format!("ReplicaSet \"{name}\" is progressing."),
        )
    });
    conditions.extend(new.pointer("/status/conditions/0").cloned());
    object["status"] = json!({
        "observedGeneration": number(&object, "/metadata/generation"), "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready,
        "availableReplicas": available, "unavailableReplicas": wanted.saturating_sub(available), "conditions": conditions,
    });
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][REVISION] = revision.to_string().into();
    store.put(key.clone(), object);
}

fn millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn replica_set(store: &mut Store, key: &Key) {
    let Some(mut set) = store.get(key).cloned() else {
        return;
    };
    let mut pods: Vec<(Key, Value)> = store
        .list("pods", Some(&key.namespace))
        .filter(|(_, pod)| owned_by(pod, &set) && is_active(pod))
        .map(|(key, pod)| (key.clone(), pod.clone()))
        .collect();
    let wanted = usize::try_from(number(&set, "/spec/replicas")).unwrap_or(0);
    let mut refused = None;
    for _ in pods.len()..wanted {
        let unique = store.unique();
        let Some(resource) = named("pods") else {
            return;
        };
        let template = set.pointer("/spec/template").cloned().unwrap_or_default();
        let pod = json!({
            "metadata": {
                "name": format!("{}-{}", key.name, suffix(unique, 5)),
                "labels": template.pointer("/metadata/labels"),
                "annotations": template.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({})),
                "ownerReferences": [owner_reference(&set)],
            },
            "spec": template.get("spec"),
            "status": { "phase": "Pending" },
        });
        refused = refusal(store, &key.namespace, &pod);
        if refused.is_some() {
            break;
        }
        create(store, resource, &key.namespace, pod);
    }
    // Those that don't work go first.
    pods.sort_by_key(|(_, pod)| is_ready(pod));
    for (key, _) in pods.iter().take(pods.len().saturating_sub(wanted)) {
        delete(store, key);
    }
    let mine: Vec<&Value> = store
        .list("pods", Some(&key.namespace))
        .map(|(_, pod)| pod)
        .filter(|pod| owned_by(pod, &set) && is_active(pod))
        .collect();
    let (count, ready) = (mine.len(), mine.iter().filter(|pod| is_ready(pod)).count());
    set["status"] = json!({ "replicas": count, "fullyLabeledReplicas": count, "readyReplicas": ready, "availableReplicas": ready,
                            "observedGeneration": number(&set, "/metadata/generation") });
    if let Some(message) = refused {
        let condition = json!({ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message });
        set["status"]["conditions"] = json!([condition]);
    }
    store.put(key.clone(), set);
}

/// A claim gets the first volume of its class that nobody has; one whose volume is gone is lost.
fn claim(store: &mut Store, key: &Key) {
    let Some(mut claim) = store.get(key).cloned() else {
        return;
    };
    let volume = claim.pointer("/spec/volumeName").and_then(Value::as_str);
    let bound = claim.pointer("/metadata/annotations/pv.kubernetes.io~1bind-completed");
    if let (Some(volume), Some(_)) = (volume, bound)
        && store
            .get(&Key::new("persistentvolumes", "", volume))
            .is_none()
    {
        claim["status"] = json!({ "phase": "Lost" });
        store.put(key.clone(), claim);
        return;
    }
    if claim.pointer("/status/phase") == Some(&"Bound".into()) {
        return;
    }
    let class = claim.pointer("/spec/storageClassName").cloned();
    let free = store.list("persistentvolumes", None).find(|(_, volume)| {
        volume.pointer("/spec/claimRef").is_none()
            && volume.pointer("/spec/storageClassName").cloned() == class
    });
    let Some((volume_key, mut volume)) = free.map(|(key, volume)| (key.clone(), volume.clone()))
    else {
        if claim.pointer("/status/phase").is_none() {
            claim["status"] = json!({ "phase": "Pending" });
            store.put(key.clone(), claim);
        }
        return;
    };
    volume["spec"]["claimRef"] = json!({ "kind": "PersistentVolumeClaim", "namespace": key.namespace, "name": key.name, "uid": uid(&claim) });
    volume["status"] = json!({ "phase": "Bound" });
    claim["spec"]["volumeName"] = volume_key.name.clone().into();
    claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes".into();
    claim["status"] = json!({ "phase": "Bound" });
    store.put(volume_key, volume);
    store.put(key.clone(), claim);
}

/// How much of a quota is used; only pods are counted.
fn resource_quota(store: &mut Store, key: &Key) {
    let pods = store.list("pods", Some(&key.namespace));
    let used = pods.filter(|(_, pod)| is_active(pod)).count();
    let Some(mut quota) = store.get(key).cloned() else {
        return;
    };
    let Some(hard) = quota.pointer("/spec/hard").cloned() else {
        return;
    };
    let used = hard
        .get("pods")
        .map(|_| json!({ "pods": used.to_string() }));
    let status = json!({ "hard": hard, "used": used.unwrap_or_default() });
    if quota.get("status") != Some(&status) {
        quota["status"] = status;
        store.put(key.clone(), quota);
    }
}

/// How many pods a budget lets go.
fn disruption_budget(store: &mut Store, key: &Key) {
    let Some(mut budget) = store.get(key).cloned() else {
        return;
    };
    let pods = store.list("pods", Some(&key.namespace)).map(|(_, pod)| pod);
    let selector = budget.pointer("/spec/selector");
    let mine: Vec<&Value> = pods
        .filter(|pod| is_active(pod) && selects(selector, pod))
        .collect();
    let expected = u64::try_from(mine.len()).unwrap_or(0);
    let healthy = mine.iter().filter(|pod| is_ready(pod)).count();
    let healthy = u64::try_from(healthy).unwrap_or(0);
    let desired = match budget.pointer("/spec/maxUnavailable") {
        Some(most) if !most.is_null() => expected.saturating_sub(share(Some(most), expected, true)),
        _ => share(budget.pointer("/spec/minAvailable"), expected, true),
    };
    budget["status"] = json!({
        "expectedPods": expected, "currentHealthy": healthy, "desiredHealthy": desired,
        "disruptionsAllowed": healthy.saturating_sub(desired), "observedGeneration": number(&budget, "/metadata/generation"),
    });
    store.put(key.clone(), budget);
}
