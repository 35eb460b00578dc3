//! The objects of the scope's namespaces become findings: lists by the page, of which no pod is kept, then pure functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;

use ::kube::api::{Api, ListParams};
use ::kube::core::PartialObjectMeta;
use ::kube::{Error, Resource};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, join, stream};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::analyzers::pods::Crowd;
use super::analyzers::{analyze, analyze_cluster, workloads};
use super::lean::{Node, Pod};
use super::seen::{ClusterObjects, Keys, Named, Objects, PodFacts, Seen};
use super::{Kube, refusal};
use crate::incident::{Cause, Finding, Scan, ScanError, Scanner};
use crate::scope::Scope;

/// How many objects one page has.
const PAGE: u32 = 500;
/// How many namespaces are looked at at once.
const AT_ONCE: usize = 4;
/// The status of a page that was asked for too late.
const EXPIRED: u16 = 410;

#[async_trait]
impl Scanner for Kube {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        let look = Look::new(self);
        let mut missing = Missing::default();
        let cluster = look.cluster(&mut missing).await;
        let wanted = cluster.webhook_services();
        let parts = scope
            .iter()
            .map(|namespace| look.namespace(namespace, &cluster, &wanted));
        let parts: Vec<_> = parts.collect();
        let mut parts = stream::iter(parts).buffered(AT_ONCE);
        let (mut scan, mut services) = (Scan::default(), BTreeMap::new());
        while let Some(part) = parts.next().await {
            scan.add(part.scan);
            services.extend(part.services);
            missing.add(part.missing);
        }
        drop(parts);
        scan.findings.extend(of_cluster(self, &cluster, &services));
        scan.incomplete = missing.incomplete;
        match missing.unreachable {
            Some(error) => Err(ScanError {
                problem: "no connection, or an answer that is not Kubernetes'".into(),
                source: Some(error.into()),
            }),
            None => Ok(scan),
        }
    }
}

/// What is wrong with what belongs to no namespace.
pub(super) fn of_cluster(
    kube: &Kube,
    cluster: &ClusterObjects,
    services: &BTreeMap<(String, String), bool>,
) -> Vec<Finding> {
    let none = Objects::default();
    let seen = Seen::new("", &none, cluster, Timestamp::now(), kube.unready_after);
    analyze_cluster(&seen, services)
}

impl Kube {
    /// Nobody needs the nodes who has the rights of a namespace only: the finding says what it lacks.
    pub(super) async fn some_nodes(&self) -> Named<Node> {
        Look::new(self).all_of().await.unwrap_or_default()
    }
}

/// What is said of one namespace, by findings about its pods and by its other objects.
pub(super) fn judge(seen: &Seen, of_pods: Vec<Finding>) -> Scan {
    let mut all = of_pods;
    all.extend(analyze(seen));
    // What is found before a pod asks for it explains what the pod says.
    let owners = all
        .iter()
        .filter(|finding| finding.cause == Some(Cause::ConfigMapMissing));
    let explained: BTreeSet<_> = owners.filter_map(|finding| finding.owner.clone()).collect();
    all.retain(|finding| {
        let is_symptom = matches!(
            finding.cause,
            Some(Cause::ContainerConfig | Cause::NotStarting)
        );
        !(is_symptom
            && finding
                .owner
                .as_ref()
                .is_some_and(|owner| explained.contains(owner)))
    });
    let ignored = |finding: &Finding| seen.pods.ignored.has(finding, seen.now);
    let (ignored, findings) = all.into_iter().partition(ignored);
    Scan {
        findings,
        ignored,
        workloads: workloads(seen),
        incomplete: Vec::new(),
    }
}

/// One namespace, looked at.
struct Part {
    scan: Scan,
    /// Whether the services that webhooks ask have a pod that is ready.
    services: BTreeMap<(String, String), bool>,
    missing: Missing,
}

/// What could not be looked at.
#[derive(Default)]
struct Missing {
    incomplete: Vec<String>,
    /// The same by kinds.
    unseen: BTreeSet<&'static str>,
    /// The error of a cluster that doesn't answer at all.
    unreachable: Option<Error>,
}

impl Missing {
    fn add(&mut self, other: Self) {
        self.incomplete.extend(other.incomplete);
        self.unreachable = self.unreachable.take().or(other.unreachable);
    }

