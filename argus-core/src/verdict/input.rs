//! A plan, its objects and what the host knows become the document that packs see.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{
    Action, Amounts, Evidence, JudgedField, Kind, PatchKind, Quantity, Reversibility, Risk, Target,
};
use crate::actor::Actor;
use crate::attempt::{Attempt, AttemptStep, Recovery};
use crate::incident::{FindingSummary, Severity};
use crate::plan::{Plan, Step};
use crate::redact::Redacted;
use crate::scope::{Scope, Settings};

/// The version of [`PolicyInput`].
pub const POLICY_INPUT_VERSION: &str = "argus.policy/v1";

/// Which half of the check it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The actions, before anything was asked of the cluster.
    Plan,
    /// The objects as the dry run returned them.
    Objects,
    /// The objects as an undo would leave them.
    Undo,
}

/// The document that packs see as `input`.
///
/// # Guarantees
/// Total: every field is always there, `null` where it says nothing.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PolicyInput {
    /// [`POLICY_INPUT_VERSION`].
    pub version: String,
    /// Which half.
    pub phase: Phase,
    /// When, RFC 3339 in UTC: rules can't read a clock.
    pub time: Timestamp,
    /// The day of the week of `time`, in UTC: `monday` to `sunday`.
    pub weekday: String,
    /// Who asks; null if the host doesn't say.
    pub actor: Option<Actor>,
    /// What the plan is for.
    pub incident: IncidentInput,
    /// The plans that were tried for the incident before this one, oldest first; empty where none was, or nobody says.
    pub history: Vec<AttemptInput>,
    /// The namespaces of the scope.
    pub scope: ScopeInput,
    /// What the host switched on.
    pub settings: Settings,
    /// The plan.
    pub plan: PlanInput,
    /// In phases `objects` and `undo`: each step's object before and after; empty in phase `plan`.
    pub objects: Vec<ObjectInput>,
}

/// The incident as packs see it: redacted, like everything that comes from a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct IncidentInput {
    /// The host's id.
    pub incident_id: String,
    /// The worst of its findings; null if they aren't known.
    pub severity: Option<Severity>,
    /// What was found; empty if only the incident's id is known.
    pub findings: Vec<FindingSummary>,
}

/// A plan that was tried before as packs see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AttemptInput {
    /// The plan.
    pub plan_id: String,
    /// The time at which its first step was begun.
    pub at: Timestamp,
    /// Whole minutes from then to the input's time; 0 where it is later.
    pub minutes_ago: u64,
    /// The steps that were begun, in order; `command` as it is of a step of the plan.
    pub steps: Vec<AttemptStep>,
    /// The re-scan's word after it; null where there was none.
    pub recovery: Option<Recovery>,
    /// Its end in words; null while it is under way, or where it was cut off.
    pub outcome: Option<Redacted>,
}

/// The scope as packs see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ScopeInput {
    /// Sorted.
    pub namespaces: Vec<String>,
}

/// The plan as packs see it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields of `Plan`")]
pub struct PlanInput {
    pub plan_id: String,
    pub summary: String,
    pub risk_level: Risk,
    pub model_used: String,
    pub steps: Vec<StepInput>,
    pub rollback_steps: Vec<StepInput>,
}

