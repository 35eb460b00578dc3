//! What a restart finds: stored plans, and executions that were cut off.

use super::{Execution, Outcome, Remediator, RemediatorError};
use crate::approval::Approved;
use crate::audit::{
    AuditError, AuditEvent, AuditQuery, AuditRecord, StepStatus, step_statuses, unfinished_plans,
};
use crate::incident::Scan;
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
        let records = self.execution(plan_id).await?;
        if unfinished_plans(&records).is_empty() {
            return Err(RemediatorError::NotUnfinished(plan_id.clone()));
        }
        let (approved, before) = self.approval(plan_id, &records).await?;
        let _busy = self.claim(&approved)?;
        // Only the look at the cluster tells what a cut-off write did, so there has to be one.
        self.scan().await?;
        let still_holds = self.still_holds(&approved);
        Execution::new(self, &approved)
            .resume(&records, before, still_holds)
            .await
    }

    /// Undoes a plan that was carried out and still stands: every step, newest first, in the name of who asks.
    ///
    /// How it ended is in the [`Outcome`]: [`Undone`](super::Ending::Undone), or [`Stuck`](super::Ending::Stuck) where somebody
    /// else changed the same fields since, or policy refuses what was before. A pod that was deleted stays so. An undo that is
    /// cut off is taken up by [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`RemediatorError::NotUndoable`] when there is nothing to undo, and as [`resume`](Self::resume).
    ///
    /// # Example
    /// ```no_run
    /// # async fn back(remediator: argus_core::Remediator, outcome: argus_core::Outcome) -> Result<(), argus_core::RemediatorError> {
    /// let undone = remediator.undo(&outcome.plan_id).await?;
    /// println!("{}", undone.output);
    /// # Ok(())
    /// # }
    /// ```
    #[tracing::instrument(skip_all, fields(plan = %plan_id))]
    pub async fn undo(&self, plan_id: &PlanId) -> Result<Outcome, RemediatorError> {
        self.may_write()?;
        let records = self.execution(plan_id).await?;
        let stands = step_statuses(&records).contains(&StepStatus::Settled);
        if !stands || !unfinished_plans(&records).is_empty() {
            return Err(RemediatorError::NotUndoable(plan_id.clone()));
        }
        let (approved, _) = self.approval(plan_id, &records).await?;
        let _busy = self.claim(&approved)?;
        let before = self.scan().await?;
        Execution::new(self, &approved).undo(&records, before).await
    }

    /// The records of a plan's last execution, oldest first; none if there was none.
    async fn execution(&self, plan_id: &PlanId) -> Result<Vec<AuditRecord>, RemediatorError> {
        let query = AuditQuery {
            plan_id: Some(plan_id.clone()),
            ..AuditQuery::default()
        };
        let mut records = self.trail(&query).await?;
        let start = records
            .iter()
            .rposition(|record| record.entry.event == AuditEvent::Approved);
        Ok(match start {
            Some(start) => records.split_off(start),
            None => Vec::new(),
        })
    }

    /// What was approved, as the trail says it, with the scan from before.
    async fn approval(
        &self,
        plan_id: &PlanId,
        records: &[AuditRecord],
    ) -> Result<(Approved, Scan), RemediatorError> {
        let missing = |problem: &str| StoreError::Damaged {
            plan_id: plan_id.clone(),
            problem: problem.to_owned(),
        };
        let digest = records.first().and_then(|record| record.entry.digest);
        let digest = digest.ok_or_else(|| missing("the trail has no digest of it"))?;
        let document = Document::load(&*self.doors.plans, plan_id).await?;
        let document = document.ok_or_else(|| missing("the plan store does not have it"))?;
        Ok(document.into_execution(digest)?)
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
