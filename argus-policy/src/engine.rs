//! An input becomes one opinion per pack, or an error; never a silent allow.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use argus_core::{Digest, Opinion, PolicyEngine, PolicyError, PolicyInput, Violation};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use crate::pack::{Pack, PackError};

/// How long one pack may take.
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// The engine that decides by Rego packs: always the built-in `baseline`, and those that the host adds.
///
/// # Guarantees
/// Packs can only add denials: each is asked by itself, in an engine of its own, and none can take another's answer
/// back. An undefined result, an error, a time-out, a panic, an odd shape or a rule that gave no answer is an error.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use argus_core::{Completion, IncidentId, Plan, PolicyEngine, PolicyInput, Scope, Settings};
/// use argus_policy::RegoEngine;
///
/// let engine = RegoEngine::builtin()?;
/// let completion = Completion::new(
///     r#"{"summary": "s", "risk_level": "low", "risk_reason": "r", "rollback_steps": [],
///         "steps": [{"description": "d", "command": "kubectl scale deploy/coredns -n kube-system --replicas=0"}]}"#,
///     "some-model",
/// );
/// let plan = Plan::parse(&completion, &IncidentId::new("INC-1")?)?;
/// let input = PolicyInput::of_plan(&plan, &Scope::namespaces(["shop"])?, Settings::default());
/// let opinions = engine.evaluate(&input).await?;
/// assert!(opinions[0].deny.iter().any(|violation| violation.id == "baseline-scope"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RegoEngine {
    packs: Vec<Pack>,
    revision: Digest,
}

impl RegoEngine {
    /// The engine with the built-in packs.
    ///
    /// # Errors
    /// [`PackError`] if a built-in pack doesn't compile, which its tests rule out.
    pub fn builtin() -> Result<Self, PackError> {
        Self::of(vec![Pack::baseline()?])
    }

    /// The same engine with the pack in a folder besides.
    ///
    /// # Errors
    /// [`PackError`] for a folder that is no pack, or a name that is taken.
    pub fn with_pack(mut self, folder: impl AsRef<Path>) -> Result<Self, PackError> {
        let pack = Pack::load(folder)?;
        if self.packs.iter().any(|known| known.name() == pack.name()) {
            return Err(PackError::Duplicate(pack.name().to_owned()));
        }
        self.packs.push(pack);
        Self::of(self.packs)
    }

    /// The packs, in the order in which they are asked.
    #[must_use]
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    fn of(packs: Vec<Pack>) -> Result<Self, PackError> {
        let revisions: Vec<(&str, Digest)> = packs
            .iter()
            .map(|pack| (pack.name(), pack.revision()))
            .collect();
        let revision = Digest::of_json(&revisions).map_err(|error| PackError::Rego {
            pack: "all".into(),
            problem: error.to_string(),
        })?;
        Ok(Self { packs, revision })
    }
}

#[async_trait]
impl PolicyEngine for RegoEngine {
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        let document = serde_json::to_string(input).map_err(|error| PolicyError {
            problem: "the input can't be written".into(),
            source: Some(error.into()),
        })?;
        // Read once for all packs; their engines share it.
        let document = catch_unwind(|| regorus::Value::from_json_str(&document))
            .map_err(|_| PolicyError::new("reading the input panicked"))?
            .map_err(|error| PolicyError::new(format!("the input can't be read: {error:#}")))?;
        self.packs
            .iter()
            .map(|pack| ask(pack, input, &document))
            .collect()
    }

    fn revision(&self) -> Digest {
        self.revision
    }
}

