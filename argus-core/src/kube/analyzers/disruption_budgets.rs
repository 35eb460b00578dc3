//! PodDisruptionBudgets become findings: one that never lets a single pod go.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use super::{Fault, Seen, object};
use crate::incident::{Category, Cause, Finding, Severity};

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    let budgets = seen.budgets.iter();
    budgets.filter_map(|budget| rigid(seen, budget)).collect()
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
    Some(seen.finding(fault, owner, "", facts))
}
