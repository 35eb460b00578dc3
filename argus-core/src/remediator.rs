//! The corridor: it holds the doors and calls the rooms one after another. It has no rule of its own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Notify;

use crate::action::Target;
use crate::actor::Actor;
use crate::approval::{Approved, Pause};
use crate::attempt::Attempt;
use crate::audit::{AuditEntry, AuditError, AuditEvent, AuditRecord, AuditSink, StepStatus};
use crate::cost::Prices;
use crate::dry_run::{DryRun, Preview, objects};
use crate::executor::Executor;
use crate::hold::HoldBounds;
use crate::incident::{Finding, ObjectRef, Scan, ScanError, Scanner};
use crate::plan::Plan;
use crate::plan_id::PlanId;
use crate::prompt::LlmProvider;
use crate::rescan::Rescan;
use crate::scope::{Scope, Settings};
use crate::store::{MemoryPlans, PlanStore};
use crate::verdict::{
    Evaluation, ObjectInput, Permitted, Phase, PolicyEngine, PolicyInput, Violation, floor,
    floor_of_results, for_people,
};

mod asking;
mod error;
mod execution;
mod fix;
mod history;
mod holding;
mod problem;
mod recheck;
mod resume;
mod suggest;

pub use asking::Budget;
pub use error::{BuildError, RemediatorError};
use execution::Execution;
pub use fix::FixOutcome;
pub use problem::Problem;

/// How many plans are carried out at most for one incident.
const DEFAULT_TRIES: u32 = 3;

/// What to do when a step fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// Undo what was applied, newest first.
    #[default]
    Undo,
    /// Leave what was applied and stop.
    Stop,
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every step was applied and came to rest.
    Succeeded,
    /// Something failed, and everything that was applied was undone.
    Undone,
    /// Something failed, and the host wanted to stop there.
    Stopped,
    /// Something could not be undone: a person has to look.
    Stuck,
}

/// What became of an approved plan. `RemediationResult` for HTTP clients.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Outcome {
    /// The plan.
    pub plan_id: PlanId,
    /// When it started.
    pub executed_at: Timestamp,
    /// Whether every step was applied and stayed, which is no proof that it helped: the re-scan says that; of an undo, whether everything was put back.
    pub success: bool,
    /// What happened, in plain English, one line per step.
    pub output: String,
    /// What went wrong.
    pub error: Option<String>,
    /// How it ended.
    pub ending: Ending,
    /// Each step, as the log says.
    pub steps: Vec<StepStatus>,
    /// What the re-scan says; none when the cluster couldn't be scanned.
    pub rescan: Option<Rescan>,
}

impl Outcome {
    /// The sentence for people, such as `Fixed: 2 issues resolved. Remaining: no issues.`; none without a re-scan.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        self.rescan.as_ref().map(Rescan::summary)
    }
}

type Observer = Arc<dyn Fn(&AuditRecord) + Send + Sync>;

/// The walk from an incident to proof, with the host's doors.
///
/// # Guarantees
/// Nothing is written to the cluster but the steps of an [`Approved`] plan, each after its intent is durable in the
/// audit trail, and the undo of such steps.
///
/// # Cancellation
/// Every call may be dropped at any await. A dropped [`execute`](Self::execute), like a crash, leaves the plan as far as it
/// came; the trail says how far, and [`resume`](Self::resume) finishes or undoes it.
///
/// # Example
/// ```
/// # #[cfg(feature = "testing")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use argus_core::testing::{MemoryAudit, PermitAll, SHORT_HOLD, cluster::Cluster};
/// use argus_core::{Answer, Incident, IncidentId, Kube, Playbook, Remediator, Scanner, Scope, Settings};
///
/// let cluster = Cluster::start();
/// cluster.deployment("shop", "web", "registry.example/web:1").needs_memory("256Mi").memory_limit("128Mi").create().await?;
///
/// let scope = Scope::namespaces(["shop"])?;
/// let kube = Kube::new(cluster.client());
/// let remediator = Remediator::builder()
///     .hold(SHORT_HOLD)
///     .scope(scope.clone())
///     .settings(Settings { enabled: true, allow_high_risk: false })
///     .llm(Playbook::new())
///     .policy(PermitAll::dangerous())
///     .cluster(kube.clone())
///     .audit(MemoryAudit::new())
///     .build()?;
///
/// let findings = cluster.wait_for_findings(&kube, &scope).await?;
/// let incident = Incident::new(IncidentId::new("INC-1")?, findings, None)?;
/// let plan = remediator.suggest(&incident).await?;
/// let permitted = remediator.review(plan).await?;
/// let dry_run = remediator.dry_run(permitted).await?;
/// let approved = dry_run.approve(Answer::confirm("operator"))?;
/// let outcome = remediator.execute(approved).await?;
/// assert!(outcome.success, "{outcome:?}");
/// # Ok(())
/// # })
/// # }
/// # #[cfg(not(feature = "testing"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Remediator {
    doors: Arc<Doors>,
    actor: Actor,
}

