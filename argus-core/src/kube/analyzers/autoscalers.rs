//! HorizontalPodAutoscalers become findings: one whose workload isn't there, or asks for nothing that could be measured.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec};
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use super::{Fault, Seen, object};
use crate::incident::{Category, Cause, Finding, Severity};

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    let scalers = seen.autoscalers.iter();
    scalers
        .filter_map(|scaler| {
            without_workload(seen, scaler).or_else(|| without_requests(seen, scaler))
        })
        .collect()
}

/// One that measures a share of the processor time that an app requests, and the app requests none.
fn without_requests(seen: &Seen, scaler: &HorizontalPodAutoscaler) -> Option<Finding> {
    let target = &scaler.spec.scale_target_ref;
    let deployment = seen
        .deployment(&target.name)
        .filter(|_| target.kind == "Deployment")?;
    let metrics = scaler.spec.metrics.iter().flatten();
    let by_share = |metric: &MetricSpec| {
        metric.resource.as_ref().is_some_and(|resource| {
            resource.name == "cpu" && resource.target.average_utilization.is_some()
        })
    };
    // Without metrics the API server takes a share of the processor time.
    if metrics.clone().next().is_some() && !metrics.clone().any(by_share) {
        return None;
    }
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let asks = |container: &&Container| {
        let resources = container.resources.as_ref();
        resources.is_some_and(|resources| {
            let named = |amounts: &Option<BTreeMap<String, Quantity>>| {
                amounts
                    .as_ref()
                    .is_some_and(|amounts| amounts.contains_key("cpu"))
            };
            named(&resources.requests) || named(&resources.limits)
        })
    };
    let silent: Vec<&Container> = pod
        .containers
        .iter()
        .filter(|container| !asks(container))
        .collect();
    let first = silent.first()?;
    let owner = object("Deployment", &deployment.metadata);
    let app = &owner.name;
    let fault = Fault {
        cause: Cause::ScaleMetric,
        category: Category::Configuration,
        severity: Severity::Medium,
        title: format!("{app} gets no more copies when it is busy"),
        description: format!(
            "Its automatic scaling compares what {app} uses with what it asks for, and the container {} asks for no processor time.",
            first.name
        ),
    };
    let only = (silent.len() == 1).then_some(&first.name);
    Some(seen.finding(fault, owner, "", json!({ "container": only })))
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
