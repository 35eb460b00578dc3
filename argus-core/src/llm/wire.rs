//! The protocols of the providers: what a request has in each, and where an answer keeps what.

use std::str::FromStr;

use serde_json::{Value, json};

use super::lowered::{Bounds, lowered};
use crate::cost::{Usage, estimated_tokens};
use crate::prompt::Prompt;

/// The version of Anthropic's protocol, which it wants to hear.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// What Ollama's memory of a conversation is a multiple of, in tokens: for each other size it loads the model anew.
const OLLAMA_CONTEXT: u64 = 8192;

/// The protocol that a provider speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// OpenAI's chat completions: OpenAI itself and whatever is compatible, such as Azure, `OpenRouter`, vLLM, llama.cpp,
    /// `LiteLLM`; see [`GenAiOptions::endpoint`](super::GenAiOptions::endpoint).
    #[default]
    OpenAi,
    /// OpenAI's responses, which are not kept there.
    OpenAiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Amazon's Bedrock (Converse), with an API key of its own; in `us-east-1` unless an endpoint says otherwise.
    Bedrock,
    /// Ollama's own, on this machine by default. Through its OpenAI-compatible one it cuts long prompts off without a word.
    Ollama,
}

/// A word that names no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no wire: take `openai` (and whatever is compatible), `openai-responses`, `anthropic`, `gemini`, `bedrock` or `ollama`"
)]
pub struct NoWire(String);

impl FromStr for Wire {
    type Err = NoWire;

    fn from_str(word: &str) -> Result<Self, NoWire> {
        match word {
            "openai" => Ok(Self::OpenAi),
            "openai-responses" => Ok(Self::OpenAiResponses),
            "anthropic" => Ok(Self::Anthropic),
            "gemini" => Ok(Self::Gemini),
            "bedrock" => Ok(Self::Bedrock),
            "ollama" => Ok(Self::Ollama),
            other => Err(NoWire(other.to_owned())),
        }
    }
}

/// What a provider answered.
pub(super) struct Answer {
    /// The provider's name for the model, where it says one.
    pub model: Option<String>,
    pub text: String,
    /// Nothing where it doesn't count.
    pub usage: Usage,
    pub ended: Ended,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    CutOff,
    Refused,
}

