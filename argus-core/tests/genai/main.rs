//! Models over their own protocols: what is sent, what becomes of every refusal, and real models behind llama.cpp.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll};
use argus_core::{
    AuditEvent, Budget, Completion, GenAi, GenAiOptions, Incident, Kube, LlmError, LlmProvider,
    Prompt, Remediator, RemediatorError, Scope, Usage, Wire,
};
use serde_json::{Value, json};

mod litellm;
mod official;
mod peer;
use peer::Peer;

const KEY: &str = "sk-very-secret-0123456789abcdef";

fn prompt() -> Prompt {
    let incident = r#"{"incident_id": "INC-1", "created_at": "2026-11-25T09:00:00Z"}"#;
    let incident = Incident::from_json(incident).unwrap();
    Prompt::new(&incident, &Scope::namespaces(["shop"]).unwrap())
}

async fn ask(options: GenAiOptions) -> Result<Completion, LlmError> {
    options.key(KEY).build().unwrap().complete(&prompt()).await
}

fn chat(content: &str) -> String {
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5-mini-2026-01-01",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000},
    })
    .to_string()
}

#[tokio::test]
async fn a_request_has_the_rules_the_incident_the_schema_and_what_was_said_before() {
    let peer = Peer::says("200 OK", "", &chat("{}")).await;
    let model = GenAi::model("gpt-5-mini").endpoint(&peer.url).key(KEY);
    let model = model.build().unwrap();
    let completion = model.complete(&prompt()).await.unwrap();
    assert_eq!(
        (
            completion.text(),
            completion.model(),
            completion.usage().total()
        ),
        ("{}", "gpt-5-mini-2026-01-01", 1000)
    );
    let mended = prompt().mended(&completion, "it is empty");
    model.complete(&mended).await.unwrap();

    let sent = peer.sent.lock().unwrap();
    let (head, body) = &sent[1];
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert!(
        head.to_lowercase()
            .contains(&format!("authorization: bearer {KEY}"))
    );
    let role = |n: usize| body["messages"][n]["role"].as_str();
    assert_eq!(
        [role(0), role(1), role(2), role(3)],
        [
            Some("system"),
            Some("user"),
            Some("assistant"),
            Some("user")
        ]
    );
    assert_eq!(body["messages"][0]["content"], prompt().system());
    assert_eq!(body["messages"][1]["content"], prompt().user());
    assert!(
        body["messages"][3]["content"]
            .to_string()
            .contains("it is empty")
    );
    let format = &body["response_format"];
    assert_eq!(format["type"], "json_schema");
    assert_eq!(format["json_schema"]["strict"], true);
    let schema = &format["json_schema"]["schema"];
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"].as_array().unwrap().len(), 5);
    assert_eq!(body["max_completion_tokens"], 8192);
}

#[tokio::test]
async fn each_protocol_is_spoken() {
    for (wire, path, header) in [
        (Wire::OpenAiResponses, "/v1/responses", "authorization"),
        (Wire::Anthropic, "/v1/messages", "x-api-key"),
        (Wire::Gemini, "generateContent", "x-goog-api-key"),
        (Wire::Bedrock, "/v1/model/m/converse", "authorization"),
        (Wire::Ollama, "/v1/api/chat", "authorization"),
    ] {
        let peer = Peer::says("503 Service Unavailable", "", "{}").await;
        let error = ask(GenAi::model("m").wire(wire).endpoint(&peer.url)).await;
        assert!(error.unwrap_err().retryable, "{wire:?}");
        let sent = peer.sent.lock().unwrap();
        let (head, body) = &sent[0];
        let line = head.lines().next().unwrap();
        assert!(line.contains(path), "{wire:?}: {line}");
        assert!(head.to_lowercase().contains(header), "{wire:?}: {head}");
        assert!(body.to_string().contains("INC-1"), "{wire:?}");
    }
}

/// A server decides neither that it was free nor that it is cheap: a day's limit holds all the same.
#[tokio::test]
async fn what_a_server_counts_is_believed_only_where_it_can_be() {
    let of_prompt = u64::try_from(prompt().length() / 3).unwrap();
    let answer = "{}".repeat(600);
    let count = |input: u64, output: u64| {
        let mut body: Value = serde_json::from_str(&chat(&answer)).unwrap();
        body["usage"] = json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
        body.to_string()
    };
    for (counted, believed) in [
        ((900_000, 1000), (900_000, 1000)),
        ((of_prompt / 2, 200), (of_prompt / 2, 200)),
        ((1, 1), (of_prompt, 400)),
        ((1, 500), (of_prompt, 500)),
        ((0, 0), (of_prompt, 400)),
    ] {
        let peer = Peer::says("200 OK", "", &count(counted.0, counted.1)).await;
        let completion = ask(GenAi::model("m").endpoint(&peer.url)).await.unwrap();
        let usage = completion.usage();
        assert_eq!((usage.input_tokens, usage.output_tokens), believed);
    }
    let longest = Some((of_prompt, 8192));
    for (status, body, spent) in [
        ("400 Bad Request", "{}", Some((0, 0))),
        ("429 Too Many Requests", "{}", Some((0, 0))),
        ("502 Bad Gateway", "{}", Some((of_prompt, 0))),
        ("200 OK", "no JSON", longest),
        // It never answers.
        ("", "", longest),
    ] {
        let peer = match status {
            "" => Peer::start(String::new()).await,
            status => Peer::says(status, "", body).await,
        };
        let model = GenAi::model("m").endpoint(&peer.url);
        let error = ask(model.timeout(Duration::from_millis(300)))
            .await
            .unwrap_err();
        let usage = error
            .usage
            .map(|usage| (usage.input_tokens, usage.output_tokens));
        assert_eq!((usage, error.model.as_str()), (spent, "m"), "{status}");
    }
    let nobody = ask(GenAi::model("m").endpoint("http://127.0.0.1:1/v1/")).await;
    assert_eq!(nobody.unwrap_err().usage, Some(Usage::default()));
}

