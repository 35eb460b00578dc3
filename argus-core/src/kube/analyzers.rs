//! Pure functions from objects to findings, one file per kind.

use std::collections::BTreeMap;
use std::time::Duration;

use ::kube::api::ObjectMeta;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{Node, Pod, PodTemplateSpec, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use serde_json::{Map, Value, json};

use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

pub(super) mod autoscalers;
pub(super) mod cron_jobs;
pub(super) mod deployments;
pub(super) mod disruption_budgets;
pub(super) mod ingresses;
mod placement;
pub(super) mod pods;
pub(super) mod services;

/// How many letters may be wrong in a word whose meaning is certain.
const TYPOS: usize = 2;

/// What one scan of one namespace saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) now: Timestamp,
    pub(super) unready_after: Duration,
    pub(super) pods: Vec<Pod>,
    /// How many pods of each workload are ready, by [`Seen::count_ready`].
    pub(super) ready: BTreeMap<ObjectRef, u32>,
    pub(super) deployments: Vec<Deployment>,
    pub(super) replica_sets: Vec<ReplicaSet>,
    pub(super) config_maps: Vec<ObjectMeta>,
    pub(super) services: Vec<Service>,
    pub(super) cron_jobs: Vec<CronJob>,
    pub(super) ingresses: Vec<Ingress>,
    pub(super) autoscalers: Vec<HorizontalPodAutoscaler>,
    pub(super) budgets: Vec<PodDisruptionBudget>,
    /// Read only where a pod finds no place; none where they may not be read.
    pub(super) nodes: Vec<Node>,
}

impl Seen {
    /// The workload that a person would change: a pod's Deployment, not its ReplicaSet.
    fn owner(&self, pod: &Pod) -> ObjectRef {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let named = |kind: &str, name: &str| ObjectRef {
            kind: kind.into(),
            namespace: namespace.clone(),
            name: name.into(),
        };
        let Some(owner) = controller(&pod.metadata) else {
            return named("Pod", pod.metadata.name.as_deref().unwrap_or_default());
        };
        let set = self.replica_sets.iter().find(|set| {
            owner.kind == "ReplicaSet" && set.metadata.uid.as_ref() == Some(&owner.uid)
        });
        match set.and_then(|set| controller(&set.metadata)) {
            Some(owner) => named(&owner.kind, &owner.name),
            None => named(&owner.kind, &owner.name),
        }
    }

    /// The latest revision of a Deployment, before the current one, that has pods which are ready.
    fn working_revision(&self, owner: &ObjectRef) -> Option<Value> {
        let deployment = self
            .deployment(&owner.name)
            .filter(|_| owner.kind == "Deployment")?;
        let mut sets: Vec<(u64, &ReplicaSet)> = self
            .replica_sets
            .iter()
            .filter(|set| {
                controller(&set.metadata)
                    .is_some_and(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref())
            })
            .filter_map(|set| Some((revision(&set.metadata)?, set)))
            .collect();
        sets.sort_by_key(|(revision, _)| *revision);
        let (_, current) = sets.pop()?;
        let ready = |set: &ReplicaSet| {
            set.status
                .as_ref()
                .and_then(|status| status.ready_replicas)
                .unwrap_or(0)
                > 0
        };
        let (revision, set) = sets.into_iter().rev().find(|(_, set)| ready(set))?;
        let images = images(set.spec.as_ref()?.template.as_ref()?);
        let only_images = without_images(set) == without_images(current);
        Some(json!({ "revision": revision, "images": images, "only_images_changed": only_images }))
    }

    /// Counts the ready pods of each workload, once for all who ask.
    pub(super) fn count_ready(&mut self) {
        let mut ready = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| is_ready(pod)) {
            *ready.entry(self.owner(pod)).or_default() += 1;
        }
        self.ready = ready;
    }

    /// The Deployment of this name.
    fn deployment(&self, name: &str) -> Option<&Deployment> {
        let mut deployments = self.deployments.iter();
        deployments.find(|deployment| deployment.metadata.name.as_deref() == Some(name))
    }

    /// A finding about an object as a whole; `part` tells two of one cause and object apart.
    fn finding(&self, fault: Fault, owner: ObjectRef, part: &str, facts: Value) -> Finding {
        Finding {
            finding_id: Finding::stable_id(fault.cause, &owner, part),
            category: fault.category,
            severity: fault.severity,
            title: fault.title,
            description: fault.description,
            target: format!("k8s://{}/{}", owner.namespace, owner.name),
            infra_type: "kubernetes".into(),
            evidence: Vec::new(),
            metrics: Map::new(),
            timestamp: self.now,
            raw_data: map(facts),
            owner: Some(owner),
            cause: Some(fault.cause),
        }
    }

    fn older_than(&self, since: Option<&Time>, limit: Duration) -> bool {
        let age = since.map(|time| self.now.duration_since(time.0));
        age.is_some_and(|age| age.unsigned_abs() >= limit && age.is_positive() || limit.is_zero())
    }
}

/// What is wrong with an object, in words.
struct Fault {
    cause: Cause,
    category: Category,
    severity: Severity,
    title: String,
    description: String,
}

fn object(kind: &str, metadata: &ObjectMeta) -> ObjectRef {
    ObjectRef {
        kind: kind.into(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// The one of `known` that was meant by a word that is none of them; none where two could be.
fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |other: &&str| {
        strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase()) <= TYPOS
    };
    let mut near = known.filter(near);
    let first = near.next()?;
    near.next().is_none().then_some(first)
}

/// Whether a pod is ready, and stays.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.iter();
    let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(super) fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}

fn revision(metadata: &ObjectMeta) -> Option<u64> {
    metadata
        .annotations
        .as_ref()?
        .get("deployment.kubernetes.io/revision")?
        .parse()
        .ok()
}

fn images(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .map(|container| {
            (
                container.name.clone(),
                container.image.clone().unwrap_or_default(),
            )
        })
        .collect()
}

/// A ReplicaSet's template without images and hash: equal for two revisions that differ only in images.
fn without_images(set: &ReplicaSet) -> Option<PodTemplateSpec> {
    let mut template = set.spec.as_ref()?.template.clone()?;
    template
        .spec
        .iter_mut()
        .flat_map(|spec| &mut spec.containers)
        .for_each(|container| container.image = None);
    template
        .metadata
        .iter_mut()
        .filter_map(|metadata| metadata.labels.as_mut())
        .for_each(|labels| {
            labels.remove("pod-template-hash");
        });
    Some(template)
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
