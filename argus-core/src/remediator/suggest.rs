//! From an incident to a plan that can be used: ask, say what is wrong, ask again, within a budget.

use super::asking::Asking;
use super::{Remediator, RemediatorError};
use crate::audit::{AuditEntry, AuditEvent};
use crate::cost::Usd;
use crate::incident::{Diagnosis, Incident};
use crate::plan::{Plan, PlanError};
use crate::prompt::Prompt;
use crate::store::Document;
use crate::verdict::{Phase, Verdict};

impl Remediator {
    /// Asks for a plan. Nothing is executed, and no flag is needed.
    ///
    /// A model whose answer is no plan, or a plan that policy denies, hears what is wrong and is asked again, within the
    /// [`Budget`](crate::Budget). A plan that is still denied then is given back: [`review`](Self::review) says why.
    ///
    /// # Errors
    /// [`RemediatorError::Llm`] without an answer, [`RemediatorError::Plan`] where no answer is a plan,
    /// [`RemediatorError::OverBudget`] where no model may be asked.
    #[tracing::instrument(skip_all, fields(incident = %incident.incident_id()))]
    pub async fn suggest(&self, incident: &Incident) -> Result<Plan, RemediatorError> {
        let history = self.history(incident).await?;
        let prompt = Prompt::new(incident, &self.doors.scope).with_history(history);
        let prompt = self.spoken(prompt);
        let mut asking = Asking::new(self, incident.incident_id(), prompt);
        loop {
            let completion = asking.ask().await?;
            let plan = Plan::parse(&completion, incident.incident_id());
            let problem = match &plan {
                Ok(plan) => self.objection(plan).await,
                Err(error) => Some(in_words(error)),
            };
            if let Some(problem) = problem
                && asking.again(completion, &problem)
            {
                continue;
            }
            let plan = plan.map_err(|source| RemediatorError::Plan {
                attempts: asking.attempts(),
                source,
            })?;
            let plan = plan.named(asking.plan_id()).answering(incident);
            return self.suggested(plan, &asking).await;
        }
    }

    /// Asks what the findings of an incident come from; put the answer into it with [`Incident::diagnosed`] before a plan is asked
    /// for. A diagnosis is words for people: nothing is allowed because of it.
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest).
    #[tracing::instrument(skip_all, fields(incident = %incident.incident_id()))]
    pub async fn diagnose(&self, incident: &Incident) -> Result<Diagnosis, RemediatorError> {
        let prompt = self.spoken(Prompt::diagnosis(incident, &self.doors.scope));
        let mut asking = Asking::new(self, incident.incident_id(), prompt);
        loop {
            let completion = asking.ask().await?;
            match Diagnosis::parse(&completion, incident.findings()) {
                Ok(diagnosis) => return Ok(diagnosis.costing(asking.tokens(), asking.cost())),
                Err(error) if asking.again(completion, &error.to_string()) => {}
                Err(error) => {
                    return Err(RemediatorError::Plan {
                        attempts: asking.attempts(),
                        source: error.into(),
                    });
                }
            }
        }
    }

    /// In the host's language.
    fn spoken(&self, prompt: Prompt) -> Prompt {
        match &self.doors.language {
            Some(language) => prompt.in_language(language),
            None => prompt,
        }
    }

    /// Why policy would deny a plan, with what would help.
    async fn objection(&self, plan: &Plan) -> Option<String> {
        // Where there is no verdict, the review says so.
        let evaluation = self.evaluate(plan, Phase::Plan, Vec::new()).await.ok()?;
        (evaluation.verdict == Verdict::Deny).then(|| evaluation.hints())
    }

    async fn suggested(&self, plan: Plan, asking: &Asking<'_>) -> Result<Plan, RemediatorError> {
        let entry = self.entry(&plan, AuditEvent::Suggested, &self.actor);
        let mut outcome = format!(
            "{} step(s), {} risk, by {}: {}",
            plan.steps().len(),
            plan.risk_level(),
            plan.model_used(),
            plan.summary()
        );
        if asking.attempts() > 1 {
            outcome.push_str(&format!("; asked {} times", asking.attempts()));
        }
        if asking.tokens() > 0 {
            outcome.push_str(&format!("; {} tokens", asking.tokens()));
        }
        if asking.cost() > Usd::default() {
            outcome.push_str(&format!("; {}", asking.cost()));
        }
        Document::of_plan(&plan).save(&*self.doors.plans).await?;
        self.record(AuditEntry {
            outcome: Some(outcome.into()),
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
