//! Kubernetes objects with only the fields that analyzers read; the rest, such as `managedFields` and the values of environment
//! variables, is skipped while it is parsed. A whole pod takes 32 KiB and four times as long.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Weak};

use ::kube::Resource;
use ::kube::api::ObjectMeta;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::{ContainerPort, EnvFromSource, Toleration};
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::digest::Digest;

/// The group of the Gateway API, which a cluster may or may not have.
pub(super) const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// What `kubectl apply` keeps of an object, which is the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The label that tells the pods of a Deployment's revisions apart.
pub(super) const POD_HASH: &str = "pod-template-hash";

pub(super) type Labels = BTreeMap<String, String>;

macro_rules! lean {
    ($($(#[$attribute:meta])* struct $name:ident { $($(#[$of:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, Deserialize, PartialEq)]
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
        spec: Option<Shared<PodSpec>>,
        status: Option<PodStatus>,
        /// Its node, where its spec is one that other pods have too.
        #[serde(skip)]
        node: Option<String>,
    }

    struct PodSpec {
        node_name: Option<String>,
        containers: Vec<Container>,
        init_containers: Option<Vec<Container>>,
        node_selector: Option<Labels>,
        tolerations: Option<Vec<Toleration>>,
        affinity: Option<Affinity>,
        #[serde(deserialize_with = "volumes")]
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
        #[serde(deserialize_with = "variables")]
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

    /// How a container waits, runs, or ended.
    struct ContainerState {
        waiting: Option<Box<Waiting>>,
        running: Option<Box<Running>>,
        terminated: Option<Box<Terminated>>,
    }

    struct Waiting {
        reason: Option<String>,
        message: Option<String>,
    }

    struct Running {
        started_at: Option<Time>,
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
        pod_management_policy: Option<String>,
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

    struct Gateway {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<GatewaySpec>,
        status: Option<GatewayStatus>,
    }

    struct GatewaySpec {
        gateway_class_name: Option<String>,
    }

    struct GatewayStatus {
        conditions: Option<Vec<Condition>>,
    }

    struct GatewayClass {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
    }

    struct HttpRoute {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        spec: Option<RouteSpec>,
        status: Option<RouteStatus>,
    }

    struct RouteSpec {
        parent_refs: Option<Vec<ParentRef>>,
        rules: Option<Vec<RouteRule>>,
    }

    struct ParentRef {
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
    }

    struct RouteRule {
        backend_refs: Option<Vec<BackendRef>>,
    }

    struct BackendRef {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        port: Option<i32>,
    }

    struct RouteStatus {
        parents: Option<Vec<RouteParent>>,
    }

    struct RouteParent {
        conditions: Option<Vec<Condition>>,
    }

    #[derive(Resource)]
    #[resource(inherit = discovery::EndpointSlice)]
    struct EndpointSlice {
        #[serde(deserialize_with = "metadata")]
        metadata: ObjectMeta,
        endpoints: Option<Vec<discovery::Endpoint>>,
    }
}

macro_rules! of_gateway_api {
    ($($name:ident $kind:literal $plural:literal $scope:ty;)*) => {$(
        impl Resource for $name {
            type DynamicType = ();
            type Scope = $scope;
            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                GATEWAY_API.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )*};
}

of_gateway_api! {
    Gateway "Gateway" "gateways" NamespaceResourceScope;
    GatewayClass "GatewayClass" "gatewayclasses" ClusterResourceScope;
    HttpRoute "HTTPRoute" "httproutes" NamespaceResourceScope;
}

/// A part that equal objects share.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shared<T>(Arc<T>);

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::new(T::deserialize(deserializer)?)))
    }
}

impl PodSpec {
    /// Those that run first, and then the others.
    pub(super) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        let first = self.init_containers.iter().flatten();
        first.chain(&self.containers)
    }
}

impl Pod {
    /// The node that has taken it.
    pub(super) fn node_name(&self) -> Option<&String> {
        let own = self.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        self.node.as_ref().or(own)
    }
}

