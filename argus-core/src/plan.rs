//! Room 3, second half: an untrusted [`Completion`] becomes a [`Plan`] of typed steps, or an error that names the place.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use jsonschema::Validator;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::action::{Action, Risk};
use crate::answer::{AnswerError, read, validator};
use crate::incident::{FindingSummary, Incident, IncidentId};
use crate::kubectl::{CommandError, parse_command};
use crate::plan_id::PlanId;
use crate::prompt::{Completion, Draft, DraftStep, MAX_STEPS};
use crate::redact::{is_redacted, redact};

/// Why a completion is no plan. The text tells a model, or a person, what to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No answer that could be read.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// A command that can't be taken.
    #[error("the command of {place} can't be taken ({hint})", hint = source.hint())]
    Command {
        /// Such as `step 2`.
        place: String,
        /// Why, and where in the command.
        #[source]
        source: CommandError,
    },
    /// A step with neither command nor action.
    #[error("{0} has neither a command nor an action")]
    Empty(String),
    /// A step whose command and action differ.
    #[error("the command and the action of {0} mean different things")]
    Disagree(String),
    /// A step that would write the place of a secret.
    #[error(
        "{0} would write `[redacted]`, which stands where Argus hid a secret: leave that field out"
    )]
    Redacted(String),
    /// Two steps that change one object.
    #[error("two steps change {0}: change it in one step, such as one patch")]
    SameObject(String),
    /// A plan read back from JSON that isn't one that Argus wrote.
    #[error("the stored plan was altered: {0}")]
    Altered(String),
}

/// One step: what it does in plain English, and the one action that it is. `RemediationStep` for HTTP clients.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    description: String,
    command: String,
    is_destructive: bool,
    action: Action,
}

/// The command as it may be kept.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("description", &self.description)
            .field("command", &redact(&self.command))
            .finish_non_exhaustive()
    }
}

impl Step {
    fn new(description: &str, action: Action) -> Self {
        Self {
            description: redact(description),
            command: action.command(),
            is_destructive: action.is_destructive(),
            action,
        }
    }

    /// What the step does and why it helps.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The command, rendered from the action: what is read is what runs.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Whether something is removed.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        self.is_destructive
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }
}

/// Ordered steps for one incident: parsed, nothing more. `RemediationPlan` for HTTP clients.
///
/// # Guarantees
/// At most [`MAX_STEPS`] steps, no two on one object; the risk is at least that of its actions. A plan that is read back
/// from JSON keeps them too, and its commands are those of its actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
#[schemars(!remote)]
pub struct Plan {
    plan_id: PlanId,
    incident_id: IncidentId,
    summary: String,
    steps: Vec<Step>,
    risk_level: Risk,
    risk_reason: String,
    rollback_steps: Vec<Step>,
    generated_at: Timestamp,
    model_used: String,
    /// What it answers; empty if only the incident's id is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingSummary>,
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut plan = Self::deserialize(deserializer)?;
        plan.check().map_err(D::Error::custom)?;
        plan.raise();
        Ok(plan)
    }
}

static SCHEMA: LazyLock<Option<Validator>> = LazyLock::new(validator::<Draft>);