struct Doors {
    scope: Scope,
    settings: Settings,
    on_failure: OnFailure,
    budget: Budget,
    prices: Prices,
    language: Option<String>,
    llm: Arc<dyn LlmProvider>,
    policy: Arc<dyn PolicyEngine>,
    executor: Arc<dyn Executor>,
    scanner: Arc<dyn Scanner>,
    audit: Arc<dyn AuditSink>,
    plans: Arc<dyn PlanStore>,
    observer: Option<Observer>,
    pause: Option<Arc<dyn Pause>>,
    halted: AtomicBool,
    /// Wakes whoever waits when everything is halted.
    halting: Notify,
    hold: HoldBounds,
    tries: u32,
    /// The objects that a plan of this remediator changes right now.
    busy: Mutex<BTreeSet<Target>>,
}

impl Remediator {
    /// Starts with no door set.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The same walk, asked for by somebody else: for hosts with several users. Approvals have approvers of their own.
    #[must_use]
    pub fn asked_by(&self, actor: Actor) -> Self {
        Self {
            doors: Arc::clone(&self.doors),
            actor,
        }
    }

    /// Asks policy about a plan.
    ///
    /// # Errors
    /// [`RemediatorError::Denied`] with every violation, [`RemediatorError::Policy`] when there is no verdict.
    #[tracing::instrument(skip_all, fields(plan = %plan.plan_id()))]
    pub async fn review(&self, plan: Plan) -> Result<Permitted, RemediatorError> {
        let revision = self.doors.policy.revision();
        let evaluation = self.evaluate(&plan, Phase::Plan, Vec::new()).await?;
        match Permitted::new(plan, evaluation, revision) {
            Ok(permitted) => {
                let entry = self.entry(permitted.plan(), AuditEvent::Permitted, &self.actor);
                self.record(AuditEntry {
                    revision: Some(revision),
                    ..entry
                })
                .await?;
                Ok(permitted)
            }
            Err(refused) => {
                let (plan, evaluation) = *refused;
                Err(self.denied(plan, evaluation).await?)
            }
        }
    }

