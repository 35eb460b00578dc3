//! From an incident to a plan that can be used: ask, say what is wrong, ask again, within a budget.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::{Remediator, RemediatorError};
use crate::audit::{AuditEntry, AuditEvent};
use crate::incident::Incident;
use crate::plan::{Plan, PlanError};
use crate::prompt::{Completion, LlmError, Prompt};
use crate::store::Document;
use crate::verdict::{Phase, Verdict};

/// How much a plan may cost.
///
/// # Example
/// ```
/// use argus_core::Budget;
/// let frugal = Budget { attempts: 1, ..Budget::default() };
/// # let _ = frugal;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How often the model is asked at most; 3 by default.
    pub attempts: u32,
    /// It isn't asked again after so many tokens; 50,000 by default.
    pub tokens: u64,
    /// How long all of it may take; three minutes by default.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            attempts: 3,
            tokens: 50_000,
            time: Duration::from_secs(180),
        }
    }
}

/// What the asking cost so far.
struct Spent {
    attempts: u32,
    tokens: u64,
    deadline: Instant,
    budget: Budget,
}

impl Spent {
    fn may_ask_again(&self) -> bool {
        self.attempts < self.budget.attempts
            && self.tokens < self.budget.tokens
            && Instant::now() < self.deadline
    }
}

impl Remediator {
    /// Asks for a plan. Nothing is executed, and no flag is needed.
    ///
    /// A model whose answer is no plan, or a plan that policy denies, hears what is wrong and is asked again, within the
    /// [`Budget`]. A plan that is still denied then is given back: [`review`](Self::review) says why.
    ///
    /// # Errors
    /// [`RemediatorError::Llm`] without an answer, [`RemediatorError::Plan`] where no answer is a plan.
    #[tracing::instrument(skip_all, fields(incident = %incident.incident_id()))]
    pub async fn suggest(&self, incident: &Incident) -> Result<Plan, RemediatorError> {
        let budget = self.doors.budget;
        let mut spent = Spent {
            attempts: 0,
            tokens: 0,
            deadline: Instant::now() + budget.time,
            budget,
        };
        let mut prompt = Prompt::new(incident, &self.doors.scope);
        let mut last = None;
        loop {
            let completion = self.answer(&prompt, &mut spent).await?;
            spent.tokens = spent.tokens.saturating_add(completion.tokens());
            let plan = Plan::parse(&completion, incident.incident_id());
            // Whoever answers the same again has nothing else to say.
            if spent.may_ask_again() && last.as_ref() != Some(&completion) {
                let problem = match &plan {
                    Ok(plan) => self.objection(plan).await,
                    Err(error) => Some(in_words(error)),
                };
                if let Some(problem) = problem {
                    tracing::debug!(
                        problem,
                        "the answer can't be used, the model is asked again"
                    );
                    prompt = prompt.mended(&completion, &problem);
                    last = Some(completion);
                    continue;
                }
            }
            let plan = plan.map_err(|source| RemediatorError::Plan {
                attempts: spent.attempts,
                source,
            })?;
            return self.suggested(plan.answering(incident), &spent).await;
        }
    }

    /// An answer, whatever is in it.
    async fn answer(
        &self,
        prompt: &Prompt,
        spent: &mut Spent,
    ) -> Result<Completion, RemediatorError> {
        loop {
            spent.attempts += 1;
            let answer = timeout_at(spent.deadline, self.doors.llm.complete(prompt)).await;
            let late = |_| LlmError {
                problem: format!(
                    "it took longer than the {} s that a plan may take",
                    spent.budget.time.as_secs()
                ),
                retryable: true,
                retry_after: None,
                source: None,
            };
            let error = match answer.map_err(late) {
                Ok(Ok(completion)) => return Ok(completion),
                Ok(Err(error)) | Err(error) => error,
            };
            // A second, two, four: unless the provider says how long.
            let backoff = Duration::from_secs(1 << (spent.attempts - 1).min(6));
            let wait = error.retry_after.unwrap_or(backoff);
            if !error.retryable || !spent.may_ask_again() || Instant::now() + wait > spent.deadline
            {
                return Err(error.into());
            }
            sleep(wait).await;
        }
    }

    /// Why policy would deny a plan, with what would help.
    async fn objection(&self, plan: &Plan) -> Option<String> {
        // Where there is no verdict, the review says so.
        let evaluation = self.evaluate(plan, Phase::Plan, Vec::new()).await.ok()?;
        (evaluation.verdict == Verdict::Deny).then(|| evaluation.hints())
    }

    async fn suggested(&self, plan: Plan, spent: &Spent) -> Result<Plan, RemediatorError> {
        let entry = self.entry(&plan, AuditEvent::Suggested, &self.actor);
        let mut outcome = format!(
            "{} step(s), {} risk, by {}: {}",
            plan.steps().len(),
            plan.risk_level(),
            plan.model_used(),
            plan.summary()
        );
        if spent.attempts > 1 {
            outcome.push_str(&format!("; asked {} times", spent.attempts));
        }
        if spent.tokens > 0 {
            outcome.push_str(&format!("; {} tokens", spent.tokens));
        }
        Document::of_plan(&plan).save(&*self.doors.plans).await?;
        self.record(AuditEntry {
            outcome: Some(outcome),
            ..entry
        })
        .await?;
        Ok(plan)
    }
}

/// An error with its cause, for the model.
fn in_words(error: &PlanError) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
