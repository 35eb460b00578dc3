//! An input becomes one opinion per pack, or an error; never a silent allow.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;

use argus_core::{Digest, Opinion, PolicyEngine, PolicyError, PolicyInput, Violation};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::builtin;
use crate::manifest::Rule;
use crate::pack::{Body, Pack, PackError};
use crate::reading::Reading;
use crate::rules::{Group, Question, Rules};
use crate::signature::{self, PackKey};
use crate::suite::{Suite, timed};

/// Of how many inputs the last one is put to the engine as a whole, to watch what is known without it; all of them where debug
/// assertions are on.
pub(crate) const WATCHED: u64 = if cfg!(debug_assertions) { 1 } else { 256 };

/// The most people that a rule can ask for.
const MOST_PEOPLE: u8 = 9;

/// What rules say in each of their entry points, sorted.
pub(crate) type Answers = Vec<(&'static str, Vec<regorus::Value>)>;

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
    /// Whose signature a pack of a folder needs; none if it needs no signature.
    keys: Option<Vec<PackKey>>,
    revision: Digest,
}

impl RegoEngine {
    /// The engine with the built-in packs.
    ///
    /// # Errors
    /// [`PackError`] if a built-in pack doesn't compile, which its tests rule out.
    pub fn builtin() -> Result<Self, PackError> {
        let engine = Self {
            packs: builtin::packs()?,
            keys: None,
            revision: Digest::ZERO,
        };
        engine.again()
    }

    /// The same engine with the pack in a folder besides, if it passes its own tests, as [`Suite`] has them. Where signatures are wanted,
    /// as [`RegoEngine::trusting`] says, its tests aren't run: the signature is for what decides, and nothing else of the folder is
    /// evaluated.
    ///
    /// # Errors
    /// [`PackError`] for a folder that is no pack, a pack that its tests don't hold, or a name that is taken.
    pub fn with_pack(self, folder: impl AsRef<Path>) -> Result<Self, PackError> {
        let pack = Pack::load(&folder)?;
        if let Some(keys) = &self.keys {
            signature::check(folder.as_ref(), &pack, keys)?;
            return self.with(pack);
        }
        Suite::holds(&pack, folder.as_ref())?;
        self.with(pack)
    }

    /// The same engine with a pack besides, whatever its tests say.
    ///
    /// # Errors
    /// [`PackError::Duplicate`] for a name that is taken.
    pub fn with(mut self, pack: Pack) -> Result<Self, PackError> {
        if self.packs.iter().any(|known| known.name() == pack.name()) {
            return Err(PackError::Duplicate(pack.name().to_owned()));
        }
        self.packs.push(pack);
        self.again()
    }

    /// The same engine, which takes packs of folders from now on only if one of these keys signed them; with no key, none.
    #[must_use]
    pub fn trusting(mut self, keys: impl IntoIterator<Item = PackKey>) -> Self {
        self.keys = Some(keys.into_iter().collect());
        self
    }

    /// The same engine with the host's parameters for one of its packs.
    ///
    /// # Errors
    /// [`PackError::Parameters`] for what the pack's schema doesn't allow, [`PackError::Unknown`] for another pack.
    ///
    /// # Example
    /// ```
    /// # use argus_policy::RegoEngine;
    /// let parameters = serde_json::json!({ "most_objects": 3 });
    /// let engine = RegoEngine::builtin()?.with_parameters("blast_radius", parameters.as_object().unwrap())?;
    /// # Ok::<(), argus_policy::PackError>(())
    /// ```
    pub fn with_parameters(
        mut self,
        pack: &str,
        parameters: &Map<String, Value>,
    ) -> Result<Self, PackError> {
        let known = self.packs.iter_mut().find(|known| known.name() == pack);
        let known = known.ok_or_else(|| PackError::Unknown(pack.to_owned()))?;
        *known = known.with_parameters(parameters)?;
        self.again()
    }

    /// The packs, in the order in which they are asked.
    #[must_use]
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// With the revision of what it has now.
    fn again(mut self) -> Result<Self, PackError> {
        let packs = self.packs.iter();
        let revisions: Vec<(&str, Digest)> =
            packs.map(|pack| (pack.name(), pack.revision())).collect();
        self.revision = Digest::of_json(&revisions).map_err(|error| PackError::Rego {
            pack: "all".into(),
            problem: error.to_string(),
        })?;
        Ok(self)
    }
}

