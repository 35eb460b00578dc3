//! An untrusted [`Completion`] becomes a [`Diagnosis`]: words for people, on which nothing else rests.

use std::sync::LazyLock;

use jsonschema::Validator;

use crate::answer::{AnswerError, read, validator};
use crate::cost::Usd;
use crate::incident::{Diagnosis, Finding};
use crate::prompt::{Completion, DraftDiagnosis};
use crate::redact::redact;

static SCHEMA: LazyLock<Option<Validator>> = LazyLock::new(validator::<DraftDiagnosis>);

impl Diagnosis {
    /// Reads what a model answered about findings.
    ///
    /// # Errors
    /// [`AnswerError`] names the place and what to mend.
    ///
    /// # Example
    /// ```
    /// use argus_core::{Completion, Diagnosis};
    /// let completion = Completion::new(
    ///     r#"{"root_cause": "Too little memory.", "explanation": "The app is stopped whenever it needs more.", "confidence": 0.8,
    ///         "recommendations": ["Let the app use more memory."]}"#,
    ///     "some-model",
    /// );
    /// let diagnosis = Diagnosis::parse(&completion, &[])?;
    /// assert_eq!(diagnosis.root_cause, "Too little memory.");
    /// # Ok::<(), argus_core::AnswerError>(())
    /// ```
    pub fn parse(completion: &Completion, findings: &[Finding]) -> Result<Self, AnswerError> {
        let draft: DraftDiagnosis = read(completion, SCHEMA.as_ref())?;
        let said = draft.recommendations.iter();
        let about = Self::about(findings);
        Ok(Self {
            root_cause: redact(&draft.root_cause),
            explanation: redact(&draft.explanation),
            confidence: draft.confidence,
            recommendations: said.map(|text| redact(text)).collect(),
            model_used: completion.model().to_owned(),
            tokens_used: completion.usage().total(),
            ..about
        })
    }

    /// The same with what all the asking took.
    pub(crate) fn costing(mut self, tokens: u64, cost: Usd) -> Self {
        self.tokens_used = tokens;
        self.cost_usd = cost.as_dollars();
        self
    }
}
