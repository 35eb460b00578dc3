//! A second real peer: the LiteLLM proxy, with models that answer badly in each way, and real ones behind it.

use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll};
use argus_core::{
    Completion, Fallback, GenAi, GenAiOptions, Incident, Kube, LlmError, LlmProvider, PlanError,
    Playbook, Remediator, RemediatorError, Scope, Wire,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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

/// Hands requests on to the proxy, and of each answer one byte more than of the one before; then the line is reset.
struct Cut {
    listener: TcpListener,
    proxy: String,
}

impl Cut {
    /// The whole answer.
    async fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut line = TcpStream::connect(&self.proxy).await.unwrap();
        line.write_all(request).await.unwrap();
        Self::message(&mut line).await
    }

    /// A request or an answer, to its end: that of its last chunk, or as long as it says.
    async fn message(line: &mut TcpStream) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            line.read_buf(&mut message).await.unwrap();
            let text = String::from_utf8_lossy(&message).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.split("content-length: ").nth(1);
            let length = length.map(|rest| rest.lines().next().unwrap().parse().unwrap());
            if length.map_or(body.ends_with("0\r\n\r\n"), |length: usize| {
                body.len() >= length
            }) {
                return message;
            }
        }
    }

    /// Answers until one is whole; says how long that was.
    async fn run(self) -> usize {
        let (mut answer, mut length) = (None, 0);
        loop {
            let (mut line, _) = self.listener.accept().await.unwrap();
            let request = Self::message(&mut line).await;
            if answer.is_none() {
                answer = Some(self.answer(&request).await);
            }
            let whole = answer.as_ref().unwrap();
            line.write_all(whole.get(..length).unwrap()).await.unwrap();
            if length == whole.len() {
                line.shutdown().await.unwrap();
                return length;
            }
            // What was sent is read before the reset arrives, as far as it can be.
            tokio::task::yield_now().await;
            line.set_zero_linger().unwrap();
            length += 1;
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_anywhere_is_no_answer() {
    let Some(url) = server("ARGUS_TEST_LITELLM") else {
        return;
    };
    let proxy = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cut = format!("http://{}/v1/", listener.local_addr().unwrap());
    let relay = tokio::spawn(Cut { listener, proxy }.run());
    let llm = model(&cut, "plan").build().unwrap();
    let mut refused = 0;
    let completion = loop {
        match llm.complete(&prompt()).await {
            Ok(completion) => break completion,
            Err(error) => {
                refused += 1;
                assert!(error.retryable, "after {refused} bytes: {error:?}");
                assert!(!format!("{error:?}").contains(KEY), "{error:?}");
            }
        }
    };
    assert!(completion.text().ends_with('}'), "{}", completion.text());
    let whole = relay.await.unwrap();
    assert!(whole > 500 && refused == whole, "{refused} of {whole}");
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
