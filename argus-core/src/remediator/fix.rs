//! From an incident to proof in one call: suggest, review, dry run, ask, execute, watch; and again with what was learned.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::holding::Lookout;
use super::{Ending, Outcome, Problem, Remediator, RemediatorError, object_ref};
use crate::approval::{ApprovalError, Approver, DRY_RUN_LASTS};
use crate::attempt::Recovery;
use crate::hold::in_words;
use crate::incident::{Finding, Incident, ObjectRef};
use crate::plan::Plan;

/// What became of an incident that was to be fixed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FixOutcome {
    /// Whether nothing of it is left, by the re-scan of the last plan, after the hold.
    pub resolved: bool,
    /// Why nothing more was done, in plain English.
    pub reason: String,
    /// Each plan that was carried out, in order.
    pub outcomes: Vec<Outcome>,
    /// The plan that was not carried out and is left to people; null where there is none.
    pub left: Option<Plan>,
}

/// Why a plan was not carried out.
enum No {
    /// Policy, a dry run or a person says no to this plan: in words.
    Plan(String),
    /// The trail, the kill switch, a model or the cluster fails, whatever the plan.
    Other(RemediatorError),
}

impl From<RemediatorError> for No {
    fn from(error: RemediatorError) -> Self {
        match error {
            RemediatorError::Denied { .. }
            | RemediatorError::Manual { .. }
            | RemediatorError::Permissions { .. }
            | RemediatorError::DryRun { .. }
            | RemediatorError::Stale { .. }
            | RemediatorError::Busy { .. } => Self::Plan(Problem::causes(&error)),
            error => Self::Other(error),
        }
    }
}

impl From<ApprovalError> for No {
    fn from(error: ApprovalError) -> Self {
        Self::Plan(Problem::causes(&error))
    }
}

