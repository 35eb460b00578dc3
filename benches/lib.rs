//! What several measurements need; the README has their figures.

use argus_core::{
    ApplyError, ApprovedStep, DryRunError, DryRunner, Executor, Kube, Permitted, PermittedStep,
    Preview, Scan, ScanError, Scanner, Scope, SettleError, UndoError, UndoStep, Undone,
};
use async_trait::async_trait;
use serde_json::Value;

/// A cluster on which every scan sees the same: what a scan costs is measured by itself.
pub struct SeenAs(
    /// The cluster.
    pub Kube,
    /// What is seen.
    pub Scan,
);

#[async_trait]
impl DryRunner for SeenAs {
    async fn missing_permissions(&self, plan: &Permitted) -> Result<Vec<String>, DryRunError> {
        self.0.missing_permissions(plan).await
    }
    async fn dry_run(&self, step: PermittedStep<'_>) -> Result<Preview, DryRunError> {
        self.0.dry_run(step).await
    }
}

#[async_trait]
impl Executor for SeenAs {
    async fn apply(&self, step: ApprovedStep<'_>) -> Result<Value, ApplyError> {
        self.0.apply(step).await
    }
    async fn settle(&self, step: ApprovedStep<'_>) -> Result<(), SettleError> {
        self.0.settle(step).await
    }
    async fn is_in_force(&self, step: ApprovedStep<'_>) -> Result<bool, ApplyError> {
        self.0.is_in_force(step).await
    }
    async fn undo(&self, undo: UndoStep<'_>) -> Result<Undone, UndoError> {
        self.0.undo(undo).await
    }
}

#[async_trait]
impl Scanner for SeenAs {
    async fn scan(&self, _: &Scope) -> Result<Scan, ScanError> {
        Ok(self.1.clone())
    }
}
