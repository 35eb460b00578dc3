//! A pod that no node takes: why, and what would let one take it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Taint, Toleration};
use serde_json::{Map, Value, json};

use super::super::evidence::tolerates;
use super::super::lean::{Condition, Node, Pod, PodSpec, Volume};
use super::super::seen::Seen;
use super::{map, meant};
use crate::action::Quantity;
use crate::incident::{Cause, ObjectRef};

/// Taints that Kubernetes sets itself: their nodes are ill, closed, or not for apps.
const OF_THE_CLUSTER: [&str; 2] = ["node.kubernetes.io/", "node-role.kubernetes.io/"];
/// The part of the largest node that an app asks for which asked for more than there is.
const SHARE: u128 = 4;

/// Why a pod finds no place, in words for people.
pub(super) struct NoPlace {
    pub(super) cause: Cause,
    pub(super) why: String,
    pub(super) facts: Map<String, Value>,
    pub(super) related: Vec<ObjectRef>,
}

impl NoPlace {
    fn new(cause: Cause, why: String, facts: Value) -> Self {
        Self {
            cause,
            why,
            facts: map(facts),
            related: Vec::new(),
        }
    }
}

/// Why no node takes the pod.
pub(super) fn no_place(seen: &Seen, pod: &Pod, condition: &Condition) -> NoPlace {
    let message = condition.message.as_deref().unwrap_or_default();
    if let Some(missing) = pod
        .spec
        .as_ref()
        .and_then(|spec| claim(seen, spec, message))
    {
        return missing;
    }
    let known = pod
        .spec
        .as_ref()
        .filter(|_| seen.cluster.nodes().next().is_some());
    let found = known.and_then(|spec| {
        selector(seen, spec)
            .or_else(|| request(seen, spec))
            .or_else(|| taint(seen, spec))
            .or_else(|| apart(spec, message))
    });
    found.unwrap_or_else(|| {
        let why = if message.contains("unschedulable") || message.contains("node.kubernetes.io/") {
            "A node that could is closed or not healthy. Nodes are never touched by Argus."
        } else if seen.cluster.nodes().next().is_none() {
            "Argus may not look at the nodes, so it can't say more."
        } else {
            "Its own words say why."
        };
        NoPlace::new(Cause::Pending, why.into(), json!({}))
    })
}

/// A claim for storage that isn't there, or has got none.
fn claim(seen: &Seen, spec: &PodSpec, message: &str) -> Option<NoPlace> {
    if !seen.saw_all(&["persistentvolumeclaims"]) {
        return None;
    }
    let claims = &seen.objects.claims;
    let of_volume =
        |volume: &Volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone());
    let mut volumes = spec
        .volumes
        .iter()
        .flatten()
        .filter_map(|volume| Some((volume, of_volume(volume)?)));
    let missing = volumes.clone().find(|(_, name)| !claims.contains_key(name));
    if let Some((volume, wrong)) = missing.filter(|_| message.contains("not found")) {
        let right = meant(&wrong, claims.keys().map(String::as_str));
        let facts = json!({ "volume": volume.name, "wrong": wrong, "right": right });
        let why = format!("It wants the storage {wrong}, which is not there.");
        return Some(NoPlace::new(Cause::ClaimMissing, why, facts));
    }
    let unbound = |name: &String| {
        let phase = claims
            .get(name)
            .and_then(|claim| claim.status.as_ref()?.phase.as_deref());
        matches!(phase, Some("Pending" | "Lost"))
    };
    let (_, name) = volumes.find(|(_, name)| unbound(name))?;
    if !message.contains("PersistentVolumeClaim") && !message.contains("persistentvolumeclaim") {
        return None;
    }
    let why = format!("It waits for the storage {name}, which the cluster has not given.");
    let mut place = NoPlace::new(Cause::Pending, why, json!({}));
    place
        .related
        .push(seen.named("PersistentVolumeClaim", &name));
    Some(place)
}

