//! What one look at a namespace saw: its objects, what its pods come to, and what was asked about them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ::kube::api::ObjectMeta;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::Endpoint;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference, Time};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::ignored::Ignored;
use super::lean::{
    DaemonSet, Deployment, EndpointSlice, Gateway, GatewayClass, HttpRoute, Job, Labels, Node,
    POD_HASH, Pod, ReplicaSet, StatefulSet, Template,
};
use super::shapes::Shapes;
use crate::action::Quantity;
use crate::incident::{ObjectRef, Runs};

/// The label that says of which service an EndpointSlice is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Objects of one kind, by name.
pub(super) type Named<T> = BTreeMap<String, T>;

/// The objects of a namespace, but for its pods.
#[derive(Default)]
pub(super) struct Objects {
    pub(super) deployments: Named<Deployment>,
    pub(super) replica_sets: Named<ReplicaSet>,
    pub(super) stateful_sets: Named<StatefulSet>,
    pub(super) daemon_sets: Named<DaemonSet>,
    pub(super) jobs: Named<Job>,
    pub(super) cron_jobs: Named<CronJob>,
    pub(super) config_maps: Named<Keys>,
    pub(super) services: Named<Service>,
    /// Who answers for a service, but for what the cluster's own controller says of selectors.
    pub(super) slices: Named<EndpointSlice>,
    pub(super) ingresses: Named<Ingress>,
    pub(super) gateways: Named<Gateway>,
    pub(super) routes: Named<HttpRoute>,
    pub(super) policies: Named<NetworkPolicy>,
    pub(super) autoscalers: Named<HorizontalPodAutoscaler>,
    pub(super) budgets: Named<PodDisruptionBudget>,
    pub(super) claims: Named<PersistentVolumeClaim>,
    pub(super) quotas: Named<ResourceQuota>,
    /// The kinds that could not be listed: that one of them isn't there means nothing.
    pub(super) unseen: BTreeSet<&'static str>,
}

/// What belongs to no namespace; empty where it may not be looked at.
#[derive(Default)]
pub(super) struct ClusterObjects {
    /// Whether it was looked at.
    pub(super) whole: bool,
    pub(super) nodes: Named<Node>,
    /// The nodes where only those were looked at, because a pod waits for its place.
    pub(super) asked: OnceCell<Named<Node>>,
    /// Counts the changes of everything but nodes and volumes, for who watches it.
    pub(super) changed: u64,
    pub(super) volumes: Named<PersistentVolume>,
    pub(super) storage_classes: Named<StorageClass>,
    pub(super) ingress_classes: Named<IngressClass>,
    pub(super) gateway_classes: Named<GatewayClass>,
    pub(super) validating: Named<ValidatingWebhookConfiguration>,
    pub(super) mutating: Named<MutatingWebhookConfiguration>,
    /// The kinds that could not be listed.
    pub(super) unseen: BTreeSet<&'static str>,
}

impl ClusterObjects {
    /// The nodes, as far as they were looked at.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&String, &Node)> + Clone {
        self.nodes
            .iter()
            .chain(self.asked.get().into_iter().flatten())
    }

    /// What the node with the most of a resource has for pods; none where no node says.
    pub(super) fn largest_node(&self, resource: &str) -> Option<Quantity> {
        let of_node = |node: &Node| {
            let amount = node.status.as_ref()?.allocatable.as_ref()?.get(resource)?;
            Quantity::new(amount.0.as_str()).ok()
        };
        self.nodes().filter_map(|(_, node)| of_node(node)).max()
    }

    /// The admission webhooks of both kinds.
    pub(super) fn webhooks(&self) -> impl Iterator<Item = Webhook<'_>> {
        macro_rules! hooks {
            ($field:ident, $kind:literal) => {
                self.$field.iter().flat_map(|(name, of)| {
                    of.webhooks.iter().flatten().map(move |hook| Webhook {
                        kind: $kind,
                        configuration: name,
                        name: &hook.name,
                        client: &hook.client_config,
                        is_open: hook.failure_policy.as_deref() == Some("Ignore"),
                    })
                })
            };
        }
        let validating = hooks!(validating, "ValidatingWebhookConfiguration");
        validating.chain(hooks!(mutating, "MutatingWebhookConfiguration"))
    }

    /// The services that admission webhooks ask, by namespace and name.
    pub(super) fn webhook_services(&self) -> BTreeSet<(String, String)> {
        let services = self
            .webhooks()
            .filter_map(|hook| hook.client.service.as_ref());
        services
            .map(|service| (service.namespace.clone(), service.name.clone()))
            .collect()
    }

    /// Whether a storage class that is asked for isn't there, as far as classes were looked at.
    pub(super) fn lacks_storage_class(&self, class: &str) -> bool {
        self.whole && !class.is_empty() && !self.storage_classes.contains_key(class)
    }
}

