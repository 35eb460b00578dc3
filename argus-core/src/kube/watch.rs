//! A scanner that stays: it is told of each change, and looks again only where something changed.
//!
//! # Expected flow
//! Each kind of object of each namespace is listed once and watched from then on. A scan waits for the first lists, judges the
//! namespaces that changed since the last scan, or where something has become late, and takes the others as it found them.
//!
//! # Guarantees
//! What can't be listed or watched stands in [`Scan::incomplete`] until it can: a broken watch is never "nothing is wrong". The
//! tasks that watch end when the [`Watch`] is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Resource;
use ::kube::api::Api;
use ::kube::core::PartialObjectMeta;
use ::kube::runtime::WatchStreamExt;
use ::kube::runtime::watcher::{self, Event};
use async_trait::async_trait;
use futures::future::select_all as select_all_of;
use futures::stream::{self, BoxStream, select_all};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Notify, OnceCell};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Kube;
use super::analyzers::pods::Crowd;
use super::lean::{Pod, Specs};
use super::scanner::{
    OF_OTHERS, is_waiting, judge, lean, needs_nodes, of_cluster, of_namespaces, of_several, place,
};
use super::seen::{ClusterObjects, Keys, Named, Objects, Seen};
use crate::deadline::deadline;
use crate::incident::{Scan, ScanError, Scanner, Watching};
use crate::scope::Scope;

/// After how many seconds a watch is asked for anew, so that a connection that died silently is noticed.
const RENEWED: u32 = 60;
/// After how long nodes that aren't watched are looked at again for pods that wait.
const ASKED_AGAIN: Duration = Duration::from_secs(30);

/// A scanner for hosts that look often: [`Kube::watch`] makes it.
///
/// What it says is as old as its watches are behind the API server: milliseconds, and about a minute where a connection dies
/// silently. [`Kube`] itself looks anew each time.
pub struct Watch {
    kube: Kube,
    /// What is watched together, by the namespaces: each for itself, or all at once.
    houses: Vec<(Vec<String>, Arc<Shared<House>>)>,
    cluster: Arc<Shared<ClusterObjects>>,
    _tasks: JoinSet<()>,
}

/// What a task fills and a scan reads.
struct Shared<T> {
    state: Mutex<State<T>>,
    moved: Notify,
}

struct State<T> {
    content: T,
    /// What hasn't come yet for the first time.
    awaited: BTreeSet<&'static str>,
    /// What can't be watched now, and why.
    problems: BTreeMap<&'static str, String>,
    /// Counts the changes.
    version: u64,
}

/// Namespaces that are watched together, by name.
type House = BTreeMap<String, Room>;

/// One namespace.
#[derive(Default)]
struct Room {
    objects: Objects,
    pods: Named<Pod>,
    /// Counts the changes.
    version: u64,
    judged: Option<Judged>,
}

/// Where objects stand: in the room of their namespace.
trait Rooms {
    type Room;
    /// The room of a namespace, if it is one of these.
    fn room(&mut self, namespace: &str) -> Option<&mut Self::Room>;
    fn each(&mut self, visit: impl FnMut(&str, &mut Self::Room));
}

impl Rooms for House {
    type Room = Room;
    fn room(&mut self, namespace: &str) -> Option<&mut Room> {
        self.get_mut(namespace)
    }
    fn each(&mut self, mut visit: impl FnMut(&str, &mut Room)) {
        self.iter_mut().for_each(|(name, room)| visit(name, room));
    }
}

impl Rooms for ClusterObjects {
    type Room = Self;
    fn room(&mut self, _: &str) -> Option<&mut Self> {
        Some(self)
    }
    fn each(&mut self, mut visit: impl FnMut(&str, &mut Self)) {
        visit("", self);
    }
}

/// What was said of a namespace when it was last looked at.
struct Judged {
    scan: Scan,
    services: BTreeMap<(String, String), bool>,
    /// The changes of the namespace and of the cluster that were seen.
    versions: (u64, u64),
    /// When the same objects would give other findings.
    next: Option<Timestamp>,
    /// Whether it has pods without a place, which depend on the nodes.
    waits: bool,
}

type Change<T> = Box<dyn FnOnce(&mut State<T>) + Send>;

