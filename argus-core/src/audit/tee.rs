//! Two sinks become one: a record is durable in both, or nothing may rely on it.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::{AuditEntry, AuditError, AuditQuery, AuditRecord, AuditSink};

/// Every record in two sinks, such as a file and the host's own log.
///
/// # Guarantees
/// `append` returns after both; the record, its number and its chain are those of the first, which also answers queries.
/// After either failed, nothing more is taken.
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
pub struct AuditTee<A, B> {
    first: A,
    second: B,
    failed: AtomicBool,
}

impl<A: AuditSink, B: AuditSink> AuditTee<A, B> {
    /// Of these two.
    #[must_use]
    pub fn new(first: A, second: B) -> Self {
        Self {
            first,
            second,
            failed: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl<A: AuditSink, B: AuditSink> AuditSink for AuditTee<A, B> {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(AuditError::Poisoned);
        }
        let both = async {
            let record = self.first.append(entry.clone()).await?;
            self.second.append(entry).await?;
            Ok(record)
        };
        let result = both.await;
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        self.first.records(query).await
    }
}
