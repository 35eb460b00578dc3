//! One execution of one approved plan: intent, write, outcome, settle, step by step; then undo if it has to be.

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use super::holding::Stayed;
use super::resume::Trail;
use super::{Ending, OnFailure, Outcome, Problem, Remediator, RemediatorError, object_ref};
use crate::actor::Actor;
use crate::approval::{Approved, ApprovedStep, Withdrawn};
use crate::attempt::Recovery;
use crate::audit::{AuditEntry, AuditEvent, AuditRecord, StepStatus};
use crate::executor::{ApplyError, UndoError, UndoStep, Undone};
use crate::hold::Hold;
use crate::incident::{Finding, ObjectRef, Scan, ScanError};
use crate::kubectl::MAX_COMMAND_BYTES;
use crate::redact::{Redacted, redact};
use crate::rescan::{Rescan, hushed};
use crate::store::Document;

pub(super) struct Execution<'a> {
    pub(super) remediator: &'a Remediator,
    approved: &'a Approved,
    steps: Vec<ApprovedStep<'a>>,
    statuses: Vec<StepStatus>,
    pub(super) lines: Vec<String>,
    started: Timestamp,
    /// The step of which nobody knew whether its write was made or still would be.
    in_doubt: Option<usize>,
    /// Whether a person wants it undone, whatever the host does about failures.
    undo_asked: bool,
    /// In whose name it is recorded.
    actor: &'a Actor,
    /// What watching it came to.
    pub(super) verdict: Option<Recovery>,
    /// The hold that was cut off, of an execution that is taken up again.
    pub(super) cut_off: Option<Hold>,
}

/// Why no further step is taken.
enum Failure {
    /// The step's object isn't the one that was approved, or the approval doesn't hold any more.
    Stale(String),
    /// Anything else about a step, in words.
    Step(String),
    /// The trail failed: nothing more may be done, not even an undo.
    Audit(RemediatorError),
    /// The host pulled the kill switch.
    Halted,
    /// The cluster can't be asked what became of a step; nothing may be guessed.
    Later(ScanError),
}

impl From<Withdrawn> for Failure {
    fn from(withdrawn: Withdrawn) -> Self {
        if withdrawn.is_halt {
            Self::Halted
        } else {
            Self::Stale(withdrawn.what)
        }
    }
}

impl<'a> Execution<'a> {
    pub(super) fn new(remediator: &'a Remediator, approved: &'a Approved) -> Self {
        let steps = approved.steps(remediator);
        let statuses = vec![StepStatus::Untouched; steps.len()];
        Self {
            remediator,
            approved,
            steps,
            statuses,
            lines: Vec::new(),
            started: Timestamp::now(),
            in_doubt: None,
            undo_asked: false,
            actor: approved.approver(),
            verdict: None,
            cut_off: None,
        }
    }

    /// `seen` was wrong a moment ago, though it may not be to be seen right now: a copy was only just started again.
    pub(super) async fn run(mut self, seen: &[Finding]) -> Result<Outcome, RemediatorError> {
        let mut before = self.remediator.scan().await?;
        for finding in seen {
            let mut known = before.findings.iter();
            if !known.any(|known| known.finding_id == finding.finding_id) {
                before.findings.push(finding.clone());
            }
        }
        self.remediator.is_first(self.approved, None).await?;
        // What resuming needs is durable before anything can need it.
        let document = Document::of_execution(self.approved, &before)
            .save(&*self.remediator.doors.plans)
            .await?;
        let time = self.approved.expires_at();
        let mut outcome = format!("until {}", time.strftime("%Y-%m-%dT%H:%M:%SZ"));
        for other in self.approved.others() {
            outcome.push_str(&format!(", together with {}", other.name()));
        }
        let entry = AuditEntry {
            document: Some(document),
            ..self.entry(AuditEvent::Approved, None, Some(outcome))
        };
        let sequence = self.append(entry).await?.sequence;
        // Of two remediators that begin in one moment, the one whose record is first goes on; the trail stays open for it.
        let is_first = self.remediator.is_first(self.approved, Some(sequence));
        is_first.await?;

        let applied = self.apply_rest().await;
        self.conclude(before, applied).await
    }

