//! A cluster behind one function that speaks JSON: for executors and scanners in other languages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
///
/// A write (`apply`, `undo`) that takes too long runs on: until it comes to its end nobody knows what became of its object, and
/// no other write of that object is begun.
#[derive(Debug)]
pub struct JsonCluster<D> {
    door: Arc<D>,
    writing: Arc<Mutex<BTreeSet<String>>>,
}

impl<D> Clone for JsonCluster<D> {
    fn clone(&self) -> Self {
        Self {
            door: Arc::clone(&self.door),
            writing: Arc::clone(&self.writing),
        }
    }
}

/// The object that a write runs for, until it comes to its end.
struct Writing {
    object: String,
    all: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.object);
    }
}

fn unknown(message: String) -> JsonRefusal {
    JsonRefusal {
        kind: JsonRefusalKind::Unknown,
        message,
    }
}

fn late<E>(method: &str) -> impl FnOnce(E) -> JsonRefusal {
    let message = format!("`{method}` took longer than {} seconds", LIMIT.as_secs());
    |_| unknown(message)
}

/// What is sent about a step.
fn about(step: ApprovedStep<'_>) -> Value {
    json!({
        "plan_id": step.plan_id(),
        "index": step.index(),
        "action": step.action(),
        "command": step.command(),
        "preview": step.preview(),
    })
}

fn object(step: ApprovedStep<'_>) -> String {
    let target = step.action().target();
    target.map(ToString::to_string).unwrap_or_default()
}

fn answered<T: DeserializeOwned>(
    method: &str,
    answer: Result<Value, JsonRefusal>,
) -> Result<T, JsonRefusal> {
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

impl<D: JsonDoor + 'static> JsonCluster<D> {
    /// Behind this door.
    #[must_use]
    pub fn new(door: D) -> Self {
        Self {
            door: Arc::new(door),
            writing: Arc::default(),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        request: Value,
    ) -> Result<T, JsonRefusal> {
        let call = self.door.call(method, request);
        let answer = match method {
            "settle" => call.await,
            _ => timeout(LIMIT, call).await.map_err(late(method))?,
        };
        answered(method, answer)
    }

    /// Has a step written, by a call that runs to its end also when nobody waits for it any more.
    async fn write<T: DeserializeOwned>(
        &self,
        method: &'static str,
        step: ApprovedStep<'_>,
    ) -> Result<T, JsonRefusal> {
        let object = object(step);
        if !self.writing().insert(object.clone()) {
            return Err(JsonRefusal {
                kind: JsonRefusalKind::NotDone,
                message: format!("an earlier write of {object} has not come to its end"),
            });
        }
        let all = Arc::clone(&self.writing);
        let writing = Writing { object, all };
        let (door, request) = (Arc::clone(&self.door), about(step));
        let call = tokio::spawn(async move {
            let _writing = writing;
            door.call(method, request).await
        });
        let answer = timeout(LIMIT, call).await.map_err(late(method))?;
        let answer = answer.map_err(|_| unknown(format!("`{method}` did not come to its end")))?;
        answered(method, answer)
    }

    fn writing(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
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
impl<D: JsonDoor + 'static> DryRunner for JsonCluster<D> {
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
impl<D: JsonDoor + 'static> Executor for JsonCluster<D> {
    async fn apply(&self, step: ApprovedStep<'_>) -> Result<Value, ApplyError> {
        self.write("apply", step).await.map_err(unapplied)
    }

    async fn settle(&self, step: ApprovedStep<'_>) -> Result<(), SettleError> {
        let settled: Result<Value, _> = self.call("settle", about(step)).await;
        settled
            .map(|_| ())
            .map_err(|refusal| SettleError(refusal.message))
    }

    async fn is_in_force(&self, step: ApprovedStep<'_>) -> Result<bool, ApplyError> {
        let object = object(step);
        let is_written = self.writing().contains(&object);
        let there = match is_written {
            true => Err(unknown(format!(
                "an earlier write of {object} has not come to its end"
            ))),
            false => self.call("is_in_force", about(step)).await,
        };
        there.map_err(|refusal| ApplyError::Unknown {
            problem: refusal.message,
            source: None,
        })
    }

    async fn undo(&self, undo: UndoStep<'_>) -> Result<Undone, UndoError> {
        let step = undo.step();
        match self.write::<Undone>("undo", step).await {
            Ok(undone) => Ok(undone),
            Err(refusal) => Err(match refusal.kind {
                JsonRefusalKind::NotDone => UndoError::Refused(refusal.message),
                JsonRefusalKind::Stale => UndoError::NotOurs {
                    target: object(step),
                    fields: refusal.message,
                },
                JsonRefusalKind::Unknown => UndoError::Unreachable(refusal.message),
            }),
        }
    }
}

#[async_trait]
impl<D: JsonDoor + 'static> Scanner for JsonCluster<D> {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        let namespaces: Vec<&str> = scope.iter().collect();
        let scan = self.call("scan", json!({ "namespaces": namespaces })).await;
        scan.map_err(|refusal| ScanError {
            problem: refusal.message,
            source: None,
        })
    }
}
