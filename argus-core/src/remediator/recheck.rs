//! Whether a write may still be made: asked before each one, whatever was approved.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Problem, Remediator, RemediatorError};
use crate::action::Target;
use crate::actor::Actor;
use crate::approval::{Approved, ApprovedStep, Recheck, Withdrawn};
use crate::audit::{AuditQuery, AuditRecord, step_statuses, unfinished_plans};
use crate::dry_run::{Preview, objects};
use crate::verdict::{Evaluation, Phase, Verdict};

impl Remediator {
    /// Whether an execution of the plan may begin now.
    pub(super) async fn may_begin(&self, approved: &Approved) -> Result<(), RemediatorError> {
        if approved.dry_run().is_outdated() {
            return Err(stale("the dry run is too old"));
        }
        match self.still_holds(approved).await {
            Err(RemediatorError::Denied { plan, evaluation }) => {
                Err(self.denied(*plan, evaluation).await?)
            }
            answer => answer,
        }
    }

    /// Whether the plan neither runs nor stands, as the trail says it up to a record.
    ///
    /// An approval is used once: after a second execution nobody could tell what the first one left.
    pub(super) async fn is_first(
        &self,
        approved: &Approved,
        before: Option<u64>,
    ) -> Result<(), RemediatorError> {
        let query = AuditQuery {
            plan_id: Some(approved.plan().plan_id().clone()),
            before,
            ..AuditQuery::default()
        };
        let records: Vec<AuditRecord> = self.trail(&query).await?;
        if !unfinished_plans(&records).is_empty() {
            return Err(stale(
                "the plan is being executed already, or was cut off: resume it, or ask for a new plan",
            ));
        }
        if step_statuses(&records)
            .iter()
            .any(|status| status.may_stand())
        {
            return Err(stale(
                "the plan was executed already and stands in the cluster: undo it, or ask for a new plan",
            ));
        }
        Ok(())
    }

    /// Whether all that was true when the plan was approved is true now.
    pub(super) async fn still_holds(&self, approved: &Approved) -> Result<(), RemediatorError> {
        self.may_write()?;
        if Timestamp::now() > approved.expires_at() {
            return Err(stale("the approval expired"));
        }
        if self.doors.policy.revision() != approved.revision() {
            return Err(stale("the policy changed after the approval"));
        }
        let evaluations = self.judge_now(approved).await?;
        let people = evaluations.iter().map(Evaluation::people).max();
        let so_far = approved.others().len() + 1;
        if so_far < usize::from(people.unwrap_or(1)) {
            return Err(stale("policy wants more people to approve the plan now"));
        }
        let allows = |evaluation: &Evaluation| evaluation.verdict == Verdict::Allow;
        let mut approvers = approved.others().iter().chain([approved.approver()]);
        let by_itself = approvers.any(|actor| matches!(actor, Actor::Automatic(_)));
        if by_itself && !evaluations.iter().all(allows) {
            return Err(stale("policy wants a person to approve the plan now"));
        }
        // Judging took its time.
        self.may_write()
    }

    /// What the floor and policy say now about the actions, and about the objects as they were approved; an error where they refuse
    /// the plan or leave a step to people.
    async fn judge_now(&self, approved: &Approved) -> Result<[Evaluation; 2], RemediatorError> {
        let (plan, previews) = (approved.plan(), approved.dry_run().previews());
        let objects = objects(previews.iter().enumerate());
        // Read once for both.
        let history = self.attempts(plan.incident_id(), Some(plan.plan_id()));
        let history = history.await?;
        let evaluations = [
            self.evaluate_after(history.clone(), plan, Phase::Plan, Vec::new())
                .await?,
            self.evaluate_after(history, plan, Phase::Objects, objects)
                .await?,
        ];
        for evaluation in &evaluations {
            if evaluation.verdict == Verdict::Deny {
                return Err(RemediatorError::Denied {
                    plan: Box::new(plan.clone()),
                    evaluation: evaluation.clone(),
                });
            }
            let steps = evaluation.manual_of(plan.steps().len());
            if !steps.is_empty() {
                return Err(RemediatorError::Manual { steps });
            }
        }
        Ok(evaluations)
    }