    /// The reasons why a plan would be refused whatever policy and the cluster say: steps for people, objects out of scope,
    /// changes that are never made, and high risk where it isn't allowed. For hosts that show a plan before it is reviewed.
    ///
    /// # Example
    /// ```
    /// # use argus_core::{Completion, IncidentId, Kube, Plan, Playbook, Remediator, Scope};
    /// # use argus_core::testing::{MemoryAudit, PermitAll, cluster::Cluster};
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let remediator = Remediator::builder().scope(Scope::namespaces(["shop"])?).llm(Playbook::new())
    /// #     .policy(PermitAll::dangerous()).cluster(Kube::new(Cluster::start().client())).audit(MemoryAudit::new()).build()?;
    /// let answer = r#"{"summary": "Clean up.", "steps": [{"description": "All of it.", "command": "kubectl delete namespace shop"}],
    ///     "risk_level": "low", "risk_reason": "Small.", "rollback_steps": []}"#;
    /// let plan = Plan::parse(&Completion::new(answer, "model"), &IncidentId::new("INC-1")?)?;
    /// let refusals = remediator.refusals(&plan);
    /// assert!(refusals.iter().any(|refusal| refusal.id == "floor-manual" && refusal.step == Some(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn refusals(&self, plan: &Plan) -> Vec<Violation> {
        let mut refusals = for_people(plan);
        refusals.extend(floor(plan, &self.doors.scope, self.doors.settings));
        refusals
    }

    /// Tries every step without doing it, and asks policy about the resulting objects.
    ///
    /// # Errors
    /// [`RemediatorError::Manual`] for a plan with steps that only a person may do, [`RemediatorError::Permissions`]
    /// with what the host lacks, [`RemediatorError::DryRun`] for a step that wouldn't work.
    #[tracing::instrument(skip_all, fields(plan = %permitted.plan().plan_id()))]
    pub async fn dry_run(&self, permitted: Permitted) -> Result<DryRun, RemediatorError> {
        let manual = permitted.manual_steps();
        if !manual.is_empty() {
            return Err(RemediatorError::Manual { steps: manual });
        }
        let missing = self.doors.executor.missing_permissions(&permitted).await;
        let missing = missing.map_err(|source| RemediatorError::DryRun { step: 0, source })?;
        if !missing.is_empty() {
            return Err(RemediatorError::Permissions { missing });
        }
        let mut previews: Vec<Preview> = Vec::new();
        for (step, permitted) in permitted.steps().enumerate() {
            let preview = self.doors.executor.dry_run(permitted).await;
            previews.push(preview.map_err(|source| RemediatorError::DryRun { step, source })?);
        }
        let evaluation = self
            .evaluate(
                permitted.plan(),
                Phase::Objects,
                objects(previews.iter().enumerate()),
            )
            .await?;
        if evaluation.verdict == crate::verdict::Verdict::Deny {
            return Err(self.denied(permitted.plan().clone(), evaluation).await?);
        }
        let manual = evaluation.manual_of(permitted.plan().steps().len());
        if !manual.is_empty() {
            return Err(RemediatorError::Manual { steps: manual });
        }
        let dry_run = DryRun::new(permitted, previews, evaluation)?;
        let entry = self.entry(dry_run.plan(), AuditEvent::DryRun, &self.actor);
        self.record(AuditEntry {
            digest: Some(dry_run.digest()),
            revision: Some(dry_run.revision()),
            ..entry
        })
        .await?;
        Ok(dry_run)
    }

    /// Executes an approved plan, waits until it came to rest, watches until the fault had the time to come back, and scans again.
    ///
    /// How long it watches, and why, stands in the trail as [`Holding`](AuditEvent::Holding), within the [`HoldBounds`] of the
    /// host; only then anything is [resolved](crate::Recovery::Resolved). Its objects are busy until then.
    ///
    /// Before every write it is asked again whether it may be made: the kill switch, the settings, the scope, the time of the
    /// approval, and policy with the time of now. A plan whose steps can't all be applied is undone, newest first; so is one
    /// that made things worse, or after which the fault came back. How it ended is in the [`Outcome`], not an error.
    ///
    /// # Errors
    /// [`RemediatorError::Disabled`], [`RemediatorError::Stale`], [`RemediatorError::Denied`] and [`RemediatorError::Busy`]
    /// before anything was written; [`RemediatorError::Halted`] after the kill switch, and [`RemediatorError::Audit`] when the
    /// trail failed, with how many steps stand in the cluster.
    #[tracing::instrument(skip_all, fields(plan = %approved.plan().plan_id()))]
    pub async fn execute(&self, approved: Approved) -> Result<Outcome, RemediatorError> {
        self.execute_after(approved, &[]).await
    }

    /// The same after these findings were seen.
    async fn execute_after(
        &self,
        approved: Approved,
        seen: &[Finding],
    ) -> Result<Outcome, RemediatorError> {
        self.may_write()?;
        let _busy = self.claim(&approved)?;
        self.may_begin(&approved).await?;
        Execution::new(self, &approved).run(seen).await
    }

    /// Whether the host lets anything be written at all.
    fn may_write(&self) -> Result<(), RemediatorError> {
        if !self.doors.settings.enabled {
            return Err(RemediatorError::Disabled);
        }
        if self.is_halted() {
            return Err(RemediatorError::Halted { standing: 0 });
        }
        Ok(())
    }

    /// Stops every execution before its next write, and refuses new ones; undoing is writing too. What was cut off stands
    /// in the trail as unfinished; a plan that is only watched by then has come to its end, unproven.
    pub fn halt(&self) {
        self.doors.halted.store(true, Ordering::SeqCst);
        self.doors.halting.notify_waiters();
    }

    /// Lets executions be started and resumed again after [`halt`](Self::halt).
    pub fn lift_halt(&self) {
        self.doors.halted.store(false, Ordering::SeqCst);
    }

    fn is_halted(&self) -> bool {
        self.doors.halted.load(Ordering::SeqCst)
    }

    /// Waits until everything is halted.
    async fn until_halted(&self) {
        loop {
            let halting = self.doors.halting.notified();
            if self.is_halted() {
                return;
            }
            halting.await;
        }
    }

    /// Looks at the cluster, in the namespaces of the scope.
    ///
    /// # Errors
    /// [`ScanError`] when nothing could be read.
    pub async fn scan(&self) -> Result<Scan, ScanError> {
        self.doors.scanner.scan(&self.doors.scope).await
    }

    /// Asks the floor and every pack; the objects of phase `plan` are none.
    async fn evaluate(
        &self,
        plan: &Plan,
        phase: Phase,
        objects: Vec<ObjectInput>,
    ) -> Result<Evaluation, RemediatorError> {
        let history = self.attempts(plan.incident_id(), Some(plan.plan_id()));
        let history = history.await?;
        self.evaluate_after(history, plan, phase, objects).await
    }

    /// The same where the history is at hand.
    async fn evaluate_after(
        &self,
        history: Vec<Attempt>,
        plan: &Plan,
        phase: Phase,
        objects: Vec<ObjectInput>,
    ) -> Result<Evaluation, RemediatorError> {
        let input = PolicyInput::of_plan(plan, &self.doors.scope, self.doors.settings)
            .with_actor(self.actor.clone())
            .with_history(history)
            .with_objects(phase, objects);
        let mut violations = floor(plan, &self.doors.scope, self.doors.settings);
        violations.extend(floor_of_results(&input));
        Ok(Evaluation::of(&*self.doors.policy, &input, violations).await?)
    }

    async fn denied(
        &self,
        plan: Plan,
        evaluation: Evaluation,
    ) -> Result<RemediatorError, RemediatorError> {
        let entry = self.entry(&plan, AuditEvent::Denied, &self.actor);
        self.record(AuditEntry {
            outcome: Some(evaluation.messages().into()),
            revision: Some(self.doors.policy.revision()),
            ..entry
        })
        .await?;
        Ok(RemediatorError::Denied {
            plan: Box::new(plan),
            evaluation,
        })
    }

    fn entry(&self, plan: &Plan, event: AuditEvent, actor: &Actor) -> AuditEntry {
        AuditEntry::new(
            event,
            plan.incident_id().clone(),
            plan.plan_id().clone(),
            actor.clone(),
        )
    }

    async fn record(&self, entry: AuditEntry) -> Result<AuditRecord, RemediatorError> {
        let record = self.doors.audit.append(entry).await;
        let record = record.map_err(|source| match source {
            AuditError::Held(plan_id) => RemediatorError::Held(plan_id),
            source => RemediatorError::Audit {
                source,
                standing: 0,
            },
        })?;
        if let Some(observer) = &self.doors.observer {
            observer(&record);
        }
        Ok(record)
    }

    /// Claims the plan's objects, so that no other plan of this remediator changes them meanwhile.
    fn claim(&self, approved: &Approved) -> Result<Claim<'_>, RemediatorError> {
        let targets: BTreeSet<Target> = approved
            .plan()
            .steps()
            .iter()
            .filter_map(|step| step.action().target().cloned())
            .collect();
        let mut busy = self
            .doors
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.iter().find(|target| busy.contains(target)) {
            return Err(RemediatorError::Busy {
                target: target.to_string(),
            });
        }
        busy.extend(targets.iter().cloned());
        Ok(Claim {
            doors: &self.doors,
            targets,
        })
    }
}

