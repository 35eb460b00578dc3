//! The objects of the scope's namespaces become findings: lists by the page, of which no pod is kept, then pure functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;

use ::kube::api::{Api, ListParams};
use ::kube::core::PartialObjectMeta;
use ::kube::{Client, Error, Resource};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, join, stream};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::analyzers::pods::Crowd;
use super::analyzers::{analyze, analyze_cluster, workloads};
use super::lean::{EndpointSlice, GATEWAY_API, Node, Pod};
use super::pages::{Bound, Page, Pages};
use super::seen::{ClusterObjects, Keys, Named, Objects, PodFacts, Seen};
use super::{Kube, refusal};
use crate::deadline::deadline;
use crate::incident::{Cause, Finding, Scan, ScanError, Scanner, Watching};
use crate::scope::Scope;

/// The EndpointSlices that say what pods don't.
pub(super) const OF_OTHERS: &str =
    "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io";

/// How many namespaces are looked at at once.
const AT_ONCE: usize = 4;

#[async_trait]
impl Scanner for Kube {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        let mut look = Look::new(self);
        let mut missing = Missing::default();
        let has_gateways = look.in_time(self.has_gateways()).await;
        look.has_gateways = missing.take("kinds of gateways", "", has_gateways);
        let cluster = look.cluster(&mut missing).await;
        let wanted = cluster.webhook_services();
        let all: Vec<&str> = scope.iter().collect();
        let parts = self
            .together(&all)
            .map(|namespaces| look.at(namespaces, &cluster, &wanted));
        let parts: Vec<_> = parts.collect();
        let mut parts = stream::iter(parts).buffered(AT_ONCE);
        let (mut scan, mut services) = (Scan::default(), BTreeMap::new());
        while let Some((found, answering, unseen)) = parts.next().await {
            scan.add(found);
            services.extend(answering);
            missing.add(unseen);
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

    fn begin_watch(&self, scope: &Scope) -> Option<Box<dyn Watching>> {
        let quiet = Self {
            is_quiet: true,
            ..self.clone()
        };
        Some(Box::new(quiet.watch(scope).ok()?))
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
    /// Whether the cluster has the Gateway API.
    pub(super) async fn has_gateways(&self) -> Result<bool, Error> {
        let version = format!("{GATEWAY_API}/v1");
        match self.client.list_api_group_resources(&version).await {
            Ok(_) => Ok(true),
            Err(error) if refusal(&error).is_some_and(|(code, _)| code == 404) => Ok(false),
            Err(error) => Err(error),
        }
    }

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

/// Whether services have a pod that is ready, by namespace and name.
type Answering = BTreeMap<(String, String), bool>;

/// The objects of a kind, by namespace and name.
type Spread<T> = BTreeMap<String, Named<T>>;

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
            Trouble::TooLarge(bound) => self.incomplete.push(format!(
                "the {kind}{place} were not read: {} of them have more than {} MiB",
                bound.objects, bound.bytes >> 20
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
pub(super) enum Trouble {
    Late,
    TooLarge(Bound),
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
    /// Whether the cluster has the Gateway API.
    has_gateways: bool,
}

impl<'a> Look<'a> {
    fn new(kube: &'a Kube) -> Self {
        let deadline = deadline(kube.scan_within);
        Self {
            kube,
            deadline,
            has_gateways: false,
        }
    }

    fn half(&self) -> Self {
        let now = Instant::now();
        let deadline = now + self.deadline.saturating_duration_since(now) / 2;
        Self { deadline, ..*self }
    }

    async fn in_time<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, Trouble>
    where
        Trouble: From<E>,
    {
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
        let (nodes, volumes, storage_classes, ingress_classes, validating, mutating, gateways) = join!(
            self.all_of::<Node>(),
            self.all_of(),
            self.all_of(),
            self.all_of(),
            self.all_of(),
            self.all_of(),
            async {
                match self.has_gateways {
                    true => self.all_of().await,
                    false => Ok(Named::new()),
                }
            },
        );
        ClusterObjects {
            whole: true,
            nodes: missing.take("nodes", "", nodes),
            volumes: missing.take("volumes", "", volumes),
            storage_classes: missing.take("storage classes", "", storage_classes),
            ingress_classes: missing.take("ingress classes", "", ingress_classes),
            gateway_classes: missing.take("gateway classes", "", gateways),
            validating: missing.take("validating webhooks", "", validating),
            mutating: missing.take("mutating webhooks", "", mutating),
            unseen: std::mem::take(&mut missing.unseen),
            ..ClusterObjects::default()
        }
    }

    /// What belongs to no namespace.
    async fn all_of<K>(&self) -> Result<Named<K>, Trouble>
    where
        K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
    {
        let api = Api::<K>::all(self.kube.client.clone());
        let mut all = self
            .spread(&api, &[""], ListParams::default(), lean)
            .await?;
        Ok(all.remove("").unwrap_or_default())
    }

    /// Looks at these namespaces: at one by itself, or at several by lists across all there are.
    async fn at(
        &self,
        namespaces: &[&str],
        cluster: &ClusterObjects,
        wanted: &BTreeSet<(String, String)>,
    ) -> (Scan, Answering, Missing) {
        // Half of what time there is, so that a list that never comes takes none of the pods'.
        let (mut missing, objects) = self.half().objects(namespaces).await;
        let (now, patience) = (Timestamp::now(), self.kube.unready_after);
        let rooms = objects.iter();
        let mut rooms: BTreeMap<&str, Seen> = rooms
            .map(|(name, objects)| (*name, Seen::new(name, objects, cluster, now, patience)))
            .collect();
        let pods = self.pods(namespaces, &rooms).await;
        let mut pods = missing.take("pods", &of_namespaces(namespaces), pods);
        let (mut all, mut services) = (Scan::default(), BTreeMap::new());
        for (name, seen) in &mut rooms {
            let (findings, facts) = pods.remove(*name).unwrap_or_default();
            seen.pods = facts;
            seen.pods.unseen = missing.unseen.contains("pods");
            let mut scan = judge(seen, findings);
            let unasked = self.kube.ask_why(seen, &mut scan, self.deadline).await;
            missing.incomplete.extend(unasked);
            all.add(scan);
            services.extend(seen.answering(wanted));
        }
        (all, services, missing)
    }

    /// All that the namespaces have, but for their pods.
    async fn objects<'n>(&self, namespaces: &[&'n str]) -> (Missing, BTreeMap<&'n str, Objects>) {
        let (mut missing, place) = (Missing::default(), of_namespaces(namespaces));
        let rooms = namespaces.iter();
        let mut rooms: BTreeMap<&str, Objects> =
            rooms.map(|name| (*name, Objects::default())).collect();
        macro_rules! lists {
            ($($field:ident: $what:literal,)*) => {{
                let ($($field,)* config_maps, slices, gateways, routes) = join!(
                    $(self.all(namespaces).map(|list| ($what, list)),)*
                    self.config_maps(namespaces),
                    self.slices(namespaces),
                    self.of_gateways(namespaces),
                    self.of_gateways(namespaces),
                );
                let mut config_maps = missing.take("configmaps", &place, config_maps);
                let mut slices = missing.take("endpointslices", &place, slices);
                let mut gateways = missing.take("gateways", &place, gateways);
                let mut routes = missing.take("httproutes", &place, routes);
                $(let mut $field = missing.take($field.0, &place, $field.1);)*
                for (name, objects) in &mut rooms {
                    objects.config_maps = config_maps.remove(*name).unwrap_or_default();
                    objects.slices = slices.remove(*name).unwrap_or_default();
                    objects.gateways = gateways.remove(*name).unwrap_or_default();
                    objects.routes = routes.remove(*name).unwrap_or_default();
                    $(objects.$field = $field.remove(*name).unwrap_or_default();)*
                    objects.unseen = missing.unseen.clone();
                }
                missing.unseen.clear();
            }};
        }
        lists! {
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
        }
        (missing, rooms)
    }

    async fn all<K>(&self, namespaces: &[&str]) -> Result<Spread<K>, Trouble>
    where
        K: Clone
            + Debug
            + DeserializeOwned
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api = of_several::<K>(&self.kube.client, namespaces);
        self.spread(&api, namespaces, ListParams::default(), lean)
            .await
    }

    /// The same where the cluster has the Gateway API.
    async fn of_gateways<K>(&self, namespaces: &[&str]) -> Result<Spread<K>, Trouble>
    where
        K: Clone
            + Debug
            + DeserializeOwned
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self.has_gateways {
            true => self.all(namespaces).await,
            false => Ok(Spread::new()),
        }
    }

    async fn slices(&self, namespaces: &[&str]) -> Result<Spread<EndpointSlice>, Trouble> {
        let api = of_several(&self.kube.client, namespaces);
        let of_others = ListParams::default().labels(OF_OTHERS);
        self.spread(&api, namespaces, of_others, lean).await
    }

    /// Names, keys and times only: what ConfigMaps hold is never read.
    async fn config_maps(&self, namespaces: &[&str]) -> Result<Spread<Keys>, Trouble> {
        let api = of_several::<PartialObjectMeta<ConfigMap>>(&self.kube.client, namespaces);
        let keys = |map: PartialObjectMeta<ConfigMap>| Keys::from(&map.metadata);
        self.spread(&api, namespaces, ListParams::default(), keys)
            .await
    }

    /// What the pods of each namespace come to; none is kept.
    async fn pods(
        &self,
        namespaces: &[&str],
        rooms: &BTreeMap<&str, Seen<'_>>,
    ) -> Result<BTreeMap<String, (Vec<Finding>, PodFacts)>, Trouble> {
        let api = of_several::<Pod>(&self.kube.client, namespaces);
        let crowds = || -> BTreeMap<&str, Crowd> {
            let rooms = rooms.iter();
            rooms
                .map(|(name, seen)| (*name, Crowd::new(seen)))
                .collect()
        };
        let (mut all, mut pages) = (crowds(), Pages::of(ListParams::default()));
        loop {
            match self.next(&api, &mut pages).await? {
                Page::Items(pods) => {
                    for pod in &pods {
                        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                        let (Some(seen), Some(crowd)) =
                            (rooms.get(namespace), all.get_mut(namespace))
                        else {
                            continue;
                        };
                        if !seen.cluster.whole && needs_nodes(pod) {
                            let nodes = || self.kube.some_nodes();
                            seen.cluster.asked.get_or_init(nodes).await;
                        }
                        crowd.add(seen, pod);
                    }
                }
                Page::Again => all = crowds(),
                Page::End => {
                    let all = all.into_iter();
                    return Ok(all
                        .map(|(name, crowd)| (name.to_owned(), crowd.finish()))
                        .collect());
                }
            }
        }
    }

    /// All objects of a kind in these namespaces.
    async fn spread<K, T>(
        &self,
        api: &Api<K>,
        namespaces: &[&str],
        params: ListParams,
        keep: impl Fn(K) -> T,
    ) -> Result<Spread<T>, Trouble>
    where
        K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
    {
        let (mut all, mut pages) = (Spread::new(), Pages::of(params));
        loop {
            match self.next(api, &mut pages).await? {
                Page::Items(items) => {
                    for item in items {
                        let (namespace, name) = place(&item);
                        if namespaces.contains(&namespace.as_str()) {
                            let objects = all.entry(namespace).or_default();
                            objects.insert(name, keep(item));
                        }
                    }
                }
                Page::Again => all.clear(),
                Page::End => return Ok(all),
            }
        }
    }

    async fn next<K>(&self, api: &Api<K>, pages: &mut Pages) -> Result<Page<K>, Trouble>
    where
        K: Clone + DeserializeOwned + Resource,
    {
        let next = pages.next(&self.kube.client, api.resource_url());
        self.in_time(next).await
    }
}

/// An object without what nobody reads.
pub(super) fn lean<K: Resource>(mut item: K) -> K {
    item.meta_mut().managed_fields = None;
    item
}

/// The namespace of an object, empty where it has none, and its name.
pub(super) fn place<K: Resource>(item: &K) -> (String, String) {
    let metadata = item.meta();
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    (of(&metadata.namespace), of(&metadata.name))
}

/// What to list or watch for these namespaces: the one, or all that there are.
pub(super) fn of_several<K>(client: &Client, namespaces: &[&str]) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespaces {
        [one] => Api::namespaced(client.clone(), one),
        _ => Api::all(client.clone()),
    }
}

/// The same in words, after a kind.
pub(super) fn of_namespaces(namespaces: &[&str]) -> String {
    match namespaces {
        [one] => format!(" of namespace {one}"),
        _ => " of all namespaces".into(),
    }
}

/// Whether no node has taken the pod yet.
pub(super) fn is_waiting(pod: &Pod) -> bool {
    pod.spec.is_some() && pod.node_name().is_none()
}

/// Whether what is said of the pod depends on the nodes: none has taken it yet, or it ran out of memory.
pub(super) fn needs_nodes(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| {
        let starting = status.init_container_statuses.iter().flatten();
        status.container_statuses.iter().flatten().chain(starting)
    });
    let mut ends = statuses.filter_map(|status| status.last_state.as_ref()?.terminated.as_ref());
    is_waiting(pod) || ends.any(|end| end.reason.as_deref() == Some("OOMKilled"))
}
