//! ResourceQuotas become findings: one that leaves no room for another pod.

use serde_json::json;

use super::super::seen::{Seen, object};
use super::Fault;
use crate::action::Quantity;
use crate::incident::{Category, Cause, Finding, Severity};

/// What pods take of a quota.
const OF_PODS: [&str; 7] = [
    "pods",
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let quotas = seen.objects.quotas.values();
    let full = quotas.filter_map(|quota| {
        let status = quota.status.as_ref()?;
        let (hard, used) = (status.hard.as_ref()?, status.used.as_ref()?);
        let read = |amount: &str| Quantity::new(amount).ok();
        let full = OF_PODS.into_iter().find(|resource| {
            let (hard, used) = (hard.get(*resource), used.get(*resource));
            let (hard, used) = (hard.and_then(|hard| read(&hard.0)), used.and_then(|used| read(&used.0)));
            hard.zip(used).is_some_and(|(hard, used)| hard.milli() > 0 && used >= hard)
        })?;
        let owner = object("ResourceQuota", &quota.metadata);
        let allowed = hard.get(full).map(|hard| hard.0.clone()).unwrap_or_default();
        let fault = Fault {
            cause: Cause::QuotaFull,
            category: Category::Resource,
            severity: Severity::Low,
            title: format!("The quota {} is used up", owner.name),
            description: format!(
                "All of {full} that the namespace {} may use ({allowed}) is in use, so no app can start another copy, not even while it is updated. Quotas belong to whoever runs the cluster.",
                owner.namespace
            ),
        };
        Some(fault.of(seen, owner, "", json!({ "resource": full, "hard": allowed })))
    });
    full.collect()
}