fn ask(
    pack: &Pack,
    input: &PolicyInput,
    document: &regorus::Value,
) -> Result<Opinion, PolicyError> {
    let failed = |problem: String| PolicyError::new(format!("pack `{}`: {problem}", pack.name()));
    // Some built-ins of regorus panic on odd arguments; that must deny, not end the host.
    let answers = catch_unwind(AssertUnwindSafe(|| evaluate(pack, document)))
        .map_err(|_| failed("the evaluation panicked".into()))?;
    let [passed, deny, manual, require_approval, warn] = answers.map_err(failed)?;
    let steps = input.plan.steps.len();
    let read = |set: Vec<Value>| {
        set.into_iter()
            .map(|value| violation(pack, value, steps))
            .collect::<Result<Vec<_>, _>>()
    };
    let opinion = Opinion {
        pack: pack.name().to_owned(),
        revision: pack.revision(),
        evaluated: Vec::new(),
        deny: read(deny).map_err(failed)?,
        manual: read(manual).map_err(failed)?,
        require_approval: read(require_approval).map_err(failed)?,
        warn: read(warn).map_err(failed)?,
    };
    let said = [
        &opinion.deny,
        &opinion.manual,
        &opinion.require_approval,
        &opinion.warn,
    ];
    let spoke = |id: &str| {
        passed.iter().any(|passed| passed == id)
            || said
                .iter()
                .any(|set| set.iter().any(|violation| violation.id == id))
    };
    let mut evaluated = Vec::new();
    for rule in pack
        .rules()
        .iter()
        .filter(|rule| rule.phases.contains(&input.phase))
    {
        if !spoke(&rule.id) {
            return Err(failed(format!(
                "the rule `{}` gave no answer: a field that it reads may be missing or misspelt",
                rule.id
            )));
        }
        evaluated.push(rule.id.clone());
    }
    // A pack without a rule for this phase still has to be seen as asked.
    if evaluated.is_empty() {
        evaluated.push(format!("{}-has-no-rule-for-this-phase", pack.name()));
    }
    Ok(Opinion {
        evaluated,
        ..opinion
    })
}

/// The same engine, with a limit to what one evaluation may take.
pub(crate) fn timed(mut engine: regorus::Engine) -> regorus::Engine {
    if let Some(check_interval) = NonZeroU32::new(64) {
        engine.set_execution_timer_config(regorus::utils::limits::ExecutionTimerConfig {
            limit: TIME_LIMIT,
            check_interval,
        });
    }
    engine
}

/// The five sets of a pack; empty where it has no such entry point.
fn evaluate(pack: &Pack, document: &regorus::Value) -> Result<[Vec<Value>; 5], String> {
    let mut engine = timed(pack.engine());
    engine.set_input(document.clone());
    let mut sets: [Vec<Value>; 5] = Default::default();
    for (slot, (entry_point, _)) in sets
        .iter_mut()
        .zip(pack.entry_points())
        .filter(|(_, (_, declared))| *declared)
    {
        let value = engine
            .eval_rule(format!("data.argus.packs.{}.{entry_point}", pack.name()))
            .map_err(|error| format!("`{entry_point}`: {error:#}"))?;
        let set = value
            .as_set()
            .map_err(|_| format!("`{entry_point}` is not a set"))?;
        for element in set {
            let text = element
                .to_json_str()
                .map_err(|error| format!("`{entry_point}`: {error:#}"))?;
            slot.push(
                serde_json::from_str(&text).map_err(|error| format!("`{entry_point}`: {error}"))?,
            );
        }
    }
    Ok(sets)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawViolation {
    id: String,
    message: String,
    step: Option<usize>,
    hint: String,
}

fn violation(pack: &Pack, value: Value, steps: usize) -> Result<Violation, String> {
    let raw: RawViolation = serde_json::from_value(value)
        .map_err(|error| format!("a violation is malformed: {error}"))?;
    if !pack.rules().iter().any(|rule| rule.id == raw.id) {
        return Err(format!("the rule `{}` is not in the manifest", raw.id));
    }
    if raw.step.is_some_and(|step| step >= steps) {
        return Err(format!(
            "the rule `{}` speaks of a step that the plan does not have",
            raw.id
        ));
    }
    Ok(Violation {
        pack: pack.name().to_owned(),
        id: raw.id,
        message: raw.message,
        step: raw.step,
        hint: raw.hint,
    })
}
