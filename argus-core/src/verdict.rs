//! Room 4: a [`Plan`] becomes [`Permitted`], or the violations that refused it.
//!
//! A floor in Rust looks first, whatever packs say; then every pack is asked, and the decision is computed here from
//! what they reported. Packs can only add denials.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::{Action, JudgedField, Risk};
use crate::digest::Digest;
use crate::plan::{Plan, Step};
use crate::redact::redact;
use crate::scope::{Scope, Settings};

mod input;
pub use input::{
    AmountsInput, AttemptInput, IncidentInput, ObjectInput, POLICY_INPUT_VERSION, Phase, PlanInput,
    PolicyInput, ScopeInput, StepInput, TargetInput,
};

/// What policy decided about a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing against it; the host may approve it by itself.
    Allow,
    /// A person has to approve it.
    RequireApproval,
    /// It must not run.
    Deny,
}

/// What a rule has to say about a plan or a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// The pack, `floor` for the checks in Rust.
    pub pack: String,
    /// The rule's id.
    pub id: String,
    /// Why, in plain English.
    pub message: String,
    /// The step's index from 0; absent where it is about the plan.
    pub step: Option<usize>,
    /// How to change the plan.
    pub hint: String,
    /// How many people have to approve; absent where one is enough, or where nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<u8>,
}

/// The words of one pack about one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Opinion {
    /// The pack's name.
    pub pack: String,
    /// The digest of what was asked.
    pub revision: Digest,
    /// The ids of the rules that were evaluated without error.
    pub evaluated: Vec<String>,
    /// Why it must not run.
    pub deny: Vec<Violation>,
    /// Steps that only a person may do.
    pub manual: Vec<Violation>,
    /// Why a person has to approve.
    pub require_approval: Vec<Violation>,
    /// What a person should know.
    pub warn: Vec<Violation>,
}

impl Violation {
    fn redacted(self) -> Self {
        Self {
            message: redact(&self.message),
            hint: redact(&self.hint),
            ..self
        }
    }
}

impl Opinion {
    fn redacted(self) -> Self {
        let all = |violations: Vec<Violation>| {
            let violations = violations.into_iter();
            violations.map(Violation::redacted).collect()
        };
        Self {
            deny: all(self.deny),
            manual: all(self.manual),
            require_approval: all(self.require_approval),
            warn: all(self.warn),
            ..self
        }
    }
}

/// Why there is no verdict. Never an allow.
#[derive(Debug, thiserror::Error)]
#[error("the policy could not be evaluated: {problem}")]
pub struct PolicyError {
    /// What went wrong, with the pack and the rule where they are known.
    pub problem: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PolicyError {
    /// An error without a cause of its own.
    #[must_use]
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            source: None,
        }
    }
}

/// The door to the policy engine.
///
/// # Obligations
/// One [`Opinion`] per pack that was asked, each with the rules that were evaluated. An undefined result, an error, a
/// time-out or an odd shape is an error. The same input and revision give the same opinions.
#[async_trait]
pub trait PolicyEngine: Send + Sync {
    /// Asks every pack.
    ///
    /// # Errors
    /// [`PolicyError`] for anything that isn't a clear answer of every pack.
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError>;

    /// The digest of all packs with their data: what an approval is bound to.
    fn revision(&self) -> Digest;
}

/// An engine that several remediators share.
#[async_trait]
impl<T: PolicyEngine + ?Sized> PolicyEngine for Arc<T> {
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        (**self).evaluate(input).await
    }

    fn revision(&self) -> Digest {
        (**self).revision()
    }
}

/// What policy said about a plan in one phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evaluation {
    /// The decision, computed from the opinions.
    pub verdict: Verdict,
    /// What the floor and the packs have against it.
    pub violations: Vec<Violation>,
    /// Which packs were asked, and what they said.
    pub opinions: Vec<Opinion>,
    /// How long the packs took, in microseconds; absent if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
}

