//! A Kubernetes cluster in memory: an API that a real [`kube::Client`] talks to, the controllers behind it, and a node
//! whose pods crash, run out of memory or fail to load their image when they should.
//!
//! A fix shows by what the cluster does, not by a flag: raise a memory limit above what the app needs and it stops
//! crashing. For the first minute of users and for fast tests; what it does is held against a real API server by the
//! same tests.
#![expect(
    clippy::indexing_slicing,
    reason = "indexing makes missing fields of JSON objects; what clients send is checked to be of objects first"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use ::http::{HeaderValue, Method, Request, Response, header};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::incident::{Finding, Scanner};
use crate::scope::Scope;

mod admission;
mod api;
mod builder;
mod controllers;
mod discovery;
mod http;
mod kubelet;
mod patch;
mod resources;
mod scheduler;
mod selectors;
mod stateful_sets;
mod store;

pub use builder::DeploymentBuilder;
pub use http::Served;

use api::{Call, Place, Reply, answer, verb, watch_line};
use controllers::Controllers;
use discovery::discovery;
use http::{Body, decoded, json_response, response, warned};
use kubelet::{Kubelet, Pace};
use store::{Key, Store, status};

/// The largest request body, in bytes.
const MAX_BODY: usize = 3 << 20;
/// Whom nothing is denied.
const ADMIN: &str = "admin";

/// A request that is refused.
#[derive(Debug)]
struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self {
            code,
            reason,
            message,
        }
    }
}

/// A write that the cluster was asked for, as its audit log would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteSeen {
    /// Whose client it was, see [`Cluster::client_as`].
    pub user: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// The path, such as `/apis/apps/v1/namespaces/shop/deployments/web`.
    pub path: String,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// A cluster in memory. Clones are the same cluster; it ends with the last of them.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use argus_core::testing::cluster::Cluster;
/// use k8s_openapi::api::apps::v1::Deployment;
/// let cluster = Cluster::start();
/// cluster.deployment("shop", "web", "registry.example/web:1").create().await?;
/// let deployments = kube::Api::<Deployment>::namespaced(cluster.client(), "shop").list(&Default::default()).await?;
/// assert_eq!(deployments.items.len(), 1);
/// # Ok::<(), kube::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Wakes the controllers.
    moved: Notify,
    ticker: Mutex<Option<AbortHandle>>,
}

struct State {
    store: Store,
    controllers: Controllers,
    kubelet: Kubelet,
    /// What the client may not do: verb and resource, `scale` as `deployments/scale`.
    denied: Vec<(String, String)>,
    /// The writes that fail, counted from 0 over those that are no dry runs of the admin, and how.
    faults: BTreeMap<usize, Fault>,
    written: usize,
    writes: Vec<WriteSeen>,
    /// How many requests of each user read and don't watch.
    reads: BTreeMap<String, usize>,
}

/// A failure that is made to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The write is answered with this HTTP status, and not done.
    RefuseWrite(u16),
    /// The write is done, and the connection is cut before the answer.
    CutAfterWrite,
    /// The write is not done, and the connection is cut.
    CutBeforeWrite,
    /// Somebody else changes the object right before the write, which goes on.
    ChangeBeforeWrite,
}

impl Cluster {
    /// Starts a cluster with one node and the namespaces `default` and `kube-system`. Its controllers run on the current
    /// Tokio runtime.
    #[must_use]
    pub fn start() -> Self {
        Self::with_start_time(Duration::from_millis(20))
    }