/// An admission webhook, of whichever kind.
pub(super) struct Webhook<'a> {
    kind: &'static str,
    configuration: &'a str,
    pub(super) name: &'a str,
    pub(super) client: &'a WebhookClientConfig,
    /// Whether changes are made without it where it doesn't answer.
    pub(super) is_open: bool,
}

impl Webhook<'_> {
    /// The configuration that it stands in.
    pub(super) fn owner(&self) -> ObjectRef {
        ObjectRef {
            kind: self.kind.into(),
            namespace: String::new(),
            name: self.configuration.into(),
        }
    }
}

/// The names of a ConfigMap's keys and when they were written: what it holds is never read.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) names: BTreeSet<String>,
    pub(super) written: Option<Timestamp>,
}

impl From<&ObjectMeta> for Keys {
    fn from(metadata: &ObjectMeta) -> Self {
        let fields = metadata.managed_fields.iter().flatten();
        let written = fields
            .clone()
            .filter_map(|field| Some(field.time.as_ref()?.0));
        let parts = ["f:data", "f:binaryData"].into_iter();
        let keys = fields.clone().filter_map(|field| field.fields_v1.as_ref());
        let keys = keys.flat_map(|fields| {
            let parts = parts
                .clone()
                .filter_map(|part| fields.0.get(part)?.as_object());
            parts.flat_map(Map::keys)
        });
        Self {
            names: keys
                .filter_map(|key| Some(key.strip_prefix("f:")?.to_owned()))
                .collect(),
            written: written.max(),
        }
    }
}

/// What the pods of a namespace come to.
#[derive(Default)]
pub(super) struct PodFacts {
    /// Whether they could not be listed.
    pub(super) unseen: bool,
    /// How many pods of each workload are ready.
    pub(super) ready: BTreeMap<ObjectRef, u32>,
    /// How the containers of each workload ended.
    pub(super) runs: BTreeMap<ObjectRef, Runs>,
    /// What a selector can mean.
    pub(super) shapes: Shapes,
    /// Workloads with a finding about their pods.
    pub(super) troubled: BTreeSet<ObjectRef>,
    /// The claims for storage that pods have.
    pub(super) claims: BTreeSet<String>,
    /// What is to be ignored, as the annotations of the objects say.
    pub(super) ignored: Ignored,
}