impl Kube {
    /// Watches the namespaces of `scope` until the result is dropped; takes a tokio runtime, on which it spawns a task for each
    /// namespace. Each namespace takes 16 connections to the API server, and two more where the Gateway API is there; with
    /// [`across_namespaces`](Self::across_namespaces) all of them together do.
    ///
    /// # Errors
    /// [`ScanError`] outside of a tokio runtime.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use argus_core::testing::cluster::Cluster;
    /// use argus_core::{Kube, Scanner, Scope};
    /// let cluster = Cluster::start();
    /// let scope = Scope::namespaces(["shop"])?;
    /// let watch = Kube::new(cluster.client()).watch(&scope)?;
    /// assert_eq!(watch.scan(&scope).await?.findings, []);
    /// cluster.deployment("shop", "web", "registry.example/web:1").replicas(0).create().await?;
    /// while watch.scan(&scope).await?.findings.is_empty() {
    ///     tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self, scope: &Scope) -> Result<Watch, ScanError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| ScanError {
            problem: "a watch needs a tokio runtime".into(),
            source: Some(error.into()),
        })?;
        let mut tasks = JoinSet::new();
        let mut houses = Vec::new();
        let all: Vec<&str> = scope.iter().collect();
        for namespaces in self.together(&all) {
            let streams = self.of_namespaces(namespaces);
            let names = namespaces.iter().map(|name| (*name).to_owned());
            let rooms = names.clone().map(|name| (name, Room::default()));
            let house = Arc::new(Shared::awaiting(rooms.collect(), &streams));
            tasks.spawn_on(fill(Arc::clone(&house), streams), &runtime);
            houses.push((names.collect(), house));
        }
        let streams = self.of_cluster();
        let whole = self.sees_cluster;
        let cluster = ClusterObjects {
            whole,
            ..ClusterObjects::default()
        };
        let cluster = Arc::new(Shared::awaiting(cluster, &streams));
        tasks.spawn_on(fill(Arc::clone(&cluster), streams), &runtime);
        Ok(Watch {
            kube: self.clone(),
            houses,
            cluster,
            _tasks: tasks,
        })
    }

    fn of_namespaces(&self, namespaces: &[&str]) -> Streams<House> {
        fn moved(room: &mut Room) {
            room.version += 1;
        }
        let mut streams = Streams::default();
        macro_rules! watch {
            ($($what:literal => $($place:ident).+;)*) => {
                $(streams.add($what, self.every(namespaces), |room: &mut Room| &mut room.$($place).+, moved);)*
            };
        }
        watch! {
            "deployments" => objects.deployments;
            "replicasets" => objects.replica_sets;
            "statefulsets" => objects.stateful_sets;
            "daemonsets" => objects.daemon_sets;
            "jobs" => objects.jobs;
            "cronjobs" => objects.cron_jobs;
            "services" => objects.services;
            "ingresses" => objects.ingresses;
            "networkpolicies" => objects.policies;
            "horizontalpodautoscalers" => objects.autoscalers;
            "poddisruptionbudgets" => objects.budgets;
            "persistentvolumeclaims" => objects.claims;
            "resourcequotas" => objects.quotas;
        }
        streams.add(
            "gateways",
            self.if_it_has_gateways(self.every(namespaces)),
            |room: &mut Room| &mut room.objects.gateways,
            moved,
        );
        streams.add(
            "httproutes",
            self.if_it_has_gateways(self.every(namespaces)),
            |room: &mut Room| &mut room.objects.routes,
            moved,
        );
        let of_others = watcher::Config::default().labels(OF_OTHERS);
        let slices = events(of_several(&self.client, namespaces), of_others, lean);
        streams.add(
            "endpointslices",
            slices,
            |room: &mut Room| &mut room.objects.slices,
            moved,
        );
        let pods = of_several(&self.client, namespaces);
        let mut specs = Specs::default();
        let pods = events(pods, watcher::Config::default(), move |pod| {
            bare(specs.share(pod))
        });
        streams.add("pods", pods, |room: &mut Room| &mut room.pods, moved);
        let api = of_several::<PartialObjectMeta<ConfigMap>>(&self.client, namespaces);
        let maps = events(api, watcher::Config::default(), |map| {
            Keys::from(&map.metadata)
        });
        streams.add(
            "configmaps",
            maps,
            |room: &mut Room| &mut room.objects.config_maps,
            moved,
        );
        streams
    }

    fn of_cluster(&self) -> Streams<ClusterObjects> {
        let mut streams = Streams::default();
        if !self.sees_cluster {
            return streams;
        }
        fn others(cluster: &mut ClusterObjects) {
            cluster.changed += 1;
        }
        streams.add(
            "nodes",
            self.each(),
            |cluster: &mut ClusterObjects| &mut cluster.nodes,
            |_| (),
        );
        streams.add(
            "volumes",
            self.each(),
            |cluster: &mut ClusterObjects| &mut cluster.volumes,
            |_| (),
        );
        streams.add(
            "storage classes",
            self.each(),
            |cluster: &mut ClusterObjects| &mut cluster.storage_classes,
            others,
        );
        streams.add(
            "ingress classes",
            self.each(),
            |cluster: &mut ClusterObjects| &mut cluster.ingress_classes,
            others,
        );
        streams.add(
            "gateway classes",
            self.if_it_has_gateways(self.each()),
            |cluster: &mut ClusterObjects| &mut cluster.gateway_classes,
            others,
        );
        streams.add(
            "validating webhooks",
            self.each(),
            |cluster: &mut ClusterObjects| &mut cluster.validating,
            others,
        );
        streams.add(
            "mutating webhooks",
            self.each(),
            |cluster: &mut ClusterObjects| &mut cluster.mutating,
            others,
        );
        streams
    }

    fn every<K>(&self, namespaces: &[&str]) -> Events<K>
    where
        K: Clone
            + Debug
            + DeserializeOwned
            + Send
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + 'static,
    {
        events(
            of_several(&self.client, namespaces),
            watcher::Config::default(),
            lean,
        )
    }

    fn each<K>(&self) -> Events<K>
    where
        K: Clone + Debug + DeserializeOwned + Send + Resource<DynamicType = ()> + 'static,
    {
        events(
            Api::all(self.client.clone()),
            watcher::Config::default(),
            lean,
        )
    }

    /// What happens to objects of the Gateway API; nothing where the cluster didn't have it at first.
    fn if_it_has_gateways<T: Send + 'static>(&self, events: Events<T>) -> Events<T> {
        let kube = self.clone();
        let installed = stream::once(async move { kube.has_gateways().await });
        let mut events = Some(events);
        let none = || stream::iter([Ok(Event::Init), Ok(Event::InitDone)]);
        let all = installed.flat_map(move |installed| match (installed, events.take()) {
            (Ok(false), _) | (_, None) => none().chain(stream::pending()).boxed(),
            (_, Some(events)) => events,
        });
        all.boxed()
    }
}