    /// The same with pods that take so long to start: for people who want to see it happen.
    #[must_use]
    pub fn with_start_time(start: Duration) -> Self {
        let pace = Pace {
            start,
            backoff: Duration::from_millis(200),
        };
        let mut store = Store::new();
        for namespace in ["default", "kube-system"] {
            let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": { "kubernetes.io/metadata.name": namespace } }, "status": { "phase": "Active" } });
            store.put(Key::new("namespaces", "", namespace), object);
        }
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "memory-node-0", "labels": { "kubernetes.io/hostname": "memory-node-0", "kubernetes.io/os": "linux" } },
            "spec": {},
            "status": { "allocatable": { "cpu": "8", "memory": "16Gi", "pods": "110" }, "capacity": { "cpu": "8", "memory": "16Gi", "pods": "110" },
                        "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        store.put(Key::new("nodes", "", "memory-node-0"), node);
        let state = State {
            store,
            controllers: Controllers::default(),
            kubelet: Kubelet::new(pace),
            denied: Vec::new(),
            faults: BTreeMap::new(),
            written: 0,
            writes: Vec::new(),
            reads: BTreeMap::new(),
        };
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            moved: Notify::new(),
            ticker: Mutex::default(),
        });
        let ticker = tokio::spawn(tick(Arc::downgrade(&inner)));
        *inner.ticker.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticker.abort_handle());
        Self { inner }
    }

    /// A client of this cluster with full rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_as(ADMIN)
    }

    /// A client under another name, with full rights but for what [`deny`](Self::deny) took away.
    #[must_use]
    pub fn client_as(&self, user: &'static str) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let cluster = cluster.clone();
            async move { cluster.handle(user, request).await }
        });
        Client::new(service, "default")
    }

    /// Serves the API over HTTP on a free port of 127.0.0.1 until the returned handle is dropped.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn serve(&self) -> std::io::Result<Served> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let cluster = self.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let cluster = cluster.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let cluster = cluster.clone();
                        async move { cluster.handle(ADMIN, request).await }
                    });
                    let io = hyper_util::rt::TokioIo::new(stream);
                    // A client that goes away is no error of the server.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .await;
                });
            }
        });
        Ok(Served::new(address, task.abort_handle()))
    }

    /// A Deployment to be created: healthy until told otherwise.
    pub fn deployment(&self, namespace: &str, name: &str, image: &str) -> DeploymentBuilder {
        DeploymentBuilder::new(self.client(), namespace, name, image)
    }

    /// Takes a permission away from everybody but the admin: `deny("patch", "deployments")`, `deny("patch", "deployments/scale")`.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.lock().denied.push((verb.into(), resource.into()));
    }

    /// Makes a write fail: number `nth`, from 0, of those from now on that are no dry runs and not the admin's.
    pub fn inject(&self, nth: usize, fault: Fault) {
        let mut state = self.lock();
        let number = state.written + nth;
        state.faults.insert(number, fault);
    }

    /// The writes that were asked for so far, dry runs among them, oldest first; access reviews left out.
    #[must_use]
    pub fn writes(&self) -> Vec<WriteSeen> {
        self.lock().writes.clone()
    }

    /// The number of requests of this user so far that read, and did not watch.
    #[must_use]
    pub fn reads(&self, user: &str) -> usize {
        self.lock().reads.get(user).copied().unwrap_or(0)
    }

    /// Scans until there are findings, for up to ten seconds.
    ///
    /// # Errors
    /// A scan that failed, or none with findings in that time.
    pub async fn wait_for_findings(
        &self,
        scanner: &dyn Scanner,
        scope: &Scope,
    ) -> Result<Vec<Finding>, crate::incident::ScanError> {
        for _ in 0..200 {
            let scan = scanner.scan(scope).await?;
            if !scan.findings.is_empty() {
                return Ok(scan.findings);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(crate::incident::ScanError {
            problem: "nothing was found within ten seconds".into(),
            source: None,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle<B>(
        &self,
        user: &str,
        request: Request<B>,
    ) -> Result<Response<Body>, std::io::Error>
    where
        B: http_body::Body + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => {
                return Ok(json_response(
                    413,
                    &status(413, "RequestEntityTooLarge", "the request is too large"),
                ));
            }
        };
        let header = |name| {
            head.headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .unwrap_or_default()
        };
        let path = head.uri.path();
        let query: HashMap<String, String> = head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.into(), decoded(value)))
            .collect();
        let call = Call {
            user,
            method: head.method.as_str(),
            path,
            query,
            content_type: header(header::CONTENT_TYPE),
            accept: header(header::ACCEPT),
            body: &body,
        };
        match self.reply(&call) {
            Ok(Reply::Json(code, object)) => Ok(warned(call.method, code, &object)),
            Ok(Reply::Text(text)) => Ok(response(
                200,
                "text/plain",
                Full::new(text.into()).boxed_unsync(),
            )),
            Ok(Reply::Watch {
                resource,
                namespace,
                version,
                selectors,
                metadata_only,
                initial,
            }) => {
                let timeout = call
                    .query
                    .get("timeoutSeconds")
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(300)
                    .min(600);
                let lines = self
                    .watch(resource.plural, namespace, version, timeout)
                    .map(move |event| match event {
                        Ok(event) => {
                            watch_line(&event, &selectors, metadata_only).unwrap_or_default()
                        }
                        Err(gone) => format!("{}\n", json!({ "type": "ERROR", "object": gone })),
                    });
                let frames = stream::once(std::future::ready(initial))
                    .chain(lines)
                    .filter(|line| std::future::ready(!line.is_empty()))
                    .map(|line| Ok(Frame::data(Bytes::from(line))));
                Ok(response(
                    200,
                    "application/json",
                    StreamBody::new(frames).boxed_unsync(),
                ))
            }
            Err(Failure {
                code: 0, message, ..
            }) => Err(std::io::Error::new(
                std::io::ErrorKind::ConnectionReset,
                message,
            )),
            Err(failure) => Ok(json_response(
                failure.code,
                &status(failure.code, failure.reason, &failure.message),
            )),
        }
    }

    fn reply(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        if call.content_type.contains("protobuf") {
            let message =
                "the body of the request was in an unknown format: this cluster reads JSON only"
                    .into();
            return Err(Failure::new(415, "UnsupportedMediaType", message));
        }
        if matches!(call.path, "/healthz" | "/livez" | "/readyz") {
            return Ok(Reply::Text("ok".into()));
        }
        if call.method == Method::POST.as_str()
            && call.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        {
            return self.review_access(call);
        }
        let Some(place) = Place::read(call.path) else {
            let found = discovery(call.path).filter(|_| call.method == Method::GET.as_str());
            return found.map(|object| Reply::Json(200, object)).ok_or_else(|| {
                Failure::new(
                    404,
                    "NotFound",
                    "the server could not find the requested resource".into(),
                )
            });
        };
        let mut state = self.lock();
        let verb = verb(call, &place);
        if matches!(verb, "get" | "list") {
            *state.reads.entry(call.user.into()).or_default() += 1;
        }
        let writes = matches!(verb, "create" | "update" | "patch" | "delete");
        let resource = place.subresource.map_or_else(
            || place.resource.plural.to_owned(),
            |sub| format!("{}/{sub}", place.resource.plural),
        );
        // A dry run of a delete stands in its body.
        let dry_run = call.query.contains_key("dryRun")
            || serde_json::from_slice::<Value>(call.body)
                .is_ok_and(|body| verb == "delete" && body.get("dryRun").is_some());
        let answer = if user_lacks(&state, call, verb, &resource) {
            let namespace = place.namespace.unwrap_or_default();
            let message = format!(
                "{resource} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in the namespace \"{namespace}\"",
                call.user
            );
            Err(Failure::new(403, "Forbidden", message))
        } else {
            let mut fault = None;
            if writes && !dry_run && call.user != ADMIN {
                let number = state.written;
                state.written += 1;
                fault = state.faults.remove(&number);
            }
            match fault {
                Some(Fault::RefuseWrite(code)) => Err(Failure::new(
                    code,
                    "Injected",
                    "made to fail by the test".into(),
                )),
                Some(Fault::CutBeforeWrite) => Err(Failure::new(
                    0,
                    "Cut",
                    "the connection was cut before the write".into(),
                )),
                Some(Fault::CutAfterWrite) => answer(&mut state.store, call, &place).and(Err(
                    Failure::new(0, "Cut", "the connection was cut after the write".into()),
                )),
                Some(Fault::ChangeBeforeWrite) => {
                    meddle(&mut state.store, &place);
                    answer(&mut state.store, call, &place)
                }
                None => answer(&mut state.store, call, &place),
            }
        };
        if writes {
            let code = match &answer {
                Ok(Reply::Json(code, _)) => *code,
                Ok(_) => 200,
                Err(failure) => failure.code,
            };
            state.writes.push(WriteSeen {
                user: call.user.into(),
                verb: verb.into(),
                path: call.path.into(),
                dry_run,
                code,
            });
            // As with a real one, controllers need a moment; clients never see them half-way through a write.
            self.inner.moved.notify_one();
        }
        answer
    }

    fn review_access(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let mut review: Value = serde_json::from_slice(call.body)
            .map_err(|error| Failure::new(400, "BadRequest", error.to_string()))?;
        let of = |field: &str| {
            review
                .pointer(&format!("/spec/resourceAttributes/{field}"))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let resource = if of("subresource").is_empty() {
            of("resource").to_owned()
        } else {
            format!("{}/{}", of("resource"), of("subresource"))
        };
        let allowed = !user_lacks(&self.lock(), call, of("verb"), &resource);
        review["status"] = json!({ "allowed": allowed });
        Ok(Reply::Json(201, review))
    }

    /// The events of a resource after a version, until the timeout.
    fn watch(
        &self,
        plural: &'static str,
        namespace: Option<String>,
        version: u64,
        seconds: u64,
    ) -> impl Stream<Item = Result<store::Event, Value>> + Send + use<> {
        let changed = self.lock().store.subscribe();
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let inner = Arc::downgrade(&self.inner);
        let steps = stream::unfold(Some((inner, changed, version)), move |watching| {
            let namespace = namespace.clone();
            async move {
                let (inner, mut changed, version) = watching?;
                loop {
                    let events = {
                        let inner = inner.upgrade()?;
                        let state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
                        changed.mark_unchanged();
                        state.store.since(version, plural, namespace.as_deref())
                    };
                    match events {
                        None => {
                            return Some((
                                vec![Err(status(410, "Expired", "too old resource version"))],
                                None,
                            ));
                        }
                        Some(events) => {
                            if let Some(last) = events.last().map(|event| event.version) {
                                return Some((
                                    events.into_iter().map(Ok).collect(),
                                    Some((inner, changed, last)),
                                ));
                            }
                        }
                    }
                    tokio::time::timeout_at(end, changed.changed())
                        .await
                        .ok()?
                        .ok()?;
                }
            }
        });
        steps.flat_map(stream::iter)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(ticker) = self
            .ticker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            ticker.abort();
        }
    }
}