struct Claim<'a> {
    doors: &'a Doors,
    targets: BTreeSet<Target>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut busy = self
            .doors
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        busy.retain(|target| !self.targets.contains(target));
    }
}

fn object_ref(target: &Target) -> ObjectRef {
    ObjectRef {
        kind: target.kind().to_string(),
        namespace: target.namespace().to_owned(),
        name: target.name().to_owned(),
    }
}

/// Collects the doors of a [`Remediator`].
#[derive(Default)]
pub struct Builder {
    scope: Option<Scope>,
    settings: Settings,
    actor: Option<Actor>,
    on_failure: OnFailure,
    hold: HoldBounds,
    tries: Option<u32>,
    budget: Budget,
    prices: Prices,
    language: Option<String>,
    llm: Option<Arc<dyn LlmProvider>>,
    policy: Option<Arc<dyn PolicyEngine>>,
    executor: Option<Arc<dyn Executor>>,
    scanner: Option<Arc<dyn Scanner>>,
    audit: Option<Arc<dyn AuditSink>>,
    plans: Option<Arc<dyn PlanStore>>,
    observer: Option<Observer>,
    pause: Option<Arc<dyn Pause>>,
}

impl Builder {
    /// The namespaces that Argus may work in.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// What the host switched on; everything is off by default.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who asks for suggestions and dry runs, for the audit trail; `argus`, automatic, by default.
    #[must_use]
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// What to do when a step fails.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// The time for which a fix is watched before it counts as one; ten seconds at least and ten minutes at most by default.
    #[must_use]
    pub fn hold(mut self, bounds: HoldBounds) -> Self {
        self.hold = bounds;
        self
    }

