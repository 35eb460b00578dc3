//! Room 2: an incident and a scope become a [`Prompt`]; what comes back is an untrusted [`Completion`].

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::attempt::Attempt;
use crate::cost::{Usage, estimated_tokens};
use crate::digest::Digest;
use crate::incident::{Cause, Incident};
use crate::json::schema_of;
use crate::redact::{Redacted, redact_to};
use crate::scope::Scope;

mod data;
mod draft;
mod rules;
pub use draft::{Draft, DraftDiagnosis, DraftStep, MAX_STEPS};

/// What is sent to a model: the rules, the incident as fenced data, and the schema of the answer.
///
/// # Guarantees
/// Deterministic: one incident and scope give one prompt. The boundary of the fence is a digest of what is fenced, so
/// that no text can hold it.
#[derive(Debug, Clone)]
pub struct Prompt {
    question: Question,
    system: String,
    user: String,
    schema: Arc<Value>,
    turns: Vec<Turn>,
    incident: Incident,
    scope: Scope,
    history: Vec<Attempt>,
}

/// What a [`Prompt`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Question {
    /// A plan, as a [`Draft`].
    Plan,
    /// A diagnosis, as a [`DraftDiagnosis`].
    Diagnosis,
}

/// An answer that couldn't be used, and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// What the model answered, as far as it is repeated to it.
    pub answer: Redacted,
    /// What is wrong with it.
    pub problem: Redacted,
}

/// How much of an answer is repeated to the model, in characters.
const MAX_REPEATED: usize = 8 * 1024;
/// How long the name of a language may be, in characters.
const MAX_LANGUAGE: usize = 60;

static PLAN_SCHEMA: LazyLock<Arc<Value>> = LazyLock::new(|| Arc::new(schema_of::<Draft>()));
static DIAGNOSIS_SCHEMA: LazyLock<Arc<Value>> =
    LazyLock::new(|| Arc::new(schema_of::<DraftDiagnosis>()));

impl Prompt {
    /// Asks for a plan that fixes an incident.
    #[must_use]
    pub fn new(incident: &Incident, scope: &Scope) -> Self {
        Self::about(Question::Plan, incident, scope, Vec::new())
    }

    /// Asks what the findings of an incident come from.
    #[must_use]
    pub fn diagnosis(incident: &Incident, scope: &Scope) -> Self {
        Self::about(Question::Diagnosis, incident, scope, Vec::new())
    }

    /// The same with what was tried for the incident before, oldest first; as much of it as fits, the newest first.
    #[must_use]
    pub fn with_history(self, history: Vec<Attempt>) -> Self {
        Self {
            system: self.system,
            turns: self.turns,
            ..Self::about(self.question, &self.incident, &self.scope, history)
        }
    }

    fn about(
        question: Question,
        incident: &Incident,
        scope: &Scope,
        history: Vec<Attempt>,
    ) -> Self {
        let mut data = data::data(incident);
        let tried = data::tried(&history);
        let (before, mut after) = match question {
            Question::Plan => {
                let namespaces = scope.iter().collect::<Vec<_>>().join(", ");
                let before = format!("Namespaces that you may change: {namespaces}\n\n");
                (before, what_helps(incident))
            }
            Question::Diagnosis => Default::default(),
        };
        if let Some(tried) = tried {
            data.push('\n');
            data.push_str(&tried);
            after.push_str(rules::TRIED);
        }
        let boundary = Digest::of_bytes(data.as_bytes()).to_string();
        let boundary = boundary.get(7..31).unwrap_or(&boundary);
        let user = format!(
            "{before}The incident, its findings and its diagnosis:\n\
             -----BEGIN UNTRUSTED DATA {boundary}-----\n{data}\n-----END UNTRUSTED DATA {boundary}-----\n{after}"
        );
        let (rules, schema) = match question {
            Question::Plan => (rules::PLAN, &PLAN_SCHEMA),
            Question::Diagnosis => (rules::DIAGNOSIS, &DIAGNOSIS_SCHEMA),
        };
        Self {
            question,
            system: rules.into(),
            user,
            schema: Arc::clone(schema),
            turns: Vec::new(),
            incident: incident.clone(),
            scope: scope.clone(),
            history,
        }
    }

    /// The same, to be answered in another language than English, by its English name, such as `German`. Names and commands stay as
    /// they are.
    #[must_use]
    pub fn in_language(mut self, language: &str) -> Self {
        let language = redact_to(language, MAX_LANGUAGE).replace('\n', " ");
        self.system.push_str(&format!(
            "Write every text for people in {language}; names of fields and objects, and commands, stay as they are.\n"
        ));
        self
    }

    /// The same question about another incident and scope; what was said before is rewritten.
    pub(crate) fn about_others(
        &self,
        incident: &Incident,
        scope: &Scope,
        rewrite: impl Fn(&str) -> String,
    ) -> Self {
        let mut history = self.history.clone();
        for attempt in &mut history {
            for step in &mut attempt.steps {
                step.command = rewrite(&step.command).into();
            }
            attempt.outcome = attempt.outcome.as_ref().map(|words| rewrite(words).into());
        }
        let prompt = Self::about(self.question, incident, scope, history);
        let turns = self.turns.iter().map(|turn| Turn {
            answer: Redacted::to(&rewrite(&turn.answer), MAX_REPEATED),
            problem: rewrite(&turn.problem).into(),
        });
        Self {
            system: self.system.clone(),
            turns: turns.collect(),
            ..prompt
        }
    }