type Events<K> = BoxStream<'static, Result<Event<((String, String), K)>, watcher::Error>>;

/// A pod without what only its watch needs.
fn bare(mut pod: Pod) -> Pod {
    let metadata = &mut pod.metadata;
    (metadata.uid, metadata.namespace, metadata.resource_version) = (None, None, None);
    pod
}

/// What happens to the objects of a kind, each with its namespace and name.
fn events<K, T>(
    api: Api<K>,
    config: watcher::Config,
    mut keep: impl FnMut(K) -> T + Send + 'static,
) -> Events<T>
where
    K: Clone + Debug + DeserializeOwned + Send + Resource<DynamicType = ()> + 'static,
    T: 'static,
{
    let config = config.timeout(RENEWED);
    let mut named = move |item: K| (place(&item), keep(item));
    let events = watcher::watcher(api, config).default_backoff();
    let events = events.map_ok(move |event| match event {
        Event::Apply(item) => Event::Apply(named(item)),
        Event::Delete(item) => Event::Delete(named(item)),
        Event::Init => Event::Init,
        Event::InitApply(item) => Event::InitApply(named(item)),
        Event::InitDone => Event::InitDone,
    });
    events.boxed()
}

/// The watches of one place, as changes to it.
struct Streams<T> {
    streams: Vec<BoxStream<'static, Change<T>>>,
    awaited: BTreeSet<&'static str>,
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            awaited: BTreeSet::new(),
        }
    }
}

impl<T: Rooms + 'static> Streams<T> {
    /// `field` is where the objects of a room stand, `note` what else has to be done at each change.
    fn add<K: Send + 'static>(
        &mut self,
        what: &'static str,
        events: Events<K>,
        field: fn(&mut T::Room) -> &mut Named<K>,
        note: fn(&mut T::Room),
    ) {
        self.awaited.insert(what);
        // A list is kept apart until it is whole: what is known stays meanwhile.
        let changes = events.scan(BTreeMap::<_, Named<K>>::new(), move |listed, event| {
            let change: Change<T> = match event {
                Err(error) => Box::new(move |state| {
                    state.problems.insert(what, problem(&error));
                    state.version += 1;
                    state.content.each(|_, room| note(room));
                }),
                Ok(Event::Init) => {
                    listed.clear();
                    Box::new(|_| ())
                }
                Ok(Event::InitApply(((namespace, name), item))) => {
                    listed.entry(namespace).or_default().insert(name, item);
                    Box::new(|_| ())
                }
                Ok(Event::InitDone) => {
                    let mut whole = std::mem::take(listed);
                    Box::new(move |state| {
                        state.settle(what);
                        state.content.each(|namespace, room| {
                            *field(room) = whole.remove(namespace).unwrap_or_default();
                            note(room);
                        });
                    })
                }
                Ok(Event::Apply(((namespace, name), item))) => Box::new(move |state| {
                    state.change(what, &namespace, note, |room| {
                        field(room).insert(name, item);
                    });
                }),
                Ok(Event::Delete(((namespace, name), _))) => Box::new(move |state| {
                    state.change(what, &namespace, note, |room| {
                        field(room).remove(&name);
                    });
                }),
            };
            futures::future::ready(Some(change))
        });
        self.streams.push(changes.boxed());
    }
}

