//! The doors to a Kubernetes API: dry runner, executor and scanner in one, on a [`kube::Client`].

use std::time::Duration;

use ::kube::api::{Api, ApiResource, DynamicObject};
use ::kube::{Client, Error};
use serde_json::Value;

use crate::action::Target;

mod admission;
mod analyzers;
mod connect;
mod dry_run;
mod evidence;
mod executor;
mod ignored;
mod last_words;
mod lean;
mod nodes;
mod pages;
mod preflight;
mod rbac;
mod scanner;
mod seen;
mod shapes;
mod warnings;
mod watch;
mod why;

pub use connect::ConnectError;
pub use ignored::{IGNORE, IGNORE_UNTIL};
pub use nodes::{NodeCondition, NodeState};
pub use rbac::Roles;
pub use watch::Watch;

/// The name under which Argus' writes stand in `managedFields`.
pub const FIELD_MANAGER: &str = "argus";

/// How often a request is made again because only the object's version moved meanwhile.
const TRIES: usize = 5;

/// A Kubernetes cluster, as the identity of the client sees it.
///
/// # Example
/// ```no_run
/// # async fn connect() -> Result<argus_core::Kube, Box<dyn std::error::Error>> {
/// let client = kube::Client::try_default().await?;
/// Ok(argus_core::Kube::new(client))
/// # }
/// ```
#[derive(Clone)]
pub struct Kube {
    client: Client,
    settle_within: Duration,
    unready_after: Duration,
    scan_within: Duration,
    sees_cluster: bool,
    across_namespaces: bool,
    /// True where a look sends no request of its own once its watches have come.
    is_quiet: bool,
}

impl Kube {
    /// The cluster that `client` speaks to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            settle_within: Duration::from_secs(300),
            unready_after: Duration::from_secs(30),
            scan_within: Duration::from_secs(60),
            sees_cluster: false,
            across_namespaces: false,
            is_quiet: false,
        }
    }

    /// How long a step may take to come to rest before it counts as failed; five minutes by default.
    #[must_use]
    pub fn settle_within(mut self, limit: Duration) -> Self {
        self.settle_within = limit;
        self
    }

    /// How long a pod or a Deployment may be unready before the scanner reports it; 30 seconds by default.
    #[must_use]
    pub fn unready_after(mut self, limit: Duration) -> Self {
        self.unready_after = limit;
        self
    }

    /// How long a scan may take; one minute by default. What it didn't come to stands in [`Scan::incomplete`](crate::Scan::incomplete).
    #[must_use]
    pub fn scan_within(mut self, limit: Duration) -> Self {
        self.scan_within = limit;
        self
    }

    /// Scans also what belongs to no namespace: nodes, volumes, storage and ingress classes, admission webhooks. It takes
    /// [`Roles::seeing_cluster`]. Without it nodes are looked at where a pod finds no place, if they may be.
    #[must_use]
    pub fn seeing_cluster(mut self) -> Self {
        self.sees_cluster = true;
        self
    }

    /// Lists and watches each kind once across all namespaces instead of once in each, where a scope has more than one: some
    /// twenty requests instead of fifteen for each namespace. It takes [`Roles::across_namespaces`]. What is out of scope is
    /// read too, and forgotten at once.
    #[must_use]
    pub fn across_namespaces(mut self) -> Self {
        self.across_namespaces = true;
        self
    }

    /// The namespaces that are asked about in one request: each by itself, or all.
    fn together<'n>(&self, all: &'n [&'n str]) -> std::slice::Chunks<'n, &'n str> {
        let at_once = if self.across_namespaces { all.len() } else { 1 };
        all.chunks(at_once.max(1))
    }

    fn api(&self, target: &Target) -> Api<DynamicObject> {
        self.api_of(
            target.kind().group(),
            target.kind().version(),
            &target.kind().to_string(),
            target.kind().plural(),
            target.namespace(),
        )
    }

    fn api_of(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
    ) -> Api<DynamicObject> {
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version,
            kind: kind.into(),
            plural: plural.into(),
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    fn replica_sets(&self, namespace: &str) -> Api<DynamicObject> {
        self.api_of("apps", "v1", "ReplicaSet", "replicasets", namespace)
    }

    /// Whether the object has another version than the one that was seen.
    async fn moved(&self, target: &Target, seen: &Value) -> bool {
        let now = self.read(target).await.ok().flatten();
        now.is_some_and(|now| resource_version(&now) != resource_version(seen))
    }

    async fn read(&self, target: &Target) -> Result<Option<Value>, Error> {
        Ok(self
            .api(target)
            .get_opt(target.name())
            .await?
            .map(|object| json(&object)))
    }
}

/// An object as JSON, with the kind that lists leave out.
fn json(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn uid(object: &Value) -> &str {
    object
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn resource_version(object: &Value) -> &str {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The API server's own words for a refusal, without the object that it repeats; none when it didn't answer.
fn refusal(error: &Error) -> Option<(u16, String)> {
    match error {
        Error::Api(status) => Some((status.code, crate::redact::redact(&status.message))),
        _ => None,
    }
}
