//! What a restart finds: stored plans, and executions that were cut off.

use super::{Execution, Outcome, Remediator, RemediatorError};
use crate::audit::{AuditError, AuditEvent, AuditQuery, AuditRecord, unfinished_plans};
use crate::plan::{Plan, PlanId};
use crate::store::{Document, StoreError};

impl Remediator {
    /// A plan that was suggested before, by this process or an earlier one. It passes every door again.
    ///
    /// # Errors
    /// [`RemediatorError::Store`] when the store can't be read, or what it has isn't a plan of Argus.
    pub async fn plan(&self, plan_id: &PlanId) -> Result<Option<Plan>, RemediatorError> {
        let document = Document::load(&*self.doors.plans, plan_id).await?;
        Ok(document.map(Document::into_plan))
    }

    /// The plans whose execution was cut off by a crash, a cancellation, a failed trail or a halt, oldest first; also those
    /// that are being executed right now.
    ///
    /// # Errors
    /// [`RemediatorError::Audit`] when the trail can't be read.
    pub async fn unfinished(&self) -> Result<Vec<PlanId>, RemediatorError> {
        Ok(unfinished_plans(&self.trail(&AuditQuery::default()).await?))
    }

    /// Takes up an execution that was cut off: finishes the plan if nothing had failed and its approval still holds, and
    /// undoes what was applied otherwise.
    ///
    /// # Guarantees
    /// Nothing is repeated blindly: where the trail has an intent without an outcome, the cluster is asked. Every write has
    /// the precondition that was approved, every undo passes policy and restores only what is still as the step left it.
    ///
    /// # Errors
    /// [`RemediatorError::NotUnfinished`] when there is nothing to resume, [`RemediatorError::Store`] when the stored
    /// approval isn't there or isn't what the trail says, [`RemediatorError::Busy`] while it is being executed,
    /// [`RemediatorError::Scan`] when the cluster can't be asked: nothing was done then, try again later.
    ///
    /// # Example
    /// ```no_run
    /// # async fn start(remediator: argus_core::Remediator) -> Result<(), argus_core::RemediatorError> {
    /// for plan_id in remediator.unfinished().await? {
    ///     let outcome = remediator.resume(&plan_id).await?;
    ///     println!("{plan_id}: {}", outcome.output);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[tracing::instrument(skip_all, fields(plan = %plan_id))]
    pub async fn resume(&self, plan_id: &PlanId) -> Result<Outcome, RemediatorError> {
        self.may_write()?;
        let query = AuditQuery {
            plan_id: Some(plan_id.clone()),
            ..AuditQuery::default()
        };
        let records = self.trail(&query).await?;
        let start = records
            .iter()
            .rposition(|record| record.entry.event == AuditEvent::Approved);
        let records = start
            .and_then(|start| records.get(start..))
            .unwrap_or_default();
        let (Some(approved), false) = (records.first(), unfinished_plans(records).is_empty())
        else {
            return Err(RemediatorError::NotUnfinished(plan_id.clone()));
        };
        let missing = |problem: &str| StoreError::Damaged {
            plan_id: plan_id.clone(),
            problem: problem.to_owned(),
        };
        let digest = approved.entry.digest;
        let digest = digest.ok_or_else(|| missing("the trail has no digest of it"))?;
        let document = Document::load(&*self.doors.plans, plan_id).await?;
        let document = document.ok_or_else(|| missing("the plan store does not have it"))?;
        let (approved, before) = document.into_execution(digest)?;
        let _busy = self.claim(&approved)?;
        // Only the look at the cluster tells what a cut-off write did, so there has to be one.
        self.scan().await?;
        let still_holds = self.still_holds(&approved);
        Execution::new(self, &approved)
            .resume(records, before, still_holds)
            .await
    }

    /// Records, oldest first.
    async fn trail(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, RemediatorError> {
        let failed = |source: AuditError| RemediatorError::Audit {
            source,
            standing: 0,
        };
        let mut records = self.doors.audit.records(query).await.map_err(failed)?;
        records.reverse();
        Ok(records)
    }
}
