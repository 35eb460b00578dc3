//! What the API server has against a new pod: a service account that isn't there, a quota, a limit of the namespace. And
//! against any change: a webhook that has to be asked and doesn't answer.

use serde_json::Value;

use super::Failure;
use super::api::Place;
use super::controllers::is_active;
use super::scheduler::selects;
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

/// Why a change can't be made whose webhook has to agree. In memory nobody ever answers one.
pub(super) fn unanswered(store: &Store, method: &str, place: &Place<'_>) -> Option<Failure> {
    let operation = match method {
        "POST" => "CREATE",
        "PUT" | "PATCH" => "UPDATE",
        "DELETE" => "DELETE",
        _ => return None,
    };
    let namespace = place.namespace.unwrap_or_default();
    let namespace = store.get(&Key::new("namespaces", "", namespace));
    let asked = |hook: &Value| {
        let selector = hook.get("namespaceSelector");
        let rules = hook.get("rules").and_then(Value::as_array);
        hook.get("failurePolicy") != Some(&"Ignore".into())
            && selector.is_none_or(|selector| {
                namespace.is_some_and(|namespace| selects(Some(selector), namespace))
            })
            && rules
                .into_iter()
                .flatten()
                .any(|rule| is_about(rule, operation, place))
    };
    let of_kind = |plural| {
        store
            .list(plural, None)
            .map(|(_, configuration)| configuration)
    };
    let configurations =
        of_kind("mutatingwebhookconfigurations").chain(of_kind("validatingwebhookconfigurations"));
    let mut hooks = configurations
        .filter_map(|configuration| configuration.get("webhooks")?.as_array())
        .flatten();
    let hook = hooks.find(|hook| asked(hook))?;
    let text = |path: &str| {
        hook.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (name, service) = (text("/name"), text("/clientConfig/service/name"));
    let address = match text("/clientConfig/url") {
        "" => format!(
            "https://{service}.{}.svc:443/?timeout=10s",
            text("/clientConfig/service/namespace")
        ),
        url => url.to_owned(),
    };
    Some(Failure::new(
        500,
        "InternalError",
        format!(
            "Internal error occurred: failed calling webhook \"{name}\": failed to call webhook: Post \"{address}\": service \"{service}\" not found"
        ),
    ))
}

/// Whether a webhook's rule is about this change.
fn is_about(rule: &Value, operation: &str, place: &Place<'_>) -> bool {
    let lists = |field: &str, wanted: &[&str]| {
        let values = rule.get(field).and_then(Value::as_array);
        let mut values = values.into_iter().flatten().filter_map(Value::as_str);
        values.any(|value| wanted.contains(&value))
    };
    let (plural, resource) = (place.resource.plural, place.resource);
    let about = match place.subresource {
        None => lists("resources", &["*", "*/*", plural]),
        Some(sub) => lists(
            "resources",
            &[
                "*/*",
                &format!("{plural}/{sub}"),
                &format!("{plural}/*"),
                &format!("*/{sub}"),
            ],
        ),
    };
    about
        && lists("operations", &["*", operation])
        && lists("apiGroups", &["*", resource.group])
        && lists("apiVersions", &["*", resource.version])
}