#[tokio::test]
async fn every_refusal_is_one_clear_sentence_without_key_or_payload() {
    let context = r#"{"error": {"message": "This model's maximum context length is 8192 tokens.", "type": "invalid_request_error"}}"#;
    let echo =
        json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}}).to_string();
    let second = Some(Duration::from_secs(7));
    for (status, headers, body, problem, retryable, after) in [
        (
            "400 Bad Request",
            "",
            context,
            "the provider says HTTP 400: This model's maximum context length is 8192 tokens.",
            false,
            None,
        ),
        (
            "401 Unauthorized",
            "",
            &echo,
            "the provider says HTTP 401: the key is missing, wrong, or not allowed to do this",
            false,
            None,
        ),
        (
            "404 Not Found",
            "",
            "no JSON",
            "the provider says HTTP 404",
            false,
            None,
        ),
        (
            "408 Request Timeout",
            "",
            "{}",
            "the provider says HTTP 408",
            true,
            None,
        ),
        (
            "429 Too Many Requests",
            "retry-after: 7\r\n",
            "{}",
            "the provider says HTTP 429",
            true,
            second,
        ),
        (
            "429 Too Many Requests",
            "retry-after-ms: 7000\r\n",
            "{}",
            "the provider says HTTP 429",
            true,
            second,
        ),
        (
            "429 Too Many Requests",
            "retry-after: 1e19\r\n",
            "{}",
            "the provider says HTTP 429",
            true,
            Some(Duration::from_secs(86_400)),
        ),
        (
            "500 Internal Server Error",
            "retry-after: soon\r\n",
            "{}",
            "the provider says HTTP 500",
            true,
            None,
        ),
        (
            "529 Overloaded",
            "",
            "{}",
            "the provider says HTTP 529",
            true,
            None,
        ),
        (
            "302 Found",
            "location: http://127.0.0.1:1/\r\n",
            "{}",
            "the provider says HTTP 302",
            false,
            None,
        ),
        (
            "200 OK",
            "",
            "no JSON",
            "what it sent is not of its protocol",
            true,
            None,
        ),
    ] {
        let peer = Peer::says(status, headers, body).await;
        let error = ask(GenAi::model("m").endpoint(&peer.url))
            .await
            .unwrap_err();
        assert_eq!(
            (error.problem.as_str(), error.retryable, error.retry_after),
            (problem, retryable, after),
            "{status}"
        );
        let all = format!("{error:?} {error}");
        assert!(!all.contains(KEY) && !all.contains("INC-1"), "{all}");
    }
}