impl Wire {
    /// Where the provider is, unless the host says otherwise.
    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Self::OpenAi | Self::OpenAiResponses => "https://api.openai.com/v1/",
            Self::Anthropic => "https://api.anthropic.com/v1/",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta/",
            Self::Bedrock => "https://bedrock-runtime.us-east-1.amazonaws.com/",
            Self::Ollama => "http://127.0.0.1:11434/",
        }
    }

    /// The path below the endpoint, by its parts.
    pub(super) fn path(self, model: &str) -> Vec<String> {
        match self {
            Self::OpenAi => vec!["chat".into(), "completions".into()],
            Self::OpenAiResponses => vec!["responses".into()],
            Self::Anthropic => vec!["messages".into()],
            Self::Gemini => vec!["models".into(), format!("{model}:generateContent")],
            Self::Bedrock => vec!["model".into(), model.into(), "converse".into()],
            Self::Ollama => vec!["api".into(), "chat".into()],
        }
    }

    /// The header that the key goes into, and what stands before it.
    pub(super) fn key(self) -> (&'static str, &'static str) {
        match self {
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
            _ => ("authorization", "Bearer "),
        }
    }

    /// Headers beyond those of JSON and the key.
    pub(super) fn headers(self) -> Option<(&'static str, &'static str)> {
        (self == Self::Anthropic).then_some(("anthropic-version", ANTHROPIC_VERSION))
    }

    /// The body of a request.
    pub(super) fn request(
        self,
        model: &str,
        prompt: &Prompt,
        bounds: Bounds,
        max_tokens: u32,
    ) -> Value {
        let schema = lowered(prompt.schema(), bounds);
        let system = prompt.system();
        let turns = || {
            let before = prompt.turns().iter();
            let before = before.flat_map(|turn| [(false, &*turn.answer), (true, &*turn.problem)]);
            std::iter::once((true, prompt.user())).chain(before)
        };
        let role = |asks: bool| if asks { "user" } else { "assistant" };
        let messages = || {
            let message = |(asks, text)| json!({ "role": role(asks), "content": text });
            turns().map(message).collect::<Vec<Value>>()
        };
        let with_rules = || {
            let rules = json!({ "role": "system", "content": system });
            [vec![rules], messages()].concat()
        };
        match self {
            Self::OpenAi => json!({
                "model": model,
                "messages": with_rules(),
                "response_format": {
                    "type": "json_schema",
                    "json_schema": { "name": "plan", "strict": true, "schema": schema },
                },
                "max_completion_tokens": max_tokens,
            }),
            Self::OpenAiResponses => json!({
                "model": model,
                "instructions": system,
                "input": messages(),
                "text": {
                    "format": { "type": "json_schema", "name": "plan", "strict": true, "schema": schema },
                },
                "max_output_tokens": max_tokens,
                "store": false,
            }),
            Self::Anthropic => json!({
                "model": model,
                "system": system,
                "messages": messages(),
                "output_config": { "format": { "type": "json_schema", "schema": schema } },
                "max_tokens": max_tokens,
            }),
            Self::Gemini => {
                let role = |asks: bool| if asks { "user" } else { "model" };
                let turn =
                    |(asks, text)| json!({ "role": role(asks), "parts": [{ "text": text }] });
                json!({
                    "systemInstruction": { "parts": [{ "text": system }] },
                    "contents": turns().map(turn).collect::<Vec<Value>>(),
                    "generationConfig": {
                        "responseMimeType": "application/json",
                        "responseJsonSchema": schema,
                        "maxOutputTokens": max_tokens,
                    },
                })
            }
            Self::Bedrock => {
                let turn =
                    |(asks, text)| json!({ "role": role(asks), "content": [{ "text": text }] });
                let schema = json!({ "name": "plan", "schema": schema.to_string() });
                json!({
                    "system": [{ "text": system }],
                    "messages": turns().map(turn).collect::<Vec<Value>>(),
                    "inferenceConfig": { "maxTokens": max_tokens },
                    "outputConfig": {
                        "textFormat": { "type": "json_schema", "structure": { "jsonSchema": schema } },
                    },
                })
            }
            Self::Ollama => {
                let context = estimated_tokens(prompt.length());
                let context = context.saturating_add(u64::from(max_tokens));
                json!({
                    "model": model,
                    "messages": with_rules(),
                    "format": schema,
                    "stream": false,
                    "options": {
                        "num_predict": max_tokens,
                        "num_ctx": context.div_ceil(OLLAMA_CONTEXT).saturating_mul(OLLAMA_CONTEXT),
                    },
                })
            }
        }
    }

    /// What an answer says, if it is one of this protocol.
    pub(super) fn answer(self, body: &Value) -> Option<Answer> {
        let places = self.places();
        let word = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let count = |pointers: &[&str]| {
            let counts = pointers.iter();
            let counts = counts.filter_map(|pointer| body.pointer(pointer)?.as_u64());
            counts.fold(0, u64::saturating_add)
        };
        let text = body.pointer(places.text);
        let ended = word(places.ended).unwrap_or_default();
        let refused = places.refused.contains(&ended)
            || word(places.refusal).is_some()
            || text.is_some_and(refuses);
        if !refused && body.pointer(places.message).is_none() {
            return None;
        }
        let input_tokens = count(places.input);
        // Some count what a model thinks in the total only.
        let rest = count(&[places.total]).saturating_sub(input_tokens);
        Some(Answer {
            model: word(places.model).map(str::to_owned),
            text: text.map(texts).unwrap_or_default(),
            usage: Usage {
                input_tokens,
                output_tokens: count(places.output).max(rest),
            },
            ended: match refused {
                true => Ended::Refused,
                false if places.cut_off.contains(&ended) => Ended::CutOff,
                false => Ended::Whole,
            },
        })
    }

    fn places(self) -> Places {
        match self {
            Self::OpenAi => Places {
                message: "/choices/0/message",
                text: "/choices/0/message/content",
                ended: "/choices/0/finish_reason",
                cut_off: &["length"],
                refused: &["content_filter"],
                refusal: "/choices/0/message/refusal",
                input: &["/usage/prompt_tokens"],
                output: &["/usage/completion_tokens"],
                total: "/usage/total_tokens",
                model: "/model",
            },
            Self::OpenAiResponses => Places {
                message: "/output",
                text: "/output",
                ended: "/incomplete_details/reason",
                cut_off: &["max_output_tokens"],
                refused: &["content_filter"],
                refusal: NOWHERE,
                input: &["/usage/input_tokens"],
                output: &["/usage/output_tokens"],
                total: "/usage/total_tokens",
                model: "/model",
            },
            Self::Anthropic => Places {
                message: "/content",
                text: "/content",
                ended: "/stop_reason",
                cut_off: &["max_tokens", "model_context_window_exceeded"],
                refused: &["refusal"],
                refusal: NOWHERE,
                input: &[
                    "/usage/input_tokens",
                    "/usage/cache_creation_input_tokens",
                    "/usage/cache_read_input_tokens",
                ],
                output: &["/usage/output_tokens"],
                total: NOWHERE,
                model: "/model",
            },
            Self::Gemini => Places {
                message: "/candidates/0",
                text: "/candidates/0/content/parts",
                ended: "/candidates/0/finishReason",
                cut_off: &["MAX_TOKENS"],
                refused: &[
                    "SAFETY",
                    "RECITATION",
                    "BLOCKLIST",
                    "PROHIBITED_CONTENT",
                    "SPII",
                ],
                refusal: "/promptFeedback/blockReason",
                input: &["/usageMetadata/promptTokenCount"],
                output: &[
                    "/usageMetadata/candidatesTokenCount",
                    "/usageMetadata/thoughtsTokenCount",
                ],
                total: "/usageMetadata/totalTokenCount",
                model: "/modelVersion",
            },
            Self::Bedrock => Places {
                message: "/output/message",
                text: "/output/message/content",
                ended: "/stopReason",
                cut_off: &["max_tokens", "model_context_window_exceeded"],
                refused: &["guardrail_intervened", "content_filtered"],
                refusal: NOWHERE,
                input: &[
                    "/usage/inputTokens",
                    "/usage/cacheReadInputTokens",
                    "/usage/cacheWriteInputTokens",
                ],
                output: &["/usage/outputTokens"],
                total: NOWHERE,
                model: NOWHERE,
            },
            Self::Ollama => Places {
                message: "/message",
                text: "/message/content",
                ended: "/done_reason",
                cut_off: &["length"],
                refused: &[],
                refusal: NOWHERE,
                input: &["/prompt_eval_count"],
                output: &["/eval_count"],
                total: NOWHERE,
                model: "/model",
            },
        }
    }
}

