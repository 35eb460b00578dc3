//! Hosted and local models over their own protocols, through the `genai` crate.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest, ChatResponseFormat, JsonSpec, StopReason,
};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget, webc};
use reqwest::header::HeaderMap;
use rustls::{ClientConfig, RootCertStore};

use super::wire::{Bounds, wire};
use crate::cost::Usage;
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};
use crate::redact::redact_to;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How many tokens an answer may have, reasoning included.
const MAX_TOKENS: u32 = 8192;
/// How much of a provider's own words is repeated.
const MAX_WORDS: usize = 300;

/// The protocol that a provider speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// OpenAI's chat completions: OpenAI itself and whatever is compatible, such as Azure, `OpenRouter`, Ollama, vLLM, llama.cpp,
    /// `LiteLLM`; see [`GenAiOptions::endpoint`].
    #[default]
    OpenAi,
    /// OpenAI's responses.
    OpenAiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Amazon's Bedrock, with an API key of its own.
    Bedrock,
}

/// A word that names no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no wire: take `openai` (and whatever is compatible), `openai-responses`, `anthropic`, `gemini` or `bedrock`"
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
            other => Err(NoWire(other.to_owned())),
        }
    }
}

/// How a [`GenAi`] reaches its model.
#[derive(Clone)]
pub struct GenAiOptions {
    model: String,
    wire: Wire,
    endpoint: Option<String>,
    key: Option<String>,
    proxy: Option<String>,
    timeout: Duration,
    max_tokens: u32,
    bounds: Bounds,
}

impl GenAiOptions {
    /// The protocol; OpenAI's chat completions by default.
    #[must_use]
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Where the provider is, such as `http://127.0.0.1:11434/v1/`; the protocol's own by default.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        let mut url = url.into();
        if !url.ends_with('/') {
            url.push('/');
        }
        self.endpoint = Some(url);
        self
    }

    /// The key; none by default. The environment is never read.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The proxy to go through, such as `http://proxy.internal:3128`; none by default.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// How long an answer may take; two minutes by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many tokens an answer may have, with what a model thinks before; 8,192 by default.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// The server holds a model to the lengths of the schema, as llama.cpp and vLLM do; hosted providers refuse them.
    #[must_use]
    pub fn enforces_lengths(mut self) -> Self {
        self.bounds = Bounds::Enforced;
        self
    }

    /// The provider.
    ///
    /// # Errors
    /// [`LlmError`] for a URL that is none, or a machine without root certificates.
    pub fn build(self) -> Result<GenAi, LlmError> {
        let wrong = |what: &str| LlmError::new(format!("{what} is no URL of http or https"));
        let is_url = |url: &String| {
            reqwest::Url::parse(url)
                .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
        };
        if !self.endpoint.iter().all(is_url) {
            return Err(wrong("the endpoint"));
        }
        if !self.proxy.iter().all(is_url) {
            return Err(wrong("the proxy"));
        }
        let mut http = reqwest::Client::builder()
            // Only hosts read the environment; and a key goes to nobody but the endpoint.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(Duration::from_secs(10))
            .timeout(self.timeout);
        if let Some(proxy) = &self.proxy {
            let proxy = reqwest::Proxy::all(proxy).map_err(|_| wrong("the proxy"))?;
            http = http.proxy(proxy);
        }
        let http = http
            .build()
            .map_err(|error| LlmError::new(format!("no HTTP client can be made: {error}")))?;
        let (endpoint, key) = (self.endpoint.clone(), self.key.clone());
        let client = Client::builder()
            .with_reqwest(http)
            .with_service_target_resolver_fn(move |target: ServiceTarget| {
                let endpoint = endpoint.clone().map(Endpoint::from_owned);
                Ok(ServiceTarget {
                    endpoint: endpoint.unwrap_or(target.endpoint),
                    auth: AuthData::from_single(key.clone().unwrap_or_default()),
                    model: target.model,
                })
            })
            .build()
            .map_err(|error| LlmError::new(format!("no client can be made: {error}")))?;
        Ok(GenAi {
            client,
            options: self,
        })
    }
}

/// A hosted or local model.
///
/// # Guarantees
/// One request for one completion, bounded in time and tokens; its tokens are estimated where the provider doesn't count them. No
/// redirects are followed, no environment is read. Errors hold neither the key nor what was sent; where a request is refused, the
/// provider's own words stand in them, redacted.
///
/// # Example
/// ```no_run
/// # fn main() -> Result<(), argus_core::LlmError> {
/// use argus_core::{GenAi, Wire};
/// # let key = String::new();
/// let hosted = GenAi::model("gpt-5-mini").key(&key).build()?;
/// let claude = GenAi::model("claude-sonnet-4-6").wire(Wire::Anthropic).key(&key).build()?;
/// let local = GenAi::model("qwen3:8b").endpoint("http://127.0.0.1:11434/v1/").build()?;
/// # Ok(())
/// # }
/// ```
pub struct GenAi {
    client: Client,
    options: GenAiOptions,
}

impl fmt::Debug for GenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GenAiOptions { model, wire, .. } = &self.options;
        write!(f, "GenAi({model}, {wire:?})")
    }
}

impl GenAi {
    /// A model by its provider's name for it.
    pub fn model(name: impl Into<String>) -> GenAiOptions {
        GenAiOptions {
            model: name.into(),
            wire: Wire::default(),
            endpoint: None,
            key: None,
            proxy: None,
            timeout: TIMEOUT,
            max_tokens: MAX_TOKENS,
            bounds: Bounds::InWords,
        }
    }
}

