//! A prompt becomes completions: asked within a budget, each call in the trail with what it cost, and again after an answer
//! that can't be used.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Remediator, RemediatorError};
use crate::audit::{AuditEntry, AuditEvent, AuditQuery, ModelCall};
use crate::cost::{Usage, Usd};
use crate::deadline::{deadline, seconds};
use crate::incident::IncidentId;
use crate::plan_id::PlanId;
use crate::prompt::{Completion, LlmError, Prompt};

/// How much a plan, or a diagnosis, may cost until it can be used.
///
/// A limit is looked at before each call, so that the last call may go beyond it. A call that failed counts as what it may have
/// cost: see [`LlmError::usage`]. What was spent today, by the clock of UTC, stands in the audit trail: it holds after a
/// restart, and for all hosts that share the trail.
///
/// # Example
/// ```
/// use argus_core::{Budget, Usd};
/// let frugal = Budget { attempts: 1, cost_per_day: Usd::dollars(2.0), ..Budget::default() };
/// # let _ = frugal;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// How often the model is asked at most; 3 by default.
    pub attempts: u32,
    /// It isn't asked again after so many tokens; 50,000 by default.
    pub tokens: u64,
    /// How long all of it may take; three minutes by default. In JSON a number of `seconds`.
    #[serde(rename = "seconds", deserialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub time: Duration,
    /// It isn't asked again after so much money, which takes [`Prices`](crate::Prices); no limit by default.
    #[serde(rename = "cost_usd")]
    pub cost: Option<Usd>,
    /// No model is asked after so many tokens on one day; no limit by default.
    pub tokens_per_day: Option<u64>,
    /// No model is asked after so much money on one day, which takes [`Prices`](crate::Prices); no limit by default.
    #[serde(rename = "cost_usd_per_day")]
    pub cost_per_day: Option<Usd>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            attempts: 3,
            tokens: 50_000,
            time: Duration::from_secs(180),
            cost: None,
            tokens_per_day: None,
            cost_per_day: None,
        }
    }
}

/// Where money is limited, what isn't known can't be free.
fn no_price(model: &str) -> RemediatorError {
    let model = match model {
        "" => "the model that was asked".to_owned(),
        model => format!("`{model}`"),
    };
    RemediatorError::OverBudget {
        what: format!(
            "the budget limits money, and the price of {model} is not known: give it with `.prices(...)`"
        ),
    }
}

/// How many tokens an answer may have had that nobody waited for: as many as providers let models write by default.
const LONGEST_ANSWER: u64 = 8192;

