//! NetworkPolicies become findings: one that is for no pod.

use serde_json::json;

use super::super::seen::{Seen, object};
use super::Fault;
use crate::incident::{Category, Cause, Finding, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let policies = seen.objects.policies.values();
    let of_nothing = policies.filter_map(|policy| {
        let selector = policy.spec.as_ref()?.pod_selector.as_ref();
        let selector = selector.filter(|selector| seen.selects_nothing(selector))?;
        let owner = object("NetworkPolicy", &policy.metadata);
        let name = &owner.name;
        let fault = Fault {
            cause: Cause::SelectsNothing,
            category: Category::NetworkPolicy,
            severity: Severity::Low,
            title: format!("{name} protects nothing"),
            description: format!(
                "The network rule {name} says who may speak with an app, and nothing has the labels that it looks for, so it is in force nowhere."
            ),
        };
        Some(fault.of(seen, owner, "", json!({ "selector": selector })))
    });
    of_nothing.collect()
}
