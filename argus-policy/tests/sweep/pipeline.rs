//! The ordinary pipeline over one patch: parsed as a plan, reviewed, dry-run on the real API server, reviewed again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use argus_core::testing::{MemoryAudit, Scripted};
use argus_core::{
    Action, ApplyError, ApprovedStep, Completion, DryRun, DryRunError, DryRunner, Executor,
    IncidentId, Kube, Permitted, PermittedStep, Plan, Preview, Remediator, RemediatorError, Risk,
    Scan, ScanError, Scanner, Scope, Settings, SettleError, UndoError, UndoStep, Undone, Verdict,
};
use argus_policy::RegoEngine;
use async_trait::async_trait;
use serde_json::{Value, json};

/// How often a dry run is taken again because a controller changed the object's status meanwhile.
const TRIES: usize = 5;

/// What became of one patch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// No plan was made of it.
    Parse(String),
    /// The checks in Rust refused it, also where high risk is allowed.
    Floor(String),
    /// A pack refused it, also where high risk is allowed.
    Policy(String),
    /// The API server refused it.
    Server(String),
    /// It changes nothing.
    Nothing,
    /// It passes where a host allows high risk, and only there.
    High(String),
    /// It passes by default, with a person's approval or without.
    Allowed(Risk, Verdict),
}

/// Two hosts that differ in one setting.
pub(crate) struct Pipeline {
    by_default: Remediator,
    with_high_risk: Remediator,
    cluster: Once,
}

impl Pipeline {
    pub(crate) fn new(kube: Kube, scope: &Scope, policy: &RegoEngine) -> Self {
        let cluster = Once {
            kube,
            taken: Arc::default(),
        };
        let host = |allow_high_risk| {
            let builder = Remediator::builder()
                .hold(argus_core::testing::SHORT_HOLD)
                .scope(scope.clone())
                .settings(Settings {
                    enabled: true,
                    allow_high_risk,
                })
                .llm(Scripted::commands(&[]))
                .policy(policy.clone())
                .cluster(cluster.clone());
            builder.audit(MemoryAudit::new()).build().unwrap()
        };
        Self {
            by_default: host(false),
            with_high_risk: host(true),
            cluster,
        }
    }

    /// What becomes of a plan, with its dry run where it passes at least where high risk is allowed.
    pub(crate) async fn judge(&self, plan: Result<Plan, String>) -> (Outcome, Option<Preview>) {
        let plan = match plan {
            Ok(plan) => plan,
            Err(problem) => return (Outcome::Parse(problem), None),
        };
        let mut tries = 0;
        let dry_run = loop {
            tries += 1;
            match run(&self.with_high_risk, &plan).await {
                Ok(dry_run) => break dry_run,
                Err(Outcome::Server(problem)) if moved(&problem) && tries < TRIES => {}
                Err(outcome) => return (outcome, None),
            }
        };
        let outcome = match run(&self.by_default, &plan).await {
            Ok(dry_run) => Outcome::Allowed(dry_run.risk_level(), dry_run.verdict()),
            Err(Outcome::Floor(why) | Outcome::Policy(why)) => Outcome::High(why),
            Err(other) => panic!("{:?}: {other:?}", plan.steps()),
        };
        self.cluster.forget(plan.steps()[0].action());
        (outcome, Some(dry_run.previews()[0].clone()))
    }
}

/// A plan of one step, as a model would give it: `{"command": ...}` or `{"action": ...}`.
pub(crate) fn plan(mut step: Value) -> Result<Plan, String> {
    step["description"] = json!("d");
    let draft = json!({ "summary": "s", "risk_level": "low", "risk_reason": "r", "rollback_steps": [], "steps": [step] });
    let completion = Completion::new(draft.to_string(), "sweep");
    Plan::parse(&completion, &IncidentId::new("INC-1").unwrap()).map_err(|error| error.to_string())
}

/// Review, dry run and review of what results.
async fn run(remediator: &Remediator, plan: &Plan) -> Result<DryRun, Outcome> {
    let refused = |error: RemediatorError| match error {
        RemediatorError::Denied { evaluation, .. } => {
            let ids: Vec<&str> = evaluation
                .violations
                .iter()
                .map(|violation| violation.id.as_str())
                .collect();
            let by_floor = evaluation
                .violations
                .iter()
                .all(|violation| violation.pack == "floor");
            let ids = ids.join(", ");
            if by_floor {
                Outcome::Floor(ids)
            } else {
                Outcome::Policy(ids)
            }
        }
        RemediatorError::Manual { steps } => {
            Outcome::Policy(format!("only a person may: {steps:?}"))
        }
        RemediatorError::DryRun {
            source: DryRunError::Impossible(why),
            ..
        } if why.contains("would change nothing") => Outcome::Nothing,
        RemediatorError::DryRun { source, .. } => Outcome::Server(source.to_string()),
        other => panic!("{other:?}"),
    };
    let permitted = remediator.review(plan.clone()).await.map_err(refused)?;
    remediator.dry_run(permitted).await.map_err(refused)
}

/// Whether the object's version moved between reading and writing.
fn moved(problem: &str) -> bool {
    [
        "the object has been modified",
        "testing path /metadata/resourceVersion",
        "test operation",
    ]
    .iter()
    .any(|text| problem.contains(text))
}

/// The cluster, which is asked once for both hosts: the request is the same. Permissions are other tests' to judge.
#[derive(Clone)]
struct Once {
    kube: Kube,
    taken: Arc<Mutex<HashMap<String, Preview>>>,
}

impl Once {
    fn key(action: &Action) -> String {
        serde_json::to_string(action).unwrap()
    }

    fn forget(&self, action: &Action) {
        self.taken.lock().unwrap().remove(&Self::key(action));
    }
}

#[async_trait]
impl DryRunner for Once {
    async fn missing_permissions(&self, _: &Permitted) -> Result<Vec<String>, DryRunError> {
        Ok(Vec::new())
    }

    async fn dry_run(&self, step: PermittedStep<'_>) -> Result<Preview, DryRunError> {
        let key = Self::key(step.action());
        let taken = self.taken.lock().unwrap().remove(&key);
        if let Some(preview) = taken {
            return Ok(preview);
        }
        let preview = self.kube.dry_run(step).await?;
        self.taken.lock().unwrap().insert(key, preview.clone());
        Ok(preview)
    }
}

#[async_trait]
impl Executor for Once {
    async fn apply(&self, step: ApprovedStep<'_>) -> Result<Value, ApplyError> {
        self.kube.apply(step).await
    }
    async fn settle(&self, step: ApprovedStep<'_>) -> Result<(), SettleError> {
        self.kube.settle(step).await
    }
    async fn is_in_force(&self, step: ApprovedStep<'_>) -> Result<bool, ApplyError> {
        self.kube.is_in_force(step).await
    }
    async fn undo(&self, step: UndoStep<'_>) -> Result<Undone, UndoError> {
        self.kube.undo(step).await
    }
}

#[async_trait]
impl Scanner for Once {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        self.kube.scan(scope).await
    }
}