/// What somebody else may do to an object at any time.
fn meddle(store: &mut Store, place: &Place<'_>) {
    if let Some(mut object) = store.get(&place.key()).cloned() {
        object["metadata"]["labels"]["meddled"] = "yes".into();
        store.put(place.key(), object);
    }
}

fn user_lacks(state: &State, call: &Call<'_>, verb: &str, resource: &str) -> bool {
    call.user != ADMIN
        && state
            .denied
            .iter()
            .any(|(denied, on)| denied == verb && on == resource)
}

/// Runs the controllers after every change, and the kubelet whenever something is due.
async fn tick(inner: Weak<Inner>) {
    loop {
        let Some(held) = inner.upgrade() else { return };
        let due = {
            let mut state = held.state.lock().unwrap_or_else(PoisonError::into_inner);
            let State {
                store,
                controllers,
                kubelet,
                ..
            } = &mut *state;
            // Each look may give another controller something to do; real ones settle just the same.
            for _ in 0..100 {
                let before = store.version();
                controllers.reconcile(store);
                kubelet.reconcile(store);
                if store.version() == before {
                    break;
                }
            }
            kubelet.next_due()
        };
        // A moment between looks keeps a busy cluster from starving its clients; a second bounds deadlines.
        let pause = due
            .map_or(Duration::from_secs(1), |due| {
                due.saturating_duration_since(Instant::now())
            })
            .clamp(Duration::from_millis(2), Duration::from_millis(250));
        let moved = held.moved.notified();
        let _ = tokio::time::timeout(pause, moved).await;
    }
}