/// A step as packs see it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StepInput {
    /// From 0.
    pub index: usize,
    /// What it does.
    pub description: String,
    /// As it would be pasted into a shell.
    pub command: String,
    /// The action's kind, such as `set_image`.
    pub kind: String,
    /// The object; null for a manual step.
    pub target: Option<TargetInput>,
    /// The fields that it writes, as JSON pointers.
    pub fields_touched: Vec<String>,
    /// The same fields, each held against the table of allowed changes: by the action alone, in phase `objects` by the
    /// objects that would result.
    pub fields: Vec<JudgedField>,
    /// Whether the incident names the object or its owner; null where the incident's findings aren't known.
    pub of_incident: Option<bool>,
    /// The risk that follows from the action, in phase `objects` from what would result.
    pub risk: Risk,
    /// Whether it can be undone.
    pub reversibility: Reversibility,
    /// Whether something is removed.
    pub is_destructive: bool,
    /// Of a scale.
    pub replicas: Option<u32>,
    /// Of set_resources.
    pub container: Option<String>,
    /// Of set_resources.
    pub limits: AmountsInput,
    /// Of set_resources.
    pub requests: AmountsInput,
    /// Of set_image: the image by container, otherwise empty.
    pub images: BTreeMap<String, String>,
    /// Of a patch.
    pub patch_type: Option<PatchKind>,
    /// Of a patch.
    pub patch: Value,
    /// Of rollout_undo.
    pub to_revision: Option<u32>,
    /// Of a manual step.
    pub reason: Option<String>,
    #[serde(skip)]
    #[schemars(skip)]
    action: Action,
}

/// An object's address as packs see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the terms of the Kubernetes API")]
pub struct TargetInput {
    pub kind: Kind,
    pub group: String,
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

/// Amounts as packs see them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the terms of the Kubernetes API")]
pub struct AmountsInput {
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub ephemeral_storage: Option<String>,
}

/// An object as the API server returned it.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectInput {
    /// The step's index.
    pub step: usize,
    /// The object as it is.
    pub before: Value,
    /// The object as it would be; null if it would be gone.
    pub after: Value,
    /// What the dry runner read of the cluster to judge the change by; null where nobody looked.
    #[serde(default)]
    pub evidence: Option<Evidence>,
}

/// The step; nothing of what the object holds.
impl fmt::Debug for ObjectInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectInput")
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl PolicyInput {
    /// The JSON Schema of the document: every field is required.
    #[must_use]
    pub fn schema() -> Value {
        crate::json::schema_of::<Self>()
    }

    /// The input of phase `plan`.
    #[must_use]
    pub fn of_plan(plan: &Plan, scope: &Scope, settings: Settings) -> Self {
        Self {
            version: POLICY_INPUT_VERSION.into(),
            phase: Phase::Plan,
            time: Timestamp::UNIX_EPOCH,
            weekday: String::new(),
            actor: None,
            incident: IncidentInput {
                incident_id: plan.incident_id().to_string(),
                severity: plan.findings().iter().map(|finding| finding.severity).max(),
                findings: plan.findings().to_vec(),
            },
            history: Vec::new(),
            scope: ScopeInput {
                namespaces: scope.iter().map(str::to_owned).collect(),
            },
            settings,
            plan: PlanInput {
                plan_id: plan.plan_id().to_string(),
                summary: plan.summary().to_owned(),
                risk_level: plan.risk_level(),
                model_used: plan.model_used().to_owned(),
                steps: plan
                    .steps()
                    .iter()
                    .enumerate()
                    .map(|step| StepInput::new(step, plan.findings()))
                    .collect(),
                rollback_steps: plan
                    .rollback_steps()
                    .iter()
                    .enumerate()
                    .map(|step| StepInput::new(step, plan.findings()))
                    .collect(),
            },
            objects: Vec::new(),
        }
        .at(Timestamp::now())
    }

    /// The same input at another time.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        let weekday = time.to_zoned(TimeZone::UTC).strftime("%A").to_string();
        self.weekday = weekday.to_lowercase();
        self.time = time;
        for attempt in &mut self.history {
            attempt.minutes_ago = minutes_between(attempt.at, time);
        }
        self
    }

    /// The same input with who asks.
    #[must_use]
    pub fn with_actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// The same input with what was tried before.
    #[must_use]
    pub fn with_history(mut self, history: Vec<Attempt>) -> Self {
        let attempt = |attempt: Attempt| AttemptInput {
            plan_id: attempt.plan_id.to_string(),
            at: attempt.at,
            minutes_ago: minutes_between(attempt.at, self.time),
            steps: attempt.steps,
            recovery: attempt.recovery,
            outcome: attempt.outcome,
        };
        self.history = history.into_iter().map(attempt).collect();
        self
    }

    /// The same input with the objects of a dry run or an undo. What a step would make of its object raises its risk, and
    /// the plan's.
    #[must_use]
    pub fn with_objects(mut self, phase: Phase, objects: Vec<ObjectInput>) -> Self {
        self.phase = phase;
        for object in objects.iter().filter(|_| phase == Phase::Objects) {
            if let Some(step) = self.plan.steps.get_mut(object.step) {
                step.judge(object);
                self.plan.risk_level = self.plan.risk_level.max(step.risk);
            }
        }
        self.objects = objects;
        self
    }
}