/// Whether one more plan is tried.
enum Next {
    /// The plan did not help: after it is undone.
    Again,
    /// The plan helped: for what is left, if anything is.
    Onward,
    End(&'static str),
}

impl Remediator {
    /// Fixes an incident: asks for a plan, has it approved, executes it, and watches; where that did not help, undoes it and asks
    /// for another one, which hears what was tried before; where it helped in part, asks for one for the rest. At most [`tries`](super::Builder::tries) plans are carried out.
    ///
    /// Each plan passes every stage, and is approved by itself. Before each it is waited until the fault is seen, for the longest
    /// time of the [`HoldBounds`](crate::HoldBounds): a fault that comes and goes is there again in that time, and what isn't there isn't fixed.
    ///
    /// # Errors
    /// Those of [`suggest`](Self::suggest), [`execute`](Self::execute) and [`undo`](Self::undo) that say nothing about the plan: the
    /// trail, the kill switch, a model or a cluster that does not answer. A plan that is refused, by policy or by a person, is
    /// no error: the [`reason`](FixOutcome::reason) says why.
    ///
    /// # Cancellation
    /// As [`execute`](Self::execute).
    ///
    /// # Example
    /// ```
    /// # #[cfg(feature = "testing")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # use argus_core::testing::{MemoryAudit, PermitAll, SHORT_HOLD, cluster::Cluster};
    /// # use argus_core::{Incident, IncidentId, Kube, Playbook, Remediator, Scope, Settings};
    /// use argus_core::{Answer, ApprovalError, Approver, DryRun};
    ///
    /// struct Operator;
    /// #[async_trait::async_trait]
    /// impl Approver for Operator {
    ///     async fn decide(&self, dry_run: &DryRun) -> Result<Answer, ApprovalError> {
    ///         println!("{}", dry_run.plan().summary());
    ///         Ok(Answer::confirm("operator"))
    ///     }
    /// }
    /// # let cluster = Cluster::start();
    /// # cluster.deployment("shop", "web", "r.example/web:1").needs_memory("256Mi").memory_limit("128Mi").create().await?;
    /// # let scope = Scope::namespaces(["shop"])?;
    /// # let kube = Kube::new(cluster.client());
    /// # let remediator = Remediator::builder().hold(SHORT_HOLD).scope(scope.clone())
    /// #     .settings(Settings { enabled: true, allow_high_risk: false }).llm(Playbook::new()).policy(PermitAll::dangerous())
    /// #     .cluster(kube.clone()).audit(MemoryAudit::new()).build()?;
    /// # let findings = cluster.wait_for_findings(&kube, &scope).await?;
    /// # let incident = Incident::new(IncidentId::new("INC-1")?, findings, None)?;
    /// let fixed = remediator.fix(&incident, &Operator).await?;
    /// assert!(fixed.resolved, "{}", fixed.reason);
    /// # Ok(())
    /// # })
    /// # }
    /// # #[cfg(not(feature = "testing"))]
    /// # fn main() {}
    /// ```
    #[tracing::instrument(skip_all, fields(incident = %incident.incident_id()))]
    pub async fn fix(
        &self,
        incident: &Incident,
        approver: &dyn Approver,
    ) -> Result<FixOutcome, RemediatorError> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let end = |outcomes, resolved, reason: &str, left| {
            Ok(FixOutcome {
                resolved,
                reason: reason.to_owned(),
                outcomes,
                left,
            })
        };
        let mut fault = Fault::new(incident);
        let mut open = incident.clone();
        for _ in 0..self.doors.tries {
            // Nobody is asked about what can't be carried out.
            self.may_write()?;
            // Of an incident that another scanner found, nobody can say whether it is there before a plan says what it changes.
            let mut seen = Vec::new();
            if !fault.objects.is_empty() {
                seen = self.until_back(&fault).await?;
                if seen.is_empty() {
                    let waited = in_words(self.doors.hold.max.as_secs());
                    let reason = format!(
                        "The fault was not seen for {waited}: there is nothing to fix now."
                    );
                    return end(outcomes, false, &reason, None);
                }
            }
            let plan = self.suggest(&open).await?;
            if plan.steps().is_empty() {
                return end(outcomes, false, "The plan has nothing to do.", Some(plan));
            }
            let outcome = match self.attempt(plan.clone(), approver, &seen).await {
                Ok(outcome) => outcome,
                Err(No::Plan(reason)) => return end(outcomes, false, &reason, Some(plan)),
                Err(No::Other(error)) => return Err(error),
            };
            fault.concerns(&plan);
            let plan_id = outcome.plan_id.clone();
            let next = next(&outcome, fault.is_partly_fixed(&outcome));
            let left = fault.left(&outcome);
            let stands = outcome.ending == Ending::Succeeded;
            outcomes.push(outcome);
            match next {
                Next::End(reason) => return end(outcomes, false, reason, None),
                Next::Onward if left.is_empty() => {
                    return end(outcomes, true, "It is fixed, and it held.", None);
                }
                Next::Onward => {
                    open = match Incident::new(incident.incident_id().clone(), left, None) {
                        Ok(rest) => rest,
                        Err(error) => return end(outcomes, false, &error.to_string(), None),
                    };
                }
                Next::Again if stands => {
                    let undone = self.undo(&plan_id).await?;
                    if undone.ending != Ending::Undone {
                        let reason =
                            "The plan did not help and could not be undone: a person has to look.";
                        return end(outcomes, false, reason, None);
                    }
                }
                Next::Again => {}
            }
        }
        let tries = self.doors.tries;
        let reason = format!(
            "{tries} plans were tried, and it is not fixed. What did not help is undone. A person has to look."
        );
        end(outcomes, false, &reason, None)
    }

    /// One plan through every stage.
    async fn attempt(
        &self,
        plan: Plan,
        approver: &dyn Approver,
        seen: &[Finding],
    ) -> Result<Outcome, No> {
        let permitted = self.review(plan).await?;
        let dry_run = self.dry_run(permitted).await?;
        let mut answers = Vec::new();
        for _ in 0..dry_run.people().max(1) {
            let asked = timeout(DRY_RUN_LASTS.unsigned_abs(), approver.decide(&dry_run)).await;
            let late = |_| ApprovalError::Unreachable("nobody answered in time".into());
            answers.push(asked.map_err(late)??);
        }
        let approved = dry_run.approve_together(answers)?;
        Ok(self.execute_after(approved, seen).await?)
    }

