//! Kubernetes objects with only the fields that analyzers read; the rest, such as `managedFields` and the values of environment
//! variables, is skipped while it is parsed. A whole pod takes 32 KiB and four times as long.

use std::collections::BTreeMap;

use ::kube::Resource;
use ::kube::api::ObjectMeta;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::{ContainerPort, EnvFromSource, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::digest::Digest;

/// What `kubectl apply` keeps of an object, which is the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) type Labels = BTreeMap<String, String>;

macro_rules! lean {
    ($($(#[$attribute:meta])* struct $name:ident { $($(#[$of:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name { $($(#[$of])* pub(super) $field: $type,)* }
    )*};
}

lean! {
    #[derive(Resource)]
    #[resource(inherit = core::Pod)]
    struct Pod {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<PodSpec>,
        status: Option<PodStatus>,
    }

    struct PodSpec {
        node_name: Option<String>,
        containers: Vec<Container>,
        init_containers: Option<Vec<Container>>,
        node_selector: Option<Labels>,
        tolerations: Option<Vec<Toleration>>,
        affinity: Option<Affinity>,
        volumes: Option<Vec<Volume>>,
        termination_grace_period_seconds: Option<i64>,
    }

    struct Affinity {
        pod_anti_affinity: Option<PodAntiAffinity>,
    }

    struct PodAntiAffinity {
        required_during_scheduling_ignored_during_execution: Option<Vec<serde::de::IgnoredAny>>,
    }

    struct Container {
        name: String,
        image: Option<String>,
        ports: Option<Vec<ContainerPort>>,
        env: Option<Vec<Variable>>,
        env_from: Option<Vec<EnvFromSource>>,
        resources: Option<Resources>,
        readiness_probe: Option<Probe>,
        liveness_probe: Option<Probe>,
        startup_probe: Option<Probe>,
    }

    struct Variable {
        name: String,
        value_from: Option<VariableSource>,
    }

    struct VariableSource {
        config_map_key_ref: Option<core::ConfigMapKeySelector>,
    }

    struct Resources {
        limits: Option<BTreeMap<String, Quantity>>,
        requests: Option<BTreeMap<String, Quantity>>,
    }

    struct Probe {
        http_get: Option<Checked>,
        tcp_socket: Option<Checked>,
        initial_delay_seconds: Option<i32>,
        period_seconds: Option<i32>,
        failure_threshold: Option<i32>,
    }

    struct Checked {
        port: IntOrString,
    }

    struct Volume {
        name: String,
        persistent_volume_claim: Option<ClaimSource>,
        config_map: Option<ConfigMapSource>,
    }

    struct ClaimSource {
        claim_name: String,
    }

    struct ConfigMapSource {
        name: String,
        optional: Option<bool>,
    }

    struct PodStatus {
        phase: Option<String>,
        reason: Option<String>,
        message: Option<String>,
        #[serde(deserialize_with = "conditions")]
        conditions: Option<Vec<Condition>>,
        container_statuses: Option<Vec<ContainerStatus>>,
        init_container_statuses: Option<Vec<ContainerStatus>>,
        start_time: Option<Time>,
    }

    struct ContainerStatus {
        name: String,
        image: String,
        ready: bool,
        restart_count: i32,
        state: Option<ContainerState>,
        last_state: Option<ContainerState>,
    }

    /// How a container waits, or ended; neither for one that runs.
    struct ContainerState {
        waiting: Option<Box<Waiting>>,
        terminated: Option<Box<Terminated>>,
    }

    struct Waiting {
        reason: Option<String>,
        message: Option<String>,
    }

    struct Terminated {
        exit_code: i32,
        reason: Option<String>,
        started_at: Option<Time>,
        finished_at: Option<Time>,
    }

    /// A condition of any kind of object.
    struct Condition {
        #[serde(rename = "type")]
        type_: String,
        status: String,
        reason: Option<String>,
        message: Option<String>,
        last_transition_time: Option<Time>,
    }

    struct Template {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<PodSpec>,
    }

    #[derive(Resource)]
    #[resource(inherit = apps::Deployment)]
    struct Deployment {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<DeploymentSpec>,
        status: Option<WorkloadStatus>,
    }

    struct DeploymentSpec {
        replicas: Option<i32>,
        selector: LabelSelector,
        strategy: Option<apps::DeploymentStrategy>,
        template: Template,
    }

    /// The status of what runs pods, whichever kind it is.
    struct WorkloadStatus {
        conditions: Option<Vec<Condition>>,
        available_replicas: Option<i32>,
        ready_replicas: Option<i32>,
        desired_number_scheduled: Option<i32>,
        number_ready: Option<i32>,
    }

    #[derive(Resource)]
    #[resource(inherit = apps::ReplicaSet)]
    struct ReplicaSet {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<ReplicaSetSpec>,
        status: Option<WorkloadStatus>,
    }

    struct ReplicaSetSpec {
        replicas: Option<i32>,
        template: Revision,
    }

    #[derive(Resource)]
    #[resource(inherit = apps::StatefulSet)]
    struct StatefulSet {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<StatefulSetSpec>,
        status: Option<WorkloadStatus>,
    }

    struct StatefulSetSpec {
        replicas: Option<i32>,
        service_name: Option<String>,
        template: Template,
        volume_claim_templates: Option<Vec<ClaimTemplate>>,
    }

    struct ClaimTemplate {
        spec: Option<ClaimTemplateSpec>,
    }

    struct ClaimTemplateSpec {
        storage_class_name: Option<String>,
    }

    #[derive(Resource)]
    #[resource(inherit = apps::DaemonSet)]
    struct DaemonSet {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<DaemonSetSpec>,
        status: Option<WorkloadStatus>,
    }

    struct DaemonSetSpec {
        template: Template,
    }

    #[derive(Resource)]
    #[resource(inherit = batch::Job)]
    struct Job {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        status: Option<JobStatus>,
    }

    struct JobStatus {
        conditions: Option<Vec<Condition>>,
        start_time: Option<Time>,
        failed: Option<i32>,
    }

    #[derive(Resource)]
    #[resource(inherit = core::Node)]
    struct Node {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<NodeSpec>,
        status: Option<NodeStatus>,
    }

    struct NodeSpec {
        taints: Option<Vec<core::Taint>>,
        unschedulable: Option<bool>,
    }

    struct NodeStatus {
        allocatable: Option<BTreeMap<String, Quantity>>,
        conditions: Option<Vec<Condition>>,
    }
}

/// What one revision of a Deployment runs, and a digest of everything else in its template.
#[derive(Clone, Debug, Default)]
pub(super) struct Revision {
    pub(super) images: BTreeMap<String, String>,
    pub(super) rest: Option<Digest>,
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut template = Value::deserialize(deserializer)?;
        let mut images = BTreeMap::new();
        let containers = template.pointer_mut("/spec/containers");
        for container in containers
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            if let Some(Value::String(image)) = container.get_mut("image").map(Value::take) {
                images.insert(name, image);
            }
        }
        let labels = template.pointer_mut("/metadata/labels");
        if let Some(labels) = labels.and_then(Value::as_object_mut) {
            labels.remove("pod-template-hash");
        }
        let rest = Some(Digest::of_bytes(template.to_string().as_bytes()));
        Ok(Self { images, rest })
    }
}

