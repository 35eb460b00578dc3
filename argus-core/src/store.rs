//! A plan, and what was approved of it, become a document that outlives the process.
//!
//! A document is worth nothing by itself: a stored plan passes every door again, and a stored approval is held against the
//! digest that the audit trail has of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::approval::Approved;
use crate::audit::AuditEntry;
use crate::digest::Digest;
use crate::dry_run::{DryRun, Preview};
use crate::incident::Scan;
use crate::plan::Plan;
use crate::plan_id::PlanId;
use crate::verdict::Evaluation;

mod file;
#[cfg(feature = "postgres")]
mod postgres;
pub use file::FilePlans;
#[cfg(feature = "postgres")]
pub use postgres::PostgresPlans;

/// The largest document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 32 << 20;

/// Why a plan isn't kept, or isn't there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder or file can't be used.
    #[error(
        "the plan file `{path}` can't be {verb}: check that the folder exists, is writable and has space"
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
    /// The database can't be used.
    #[error(
        "the plans in PostgreSQL can't be {verb}: check that the server runs, and that its owner called `PostgresAudit::migrate` for this role"
    )]
    Database {
        /// What was tried.
        verb: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("the document of {plan_id} has {bytes} bytes, at most {MAX_DOCUMENT_BYTES} are kept")]
    TooLarge {
        /// Which plan.
        plan_id: PlanId,
        /// How large it is.
        bytes: usize,
    },
    /// The document isn't one that Argus wrote.
    #[error("the document of {plan_id} can't be used: {problem}")]
    Damaged {
        /// Which plan.
        plan_id: PlanId,
        /// What is wrong.
        problem: String,
    },
    /// The store of a host failed.
    #[error("the plan store failed: {0}")]
    Store(String),
}

/// The door to where plans are kept.
///
/// # Obligations
/// [`save`](Self::save) returns only when the document is durable, and replaces the one before as a whole: after a crash
/// there is the old one or the new one. Documents hold the specs of objects: nobody but the host may read them.
///
/// # Cancellation
/// A dropped save has replaced the document or not.
#[async_trait]
pub trait PlanStore: Send + Sync {
    /// Keeps the document of a plan, UTF-8 text of at most [`MAX_DOCUMENT_BYTES`].
    ///
    /// # Errors
    /// [`StoreError`]: it may not be durable.
    async fn save(&self, plan_id: &PlanId, document: &str) -> Result<(), StoreError>;

    /// The document of a plan, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] when it can't be read.
    async fn load(&self, plan_id: &PlanId) -> Result<Option<String>, StoreError>;
}

/// Plans in memory: gone with the process. What is used where a host names no store.
#[derive(Debug, Clone, Default)]
pub struct MemoryPlans(Arc<Mutex<BTreeMap<PlanId, String>>>);

#[async_trait]
impl PlanStore for MemoryPlans {
    async fn save(&self, plan_id: &PlanId, document: &str) -> Result<(), StoreError> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(plan_id.clone(), document.to_owned());
        Ok(())
    }

    async fn load(&self, plan_id: &PlanId) -> Result<Option<String>, StoreError> {
        let plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(plans.get(plan_id).cloned())
    }
}

/// The version of [`Document`].
const VERSION: &str = "argus.plan/v1";

/// What is kept of a plan.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    version: String,
    plan: Plan,
    /// What resuming needs; there from before the first write.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<Execution>,
    /// The digest of the text that was loaded.
    #[serde(skip)]
    digest: Option<Digest>,
}

/// What is kept of an approval that was being executed.
pub(crate) struct Kept {
    pub(crate) approved: Approved,
    /// The scan from before, where the trail vouches for it.
    pub(crate) before: Option<Scan>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Execution {
    previews: Vec<Preview>,
    evaluations: [Evaluation; 2],
    revision: Digest,
    digest: Digest,
    taken_at: Timestamp,
    #[serde(deserialize_with = "crate::actor::stored")]
    approver: Actor,
    #[serde(deserialize_with = "crate::actor::all_stored")]
    others: Vec<Actor>,
    approved_at: Timestamp,
    before: Scan,
}

impl Document {
    pub(crate) fn of_plan(plan: &Plan) -> Self {
        Self {
            version: VERSION.into(),
            plan: plan.clone(),
            execution: None,
            digest: None,
        }
    }

