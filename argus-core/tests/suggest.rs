//! A model that answers badly hears what is wrong and is asked again, within the budget; then the failure is clear.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll};
use argus_core::{
    AuditEvent, Budget, Completion, Incident, IncidentId, Kube, LlmError, LlmProvider, Plan,
    Prices, Prompt, Remediator, RemediatorError, Scope, Usage, Usd,
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

/// What each answer takes.
const USAGE: Usage = Usage {
    input_tokens: 900,
    output_tokens: 100,
};

fn says(text: &str) -> Result<Completion, LlmError> {
    Ok(Completion::new(text, "model").using(USAGE))
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
        ..LlmError::unasked("")
    })
}

const GOOD: &str = "kubectl scale deployment/web -n shop --replicas=2";

struct Asked {
    result: Result<Plan, RemediatorError>,
    prompts: Vec<Prompt>,
    audit: MemoryAudit,
}

async fn ask(answers: Vec<Result<Completion, LlmError>>, budget: Budget) -> Asked {
    ask_after(MemoryAudit::new(), Prices::default(), answers, budget).await
}

/// The same by a host whose trail has records already.
async fn ask_after(
    audit: MemoryAudit,
    prices: Prices,
    answers: Vec<Result<Completion, LlmError>>,
    budget: Budget,
) -> Asked {
    let llm = Answers {
        answers: Arc::new(Mutex::new(answers.into())),
        asked: Arc::default(),
    };
    let asked = Arc::clone(&llm.asked);
    let remediator = Remediator::builder()
        .scope(Scope::namespaces(["shop"]).unwrap())
        .llm(llm)
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(Cluster::start().client()))
        .audit(audit.clone())
        .budget(budget)
        .prices(prices)
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
        let records = asked.audit.all();
        assert_eq!(records.len(), 3);
        let outcome = records[2].entry.outcome.clone().unwrap();
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
        let records = asked.audit.all();
        assert_eq!(records.len(), times);
        assert!(
            records
                .iter()
                .all(|record| record.entry.event == AuditEvent::Asked)
        );
    }
    let error = ask(all(), budget).await.result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no answer of the model can be used; it was asked 3 times"
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

/// A million tokens read cost one dollar, a million written ten: an answer of these tests costs 0.0019 dollars.
fn prices() -> Prices {
    Prices::default().price(
        "model",
        Usd::dollars(1.0).unwrap(),
        Usd::dollars(10.0).unwrap(),
    )
}

#[tokio::test]
async fn every_call_stands_in_the_trail_with_what_it_cost() {
    let soon = Some(Duration::from_millis(1));
    let answers = vec![fails(true, soon), says("no plan"), runs(GOOD)];
    let asked = ask_after(MemoryAudit::new(), prices(), answers, Budget::default()).await;
    let plan = asked.result.unwrap();
    let records = asked.audit.all();
    let events: Vec<AuditEvent> = records.iter().map(|record| record.entry.event).collect();
    use AuditEvent::{Asked, Suggested};
    assert_eq!(events, [Asked, Asked, Asked, Suggested]);
    for record in &records {
        assert_eq!(record.entry.plan_id, *plan.plan_id());
    }
    let call = |n: usize| records[n].entry.call.clone().unwrap();
    // No answer, no name and no price; the same prompt twice, then one with what was wrong.
    assert_eq!((call(0).model.as_str(), call(0).cost_usd), ("", None));
    assert_eq!(call(0).prompt, call(1).prompt);
    assert_eq!(call(1).prompt, asked.prompts[1].digest());
    assert_ne!(call(1).prompt, call(2).prompt);
    assert_eq!(call(2).cost_usd, Usd::dollars(0.0019));
    assert_eq!((call(2).input_tokens, call(2).output_tokens), (900, 100));
    let words = |n: usize| records[n].entry.outcome.clone().unwrap();
    assert_eq!(&*words(0), "the model gave no answer: HTTP 429");
    assert_eq!(&*words(1), "model answered");
    assert!(
        words(3).ends_with("; asked 3 times; 2000 tokens; 0.0038 USD"),
        "{}",
        words(3)
    );
}

#[tokio::test]
async fn money_ends_it_too() {
    let all = || (0..9).map(|n| says(&format!("no plan {n}"))).collect();
    let budget = Budget {
        attempts: 9,
        cost: Usd::dollars(0.005),
        ..Budget::default()
    };
    let asked = ask_after(MemoryAudit::new(), prices(), all(), budget).await;
    assert_eq!(asked.prompts.len(), 3);
    assert!(matches!(
        asked.result,
        Err(RemediatorError::Plan { attempts: 3, .. })
    ));
    // What isn't known can't be free.
    let asked = ask_after(
        MemoryAudit::new(),
        Prices::default(),
        vec![runs(GOOD)],
        budget,
    )
    .await;
    let error = asked.result.unwrap_err().to_string();
    assert!(
        error.contains("the price of `model` is not known"),
        "{error}"
    );
    assert_eq!(asked.audit.all().len(), 1);
}

