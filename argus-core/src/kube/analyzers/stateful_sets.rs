//! StatefulSets, and ReplicaSets of nobody, become findings: no copies wanted, no service for their names, no pods allowed.

use serde_json::json;

use super::super::lean::{ReplicaSet, StatefulSet};
use super::super::seen::{Seen, controller};
use super::Fault;
use super::deployments::{refused_by, why_refused};
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let sets = seen.objects.stateful_sets.iter();
    let sets = sets.filter_map(|(name, set)| {
        no_copies(seen, name, set)
            .or_else(|| no_class(seen, name, set))
            .or_else(|| no_service(seen, name, set))
    });
    let replica_sets = seen.objects.replica_sets.iter();
    sets.chain(replica_sets.filter_map(|(name, set)| refused(seen, name, set)))
        .collect()
}

fn no_copies(seen: &Seen, name: &str, set: &StatefulSet) -> Option<Finding> {
    if set.spec.as_ref()?.replicas != Some(0) {
        return None;
    }
    let fault = Fault {
        cause: Cause::ScaledToZero,
        category: Category::PodHealth,
        severity: Severity::Medium,
        title: format!("{name} has no copies"),
        description: format!("{name} is set to run no copies at all, so nothing answers."),
    };
    Some(fault.of(
        seen,
        seen.named("StatefulSet", name),
        "",
        json!({ "replicas": 0 }),
    ))
}

fn no_class(seen: &Seen, name: &str, set: &StatefulSet) -> Option<Finding> {
    let owner = seen.named("StatefulSet", name);
    let wanted = set.spec.as_ref()?.replicas.unwrap_or(1);
    let ready = seen.pods.ready.get(&owner).copied().unwrap_or(0);
    // Volumes that were made by hand may have a class of their own.
    if i64::from(ready) >= i64::from(wanted) {
        return None;
    }
    let claims = set.spec.as_ref()?.volume_claim_templates.iter().flatten();
    let mut classes = claims.filter_map(|claim| claim.spec.as_ref()?.storage_class_name.as_ref());
    let known = &seen.cluster.storage_classes;
    let class = classes.find(|class| seen.cluster.lacks_storage_class(class))?;
    let fault = Fault {
        cause: Cause::StorageClass,
        category: Category::Storage,
        severity: Severity::High,
        title: format!("{name} asks for storage that the cluster does not have"),
        description: format!(
            "{name} asks for storage of the kind {class}, which the cluster does not have, so its copies can't start. Storage belongs to whoever runs the cluster."
        ),
    };
    let facts = json!({ "storage_class": class, "known": known.keys().collect::<Vec<_>>() });
    Some(fault.of(seen, owner, "", facts))
}

fn no_service(seen: &Seen, name: &str, set: &StatefulSet) -> Option<Finding> {
    let service = set.spec.as_ref()?.service_name.as_ref()?;
    if service.is_empty() || seen.objects.services.contains_key(service) {
        return None;
    }
    let fault = Fault {
        cause: Cause::ServiceMissing,
        category: Category::Connectivity,
        severity: Severity::Medium,
        title: format!("The copies of {name} can't find each other"),
        description: format!(
            "Each copy of {name} gets its address from the service {service}, which is not there, so nobody can reach a copy by its name."
        ),
    };
    Some(fault.of(
        seen,
        seen.named("StatefulSet", name),
        "",
        json!({ "service": service }),
    ))
}

/// Of a Deployment's ReplicaSet the Deployment speaks.
fn refused(seen: &Seen, name: &str, set: &ReplicaSet) -> Option<Finding> {
    if controller(&set.metadata).is_some() {
        return None;
    }
    let conditions = set.status.as_ref()?.conditions.iter().flatten();
    let mut failures = conditions.filter(|condition| condition.type_ == "ReplicaFailure");
    let failure = failures.find(|condition| condition.status == "True")?;
    let message = failure.message.clone().unwrap_or_default();
    Some(refused_pods(seen, seen.named("ReplicaSet", name), message))
}

/// A workload whose pods the cluster refuses to make.
pub(in crate::kube) fn refused_pods(seen: &Seen, owner: ObjectRef, message: String) -> Finding {
    let name = &owner.name;
    let fault = Fault {
        cause: Cause::PodsRefused,
        category: Category::PodHealth,
        severity: Severity::High,
        title: format!("The cluster does not let {name} start its copies"),
        description: format!("Copies of {name} are missing. {}", why_refused(&message)),
    };
    Finding {
        related: refused_by(seen, &message),
        evidence: vec![message],
        ..fault.of(seen, owner, "", json!({}))
    }
}
