//! What belongs to no namespace becomes findings: nodes, volumes, storage classes and admission webhooks. All of it is left to people.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::lean::Node;
use super::super::seen::{Seen, Webhook, is_marked};
use super::{Fault, each_once};
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

/// Conditions of a node that should not hold, and what they mean for people.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "has hardly any memory left"),
    ("DiskPressure", "has hardly any disk space left"),
    ("PIDPressure", "runs almost as many processes as it can"),
    ("NetworkUnavailable", "has no network"),
];

/// The annotation of the class that is taken where none is asked for.
const USUAL: &str = "storageclass.kubernetes.io/is-default-class";

/// `services` says of services by namespace and name whether a pod of them is ready; of the others nothing is known.
pub(in crate::kube) fn analyze(
    seen: &Seen,
    services: &BTreeMap<(String, String), bool>,
) -> Vec<Finding> {
    let cluster = seen.cluster;
    if !cluster.whole {
        return Vec::new();
    }
    let nodes = cluster
        .nodes()
        .flat_map(|(name, node)| of_node(seen, name, node));
    let volumes = cluster
        .volumes
        .keys()
        .filter_map(|name| failed_volume(seen, name));
    let found = nodes.chain(volumes).chain(two_usual_classes(seen));
    let hooks = cluster.webhooks();
    each_once(found.chain(hooks.filter_map(|hook| dead_webhook(seen, &hook, services))))
}

fn of_node(seen: &Seen, name: &str, node: &Node) -> Vec<Finding> {
    let owner = || seen.named("Node", name);
    let conditions = || {
        node.status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
    };
    let fault = |cause, severity, title, description| Fault {
        cause,
        category: Category::NodeHealth,
        severity,
        title,
        description,
    };
    let ready =
        conditions().find(|condition| condition.type_ == "Ready" && condition.status != "True");
    if let Some(condition) = ready
        && seen.older_than(condition.last_transition_time.as_ref(), seen.unready_after)
    {
        let fault = fault(
            Cause::NodeNotReady,
            Severity::Critical,
            format!("The node {name} does not work"),
            format!(
                "The node {name} takes no new apps, and those on it may not answer. Nodes are never touched by Argus."
            ),
        );
        return vec![Finding {
            evidence: condition.message.iter().cloned().collect(),
            ..fault.of(seen, owner(), "", json!({ "reason": condition.reason }))
        }];
    }
    let mut findings = Vec::new();
    for (kind, words) in PRESSURES {
        if let Some(condition) =
            conditions().find(|condition| condition.type_ == kind && condition.status == "True")
        {
            let fault = fault(
                Cause::NodePressure,
                Severity::High,
                format!("The node {name} {words}"),
                format!(
                    "The node {name} {words}, so apps on it may be stopped. Nodes are never touched by Argus."
                ),
            );
            findings.push(Finding {
                evidence: condition.message.iter().cloned().collect(),
                ..fault.of(seen, owner(), kind, json!({ "condition": kind }))
            });
        }
    }
    if node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.unschedulable == Some(true))
    {
        let fault = fault(
            Cause::NodeCordoned,
            Severity::Low,
            format!("The node {name} is closed"),
            format!(
                "Somebody closed the node {name}: it takes no new apps until it is opened again. Nodes are never touched by Argus."
            ),
        );
        findings.push(fault.of(seen, owner(), "", json!({})));
    }
    findings
}

fn failed_volume(seen: &Seen, name: &str) -> Option<Finding> {
    let status = seen.cluster.volumes.get(name)?.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let fault = Fault {
        cause: Cause::VolumeFailed,
        category: Category::Storage,
        severity: Severity::Medium,
        title: format!("The volume {name} could not be cleaned up"),
        description: format!(
            "The cluster could not give the volume {name} back after its use. Storage is never deleted by Argus."
        ),
    };
    Some(Finding {
        evidence: status.message.iter().cloned().collect(),
        ..fault.of(seen, seen.named("PersistentVolume", name), "", json!({}))
    })
}

/// More than one class that is taken where none is asked for.
fn two_usual_classes(seen: &Seen) -> Option<Finding> {
    let usual = seen.cluster.storage_classes.iter();
    let usual = usual.filter(|(_, class)| is_marked(&class.metadata, USUAL));
    let usual: Vec<&String> = usual.map(|(name, _)| name).collect();
    let [first, _, ..] = usual.as_slice() else {
        return None;
    };
    let fault = Fault {
        cause: Cause::StorageClass,
        category: Category::Storage,
        severity: Severity::Low,
        title: "More than one kind of storage is the usual one".into(),
        description: "Apps that don't say which kind of storage they want get the newest of several usual ones, so it changes when one is added.".into(),
    };
    Some(fault.of(
        seen,
        seen.named("StorageClass", first),
        "",
        json!({ "classes": usual }),
    ))
}

/// A check that the cluster makes before each change, and whose service has nobody to answer.
fn dead_webhook(
    seen: &Seen,
    hook: &Webhook,
    services: &BTreeMap<(String, String), bool>,
) -> Option<Finding> {
    let service = hook.client.service.as_ref()?;
    let key = (service.namespace.clone(), service.name.clone());
    if *services.get(&key)? {
        return None;
    }
    let is_open = hook.is_open;
    let consequence = if is_open {
        "changes are made without it"
    } else {
        "nothing that it checks can be changed"
    };
    let fault = Fault {
        cause: Cause::WebhookDead,
        category: Category::Configuration,
        severity: if is_open {
            Severity::Low
        } else {
            Severity::Critical
        },
        title: format!("The check {} does not answer", hook.name),
        description: format!(
            "The cluster asks the service {} in namespace {} before each change, and nobody answers there, so {consequence}.",
            service.name, service.namespace
        ),
    };
    let related = ObjectRef {
        kind: "Service".into(),
        namespace: key.0,
        name: key.1,
    };
    Some(Finding {
        related: vec![related],
        ..fault.of(
            seen,
            hook.owner(),
            hook.name,
            json!({ "failure_policy": if is_open { "Ignore" } else { "Fail" } }),
        )
    })
}