    /// Takes up an execution that was cut off, from what the trail says of it.
    ///
    /// It goes on if nothing had failed and the approval still holds, or if nothing is left to be written, and undoes what was
    /// applied otherwise.
    pub(super) async fn resume(
        mut self,
        trail: &Trail,
        before: Scan,
    ) -> Result<Outcome, RemediatorError> {
        self.take_up(trail);
        let records = trail.execution();
        let failed = |record: &AuditRecord| {
            use AuditEvent::{
                Regressed, Relapsed, StepFailed, StepUndone, StepUnknown, StepUnsettled, UndoAsked,
                UndoFailed, UndoIntended,
            };
            matches!(
                record.entry.event,
                Regressed
                    | Relapsed
                    | StepFailed
                    | StepUnknown
                    | StepUnsettled
                    | UndoAsked
                    | UndoIntended
                    | StepUndone
                    | UndoFailed
            )
        };
        let in_doubt = |record: &&AuditRecord| record.entry.event == AuditEvent::StepUnknown;
        self.in_doubt = records
            .iter()
            .find(in_doubt)
            .and_then(|record| record.entry.step);
        let asked = |record: &AuditRecord| record.entry.event == AuditEvent::UndoAsked;
        let is_left =
            |status: &StepStatus| !matches!(status, StepStatus::Applied | StepStatus::Settled);
        self.undo_asked = records.iter().any(asked);
        self.take_up_hold(records);
        let reason = if self.undo_asked {
            Some("its undo was asked for".to_owned())
        } else if records.iter().any(failed) {
            Some("it had failed before it was cut off".to_owned())
        } else if !self.statuses.iter().any(is_left) {
            None
        } else if !trail.keeps_approval() {
            Some(
                "the trail is of an older Argus, which did not keep who approved it and when"
                    .into(),
            )
        } else {
            match self.remediator.still_holds(self.approved).await {
                Err(RemediatorError::Halted { .. }) => return Err(self.halted()),
                holds => holds.err().map(|error| Problem::causes(&error)),
            }
        };
        let how = reason.as_deref().unwrap_or("going on where it was cut off");
        self.record(AuditEvent::Resumed, None, Some(how.to_owned()))
            .await?;
        let applied = match reason {
            Some(reason) => Err(Failure::Step(reason)),
            None => self.apply_rest().await,
        };
        self.conclude(before, applied).await
    }

    /// Undoes a plan that came to its end, from what the trail says of it.
    pub(super) async fn undo(
        mut self,
        trail: &Trail,
        before: Scan,
    ) -> Result<Outcome, RemediatorError> {
        self.take_up(trail);
        self.undo_asked = true;
        self.actor = &self.remediator.actor;
        self.record(AuditEvent::UndoAsked, None, None).await?;
        let ending = self.unwind().await?;
        let look = self.remediator.scan().await.ok();
        let rescan = self.rescan(&before, look).await?;
        self.finish(ending, "its undo was asked for").await?;
        Ok(self.outcome(ending, ending == Ending::Undone, None, rescan))
    }

    fn take_up(&mut self, trail: &Trail) {
        for (slot, status) in self.statuses.iter_mut().zip(trail.statuses()) {
            *slot = status;
        }
    }

    /// The steps that are left, and what is left of them; the cluster says whether an intended write was made.
    async fn apply_rest(&mut self) -> Result<(), Failure> {
        for step in self.steps.clone() {
            let status = self.statuses.get(step.index()).copied();
            let found = match status.unwrap_or(StepStatus::Untouched) {
                StepStatus::Settled => continue,
                StepStatus::Applied => true,
                StepStatus::Unknown => {
                    let there = self.remediator.doors.executor.is_in_force(step).await;
                    let there = there.map_err(|error| {
                        Failure::Later(ScanError {
                            problem: error.to_string(),
                            source: None,
                        })
                    })?;
                    if there {
                        let outcome = Some("it was found in the cluster".to_owned());
                        self.mark(step, StepStatus::Applied, AuditEvent::StepApplied, outcome)
                            .await?;
                    }
                    there
                }
                _ => false,
            };
            if found {
                self.settle_one(step).await?;
            } else {
                self.pause(step).await?;
                // Its own precondition keeps it from being written over anybody's change.
                self.apply_one(step).await?;
            }
        }
        Ok(())
    }

