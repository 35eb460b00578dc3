//! PodDisruptionBudgets become findings: one that never lets a single pod go.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use super::super::seen::{Seen, object};
use super::Fault;
use crate::incident::{Category, Cause, Finding, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let budgets = seen.objects.budgets.values();
    budgets
        .filter_map(|budget| rigid(seen, budget).or_else(|| of_nothing(seen, budget)))
        .collect()
}

/// One whose selector means no pod, nor what any app would make.
fn of_nothing(seen: &Seen, budget: &PodDisruptionBudget) -> Option<Finding> {
    let selector = budget.spec.as_ref()?.selector.as_ref();
    let selector = selector.filter(|selector| seen.selects_nothing(selector))?;
    let owner = object("PodDisruptionBudget", &budget.metadata);
    let name = &owner.name;
    let fault = Fault {
        cause: Cause::SelectsNothing,
        category: Category::Configuration,
        severity: Severity::Low,
        title: format!("{name} protects nothing"),
        description: format!(
            "The rule {name} is there to keep enough copies of an app running, and nothing has the labels that it looks for, so it protects none."
        ),
    };
    Some(fault.of(seen, owner, "", json!({ "selector": selector })))
}

/// Of an app with one copy nobody knows whether it may ever be away.
fn rigid(seen: &Seen, budget: &PodDisruptionBudget) -> Option<Finding> {
    let (spec, status) = (budget.spec.as_ref()?, budget.status.as_ref()?);
    let (expected, least) = (status.expected_pods?, status.desired_healthy?);
    let current = status.observed_generation >= budget.metadata.generation;
    if !current || expected < 2 || least < expected {
        return None;
    }
    let owner = object("PodDisruptionBudget", &budget.metadata);
    let name = &owner.name;
    let facts =
        json!({ "min_available": spec.min_available, "max_unavailable": spec.max_unavailable });
    let fault = Fault {
        cause: Cause::DisruptionBudget,
        category: Category::Configuration,
        severity: Severity::Medium,
        title: format!("{name} lets no copy ever be moved"),
        description: format!(
            "The rule {name} wants all {expected} copies of its app to run at any time, so no node that runs one can be emptied for its maintenance."
        ),
    };
    Some(fault.of(seen, owner, "", facts))
}