/// One question to the model, with what it cost so far.
pub(super) struct Asking<'a> {
    remediator: &'a Remediator,
    incident_id: &'a IncidentId,
    plan_id: PlanId,
    prompt: Prompt,
    last: Option<Completion>,
    attempts: u32,
    tokens: u64,
    cost: Usd,
    deadline: Instant,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        remediator: &'a Remediator,
        incident_id: &'a IncidentId,
        prompt: Prompt,
    ) -> Self {
        Self {
            remediator,
            incident_id,
            plan_id: PlanId::random(),
            prompt,
            last: None,
            attempts: 0,
            tokens: 0,
            cost: Usd::default(),
            deadline: deadline(remediator.doors.budget.time),
        }
    }

    /// The id of the plan that comes of it; of a diagnosis, an id that no plan has.
    pub(super) fn plan_id(&self) -> &PlanId {
        &self.plan_id
    }

    /// How often the model was asked.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How many tokens it took.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// What it cost, as far as prices are known.
    pub(super) fn cost(&self) -> Usd {
        self.cost
    }

    /// An answer, whatever is in it.
    pub(super) async fn ask(&mut self) -> Result<Completion, RemediatorError> {
        let budget = self.remediator.doors.budget;
        loop {
            self.today_allows_it().await?;
            self.attempts += 1;
            let began = Instant::now();
            let llm = &self.remediator.doors.llm;
            let answer = timeout_at(self.deadline, llm.complete(&self.prompt)).await;
            let late = |_| LlmError {
                retryable: true,
                // It may have been written to its end all the same.
                usage: Some(Usage {
                    output_tokens: LONGEST_ANSWER,
                    ..self.prompt.estimated()
                }),
                ..LlmError::new(format!(
                    "it took longer than the {} s that a plan may take",
                    budget.time.as_secs()
                ))
            };
            let answer = answer.map_err(late).and_then(|answer| answer);
            let spent = self.spent(&answer);
            self.record(&answer, spent, began.elapsed()).await?;
            self.tokens = self.tokens.saturating_add(spent.0.total());
            self.cost = self.cost.plus(spent.1.unwrap_or_default());
            let error = match answer {
                Ok(completion) => {
                    let is_limited = budget.cost.is_some() || budget.cost_per_day.is_some();
                    if is_limited && spent.1.is_none() {
                        return Err(no_price(completion.model()));
                    }
                    return Ok(completion);
                }
                Err(error) => error,
            };
            // A second, two, four: unless the provider says how long.
            let backoff = Duration::from_secs(1 << (self.attempts - 1).min(6));
            let wait = error.retry_after.unwrap_or(backoff);
            let left = self.deadline.saturating_duration_since(Instant::now());
            if !error.retryable || !self.may_ask_again() || wait > left {
                return Err(error.into());
            }
            sleep(wait).await;
        }
    }

    /// Has the model asked once more, with what is wrong with its answer; false where it had its chance.
    pub(super) fn again(&mut self, answer: Completion, problem: &str) -> bool {
        // Whoever answers the same again has nothing else to say.
        let repeated = self.last.as_ref().map(Completion::text) == Some(answer.text());
        if repeated || !self.may_ask_again() {
            return false;
        }
        tracing::debug!(
            problem,
            "the answer can't be used, the model is asked again"
        );
        let cut_off = "it was cut off where the longest answer ends; write less";
        let problem = if answer.is_cut_off() {
            cut_off
        } else {
            problem
        };
        self.prompt = self.prompt.clone().mended(&answer, problem);
        self.last = Some(answer);
        true
    }

    fn may_ask_again(&self) -> bool {
        let budget = self.remediator.doors.budget;
        self.attempts < budget.attempts
            && self.tokens < budget.tokens
            && budget.cost.is_none_or(|limit| self.cost < limit)
            && Instant::now() < self.deadline
    }

    /// Holds what was spent today against what may be.
    async fn today_allows_it(&self) -> Result<(), RemediatorError> {
        let budget = self.remediator.doors.budget;
        if budget.tokens_per_day.is_none() && budget.cost_per_day.is_none() {
            return Ok(());
        }
        let now = Timestamp::now();
        let midnight = now.as_second() - now.as_second().rem_euclid(24 * 60 * 60);
        let query = AuditQuery {
            event: Some(AuditEvent::Asked),
            since: Timestamp::from_second(midnight).ok(),
            ..AuditQuery::default()
        };
        let records = self.remediator.doors.audit.records(&query).await;
        let records = records.map_err(|source| RemediatorError::Audit {
            standing: 0,
            source,
        })?;
        let calls = records.into_iter().filter_map(|record| record.entry.call);
        let (mut tokens, mut cost) = (0_u64, Usd::default());
        for call in calls {
            let usage = Usage {
                input_tokens: call.input_tokens,
                output_tokens: call.output_tokens,
            };
            tokens = tokens.saturating_add(usage.total());
            if budget.cost_per_day.is_some() {
                let known = call
                    .cost_usd
                    .or_else(|| self.priced([call.model.as_str()], usage));
                cost = cost.plus(known.ok_or_else(|| no_price(&call.model))?);
            }
        }
        let over = |spent: String, limit: String| {
            Err(RemediatorError::OverBudget {
                what: format!(
                    "{spent} of the day's {limit} are spent; the next day begins at 00:00 UTC"
                ),
            })
        };
        match (budget.tokens_per_day, budget.cost_per_day) {
            (Some(limit), _) if tokens >= limit => {
                over(tokens.to_string(), format!("{limit} tokens"))
            }
            (_, Some(limit)) if cost >= limit => over(cost.to_string(), limit.to_string()),
            _ => Ok(()),
        }
    }

    /// What a call took, and what it cost where that is known. A call without an answer may have to be paid for too.
    fn spent(&self, answer: &Result<Completion, LlmError>) -> (Usage, Option<Usd>) {
        match answer {
            Ok(completion) => {
                let usage = completion.usage();
                (usage, self.priced(completion.models(), usage))
            }
            Err(error) => {
                let usage = error.usage.unwrap_or_else(|| self.prompt.estimated());
                (usage, self.priced([error.model.as_str()], usage))
            }
        }
    }

    /// The price of the dearest of the models whose price is known, or of all models where nobody says which was asked.
    fn priced<'m>(&self, models: impl IntoIterator<Item = &'m str>, usage: Usage) -> Option<Usd> {
        if usage.total() == 0 {
            return Some(Usd::default());
        }
        let prices = &self.remediator.doors.prices;
        let costs = models.into_iter().filter_map(|model| match model {
            "" => prices.dearest(usage),
            model => prices.cost(model, usage),
        });
        costs.max()
    }

    async fn record(
        &self,
        answer: &Result<Completion, LlmError>,
        (usage, cost): (Usage, Option<Usd>),
        took: Duration,
    ) -> Result<(), RemediatorError> {
        let model = match answer {
            Ok(completion) => completion.model(),
            Err(error) => &error.model,
        };
        let call = ModelCall {
            prompt: self.prompt.digest(),
            model: model.to_owned(),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost_usd: cost.filter(|_| usage.total() > 0),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        let outcome = match answer {
            Ok(_) => format!("{model} answered"),
            Err(error) => error.to_string(),
        };
        let entry = AuditEntry::new(
            AuditEvent::Asked,
            self.incident_id.clone(),
            self.plan_id.clone(),
            self.remediator.actor.clone(),
        );
        let entry = AuditEntry {
            call: Some(call),
            outcome: Some(outcome.into()),
            ..entry
        };
        self.remediator.record(entry).await?;
        Ok(())
    }
}