impl Evaluation {
    /// Computes the decision from what the [`floor`] and the packs say.
    ///
    /// # Errors
    /// [`PolicyError`] without any opinion, or with one that evaluated no rule: an allow needs evidence.
    pub fn new(floor: Vec<Violation>, opinions: Vec<Opinion>) -> Result<Self, PolicyError> {
        // Packs may say what stands in an object.
        let floor: Vec<Violation> = floor.into_iter().map(Violation::redacted).collect();
        let opinions: Vec<Opinion> = opinions.into_iter().map(Opinion::redacted).collect();
        if opinions.is_empty() {
            return Err(PolicyError::new("no policy pack was asked"));
        }
        if let Some(empty) = opinions.iter().find(|opinion| opinion.evaluated.is_empty()) {
            return Err(PolicyError::new(format!(
                "the pack `{}` evaluated no rule",
                empty.pack
            )));
        }
        let violations: Vec<Violation> = floor
            .into_iter()
            .chain(
                opinions
                    .iter()
                    .flat_map(|opinion| opinion.deny.iter().cloned()),
            )
            .collect();
        let approval = opinions
            .iter()
            .any(|opinion| !opinion.require_approval.is_empty() || !opinion.manual.is_empty());
        let verdict = match (violations.is_empty(), approval) {
            (false, _) => Verdict::Deny,
            (true, true) => Verdict::RequireApproval,
            (true, false) => Verdict::Allow,
        };
        Ok(Self {
            verdict,
            violations,
            opinions,
            took_us: None,
        })
    }

    /// Asks every pack, and computes the decision from what the [`floor`] and they say, with how long the packs took.
    ///
    /// # Errors
    /// [`PolicyError`] as of [`PolicyEngine::evaluate`] and [`new`](Self::new).
    pub async fn of(
        policy: &dyn PolicyEngine,
        input: &PolicyInput,
        floor: Vec<Violation>,
    ) -> Result<Self, PolicyError> {
        let start = Instant::now();
        let opinions = policy.evaluate(input).await?;
        let took_us = start.elapsed().as_micros().try_into().ok();
        Ok(Self {
            took_us,
            ..Self::new(floor, opinions)?
        })
    }

    /// How many people have to approve; one, unless a pack asks for more.
    #[must_use]
    pub fn people(&self) -> u8 {
        let asked = self
            .opinions
            .iter()
            .flat_map(|opinion| &opinion.require_approval);
        asked
            .filter_map(|violation| violation.people)
            .max()
            .unwrap_or(1)
            .max(1)
    }

    /// What packs leave to people, in a plan of so many steps: the index of each with the reason.
    pub(crate) fn manual_of(&self, steps: usize) -> BTreeMap<usize, String> {
        let manual = self.opinions.iter().flat_map(|opinion| &opinion.manual);
        // An opinion about no step in particular is about all of them.
        let of_steps = manual.flat_map(|violation| {
            let all = violation.step.map_or(0..steps, |step| step..step + 1);
            all.map(|step| (step, violation.message.clone()))
        });
        of_steps.collect()
    }

    /// Why it was refused, with what would help.
    pub(crate) fn hints(&self) -> String {
        let hint = |violation: &Violation| format!("{} ({})", violation.message, violation.hint);
        let hints: Vec<String> = self.violations.iter().map(hint).collect();
        hints.join("; ")
    }

    /// Why it was refused, in one line.
    pub(crate) fn messages(&self) -> String {
        let messages: Vec<&str> = self
            .violations
            .iter()
            .map(|violation| violation.message.as_str())
            .collect();
        messages.join("; ")
    }
}

/// A plan that no pack denied.
///
/// # Guarantees
/// Made only by the corridor, after the floor and every pack were asked.
#[derive(Clone, Serialize)]
pub struct Permitted {
    plan: Plan,
    evaluation: Evaluation,
    revision: Digest,
}

/// The plan's id and the verdict; nothing of what the steps write.
impl fmt::Debug for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permitted")
            .field("plan_id", self.plan.plan_id())
            .field("verdict", &self.evaluation.verdict)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl Permitted {
    pub(crate) fn new(
        plan: Plan,
        evaluation: Evaluation,
        revision: Digest,
    ) -> Result<Self, Box<(Plan, Evaluation)>> {
        if evaluation.verdict == Verdict::Deny {
            return Err(Box::new((plan, evaluation)));
        }
        Ok(Self {
            plan,
            evaluation,
            revision,
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn into_plan(self) -> Plan {
        self.plan
    }

    /// What policy said.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// The policy that said it.
    #[must_use]
    pub fn revision(&self) -> Digest {
        self.revision
    }

    /// The steps that only a person may do, by index, with the reason.
    #[must_use]
    pub fn manual_steps(&self) -> BTreeMap<usize, String> {
        let native = manual(&self.plan).map(|(index, reason)| (index, reason.to_owned()));
        let packs = self.evaluation.manual_of(self.plan.steps().len());
        native.chain(packs).collect()
    }

    /// The steps as they may be dry-run.
    pub(crate) fn steps(&self) -> impl Iterator<Item = PermittedStep<'_>> {
        let generated_at = self.plan.generated_at();
        self.plan
            .steps()
            .iter()
            .map(move |step| PermittedStep { step, generated_at })
    }
}

/// A step of a [`Permitted`] plan: what a dry runner takes.
#[derive(Debug, Clone, Copy)]
pub struct PermittedStep<'a> {
    step: &'a Step,
    generated_at: Timestamp,
}

impl PermittedStep<'_> {
    /// The action.
    #[must_use]
    pub fn action(&self) -> &Action {
        self.step.action()
    }

    /// When the plan was written: what a step writes depends on it and the cluster alone, so that a dry run can be
    /// taken again.
    #[must_use]
    pub fn generated_at(&self) -> Timestamp {
        self.generated_at
    }
}

