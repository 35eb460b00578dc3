//! Room 8: every event of the walk becomes a chained, durable [`AuditRecord`].

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::attempt::Recovery;
use crate::cost::Usd;
use crate::digest::Digest;
use crate::hold::Hold;
use crate::incident::IncidentId;
use crate::plan_id::PlanId;
use crate::redact::Redacted;

mod chain;
mod checkpoint;
mod copy;
mod file;
mod group;
mod merkle;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
mod segment;
mod tee;
pub use chain::Tail;
pub use checkpoint::{AuditKey, AuditSigner, Checkpoint, CheckpointError};
pub use copy::{CopiedAudit, RecordCopy};
pub use file::{FileAudit, FileAuditOptions, InclusionProof};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresAudit, PostgresAuditOptions};
pub use query::{AuditQuery, CSV_HEAD, PlanState, csv};
pub use tee::AuditTee;

/// The version of [`AuditRecord`].
pub const AUDIT_SCHEMA: &str = "argus.audit/v1";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditEvent {
    /// A model was asked, with or without an answer.
    Asked,
    /// A plan was written.
    Suggested,
    /// Policy permitted it.
    Permitted,
    /// Policy refused it.
    Denied,
    /// It was tried without doing it.
    DryRun,
    /// Somebody approved it.
    Approved,
    /// An execution that didn't come to its end is taken up again.
    Resumed,
    /// A step is about to be written.
    StepIntended,
    /// A step was written.
    StepApplied,
    /// A step wasn't written.
    StepFailed,
    /// It isn't known whether a step was written.
    StepUnknown,
    /// A step was written and did not come to rest, or not as approved.
    StepUnsettled,
    /// A step came to rest.
    StepSettled,
    /// A step is about to be undone.
    UndoIntended,
    /// A step was undone.
    StepUndone,
    /// A step could not be undone.
    UndoFailed,
    /// Everything came to rest, and is watched for a while whether it stays so.
    Holding,
    /// It stayed so for that time.
    Held,
    /// The fault came back while it was watched.
    Relapsed,
    /// Something that worked before the plan works no more.
    Regressed,
    /// Somebody wants a plan undone that came to its end.
    UndoAsked,
    /// The plan, or its undo, came to its end.
    Finished,
    /// The cluster was scanned again.
    Rescanned,
}

/// What is to be recorded, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// What happened.
    pub event: AuditEvent,
    /// Whose incident.
    pub incident_id: IncidentId,
    /// Whose plan.
    pub plan_id: PlanId,
    /// Which step, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Who: a user, or the host by itself.
    #[serde(deserialize_with = "crate::actor::stored")]
    pub requested_by: Actor,
    /// The exact command, but for a secret in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Redacted>,
    /// The digest that was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The digest of the document that the plan store keeps of an approval: who gave it, when, and all else that resuming goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Digest>,
    /// The policy in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Digest>,
    /// How it went, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Redacted>,
    /// The call, where a model was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<ModelCall>,
    /// The time for which it is watched, of such a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The re-scan's word about the plan, of such a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// How many findings there were before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_before: Option<usize>,
    /// How many there are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_after: Option<usize>,
}

/// One call of a model. Names follow OpenTelemetry's `gen_ai` attributes where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelCall {
    /// The digest of what was sent, see [`Prompt::digest`](crate::Prompt::digest).
    pub prompt: Digest,
    /// The model that answered, or was asked; empty where nobody says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Tokens that it read, or may have read where it gave no answer; 0 where the provider doesn't say.
    pub input_tokens: u64,
    /// Tokens that it wrote, or may have written where it gave no answer; 0 where the provider doesn't say.
    pub output_tokens: u64,
    /// What it cost; absent where the price isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// How long it took.
    pub milliseconds: u64,
}

impl AuditEntry {
    /// What happened to a plan, and who asked for it; everything else is absent.
    #[must_use]
    pub fn new(
        event: AuditEvent,
        incident_id: IncidentId,
        plan_id: PlanId,
        requested_by: Actor,
    ) -> Self {
        Self {
            event,
            incident_id,
            plan_id,
            step: None,
            requested_by,
            command: None,
            digest: None,
            document: None,
            revision: None,
            outcome: None,
            call: None,
            hold: None,
            recovery: None,
            findings_before: None,
            findings_after: None,
        }
    }
}

/// One record of the trail.
///
/// # Guarantees
/// `previous` is the SHA-256 of the stored bytes of the record before, so that none can be changed, taken out or
/// put elsewhere without the next one telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// [`AUDIT_SCHEMA`].
    pub schema: String,
    /// From 1, without gaps; as text, because JSON rounds large numbers.
    #[serde(with = "number_as_text")]
    #[schemars(with = "String")]
    pub sequence: u64,
    /// When.
    pub timestamp: Timestamp,
    /// The digest of the record before; zeros for the first.
    pub previous: Digest,
    /// What.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

impl AuditRecord {
    /// The JSON Schema of a stored record.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        crate::json::schema_of::<Self>()
    }
}

