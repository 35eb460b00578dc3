//! A model that answers badly hears what is wrong and is asked again, within the budget; then the failure is clear.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll};
use argus_core::{
    Budget, Completion, Incident, Kube, LlmError, LlmProvider, Plan, Prompt, Remediator,
    RemediatorError, Scope,
};
use async_trait::async_trait;

/// Answers one after another, and keeps what it was asked. After the last, it never answers.
#[derive(Clone)]
struct Answers {
    answers: Arc<Mutex<VecDeque<Result<Completion, LlmError>>>>,
    asked: Arc<Mutex<Vec<Prompt>>>,
}

#[async_trait]
impl LlmProvider for Answers {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        self.asked.lock().unwrap().push(prompt.clone());
        let next = self.answers.lock().unwrap().pop_front();
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn says(text: &str) -> Result<Completion, LlmError> {
    Ok(Completion::new(text, "model").costing(1000))
}

fn runs(command: &str) -> Result<Completion, LlmError> {
    let step = serde_json::json!({"description": "One more copy.", "command": command});
    let draft = serde_json::json!({"summary": "Run more.", "steps": [step], "risk_level": "low", "risk_reason": "Small.", "rollback_steps": []});
    says(&draft.to_string())
}

fn fails(retryable: bool, retry_after: Option<Duration>) -> Result<Completion, LlmError> {
    Err(LlmError {
        problem: "HTTP 429".into(),
        retryable,
        retry_after,
        source: None,
    })
}

const GOOD: &str = "kubectl scale deployment/web -n shop --replicas=2";

struct Asked {
    result: Result<Plan, RemediatorError>,
    prompts: Vec<Prompt>,
    audit: MemoryAudit,
}

async fn ask(answers: Vec<Result<Completion, LlmError>>, budget: Budget) -> Asked {
    let llm = Answers {
        answers: Arc::new(Mutex::new(answers.into())),
        asked: Arc::default(),
    };
    let (asked, audit) = (Arc::clone(&llm.asked), MemoryAudit::new());
    let remediator = Remediator::builder()
        .scope(Scope::namespaces(["shop"]).unwrap())
        .llm(llm)
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(Cluster::start().client()))
        .audit(audit.clone())
        .budget(budget)
        .build()
        .unwrap();
    let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
    let result = remediator.suggest(&incident).await;
    let prompts = asked.lock().unwrap().clone();
    Asked {
        result,
        prompts,
        audit,
    }
}

#[tokio::test]
async fn what_is_wrong_goes_back_to_the_model() {
    for (bad, said) in [
        (says("I would scale it."), "not one JSON object"),
        (says(""), "not one JSON object"),
        (
            says(r#"{"summary": "Cut off", "steps": [{"descr"#),
            "not one JSON object",
        ),
        (says(r#"{"summary": "No steps."}"#), "steps"),
        (
            runs("kubectl scale deployment/web -n shop --replicas=2 --force"),
            "--force",
        ),
        (
            runs("kubectl get pods -n shop | xargs kubectl delete"),
            "step 1",
        ),
        // The floor's own words, with its hint.
        (
            runs("kubectl scale deployment/web -n billing --replicas=2"),
            "billing",
        ),
    ] {
        let asked = ask(vec![bad, runs(GOOD)], Budget::default()).await;
        assert_eq!(asked.result.unwrap().steps()[0].command(), GOOD);
        assert_eq!(asked.prompts.len(), 2);
        assert!(asked.prompts[0].turns().is_empty());
        let turn = &asked.prompts[1].turns()[0];
        assert!(turn.problem.contains(said), "{said}: {}", turn.problem);
        let outcome = asked.audit.all()[0].entry.outcome.clone().unwrap();
        assert!(
            outcome.ends_with("; asked 2 times; 2000 tokens"),
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn a_good_answer_is_asked_for_once() {
    let asked = ask(vec![runs(GOOD)], Budget::default()).await;
    assert!(asked.result.is_ok());
    assert_eq!(asked.prompts.len(), 1);
}

#[tokio::test]
async fn the_budget_ends_it() {
    let bad = |n: usize| says(&format!("no plan {n}"));
    let all = || (0..9).map(bad).collect::<Vec<_>>();
    let budget = Budget::default();
    for (budget, times) in [
        (budget, 3),
        (
            Budget {
                attempts: 5,
                ..budget
            },
            5,
        ),
        (
            Budget {
                attempts: 9,
                tokens: 2000,
                ..budget
            },
            2,
        ),
        (
            Budget {
                attempts: 1,
                ..budget
            },
            1,
        ),
    ] {
        let asked = ask(all(), budget).await;
        assert_eq!(asked.prompts.len(), times, "{budget:?}");
        let error = asked.result.unwrap_err();
        assert!(
            matches!(error, RemediatorError::Plan { attempts, .. } if attempts as usize == times),
            "{error:?}"
        );
        assert!(asked.audit.all().is_empty());
    }
    let error = ask(all(), budget).await.result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no suggested plan can be used; the model was asked 3 times"
    );
}

#[tokio::test]
async fn who_repeats_itself_is_not_asked_a_third_time() {
    let budget = Budget {
        attempts: 9,
        ..Budget::default()
    };
    let asked = ask(vec![says("no"), says("no"), runs(GOOD)], budget).await;
    assert!(asked.result.is_err());
    assert_eq!(asked.prompts.len(), 2);
}

#[tokio::test]
async fn a_plan_that_stays_denied_is_given_back_for_the_review_to_explain() {
    let outside = "kubectl scale deployment/web -n billing --replicas=";
    let all = (2..9).map(|n| runs(&format!("{outside}{n}"))).collect();
    let asked = ask(all, Budget::default()).await;
    assert_eq!(asked.prompts.len(), 3);
    assert!(
        asked.result.unwrap().steps()[0]
            .command()
            .contains("billing")
    );
}

#[tokio::test]
async fn a_provider_that_is_busy_is_waited_for() {
    let soon = Some(Duration::from_millis(1));
    let asked = ask(
        vec![fails(true, soon), fails(true, soon), runs(GOOD)],
        Budget::default(),
    )
    .await;
    assert!(asked.result.is_ok());
    assert_eq!(asked.prompts.len(), 3);
    // A key that is refused stays refused; nobody waits for an hour in three minutes.
    for error in [
        fails(false, soon),
        fails(true, Some(Duration::from_secs(3600))),
    ] {
        let asked = ask(vec![error, runs(GOOD)], Budget::default()).await;
        assert!(matches!(asked.result, Err(RemediatorError::Llm(_))));
        assert_eq!(asked.prompts.len(), 1);
    }
}

#[tokio::test]
async fn a_model_that_never_answers_ends_with_the_time() {
    let budget = Budget {
        time: Duration::from_millis(50),
        ..Budget::default()
    };
    let error = ask(vec![says("no")], budget).await.result.unwrap_err();
    assert!(matches!(error, RemediatorError::Llm(_)), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("that a plan may take"), "{cause}");
}

#[tokio::test]
async fn a_long_answer_is_repeated_in_part() {
    let long = says(&"\u{e4}".repeat(20_000));
    let asked = ask(vec![long, runs(GOOD)], Budget::default()).await;
    let repeated = asked.prompts[1].turns()[0].answer.chars().count();
    assert!(repeated < 9000, "{repeated}");
}