/// Checks a plan by rules that no pack can loosen: its scope, changes that are never made, and the switch for high risk.
///
/// [`floor_of_results`] is the same for what would result.
#[must_use]
pub fn floor(plan: &Plan, scope: &Scope, settings: Settings) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (steps, what) in [
        (plan.steps(), "step"),
        (plan.rollback_steps(), "rollback step"),
    ] {
        for (index, step) in steps.iter().enumerate() {
            let outside = step
                .action()
                .target()
                .filter(|target| !scope.contains(target.namespace()));
            if let Some(target) = outside {
                let message = format!(
                    "{what} {} changes {target}, which Argus may not touch",
                    index + 1
                );
                violations.push(violation(
                    "floor-scope",
                    Some(index),
                    message,
                    "change only objects in the namespaces of the scope",
                ));
            }
        }
    }
    for (index, step) in plan.steps().iter().enumerate() {
        violations.extend(never(index, &step.action().judged_fields()));
    }
    if !settings.allow_high_risk
        && let Some(why) = high_risk_of(plan)
    {
        violations.push(high_risk(None, format!("the plan is high-risk: {why}")));
    }
    violations
}

/// Checks what a plan would make of its objects by rules that no pack can loosen: changes that are never made, and the switch
/// for high risk. The input is one of phase `objects`; in the others nothing results.
#[must_use]
pub fn floor_of_results(input: &PolicyInput) -> Vec<Violation> {
    if input.phase != Phase::Objects {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for step in &input.plan.steps {
        violations.extend(never(step.index, &step.fields));
        let high = step
            .fields
            .iter()
            .filter(|field| field.risk == Risk::High && !field.never);
        for field in high.filter(|_| !input.settings.allow_high_risk) {
            let message = format!(
                "step {} would change `{}`, which is high-risk: {}",
                step.index + 1,
                field.field,
                field.why
            );
            violations.push(high_risk(Some(step.index), message));
        }
    }
    violations
}

/// The steps of a plan that only a person may do, by index, with the reason.
fn manual(plan: &Plan) -> impl Iterator<Item = (usize, &str)> {
    let steps = plan.steps().iter().enumerate();
    steps.filter_map(|(index, step)| match step.action() {
        Action::Manual { reason, .. } => Some((index, reason.as_str())),
        _ => None,
    })
}

/// The steps of a plan that Argus never takes itself.
pub(crate) fn for_people(plan: &Plan) -> Vec<Violation> {
    let steps = manual(plan).map(|(index, reason)| {
        let message = format!("step {} is never run by Argus: {reason}", index + 1);
        let hint = "read the command, and run it by hand if you agree with it";
        violation("floor-manual", Some(index), message, hint)
    });
    steps.collect()
}

/// The reason why what would run of a plan is high-risk. Nothing is run of a plan with a step for people, so that its author's
/// word counts only where there is none.
fn high_risk_of(plan: &Plan) -> Option<String> {
    let (risk, why) = plan.risk_of_actions()?;
    let for_people = plan.steps().iter().any(|step| step.action().is_manual());
    match (risk, plan.risk_level()) {
        (Risk::High, _) => Some(why),
        (_, Risk::High) if !for_people => Some("its author calls it so".into()),
        _ => None,
    }
}

fn violation(id: &str, step: Option<usize>, message: String, hint: &str) -> Violation {
    Violation {
        pack: "floor".into(),
        id: id.into(),
        message,
        step,
        hint: hint.into(),
        people: None,
    }
}

fn high_risk(step: Option<usize>, message: String) -> Violation {
    violation(
        "floor-high-risk",
        step,
        message,
        "find a plan that can hurt less; a host may switch on `remediation.allow_high_risk`",
    )
}

/// What is never done, whatever a host allows.
fn never(step: usize, fields: &[JudgedField]) -> Vec<Violation> {
    let never = fields.iter().filter(|field| field.never);
    let refused = never.map(|field| {
        let message = format!(
            "step {} would change `{}`, which Argus never does: {}",
            step + 1,
            field.field,
            field.why
        );
        violation(
            "floor-never",
            Some(step),
            message,
            "leave this field as it is",
        )
    });
    refused.collect()
}