    /// What is asked.
    #[must_use]
    pub fn question(&self) -> Question {
        self.question
    }

    /// The rules.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The incident, fenced.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The SHA-256 of all that is sent: the rules, the incident, and what was answered before.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let parts: Vec<&str> = self.parts().collect();
        Digest::of_bytes(parts.join("\0").as_bytes())
    }

    /// Every text that is sent.
    fn parts(&self) -> impl Iterator<Item = &str> {
        let turns = self.turns.iter();
        let turns = turns.flat_map(|turn| [&*turn.answer, &*turn.problem]);
        [self.system.as_str(), self.user.as_str()]
            .into_iter()
            .chain(turns)
    }

    /// How long all that is sent is, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.parts().map(str::len).sum()
    }

    /// What asking it takes at least, as far as can be said without the model.
    pub(crate) fn estimated(&self) -> Usage {
        Usage {
            input_tokens: estimated_tokens(self.length()),
            output_tokens: 0,
        }
    }

    /// The JSON Schema of the answer: of a [`Draft`] or a [`DraftDiagnosis`].
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// The same once more, after an answer that couldn't be used: the model hears what is wrong with it.
    #[must_use]
    pub fn mended(mut self, answer: &Completion, problem: &str) -> Self {
        self.turns.push(Turn {
            answer: Redacted::to(answer.text(), MAX_REPEATED),
            problem: Redacted::from(problem).between(
                "That answer can't be used: ",
                ". Answer again with the whole JSON object, mended.",
            ),
        });
        self
    }

    /// What was answered before and couldn't be used, oldest first.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The incident as data, for providers that are no language model.
    #[must_use]
    pub fn incident(&self) -> &Incident {
        &self.incident
    }

    /// What was tried for it before as data, oldest first.
    #[must_use]
    pub fn history(&self) -> &[Attempt] {
        &self.history
    }

    /// The scope as data.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// The untrusted text that a provider gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    text: String,
    model: String,
    asked: Vec<String>,
    usage: Usage,
    is_cut_off: bool,
}

impl Completion {
    /// What `model` answered.
    #[must_use]
    pub fn new(text: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            model: crate::redact::redact(&model.into()),
            asked: Vec::new(),
            usage: Usage::default(),
            is_cut_off: false,
        }
    }

    /// With a model that was asked for it, where another one is said to have answered: the dearest of them is its price.
    #[must_use]
    pub fn asked_of(mut self, model: impl Into<String>) -> Self {
        self.asked.push(model.into());
        self
    }

    /// With what it took.
    #[must_use]
    pub fn using(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// One that ends where the model wasn't allowed to write more.
    #[must_use]
    pub fn cut_off(mut self) -> Self {
        self.is_cut_off = true;
        self
    }

    /// The same answer in other words.
    pub(crate) fn saying(mut self, text: String) -> Self {
        self.text = text;
        self
    }

    /// How many tokens it took.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Whether it ends where the model wasn't allowed to write more.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// The answer.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Who gave it.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The models that may have to be paid for it.
    pub(crate) fn models(&self) -> impl Iterator<Item = &str> {
        let asked = self.asked.iter().map(String::as_str);
        std::iter::once(self.model.as_str()).chain(asked)
    }
}

/// Why a provider gave no completion.
#[derive(Debug, thiserror::Error)]
#[error("the model gave no answer: {problem}")]
pub struct LlmError {
    /// What went wrong, without payloads.
    pub problem: String,
    /// Whether asking again may help.
    pub retryable: bool,
    /// How long the provider wants to be left alone first.
    pub retry_after: Option<Duration>,
    /// The model that was asked; empty where nobody says.
    pub model: String,
    /// Tokens that it may cost all the same; where nobody says, as many as the prompt has.
    pub usage: Option<Usage>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl LlmError {
    /// One that asking again doesn't help against.
    #[must_use]
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            retryable: false,
            retry_after: None,
            model: String::new(),
            usage: None,
            source: None,
        }
    }

    /// One of a call that no model saw.
    #[must_use]
    pub fn unasked(problem: impl Into<String>) -> Self {
        Self {
            usage: Some(Usage::default()),
            ..Self::new(problem)
        }
    }
}

/// The door to whoever writes plans.
///
/// # Obligations
/// Bounded in time. Its errors hold no secrets and no payloads.
///
/// # Cancellation
/// May be dropped at any await.
#[async_trait]
pub trait LlmProvider: Send + Sync {
    /// Answers one prompt.
    ///
    /// # Errors
    /// [`LlmError`] when there is no answer; an answer that is no plan is not an error of the provider.
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError>;
}

/// A provider that is chosen while the host runs.
#[async_trait]
impl<T: LlmProvider + ?Sized> LlmProvider for Arc<T> {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        (**self).complete(prompt).await
    }
}

/// What usually helps against what was found; nothing where no cause is known.
fn what_helps(incident: &Incident) -> String {
    let causes = incident
        .findings()
        .iter()
        .filter_map(|finding| finding.cause);
    let causes: BTreeSet<Cause> = causes.collect();
    let line = |cause: &Cause| match cause.helpful_actions() {
        [] => format!("{cause}: leave it to a person, with no command that changes anything\n"),
        actions => format!("{cause}: {}\n", actions.join(", ")),
    };
    let lines: String = causes.iter().map(line).collect();
    match lines.is_empty() {
        true => lines,
        false => {
            format!("\nWhat usually helps, by cause; the first is nearest to the root:\n{lines}")
        }
    }
}