#[tokio::test]
async fn broken_lines_are_told_apart() {
    let nobody = GenAi::model("m").endpoint("http://127.0.0.1:1/v1/");
    assert_eq!(
        ask(nobody).await.unwrap_err().problem,
        "it can't be reached"
    );
    let cut = Peer::start(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{\"id\":"
            .into(),
    )
    .await;
    let error = ask(GenAi::model("m").endpoint(&cut.url)).await.unwrap_err();
    assert!(error.retryable, "{error:?}");
    let silent = Peer::start(String::new()).await;
    let start = Instant::now();
    let slow = GenAi::model("m")
        .endpoint(&silent.url)
        .timeout(Duration::from_millis(200));
    assert_eq!(ask(slow).await.unwrap_err().problem, "it took too long");
    assert!(start.elapsed() < Duration::from_secs(30));
    // An answer without an end is given up, whatever it says its length is.
    let endless = Peer::endless().await;
    let error = ask(GenAi::model("m").endpoint(&endless.url))
        .await
        .unwrap_err();
    assert_eq!(error.problem, "its answer is longer than 4 MiB");
    let sent = endless.written.load(Ordering::SeqCst);
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    let key = GenAi::model("m").key("sk-\n").build().unwrap_err();
    assert!(key.problem.contains("the key has characters"), "{key}");
    for url in ["localhost:1234", "ftp://x/", "http://"] {
        let error = GenAi::model("m").endpoint(url).build().unwrap_err();
        assert!(error.problem.contains("no URL"), "{url}: {error}");
    }
}

#[tokio::test]
async fn what_does_not_follow_the_schema_is_an_answer_and_a_refusal_is_not() {
    let peg = r#"{"error": {"code": 500, "message": "The model produced output that does not match the expected peg-native format", "type": "server_error"}}"#;
    let peer = Peer::says("500 Internal Server Error", "", peg).await;
    let completion = ask(GenAi::model("m").endpoint(&peer.url)).await.unwrap();
    assert_eq!(completion.text(), "");
    let filtered = chat("").replace("\"stop\"", "\"content_filter\"");
    let peer = Peer::says("200 OK", "", &filtered).await;
    let error = ask(GenAi::model("m").endpoint(&peer.url))
        .await
        .unwrap_err();
    assert_eq!(error.problem, "it refuses to answer");
}

#[tokio::test]
async fn what_is_not_counted_is_estimated_and_what_is_cut_off_says_so() {
    let mut answer: Value = serde_json::from_str(&chat("{\"summary\": \"Run mo")).unwrap();
    answer["choices"][0]["finish_reason"] = "length".into();
    let peer = Peer::says("200 OK", "", &answer.to_string()).await;
    let completion = ask(GenAi::model("m").endpoint(&peer.url)).await.unwrap();
    assert!(completion.is_cut_off());
    assert_eq!(
        (
            completion.usage().input_tokens,
            completion.usage().output_tokens
        ),
        (900, 100)
    );
    answer.as_object_mut().unwrap().remove("usage");
    let peer = Peer::says("200 OK", "", &answer.to_string()).await;
    let completion = ask(GenAi::model("m").endpoint(&peer.url)).await.unwrap();
    let usage = completion.usage();
    assert!(
        usage.input_tokens > 500 && usage.output_tokens > 3,
        "{usage:?}"
    );
}

#[test]
fn the_key_is_never_shown() {
    let model = GenAi::model("m").key(KEY).build().unwrap();
    assert_eq!(format!("{model:?}"), "GenAi(m, OpenAi)");
}

/// A real server's URL, or why there is none.
fn server(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        eprintln!("skipped: real language models; {variable} names no server");
    }
    url
}

#[tokio::test]
async fn a_real_model_writes_what_follows_the_schema() {
    let Some(url) = server("ARGUS_TEST_LLM") else {
        return;
    };
    let wrong_key = GenAi::model("smollm2").endpoint(&url).key("sk-wrong");
    let error = wrong_key.build().unwrap().complete(&prompt()).await;
    assert!(error.unwrap_err().problem.contains("HTTP 401"));

    let model = GenAi::model("smollm2")
        .endpoint(&url)
        .key("sk-test-smollm2");
    let model = model.enforces_lengths().max_tokens(1500);
    let model = model.timeout(Duration::from_secs(300)).build().unwrap();
    let completion = model.complete(&prompt()).await.unwrap();
    // So small a model may repeat itself until it is cut off; as far as it came it follows the schema.
    match serde_json::from_str::<Value>(completion.text()) {
        Ok(answer) => {
            for field in [
                "summary",
                "steps",
                "risk_level",
                "risk_reason",
                "rollback_steps",
            ] {
                assert!(answer.get(field).is_some(), "{field}: {answer}");
            }
        }
        Err(error) => {
            let start: String = completion.text().split_whitespace().collect();
            assert!(
                error.is_eof() && start.starts_with("{\"summary\":\""),
                "{error}: {start}"
            );
        }
    }
    assert_eq!(completion.model(), "smollm2");
    assert!(completion.usage().total() > 500);
}

/// A model with random weights writes whatever the schema lets it: nothing of it reaches a cluster that would let it do everything.
#[tokio::test]
async fn random_answers_end_in_a_clear_failure_or_a_plan_that_changes_nothing_unasked() {
    let Some(url) = server("ARGUS_TEST_LLM_RANDOM") else {
        return;
    };
    let cluster = Cluster::start();
    let web = cluster.deployment("shop", "web", "registry.example/web:1");
    web.create().await.unwrap();
    let model = GenAi::model("random").endpoint(&url).key("sk-test-random");
    let model = model.enforces_lengths().max_tokens(600);
    let audit = MemoryAudit::new();
    let remediator = Remediator::builder()
        .scope(Scope::namespaces(["shop"]).unwrap())
        .llm(model.build().unwrap())
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(cluster.client()))
        .audit(audit.clone())
        .budget(Budget {
            attempts: 2,
            ..Budget::default()
        })
        .build()
        .unwrap();
    let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
    let (mut plans, mut failures) = (0, 0);
    for _ in 0..20 {
        match remediator.suggest(&incident).await {
            Ok(_) => plans += 1,
            Err(RemediatorError::Plan { .. }) => failures += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    eprintln!("{plans} plans, {failures} clear failures");
    let records = audit.all().into_iter();
    let suggested = records.filter(|record| record.entry.event == AuditEvent::Suggested);
    assert_eq!(suggested.count(), plans);
}
