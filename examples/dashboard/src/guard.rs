//! Who may ask: names under which the host answers, other pages kept out, users with roles, headers for browsers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aide::OperationInput;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problem::Failure;

/// How long a login holds.
const LOGIN_LASTS: Duration = Duration::from_secs(8 * 3600);
/// How many wrong tokens are taken a minute, from all clients together.
const MAX_WRONG: u32 = 10;
/// How many people may be logged in.
const MAX_SESSIONS: usize = 1_000;
const COOKIE: &str = "argus_session";

/// What somebody may do; each may also do what the ones before may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything.
    Viewer,
    /// Suggest and apply fixes.
    Operator,
    /// Change settings.
    Admin,
}

/// Somebody who may ask.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name that stands in the audit trail.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The SHA-256 of their token, in hexadecimal: `printf %s TOKEN | sha256sum`.
    pub token_sha256: String,
}

/// Who asks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Caller {
    /// The name that stands in the audit trail.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: Role,
}

impl Caller {
    pub(crate) fn may(&self, role: Role) -> Result<(), Failure> {
        if self.role >= role {
            return Ok(());
        }
        let word = serde_json::to_value(role).unwrap_or_default();
        let word = word.as_str().unwrap_or_default();
        let detail = format!("{} may only look: this takes the role {word}", self.name);
        Err(Failure::new(StatusCode::FORBIDDEN, "role", detail))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or_else(login)
    }
}

impl OperationInput for Caller {}

fn login() -> Failure {
    let detail = "log in first: send a token to /api/login, or as `Authorization: Bearer TOKEN`";
    Failure::new(StatusCode::UNAUTHORIZED, "login", detail)
}

/// The rules.
#[derive(Clone)]
pub struct Guard(Arc<Rules>);

struct Rules {
    hosts: Vec<String>,
    users: Vec<User>,
    secure: bool,
    sessions: Mutex<HashMap<String, (Caller, Instant)>>,
    wrong: Mutex<(Instant, u32)>,
}

impl Guard {
    /// Answers under these names (without a port). Without users, everybody who reaches it is its operator: only for the
    /// loopback. `secure` where browsers reach it by HTTPS.
    #[must_use]
    pub fn new(hosts: Vec<String>, users: Vec<User>, secure: bool) -> Self {
        Self(Arc::new(Rules {
            hosts,
            users,
            secure,
            sessions: Mutex::default(),
            wrong: Mutex::new((Instant::now(), 0)),
        }))
    }

    fn by_token(&self, token: &str) -> Option<Caller> {
        // Digests are compared: how long that takes tells nothing about a token.
        let digest = Sha256::digest(token.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut users = self.0.users.iter();
        let user = users.find(|user| user.token_sha256.eq_ignore_ascii_case(&digest))?;
        Some(Caller {
            name: user.name.clone(),
            role: user.role,
        })
    }

    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.0.users.is_empty() {
            return Some(Caller {
                name: "operator".into(),
                role: Role::Admin,
            });
        }
        if let Some(token) =
            text(headers, &header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "))
        {
            if self.exhausted() {
                return None;
            }
            let caller = self.by_token(token);
            if caller.is_none() {
                self.count_wrong();
            }
            return caller;
        }
        let session = session(headers)?;
        let sessions = self
            .0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (caller, until) = sessions.get(session)?;
        (*until > Instant::now()).then(|| caller.clone())
    }

    fn exhausted(&self) -> bool {
        let mut wrong = self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.0.elapsed() > Duration::from_secs(60) {
            *wrong = (Instant::now(), 0);
        }
        wrong.1 >= MAX_WRONG
    }

    fn count_wrong(&self) {
        let mut wrong = self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.1 += 1;
    }

    fn begin(&self, caller: Caller) -> String {
        let id = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut sessions = self
            .0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (_, until)| *until > Instant::now());
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(id.clone(), (caller, Instant::now() + LOGIN_LASTS));
        id
    }

    fn cookie(&self, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.0.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}"
        );
        HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let mut cookies = text(headers, &header::COOKIE)?.split(';');
    cookies.find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// A name without its port.
fn bare(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Lets a request in, or says why not.
pub(crate) async fn check(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    // HTTP/2 has it in the address.
    let authority = request.uri().authority().map(ToString::to_string);
    let named = text(request.headers(), &header::HOST).map(ToOwned::to_owned);
    let host = authority.or(named).unwrap_or_default();
    if !guard
        .0
        .hosts
        .iter()
        .any(|known| known.eq_ignore_ascii_case(bare(&host)))
    {
        let detail = "this host doesn't answer under that name: add it with --host";
        return Failure::new(StatusCode::MISDIRECTED_REQUEST, "host", detail).into_response();
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        // Browsers say which page asks; programs don't.
        let headers = request.headers();
        let origin = text(headers, &header::ORIGIN);
        let own = |origin: &str| {
            let address = origin
                .strip_prefix("http://")
                .or(origin.strip_prefix("https://"));
            address == Some(host.as_str())
        };
        let site = text(headers, &HeaderName::from_static("sec-fetch-site"));
        if origin.is_some_and(|origin| !own(origin))
            || site.is_some_and(|site| site != "same-origin")
        {
            let detail = "only the page of this host may ask for that";
            return Failure::new(StatusCode::FORBIDDEN, "origin", detail).into_response();
        }
    }
    let path = request.uri().path();
    let guarded = path.starts_with("/api/") || path == "/metrics";
    let open = matches!(path, "/api/login" | "/api/me");
    match guard.caller(request.headers()) {
        Some(caller) => {
            request.extensions_mut().insert(caller);
        }
        None if guarded && !open => return login().into_response(),
        None => {}
    }
    next.run(request).await
}

/// What browsers are told about every answer.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let page = !request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CACHE_CONTROL,
            if page { "no-cache" } else { "no-store" },
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

async fn log_in(State(guard): State<Guard>, Json(login): Json<Login>) -> Response {
    if guard.exhausted() {
        let detail = "too many wrong tokens: try again in a minute";
        return Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many", detail).into_response();
    }
    let Some(caller) = guard.by_token(&login.token) else {
        guard.count_wrong();
        let detail = "nobody has this token";
        return Failure::new(StatusCode::UNAUTHORIZED, "login", detail).into_response();
    };
    let session = guard.begin(caller.clone());
    let cookie = guard.cookie(&session, LOGIN_LASTS.as_secs());
    ([(header::SET_COOKIE, cookie)], Json(caller)).into_response()
}

async fn log_out(State(guard): State<Guard>, headers: HeaderMap) -> Response {
    if let Some(session) = session(&headers) {
        let mut sessions = guard
            .0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.remove(session);
    }
    (
        [(header::SET_COOKIE, guard.cookie("", 0))],
        StatusCode::NO_CONTENT,
    )
        .into_response()
}

async fn me(caller: Option<axum::Extension<Caller>>) -> Response {
    match caller {
        Some(axum::Extension(caller)) => Json(caller).into_response(),
        None => login().into_response(),
    }
}

/// Logging in and out.
pub(crate) fn routes(guard: Guard) -> Router {
    Router::new()
        .route("/api/login", post(log_in))
        .route("/api/logout", post(log_out))
        .route("/api/me", get(me))
        .with_state(guard)
}