impl<T: Rooms> State<T> {
    /// Something of a kind came: it is known. Whether it wasn't, so that what was said of any room may no longer be so.
    fn settle(&mut self, what: &'static str) -> bool {
        self.version += 1;
        self.awaited.remove(what) | self.problems.remove(what).is_some()
    }

    /// An object changed, of one of the rooms or of none.
    fn change(
        &mut self,
        what: &'static str,
        namespace: &str,
        note: fn(&mut T::Room),
        change: impl FnOnce(&mut T::Room),
    ) {
        let is_news = self.settle(what);
        if let Some(room) = self.content.room(namespace) {
            change(room);
            note(room);
        }
        if is_news {
            self.content.each(|_, room| note(room));
        }
    }
}

impl<T> Shared<T> {
    fn awaiting(content: T, streams: &Streams<T>) -> Self {
        let state = State {
            content,
            awaited: streams.awaited.clone(),
            problems: BTreeMap::new(),
            version: 0,
        };
        Self {
            state: Mutex::new(state),
            moved: Notify::new(),
        }
    }
}

impl<T> Shared<T> {
    /// Waits until everything came once, or can't; says what is missing.
    async fn settled(&self, deadline: Instant, place: &str) -> Vec<String> {
        loop {
            let moved = self.moved.notified();
            if let Some(missing) = self.state.lock().await.missing(deadline, place) {
                return missing;
            }
            // Whether it moved or the time is up is seen above.
            let _ = timeout_at(deadline, moved).await;
        }
    }
}

impl<T> State<T> {
    /// The kinds of which not all is known.
    fn unseen(&self) -> BTreeSet<&'static str> {
        let late = self.awaited.iter().chain(self.problems.keys());
        late.copied().collect()
    }

    /// What is missing; none while something may still come.
    fn missing(&self, deadline: Instant, place: &str) -> Option<Vec<String>> {
        let late = self
            .awaited
            .iter()
            .filter(|what| !self.problems.contains_key(*what));
        let late: Vec<String> = late
            .map(|what| format!("the {what}{place} have not come yet"))
            .collect();
        let problems = self.problems.iter();
        let problems =
            problems.map(|(what, why)| format!("the {what}{place} could not be watched: {why}"));
        let is_over = late.is_empty() || Instant::now() >= deadline;
        is_over.then(|| problems.chain(late).collect())
    }
}

/// The words of the API server, or that there was none.
fn problem(error: &watcher::Error) -> String {
    let of_client = |error: &::kube::Error| super::refusal(error).map(|(_, message)| message);
    let said = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => of_client(error),
        watcher::Error::WatchError(status) => Some(crate::redact::redact(&status.message)),
        _ => None,
    };
    said.unwrap_or_else(|| "the cluster does not answer".into())
}

/// Applies changes as they come, for as long as somebody listens.
async fn fill<T: Send + 'static>(place: Arc<Shared<T>>, streams: Streams<T>) {
    let mut changes = select_all(streams.streams);
    while let Some(change) = changes.next().await {
        change(&mut *place.state.lock().await);
        place.moved.notify_waiters();
    }
}

#[async_trait]
impl Scanner for Watch {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        let deadline = deadline(self.kube.scan_within);
        let mut scan = Scan::default();
        scan.incomplete
            .extend(self.cluster.settled(deadline, "").await);
        let mut services = BTreeMap::new();
        for namespace in scope.iter() {
            let watched = |names: &Vec<String>| names.iter().any(|name| name == namespace);
            let house = self.houses.iter().find(|(names, _)| watched(names));
            let Some((names, house)) = house else {
                return Err(ScanError {
                    problem: format!(
                        "namespace `{namespace}` is not watched: watch it, or leave it out of the scope"
                    ),
                    source: None,
                });
            };
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let missing = house.settled(deadline, &of_namespaces(&names)).await;
            let is_new = |text: &String| !scan.incomplete.contains(text);
            let missing: Vec<String> = missing.into_iter().filter(is_new).collect();
            scan.incomplete.extend(missing);
            let (part, answering) = self.judge(namespace, house, deadline).await;
            scan.add(part);
            services.extend(answering);
        }
        let cluster = self.cluster.state.lock().await;
        scan.findings
            .extend(of_cluster(&self.kube, &cluster.content, &services));
        Ok(scan)
    }

    fn begin_watch(&self, scope: &Scope) -> Option<Box<dyn Watching>> {
        self.kube.begin_watch(scope)
    }
}