/// Where an answer keeps what, as JSON pointers.
struct Places {
    /// Without it, it is no answer.
    message: &'static str,
    text: &'static str,
    /// The reason why it ended; which say that it was cut off, and which that the model or its provider refuses.
    ended: &'static str,
    cut_off: &'static [&'static str],
    refused: &'static [&'static str],
    /// What is there only if it refuses.
    refusal: &'static str,
    /// Counts that are added up, and one of both, which may be more.
    input: &'static [&'static str],
    output: &'static [&'static str],
    total: &'static str,
    model: &'static str,
}

/// No answer has it: it is no pointer.
const NOWHERE: &str = "nowhere";

/// A text, or the parts of one, without what a model only thought.
fn texts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(texts).collect(),
        part if part["thought"] == true => String::new(),
        part => match part["type"].as_str() {
            None | Some("text" | "output_text") => part["text"].as_str().unwrap_or_default().into(),
            Some("message") => texts(&part["content"]),
            Some(_) => String::new(),
        },
    }
}

/// Whether a part of it is a refusal.
fn refuses(content: &Value) -> bool {
    match content {
        Value::Array(parts) => parts.iter().any(refuses),
        part => {
            part["type"] == "refusal" || part["content"].is_array() && refuses(&part["content"])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn answer(wire: Wire, body: Value) -> Answer {
        wire.answer(&body).unwrap_or_else(|| panic!("{body}"))
    }

    /// A protocol, an answer of it, where that says why it ended, and the reasons to end early.
    type Case = (Wire, Value, &'static str, Vec<(&'static str, Ended)>);

    /// A whole answer of each protocol, with what the model only thought.
    fn each() -> Vec<Case> {
        vec![
            (
                Wire::OpenAi,
                json!({
                    "model": "m-1",
                    "choices": [{ "message": { "role": "assistant", "content": "{}", "refusal": null }, "finish_reason": "stop" }],
                    "usage": { "prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 1000 },
                }),
                "/choices/0/finish_reason",
                vec![
                    ("length", Ended::CutOff),
                    ("content_filter", Ended::Refused),
                ],
            ),
            (
                Wire::OpenAiResponses,
                json!({
                    "model": "m-1",
                    "status": "completed",
                    "incomplete_details": { "reason": null },
                    "output": [
                        { "type": "reasoning", "summary": [], "content": [{ "type": "reasoning_text", "text": "hm" }] },
                        { "type": "message", "content": [{ "type": "output_text", "text": "{}", "annotations": [] }] },
                    ],
                    "usage": { "input_tokens": 900, "output_tokens": 100, "total_tokens": 1000 },
                }),
                "/incomplete_details/reason",
                vec![
                    ("max_output_tokens", Ended::CutOff),
                    ("content_filter", Ended::Refused),
                ],
            ),
            (
                Wire::Anthropic,
                json!({
                    "model": "m-1",
                    "content": [
                        { "type": "thinking", "thinking": "hm", "signature": "s" },
                        { "type": "text", "text": "{" },
                        { "type": "text", "text": "}" },
                    ],
                    "stop_reason": "end_turn",
                    "usage": { "input_tokens": 400, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 300, "output_tokens": 100 },
                }),
                "/stop_reason",
                vec![("max_tokens", Ended::CutOff), ("refusal", Ended::Refused)],
            ),
            (
                Wire::Gemini,
                json!({
                    "modelVersion": "m-1",
                    "candidates": [{
                        "content": { "role": "model", "parts": [{ "text": "hm", "thought": true }, { "text": "{}" }] },
                        "finishReason": "STOP",
                    }],
                    "usageMetadata": { "promptTokenCount": 900, "candidatesTokenCount": 40, "thoughtsTokenCount": 60, "totalTokenCount": 1000 },
                }),
                "/candidates/0/finishReason",
                vec![("MAX_TOKENS", Ended::CutOff), ("SAFETY", Ended::Refused)],
            ),
            (
                Wire::Bedrock,
                json!({
                    "output": { "message": { "role": "assistant", "content": [
                        { "reasoningContent": { "reasoningText": { "text": "hm" } } },
                        { "text": "{}" },
                    ] } },
                    "stopReason": "end_turn",
                    "usage": { "inputTokens": 900, "outputTokens": 100, "totalTokens": 1000 },
                }),
                "/stopReason",
                vec![
                    ("max_tokens", Ended::CutOff),
                    ("guardrail_intervened", Ended::Refused),
                ],
            ),
            (
                Wire::Ollama,
                json!({
                    "model": "m-1",
                    "message": { "role": "assistant", "content": "{}", "thinking": "hm" },
                    "done": true,
                    "done_reason": "stop",
                    "prompt_eval_count": 900,
                    "eval_count": 100,
                }),
                "/done_reason",
                vec![("length", Ended::CutOff)],
            ),
        ]
    }

    #[test]
    fn each_protocols_answer_is_read_and_how_it_ended() {
        for (wire, body, place, ends) in each() {
            let whole = answer(wire, body.clone());
            assert_eq!(whole.text, "{}", "{wire:?}");
            assert_eq!(whole.ended, Ended::Whole, "{wire:?}");
            assert_eq!(whole.usage.input_tokens, 900, "{wire:?}");
            assert_eq!(whole.usage.output_tokens, 100, "{wire:?}");
            let named = (wire != Wire::Bedrock).then_some("m-1");
            assert_eq!(whole.model.as_deref(), named, "{wire:?}");
            for (reason, ended) in ends {
                let mut early = body.clone();
                *early.pointer_mut(place).unwrap() = reason.into();
                assert_eq!(answer(wire, early).ended, ended, "{wire:?}: {reason}");
            }
        }
    }

    #[test]
    fn a_refusal_is_known_wherever_it_stands() {
        for (wire, body) in [
            (
                Wire::OpenAi,
                json!({ "choices": [{ "message": { "content": null, "refusal": "no" }, "finish_reason": "stop" }] }),
            ),
            (
                Wire::OpenAiResponses,
                json!({ "output": [{ "type": "message", "content": [{ "type": "refusal", "refusal": "no" }] }] }),
            ),
            (
                Wire::Gemini,
                json!({ "promptFeedback": { "blockReason": "SAFETY" } }),
            ),
        ] {
            assert_eq!(answer(wire, body).ended, Ended::Refused, "{wire:?}");
        }
    }

    #[test]
    fn what_is_of_no_protocol_is_no_answer_and_what_is_empty_is_one() {
        for (wire, body, place, _) in each() {
            for nothing in [json!(null), json!([]), json!({}), json!("text"), json!(7)] {
                assert!(wire.answer(&nothing).is_none(), "{wire:?}: {nothing}");
            }
            // Any one of its values may be missing or of another kind: never a panic, and never another text.
            for other in [json!(null), json!(-1), json!([[]]), json!({ "type": 1 })] {
                for pointer in pointers(&body, String::new()) {
                    let mut broken = body.clone();
                    *broken.pointer_mut(&pointer).unwrap() = other.clone();
                    let text = wire.answer(&broken).map(|answer| answer.text);
                    let text = text.unwrap_or_default();
                    assert!(
                        ["", "{", "}", "{}", "hm{}"].contains(&text.as_str()),
                        "{wire:?} {pointer}: {text}"
                    );
                }
            }
            assert!(body.pointer(place).is_some());
        }
    }

    fn pointers(value: &Value, at: String) -> Vec<String> {
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| (key.clone(), value))
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(n, item)| (n.to_string(), item))
                .collect(),
            _ => Vec::new(),
        };
        let below = inner
            .into_iter()
            .flat_map(|(key, value)| pointers(value, format!("{at}/{key}")));
        below.chain([at.clone()]).collect()
    }
}
