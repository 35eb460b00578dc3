//! Deployments become findings: stuck rollouts, missing copies, none wanted.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{Seen, map, object};
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity, Workload};

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    seen.deployments
        .iter()
        .filter_map(|deployment| of_deployment(seen, deployment))
        .collect()
}

/// The Deployments as they are. Ready pods are counted: the status of a Deployment lags behind them.
pub(in crate::kube) fn workloads(seen: &Seen) -> Vec<Workload> {
    let mut ready: BTreeMap<ObjectRef, u32> = BTreeMap::new();
    for pod in seen.pods.iter().filter(|pod| is_ready(pod)) {
        *ready.entry(seen.owner(pod)).or_default() += 1;
    }
    let workload = |deployment: &Deployment| {
        let object = object("Deployment", &deployment.metadata);
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        Workload {
            desired: wanted
                .and_then(|wanted| u32::try_from(wanted).ok())
                .unwrap_or(1),
            ready: ready.get(&object).copied().unwrap_or(0),
            object,
        }
    };
    seen.deployments.iter().map(workload).collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn of_deployment(seen: &Seen, deployment: &Deployment) -> Option<Finding> {
    let owner = object("Deployment", &deployment.metadata);
    let app = &owner.name;
    let status = deployment.status.as_ref();
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let available = status
        .and_then(|status| status.available_replicas)
        .unwrap_or(0);
    let condition = |kind: &str| {
        status.and_then(|status| {
            status
                .conditions
                .iter()
                .flatten()
                .find(|condition| condition.type_ == kind)
        })
    };
    let exceeded = condition("Progressing")
        .filter(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    let unavailable = condition("Available").filter(|condition| {
        condition.status == "False"
            && seen.older_than(condition.last_transition_time.as_ref(), seen.unready_after)
    });
    let (cause, severity, title, description, evidence) = if wanted == 0 {
        let title = format!("{app} has no copies");
        (
            Cause::ScaledToZero,
            Severity::Medium,
            title,
            format!("{app} is set to run no copies at all, so nothing answers."),
            None,
        )
    } else if let Some(condition) = exceeded {
        let description = format!(
            "The last update of {app} does not get anywhere: {available} of {wanted} copies are available."
        );
        (
            Cause::StuckRollout,
            Severity::High,
            format!("The update of {app} is stuck"),
            description,
            condition.message.clone(),
        )
    } else if let Some(condition) = unavailable {
        let description = format!("Only {available} of {wanted} copies of {app} are available.");
        (
            Cause::Unavailable,
            Severity::High,
            format!("{app} is not available"),
            description,
            condition.message.clone(),
        )
    } else {
        return None;
    };
    let mut facts = map(json!({ "replicas": wanted }));
    if let Some(working) = seen.working_revision(&owner) {
        facts.insert("working_revision".into(), working);
    }
    Some(Finding {
        finding_id: Finding::stable_id(cause, &owner, ""),
        category: Category::PodHealth,
        severity,
        title,
        description,
        target: format!("k8s://{}/{app}", owner.namespace),
        infra_type: "kubernetes".into(),
        evidence: evidence.into_iter().collect(),
        metrics: map(json!({ "wanted": wanted, "available": available })),
        timestamp: seen.now,
        raw_data: facts,
        owner: Some(owner),
        cause: Some(cause),
    })
}
