//! HorizontalPodAutoscalers become findings: one whose workload isn't there, or asks for nothing that could be measured.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use super::super::lean::{Container, Template};
use super::super::seen::{Seen, object};
use super::Fault;
use crate::incident::{Category, Cause, Finding, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let scalers = seen.objects.autoscalers.values();
    scalers
        .filter_map(|scaler| {
            without_workload(seen, scaler)
                .or_else(|| without_requests(seen, scaler))
                .or_else(|| by_its_own_word(seen, scaler))
        })
        .collect()
}

/// What is scaled, where it is of a kind that is known.
fn template<'a>(seen: &'a Seen, kind: &str, name: &str) -> Option<&'a Template> {
    let objects = seen.objects;
    match kind {
        "Deployment" => Some(&objects.deployments.get(name)?.spec.as_ref()?.template),
        "StatefulSet" => Some(&objects.stateful_sets.get(name)?.spec.as_ref()?.template),
        _ => None,
    }
}

/// One that says itself that it can't work, or wants more copies than it may have.
fn by_its_own_word(seen: &Seen, scaler: &HorizontalPodAutoscaler) -> Option<Finding> {
    let conditions = scaler.status.as_ref()?.conditions.as_ref()?;
    let says = |kind: &str, status: &str| {
        conditions.iter().find(|condition| {
            let is = condition.type_ == kind && condition.status == status;
            is && seen.older_than(condition.last_transition_time.as_ref(), seen.slow_after())
        })
    };
    let target = &scaler.spec.scale_target_ref;
    let owner = object("HorizontalPodAutoscaler", &scaler.metadata);
    let (name, app) = (&owner.name, &target.name);
    // Nothing is measured of an app that was told to run no copies.
    let inactive = says("ScalingActive", "False").or_else(|| says("AbleToScale", "False"));
    let inactive =
        inactive.filter(|condition| condition.reason.as_deref() != Some("ScalingDisabled"));
    let limited = says("ScalingLimited", "True");
    let limited =
        limited.filter(|condition| condition.reason.as_deref() == Some("TooManyReplicas"));
    let (fault, condition) = match (inactive, limited) {
        (Some(condition), _) => {
            let fault = Fault {
                cause: Cause::ScaleInactive,
                category: Category::Configuration,
                severity: Severity::Medium,
                title: format!("The automatic scaling {name} does not work"),
                description: format!(
                    "{name} can't tell how many copies {app} needs, so their number stays as it is. Its own words say why."
                ),
            };
            (fault, condition)
        }
        (None, Some(condition)) => {
            let most = scaler.spec.max_replicas;
            let fault = Fault {
                cause: Cause::ScaleLimited,
                category: Category::Resource,
                severity: Severity::Low,
                title: format!("{app} needs more copies than it may have"),
                description: format!(
                    "{app} is busy enough for more than {most} copies, which is the most that {name} allows."
                ),
            };
            (fault, condition)
        }
        (None, None) => return None,
    };
    let related = seen.named(&target.kind, app);
    let facts = json!({ "max_replicas": scaler.spec.max_replicas });
    Some(Finding {
        evidence: condition.message.iter().cloned().collect(),
        related: vec![related],
        ..fault.of(seen, owner, "", facts)
    })
}

/// One that measures a share of the processor time that an app requests, and the app requests none.
fn without_requests(seen: &Seen, scaler: &HorizontalPodAutoscaler) -> Option<Finding> {
    let target = &scaler.spec.scale_target_ref;
    let template = template(seen, &target.kind, &target.name)?;
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
    let pod = template.spec.as_ref()?;
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
    let owner = seen.named(&target.kind, &target.name);
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
    Some(fault.of(seen, owner, "", json!({ "container": only })))
}

/// What is scaled that is neither a Deployment nor a StatefulSet is not judged.
fn without_workload(seen: &Seen, scaler: &HorizontalPodAutoscaler) -> Option<Finding> {
    let target = &scaler.spec.scale_target_ref;
    let is_known = matches!(target.kind.as_str(), "Deployment" | "StatefulSet");
    if !is_known || template(seen, &target.kind, &target.name).is_some() {
        return None;
    }
    let owner = object("HorizontalPodAutoscaler", &scaler.metadata);
    let name = &owner.name;
    // The app of the same name is the one that is meant.
    let right = template(seen, &target.kind, name).map(|_| name);
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
    Some(fault.of(seen, owner, "", facts))
}
