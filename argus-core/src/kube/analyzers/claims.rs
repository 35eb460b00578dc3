//! PersistentVolumeClaims become findings: lost, without a volume, or shared by copies that can't share it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use super::super::lean::{Deployment, Volume};
use super::super::seen::{Seen, object};
use super::Fault;
use crate::incident::{Category, Cause, Finding, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let claims = seen.objects.claims.values();
    let claims = claims.filter_map(|claim| lost(seen, claim).or_else(|| waiting(seen, claim)));
    let deployments = seen.objects.deployments.values();
    claims
        .chain(deployments.filter_map(|deployment| shared(seen, deployment)))
        .collect()
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    let status = claim.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

fn lost(seen: &Seen, claim: &PersistentVolumeClaim) -> Option<Finding> {
    if phase(claim) != "Lost" {
        return None;
    }
    let owner = object("PersistentVolumeClaim", &claim.metadata);
    let name = &owner.name;
    let fault = Fault {
        cause: Cause::ClaimLost,
        category: Category::Storage,
        severity: Severity::Critical,
        title: format!("The storage {name} is lost"),
        description: format!(
            "The volume behind the storage {name} is gone. Storage is never deleted nor made by Argus: whoever runs the cluster has to bring the volume or a backup back."
        ),
    };
    let volume = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.clone());
    Some(fault.of(seen, owner, "", json!({ "volume": volume })))
}

/// One that gets no volume, though something waits for it.
fn waiting(seen: &Seen, claim: &PersistentVolumeClaim) -> Option<Finding> {
    let owner = object("PersistentVolumeClaim", &claim.metadata);
    let name = &owner.name;
    let created = claim.metadata.creation_timestamp.as_ref();
    let asked = seen.pods.claims.contains(name);
    if phase(claim) != "Pending" || !asked || !seen.older_than(created, seen.slow_after()) {
        return None;
    }
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref());
    let known = &seen.cluster.storage_classes;
    let missing = class.filter(|class| seen.cluster.lacks_storage_class(class));
    let why = match (missing, class) {
        (Some(class), _) => format!("It is of the kind {class}, which the cluster does not have."),
        (None, Some(class)) if !class.is_empty() => format!("It is of the kind {class}."),
        _ => "It does not say of which kind it has to be.".into(),
    };
    let fault = Fault {
        cause: if missing.is_some() {
            Cause::StorageClass
        } else {
            Cause::ClaimPending
        },
        category: Category::Storage,
        severity: Severity::High,
        title: format!("The storage {name} is not there yet"),
        description: format!(
            "An app waits for the storage {name}, and the cluster has not given it. {why} Storage belongs to whoever runs the cluster."
        ),
    };
    let facts = json!({ "storage_class": class, "known": known.keys().collect::<Vec<_>>() });
    Some(fault.of(seen, owner, "", facts))
}

/// Copies on several nodes can't share a volume that one node has at a time.
fn shared(seen: &Seen, deployment: &Deployment) -> Option<Finding> {
    let spec = deployment.spec.as_ref()?;
    let owner = object("Deployment", &deployment.metadata);
    let wanted = u32::try_from(spec.replicas.unwrap_or(1)).ok()?;
    let ready = seen.pods.ready.get(&owner).copied().unwrap_or(0);
    if wanted < 2 || ready == 0 || ready >= wanted || !seen.pods.troubled.contains(&owner) {
        return None;
    }
    let volumes = spec.template.spec.as_ref()?.volumes.as_ref()?;
    let of_one_node = |volume: &Volume| {
        let name = &volume.persistent_volume_claim.as_ref()?.claim_name;
        let modes = seen
            .objects
            .claims
            .get(name)?
            .spec
            .as_ref()?
            .access_modes
            .as_ref()?;
        let is_single = modes.iter().all(|mode| mode.starts_with("ReadWriteOnce"));
        is_single.then(|| name.clone())
    };
    let claim = volumes.iter().find_map(of_one_node)?;
    let app = &owner.name;
    let fault = Fault {
        cause: Cause::SharedVolume,
        category: Category::Storage,
        severity: Severity::High,
        title: format!("Copies of {app} can't share its storage"),
        description: format!(
            "{app} is to run {wanted} copies, and its storage {claim} can be used on one node at a time only, so the copies on other nodes never start."
        ),
    };
    let facts: Value = json!({ "claim": claim, "replicas": wanted });
    Some(fault.of(seen, owner, "", facts))
}