#[async_trait]
impl PolicyEngine for RegoEngine {
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        // Read once for all packs; their engines share it.
        let document = document(input)?;
        self.packs
            .iter()
            .map(|pack| ask(pack, input, &document))
            .collect()
    }

    fn revision(&self) -> Digest {
        self.revision
    }
}

impl Pack {
    /// What this pack alone says, for tools and benches: a decision is a [`RegoEngine`]'s.
    ///
    /// # Errors
    /// [`PolicyError`] where it gives no clear answer.
    pub fn evaluate(&self, input: &PolicyInput) -> Result<Opinion, PolicyError> {
        ask(self, input, &document(input)?)
    }
}

fn document(input: &PolicyInput) -> Result<regorus::Value, PolicyError> {
    let text = serde_json::to_string(input).map_err(|error| PolicyError {
        problem: "the input can't be written".into(),
        source: Some(error.into()),
    })?;
    catch_unwind(|| regorus::Value::from_json_str(&text))
        .map_err(|_| PolicyError::new("reading the input panicked"))?
        .map_err(|error| PolicyError::new(format!("the input can't be read: {error:#}")))
}

fn ask(
    pack: &Pack,
    input: &PolicyInput,
    document: &regorus::Value,
) -> Result<Opinion, PolicyError> {
    let failed = |problem: String| PolicyError::new(format!("pack `{}`: {problem}", pack.name()));
    let mut opinion = Opinion {
        pack: pack.name().to_owned(),
        revision: pack.revision(),
        evaluated: Vec::new(),
        deny: Vec::new(),
        manual: Vec::new(),
        require_approval: Vec::new(),
        warn: Vec::new(),
    };
    match &pack.body {
        Body::Template(template) => {
            let judged = catch_unwind(AssertUnwindSafe(|| template.judge(input)))
                .map_err(|_| failed("the evaluation panicked".into()))?;
            if let Some(messages) = judged.map_err(failed)? {
                let violation = |(step, message)| Violation {
                    pack: pack.name().to_owned(),
                    id: pack.name().to_owned(),
                    message,
                    step: Some(step),
                    hint: "change the object so that the template accepts it".into(),
                    people: None,
                };
                let set = if template.only_warns {
                    &mut opinion.warn
                } else {
                    &mut opinion.deny
                };
                set.extend(messages.into_iter().map(violation));
                opinion.evaluated.push(pack.name().to_owned());
            }
        }
        Body::Rules(rules) => ask_rules(rules, input, document, &mut opinion).map_err(failed)?,
    }
    // A pack without a rule for this plan still has to be seen as asked.
    if opinion.evaluated.is_empty() {
        let nothing = format!("{}-has-no-rule-for-this-plan", pack.name());
        opinion.evaluated.push(nothing);
    }
    Ok(opinion)
}

fn ask_rules(
    rules: &Rules,
    input: &PolicyInput,
    document: &regorus::Value,
    opinion: &mut Opinion,
) -> Result<(), String> {
    let asked = rules.asked.fetch_add(1, Ordering::Relaxed) + 1;
    let watched = asked.is_multiple_of(WATCHED);
    let shortcut = rules.shortcut.as_ref();
    let mut reading = shortcut.map(|shortcut| Reading::new(shortcut, document));
    for group in rules.groups(input) {
        // Some built-ins of regorus panic on odd arguments; that must deny, not end the host.
        let read = catch_unwind(AssertUnwindSafe(|| read(group, reading.as_mut())))
            .map_err(|_| "the evaluation panicked")?;
        let unsure = read.iter().filter(|read| read.is_none()).count();
        let together = (watched || unsure > 1).then(|| evaluate(rules, &group.together, document));
        if let Some(Ok(answers)) = &together {
            agree(rules, group, &read, answers)?;
        }
        match together {
            Some(answers) if unsure > 1 => {
                hear(rules, &group.together, answers?, input, opinion)?;
            }
            _ => {
                for (question, read) in group.alone.iter().zip(read) {
                    let answers = match read {
                        Some(answers) => answers,
                        None => evaluate(rules, question, document)?,
                    };
                    hear(rules, question, answers, input, opinion)?;
                }
            }
        }
        let asked = rules.of(&group.together);
        opinion.evaluated.extend(asked.map(|rule| rule.id.clone()));
    }
    Ok(())
}

/// What each rule of a group says, as far as that is sure without the engine.
fn read(group: &Group, mut reading: Option<&mut Reading>) -> Vec<Option<Answers>> {
    let says = |question: &Question| reading.as_mut()?.says(*question.rules.first()?);
    group.alone.iter().map(says).collect()
}