mod number_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Why a record isn't durable, or the trail can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The folder or file can't be used.
    #[error(
        "the audit trail `{path}` can't be {verb}: check that the folder exists, is writable and has space"
    )]
    Io {
        /// Which file.
        path: String,
        /// What was tried.
        verb: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another process writes to it.
    #[error("the audit trail `{0}` is in use by another process")]
    Locked(String),
    /// The database can't be used.
    #[error(
        "the audit trail in PostgreSQL can't be {verb}: check that the server runs, and that its owner called `PostgresAudit::migrate` for this role"
    )]
    Database {
        /// What was tried.
        verb: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another host executes the plan.
    #[error("another host executes {0}: it can be taken up here when that host is gone")]
    Held(PlanId),
    /// The chain is broken.
    #[error("the audit trail `{path}` is damaged at record {record}: {problem}")]
    Damaged {
        /// Which file.
        path: String,
        /// The first bad record, from 1.
        record: u64,
        /// What is wrong.
        problem: String,
    },
    /// An earlier record failed, so the sink takes no more.
    #[error("the audit trail takes no more records after a failed write: open it again")]
    Poisoned,
    /// A checkpoint is needed, and there is no key to sign one, or none was signed.
    #[error(
        "the audit trail has no signed checkpoint: give `FileAudit::options()` a key with `signed_by`"
    )]
    Unsigned,
    /// A checkpoint can't be trusted.
    #[error("a checkpoint of the audit trail can't be trusted")]
    Checkpoint(#[source] CheckpointError),
    /// The sink of a host failed.
    #[error("the audit sink failed: {0}")]
    Sink(String),
}

/// The door to where records become durable.
///
/// # Guarantees
/// None of its own: what the implementor keeps is what the trail is worth.
///
/// # Obligations
/// [`append`](Self::append) returns only when the record is durable. After an error, every later append fails too.
///
/// # Cancellation
/// A dropped append has either stored its record whole, or not at all.
#[async_trait]
pub trait AuditSink: Send + Sync {
    /// Stores one entry at the end of the chain.
    ///
    /// # Errors
    /// [`AuditError`]: the entry may not be durable, nothing may be done that relies on it.
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError>;

    /// Reads records, newest first.
    ///
    /// # Errors
    /// [`AuditError`] when the trail can't be read.
    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError>;
}

/// A sink that several remediators, or a remediator and its host, share.
#[async_trait]
impl<T: AuditSink + ?Sized> AuditSink for Arc<T> {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        (**self).append(entry).await
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        (**self).records(query).await
    }
}

/// The plans that were approved, or whose undo was asked for, and that didn't come to their end, oldest first: a pure function of the records, oldest first.
#[must_use]
pub fn unfinished_plans(records: &[AuditRecord]) -> Vec<PlanId> {
    let mut plans: Vec<PlanId> = Vec::new();
    for entry in records.iter().map(|record| &record.entry) {
        match entry.event {
            AuditEvent::Approved | AuditEvent::UndoAsked if !plans.contains(&entry.plan_id) => {
                plans.push(entry.plan_id.clone());
            }
            AuditEvent::Finished => plans.retain(|plan| *plan != entry.plan_id),
            _ => {}
        }
    }
    plans
}

/// What the log says about one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Nothing was written.
    Untouched,
    /// It may or may not have been written.
    Unknown,
    /// It was written.
    Applied,
    /// It was written and came to rest.
    Settled,
    /// It was undone.
    Undone,
    /// It could not be undone.
    Stuck,
}

impl StepStatus {
    /// Whether what the step wrote may be in the cluster.
    #[must_use]
    pub fn may_stand(self) -> bool {
        !matches!(self, Self::Untouched | Self::Undone)
    }
}

/// What the log says about the steps of one plan, in order: a pure function of all its records, oldest first.
#[must_use]
pub fn step_statuses(records: &[AuditRecord]) -> Vec<StepStatus> {
    let mut statuses: Vec<StepStatus> = Vec::new();
    // What was known for certain before the write that is under way.
    let mut certain: Vec<StepStatus> = Vec::new();
    for entry in records.iter().map(|record| &record.entry) {
        let Some(step) = entry.step.filter(|step| *step < crate::prompt::MAX_STEPS) else {
            continue;
        };
        if statuses.len() <= step {
            statuses.resize(step + 1, StepStatus::Untouched);
            certain.resize(step + 1, StepStatus::Untouched);
        }
        let (Some(status), Some(certain)) = (statuses.get_mut(step), certain.get_mut(step)) else {
            continue;
        };
        *status = match entry.event {
            AuditEvent::StepIntended | AuditEvent::StepUnknown | AuditEvent::UndoIntended => {
                StepStatus::Unknown
            }
            AuditEvent::StepApplied | AuditEvent::StepUnsettled => StepStatus::Applied,
            // Another write of it was not made: what an earlier execution left stands as before.
            AuditEvent::StepFailed if certain.may_stand() => *certain,
            AuditEvent::StepFailed => StepStatus::Untouched,
            AuditEvent::StepSettled => StepStatus::Settled,
            AuditEvent::StepUndone => StepStatus::Undone,
            AuditEvent::UndoFailed => StepStatus::Stuck,
            _ => *status,
        };
        if *status != StepStatus::Unknown {
            *certain = *status;
        }
    }
    statuses
}
