//! The door to whoever looks at the cluster, and what a look sees.

use async_trait::async_trait;
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
}