#[tokio::test]
async fn what_was_spent_today_is_spent_for_everybody_who_shares_the_trail() {
    let budget = Budget::default();
    let of_tokens = Budget {
        tokens_per_day: Some(2000),
        ..budget
    };
    let of_money = Budget {
        cost_per_day: Usd::dollars(0.0038),
        ..budget
    };
    for (budget, said) in [
        (of_tokens, "2000 of the day's 2000 tokens are spent"),
        (of_money, "0.0038 USD of the day's 0.0038 USD are spent"),
    ] {
        let audit = MemoryAudit::new();
        for times in 1..=2 {
            let asked = ask_after(audit.clone(), prices(), vec![runs(GOOD)], budget).await;
            assert!(asked.result.is_ok(), "{times}");
        }
        // Another host, or the same after a restart: nobody is asked.
        let again = ask_after(audit.restarted(), prices(), vec![runs(GOOD)], budget).await;
        let error = again.result.unwrap_err();
        assert!(
            matches!(error, RemediatorError::OverBudget { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(said), "{error}");
        assert!(again.prompts.is_empty());
        assert_eq!(again.audit.all().len(), 4);
        // In the middle of a question, too.
        let audit = MemoryAudit::new();
        let answers = (0..9).map(|n| says(&format!("no plan {n}"))).collect();
        let patient = Budget {
            attempts: 9,
            ..budget
        };
        let asked = ask_after(audit, prices(), answers, patient).await;
        assert_eq!(asked.prompts.len(), 2);
        assert!(matches!(
            asked.result,
            Err(RemediatorError::OverBudget { .. })
        ));
    }
}

/// A call that failed counts as what it may have cost, also against the limits of the day.
#[tokio::test]
async fn a_call_without_an_answer_may_have_to_be_paid_for() {
    let dollars = |dollars| Usd::dollars(dollars).unwrap();
    let prices = || prices().price("dear", dollars(100.0), dollars(100.0));
    let late = LlmError {
        usage: Some(USAGE),
        model: "model".into(),
        ..LlmError::new("it took too long")
    };
    for (error, tokens, cost) in [
        (LlmError::unasked("it is left alone"), Some(0), None),
        (late, Some(1000), Some(0.0019)),
        // As long as the prompt, at the price of the dearest model.
        (LlmError::new("it broke"), None, None),
    ] {
        let budget = Budget {
            tokens_per_day: Some(1),
            cost_per_day: Some(dollars(1e-9)),
            ..Budget::default()
        };
        let audit = MemoryAudit::new();
        let asked = ask_after(audit.clone(), prices(), vec![Err(error)], budget).await;
        let of_prompt = u64::try_from(asked.prompts[0].length() / 3).unwrap();
        let call = audit.all()[0].entry.call.clone().unwrap();
        let tokens = tokens.unwrap_or(of_prompt);
        assert_eq!(call.input_tokens + call.output_tokens, tokens);
        let expected = match cost {
            None if tokens == 0 => None,
            None => Prices::default()
                .price("dear", dollars(100.0), dollars(100.0))
                .cost(
                    "dear",
                    Usage {
                        input_tokens: tokens,
                        output_tokens: 0,
                    },
                ),
            cost => cost.map(dollars),
        };
        assert_eq!(call.cost_usd, expected);
        // The next one is asked only if this one was free.
        let again = ask_after(audit.clone(), prices(), vec![runs(GOOD)], budget).await;
        assert_eq!(again.prompts.len(), usize::from(tokens == 0));
    }
    // Nobody waited for the answer, and it may have been the longest.
    let hurry = Budget {
        time: Duration::from_millis(20),
        ..Budget::default()
    };
    let asked = ask(Vec::new(), hurry).await;
    let call = asked.audit.all()[0].entry.call.clone().unwrap();
    let of_prompt = u64::try_from(asked.prompts[0].length() / 3).unwrap();
    assert_eq!((call.input_tokens, call.output_tokens), (of_prompt, 8192));
}

/// A server that names a cheaper model than the one that was asked changes nothing about the price.
#[tokio::test]
async fn the_dearer_of_two_models_is_the_price() {
    let dollars = |dollars| Usd::dollars(dollars).unwrap();
    let prices = prices().price("cheap", dollars(0.1), dollars(0.1));
    let says = runs(GOOD).unwrap();
    let cheap = Completion::new(says.text(), "cheap")
        .using(USAGE)
        .asked_of("model");
    let asked = ask_after(
        MemoryAudit::new(),
        prices,
        vec![Ok(cheap)],
        Budget::default(),
    )
    .await;
    let call = asked.audit.all()[0].entry.call.clone().unwrap();
    assert_eq!(
        (call.model.as_str(), call.cost_usd),
        ("cheap", Some(dollars(0.0019)))
    );
}

#[tokio::test]
async fn what_can_not_be_recorded_or_looked_up_is_not_asked_again() {
    let broken = MemoryAudit::failing_from(1);
    let asked = ask_after(
        broken,
        prices(),
        vec![says("no plan"), runs(GOOD)],
        Budget::default(),
    )
    .await;
    assert_eq!(asked.prompts.len(), 1);
    assert!(matches!(
        asked.result,
        Err(RemediatorError::Audit { standing: 0, .. })
    ));
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_asked_for_shorter() {
    let cut = Ok(Completion::new(r#"{"summary": "Run mo"#, "model").cut_off());
    let asked = ask(vec![cut, runs(GOOD)], Budget::default()).await;
    assert!(asked.result.is_ok());
    let problem = &asked.prompts[1].turns()[0].problem;
    assert!(problem.contains("write less"), "{problem}");
}

#[test]
fn a_budget_can_be_read() {
    let text = r#"{"attempts": 2, "seconds": 1.5, "cost_usd": 0.05, "tokens_per_day": 1000}"#;
    let budget: Budget = serde_json::from_str(text).unwrap();
    assert_eq!(budget.time, Duration::from_millis(1500));
    assert_eq!(budget.cost, Usd::dollars(0.05));
    assert_eq!((budget.attempts, budget.tokens), (2, 50_000));
    for wrong in [
        r#"{"seconds": -1}"#,
        r#"{"cost_usd": -1}"#,
        r#"{"costs": 1}"#,
    ] {
        assert!(serde_json::from_str::<Budget>(wrong).is_err(), "{wrong}");
    }
}

/// Times that no clock holds come from providers' headers and hosts' JSON.
#[tokio::test]
async fn a_time_beyond_every_clock_is_no_panic() {
    let forever: Budget = serde_json::from_str(r#"{"seconds": 1e19}"#).unwrap();
    let asked = ask(vec![runs(GOOD)], forever).await;
    assert_eq!(asked.result.unwrap().steps()[0].command(), GOOD);
    let wait = Some(Duration::from_secs(10_000_000_000_000_000_000));
    let asked = ask(vec![fails(true, wait), runs(GOOD)], Budget::default()).await;
    assert!(asked.result.is_err());
    assert_eq!(asked.prompts.len(), 1);
}

#[tokio::test]
async fn what_never_runs_is_known_before_anybody_is_asked() {
    let remediator = Remediator::builder()
        .scope(Scope::namespaces(["shop"]).unwrap())
        .llm(Answers {
            answers: Arc::default(),
            asked: Arc::default(),
        })
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(Cluster::start().client()))
        .audit(MemoryAudit::new())
        .build()
        .unwrap();
    let refusals = |commands: &[&str]| {
        let steps = commands.iter().map(|command| match command.starts_with('{') {
            true => serde_json::json!({"description": "d", "action": serde_json::from_str::<serde_json::Value>(command).unwrap()}),
            false => serde_json::json!({"description": "d", "command": command}),
        });
        let steps: Vec<_> = steps.collect();
        let draft = serde_json::json!({"summary": "s", "steps": steps, "risk_level": "low", "risk_reason": "r", "rollback_steps": []});
        let completion = Completion::new(draft.to_string(), "model");
        let plan = Plan::parse(&completion, &IncidentId::new("INC-1").unwrap()).unwrap();
        let refusals = remediator.refusals(&plan).into_iter();
        refusals
            .map(|refusal| (refusal.id, refusal.step))
            .collect::<Vec<_>>()
    };
    let hush = r#"{"kind": "patch", "target": {"kind": "Deployment", "namespace": "shop", "name": "web"}, "patch_type": "merge",
        "patch": {"metadata": {"annotations": {"argus-ops/ignore": "all"}}}}"#;
    let is = |id: &str, step| (id.to_owned(), step);
    assert_eq!(refusals(&[GOOD]), []);
    assert_eq!(
        refusals(&[GOOD, "kubectl delete namespace shop"]),
        [is("floor-manual", Some(1))]
    );
    assert_eq!(
        refusals(&["kubectl scale deployment/web -n billing --replicas=2"]),
        [is("floor-scope", Some(0))]
    );
    assert_eq!(
        refusals(&[hush]),
        [is("floor-never", Some(0)), is("floor-high-risk", None)]
    );
}