    pub(crate) fn of_execution(approved: &Approved, before: &Scan) -> Self {
        let dry_run = approved.dry_run();
        Self {
            execution: Some(Execution {
                previews: dry_run.previews().to_vec(),
                evaluations: dry_run.evaluations().clone(),
                revision: dry_run.revision(),
                digest: dry_run.digest(),
                taken_at: dry_run.taken_at(),
                approver: approved.approver().clone(),
                others: approved.others().to_vec(),
                approved_at: approved.approved_at(),
                before: before.clone(),
            }),
            ..Self::of_plan(approved.plan())
        }
    }

    /// Keeps it, and gives the digest of what is kept.
    pub(crate) async fn save(&self, store: &dyn PlanStore) -> Result<Digest, StoreError> {
        let plan_id = self.plan.plan_id();
        let text =
            serde_json::to_string(self).map_err(|error| StoreError::Store(error.to_string()))?;
        bounded(plan_id, &text)?;
        store.save(plan_id, &text).await?;
        Ok(Digest::of_bytes(text.as_bytes()))
    }

    pub(crate) async fn load(
        store: &dyn PlanStore,
        plan_id: &PlanId,
    ) -> Result<Option<Self>, StoreError> {
        let Some(text) = store.load(plan_id).await? else {
            return Ok(None);
        };
        let damaged = |problem: String| StoreError::Damaged {
            plan_id: plan_id.clone(),
            problem,
        };
        bounded(plan_id, &text)?;
        let mut document: Self =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        document.digest = Some(Digest::of_bytes(text.as_bytes()));
        if document.version != VERSION {
            return Err(damaged(format!("its version is not {VERSION}")));
        }
        if document.plan.plan_id() != plan_id {
            return Err(damaged(format!("it holds {}", document.plan.plan_id())));
        }
        Ok(Some(document))
    }

    pub(crate) fn into_plan(self) -> Plan {
        self.plan
    }

    /// The approval that was being executed, held against its record in the trail.
    ///
    /// A record of before has no digest of the document. Then only what the digest of the dry run covers is believed: the time of the
    /// approval isn't, nor the scan from before.
    pub(crate) fn into_execution(self, record: &AuditEntry) -> Result<Kept, StoreError> {
        let plan_id = self.plan.plan_id().clone();
        let damaged = |problem: &str| StoreError::Damaged {
            plan_id: plan_id.clone(),
            problem: problem.to_owned(),
        };
        let altered = || damaged("it is not what the audit trail says was approved");
        if record.document.is_some() && record.document != self.digest {
            return Err(altered());
        }
        let execution = self
            .execution
            .ok_or_else(|| damaged("it holds no approval"))?;
        let dry_run = DryRun::of(
            self.plan,
            execution.previews,
            execution.evaluations,
            execution.revision,
            execution.taken_at,
        );
        let dry_run = dry_run.map_err(|error| damaged(&error.to_string()))?;
        if Some(dry_run.digest()) != record.digest
            || dry_run.previews().len() != dry_run.plan().steps().len()
        {
            return Err(altered());
        }
        if record.document.is_none() {
            let approver = record.requested_by.clone();
            let long_ago = Timestamp::UNIX_EPOCH;
            let approved = Approved::restored(dry_run, approver, Vec::new(), long_ago);
            return Ok(Kept {
                approved,
                before: None,
            });
        }
        if execution.others.len() + 1 < usize::from(dry_run.people()) {
            return Err(damaged("too few people approved it"));
        }
        let approved = Approved::restored(
            dry_run,
            execution.approver,
            execution.others,
            execution.approved_at,
        );
        Ok(Kept {
            approved,
            before: Some(execution.before),
        })
    }
}

fn bounded(plan_id: &PlanId, text: &str) -> Result<(), StoreError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(StoreError::TooLarge {
            plan_id: plan_id.clone(),
            bytes: text.len(),
        });
    }
    Ok(())
}
