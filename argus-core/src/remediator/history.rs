//! What the trail says of the plans that were tried for an incident.

use std::collections::BTreeMap;

use super::{Remediator, RemediatorError};
use crate::attempt::{Attempt, AttemptStep};
use crate::audit::{AuditEvent, AuditQuery, AuditRecord, StepStatus, step_statuses};
use crate::incident::{Incident, IncidentId};
use crate::plan_id::PlanId;
use crate::redact::Redacted;

/// How many records of an incident are read, the newest.
const MAX_RECORDS: usize = 2000;
/// How many attempts are told of, the newest.
const MAX_ATTEMPTS: usize = 20;

impl Remediator {
    /// The plans that were tried for an incident, by its id: with which commands, and what became of them; oldest first, the
    /// newest 20 at most. A plan of which no step was begun is none of them.
    ///
    /// # Errors
    /// [`RemediatorError::Audit`] when the trail can't be read.
    ///
    /// # Example
    /// ```no_run
    /// # async fn tell(remediator: argus_core::Remediator, incident: argus_core::Incident) -> Result<(), argus_core::RemediatorError> {
    /// for attempt in remediator.history(&incident).await? {
    ///     println!("{}: {:?}", attempt.at, attempt.recovery);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn history(&self, incident: &Incident) -> Result<Vec<Attempt>, RemediatorError> {
        self.attempts(incident.incident_id(), None).await
    }

    /// The same, without the plan that is asked about.
    pub(super) async fn attempts(
        &self,
        incident_id: &IncidentId,
        without: Option<&PlanId>,
    ) -> Result<Vec<Attempt>, RemediatorError> {
        let query = AuditQuery {
            incident_id: Some(incident_id.clone()),
            limit: Some(MAX_RECORDS),
            ..AuditQuery::default()
        };
        let mut attempts = attempts(self.trail(&query).await?);
        attempts.retain(|attempt| Some(&attempt.plan_id) != without);
        let more = attempts.len().saturating_sub(MAX_ATTEMPTS);
        Ok(attempts.split_off(more))
    }
}

/// A pure function of the records of an incident, oldest first.
fn attempts(records: Vec<AuditRecord>) -> Vec<Attempt> {
    let mut plans: BTreeMap<PlanId, Vec<AuditRecord>> = BTreeMap::new();
    for record in records {
        let of_plan = plans.entry(record.entry.plan_id.clone()).or_default();
        of_plan.push(record);
    }
    let attempts = plans
        .iter()
        .filter_map(|(plan, records)| attempt(plan, records));
    let mut attempts: Vec<Attempt> = attempts.collect();
    attempts.sort_by_key(|attempt| attempt.at);
    attempts
}

fn attempt(plan_id: &PlanId, records: &[AuditRecord]) -> Option<Attempt> {
    let intended = |record: &&AuditRecord| record.entry.event == AuditEvent::StepIntended;
    let begun = records.iter().find(intended)?;
    let statuses = step_statuses(records);
    // What was undone had been written, and a step that failed may have been written before.
    let written = |step: usize| {
        let is_written = |record: &AuditRecord| {
            let event = record.entry.event;
            record.entry.step == Some(step)
                && matches!(
                    event,
                    AuditEvent::StepApplied
                        | AuditEvent::StepUnsettled
                        | AuditEvent::StepSettled
                        | AuditEvent::StepUnknown
                        | AuditEvent::UndoIntended
                )
        };
        statuses.get(step) != Some(&StepStatus::Untouched) || records.iter().any(is_written)
    };
    let mut steps: Vec<(usize, AttemptStep)> = Vec::new();
    for entry in records.iter().filter(intended).map(|record| &record.entry) {
        let (Some(step), Some(command)) = (entry.step, entry.command.clone()) else {
            continue;
        };
        if !steps.iter().any(|(known, _)| *known == step) {
            let written = written(step);
            steps.push((step, AttemptStep { command, written }));
        }
    }
    // An undo that a person asked for later says nothing about the plan.
    let asked = |record: &AuditRecord| record.entry.event == AuditEvent::UndoAsked;
    let end = records.iter().position(asked).unwrap_or(records.len());
    let execution = records.get(..end).unwrap_or_default();
    let recovery = execution
        .iter()
        .rev()
        .find_map(|record| record.entry.recovery);
    let finished = |record: &&AuditRecord| record.entry.event == AuditEvent::Finished;
    let finished = execution.iter().rev().find(finished);
    let outcome: Option<Redacted> = finished.and_then(|record| record.entry.outcome.clone());
    Some(Attempt {
        plan_id: plan_id.clone(),
        at: begun.timestamp,
        steps: steps.into_iter().map(|(_, step)| step).collect(),
        recovery,
        outcome,
    })
}
