//! A second real peer: the LiteLLM proxy, with models that answer badly in each way, and real ones behind it.

use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll};
use argus_core::{
    Completion, Fallback, GenAi, GenAiOptions, Incident, Kube, LlmError, LlmProvider, PlanError,
    Playbook, Remediator, RemediatorError, Scope, Wire,
};

use crate::{prompt, server};

/// The key of the proxy in `.ci/llm/litellm.yaml`.
const KEY: &str = "sk-test-litellm";

fn model(url: &str, name: &str) -> GenAiOptions {
    GenAi::model(name).endpoint(url).key(KEY)
}

async fn ask(options: GenAiOptions) -> Result<Completion, LlmError> {
    options.build().unwrap().complete(&prompt()).await
}

fn remediator(llm: impl LlmProvider + 'static, audit: &MemoryAudit) -> Remediator {
    Remediator::builder()
        .scope(Scope::namespaces(["shop"]).unwrap())
        .llm(llm)
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(Cluster::start().client()))
        .audit(audit.clone())
        .build()
        .unwrap()
}

#[tokio::test]
async fn answers_are_read_whatever_stands_around_them() {
    let Some(url) = server("ARGUS_TEST_LITELLM") else {
        return;
    };
    let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
    for (name, wire) in [
        ("plan", Wire::OpenAi),
        ("fenced", Wire::OpenAi),
        ("thinking", Wire::OpenAi),
        ("plan", Wire::Anthropic),
        ("fenced", Wire::Anthropic),
        ("plan", Wire::OpenAiResponses),
    ] {
        let audit = MemoryAudit::new();
        let llm = model(&url, name).wire(wire).build().unwrap();
        let plan = remediator(llm, &audit).suggest(&incident).await.unwrap();
        assert_eq!(
            plan.steps()[0].command(),
            "kubectl rollout restart deployment/web -n shop",
            "{name}, {wire:?}"
        );
        let call = audit.all()[0].entry.call.clone().unwrap();
        assert!(
            call.input_tokens + call.output_tokens > 0,
            "{name}, {wire:?}: {call:?}"
        );
    }
    let audit = MemoryAudit::new();
    let cut = model(&url, "truncated").build().unwrap();
    let error = remediator(cut, &audit)
        .suggest(&incident)
        .await
        .unwrap_err();
    let RemediatorError::Plan {
        source: PlanError::Answer(error),
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(error.to_string().contains("ends too early"), "{error}");
}

#[tokio::test]
async fn each_of_its_errors_is_known() {
    let Some(url) = server("ARGUS_TEST_LITELLM") else {
        return;
    };
    for (name, said, retryable) in [
        ("rate-limit", "HTTP 429", true),
        ("context-window", "HTTP 400", false),
        ("server-error", "HTTP 500", true),
        ("time-out", "HTTP 408", true),
        ("no-such-model", "HTTP 400", false),
    ] {
        let error = ask(model(&url, name)).await.unwrap_err();
        assert!(error.problem.contains(said), "{name}: {error:?}");
        assert_eq!(error.retryable, retryable, "{name}: {error:?}");
        let all = format!("{error:?}");
        assert!(!all.contains(KEY) && !all.contains("INC-1"), "{all}");
    }
    let error = ask(model(&url, "slow").timeout(Duration::from_millis(500))).await;
    assert_eq!(error.unwrap_err().problem, "it took too long");
    let error = ask(GenAi::model("plan").endpoint(&url).key("sk-wrong"))
        .await
        .unwrap_err();
    assert!(
        !error.retryable && !format!("{error:?}").contains("sk-wrong"),
        "{error:?}"
    );

    // Whatever a hosted model does, the playbook is there.
    let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
    let hosted = model(&url, "server-error").build().unwrap();
    let both = Fallback::new(hosted).then(Playbook::new());
    let plan = remediator(both, &MemoryAudit::new())
        .suggest(&incident)
        .await
        .unwrap();
    assert!(plan.model_used().contains("playbook"));
}

#[tokio::test]
async fn a_real_model_is_reached_through_it() {
    let Some(url) = server("ARGUS_TEST_LITELLM") else {
        return;
    };
    let random = model(&url, "random")
        .max_tokens(100)
        .timeout(Duration::from_secs(60));
    // What a random model writes may not follow the schema, which llama.cpp calls an error of its own.
    match ask(random).await {
        Ok(completion) => assert!(completion.usage().total() > 100, "{completion:?}"),
        Err(error) => assert!(error.problem.contains("HTTP 500"), "{error:?}"),
    }
}