/// A label that no node has.
fn selector(seen: &Seen, spec: &PodSpec) -> Option<NoPlace> {
    let values = |key: &str| {
        let nodes = seen.cluster.nodes();
        let labels = nodes.filter_map(|(_, node)| node.metadata.labels.as_ref());
        let mut values: Vec<&str> = labels
            .filter_map(|labels| Some(labels.get(key)?.as_str()))
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let wanted = spec.node_selector.iter().flatten();
    let wrong: BTreeMap<&str, &str> = wanted
        .filter(|(key, value)| !values(key).contains(&value.as_str()))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let (key, value) = wrong.first_key_value()?;
    let right: BTreeMap<&str, Option<&str>> = wrong
        .iter()
        .map(|(key, value)| (*key, meant(value, values(key).into_iter())))
        .collect();
    let why = format!("It wants a node labelled {key}={value}, and there is none.");
    let facts = json!({ "wrong": wrong, "right": right });
    Some(NoPlace::new(Cause::NodeSelector, why, facts))
}

/// A request that is larger than the largest node.
fn request(seen: &Seen, spec: &PodSpec) -> Option<NoPlace> {
    ["memory", "cpu"].into_iter().find_map(|resource| {
        let largest = seen.cluster.largest_node(resource)?;
        spec.containers.iter().find_map(|container| {
            let asked = container.resources.as_ref()?.requests.as_ref()?.get(resource)?;
            if Quantity::new(asked.0.as_str()).ok()? <= largest {
                return None;
            }
            let milli = largest.milli() / SHARE;
            let right = match resource {
                "memory" => format!("{}Mi", milli / (1000 << 20)),
                _ => format!("{milli}m"),
            };
            let why = format!(
                "It asks for {} of {resource}, and the largest node has {largest}.",
                asked.0
            );
            let facts = json!({ "container": container.name, "resource": resource, "wrong": asked.0, "right": right });
            Some(NoPlace::new(Cause::RequestTooLarge, why, facts))
        })
    })
}

/// Taints that the pod could tolerate, on every node that it may run on.
fn taint(seen: &Seen, spec: &PodSpec) -> Option<NoPlace> {
    let mut first = None;
    for (_, node) in seen.cluster.nodes().filter(|(_, node)| is_for(node, spec)) {
        let taints = node
            .spec
            .iter()
            .flat_map(|spec| spec.taints.iter().flatten());
        let keeps_out = |taint: &&Taint| {
            matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !tolerated(spec, taint)
        };
        let open: Vec<&Taint> = taints.filter(keeps_out).collect();
        let of_the_cluster = |taint: &&Taint| {
            OF_THE_CLUSTER
                .iter()
                .any(|start| taint.key.starts_with(start))
        };
        if open.is_empty() {
            return None;
        }
        if !open.iter().any(of_the_cluster) && first.is_none() {
            first = Some(open);
        }
    }
    let open = first?;
    let shown = open.first().map(|taint| taint.key.clone())?;
    let old: Vec<&Toleration> = spec.tolerations.iter().flatten().collect();
    let new = open.iter().map(|taint| {
        json!({ "key": taint.key, "operator": "Equal", "value": taint.value.clone().unwrap_or_default(), "effect": taint.effect })
    });
    // Those that the API server gives to every pod are none of the app's.
    let own = old.iter().filter(|toleration| {
        let key = toleration.key.as_deref().unwrap_or_default();
        !key.starts_with("node.kubernetes.io/")
    });
    let own: Vec<Value> = own.map(|toleration| json!(toleration)).collect();
    let all: Vec<Value> = own.iter().cloned().chain(new).collect();
    let why = format!("Every node that it may run on keeps apps out that don't tolerate {shown}.");
    Some(NoPlace::new(
        Cause::Taint,
        why,
        json!({ "taint": shown, "wrong": own, "right": all }),
    ))
}

fn is_for(node: &Node, spec: &PodSpec) -> bool {
    let labels = node.metadata.labels.as_ref();
    let has =
        |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
    spec.node_selector.iter().flatten().all(has)
}

fn tolerated(spec: &PodSpec, taint: &Taint) -> bool {
    let mut tolerations = spec.tolerations.iter().flatten();
    tolerations.any(|toleration| tolerates(toleration, taint))
}

/// Copies that must not share a node, and more of them than there are nodes. Those that run keep new ones away whatever these
/// say, so no rollout gets anywhere: a person has to choose between fewer copies and a moment without any.
fn apart(spec: &PodSpec, message: &str) -> Option<NoPlace> {
    let apart = spec.affinity.as_ref()?.pod_anti_affinity.as_ref()?;
    let required = apart
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    if required.is_empty() || !message.contains("anti-affinity") {
        return None;
    }
    let why = "Its copies must not share a node, and there are more copies than nodes: run fewer, or add nodes.";
    Some(NoPlace::new(Cause::AntiAffinity, why.into(), json!({})))
}

#[cfg(test)]
mod tests {
    use super::super::super::seen::{ClusterObjects, Objects};
    use super::*;
    use jiff::Timestamp;
    use serde::de::DeserializeOwned;
    use std::time::Duration;

    fn read<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why these nodes don't take a pod of this spec.
    fn why(nodes: &[Value], mut spec: Value, message: &str) -> (Cause, Value) {
        spec["containers"] = json!([{ "name": "app", "resources": spec["resources"].take() }]);
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("resources");
        }
        let cluster = ClusterObjects {
            nodes: (0..)
                .map(|n| n.to_string())
                .zip(nodes.iter().cloned().map(read))
                .collect(),
            ..ClusterObjects::default()
        };
        let objects = Objects::default();
        let seen = Seen::new(
            "shop",
            &objects,
            &cluster,
            Timestamp::UNIX_EPOCH,
            Duration::ZERO,
        );
        let pod = read(json!({ "metadata": { "name": "web-1" }, "spec": spec }));
        let condition =
            read(json!({ "type": "PodScheduled", "status": "False", "message": message }));
        let found = no_place(&seen, &pod, &condition);
        (found.cause, Value::Object(found.facts))
    }

    fn node(labels: Value, taints: Value) -> Value {
        let status = json!({ "allocatable": { "cpu": "4", "memory": "8Gi" } });
        json!({ "metadata": { "name": "n", "labels": labels }, "spec": { "taints": taints }, "status": status })
    }

    #[test]
    fn what_would_give_it_a_place() {
        let taint = json!([{ "key": "for", "value": "data", "effect": "NoSchedule" }]);
        let toleration =
            json!({ "key": "for", "operator": "Equal", "value": "data", "effect": "NoSchedule" });
        let own = json!({ "key": "own", "operator": "Exists" });
        let given = json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" });
        let tainted = [node(json!({}), taint.clone())];
        let facts = json!({ "taint": "for", "wrong": [own], "right": [own, toleration] });
        let spec = json!({ "tolerations": [own, given] });
        assert_eq!(why(&tainted, spec, "untolerated"), (Cause::Taint, facts));
        // A soft taint keeps nobody out, nor does one that is tolerated, nor one of a node that it doesn't ask for.
        let soft = json!([{ "key": "for", "effect": "PreferNoSchedule" }]);
        for (nodes, spec) in [
            (vec![node(json!({}), soft)], json!({})),
            (tainted.to_vec(), json!({ "tolerations": [toleration] })),
            (
                vec![node(json!({ "a": "b" }), json!([])), node(json!({}), taint)],
                json!({ "nodeSelector": { "a": "b" } }),
            ),
        ] {
            assert_eq!(why(&nodes, spec, "busy").0, Cause::Pending);
        }
        let plain = [
            node(json!({ "zone": "a" }), json!([])),
            node(json!({ "zone": "b" }), json!([])),
        ];
        let cpu = json!({ "resources": { "requests": { "cpu": "64", "memory": "1Gi" } } });
        let facts =
            json!({ "container": "app", "resource": "cpu", "wrong": "64", "right": "1000m" });
        assert_eq!(
            why(&plain, cpu, "Insufficient cpu"),
            (Cause::RequestTooLarge, facts)
        );
        // Of two labels that could be meant nobody knows which.
        let facts = json!({ "wrong": { "zone": "c" }, "right": { "zone": null } });
        let spec = json!({ "nodeSelector": { "zone": "c" } });
        assert_eq!(why(&plain, spec, "selector"), (Cause::NodeSelector, facts));
    }

    #[test]
    fn what_only_people_change() {
        let ill = json!([{ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }]);
        let control =
            json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]);
        for nodes in [
            vec![node(json!({}), ill)],
            vec![node(json!({}), control)],
            vec![],
        ] {
            assert_eq!(why(&nodes, json!({}), "untolerated").0, Cause::Pending);
        }
    }
}
