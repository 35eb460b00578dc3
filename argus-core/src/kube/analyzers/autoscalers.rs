//! HorizontalPodAutoscalers become findings: one whose workload isn't there.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::json;

use super::{Fault, Seen, object};
use crate::incident::{Category, Cause, Finding, Severity};

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    let scalers = seen.autoscalers.iter();
    scalers
        .filter_map(|scaler| without_workload(seen, scaler))
        .collect()
}

/// Only Deployments are known: what else is scaled is not judged.
fn without_workload(seen: &Seen, scaler: &HorizontalPodAutoscaler) -> Option<Finding> {
    let target = &scaler.spec.scale_target_ref;
    if target.kind != "Deployment" || seen.deployment(&target.name).is_some() {
        return None;
    }
    let owner = object("HorizontalPodAutoscaler", &scaler.metadata);
    let name = &owner.name;
    // The app of the same name is the one that is meant.
    let right = seen.deployment(name).map(|_| name);
    let facts = json!({ "wrong": target.name, "right": right });
    let fault = Fault {
        cause: Cause::ScaleTarget,
        category: Category::Configuration,
        severity: Severity::Medium,
        title: format!("{name} adds copies to nothing"),
        description: format!(
            "The automatic scaling {name} is for an app {}, which is not there, so no app gets more copies when it is busy.",
            target.name
        ),
    };
    Some(seen.finding(fault, owner, "", facts))
}
