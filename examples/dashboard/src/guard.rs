//! Who may ask: names under which the host answers, other pages kept out, users with roles, headers for browsers.

use std::collections::HashMap;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aide::OperationInput;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::problem::Failure;

/// How long a login holds.
const LOGIN_LASTS: Duration = Duration::from_secs(8 * 3600);
/// How many wrong tokens of one address are answered as such within [`WINDOW`].
const MAX_WRONG: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// How many addresses are counted at a time.
const MAX_SOURCES: usize = 4_096;
/// How often one user may be logged in; once more ends their oldest login.
const MAX_SESSIONS: usize = 20;
/// The headers by which proxies say for whom they ask.
const FORWARDED: [HeaderName; 4] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];
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

/// When that ends which a request began: with the login that it came by, and after eight hours.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    until: Instant,
    /// Closed when the session ends; none for a request that came without one.
    session: Option<watch::Receiver<()>>,
}

impl Lease {
    fn without_session() -> Self {
        Self {
            until: Instant::now() + LOGIN_LASTS,
            session: None,
        }
    }

    /// Waits for the end.
    pub(crate) async fn ends(self) {
        let session = async {
            match self.session {
                Some(mut session) => while session.changed().await.is_ok() {},
                None => pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(self.until) => {}
            () = session => {}
        }
    }
}

/// The way from browsers to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Plain HTTP: only for the loopback.
    Http,
    /// HTTPS that ends here.
    Https,
    /// HTTPS that ends at a proxy in front, which adds the address of who asks to `X-Forwarded-For`.
    Proxy,
}

/// The rules.
#[derive(Clone)]
pub struct Guard(Arc<Rules>);

struct Rules {
    hosts: Vec<String>,
    users: Vec<User>,
    transport: Transport,
    sessions: Mutex<HashMap<String, Session>>,
    wrong: Mutex<Wrong>,
}

struct Session {
    caller: Caller,
    until: Instant,
    /// Whoever holds a [`Lease`] hears when this is dropped.
    end: watch::Sender<()>,
}

/// The address that a request comes from, as far as it can be trusted.
#[derive(Debug, Clone, Copy)]
struct Source(IpAddr);

/// Wrong tokens by the address that they came from: since when, and how many.
#[derive(Default)]
struct Wrong(HashMap<IpAddr, (Instant, u32)>);

