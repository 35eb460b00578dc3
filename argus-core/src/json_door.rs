//! A cluster behind one function that speaks JSON: for executors and scanners in other languages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::approval::ApprovedStep;
use crate::dry_run::{DryRunError, DryRunner, Preview};
use crate::executor::{ApplyError, Executor, SettleError, UndoError, UndoStep, Undone};
use crate::incident::{Scan, ScanError, Scanner};
use crate::redact::redact;
use crate::scope::Scope;
use crate::verdict::{Permitted, PermittedStep};

/// How long a call may take; settling takes as long as the host lets it.
const LIMIT: Duration = Duration::from_secs(60);

/// What a [`JsonDoor`] says instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JsonRefusal {
    /// How much is known.
    pub kind: JsonRefusalKind,
    /// Why, in words.
    pub message: String,
}

/// How much is known about a call that wasn't answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonRefusalKind {
    /// It was refused; nothing was written.
    NotDone,
    /// The object isn't as it was approved, or as the step left it; nothing was written.
    Stale,
    /// Nobody knows: it may have been written.
    Unknown,
}

/// One function that does what an [`Executor`] and a [`Scanner`] do.
///
/// # Obligations
/// Those of [`Executor`], [`DryRunner`] and [`Scanner`]. By its name:
///
/// | method | request | answer |
/// |---|---|---|
/// | `missing_permissions` | `{"plan"}` | a list of texts; empty when nothing is missing |
/// | `dry_run` | `{"action", "command", "generated_at"}` | a [`Preview`]: `{"uid", "before", "after", "write", "warnings"}` |
/// | `apply` | `{"plan_id", "index", "action", "command", "preview"}` | the object as it was stored; null if it is gone |
/// | `settle` | as of `apply` | anything, when it came to rest |
/// | `is_in_force` | as of `apply` | a boolean |
/// | `undo` | as of `apply` | `"restored"` or `"nothing_to_restore"` |
/// | `scan` | `{"namespaces"}` | a [`Scan`]: `{"findings", "workloads", "incomplete"}` |
#[async_trait]
pub trait JsonDoor: Send + Sync {
    /// Answers one call.
    ///
    /// # Errors
    /// [`JsonRefusal`] says whether something may have been written.
    async fn call(&self, method: &'static str, request: Value) -> Result<Value, JsonRefusal>;
}

/// A cluster whose doors are one [`JsonDoor`].
///
/// An answer of another shape is never taken for a success: after `apply` it means that nobody knows.
#[derive(Debug)]
pub struct JsonCluster<D>(Arc<D>);

impl<D> Clone for JsonCluster<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: JsonDoor> JsonCluster<D> {
    /// Behind this door.
    #[must_use]
    pub fn new(door: D) -> Self {
        Self(Arc::new(door))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        request: Value,
    ) -> Result<T, JsonRefusal> {
        let unknown = |message: String| JsonRefusal {
            kind: JsonRefusalKind::Unknown,
            message,
        };
        let call = self.0.call(method, request);
        let answer = if method == "settle" {
            call.await
        } else {
            let late = |_| {
                unknown(format!(
                    "`{method}` took longer than {} seconds",
                    LIMIT.as_secs()
                ))
            };
            timeout(LIMIT, call).await.map_err(late)?
        };
        let answer = answer.map_err(|refusal| JsonRefusal {
            message: redact(&refusal.message),
            ..refusal
        })?;
        serde_json::from_value(answer).map_err(|error| {
            unknown(format!(
                "the answer to `{method}` has another shape: {error}"
            ))
        })
    }

    async fn of_step<T: DeserializeOwned>(
        &self,
        method: &'static str,
        step: ApprovedStep<'_>,
    ) -> Result<T, JsonRefusal> {
        let request = json!({
            "plan_id": step.plan_id(),
            "index": step.index(),
            "action": step.action(),
            "command": step.command(),
            "preview": step.preview(),
        });
        self.call(method, request).await
    }
}

fn unreachable(refusal: JsonRefusal) -> DryRunError {
    match refusal.kind {
        JsonRefusalKind::NotDone => DryRunError::Refused(refusal.message),
        JsonRefusalKind::Stale => DryRunError::Impossible(refusal.message),
        JsonRefusalKind::Unknown => DryRunError::Unreachable {
            problem: refusal.message,
            source: None,
        },
    }
}

fn unapplied(refusal: JsonRefusal) -> ApplyError {
    match refusal.kind {
        JsonRefusalKind::NotDone => ApplyError::Refused(refusal.message),
        JsonRefusalKind::Stale => ApplyError::Stale(refusal.message),
        JsonRefusalKind::Unknown => ApplyError::Unknown {
            problem: refusal.message,
            source: None,
        },
    }
}

#[async_trait]
impl<D: JsonDoor> DryRunner for JsonCluster<D> {
    async fn missing_permissions(&self, plan: &Permitted) -> Result<Vec<String>, DryRunError> {
        let request = json!({ "plan": plan.plan() });
        let missing = self.call("missing_permissions", request).await;
        missing.map_err(unreachable)
    }

    async fn dry_run(&self, step: PermittedStep<'_>) -> Result<Preview, DryRunError> {
        let request = json!({
            "action": step.action(),
            "command": step.action().command(),
            "generated_at": step.generated_at(),
        });
        self.call("dry_run", request).await.map_err(unreachable)
    }
}

#[async_trait]
impl<D: JsonDoor> Executor for JsonCluster<D> {
    async fn apply(&self, step: ApprovedStep<'_>) -> Result<Value, ApplyError> {
        self.of_step("apply", step).await.map_err(unapplied)
    }

    async fn settle(&self, step: ApprovedStep<'_>) -> Result<(), SettleError> {
        let settled: Result<Value, _> = self.of_step("settle", step).await;
        settled
            .map(|_| ())
            .map_err(|refusal| SettleError(refusal.message))
    }

    async fn is_in_force(&self, step: ApprovedStep<'_>) -> Result<bool, ApplyError> {
        let there = self.of_step("is_in_force", step).await;
        there.map_err(|refusal| ApplyError::Unknown {
            problem: refusal.message,
            source: None,
        })
    }

    async fn undo(&self, undo: UndoStep<'_>) -> Result<Undone, UndoError> {
        let step = undo.step();
        match self.of_step::<Undone>("undo", step).await {
            Ok(undone) => Ok(undone),
            Err(refusal) => Err(match refusal.kind {
                JsonRefusalKind::NotDone => UndoError::Refused(refusal.message),
                JsonRefusalKind::Stale => UndoError::NotOurs {
                    target: step
                        .action()
                        .target()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    fields: refusal.message,
                },
                JsonRefusalKind::Unknown => UndoError::Unreachable(refusal.message),
            }),
        }
    }
}

#[async_trait]
impl<D: JsonDoor> Scanner for JsonCluster<D> {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        let namespaces: Vec<&str> = scope.iter().collect();
        let scan = self.call("scan", json!({ "namespaces": namespaces })).await;
        scan.map_err(|refusal| ScanError {
            problem: refusal.message,
            source: None,
        })
    }
}