#[async_trait]
impl Watching for Watch {
    async fn changed(&self) {
        loop {
            let houses = self.houses.iter().map(|(_, house)| house.moved.notified());
            let moved = houses.chain([self.cluster.moved.notified()]).map(Box::pin);
            let moved = select_all_of(moved.collect::<Vec<_>>());
            let due = match self.next_look().await {
                Some(due) => deadline(due),
                None => return,
            };
            // Whether it moved or the time has come is seen above.
            let _ = timeout_at(due, moved).await;
        }
    }
}

impl Watch {
    /// How long everything that was said stays so if nothing moves; none where it no longer is.
    async fn next_look(&self) -> Option<Duration> {
        let now = Timestamp::now();
        let mut wait = Duration::MAX;
        for (_, house) in &self.houses {
            let state = house.state.lock().await;
            let cluster = self.cluster.state.lock().await;
            for room in state.content.values() {
                let judged = room.judged.as_ref()?;
                let seen = (room.version, cluster.seen_by(judged.waits));
                let left = judged.next.map(|next| next.duration_since(now));
                if judged.versions != seen || left.is_some_and(|left| !left.is_positive()) {
                    return None;
                }
                wait = wait.min(left.map_or(Duration::MAX, |left| left.unsigned_abs()));
            }
        }
        Some(wait)
    }

    /// What is to be said of a namespace, anew where that may have changed.
    async fn judge(
        &self,
        namespace: &str,
        house: &Shared<House>,
        deadline: Instant,
    ) -> (Scan, BTreeMap<(String, String), bool>) {
        let now = Timestamp::now();
        let mut state = house.state.lock().await;
        let mut cluster = self.cluster.state.lock().await;
        let unseen = state.unseen();
        let Some(room) = state.content.get_mut(namespace) else {
            return Default::default();
        };
        let version = room.version;
        let known = room.judged.as_ref().filter(|judged| {
            judged.versions == (version, cluster.seen_by(judged.waits))
                && judged.next.is_none_or(|next| now < next)
        });
        if let Some(known) = known {
            return (known.scan.clone(), known.services.clone());
        }
        let is_asked = self.kube.is_quiet && cluster.content.asked.initialized();
        // What a hold is told of is whether memory ran out, not how much a node has.
        let asks = if self.kube.is_quiet {
            is_waiting
        } else {
            needs_nodes
        };
        if !cluster.content.whole && !is_asked && room.pods.values().any(asks) {
            cluster.content.asked = OnceCell::from(self.kube.some_nodes().await);
        }
        (room.objects.unseen, cluster.content.unseen) = (unseen, cluster.unseen());
        let mut seen = Seen::new(
            namespace,
            &room.objects,
            &cluster.content,
            now,
            self.kube.unready_after,
        );
        let mut crowd = Crowd::new(&seen);
        room.pods.values().for_each(|pod| crowd.add(&seen, pod));
        let (findings, facts) = crowd.finish();
        seen.pods = facts;
        seen.pods.unseen = room.objects.unseen.contains("pods");
        let mut scan = judge(&seen, findings);
        let unasked = self.kube.ask_why(&seen, &mut scan, deadline).await;
        scan.incomplete.extend(unasked);
        let services = seen.answering(&cluster.content.webhook_services());
        let waits = room.pods.values().any(needs_nodes);
        // Nodes that aren't watched may have changed.
        let unwatched =
            (waits && !cluster.content.whole && !self.kube.is_quiet).then(|| now + ASKED_AGAIN);
        let next = seen.next().into_iter().chain(unwatched).min();
        drop(seen);
        let versions = (version, cluster.seen_by(waits));
        room.judged = Some(Judged {
            scan: scan.clone(),
            services: services.clone(),
            versions,
            next,
            waits,
        });
        (scan, services)
    }
}

impl State<ClusterObjects> {
    /// The changes that matter for pods that have their place, or wait for it.
    fn seen_by(&self, waits: bool) -> u64 {
        if waits {
            self.version
        } else {
            self.content.changed
        }
    }
}