    /// Whether a step may be undone now. Undo passes policy too: the object as it would be restored is judged like any other.
    async fn undo_holds(&self, step: ApprovedStep<'_>) -> Result<(), Withdrawn> {
        let plan = step.approved().plan();
        let preview = step.preview();
        let back = Preview {
            before: preview.after.clone(),
            after: preview.before.clone(),
            ..preview.clone()
        };
        let objects = objects([(step.index(), &back)]);
        let evaluation = self.evaluate(plan, Phase::Undo, objects).await;
        let evaluation = evaluation.map_err(withdrawn)?;
        let no = |what: String| Withdrawn {
            what,
            is_halt: false,
        };
        // Here as anywhere, whatever else is said: nothing is written outside of the scope.
        let is_outside = |target: &&Target| !self.doors.scope.contains(target.namespace());
        if let Some(target) = step.action().target().filter(is_outside) {
            return Err(no(format!(
                "{target} is outside of the namespaces that Argus may change now"
            )));
        }
        // An undo is of one step; what is said of another one is no reason to leave this one as it is.
        let against = evaluation.violations.iter();
        let against: Vec<&str> = against
            .filter(|violation| violation.step.is_none_or(|of| of == step.index()))
            .map(|violation| violation.message.as_str())
            .collect();
        if !against.is_empty() {
            return Err(no(format!(
                "policy refuses the undo: {}",
                against.join("; ")
            )));
        }
        let manual = evaluation.manual_of(plan.steps().len());
        match manual.get(&step.index()) {
            Some(reason) => Err(no(format!("policy leaves the undo to a person: {reason}"))),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Recheck for Remediator {
    async fn still_permitted(&self, step: ApprovedStep<'_>) -> Result<(), Withdrawn> {
        self.still_holds(step.approved()).await.map_err(withdrawn)
    }

    async fn undo_still_permitted(&self, step: ApprovedStep<'_>) -> Result<(), Withdrawn> {
        self.may_write().map_err(withdrawn)?;
        self.undo_holds(step).await?;
        self.may_write().map_err(withdrawn)
    }
}

fn stale(what: &str) -> RemediatorError {
    RemediatorError::Stale { what: what.into() }
}

/// An error in words, as a reason not to write.
fn withdrawn(error: RemediatorError) -> Withdrawn {
    let is_halt = matches!(error, RemediatorError::Halted { .. });
    let what = match error {
        RemediatorError::Stale { what } => what,
        other => Problem::causes(&other),
    };
    Withdrawn { what, is_halt }
}

#[cfg(all(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::actor::ActorError;
    use crate::approval::{APPROVAL_LASTS, Answer, ApprovalError};
    use crate::dry_run::DryRun;
    use crate::testing::{MemoryAudit, PermitAll, Scripted, cluster::Cluster};
    use crate::{
        AuditEvent, AuditRecord, Ending, Incident, IncidentId, Kube, Remediator, Scope, Settings,
    };

    /// Two apps, and a remediator that gives each a second copy.
    async fn shop(
        observer: impl Fn(&AuditRecord) + Send + Sync + 'static,
    ) -> (Cluster, Remediator) {
        let cluster = Cluster::start();
        for name in ["web", "api"] {
            let app = cluster.deployment("shop", name, "r.example/app:1");
            app.create().await.unwrap();
        }
        let remediator = Remediator::builder()
            .hold(crate::testing::SHORT_HOLD)
            .scope(Scope::namespaces(["shop"]).unwrap())
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(Scripted::commands(&[
                "kubectl scale deployment/web -n shop --replicas=2",
                "kubectl scale deployment/api -n shop --replicas=2",
            ]))
            .policy(PermitAll::dangerous())
            .cluster(Kube::new(cluster.client_as("argus")))
            .audit(MemoryAudit::new())
            .observe(observer)
            .build()
            .unwrap();
        (cluster, remediator)
    }

    async fn dry_run(remediator: &Remediator) -> DryRun {
        let incident = Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap();
        let plan = remediator.suggest(&incident).await.unwrap();
        let permitted = remediator.review(plan).await.unwrap();
        remediator.dry_run(permitted).await.unwrap()
    }

    /// The same dry run, taken so long ago.
    fn aged(dry_run: DryRun, minutes: i64) -> DryRun {
        DryRun::of(
            dry_run.plan().clone(),
            dry_run.previews().to_vec(),
            dry_run.evaluations().clone(),
            dry_run.revision(),
            Timestamp::now() - SignedDuration::from_mins(minutes),
        )
        .unwrap()
    }

    fn approved_at(dry_run: DryRun, at: Timestamp) -> Approved {
        Approved::restored(dry_run, Actor::user("operator").unwrap(), Vec::new(), at)
    }

    fn made(cluster: &Cluster) -> usize {
        let writes = cluster.writes().into_iter();
        let mine = writes.filter(|write| write.user == "argus" && !write.dry_run);
        mine.filter(|write| write.code == 200).count()
    }

    #[tokio::test]
    async fn an_approval_expires() {
        for (minutes, holds) in [(11, false), (9, true)] {
            let (cluster, remediator) = shop(|_| {}).await;
            let dry_run = dry_run(&remediator).await;
            let at = Timestamp::now() - SignedDuration::from_mins(minutes);
            let result = remediator.execute(approved_at(dry_run, at)).await;
            assert_eq!(result.is_ok(), holds, "{minutes} minutes: {result:?}");
            assert_eq!(made(&cluster), if holds { 2 } else { 0 });
        }
    }

    /// Its time ends right after each record up to the last write: what follows isn't written, what was is undone.
    #[tokio::test(flavor = "multi_thread", worker_threads = 16)]
    async fn an_approval_expires_between_two_records() {
        let runs = (1..)
            .zip([0, 0, 1, 1, 1, 2])
            .map(|(at, applied)| async move {
                let ends = Timestamp::now() + SignedDuration::from_secs(20);
                let records = std::sync::atomic::AtomicUsize::new(0);
                let (cluster, remediator) = shop(move |record| {
                    let before = [
                        AuditEvent::Asked,
                        AuditEvent::Suggested,
                        AuditEvent::Permitted,
                    ];
                    if before.contains(&record.entry.event)
                        || record.entry.event == AuditEvent::DryRun
                    {
                        return;
                    }
                    if records.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == at {
                        let left = ends.duration_since(Timestamp::now());
                        let left = left + SignedDuration::from_millis(10);
                        let left = left.try_into().unwrap_or_default();
                        // The cluster's own tasks go on meanwhile.
                        tokio::task::block_in_place(|| std::thread::sleep(left));
                    }
                })
                .await;
                let dry_run = dry_run(&remediator).await;
                let approved = approved_at(dry_run, ends - APPROVAL_LASTS);
                let result = remediator.execute(approved).await;
                match (applied, result) {
                    (0, Err(error)) => {
                        assert!(error.is_stale(), "record {at}: {error}");
                        assert_eq!(made(&cluster), 0, "record {at}");
                    }
                    (1, Ok(outcome)) => {
                        assert_eq!(outcome.ending, Ending::Undone, "record {at}");
                        assert_eq!(outcome.error.as_deref(), Some("the approval expired"));
                        assert_eq!(made(&cluster), 2, "record {at}");
                    }
                    (2, Ok(outcome)) => {
                        assert_eq!(
                            outcome.ending,
                            Ending::Succeeded,
                            "record {at}: {outcome:?}"
                        );
                        assert_eq!(made(&cluster), 2, "record {at}");
                    }
                    (_, other) => panic!("record {at}: {other:?}"),
                }
            });
        let runs: Vec<_> = runs.map(tokio::spawn).collect();
        for run in runs {
            run.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_dry_run_grows_old() {
        let (cluster, remediator) = shop(|_| {}).await;
        let dry_run = dry_run(&remediator).await;
        let old = aged(dry_run.clone(), 11).approve(Answer::confirm("operator"));
        assert!(matches!(old, Err(ApprovalError::Outdated)), "{old:?}");

        // Approved in time, and executed too late.
        let approved = approved_at(aged(dry_run.clone(), 11), Timestamp::now());
        let error = remediator.execute(approved).await.unwrap_err();
        assert!(error.is_stale(), "{error}");
        assert_eq!(made(&cluster), 0);

        let fresh = aged(dry_run, 9).approve(Answer::confirm("operator"));
        assert!(remediator.execute(fresh.unwrap()).await.unwrap().success);
    }

    #[tokio::test]
    async fn whoever_approves_has_a_name() {
        let (_cluster, remediator) = shop(|_| {}).await;
        let dry_run = dry_run(&remediator).await;
        for (answer, why) in [
            (Answer::confirm(" "), ActorError::Empty),
            (
                Answer::confirm_by_name("a\u{202e}b", "web"),
                ActorError::Hidden,
            ),
            (Answer::automatic("a\nb"), ActorError::Hidden),
            (Answer::refuse("a".repeat(129), "no"), ActorError::TooLong),
        ] {
            assert_eq!(answer.actor(), Err(why));
            match dry_run.clone().approve(answer) {
                Err(ApprovalError::Nameless(error)) => assert_eq!(error, why),
                other => panic!("{other:?}"),
            }
        }
        let approved = dry_run
            .approve(Answer::confirm(" x DB_PASSWORD=hunter2 "))
            .unwrap();
        assert_eq!(approved.approver().name(), "x DB_PASSWORD=[redacted]");
    }
}
