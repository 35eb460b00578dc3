//! The scheduler: a pod becomes bound to a node, or learns why none takes it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::controllers::is_active;
use super::store::{Key, Store, now};
use crate::action::Quantity;

/// Binds a pod to the first node that has room for what it requests.
pub(super) fn schedule(store: &mut Store, key: &Key) {
    let Some(pod) = store
        .get(key)
        .filter(|pod| pod.pointer("/spec/nodeName").is_none() && is_active(pod))
        .cloned()
    else {
        return;
    };
    let nodes: Vec<(String, Value)> = store
        .list("nodes", None)
        .map(|(key, node)| (key.name.clone(), node.clone()))
        .collect();
    let without_storage = storage(store, key, &pod);
    let mut reasons: Vec<String> = without_storage.iter().cloned().collect();
    let fitting = nodes
        .iter()
        .filter(|_| without_storage.is_none())
        .find(|(name, node)| match misfit(store, &pod, name, node) {
            None => true,
            Some(reason) => {
                reasons.push(format!("1 {reason}"));
                false
            }
        });
    let mut bound = pod.clone();
    match fitting {
        Some((name, _)) => {
            bound["spec"]["nodeName"] = name.clone().into();
            bound["status"]["conditions"] =
                json!([{ "type": "PodScheduled", "status": "True", "lastTransitionTime": now() }]);
        }
        None if pod.pointer("/status/conditions").is_some() => return,
        None => {
            let message = format!(
                "0/{} nodes are available: {}.",
                nodes.len(),
                reasons.join(", ")
            );
            bound["status"]["conditions"] = json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": now() }]);
            super::kubelet::event(store, &bound, "Warning", "FailedScheduling", &message);
        }
    }
    store.put(key.clone(), bound);
}

/// Why a pod's storage keeps it from every node.
fn storage(store: &Store, key: &Key, pod: &Value) -> Option<String> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array)?;
    volumes.iter().find_map(|volume| {
        let name = volume
            .pointer("/persistentVolumeClaim/claimName")?
            .as_str()?;
        match store.get(&Key::new("persistentvolumeclaims", &key.namespace, name)) {
            None => Some(format!("persistentvolumeclaim \"{name}\" not found")),
            Some(claim) if claim.pointer("/status/phase") == Some(&"Bound".into()) => None,
            Some(_) => Some("pod has unbound immediate PersistentVolumeClaims".into()),
        }
    })
}

fn misfit(store: &Store, pod: &Value, name: &str, node: &Value) -> Option<String> {
    let wanted = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let labels = node.pointer("/metadata/labels");
    if wanted.is_some_and(|wanted| {
        wanted
            .iter()
            .any(|(key, value)| labels.and_then(|labels| labels.get(key)) != Some(value))
    }) {
        return Some("node(s) didn't match Pod's node affinity/selector".into());
    }
    let list = |object: &Value, path: &str| {
        let items = object.pointer(path).and_then(Value::as_array);
        items.cloned().unwrap_or_default()
    };
    let tolerations = list(pod, "/spec/tolerations");
    let tolerations: Vec<Toleration> = tolerations.iter().filter_map(read).collect();
    let mut taints = list(node, "/spec/taints").into_iter();
    if taints.any(|taint| {
        read::<Taint>(&taint).is_some_and(|taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
                && !tolerations.iter().any(|one| tolerates(one, &taint))
        })
    }) {
        return Some("node(s) had untolerated taint(s)".into());
    }
    let apart = list(
        pod,
        "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution",
    );
    let mut here = store.list(
        "pods",
        pod.pointer("/metadata/namespace").and_then(Value::as_str),
    );
    let is_here = |other: &Value| {
        is_active(other) && other.pointer("/spec/nodeName").and_then(Value::as_str) == Some(name)
    };
    if here.any(|(_, other)| {
        is_here(other)
            && apart
                .iter()
                .any(|term| selects(term.get("labelSelector"), other))
    }) {
        return Some("node(s) didn't match pod anti-affinity rules".into());
    }
    let requested = |pod: &Value, resource: &str| -> u128 {
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        let amount = |container: &Value, part: &str| {
            container
                .pointer(&format!("/resources/{part}/{resource}"))
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        let amounts = containers.into_iter().flatten().filter_map(|container| {
            amount(container, "requests").or_else(|| amount(container, "limits"))
        });
        amounts
            .filter_map(|text| Quantity::new(text).ok())
            .map(|amount| amount.milli())
            .sum()
    };
    ["cpu", "memory"].into_iter().find_map(|resource| {
        let capacity = node
            .pointer(&format!("/status/allocatable/{resource}"))
            .and_then(Value::as_str)
            .and_then(|text| Quantity::new(text).ok())?;
        let here = store
            .list("pods", None)
            .map(|(_, other)| other)
            .filter(|other| other.pointer("/spec/nodeName").and_then(Value::as_str) == Some(name));
        let used: u128 = here
            .filter(|other| is_active(other))
            .map(|other| requested(other, resource))
            .sum();
        (used + requested(pod, resource) > capacity.milli())
            .then(|| format!("Insufficient {resource}"))
    })
}

fn read<'a, T: Deserialize<'a>>(value: &'a Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let same = |given: &Option<String>, wanted: &str| {
        given
            .as_deref()
            .is_none_or(|given| given.is_empty() || given == wanted)
    };
    same(&toleration.key, &taint.key)
        && same(&toleration.effect, &taint.effect)
        && (toleration.operator.as_deref() == Some("Exists")
            || toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default())
}

/// Whether a selector by labels means an object; one that isn't there means none.
pub(super) fn selects(selector: Option<&Value>, object: &Value) -> bool {
    let selector = selector.and_then(read::<LabelSelector>);
    let Some(selector) = selector.and_then(|selector| Selector::try_from(selector).ok()) else {
        return false;
    };
    let labels: Option<BTreeMap<String, String>> =
        object.pointer("/metadata/labels").and_then(read);
    selector.matches(&labels.unwrap_or_default())
}
