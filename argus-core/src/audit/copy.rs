//! A trail whose records go to one more place, as they are.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::tee::detached;
use super::{AuditEntry, AuditError, AuditQuery, AuditRecord, AuditSink};
use crate::redact::redact;

/// How long a copy may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The door to one more place for records, such as a host's own log.
///
/// # Obligations
/// [`copy`](Self::copy) returns only when the record is durable there. It has 30 seconds.
#[async_trait]
pub trait RecordCopy: Send + Sync {
    /// Keeps one record, with its number and its place in the chain.
    ///
    /// # Errors
    /// Why not, in words: nothing may be done that relies on the record.
    async fn copy(&self, record: &AuditRecord) -> Result<(), String>;
}

/// No other place.
#[async_trait]
impl<C: RecordCopy> RecordCopy for Option<C> {
    async fn copy(&self, record: &AuditRecord) -> Result<(), String> {
        match self {
            Some(copy) => copy.copy(record).await,
            None => Ok(()),
        }
    }
}

/// A sink, and a [`RecordCopy`] that gets what it stored.
///
/// # Guarantees
/// `append` returns after both, and copies come in the order of the chain. After either failed, nothing more is taken. An
/// append that is dropped comes to its end in both.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("argus-copied-{}", std::process::id()));
/// use argus_core::{AuditRecord, CopiedAudit, FileAudit, RecordCopy};
///
/// struct Printed;
/// #[async_trait::async_trait]
/// impl RecordCopy for Printed {
///     async fn copy(&self, record: &AuditRecord) -> Result<(), String> {
///         println!("{} {:?}", record.sequence, record.entry.event);
///         Ok(())
///     }
/// }
/// let audit = CopiedAudit::new(FileAudit::open(&folder).await?, Printed);
/// # drop(audit);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CopiedAudit<A, C>(Arc<Both<A, C>>);

#[derive(Debug)]
struct Both<A, C> {
    trail: A,
    copy: C,
    failed: Mutex<bool>,
}

impl<A: AuditSink, C: RecordCopy> CopiedAudit<A, C> {
    /// Of these two.
    #[must_use]
    pub fn new(trail: A, copy: C) -> Self {
        Self(Arc::new(Both {
            trail,
            copy,
            failed: Mutex::new(false),
        }))
    }
}

impl<A: AuditSink, C: RecordCopy> Both<A, C> {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        let mut failed = self.failed.lock().await;
        if *failed {
            return Err(AuditError::Poisoned);
        }
        // Until both have it, whatever ends this.
        *failed = true;
        let record = self.trail.append(entry).await?;
        let problem = match timeout(LIMIT, self.copy.copy(&record)).await {
            Ok(Ok(())) => {
                *failed = false;
                return Ok(record);
            }
            Ok(Err(problem)) => redact(&problem),
            Err(_) => format!("the copy took longer than {} seconds", LIMIT.as_secs()),
        };
        Err(AuditError::Sink(problem))
    }
}

#[async_trait]
impl<A: AuditSink + 'static, C: RecordCopy + 'static> AuditSink for CopiedAudit<A, C> {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        let both = Arc::clone(&self.0);
        detached(async move { both.append(entry).await }).await
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        self.0.trail.records(query).await
    }
}
