//! Several providers as one: who gives no answer is followed by the next.

use std::sync::Arc;

use async_trait::async_trait;

use crate::cost::Usage;
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};

/// Asks one provider after another until one answers, such as a hosted model, a local one, and the playbook.
///
/// An answer that is no plan is an answer: the model that gave it hears what is wrong. Each provider has to give up in time for
/// the next one, see [`GenAiOptions::timeout`](crate::GenAiOptions::timeout) and [`Budget::time`](crate::Budget::time).
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use argus_core::{Fallback, Incident, LlmError, LlmProvider, Playbook, Prompt, Scope};
/// # struct Hosted;
/// # #[async_trait::async_trait]
/// # impl LlmProvider for Hosted {
/// #     async fn complete(&self, _: &Prompt) -> Result<argus_core::Completion, LlmError> { Err(LlmError::new("it can't be reached")) }
/// # }
/// let llm = Fallback::new(Hosted).then(Playbook::new());
/// let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#)?;
/// let completion = llm.complete(&Prompt::new(&incident, &Scope::namespaces(["shop"])?)).await?;
/// assert!(completion.model().contains("playbook"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Fallback(Vec<Arc<dyn LlmProvider>>);

impl Fallback {
    /// Begins with a provider.
    #[must_use]
    pub fn new(first: impl LlmProvider + 'static) -> Self {
        Self(vec![Arc::new(first)])
    }

    /// Goes on with another one.
    #[must_use]
    pub fn then(mut self, next: impl LlmProvider + 'static) -> Self {
        self.0.push(Arc::new(next));
        self
    }
}

#[async_trait]
impl LlmProvider for Fallback {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let mut problems = Vec::new();
        let (mut retryable, mut retry_after, mut source) = (false, None, None);
        // Those that failed may have to be paid for too.
        let (mut models, mut spent) = (Vec::new(), Usage::default());
        for llm in &self.0 {
            let error = match llm.complete(prompt).await {
                Ok(completion) => {
                    let usage = completion.usage().plus(spent);
                    return Ok(models
                        .into_iter()
                        .fold(completion.using(usage), Completion::asked_of));
                }
                Err(error) => error,
            };
            tracing::debug!(
                problem = error.problem,
                "no answer, the next provider is asked"
            );
            if error.retryable {
                // Whoever is ready first.
                let wait = error.retry_after.unwrap_or_default();
                retry_after = Some(retry_after.map_or(wait, |other| wait.min(other)));
                retryable = true;
            }
            problems.push(error.problem);
            let usage = error.usage.unwrap_or_else(|| prompt.estimated());
            if usage.total() > 0 {
                spent = spent.plus(usage);
                models.push(error.model);
            }
            source = error.source;
        }
        Err(LlmError {
            retryable,
            retry_after: retry_after.filter(|wait| !wait.is_zero()),
            model: models.pop().unwrap_or_default(),
            usage: Some(spent),
            source,
            ..LlmError::new(problems.join("; then: "))
        })
    }
}