impl Plan {
    /// Reads what a model answered about an incident.
    ///
    /// # Errors
    /// [`PlanError`] names the step and what to mend; nothing is repaired silently.
    ///
    /// # Example
    /// ```
    /// use argus_core::{Completion, IncidentId, Plan, Risk};
    /// let completion = Completion::new(
    ///     r#"{"summary": "Run two copies.", "risk_level": "low", "risk_reason": "Only the number changes.",
    ///         "steps": [{"description": "Create one more copy.", "command": "kubectl scale deploy/web -n shop --replicas=2"}],
    ///         "rollback_steps": []}"#,
    ///     "some-model",
    /// );
    /// let plan = Plan::parse(&completion, &IncidentId::new("INC-1")?)?;
    /// assert_eq!(plan.steps()[0].command(), "kubectl scale deployment/web -n shop --replicas=2");
    /// assert_eq!(plan.risk_level(), Risk::Low);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(completion: &Completion, incident_id: &IncidentId) -> Result<Self, PlanError> {
        let draft: Draft = read(completion, SCHEMA.as_ref())?;
        let rollback_steps = steps(&draft.rollback_steps, "rollback step")?;
        let steps = steps(&draft.steps, "step")?;
        each_object_once(&steps)?;
        let (risk_level, risk_reason) = risk(&draft, &steps);
        Ok(Self {
            plan_id: PlanId::random(),
            incident_id: incident_id.clone(),
            summary: redact(&draft.summary),
            steps,
            risk_level,
            risk_reason,
            rollback_steps,
            generated_at: Timestamp::now(),
            model_used: completion.model().to_owned(),
            findings: Vec::new(),
        })
    }

    /// The same plan under the id that it was asked for with.
    pub(crate) fn named(mut self, plan_id: &PlanId) -> Self {
        self.plan_id = plan_id.clone();
        self
    }

    /// The same plan with the findings that it answers.
    #[must_use]
    pub fn answering(mut self, incident: &Incident) -> Self {
        self.findings = incident.summaries();
        self
    }

    /// That a plan read back from JSON is one that Argus could have written.
    fn check(&self) -> Result<(), PlanError> {
        let altered = |what: String| Err(PlanError::Altered(what));
        for (steps, what) in [
            (&self.steps, "step"),
            (&self.rollback_steps, "rollback step"),
        ] {
            if steps.len() > MAX_STEPS {
                return altered(format!("it has more than {MAX_STEPS} steps"));
            }
            for (index, step) in steps.iter().enumerate() {
                if step.command != step.action.command() {
                    return altered(format!("{what} {} is not what its action says", index + 1));
                }
            }
        }
        each_object_once(&self.steps)
    }

    /// Raises what the plan says of itself to what its actions are: an older Argus may have known less of them, and whoever
    /// stored it may have said less.
    fn raise(&mut self) {
        for step in self.steps.iter_mut().chain(&mut self.rollback_steps) {
            step.is_destructive |= step.action.is_destructive();
        }
        if let Some((risk, why)) = floor(&self.steps).filter(|(risk, _)| *risk > self.risk_level) {
            self.risk_level = risk;
            self.risk_reason = raised(&self.risk_reason, &why);
        }
    }

    /// The highest risk of the actions that Argus would run, and why; none where there is nothing to run.
    pub(crate) fn risk_of_actions(&self) -> Option<(Risk, String)> {
        let run = self.steps.iter().filter(|step| !step.action.is_manual());
        run.map(|step| step.action.risk())
            .max_by_key(|(risk, _)| *risk)
    }

    /// The plan's id.
    #[must_use]
    pub fn plan_id(&self) -> &PlanId {
        &self.plan_id
    }

    /// The incident that it is for.
    #[must_use]
    pub fn incident_id(&self) -> &IncidentId {
        &self.incident_id
    }

    /// What it does, in one sentence.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The steps in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How much it can hurt.
    #[must_use]
    pub fn risk_level(&self) -> Risk {
        self.risk_level
    }

    /// Why.
    #[must_use]
    pub fn risk_reason(&self) -> &str {
        &self.risk_reason
    }

    /// How a person would undo it; Argus undoes from what it saw.
    #[must_use]
    pub fn rollback_steps(&self) -> &[Step] {
        &self.rollback_steps
    }

    /// The findings that it answers; empty if only the incident's id is known.
    #[must_use]
    pub fn findings(&self) -> &[FindingSummary] {
        &self.findings
    }

    /// When it was written.
    #[must_use]
    pub fn generated_at(&self) -> Timestamp {
        self.generated_at
    }

    /// Who wrote it.
    #[must_use]
    pub fn model_used(&self) -> &str {
        &self.model_used
    }
}

fn steps(drafts: &[DraftStep], what: &str) -> Result<Vec<Step>, PlanError> {
    drafts
        .iter()
        .enumerate()
        .map(|(index, draft)| step(draft, format!("{what} {}", index + 1)))
        .collect()
}

fn step(draft: &DraftStep, place: String) -> Result<Step, PlanError> {
    let parsed = draft.command.as_deref().map(parse_command).transpose();
    let parsed = parsed.map_err(|source| PlanError::Command {
        place: place.clone(),
        source,
    })?;
    let action = match (parsed, draft.action.clone()) {
        (Some(parsed), Some(action)) if parsed != action => return Err(PlanError::Disagree(place)),
        (Some(action), _) | (None, Some(action)) => action,
        (None, None) => return Err(PlanError::Empty(place)),
    };
    if action.target().is_some() && is_redacted(&action.command()) {
        return Err(PlanError::Redacted(place));
    }
    Ok(Step::new(&draft.description, action))
}

