//! What the API server has against a new pod: a service account that isn't there, a quota, a limit of the namespace.

use serde_json::Value;

use super::controllers::is_active;
use super::store::{Key, Store};
use crate::action::Quantity;

/// Why a pod may not be made; none if it may.
pub(super) fn refusal(store: &Store, namespace: &str, pod: &Value) -> Option<String> {
    let reason = account(store, namespace, pod)
        .or_else(|| quota(store, namespace))
        .or_else(|| limit(store, namespace, pod))?;
    let name = pod.pointer("/metadata/name").and_then(Value::as_str);
    Some(format!(
        "pods \"{}\" is forbidden: {reason}",
        name.unwrap_or_default()
    ))
}

fn account(store: &Store, namespace: &str, pod: &Value) -> Option<String> {
    let name = pod
        .pointer("/spec/serviceAccountName")
        .and_then(Value::as_str)?;
    let known = store
        .get(&Key::new("serviceaccounts", namespace, name))
        .is_some();
    (!known && name != "default").then(|| {
        format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found")
    })
}

fn quota(store: &Store, namespace: &str) -> Option<String> {
    let pods = store.list("pods", Some(namespace));
    let used = pods.filter(|(_, pod)| is_active(pod)).count();
    let mut quotas = store.list("resourcequotas", Some(namespace));
    quotas.find_map(|(key, quota)| {
        let hard = quota.pointer("/spec/hard/pods")?.as_str()?;
        let most: usize = hard.parse().ok()?;
        (used >= most).then(|| {
            format!(
                "exceeded quota: {}, requested: pods=1, used: pods={used}, limited: pods={hard}",
                key.name
            )
        })
    })
}

fn limit(store: &Store, namespace: &str, pod: &Value) -> Option<String> {
    let amount = |text: Option<&Value>| Quantity::new(text?.as_str()?).ok();
    let ranges = store.list("limitranges", Some(namespace));
    let limits = ranges.flat_map(|(_, range)| {
        let limits = range.pointer("/spec/limits").and_then(Value::as_array);
        limits.into_iter().flatten()
    });
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array)?;
    let mut most = limits.filter_map(|limit| amount(limit.pointer("/max/memory")));
    most.find_map(|most| {
        let mut asked = containers.iter();
        asked.find_map(|container| {
            let asked = amount(container.pointer("/resources/limits/memory"))?;
            (asked > most).then(|| {
                format!("maximum memory usage per Container is {most}, but limit is {asked}")
            })
        })
    })
}
