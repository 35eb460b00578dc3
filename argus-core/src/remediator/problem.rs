//! Errors as data: for hosts in other languages and for HTTP clients.

use std::error::Error;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::approval::ApprovalError;
use crate::kubectl::CommandError;
use crate::remediator::RemediatorError;

/// An error as data.
///
/// # Example
/// ```
/// use argus_core::{Problem, RemediatorError};
/// let problem = Problem::from(&RemediatorError::Stale { what: "web was changed".into() });
/// assert_eq!(problem.code, "stale");
/// assert_eq!(serde_json::to_value(&problem).unwrap()["what"], "web was changed");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Problem {
    /// A word that never changes, such as `denied`.
    pub code: &'static str,
    /// The error and its causes, in one line.
    pub message: String,
    /// Whether the same call may work later.
    pub retryable: bool,
    /// What else belongs to the error, by its code: `violations` and `plan` of `denied`, `what` of `stale`, `missing` of
    /// `missing_permissions`, `steps` of `manual_steps`, `step` of `dry_run_failed`, `attempts` of `no_plan`, `standing` of
    /// `halted` and `audit_failed`, `target` of `busy`, `plan_id` of `not_unfinished` and `not_undoable`, `position` and `hint` of `command_refused`,
    /// `people` and `so_far`, or `name_to_type`, of `not_approved`.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl Problem {
    /// An error that has nothing but its text.
    #[must_use]
    pub fn new(code: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self {
            code,
            message: Self::causes(error),
            retryable: false,
            details: Map::new(),
        }
    }

    /// An error and its causes in one line.
    #[must_use]
    pub fn causes(error: &(dyn Error + 'static)) -> String {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }

    fn with(mut self, details: Value) -> Self {
        if let Value::Object(details) = details {
            self.details = details;
        }
        self
    }
}

impl From<&RemediatorError> for Problem {
    fn from(error: &RemediatorError) -> Self {
        use RemediatorError as E;
        let (code, details) = match error {
            E::Llm(_) => ("no_plan", json!({ "attempts": 1 })),
            E::Plan { attempts, .. } => ("no_plan", json!({ "attempts": attempts })),
            E::OverBudget { what } => ("over_budget", json!({ "what": what })),
            E::Policy(_) => ("policy_failed", json!({})),
            E::Denied { plan, evaluation } => (
                "denied",
                json!({ "plan": plan, "violations": evaluation.violations }),
            ),
            E::Manual { steps } => ("manual_steps", json!({ "steps": steps })),
            E::Permissions { missing } => ("missing_permissions", json!({ "missing": missing })),
            E::DryRun { step, .. } => ("dry_run_failed", json!({ "step": step })),
            E::Digest(_) => ("internal", json!({})),
            E::Disabled => ("disabled", json!({})),
            E::Stale { what } => ("stale", json!({ "what": what })),
            E::Busy { target } => ("busy", json!({ "target": target })),
            E::Held(plan_id) => ("busy", json!({ "target": plan_id })),
            E::Audit { standing, .. } => ("audit_failed", json!({ "standing": standing })),
            E::Halted { standing } => ("halted", json!({ "standing": standing })),
            E::Store(_) => ("store_failed", json!({})),
            E::NotUnfinished(plan_id) => ("not_unfinished", json!({ "plan_id": plan_id })),
            E::NotUndoable(plan_id) => ("not_undoable", json!({ "plan_id": plan_id })),
            E::Scan(_) => ("scan_failed", json!({})),
        };
        let problem = Self::new(code, error).with(details);
        Self {
            retryable: error.is_retryable(),
            ..problem
        }
    }
}

impl From<&ApprovalError> for Problem {
    fn from(error: &ApprovalError) -> Self {
        let details = match error {
            ApprovalError::PeopleNeeded { people, so_far } => {
                json!({ "people": people, "so_far": so_far })
            }
            ApprovalError::NameNeeded(name) => json!({ "name_to_type": name }),
            _ => json!({}),
        };
        Self::new("not_approved", error).with(details)
    }
}

impl From<&CommandError> for Problem {
    fn from(error: &CommandError) -> Self {
        let details = json!({ "position": error.position(), "hint": error.hint() });
        Self::new("command_refused", error).with(details)
    }
}