    /// Asks between two steps whether to go on, if the host wants that.
    async fn pause(&self, step: ApprovedStep<'a>) -> Result<(), Failure> {
        let Some(pause) = &self.remediator.doors.pause else {
            return Ok(());
        };
        if step.index() == 0 || self.remediator.is_halted() {
            return Ok(());
        }
        let left = self.approved.expires_at().duration_since(Timestamp::now());
        let left = left.try_into().unwrap_or_default();
        let asked = timeout(left, pause.go_on(self.approved.plan(), step.index())).await;
        let number = step.index() + 1;
        match asked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Failure::Step(format!(
                "step {number} was not to be taken: {}",
                redact(&why)
            ))),
            Err(_) => Err(Failure::Step(format!(
                "nobody said in time whether to take step {number}"
            ))),
        }
    }

    /// The way from the last step to the end: undo if it has to be, look again, and close the plan.
    async fn conclude(
        mut self,
        before: Scan,
        applied: Result<(), Failure>,
    ) -> Result<Outcome, RemediatorError> {
        let failure = match applied {
            Ok(()) => None,
            Err(Failure::Audit(error)) => return Err(error),
            Err(Failure::Later(error)) => return Err(error.into()),
            Err(Failure::Halted) => return Err(self.halted()),
            Err(Failure::Stale(what))
                if self
                    .statuses
                    .iter()
                    .all(|status| *status == StepStatus::Untouched) =>
            {
                self.finish(Ending::Stopped, &what).await?;
                return Err(RemediatorError::Stale { what });
            }
            Err(Failure::Stale(problem) | Failure::Step(problem)) => Some(problem),
        };
        let (mut ending, mut error) = match failure {
            None => (Ending::Succeeded, None),
            Some(problem) => (self.unwind().await?, Some(problem)),
        };
        let mut look = self.remediator.scan().await.ok();
        let mut how = "done";
        if ending == Ending::Succeeded
            && let Some(after) = look.take()
        {
            let (last, stayed) = self.stays(&before, after).await?;
            look = last;
            match stayed {
                Stayed::Held => self.verdict = Some(Recovery::Resolved),
                Stayed::Unwatched => how = "done, and nobody watched whether it stays so",
                Stayed::Undecided => {}
                // A plan that made things worse, or didn't help for long, is a failed plan.
                Stayed::Broke(recovery, what) => {
                    self.verdict = Some(recovery);
                    self.lines.push(what.clone());
                    error = Some(what);
                    ending = self.unwind().await?;
                    look = self.remediator.scan().await.ok();
                }
            }
        }
        let rescan = self.rescan(&before, look).await?;
        self.finish(ending, error.as_deref().unwrap_or(how)).await?;
        Ok(self.outcome(ending, ending == Ending::Succeeded, error, rescan))
    }

    fn outcome(
        self,
        ending: Ending,
        success: bool,
        error: Option<String>,
        rescan: Option<Rescan>,
    ) -> Outcome {
        Outcome {
            plan_id: self.approved.plan().plan_id().clone(),
            executed_at: self.started,
            success,
            output: self.lines.join("\n"),
            error,
            ending,
            steps: self.statuses,
            rescan,
        }
    }

    async fn apply_one(&mut self, step: ApprovedStep<'a>) -> Result<(), Failure> {
        step.still_permitted().await?;
        let executor = &self.remediator.doors.executor;
        // The intent is durable before anything is written; if it isn't, nothing was.
        self.record(AuditEvent::StepIntended, Some(step), None)
            .await
            .map_err(Failure::Audit)?;
        self.set(step, StepStatus::Unknown);
        // Again: a record may take its time.
        let applied = match step.still_permitted().await {
            Ok(()) => executor.apply(step).await,
            Err(withdrawn) => Err(withdrawn.into()),
        };
        match applied {
            Ok(object) if object.is_null() || step.preview().is_as_approved(&object) => {}
            Ok(_) => {
                let problem = "the cluster stored something else than what was approved";
                return Err(self
                    .fail(
                        step,
                        StepStatus::Applied,
                        AuditEvent::StepUnsettled,
                        problem.into(),
                    )
                    .await);
            }
            Err(error @ ApplyError::Unknown { .. }) => {
                // A write that isn't there now may still be made: only one that is there is known.
                if !executor.is_in_force(step).await.unwrap_or(false) {
                    // What became of the last try is for the resume to find out.
                    if self.remediator.is_halted() {
                        return Err(Failure::Halted);
                    }
                    self.in_doubt = Some(step.index());
                    return Err(self
                        .fail(
                            step,
                            StepStatus::Unknown,
                            AuditEvent::StepUnknown,
                            error.to_string(),
                        )
                        .await);
                }
            }
            Err(ApplyError::Withdrawn(withdrawn)) if withdrawn.is_halt => {
                self.set(step, StepStatus::Untouched);
                return Err(Failure::Halted);
            }
            Err(error) => {
                let failure = self
                    .fail(
                        step,
                        StepStatus::Untouched,
                        AuditEvent::StepFailed,
                        error.to_string(),
                    )
                    .await;
                return Err(match (error, failure) {
                    (ApplyError::Stale(_), Failure::Step(problem)) => Failure::Stale(problem),
                    (ApplyError::Withdrawn(withdrawn), Failure::Step(_)) => withdrawn.into(),
                    (_, failure) => failure,
                });
            }
        }
        self.mark(step, StepStatus::Applied, AuditEvent::StepApplied, None)
            .await?;
        self.settle_one(step).await
    }

    async fn settle_one(&mut self, step: ApprovedStep<'a>) -> Result<(), Failure> {
        if let Err(error) = self.remediator.doors.executor.settle(step).await {
            return Err(self
                .fail(
                    step,
                    StepStatus::Applied,
                    AuditEvent::StepUnsettled,
                    error.to_string(),
                )
                .await);
        }
        self.mark(step, StepStatus::Settled, AuditEvent::StepSettled, None)
            .await?;
        self.lines.push(format!(
            "step {} done: {}",
            step.index() + 1,
            Redacted::to(step.command(), MAX_COMMAND_BYTES)
        ));
        Ok(())
    }

    /// Notes what became of a step, here and in the trail.
    async fn mark(
        &mut self,
        step: ApprovedStep<'a>,
        status: StepStatus,
        event: AuditEvent,
        outcome: Option<String>,
    ) -> Result<(), Failure> {
        self.set(step, status);
        let recorded = self.record(event, Some(step), outcome).await;
        recorded.map_err(Failure::Audit)
    }

    fn set(&mut self, step: ApprovedStep<'a>, status: StepStatus) {
        if let Some(slot) = self.statuses.get_mut(step.index()) {
            *slot = status;
        }
    }

    async fn fail(
        &mut self,
        step: ApprovedStep<'a>,
        status: StepStatus,
        event: AuditEvent,
        problem: String,
    ) -> Failure {
        let line = format!("step {} failed: {problem}", step.index() + 1);
        self.lines.push(line.clone());
        match self.mark(step, status, event, Some(problem)).await {
            Ok(()) => Failure::Step(line),
            Err(audit) => audit,
        }
    }

    /// Undoes what was applied, newest first, as far as the host wants it.
    async fn unwind(&mut self) -> Result<Ending, RemediatorError> {
        if self.remediator.doors.on_failure == OnFailure::Stop && !self.undo_asked {
            return Ok(Ending::Stopped);
        }
        // What is put back is nothing that held.
        self.verdict = self
            .verdict
            .filter(|verdict| *verdict != Recovery::Resolved);
        let mut ending = Ending::Undone;
        for step in self.steps.clone().into_iter().rev() {
            let status = self
                .statuses
                .get(step.index())
                .copied()
                .unwrap_or(StepStatus::Untouched);
            // A step that is stuck stays so: a person may be at work on it.
            if status == StepStatus::Stuck {
                ending = Ending::Stuck;
            }
            if matches!(
                status,
                StepStatus::Untouched | StepStatus::Undone | StepStatus::Stuck
            ) {
                continue;
            }
            if self.remediator.is_halted() {
                return Err(self.halted());
            }
            self.record(AuditEvent::UndoIntended, Some(step), None)
                .await?;
            let (status, event, line, outcome) = match self.undo_one(step).await {
                Ok(done) => (StepStatus::Undone, AuditEvent::StepUndone, "undone", done),
                Err(UndoError::Withdrawn(withdrawn)) if withdrawn.is_halt => {
                    return Err(self.halted());
                }
                Err(error) => (
                    StepStatus::Stuck,
                    AuditEvent::UndoFailed,
                    "could not be undone, a person has to look",
                    error.to_string(),
                ),
            };
            if status == StepStatus::Stuck {
                ending = Ending::Stuck;
            }
            self.lines
                .push(format!("step {} {line}: {outcome}", step.index() + 1));
            if let Err(Failure::Audit(error)) = self.mark(step, status, event, Some(outcome)).await
            {
                return Err(error);
            }
        }
        Ok(ending)
    }

    async fn undo_one(&self, step: ApprovedStep<'a>) -> Result<String, UndoError> {
        let executor = &self.remediator.doors.executor;
        let in_doubt = self.in_doubt == Some(step.index());
        if in_doubt && !executor.is_in_force(step).await.unwrap_or(false) {
            return Err(UndoError::InDoubt);
        }
        let undo = UndoStep::new(step);
        undo.still_permitted().await?;
        Ok(match executor.undo(undo).await? {
            Undone::Restored => "the fields are as they were".into(),
            Undone::NothingToRestore => "nothing to restore".into(),
        })
    }

    /// What the last look says, put down.
    async fn rescan(
        &self,
        before: &Scan,
        look: Option<Scan>,
    ) -> Result<Option<Rescan>, RemediatorError> {
        let Some(after) = look else {
            self.record(
                AuditEvent::Rescanned,
                None,
                Some("the cluster could not be scanned".into()),
            )
            .await?;
            return Ok(None);
        };
        let mut rescan = self.compare(before, &after).await;
        rescan.recovery = match (self.verdict, rescan.recovery) {
            // It held, and the last look has nothing against it.
            (Some(Recovery::Resolved), Recovery::Unproven) => Recovery::Resolved,
            (Some(Recovery::Resolved) | None, recovery) => recovery,
            (Some(verdict), _) => verdict,
        };
        let entry = self.entry(AuditEvent::Rescanned, None, Some(rescan.summary()));
        let wrong = after.findings.len() + hushed(before, &after).count();
        let (findings_before, findings_after) = (Some(before.findings.len()), Some(wrong));
        self.append(AuditEntry {
            recovery: Some(rescan.recovery),
            findings_before,
            findings_after,
            ..entry
        })
        .await?;
        Ok(Some(rescan))
    }

    pub(super) async fn compare(&self, before: &Scan, after: &Scan) -> Rescan {
        let executor = &self.remediator.doors.executor;
        let steps = self.steps.iter();
        let settled =
            steps.filter(|step| self.statuses.get(step.index()) == Some(&StepStatus::Settled));
        let looks = join_all(settled.map(|step| executor.is_in_force(*step))).await;
        let in_force = looks.into_iter().all(|there| there.unwrap_or(false));
        Rescan::compare(before, after, &self.changed(), in_force)
    }

    /// The objects that the plan changes.
    pub(super) fn changed(&self) -> Vec<ObjectRef> {
        let targets = self.steps.iter().filter_map(|step| step.action().target());
        targets.map(object_ref).collect()
    }

    async fn finish(&self, ending: Ending, how: &str) -> Result<(), RemediatorError> {
        let ending = match ending {
            Ending::Succeeded => "succeeded",
            Ending::Undone => "undone",
            Ending::Stopped => "stopped",
            Ending::Stuck => "stuck",
        };
        self.record(AuditEvent::Finished, None, Some(format!("{ending}: {how}")))
            .await
    }

    pub(super) fn entry(
        &self,
        event: AuditEvent,
        step: Option<ApprovedStep<'_>>,
        outcome: Option<String>,
    ) -> AuditEntry {
        AuditEntry {
            step: step.map(|step| step.index()),
            // Whole: what was written is what the trail has to say.
            command: step.map(|step| Redacted::to(step.command(), MAX_COMMAND_BYTES)),
            digest: Some(self.approved.digest()),
            revision: Some(self.approved.revision()),
            outcome: outcome.map(Redacted::from),
            ..self
                .remediator
                .entry(self.approved.plan(), event, self.actor)
        }
    }

    pub(super) async fn record(
        &self,
        event: AuditEvent,
        step: Option<ApprovedStep<'_>>,
        outcome: Option<String>,
    ) -> Result<(), RemediatorError> {
        self.append(self.entry(event, step, outcome)).await?;
        Ok(())
    }

    /// How many steps may stand in the cluster.
    fn standing(&self) -> usize {
        let statuses = self.statuses.iter();
        statuses.filter(|status| status.may_stand()).count()
    }

    fn halted(&self) -> RemediatorError {
        RemediatorError::Halted {
            standing: self.standing(),
        }
    }

    pub(super) async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, RemediatorError> {
        let standing = self.standing();
        self.remediator
            .record(entry)
            .await
            .map_err(|error| match error {
                RemediatorError::Audit { source, .. } => {
                    RemediatorError::Audit { source, standing }
                }
                other => other,
            })
    }
}
