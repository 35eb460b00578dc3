//! HorizontalPodAutoscalers become findings: one whose workload isn't there.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::json;

use super::{Seen, map};
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    let scalers = seen.autoscalers.iter();
    scalers
        .filter_map(|scaler| without_workload(seen, scaler))
        .collect()
}

/// Only Deployments are known: what else is scaled is not judged.
fn without_workload(seen: &Seen, scaler: &HorizontalPodAutoscaler) -> Option<Finding> {
    let target = &scaler.spec.scale_target_ref;
    let named = |name: &str| {
        let mut deployments = seen.deployments.iter();
        deployments.any(|deployment| deployment.metadata.name.as_deref() == Some(name))
    };
    if target.kind != "Deployment" || named(&target.name) {
        return None;
    }
    let owner = ObjectRef {
        kind: "HorizontalPodAutoscaler".into(),
        namespace: scaler.metadata.namespace.clone().unwrap_or_default(),
        name: scaler.metadata.name.clone().unwrap_or_default(),
    };
    let name = &owner.name;
    // The app of the same name is the one that is meant.
    let right = named(name).then_some(name);
    Some(Finding {
        finding_id: Finding::stable_id(Cause::ScaleTarget, &owner, ""),
        category: Category::Configuration,
        severity: Severity::Medium,
        title: format!("{name} adds copies to nothing"),
        description: format!(
            "The automatic scaling {name} is for an app {}, which is not there, so no app gets more copies when it is busy.",
            target.name
        ),
        target: format!("k8s://{}/{name}", owner.namespace),
        infra_type: "kubernetes".into(),
        evidence: Vec::new(),
        metrics: map(json!({})),
        timestamp: seen.now,
        raw_data: map(json!({ "wrong": target.name, "right": right })),
        owner: Some(owner),
        cause: Some(Cause::ScaleTarget),
    })
}