    /// A list, or nothing where it could not be had; `place` says whose.
    fn take<T: Default>(&mut self, kind: &'static str, place: &str, list: Result<T, Trouble>) -> T {
        let trouble = match list {
            Ok(items) => return items,
            Err(trouble) => trouble,
        };
        self.unseen.insert(kind);
        match trouble {
            Trouble::Late => self.incomplete.push(format!(
                "the {kind}{place} did not come in time: narrow the scope, or let the scan take longer"
            )),
            Trouble::Api(error) => match refusal(&error) {
                Some((_, message)) => self
                    .incomplete
                    .push(format!("the {kind}{place} could not be read: {message}")),
                None => self.unreachable = Some(*error),
            },
        }
        T::default()
    }
}

/// Why a list is not whole.
enum Trouble {
    Late,
    Api(Box<Error>),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Api(error.into())
    }
}

/// One scan under way.
struct Look<'a> {
    kube: &'a Kube,
    deadline: Instant,
}

impl<'a> Look<'a> {
    fn new(kube: &'a Kube) -> Self {
        let deadline = Instant::now() + kube.scan_within;
        Self { kube, deadline }
    }

    fn half(&self) -> Self {
        let now = Instant::now();
        let deadline = now + self.deadline.saturating_duration_since(now) / 2;
        Self { deadline, ..*self }
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        match timeout_at(self.deadline, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Trouble::Late),
        }
    }

    /// What belongs to no namespace, where it is to be scanned.
    async fn cluster(&self, missing: &mut Missing) -> ClusterObjects {
        if !self.kube.sees_cluster {
            return ClusterObjects::default();
        }
        let (nodes, volumes, storage_classes, ingress_classes, validating, mutating) = join!(
            self.all_of::<Node>(),
            self.all_of(),
            self.all_of(),
            self.all_of(),
            self.all_of(),
            self.all_of(),
        );
        ClusterObjects {
            whole: true,
            nodes: missing.take("nodes", "", nodes),
            volumes: missing.take("volumes", "", volumes),
            storage_classes: missing.take("storage classes", "", storage_classes),
            ingress_classes: missing.take("ingress classes", "", ingress_classes),
            validating: missing.take("validating webhooks", "", validating),
            mutating: missing.take("mutating webhooks", "", mutating),
            unseen: std::mem::take(&mut missing.unseen),
            ..ClusterObjects::default()
        }
    }

    async fn all_of<K>(&self) -> Result<Named<K>, Trouble>
    where
        K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
    {
        self.named(&Api::<K>::all(self.kube.client.clone()), lean)
            .await
    }

    async fn namespace(
        &self,
        namespace: &str,
        cluster: &ClusterObjects,
        wanted: &BTreeSet<(String, String)>,
    ) -> Part {
        // Half of what time there is, so that a list that never comes takes none of the pods'.
        let (mut missing, objects) = self.half().objects(namespace).await;
        let mut seen = Seen::new(
            namespace,
            &objects,
            cluster,
            Timestamp::now(),
            self.kube.unready_after,
        );
        let pods = self.pods(&seen).await;
        let place = of_namespace(namespace);
        let (findings, facts) = missing.take("pods", &place, pods);
        seen.pods = facts;
        seen.pods.unseen = missing.unseen.contains("pods");
        let mut scan = judge(&seen, findings);
        let unasked = self.kube.ask_why(&seen, &mut scan, self.deadline).await;
        missing.incomplete.extend(unasked);
        Part {
            scan,
            services: seen.answering(wanted),
            missing,
        }
    }

    /// All that a namespace has, but for its pods.
    async fn objects(&self, namespace: &str) -> (Missing, Objects) {
        let (mut missing, place) = (Missing::default(), of_namespace(namespace));
        macro_rules! lists {
            ($($field:ident: $what:literal,)*) => {{
                let ($($field,)* config_maps) = join!(
                    $(self.all(namespace).map(|list| ($what, list)),)*
                    self.config_maps(namespace),
                );
                Objects {
                    config_maps: missing.take("configmaps", &place, config_maps),
                    $($field: missing.take($field.0, &place, $field.1),)*
                    unseen: std::mem::take(&mut missing.unseen),
                }
            }};
        }
        let objects = lists! {
            deployments: "deployments",
            replica_sets: "replicasets",
            stateful_sets: "statefulsets",
            daemon_sets: "daemonsets",
            jobs: "jobs",
            cron_jobs: "cronjobs",
            services: "services",
            ingresses: "ingresses",
            policies: "networkpolicies",
            autoscalers: "horizontalpodautoscalers",
            budgets: "poddisruptionbudgets",
            claims: "persistentvolumeclaims",
            quotas: "resourcequotas",
        };
        (missing, objects)
    }

    async fn all<K>(&self, namespace: &str) -> Result<Named<K>, Trouble>
    where
        K: Clone
            + Debug
            + DeserializeOwned
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.named(
            &Api::<K>::namespaced(self.kube.client.clone(), namespace),
            lean,
        )
        .await
    }

    /// Names, keys and times only: what ConfigMaps hold is never read.
    async fn config_maps(&self, namespace: &str) -> Result<Named<Keys>, Trouble> {
        let client = self.kube.client.clone();
        let api = Api::<PartialObjectMeta<ConfigMap>>::namespaced(client, namespace);
        self.named(&api, |map| Keys::from(&map.metadata)).await
    }

    async fn pods(&self, seen: &Seen<'_>) -> Result<(Vec<Finding>, PodFacts), Trouble> {
        let api = Api::<Pod>::namespaced(self.kube.client.clone(), seen.namespace);
        let (mut crowd, mut pages) = (Crowd::new(seen), Pages::default());
        loop {
            match self.next(&api, &mut pages).await? {
                Page::Items(pods) => {
                    if !seen.cluster.whole && pods.iter().any(is_waiting) {
                        let nodes = || self.kube.some_nodes();
                        seen.cluster.asked.get_or_init(nodes).await;
                    }
                    pods.iter().for_each(|pod| crowd.add(seen, pod));
                }
                Page::Again => crowd = Crowd::new(seen),
                Page::End => return Ok(crowd.finish()),
            }
        }
    }

    /// All objects of a kind, by name.
    async fn named<K, T>(&self, api: &Api<K>, keep: impl Fn(K) -> T) -> Result<Named<T>, Trouble>
    where
        K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
    {
        let (mut all, mut pages) = (Named::new(), Pages::default());
        let name = |item: &K| item.meta().name.clone().unwrap_or_default();
        loop {
            match self.next(api, &mut pages).await? {
                Page::Items(items) => {
                    all.extend(items.into_iter().map(|item| (name(&item), keep(item))))
                }
                Page::Again => all.clear(),
                Page::End => return Ok(all),
            }
        }
    }

    async fn next<K>(&self, api: &Api<K>, pages: &mut Pages) -> Result<Page<K>, Trouble>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let Some(params) = &mut pages.0 else {
            return Ok(Page::End);
        };
        match self.in_time(api.list(params)).await {
            Ok(page) => {
                let more = page.metadata.continue_.filter(|token| !token.is_empty());
                match more {
                    Some(token) => params.continue_token = Some(token),
                    None => pages.0 = None,
                }
                Ok(Page::Items(page.items))
            }
            Err(Trouble::Api(error)) if is_expired(&error, params) => {
                (params.limit, params.continue_token) = (None, None);
                Ok(Page::Again)
            }
            Err(trouble) => Err(trouble),
        }
    }
}

/// The page that comes next; none after the last.
struct Pages(Option<ListParams>);

impl Default for Pages {
    fn default() -> Self {
        Self(Some(ListParams::default().limit(PAGE)))
    }
}

enum Page<K> {
    Items(Vec<K>),
    /// The next page was asked for too late: all come again, and at once.
    Again,
    End,
}

/// An object without what nobody reads.
pub(super) fn lean<K: Resource>(mut item: K) -> K {
    item.meta_mut().managed_fields = None;
    item
}

pub(super) fn of_namespace(namespace: &str) -> String {
    format!(" of namespace {namespace}")
}

fn is_expired(error: &Error, params: &ListParams) -> bool {
    params.continue_token.is_some() && refusal(error).is_some_and(|(code, _)| code == EXPIRED)
}

/// Whether no node has taken the pod yet.
pub(super) fn is_waiting(pod: &Pod) -> bool {
    pod.spec.is_some() && pod.node_name().is_none()
}