/// One look at a namespace.
pub(super) struct Seen<'a> {
    pub(super) now: Timestamp,
    pub(super) unready_after: Duration,
    pub(super) namespace: &'a str,
    pub(super) objects: &'a Objects,
    pub(super) cluster: &'a ClusterObjects,
    pub(super) pods: PodFacts,
    sets: HashMap<&'a str, &'a ReplicaSet>,
    revisions: HashMap<&'a str, Vec<(u64, &'a ReplicaSet)>>,
    /// When something comes of age that hasn't yet, in milliseconds.
    next: AtomicI64,
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        namespace: &'a str,
        objects: &'a Objects,
        cluster: &'a ClusterObjects,
        now: Timestamp,
        unready_after: Duration,
    ) -> Self {
        let (mut sets, mut revisions) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for set in objects.replica_sets.values() {
            if let Some(uid) = set.metadata.uid.as_deref() {
                sets.insert(uid, set);
            }
            if let (Some(owner), Some(revision)) =
                (controller(&set.metadata), revision(&set.metadata))
            {
                revisions
                    .entry(owner.uid.as_str())
                    .or_default()
                    .push((revision, set));
            }
        }
        revisions
            .values_mut()
            .for_each(|sets| sets.sort_by_key(|(revision, _)| *revision));
        Self {
            now,
            unready_after,
            namespace,
            objects,
            cluster,
            pods: PodFacts::default(),
            sets,
            revisions,
            next: AtomicI64::new(i64::MAX),
        }
    }

    pub(super) fn named(&self, kind: &str, name: &str) -> ObjectRef {
        ObjectRef {
            kind: kind.into(),
            namespace: self.namespace.into(),
            name: name.into(),
        }
    }

    /// The workload that a person would change: a pod's Deployment, not its ReplicaSet.
    pub(super) fn owner(&self, pod: &ObjectMeta) -> ObjectRef {
        let Some(owner) = controller(pod) else {
            return self.named("Pod", pod.name.as_deref().unwrap_or_default());
        };
        let above = match owner.kind.as_str() {
            "ReplicaSet" => match self.sets.get(owner.uid.as_str()) {
                Some(set) => controller(&set.metadata),
                // One that came after the ReplicaSets were listed is named after its Deployment.
                None => {
                    let hash = pod.labels.as_ref().and_then(|labels| labels.get(POD_HASH));
                    let name =
                        hash.and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'));
                    if let Some(name) = name {
                        return self.named("Deployment", name);
                    }
                    None
                }
            },
            "Job" => {
                let job = self.objects.jobs.get(&owner.name);
                job.and_then(|job| controller(&job.metadata))
            }
            _ => None,
        };
        let owner = above.unwrap_or(owner);
        self.named(&owner.kind, &owner.name)
    }

    /// The latest revision of a Deployment, before the current one, that has pods which are ready.
    pub(super) fn working_revision(&self, owner: &ObjectRef) -> Option<Value> {
        let deployment = self
            .deployment(&owner.name)
            .filter(|_| owner.kind == "Deployment")?;
        let sets = self.revisions.get(deployment.metadata.uid.as_deref()?)?;
        let ((_, current), earlier) = sets.split_last()?;
        let ready = |set: &ReplicaSet| {
            let status = set.status.as_ref();
            status.and_then(|status| status.ready_replicas).unwrap_or(0) > 0
        };
        let (revision, set) = earlier.iter().rev().find(|(_, set)| ready(set))?;
        let (template, now) = (
            &set.spec.as_ref()?.template,
            &current.spec.as_ref()?.template,
        );
        let only_images = template.rest == now.rest;
        Some(
            json!({ "revision": revision, "images": template.images, "only_images_changed": only_images }),
        )
    }

    /// The Deployment of this name.
    pub(super) fn deployment(&self, name: &str) -> Option<&'a Deployment> {
        self.objects.deployments.get(name)
    }

    /// How long what takes its time, such as loading an image or making a volume, may take.
    pub(super) fn slow_after(&self) -> Duration {
        self.unready_after.saturating_mul(10)
    }

    /// Whether it was longer ago than `limit`; what is yet to come of age is remembered.
    pub(super) fn older_than(&self, since: Option<&Time>, limit: Duration) -> bool {
        let Some(since) = since else {
            return false;
        };
        let age = self.now.duration_since(since.0);
        if limit.is_zero() || age.is_positive() && age.unsigned_abs() >= limit {
            return true;
        }
        let due = since
            .0
            .as_millisecond()
            .saturating_add(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
        self.next.fetch_min(due, Ordering::Relaxed);
        false
    }

    /// Whether all objects of these kinds are known, so that one that isn't there is missing.
    pub(super) fn saw_all(&self, kinds: &[&'static str]) -> bool {
        kinds.iter().all(|kind| {
            let unseen = self.objects.unseen.contains(kind) || self.cluster.unseen.contains(kind);
            !(unseen || *kind == "pods" && self.pods.unseen)
        })
    }

    /// Whether it is a StatefulSet that replaces no copy while one doesn't work.
    pub(super) fn replaces_in_order(&self, owner: &ObjectRef) -> bool {
        let set = self.objects.stateful_sets.get(&owner.name);
        owner.kind == "StatefulSet"
            && set
                .and_then(|set| set.spec.as_ref())
                .is_some_and(|spec| spec.pod_management_policy.as_deref() != Some("Parallel"))
    }

    /// Which of these services, as far as they are of this namespace, have a pod that is ready.
    pub(super) fn answering(
        &self,
        services: &BTreeSet<(String, String)>,
    ) -> BTreeMap<(String, String), bool> {
        if !self.saw_all(&["services", "pods"]) {
            return BTreeMap::new();
        }
        let own = services
            .iter()
            .filter(|(namespace, _)| namespace == self.namespace);
        let answers = |name: &String| {
            let service = self.objects.services.get(name)?;
            let Some(selector) = service.spec.as_ref()?.selector.as_ref() else {
                return Some(self.has_endpoints(name));
            };
            Some(
                self.pods
                    .shapes
                    .with(selector)
                    .any(|(_, shape)| shape.ready > 0),
            )
        };
        own.map(|key| (key.clone(), answers(&key.1).unwrap_or(false)))
            .collect()
    }

    /// Whether somebody answers for a service that says itself nothing of who.
    pub(super) fn has_endpoints(&self, service: &str) -> bool {
        let of_service = |slice: &&EndpointSlice| {
            let labels = slice.metadata.labels.as_ref();
            labels
                .and_then(|labels| labels.get(SERVICE_NAME))
                .map(String::as_str)
                == Some(service)
        };
        let slices = self.objects.slices.values().filter(of_service);
        let mut endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten());
        // What isn't known counts as ready.
        let is_ready = |endpoint: &Endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.and_then(|conditions| conditions.ready) != Some(false)
        };
        endpoints.any(is_ready)
    }

    /// Whether a selector means neither a pod nor what any workload would make. Without terms it means every pod.
    pub(super) fn selects_nothing(&self, selector: &LabelSelector) -> bool {
        let none = Labels::new();
        let has_terms = selector.match_labels.is_some() || selector.match_expressions.is_some();
        has_terms && self.pods.shapes.selected(selector, &none).next().is_none()
    }

    /// When the same objects would first give other findings.
    pub(super) fn next(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.next.load(Ordering::Relaxed)).ok()
    }
}

