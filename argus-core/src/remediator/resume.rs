//! What a restart finds: stored plans, and executions that were cut off.

use super::{Execution, Outcome, Remediator, RemediatorError};
use crate::audit::{
    AuditError, AuditEvent, AuditQuery, AuditRecord, StepStatus, step_statuses, unfinished_plans,
};
use crate::plan::Plan;
use crate::plan_id::PlanId;
use crate::store::{Document, Kept, StoreError};

/// Everything that the trail has of one plan, oldest first.
pub(super) struct Trail(Vec<AuditRecord>);

impl Trail {
    /// What it says about each step, over all executions.
    pub(super) fn statuses(&self) -> Vec<StepStatus> {
        step_statuses(&self.0)
    }

    /// The records of the last execution; none if there was none.
    pub(super) fn execution(&self) -> &[AuditRecord] {
        last_execution(&self.0)
    }

    /// The record of the approval under which was written what stands; of the last execution, where nothing does.
    fn approval(&self) -> Option<&AuditRecord> {
        let statuses = self.statuses();
        let stands = |record: &AuditRecord| {
            let status = record.entry.step.and_then(|step| statuses.get(step));
            let was_written = matches!(
                record.entry.event,
                AuditEvent::StepApplied | AuditEvent::StepUnsettled | AuditEvent::StepSettled
            );
            was_written && status.is_some_and(|status| status.may_stand())
        };
        let until = self.0.iter().rposition(stands);
        let until = until.map_or(self.0.len(), |position| position + 1);
        last_execution(self.0.get(..until)?).first()
    }

    /// Whether the trail says who approved and when, and not only what.
    pub(super) fn keeps_approval(&self) -> bool {
        let approval = self.approval();
        approval.is_some_and(|record| record.entry.document.is_some())
    }

    fn is_open(&self) -> bool {
        !unfinished_plans(&self.0).is_empty()
    }
}

/// From the approval that began it; one that came while another execution was under way begins nothing.
fn last_execution(records: &[AuditRecord]) -> &[AuditRecord] {
    let (mut begins, mut is_open) = (records.len(), false);
    for (index, record) in records.iter().enumerate() {
        match record.entry.event {
            AuditEvent::Approved if !is_open => (begins, is_open) = (index, true),
            AuditEvent::UndoAsked => is_open = true,
            AuditEvent::Finished => is_open = false,
            _ => {}
        }
    }
    records.get(begins..).unwrap_or_default()
}

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
        let trail = self.trail_of(plan_id).await?;
        if !trail.is_open() {
            return Err(RemediatorError::NotUnfinished(plan_id.clone()));
        }
        let kept = self.kept(plan_id, &trail).await?;
        let _busy = self.claim(&kept.approved)?;
        // Only the look at the cluster tells what a cut-off write did, so there has to be one.
        let now = self.scan().await?;
        let before = kept.before.unwrap_or(now);
        Execution::new(self, &kept.approved)
            .resume(&trail, before)
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
        let trail = self.trail_of(plan_id).await?;
        // One that is stuck is a person's.
        let stands = |status: &StepStatus| status.may_stand() && *status != StepStatus::Stuck;
        if trail.is_open() || !trail.statuses().iter().any(stands) {
            return Err(RemediatorError::NotUndoable(plan_id.clone()));
        }
        let kept = self.kept(plan_id, &trail).await?;
        let _busy = self.claim(&kept.approved)?;
        let before = self.scan().await?;
        Execution::new(self, &kept.approved)
            .undo(&trail, before)
            .await
    }

    async fn trail_of(&self, plan_id: &PlanId) -> Result<Trail, RemediatorError> {
        let query = AuditQuery {
            plan_id: Some(plan_id.clone()),
            ..AuditQuery::default()
        };
        Ok(Trail(self.trail(&query).await?))
    }

    /// What was approved, as the trail says it.
    async fn kept(&self, plan_id: &PlanId, trail: &Trail) -> Result<Kept, RemediatorError> {
        let missing = |problem: &str| StoreError::Damaged {
            plan_id: plan_id.clone(),
            problem: problem.to_owned(),
        };
        let record = trail
            .approval()
            .filter(|record| record.entry.digest.is_some());
        let record = record.ok_or_else(|| missing("the trail has no digest of it"))?;
        let document = Document::load(&*self.doors.plans, plan_id).await?;
        let document = document.ok_or_else(|| missing("the plan store does not have it"))?;
        Ok(document.into_execution(&record.entry)?)
    }

    /// Records, oldest first.
    pub(super) async fn trail(
        &self,
        query: &AuditQuery,
    ) -> Result<Vec<AuditRecord>, RemediatorError> {
        let failed = |source: AuditError| RemediatorError::Audit {
            source,
            standing: 0,
        };
        let mut records = self.doors.audit.records(query).await.map_err(failed)?;
        records.reverse();
        Ok(records)
    }
}