impl Wrong {
    /// Counts one more: how many it is within [`WINDOW`].
    fn count(&mut self, source: IpAddr) -> u32 {
        if self.0.len() >= MAX_SOURCES && !self.0.contains_key(&source) {
            self.0.retain(|_, (since, _)| since.elapsed() < WINDOW);
            let oldest = self.0.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(oldest) = oldest.map(|(source, _)| *source)
                && self.0.len() >= MAX_SOURCES
            {
                self.0.remove(&oldest);
            }
        }
        let (since, count) = self.0.entry(source).or_insert((Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        *count
    }
}

impl Guard {
    /// Answers under these names (without a port). Without users, everybody who reaches it is its admin: only for the loopback.
    #[must_use]
    pub fn new(hosts: Vec<String>, users: Vec<User>, transport: Transport) -> Self {
        Self(Arc::new(Rules {
            hosts,
            users,
            transport,
            sessions: Mutex::default(),
            wrong: Mutex::default(),
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

    fn caller(&self, headers: &HeaderMap, source: Source) -> Result<(Caller, Lease), Failure> {
        if self.0.users.is_empty() {
            if FORWARDED.iter().any(|name| headers.contains_key(name)) {
                let detail = "a proxy passed this on, and without users everybody who reaches it would be the admin of this host: list `users` in the file of --config";
                return Err(Failure::new(StatusCode::FORBIDDEN, "no_users", detail));
            }
            let caller = Caller {
                name: "operator".into(),
                role: Role::Admin,
            };
            return Ok((caller, Lease::without_session()));
        }
        if let Some(token) =
            text(headers, &header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "))
        {
            let caller = self.by_token(token);
            let caller = caller.ok_or_else(|| self.wrong_token(source, login()))?;
            return Ok((caller, Lease::without_session()));
        }
        let known = |id: &str| {
            let sessions = self.sessions();
            let session = sessions.get(id)?;
            let lease = Lease {
                until: session.until,
                session: Some(session.end.subscribe()),
            };
            (session.until > Instant::now()).then(|| (session.caller.clone(), lease))
        };
        session(headers).and_then(known).ok_or_else(login)
    }

    /// Counts a wrong token: `failure`, or that there were too many. A right one passes whatever was counted, so that nobody can keep
    /// others out.
    fn wrong_token(&self, Source(source): Source, failure: Failure) -> Failure {
        let mut wrong = self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let count = wrong.count(source);
        drop(wrong);
        if count == MAX_WRONG {
            tracing::warn!(%source, "somebody sends wrong tokens");
        }
        if count <= MAX_WRONG {
            return failure;
        }
        let detail = "too many wrong tokens came from this address: try again in a minute";
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many", detail)
    }

    /// The address of whoever speaks with this host; behind a proxy the one that the proxy added, which is the last: what stands before it
    /// is the client's own word. Of IPv6 the network, since one client has all of its addresses.
    fn source(&self, request: &Request) -> Source {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.ip());
        let added = || {
            let all = request.headers().get_all("x-forwarded-for");
            let last = all.iter().next_back()?.to_str().ok()?;
            last.rsplit(',').next()?.trim().parse().ok()
        };
        let added = (self.0.transport == Transport::Proxy).then(added);
        let address: IpAddr = added.flatten().unwrap_or(peer);
        Source(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(network).into()
            }
            address @ IpAddr::V4(_) => address,
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, caller: Caller) -> String {
        let id = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.until > Instant::now());
        let own = |(_, session): &(&String, &Session)| session.caller.name == caller.name;
        if sessions.iter().filter(own).count() >= MAX_SESSIONS {
            let oldest = sessions.iter().filter(own);
            let oldest = oldest.min_by_key(|(_, session)| session.until);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                sessions.remove(&oldest);
            }
        }
        let session = Session {
            caller,
            until: Instant::now() + LOGIN_LASTS,
            end: watch::Sender::new(()),
        };
        sessions.insert(id.clone(), session);
        id
    }

    fn cookie(&self, value: &str, seconds: u64) -> HeaderValue {
        let secure = match self.0.transport {
            Transport::Http => "",
            Transport::Https | Transport::Proxy => "; Secure",
        };
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
    let source = guard.source(&request);
    request.extensions_mut().insert(source);
    match guard.caller(request.headers(), source) {
        Ok((caller, lease)) => {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(lease);
        }
        Err(failure) if guarded && !open => return failure.into_response(),
        Err(_) => {}
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

async fn log_in(
    State(guard): State<Guard>,
    Extension(source): Extension<Source>,
    Json(login): Json<Login>,
) -> Response {
    let Some(caller) = guard.by_token(&login.token) else {
        let detail = "nobody has this token";
        let failure = Failure::new(StatusCode::UNAUTHORIZED, "login", detail);
        return guard.wrong_token(source, failure).into_response();
    };
    let session = guard.begin(caller.clone());
    let cookie = guard.cookie(&session, LOGIN_LASTS.as_secs());
    ([(header::SET_COOKIE, cookie)], Json(caller)).into_response()
}

async fn log_out(State(guard): State<Guard>, headers: HeaderMap) -> Response {
    if let Some(session) = session(&headers) {
        guard.sessions().remove(session);
    }
    (
        [(header::SET_COOKIE, guard.cookie("", 0))],
        StatusCode::NO_CONTENT,
    )
        .into_response()
}

async fn me(caller: Option<Extension<Caller>>) -> Response {
    match caller {
        Some(Extension(caller)) => Json(caller).into_response(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_after_eight_hours() {
        let guard = Guard::new(Vec::new(), Vec::new(), Transport::Http);
        let caller = Caller {
            name: "ada".into(),
            role: Role::Viewer,
        };
        let id = guard.begin(caller);
        let (begun, without) = (Instant::now(), Lease::without_session());
        let session = guard.sessions().get(&id).map(|session| Lease {
            until: session.until,
            session: Some(session.end.subscribe()),
        });
        for lease in [session, Some(without)].into_iter().flatten() {
            lease.ends().await;
            let took = begun.elapsed();
            assert!(took >= LOGIN_LASTS && took < LOGIN_LASTS + Duration::from_secs(1));
        }
        let over = |session: &Session| session.until <= Instant::now();
        assert!(guard.sessions().get(&id).is_some_and(over));
    }

    #[test]
    fn a_table_of_addresses_stays_as_small_as_it_is() {
        let mut wrong = Wrong::default();
        for number in 0..10_000_u32 {
            assert_eq!(wrong.count(Ipv4Addr::from_bits(number).into()), 1);
        }
        assert_eq!(wrong.0.len(), MAX_SOURCES);
        // The latest are known still.
        assert_eq!(wrong.count(Ipv4Addr::from_bits(9_999).into()), 2);
    }
}