/// That the engine says the same of rules that were read without it. Where it fails it says nothing: it reads the statements of a
/// rule in an order of its own, and may meet one that fails before the one that doesn't hold.
pub(crate) fn agree(
    rules: &Rules,
    group: &Group,
    read: &[Option<Answers>],
    answers: &Answers,
) -> Result<(), String> {
    let mut answers = answers.iter();
    for (question, read) in group.alone.iter().zip(read) {
        let answers: Vec<_> = answers.by_ref().take(question.entry_points.len()).collect();
        if read.as_ref().is_some_and(|read| !read.iter().eq(answers)) {
            let id = rules.of(question).next().map_or("", |rule| &rule.id);
            return Err(format!(
                "the rule `{id}` says one thing by one reading of it and another by the other: a bug of Argus, please report it"
            ));
        }
    }
    Ok(())
}

/// Takes down what the rules of a question say.
fn hear(
    rules: &Rules,
    question: &Question,
    answers: Answers,
    input: &PolicyInput,
    opinion: &mut Opinion,
) -> Result<(), String> {
    let mut spoke = Vec::new();
    for (entry_point, said) in answers {
        let set = match entry_point {
            "deny" => &mut opinion.deny,
            "manual" => &mut opinion.manual,
            "require_approval" => &mut opinion.require_approval,
            "warn" => &mut opinion.warn,
            _ => {
                let id = |id: &regorus::Value| id.as_string().ok().map(|id| id.to_string());
                let ids: Option<Vec<String>> = said.iter().map(id).collect();
                spoke.extend(ids.ok_or("`passed` holds more than ids")?);
                continue;
            }
        };
        for value in said {
            let violation = violation(&opinion.pack, &value, input.plan.steps.len())?;
            if !rules.of(question).any(|rule| rule.id == violation.id) {
                return Err(format!("the rule `{}` was not asked", violation.id));
            }
            if violation.people.is_some() && entry_point != "require_approval" {
                return Err(format!(
                    "the rule `{}` asks for people in `{entry_point}`: only `require_approval` can",
                    violation.id
                ));
            }
            spoke.push(violation.id.clone());
            set.push(violation);
        }
    }
    let silent = |rule: &&Rule| !spoke.contains(&rule.id);
    if let Some(rule) = rules.of(question).find(silent) {
        return Err(format!(
            "the rule `{}` gave no answer: a field that it reads may be missing or misspelt",
            rule.id
        ));
    }
    Ok(())
}

/// What the engine says of the rules of a question.
pub(crate) fn evaluate(
    rules: &Rules,
    question: &Question,
    document: &regorus::Value,
) -> Result<Answers, String> {
    let evaluated = catch_unwind(AssertUnwindSafe(|| {
        let mut engine = timed(rules.engine()?);
        engine.set_input(document.clone());
        engine
            .eval_rule(question.path.clone())
            .map_err(|error| format!("{error:#}"))
    }));
    let value = evaluated.map_err(|_| "the evaluation panicked")??;
    let answers = value.as_array().map_err(|_| "an answer is undefined")?;
    if answers.len() != question.entry_points.len() {
        return Err("an answer is missing".into());
    }
    let answer = |(entry_point, answer): (&&'static str, &regorus::Value)| {
        let set = answer
            .as_set()
            .map_err(|_| format!("`{entry_point}` is not a set"))?;
        Ok((*entry_point, set.iter_sorted().cloned().collect()))
    };
    question
        .entry_points
        .iter()
        .zip(answers.iter())
        .map(answer)
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawViolation {
    id: String,
    message: String,
    step: Option<usize>,
    hint: String,
    /// Only in `require_approval`.
    people: Option<u8>,
}

fn violation(pack: &str, value: &regorus::Value, steps: usize) -> Result<Violation, String> {
    let text = value.to_json_str().map_err(|error| format!("{error:#}"))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let raw: RawViolation = serde_json::from_value(value)
        .map_err(|error| format!("a violation is malformed: {error}"))?;
    if raw
        .people
        .is_some_and(|people| !(1..=MOST_PEOPLE).contains(&people))
    {
        return Err(format!(
            "the rule `{}` asks for too many people, or for none: 1 to {MOST_PEOPLE} can be asked",
            raw.id
        ));
    }
    if raw.step.is_some_and(|step| step >= steps) {
        return Err(format!(
            "the rule `{}` speaks of a step that the plan does not have",
            raw.id
        ));
    }
    Ok(Violation {
        pack: pack.to_owned(),
        id: raw.id,
        message: raw.message,
        step: raw.step,
        hint: raw.hint,
        people: raw.people,
    })
}
