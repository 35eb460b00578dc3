//! Two sinks become one: a record is durable in both, or nothing may rely on it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{AuditEntry, AuditError, AuditQuery, AuditRecord, AuditSink};

/// Every record in two sinks, such as a file and the host's own log.
///
/// # Guarantees
/// `append` returns after both, and both get the records in the same order; the record, its number and its chain are those of the
/// first, which also answers queries. After either failed, nothing more is taken. An append that is dropped comes to its end in both.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("argus-tee-{}", std::process::id()));
/// use argus_core::{AuditTee, FileAudit};
/// let (near, far) = (folder.join("near"), folder.join("far"));
/// let audit = AuditTee::new(FileAudit::open(near).await?, FileAudit::open(far).await?);
/// # drop(audit);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AuditTee<A, B>(Arc<Both<A, B>>);

#[derive(Debug)]
struct Both<A, B> {
    first: A,
    second: B,
    failed: Mutex<bool>,
}

impl<A: AuditSink, B: AuditSink> AuditTee<A, B> {
    /// Of these two.
    #[must_use]
    pub fn new(first: A, second: B) -> Self {
        Self(Arc::new(Both {
            first,
            second,
            failed: Mutex::new(false),
        }))
    }
}

impl<A: AuditSink, B: AuditSink> Both<A, B> {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        let mut failed = self.failed.lock().await;
        if *failed {
            return Err(AuditError::Poisoned);
        }
        // Until both have it, whatever ends this.
        *failed = true;
        let record = self.first.append(entry.clone()).await?;
        self.second.append(entry).await?;
        *failed = false;
        Ok(record)
    }
}

#[async_trait]
impl<A: AuditSink + 'static, B: AuditSink + 'static> AuditSink for AuditTee<A, B> {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        let both = Arc::clone(&self.0);
        detached(async move { both.append(entry).await }).await
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        self.0.first.records(query).await
    }
}

/// Runs an append to its end, also if whoever asked for it is gone.
pub(super) async fn detached(
    append: impl Future<Output = Result<AuditRecord, AuditError>> + Send + 'static,
) -> Result<AuditRecord, AuditError> {
    let appended = tokio::spawn(append).await;
    appended.unwrap_or_else(|error| Err(AuditError::Sink(error.to_string())))
}
