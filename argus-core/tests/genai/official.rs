//! What Argus sends is what the official SDK of each provider sends for the same question, byte for byte where it counts.

use std::path::Path;
use std::process::Stdio;

use argus_core::{GenAi, LlmProvider, Wire};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::peer::Peer;
use crate::{KEY, prompt, server};

/// The prompt's parts in a request of each protocol: rules, incident, schema, the bound of the answer, the model.
fn parts(wire: Wire, path: &str, body: &Value) -> [Value; 5] {
    let at = |pointer: &str| body.pointer(pointer).cloned().unwrap_or_default();
    match wire {
        Wire::OpenAi => [
            at("/messages/0"),
            at("/messages/1"),
            at("/response_format"),
            at("/max_completion_tokens"),
            at("/model"),
        ],
        // Rules may stand beside the messages or before them.
        Wire::OpenAiResponses => {
            let text = |message: &str| match at(&format!("{message}/content")) {
                Value::Array(_) => at(&format!("{message}/content/0/text")),
                content => content,
            };
            let rules = body.get("instructions").cloned();
            let beside = rules.is_none();
            [
                rules.unwrap_or_else(|| text("/input/0")),
                text(if beside { "/input/1" } else { "/input/0" }),
                at("/text/format"),
                at("/max_output_tokens"),
                at("/model"),
            ]
        }
        Wire::Anthropic => [
            at("/system"),
            at("/messages/0"),
            at("/output_config/format"),
            at("/max_tokens"),
            at("/model"),
        ],
        Wire::Bedrock => [
            at("/system"),
            at("/messages/0"),
            at("/outputConfig/textFormat"),
            at("/inferenceConfig/maxTokens"),
            path.split('/').nth_back(1).unwrap_or_default().into(),
        ],
        Wire::Ollama => [
            at("/messages/0"),
            at("/messages/1"),
            at("/format"),
            json!([
                at("/options/num_predict"),
                at("/options/num_ctx"),
                at("/stream")
            ]),
            at("/model"),
        ],
        _ => {
            let model = path.split(['/', ':']).nth_back(1).unwrap_or_default();
            let schema = at("/generationConfig/responseJsonSchema");
            [
                at("/systemInstruction/parts/0/text"),
                at("/contents/0/parts/0/text"),
                json!([at("/generationConfig/responseMimeType"), schema]),
                at("/generationConfig/maxOutputTokens"),
                model.into(),
            ]
        }
    }
}

#[tokio::test]
async fn the_official_sdks_send_the_same() {
    let Some(python) = server("ARGUS_TEST_SDKS") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/llm/official.py");
    for (name, wire) in [
        ("openai", Wire::OpenAi),
        ("openai-responses", Wire::OpenAiResponses),
        ("anthropic", Wire::Anthropic),
        ("gemini", Wire::Gemini),
        ("bedrock", Wire::Bedrock),
        ("ollama", Wire::Ollama),
    ] {
        let peer = Peer::says("400 Bad Request", "", r#"{"error": {"message": "no"}}"#).await;
        let prompt = prompt();
        let ours = GenAi::model("gpt-5-mini").wire(wire).endpoint(&peer.url);
        let ours = ours.key(KEY).build().unwrap();
        ours.complete(&prompt).await.unwrap_err();
        let (head, body) = peer.sent.lock().unwrap().remove(0);
        let path = |head: &str| head.split(' ').nth(1).unwrap().to_owned();
        let [rules, user, format, most, model] = parts(wire, &path(&head), &body);

        // The schema as it is on the wire: lowered, so that the SDK has nothing to object to.
        let schema = match wire {
            Wire::OpenAi => format["json_schema"]["schema"].clone(),
            Wire::Gemini => format[1].clone(),
            Wire::Ollama => format.clone(),
            Wire::Bedrock => {
                let text = &format["structure"]["jsonSchema"]["schema"];
                serde_json::from_str(text.as_str().unwrap()).unwrap()
            }
            _ => format["schema"].clone(),
        };
        let ask = json!({ "model": "gpt-5-mini", "system": prompt.system(), "user": prompt.user(), "schema": schema, "max_tokens": 8192 });
        let mut official = tokio::process::Command::new(&python)
            .arg(&script)
            .args([name, &peer.url])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = official.stdin.take().unwrap();
        stdin.write_all(ask.to_string().as_bytes()).await.unwrap();
        drop(stdin);
        assert!(official.wait().await.unwrap().success(), "{name}");
        let (their_head, their_body) = peer.sent.lock().unwrap().remove(0);
        let theirs = parts(wire, &path(&their_head), &their_body);
        assert_eq!(
            [rules, user, format, most, model],
            theirs,
            "{name}: {body} and {their_body}"
        );
        assert!(
            schema["properties"]["steps"].is_object(),
            "{name}: {schema}"
        );
        assert_eq!(path(&head), path(&their_head), "{name}");
    }
}
