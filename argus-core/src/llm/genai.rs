//! Hosted and local models over their own protocols.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::lowered::Bounds;
use super::wire::{Ended, Wire};
use crate::cost::{Usage, estimated_tokens};
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};
use crate::redact::redact_to;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a provider may have itself left alone.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How many tokens an answer may have, reasoning included.
const MAX_TOKENS: u32 = 8192;
/// How many bytes an answer may have: a hundred times what a plan takes.
const MAX_BYTES: usize = 4 << 20;
/// How much of a provider's own words is repeated.
const MAX_WORDS: usize = 300;

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

    /// Where the provider is, such as `http://127.0.0.1:8000/v1/`; the protocol's own by default.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
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
    /// [`LlmError`] for a URL or a key that is none, or a machine without root certificates.
    pub fn build(self) -> Result<GenAi, LlmError> {
        let wrong = |what: &str| LlmError::new(format!("{what} is no URL of http or https"));
        let parsed = |url: &str| {
            let is_http = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
            Url::parse(url).ok().filter(is_http)
        };
        let endpoint = self.endpoint.as_deref();
        let endpoint = endpoint.unwrap_or_else(|| self.wire.endpoint());
        let mut url = parsed(endpoint).ok_or_else(|| wrong("the endpoint"))?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(self.wire.path(&self.model));
        }
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = self.wire.headers() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(key) = &self.key {
            let (name, before) = self.wire.key();
            let mut value = HeaderValue::from_str(&format!("{before}{key}"))
                .map_err(|_| LlmError::new("the key has characters that no key has"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let mut http = Client::builder()
            // Only hosts read the environment; and a key goes to nobody but the endpoint.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls()?)
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(10))
            .timeout(self.timeout);
        if let Some(proxy) = &self.proxy {
            let proxy = parsed(proxy).ok_or_else(|| wrong("the proxy"))?;
            let proxy = reqwest::Proxy::all(proxy).map_err(|_| wrong("the proxy"))?;
            http = http.proxy(proxy);
        }
        let http = http
            .build()
            .map_err(|error| LlmError::new(format!("no HTTP client can be made: {error}")))?;
        Ok(GenAi {
            http,
            url,
            options: self,
        })
    }
}

/// A hosted or local model.
///
/// # Guarantees
/// One request for one completion, bounded in time, tokens and bytes. Its tokens are estimated where the provider doesn't
/// count them, or counts fewer than the texts can have; a call that ends without an answer counts as the longest answer, unless it
/// was refused or never sent. No redirects are followed, no environment is read. Errors hold neither the key nor what was
/// sent; where a request is refused, the provider's own words stand in them, redacted.
///
/// # Example
/// ```no_run
/// # fn main() -> Result<(), argus_core::LlmError> {
/// use argus_core::{GenAi, Wire};
/// # let key = String::new();
/// let hosted = GenAi::model("gpt-5-mini").key(&key).build()?;
/// let claude = GenAi::model("claude-sonnet-4-6").wire(Wire::Anthropic).key(&key).build()?;
/// let local = GenAi::model("qwen3:8b").wire(Wire::Ollama).build()?;
/// let compatible = GenAi::model("qwen3-8b").endpoint("http://127.0.0.1:8000/v1/").build()?;
/// # Ok(())
/// # }
/// ```
pub struct GenAi {
    http: Client,
    url: Url,
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
        let answer = self.answer(prompt).await;
        answer.map_err(|error| LlmError {
            model: self.options.model.clone(),
            // It may have written until nobody listened any more.
            usage: error.usage.or(Some(Usage {
                output_tokens: u64::from(self.options.max_tokens),
                ..prompt.estimated()
            })),
            ..error
        })
    }
}

impl GenAi {
    async fn answer(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let GenAiOptions {
            model,
            wire,
            max_tokens,
            bounds,
            ..
        } = &self.options;
        let request = wire.request(model, prompt, *bounds, *max_tokens);
        let request = self.http.post(self.url.clone()).json(&request);
        let response = request.send().await.map_err(|error| broken(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            let body = read(response).await.unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            // llama.cpp says so when a model wrote something that doesn't follow the schema: an answer, though a bad one.
            if body.contains("does not match the expected") {
                return Ok(Completion::new("", model).using(estimated(prompt, "")));
            }
            return Err(LlmError {
                // What the server refuses isn't paid for; where it broke, nobody knows.
                usage: Some(match status.is_server_error() {
                    true => prompt.estimated(),
                    false => Usage::default(),
                }),
                ..refusal(status, &headers, &body)
            });
        }
        let body = read(response).await?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| no_answer())?;
        let answer = wire.answer(&body).ok_or_else(no_answer)?;
        if answer.ended == Ended::Refused {
            return Err(LlmError::new("it refuses to answer"));
        }
        let usage = believed(answer.usage, estimated(prompt, &answer.text));
        let name = answer.model.as_ref().unwrap_or(model);
        let completion = Completion::new(answer.text, name)
            .using(usage)
            .asked_of(model);
        Ok(match answer.ended {
            Ended::CutOff => completion.cut_off(),
            _ => completion,
        })
    }
}

/// For a provider that doesn't count.
fn estimated(prompt: &Prompt, answer: &str) -> Usage {
    Usage {
        output_tokens: estimated_tokens(answer.len()),
        ..prompt.estimated()
    }
}

/// What a provider counts, unless the texts can't have so few tokens: no model has twice the letters in one.
fn believed(counted: Usage, estimated: Usage) -> Usage {
    let larger = |counted: u64, estimated: u64| match counted < estimated / 2 {
        true => estimated,
        false => counted,
    };
    Usage {
        input_tokens: larger(counted.input_tokens, estimated.input_tokens),
        output_tokens: larger(counted.output_tokens, estimated.output_tokens),
    }
}

/// An answer to its end, unless that is too far away.
async fn read(mut response: Response) -> Result<Vec<u8>, LlmError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(again("its answer is longer than 4 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Something that may be better the next time.
fn again(problem: &str) -> LlmError {
    LlmError {
        retryable: true,
        ..LlmError::new(problem)
    }
}

fn no_answer() -> LlmError {
    again("what it sent is not of its protocol")
}

/// Never the error's own text: it may hold what was sent.
fn broken(error: &reqwest::Error) -> LlmError {
    let problem = match error {
        error if error.is_connect() => {
            return LlmError {
                retryable: true,
                ..LlmError::unasked("it can't be reached")
            };
        }
        error if error.is_timeout() => "it took too long",
        _ => "the connection broke",
    };
    again(problem)
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &str) -> LlmError {
    let code = status.as_u16();
    let mut problem = format!("the provider says HTTP {code}");
    match code {
        401 | 403 => problem.push_str(": the key is missing, wrong, or not allowed to do this"),
        400..500 if code != 429 => {
            if let Some(words) = words(body) {
                problem = format!("{problem}: {words}");
            }
        }
        _ => {}
    }
    LlmError {
        retryable: matches!(code, 408 | 409 | 425 | 429 | 500..),
        retry_after: retry_after(headers),
        ..LlmError::new(problem)
    }
}

/// What a provider says about an error: its `error.message`, or `message` as Bedrock has it.
fn words(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body.get("error").unwrap_or(&body);
    let words = error.get("message").unwrap_or(error).as_str()?;
    Some(redact_to(words, MAX_WORDS))
}

/// In seconds, or with `-ms` in thousandths, a day at most; the other form is a date, which nobody sends here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms")
        .map(|thousandths| thousandths / 1000.0)
        .or_else(|| number("retry-after"))?;
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(wait.min(DAY))
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
