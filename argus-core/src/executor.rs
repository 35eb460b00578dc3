//! Room 7: each step of an [`Approved`](crate::Approved) plan becomes applied, undone or stuck.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use crate::approval::{ApprovedStep, Withdrawn};
use crate::dry_run::DryRunner;

/// Why a step wasn't applied, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The object isn't the one that was approved; nothing was written.
    #[error("{0} changed after the approval: nothing was written, plan again")]
    Stale(String),
    /// The API server refused; nothing was written.
    #[error("the cluster refused the change: {0}")]
    Refused(String),
    /// [`ApprovedStep::still_permitted`] said no; nothing was written.
    #[error("nothing was written: {0}")]
    Withdrawn(#[from] Withdrawn),
    /// No answer: it may or may not have been written.
    #[error("the cluster did not answer, the change may have been made: {problem}")]
    Unknown {
        /// What went wrong.
        problem: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Why a step didn't come to rest.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettleError(
    /// What was seen, in plain English.
    pub String,
);

/// Why a step couldn't be undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// Somebody else changed the same fields since.
    #[error("{target} was changed by somebody else since, at {fields}")]
    NotOurs {
        /// The object.
        target: String,
        /// The fields.
        fields: String,
    },
    /// It's gone, or it is another one of the same name.
    #[error("{0} is gone")]
    Gone(String),
    /// The API server refused.
    #[error("the cluster refused to undo the change: {0}")]
    Refused(String),
    /// [`UndoStep::still_permitted`] said no.
    #[error("{0}")]
    Withdrawn(#[from] Withdrawn),
    /// No answer.
    #[error("the cluster did not answer: {0}")]
    Unreachable(String),
    /// Nothing says whether there is a change to undo.
    #[error(
        "nobody knows whether the change was made, and it may still be: look at the object, then plan again"
    )]
    InDoubt,
}

/// What an undo did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undone {
    /// The fields are as they were.
    Restored,
    /// The step leaves nothing to restore: a deleted pod was replaced by its owner.
    NothingToRestore,
}

/// A step that was applied and is to be undone: what the corridor hands to [`Executor::undo`] after policy agreed.
#[derive(Debug, Clone, Copy)]
pub struct UndoStep<'a>(ApprovedStep<'a>);

impl<'a> UndoStep<'a> {
    pub(crate) fn new(step: ApprovedStep<'a>) -> Self {
        Self(step)
    }

    /// The step that was applied; its preview holds the object from before.
    #[must_use]
    pub fn step(&self) -> ApprovedStep<'a> {
        self.0
    }

    /// Asks whether the step may still be undone, as [`ApprovedStep::still_permitted`] does; an undo needs no approval that lasts.
    ///
    /// # Errors
    /// [`Withdrawn`]: no further request may be sent.
    pub async fn still_permitted(&self) -> Result<(), Withdrawn> {
        self.0.undo_still_permitted().await
    }
}

/// The door to whoever changes the cluster.
///
/// # Obligations
/// [`apply`](Self::apply) sends the approved [`Write`](crate::Write) and nothing else, with a precondition that the
/// server checks in the same request: the object has the approved uid and the approved desired state. It never forces.
/// [`undo`](Self::undo) restores exactly the fields that the step changed, and only if they are still as it left them. Whoever waits
/// or tries again asks [`ApprovedStep::still_permitted`], or [`UndoStep::still_permitted`], before each request that writes.
///
/// # Example
/// Only a step of an approved plan can be applied:
///
/// ```
/// async fn apply(executor: &dyn argus_core::Executor, step: argus_core::ApprovedStep<'_>) {
///     let _ = executor.apply(step).await;
/// }
/// ```
/// ```compile_fail,E0308
/// async fn skip_the_doors(executor: &dyn argus_core::Executor, step: argus_core::PermittedStep<'_>) {
///     let _ = executor.apply(step).await;
/// }
/// ```
#[async_trait]
pub trait Executor: DryRunner {
    /// Writes one step and returns the object as the server stored it; null if it is gone.
    ///
    /// # Errors
    /// [`ApplyError`] says whether something may have been written.
    async fn apply(&self, step: ApprovedStep<'_>) -> Result<Value, ApplyError>;

    /// Waits until a written step came to rest: the rollout is complete, the pod is gone.
    ///
    /// # Errors
    /// [`SettleError`] when it failed or took too long.
    async fn settle(&self, step: ApprovedStep<'_>) -> Result<(), SettleError>;

    /// Whether what the step wrote is there now.
    ///
    /// # Errors
    /// [`ApplyError::Unknown`] when the cluster can't be asked.
    async fn is_in_force(&self, step: ApprovedStep<'_>) -> Result<bool, ApplyError>;

    /// Undoes one step.
    ///
    /// # Errors
    /// [`UndoError`]: a person has to look.
    async fn undo(&self, step: UndoStep<'_>) -> Result<Undone, UndoError>;
}
