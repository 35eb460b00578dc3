//! The door to whoever looks at the cluster, and what a look sees.

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Finding, ObjectRef};
use crate::scope::Scope;

/// What one look at the cluster saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scan {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The workloads that were seen, with how many pods each wants.
    pub workloads: Vec<Workload>,
    /// What is wrong and was asked not to be reported; it is not fixed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<Finding>,
    /// What couldn't be looked at, each in a sentence; a scan that isn't whole proves nothing fixed.
    pub incomplete: Vec<String>,
}

#[cfg(feature = "kube")]
impl Scan {
    /// Adds what was seen elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.ignored.extend(other.ignored);
        self.workloads.extend(other.workloads);
        self.incomplete.extend(other.incomplete);
    }
}

/// A workload as a scan saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Which.
    pub object: ObjectRef,
    /// How many pods it wants.
    pub desired: u32,
    /// How many pods are ready.
    pub ready: u32,
    /// The ends of its containers; none in what was stored before this was kept.
    #[serde(default, skip_serializing_if = "Runs::is_unknown")]
    pub runs: Runs,
}

/// The ends of the containers of a workload, and the time that a fault of theirs takes to show.
///
/// # Guarantees
/// Only pods that stay count: one that is told to end is stopped, and hasn't failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Runs {
    /// The number of times that its containers were started again.
    pub restarts: u64,
    /// The last time that one of them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failed_at: Option<Timestamp>,
    /// The seconds from start to end of the longest run that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_after_seconds: Option<u64>,
    /// The seconds that Kubernetes waits before it starts one again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_seconds: Option<u64>,
    /// The seconds that its slowest probe takes to find out that it doesn't work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_seconds: Option<u64>,
}

impl Runs {
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what is known of others: counts together, the latest, and the longest.
    pub(crate) fn add(&mut self, other: &Self) {
        self.restarts = self.restarts.saturating_add(other.restarts);
        self.last_failed_at = self.last_failed_at.max(other.last_failed_at);
        self.failed_after_seconds = self.failed_after_seconds.max(other.failed_after_seconds);
        self.backoff_seconds = self.backoff_seconds.max(other.backoff_seconds);
        self.probe_seconds = self.probe_seconds.max(other.probe_seconds);
    }

    /// True where a container failed and was started again since.
    pub(crate) fn failed_since(&self, since: &Self) -> bool {
        let again = self.restarts > since.restarts;
        self.last_failed_at.is_some()
            && (self.last_failed_at > since.last_failed_at
                || again && self.last_failed_at == since.last_failed_at)
    }
}

/// Why there is no scan at all.
#[derive(Debug, thiserror::Error)]
#[error("the cluster could not be scanned: {problem}")]
pub struct ScanError {
    /// What went wrong, in plain English.
    pub problem: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The door to whoever looks at the cluster.
///
/// # Obligations
/// Reads only the namespaces of the scope. A list that failed is named in [`Scan::incomplete`], never left out.
#[async_trait]
pub trait Scanner: Send + Sync {
    /// Looks once.
    ///
    /// # Errors
    /// [`ScanError`] when nothing at all could be read.
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError>;

    /// Begins to watch the scope, for as long as the result is kept; none where it can only look anew, which is the default.
    fn begin_watch(&self, scope: &Scope) -> Option<Box<dyn Watching>> {
        let _ = scope;
        None
    }
}

/// A scanner that is told of changes.
///
/// # Obligations
/// Once it has looked, a further look sends no request but those that its watches take.
#[async_trait]
pub trait Watching: Scanner {
    /// Waits until a look may say something else than the last one.
    async fn changed(&self);
}