    /// Waits until the fault is seen; nothing where it isn't in time.
    async fn until_back(&self, fault: &Fault) -> Result<Vec<Finding>, RemediatorError> {
        let time = self.doors.hold.max;
        let end = Instant::now() + time;
        let lookout = Lookout::new(self, time).await;
        let mut look = Some(self.scan().await?);
        loop {
            let seen = look.map(|look| fault.of(look.findings));
            let seen = seen.unwrap_or_default();
            if !seen.is_empty() {
                return Ok(seen);
            }
            look = tokio::select! {
                biased;
                () = self.until_halted() => return Err(RemediatorError::Halted { standing: 0 }),
                () = sleep_until(end) => return Ok(Vec::new()),
                look = lookout.next() => look,
            };
        }
    }
}

/// What is to be fixed: the findings of an incident, and the objects that they and the plans are about.
struct Fault {
    ids: BTreeSet<String>,
    objects: BTreeSet<ObjectRef>,
}

impl Fault {
    fn new(incident: &Incident) -> Self {
        let findings = incident.findings().iter();
        Self {
            ids: findings
                .clone()
                .map(|finding| finding.finding_id.clone())
                .collect(),
            objects: findings
                .filter_map(|finding| finding.owner.clone())
                .collect(),
        }
    }

    fn concerns(&mut self, plan: &Plan) {
        let targets = plan
            .steps()
            .iter()
            .filter_map(|step| step.action().target());
        self.objects.extend(targets.map(object_ref));
    }

    /// Whether nothing is left of one of its apps; a symptom less is no app fixed.
    fn is_partly_fixed(&self, outcome: &Outcome) -> bool {
        outcome.rescan.as_ref().is_some_and(|rescan| {
            !rescan.issues().fixed.is_empty() && !self.of(rescan.fixed.clone()).is_empty()
        })
    }

    /// What is left of it after a plan.
    fn left(&self, outcome: &Outcome) -> Vec<Finding> {
        let rescan = outcome.rescan.iter();
        let findings = rescan.flat_map(|rescan| rescan.remaining.iter().chain(&rescan.new));
        self.of(findings.cloned().collect())
    }

    fn of(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        findings.retain(|finding| {
            let owner = finding.owner.as_ref();
            self.ids.contains(&finding.finding_id)
                || owner.is_some_and(|owner| self.objects.contains(owner))
        });
        findings
    }
}

fn recovery(outcome: &Outcome) -> Option<Recovery> {
    outcome.rescan.as_ref().map(|rescan| rescan.recovery)
}

/// What follows from how a plan ended.
fn next(outcome: &Outcome, is_partly_fixed: bool) -> Next {
    match (outcome.ending, recovery(outcome)) {
        (Ending::Stuck, _) => {
            Next::End("The plan did not help and could not be undone: a person has to look.")
        }
        (Ending::Stopped, _) => Next::End("A step failed, and the host wanted to stop there."),
        (Ending::Undone, _) => Next::Again,
        (Ending::Succeeded, Some(Recovery::Resolved)) => Next::Onward,
        (Ending::Succeeded, Some(Recovery::Persists)) if is_partly_fixed => Next::Onward,
        (
            Ending::Succeeded,
            Some(Recovery::Persists | Recovery::Relapsed | Recovery::Regressed),
        ) => Next::Again,
        (Ending::Succeeded, Some(Recovery::Unproven)) => {
            Next::End("The fault is gone for now, and nobody watched whether it stays so.")
        }
        (Ending::Succeeded, Some(Recovery::Vanished)) => {
            Next::End("The app is gone, or somebody stopped it.")
        }
        (Ending::Succeeded, Some(Recovery::Reverted)) => {
            Next::End("Somebody else put the old state back.")
        }
        (Ending::Succeeded, Some(Recovery::Inconclusive) | None) => Next::End(
            "The plan was carried out, and it can't be told whether it helped: look at the cluster.",
        ),
    }
}