#[async_trait]
impl LlmProvider for GenAi {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let mut messages = vec![ChatMessage::user(prompt.user())];
        for turn in prompt.turns() {
            messages.push(ChatMessage::assistant(&*turn.answer));
            messages.push(ChatMessage::user(&*turn.problem));
        }
        let request = ChatRequest::new(messages).with_system(prompt.system());
        let schema = JsonSpec::new("plan", wire(prompt.schema(), self.options.bounds));
        let options = ChatOptions::default()
            .with_max_tokens(self.options.max_tokens)
            .with_response_format(ChatResponseFormat::JsonSpec(schema));
        let adapter = match self.options.wire {
            Wire::OpenAi => AdapterKind::OpenAI,
            Wire::OpenAiResponses => AdapterKind::OpenAIResp,
            Wire::Anthropic => AdapterKind::Anthropic,
            Wire::Gemini => AdapterKind::Gemini,
            Wire::Bedrock => AdapterKind::BedrockApi,
        };
        let model = ModelIden::new(adapter, self.options.model.as_str());
        let response = match self.client.exec_chat(model, request, Some(&options)).await {
            Err(error) if is_invalid_output(&error) => {
                let completion = Completion::new("", self.options.model.as_str());
                return Ok(completion.using(estimated(prompt, "")));
            }
            response => response.map_err(|error| refusal(&error))?,
        };
        if let Some(StopReason::ContentFilter(_)) = response.stop_reason {
            return Err(LlmError::new("it refuses to answer"));
        }
        let count = |tokens: Option<i32>| u64::try_from(tokens.unwrap_or(0)).unwrap_or(0);
        let input_tokens = count(response.usage.prompt_tokens);
        // Some count what a model thinks in the total only.
        let rest = count(response.usage.total_tokens).saturating_sub(input_tokens);
        let said = Usage {
            input_tokens,
            output_tokens: count(response.usage.completion_tokens).max(rest),
        };
        let name = response.provider_model_iden.model_name.to_string();
        let text = response.content.texts().concat();
        let usage = match said.total() {
            0 => estimated(prompt, &text),
            _ => said,
        };
        let completion = Completion::new(text, name).using(usage);
        Ok(match response.stop_reason {
            Some(StopReason::MaxTokens(_)) => completion.cut_off(),
            _ => completion,
        })
    }
}

/// For a provider that doesn't count: a token has three letters or more, so that there are rather fewer.
fn estimated(prompt: &Prompt, answer: &str) -> Usage {
    let tokens = |letters: usize| u64::try_from(letters / 3).unwrap_or(u64::MAX);
    Usage {
        input_tokens: tokens(prompt.length()),
        output_tokens: tokens(answer.len()),
    }
}

/// llama.cpp says so when a model wrote something that doesn't follow the schema: an answer, though a bad one.
fn is_invalid_output(error: &genai::Error) -> bool {
    body(error).is_some_and(|body| body.contains("does not match the expected"))
}

fn body(error: &genai::Error) -> Option<&str> {
    use genai::Error::{HttpError, WebAdapterCall, WebModelCall};
    match error {
        HttpError { body, .. } => Some(body),
        WebModelCall { webc_error, .. } | WebAdapterCall { webc_error, .. } => match webc_error {
            webc::Error::ResponseFailedStatus { body, .. } => Some(body),
            _ => None,
        },
        _ => None,
    }
}

/// Never the error's own text: it holds what was sent.
fn refusal(error: &genai::Error) -> LlmError {
    use genai::Error::{WebAdapterCall, WebModelCall};
    if let Some(status) = error.status() {
        let code = status.as_u16();
        let mut problem = format!("the provider says HTTP {code}");
        match code {
            401 | 403 => problem.push_str(": the key is missing, wrong, or not allowed to do this"),
            400..500 if code != 429 => {
                if let Some(words) = body(error).and_then(words) {
                    problem = format!("{problem}: {words}");
                }
            }
            _ => {}
        }
        return LlmError {
            retryable: matches!(code, 408 | 409 | 425 | 429 | 500..),
            retry_after: error.headers().and_then(retry_after),
            ..LlmError::new(problem)
        };
    }
    let (problem, retryable) = match error {
        WebModelCall { webc_error, .. } | WebAdapterCall { webc_error, .. } => match webc_error {
            webc::Error::Reqwest(error) if error.is_timeout() => ("it took too long", true),
            webc::Error::Reqwest(error) if error.is_connect() => ("it can't be reached", true),
            webc::Error::Reqwest(_) => ("the connection broke", true),
            _ => ("what it sent is not of its protocol", true),
        },
        _ => ("what it sent is not of its protocol", true),
    };
    LlmError {
        retryable,
        ..LlmError::new(problem)
    }
}

/// What a provider says about an error: its `error.message`.
fn words(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let error = body.get("error")?;
    let words = error.get("message").unwrap_or(error).as_str()?;
    Some(redact_to(words, MAX_WORDS))
}

/// In seconds, or with `-ms` in thousandths; the other form is a date, which nobody sends here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms")
        .map(|thousandths| thousandths / 1000.0)
        .or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn tls() -> Result<ClientConfig, LlmError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| LlmError::new(format!("no TLS can be made: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