/// The conditions of a pod without those that only say that all is well.
fn conditions<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Condition>>, D::Error> {
    let mut conditions = Option::<Vec<Condition>>::deserialize(deserializer)?;
    if let Some(conditions) = &mut conditions {
        conditions.retain(|condition| condition.status != "True" || condition.type_ == "Ready");
        conditions.shrink_to_fit();
    }
    Ok(conditions)
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Lean {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        generation: Option<i64>,
        resource_version: Option<String>,
        labels: Option<Labels>,
        annotations: Option<Labels>,
        owner_references: Option<Vec<OwnerReference>>,
        finalizers: Option<Vec<String>>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
    }
    let Some(mut lean) = Option::<Lean>::deserialize(deserializer)? else {
        return Ok(ObjectMeta::default());
    };
    if let Some(annotations) = &mut lean.annotations {
        annotations.remove(LAST_APPLIED);
    }
    Ok(ObjectMeta {
        name: lean.name,
        namespace: lean.namespace,
        uid: lean.uid,
        generation: lean.generation,
        resource_version: lean.resource_version,
        labels: lean.labels,
        annotations: lean.annotations,
        owner_references: lean.owner_references,
        finalizers: lean.finalizers,
        creation_timestamp: lean.creation_timestamp,
        deletion_timestamp: lean.deletion_timestamp,
        ..ObjectMeta::default()
    })
}