/// The specs of pods by what controls them: all copies of one revision have one.
#[derive(Default)]
pub(super) struct Specs {
    known: HashMap<String, Weak<PodSpec>>,
    /// How many there may be before those that nobody has any more are forgotten.
    most: usize,
}

impl Specs {
    /// The same pod, with the spec that its siblings have.
    pub(super) fn share(&mut self, mut pod: Pod) -> Pod {
        let owner = pod.metadata.owner_references.iter().flatten().next();
        if let (Some(owner), Some(spec)) = (owner, &mut pod.spec) {
            if let Some(own) = Arc::get_mut(&mut spec.0) {
                pod.node = own.node_name.take();
            }
            let known = self.known.get(&owner.uid).and_then(Weak::upgrade);
            match known.filter(|known| *known == spec.0) {
                Some(known) => spec.0 = known,
                None => self.remember(owner.uid.clone(), Arc::downgrade(&spec.0)),
            }
        }
        pod
    }

    fn remember(&mut self, owner: String, spec: Weak<PodSpec>) {
        if self.known.len() >= self.most {
            self.known.retain(|_, spec| spec.strong_count() > 0);
            self.most = (self.known.len() * 2).max(64);
        }
        self.known.insert(owner, spec);
    }
}

/// What one revision of a Deployment runs, and a digest of everything else in its template.
#[derive(Clone, Debug, Default, PartialEq)]
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
            labels.remove(POD_HASH);
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

/// The volumes that somebody has to provide; each pod has others, with names of its own.
fn volumes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Volume>>, D::Error> {
    let mut volumes = Option::<Vec<Volume>>::deserialize(deserializer)?;
    if let Some(volumes) = &mut volumes {
        volumes.retain(|volume| {
            volume.persistent_volume_claim.is_some() || volume.config_map.is_some()
        });
        volumes.shrink_to_fit();
    }
    Ok(volumes)
}

/// The variables that are read from a ConfigMap.
fn variables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Variable>>, D::Error> {
    let mut variables = Option::<Vec<Variable>>::deserialize(deserializer)?;
    if let Some(variables) = &mut variables {
        let is_read = |from: &VariableSource| from.config_map_key_ref.is_some();
        variables.retain(|variable| variable.value_from.as_ref().is_some_and(is_read));
        variables.shrink_to_fit();
    }
    Ok(variables)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, image: &str, node: &str) -> Pod {
        let owner = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "r1", "controller": true }]);
        // Each pod's token has a name of its own.
        let volumes = json!([{ "name": format!("kube-api-access-{name}"), "projected": {} }]);
        let spec = json!({ "nodeName": node, "containers": [{ "name": "app", "image": image }], "volumes": volumes });
        serde_json::from_value(
            json!({ "metadata": { "name": name, "ownerReferences": owner }, "spec": spec }),
        )
        .unwrap()
    }

    #[test]
    fn siblings_share_their_spec_and_nothing_else() {
        let mut specs = Specs::default();
        let [one, two, new] = [
            ("a", "web:1", "n1"),
            ("b", "web:1", "n2"),
            ("c", "web:2", "n1"),
        ]
        .map(|(name, image, node)| specs.share(pod(name, image, node)));
        let spec = |pod: &Pod| Arc::as_ptr(&pod.spec.as_ref().unwrap().0);
        assert_eq!(spec(&one), spec(&two));
        assert_ne!(spec(&one), spec(&new));
        let nodes = [&one, &two, &new].map(|pod| pod.node_name().unwrap().as_str());
        assert_eq!(nodes, ["n1", "n2", "n1"]);
        // What nobody has any more is forgotten.
        drop((one, two, new));
        for n in 0..1000 {
            let mut other = pod("d", "web:1", "n1");
            other.metadata.owner_references.as_mut().unwrap()[0].uid = n.to_string();
            specs.share(other);
        }
        assert!(specs.known.len() <= 64, "{}", specs.known.len());
    }
}