fn each_object_once(steps: &[Step]) -> Result<(), PlanError> {
    let mut changed = BTreeSet::new();
    for target in steps.iter().filter_map(|step| step.action.target()) {
        if !changed.insert(target) {
            return Err(PlanError::SameObject(target.to_string()));
        }
    }
    Ok(())
}

/// The highest risk of the actions, and why.
fn floor(steps: &[Step]) -> Option<(Risk, String)> {
    steps
        .iter()
        .map(|step| step.action.risk())
        .max_by_key(|(risk, _)| *risk)
}

/// The model may raise the risk that follows from the actions, never lower it.
fn risk(draft: &Draft, steps: &[Step]) -> (Risk, String) {
    match floor(steps) {
        Some((floor, why)) if floor > draft.risk_level => {
            (floor, raised(&redact(&draft.risk_reason), &why))
        }
        _ => (draft.risk_level, redact(&draft.risk_reason)),
    }
}

/// The reason of a risk that Argus raised, whose words are told from the author's.
fn raised(reason: &str, why: &str) -> String {
    format!("{reason} (Argus: {why})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::MAX_COMPLETION_BYTES;
    use serde_json::{Value, json};

    fn parse(draft: &Value) -> Result<Plan, PlanError> {
        parse_text(&draft.to_string())
    }

    fn parse_text(text: &str) -> Result<Plan, PlanError> {
        Plan::parse(
            &Completion::new(text, "test"),
            &IncidentId::new("INC-1").unwrap(),
        )
    }

    fn draft(steps: Value) -> Value {
        json!({"summary": "s", "steps": steps, "risk_level": "low", "risk_reason": "r", "rollback_steps": []})
    }

    #[test]
    fn a_model_can_raise_the_risk_but_not_lower_it() {
        // Whichever way it is written.
        for stop in [
            "kubectl scale deploy/web -n shop --replicas=0",
            r#"kubectl patch deploy/web -n shop --type=merge -p '{"spec":{"replicas":0}}'"#,
            r#"kubectl patch deploy/web -n shop --type=strategic -p '{"spec":{"replicas":-0}}'"#,
            r#"kubectl patch deploy/web -n shop --type=json -p '[{"op":"replace","path":"/spec/replicas","value":0}]'"#,
            r#"kubectl patch deploy/web -n shop --type=json -p '[{"op":"add","path":"/spec/replicas","value":0.0}]'"#,
        ] {
            let plan = parse(&draft(json!([{"description": "d", "command": stop}]))).unwrap();
            assert_eq!(plan.risk_level(), Risk::High, "{stop}");
            assert!(plan.steps()[0].is_destructive(), "{stop}");
        }
        let mut worried = draft(
            json!([{"description": "d", "command": "kubectl rollout restart deploy/web -n shop"}]),
        );
        worried["risk_level"] = json!("high");
        assert_eq!(parse(&worried).unwrap().risk_level(), Risk::High);
    }

    #[test]
    fn a_step_whose_command_and_action_differ_is_refused() {
        let target = json!({"kind": "Deployment", "namespace": "shop", "name": "web"});
        let step = |replicas: u32| {
            draft(
                json!([{"description": "d", "command": "kubectl scale deploy/web -n shop --replicas=2",
                          "action": {"kind": "scale", "target": target, "replicas": replicas}}]),
            )
        };
        assert!(parse(&step(2)).is_ok());
        assert!(matches!(parse(&step(3)), Err(PlanError::Disagree(_))));
    }

    #[test]
    fn what_is_no_plan_is_refused_with_the_place() {
        let ok =
            json!({"description": "d", "command": "kubectl rollout restart deploy/web -n shop"});
        for (bad, place) in [
            (json!([]).to_string(), "schema"),
            ("Sure! Here is the plan".into(), "not one JSON"),
            (draft(json!([{"description": "d"}])).to_string(), "neither"),
            (
                draft(json!([{"description": "d", "command": "rm -rf /"}])).to_string(),
                "step 1",
            ),
            (draft(json!([ok, ok])).to_string(), "two steps change"),
            (draft(json!(vec![ok.clone(); 11])).to_string(), "/steps"),
            (
                draft(json!([{"description": "d", "command": "kubectl get pods", "shell": "sh"}]))
                    .to_string(),
                "/steps/0",
            ),
            (
                draft(json!([]))
                    .to_string()
                    .replacen('{', r#"{"summary": "first","#, 1),
                "given twice",
            ),
            (draft(json!([])).to_string() + "{}", "not one JSON"),
            ("[".repeat(100_000), "nesting is deeper"),
            ("x".repeat(MAX_COMPLETION_BYTES + 1), "bytes"),
        ] {
            let error = parse_text(&bad).unwrap_err();
            assert!(error.to_string().contains(place), "{place}: {error}");
        }
    }

    #[test]
    fn what_was_hidden_is_not_written() {
        let patch = |value: &str| {
            let env = json!([{ "name": "DB_PASSWORD", "value": value }]);
            let spec = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "env": env }] } } } });
            let command =
                format!("kubectl patch deployment/web -n shop --type=strategic -p '{spec}'");
            parse(&draft(json!([{ "description": "d", "command": command }])))
        };
        assert!(patch("changeme").is_ok());
        for hidden in [
            "[redacted]",
            "[redacted-1]",
            "postgres://app:[redacted-2]@db",
        ] {
            let error = patch(hidden).unwrap_err();
            assert!(error.to_string().contains("hid a secret"), "{error}");
        }
        // A person may read it.
        let by_hand = json!([{ "description": "d", "command": "kubectl create secret generic db --from-literal=password='[redacted]'" }]);
        assert!(parse(&draft(by_hand)).is_ok());
    }

    #[test]
    fn a_stored_plan_is_checked_again() {
        let plan = parse(&draft(json!([
            {"description": "d", "command": "kubectl rollout undo deploy/web -n shop"},
            {"description": "d", "command": "kubectl delete pod/api-1 -n shop"},
        ])))
        .unwrap();
        let stored = serde_json::to_value(&plan).unwrap();
        assert_eq!(
            serde_json::from_value::<Plan>(stored.clone()).unwrap(),
            plan
        );
        for (pointer, value, says) in [
            (
                "/steps/0/command",
                json!("kubectl rollout undo deployment/api -n shop"),
                "step 1 is not what its action says",
            ),
            ("/steps/1", stored["steps"][0].clone(), "two steps change"),
            (
                "/steps",
                json!(vec![stored["steps"][0].clone(); 11]),
                "more than 10 steps",
            ),
            (
                "/steps/0/action/target/namespace",
                json!("Shop!"),
                "is not a valid DNS label",
            ),
            ("/plan_id", json!("../../etc/passwd"), "a plan id is"),
        ] {
            let mut altered = stored.clone();
            *altered.pointer_mut(pointer).unwrap() = value;
            let error = serde_json::from_value::<Plan>(altered).unwrap_err();
            assert!(error.to_string().contains(says), "{pointer}: {error}");
        }
        // What it says of itself is at least what its actions are, whoever stored it.
        let mut tame = stored.clone();
        tame["risk_level"] = json!("low");
        tame["steps"][1]["is_destructive"] = json!(false);
        let read: Plan = serde_json::from_value(tame).unwrap();
        assert_eq!(read.risk_level(), Risk::Medium);
        assert!(read.steps()[1].is_destructive());
        assert!(read.risk_reason().contains("(Argus: "));
    }

    #[test]
    fn what_stands_around_the_answer_is_left_out_and_nothing_in_it_is_mended() {
        let plan = draft(json!([])).to_string();
        for around in [
            "```json\nPLAN\n```",
            "Sure! Here is the plan:\n```json\nPLAN\n```\nIs there anything else?",
            "<think>\nMaybe {\"steps\": []}? No.\n</think>\n\nPLAN",
            "PLAN\n\nThis plan is safe.",
        ] {
            let answer = around.replace("PLAN", &plan);
            assert!(parse_text(&answer).is_ok(), "{answer}");
        }
        for around in [
            "PLAN PLAN",
            "PLAN, or {}",
            "{PLAN}",
            "[PLAN",
            "<think>PLAN",
            "PLAN</think>{}",
        ] {
            let answer = around.replace("PLAN", &plan);
            let read = parse_text(&answer);
            assert_eq!(
                read.is_ok(),
                ["[PLAN", "<think>PLAN"].contains(&around),
                "{answer}"
            );
        }
    }
}
