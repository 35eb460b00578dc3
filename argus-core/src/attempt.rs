//! A plan that was tried for an incident, and what became of it, as the trail has it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan_id::PlanId;
use crate::redact::Redacted;

/// The re-scan's word about the plan. Never the model's, and never "the patch was accepted".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// The fault of the plan's objects is gone, they run, and they were watched until it had the time to come back.
    Resolved,
    /// The fault is not to be seen, and nobody watched, or not long enough, whether it stays away: no proof of a fix.
    Unproven,
    /// The fault was gone, and came back while it was watched.
    Relapsed,
    /// Something is still wrong with them.
    Persists,
    /// They run worse than before, or something else that worked does so no more.
    Regressed,
    /// They are gone, or scaled to zero: not a fix.
    Vanished,
    /// Somebody else put the old state back.
    Reverted,
    /// It can't be told: the scan wasn't whole, or nothing was wrong before.
    Inconclusive,
}

/// A plan of which at least one step was begun. The attempts at one incident, oldest first, are its history.
///
/// # Example
/// ```
/// # use argus_core::{Attempt, Recovery};
/// let attempt: Attempt = serde_json::from_str(r#"{
///     "plan_id": "PLAN-00000000000000000000000000000001",
///     "at": "2026-11-25T08:00:00Z",
///     "steps": [{"command": "kubectl set resources deployment/web -n shop -c app --limits=memory=128Mi", "written": true}],
///     "recovery": "relapsed",
///     "outcome": "undone: web runs out of memory again"
/// }"#)?;
/// assert!(attempt.failed() && !attempt.helped());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The plan.
    pub plan_id: PlanId,
    /// The time at which its first step was begun.
    pub at: Timestamp,
    /// The steps that were begun, in order.
    pub steps: Vec<AttemptStep>,
    /// The re-scan's word after it, before anybody asked for its undo; null where there was none.
    pub recovery: Option<Recovery>,
    /// Its end in words; null while it is under way, or where it was cut off.
    pub outcome: Option<Redacted>,
}

/// One step of an [`Attempt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptStep {
    /// The exact command, but for a secret in it.
    pub command: Redacted,
    /// False where it is known that nothing was written.
    pub written: bool,
}

impl Attempt {
    /// Whether it was watched until the fault had the time to come back, and did not.
    #[must_use]
    pub fn helped(&self) -> bool {
        self.recovery == Some(Recovery::Resolved)
    }

    /// Whether it is known that it did not help: the fault was still there, came back, or something else broke.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(
            self.recovery,
            Some(Recovery::Persists | Recovery::Relapsed | Recovery::Regressed)
        )
    }
}