impl Objects {
    /// What each workload would run.
    pub(super) fn templates<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (ObjectRef, &'a Template)> {
        let named = move |kind: &str, name: &str| ObjectRef {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        let deployments = self
            .deployments
            .iter()
            .filter_map(move |(name, deployment)| {
                Some((
                    named("Deployment", name),
                    &deployment.spec.as_ref()?.template,
                ))
            });
        let sets = self.stateful_sets.iter().filter_map(move |(name, set)| {
            Some((named("StatefulSet", name), &set.spec.as_ref()?.template))
        });
        let daemons = self.daemon_sets.iter().filter_map(move |(name, set)| {
            Some((named("DaemonSet", name), &set.spec.as_ref()?.template))
        });
        deployments.chain(sets).chain(daemons)
    }
}

impl Objects {
    /// What the annotations of the objects ask to be ignored.
    pub(super) fn note_ignored(&self, namespace: &str, ignored: &mut Ignored) {
        let mut note = |kind: &str, metadata: &ObjectMeta| {
            if metadata.annotations.is_some() {
                let object = ObjectRef {
                    kind: kind.into(),
                    namespace: namespace.into(),
                    name: metadata.name.clone().unwrap_or_default(),
                };
                ignored.note(object, metadata.annotations.as_ref());
            }
        };
        macro_rules! each {
            ($($field:ident: $kind:literal,)*) => {
                $(self.$field.values().for_each(|object| note($kind, &object.metadata));)*
            };
        }
        each! {
            deployments: "Deployment",
            replica_sets: "ReplicaSet",
            stateful_sets: "StatefulSet",
            daemon_sets: "DaemonSet",
            jobs: "Job",
            cron_jobs: "CronJob",
            services: "Service",
            ingresses: "Ingress",
            policies: "NetworkPolicy",
            autoscalers: "HorizontalPodAutoscaler",
            budgets: "PodDisruptionBudget",
            claims: "PersistentVolumeClaim",
            quotas: "ResourceQuota",
        }
    }
}

pub(super) fn object(kind: &str, metadata: &ObjectMeta) -> ObjectRef {
    ObjectRef {
        kind: kind.into(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// Whether a pod is ready, and stays.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.iter();
    let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(super) fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

/// Whether an annotation says `true`.
pub(super) fn is_marked(metadata: &ObjectMeta, annotation: &str) -> bool {
    let annotations = metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(annotation))
        .is_some_and(|value| value == "true")
}

fn revision(metadata: &ObjectMeta) -> Option<u64> {
    let annotations = metadata.annotations.as_ref()?;
    annotations
        .get("deployment.kubernetes.io/revision")?
        .parse()
        .ok()
}