fn minutes_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_mins()).unwrap_or_default()
}

impl StepInput {
    fn new((index, step): (usize, &Step), findings: &[FindingSummary]) -> Self {
        let action = step.action();
        let mut input = Self {
            index,
            description: step.description().to_owned(),
            command: step.command().to_owned(),
            kind: action.kind().to_owned(),
            target: action.target().map(TargetInput::new),
            fields_touched: action.fields_touched(),
            fields: action.judged_fields(),
            of_incident: action
                .target()
                .filter(|_| !findings.is_empty())
                .map(|target| {
                    let kind = target.kind().to_string();
                    let about = |finding: &FindingSummary| {
                        finding.is_about(&kind, target.namespace(), target.name())
                    };
                    findings.iter().any(about)
                }),
            risk: action.risk().0,
            reversibility: action.reversibility(),
            is_destructive: step.is_destructive(),
            replicas: None,
            container: None,
            limits: AmountsInput::default(),
            requests: AmountsInput::default(),
            images: BTreeMap::new(),
            patch_type: None,
            patch: Value::Null,
            to_revision: None,
            reason: None,
            action: action.clone(),
        };
        match action {
            Action::Scale { replicas, .. } => input.replicas = Some(*replicas),
            Action::SetResources {
                container,
                limits,
                requests,
                ..
            } => {
                input.container = container.as_ref().map(ToString::to_string);
                input.limits = AmountsInput::new(limits);
                input.requests = AmountsInput::new(requests);
            }
            Action::SetImage { images, .. } => {
                input.images = images
                    .iter()
                    .map(|(name, image)| (name.to_string(), image.to_string()))
                    .collect()
            }
            Action::Patch { patch, .. } => {
                input.patch_type = Some(patch.kind());
                input.patch = patch.body().clone();
            }
            Action::RolloutUndo { to_revision, .. } => input.to_revision = *to_revision,
            Action::Manual { reason, .. } => input.reason = Some(reason.clone()),
            Action::RolloutRestart { .. } | Action::DeletePod { .. } => {}
        }
        input
    }

    /// Holds what would result against the table.
    fn judge(&mut self, object: &ObjectInput) {
        let unknown = Evidence::default();
        let evidence = object.evidence.as_ref().unwrap_or(&unknown);
        let judged = self.action.judge(&object.before, &object.after, evidence);
        // A deleted object has no fields.
        if !object.after.is_null() {
            let worst = judged.iter().map(|field| field.risk).max();
            self.risk = self.risk.max(worst.unwrap_or(Risk::Low));
            self.fields = judged;
        }
    }
}

impl TargetInput {
    fn new(target: &Target) -> Self {
        Self {
            kind: target.kind(),
            group: target.kind().group().to_owned(),
            resource: target.kind().plural().to_owned(),
            namespace: target.namespace().to_owned(),
            name: target.name().to_owned(),
        }
    }
}

impl AmountsInput {
    fn new(amounts: &Amounts) -> Self {
        let text = |amount: &Option<Quantity>| amount.as_ref().map(ToString::to_string);
        Self {
            cpu: text(&amounts.cpu),
            memory: text(&amounts.memory),
            ephemeral_storage: text(&amounts.ephemeral_storage),
        }
    }
}