    /// How many plans [`fix`](Remediator::fix) carries out at most for one incident; 3 by default.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }

    /// How much a plan, or a diagnosis, may cost until it can be used.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// What models cost, for the trail and for a [`Budget`] of money; none is known by default.
    #[must_use]
    pub fn prices(mut self, prices: Prices) -> Self {
        self.prices = prices;
        self
    }

    /// The language that plans and diagnoses of a model are written in, by its English name, such as `German`; English by default. The
    /// playbook knows English only.
    #[must_use]
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// Who writes plans, and diagnoses.
    #[must_use]
    pub fn llm(mut self, llm: impl LlmProvider + 'static) -> Self {
        self.llm = Some(Arc::new(llm));
        self
    }

    /// Who judges them.
    #[must_use]
    pub fn policy(mut self, policy: impl PolicyEngine + 'static) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// The cluster: dry runner, executor and scanner in one.
    #[must_use]
    pub fn cluster<C: Executor + Scanner + 'static>(mut self, cluster: C) -> Self {
        let cluster = Arc::new(cluster);
        self.scanner = Some(Arc::clone(&cluster) as Arc<dyn Scanner>);
        self.executor = Some(cluster);
        self
    }

    /// Where records become durable.
    #[must_use]
    pub fn audit(mut self, audit: impl AuditSink + 'static) -> Self {
        self.audit = Some(Arc::new(audit));
        self
    }

    /// Where plans are kept; in memory where none is named, so that nothing can be resumed after a restart.
    #[must_use]
    pub fn plans(mut self, plans: impl PlanStore + 'static) -> Self {
        self.plans = Some(Arc::new(plans));
        self
    }

    /// Sees every record right after it became durable: the progress of a plan. Must return quickly.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&AuditRecord) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Asks before each step but the first whether to go on; without it a plan is carried out in one go.
    #[must_use]
    pub fn pause(mut self, pause: impl Pause + 'static) -> Self {
        self.pause = Some(Arc::new(pause));
        self
    }

    /// The remediator.
    ///
    /// # Errors
    /// [`BuildError`] names the door that is missing.
    pub fn build(self) -> Result<Remediator, BuildError> {
        let doors = Doors {
            scope: self.scope.ok_or(BuildError("scope"))?,
            settings: self.settings,
            on_failure: self.on_failure,
            budget: self.budget,
            prices: self.prices,
            language: self.language,
            llm: self.llm.ok_or(BuildError("llm"))?,
            policy: self.policy.ok_or(BuildError("policy"))?,
            executor: self.executor.ok_or(BuildError("cluster"))?,
            scanner: self.scanner.ok_or(BuildError("cluster"))?,
            audit: self.audit.ok_or(BuildError("audit"))?,
            plans: self
                .plans
                .unwrap_or_else(|| Arc::new(MemoryPlans::default())),
            observer: self.observer,
            pause: self.pause,
            halted: AtomicBool::new(false),
            halting: Notify::new(),
            hold: self.hold,
            tries: self.tries.unwrap_or(DEFAULT_TRIES),
            busy: Mutex::default(),
        };
        Ok(Remediator {
            doors: Arc::new(doors),
            actor: self.actor.unwrap_or_else(Actor::argus),
        })
    }
}
