//! What a host may have to tell its user.

use std::collections::BTreeMap;

use crate::audit::AuditError;
use crate::digest::DigestError;
use crate::dry_run::DryRunError;
use crate::incident::ScanError;
use crate::plan::{Plan, PlanError};
use crate::plan_id::PlanId;
use crate::prompt::LlmError;
use crate::store::StoreError;
use crate::verdict::{Evaluation, PolicyError};

/// A door that wasn't set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the remediator has no {0}: call `.{0}(...)` before `.build()`")]
pub struct BuildError(pub(super) &'static str);

/// Why the walk stopped. Exhaustive on purpose: a new reason must break the host's build.
#[derive(Debug, thiserror::Error)]
pub enum RemediatorError {
    /// The model gave no answer.
    #[error("nothing was suggested")]
    Llm(#[from] LlmError),
    /// No answer was a plan, or a diagnosis.
    #[error("no answer of the model can be used{}", tried(*attempts))]
    Plan {
        /// How often the model was asked.
        attempts: u32,
        /// What is wrong with the last answer.
        #[source]
        source: PlanError,
    },
    /// No model may be asked: the budget is spent, or what is spent can't be known.
    #[error("no model is asked: {what}")]
    OverBudget {
        /// Which limit, and what to do.
        what: String,
    },
    /// There is no verdict; never an allow.
    #[error("the plan could not be judged")]
    Policy(#[from] PolicyError),
    /// Policy refused.
    #[error("policy refuses the plan: {}", evaluation.messages())]
    Denied {
        /// The plan, to show it.
        plan: Box<Plan>,
        /// Every violation, with hints.
        evaluation: Evaluation,
    },
    /// Steps that only a person may do.
    #[error("the plan has steps that only a person may do: {}", steps.values().map(String::as_str).collect::<Vec<_>>().join("; "))]
    Manual {
        /// The reason by the step's index.
        steps: BTreeMap<usize, String>,
    },
    /// The host lacks permissions; nothing was tried.
    #[error("the cluster does not give Argus the permissions that the plan needs: {}", missing.join("; "))]
    Permissions {
        /// Each in words.
        missing: Vec<String>,
    },
    /// A step wouldn't work.
    #[error("step {} would not work", step + 1)]
    DryRun {
        /// From 0.
        step: usize,
        /// Why.
        #[source]
        source: DryRunError,
    },
    /// The dry run has no digest.
    #[error("the dry run can't be bound to an approval")]
    Digest(#[from] DigestError),
    /// `remediation.enabled` is false.
    #[error("executing plans is switched off: set `remediation.enabled` to true to allow it")]
    Disabled,
    /// Something changed after the approval; nothing was written.
    #[error("the approval no longer holds: {what}")]
    Stale {
        /// What changed.
        what: String,
    },
    /// Another plan changes the same object right now; nothing was written.
    #[error("another plan is changing {target} right now: try again when it is done")]
    Busy {
        /// The object.
        target: String,
    },
    /// Another host that shares the trail executes the plan: it began it, or it took it up while this host was cut off.
    #[error("another host is executing {0}: it goes on there, or here when that host is gone")]
    Held(PlanId),
    /// The trail failed, so nothing more is done.
    #[error("the audit trail failed{}", if *standing == 0 { ", so nothing was done".to_owned() } else { format!("; {standing} step(s) stand in the cluster and were not undone: a person has to look") })]
    Audit {
        /// How many steps may have been written and were not undone.
        standing: usize,
        /// Why.
        #[source]
        source: AuditError,
    },
    /// The host pulled the kill switch, see [`Remediator::halt`](crate::Remediator::halt).
    #[error("everything was halted{}", if *standing == 0 { "; nothing of the plan stands in the cluster".to_owned() } else { format!("; {standing} step(s) of the plan stand in the cluster: resume the plan to finish or undo it") })]
    Halted {
        /// How many steps may stand in the cluster.
        standing: usize,
    },
    /// The plan can't be kept, or isn't kept as it was.
    #[error("the plan could not be kept or read")]
    Store(#[from] StoreError),
    /// There is nothing to go on with.
    #[error("{0} can't be resumed: the trail knows of no execution of it that was cut off")]
    NotUnfinished(PlanId),
    /// There is nothing of it to undo: it didn't succeed, or was undone already.
    #[error("{0} can't be undone: only a plan that was carried out and still stands can be")]
    NotUndoable(PlanId),
    /// The cluster couldn't be scanned before the execution; nothing was written.
    #[error("nothing was done")]
    Scan(#[from] ScanError),
}

fn tried(attempts: u32) -> String {
    if attempts > 1 {
        format!("; it was asked {attempts} times")
    } else {
        String::new()
    }
}

impl RemediatorError {
    /// Whether policy refused.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// Whether something changed after the approval: plan again.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }

    /// Whether a person has to look at what was left in the cluster.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        matches!(self, Self::Audit { standing, .. } | Self::Halted { standing } if *standing > 0)
    }

    /// Whether the same call may work later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Held(_) | Self::Scan(_) => true,
            Self::Llm(error) => error.retryable,
            Self::DryRun { source, .. } => matches!(source, DryRunError::Unreachable { .. }),
            _ => false,
        }
    }
}
