//! The resources that the cluster serves, and what it checks and fills in when one is written.

use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::{CronJob, Job},
    core::v1::{
        ConfigMap, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim,
        Pod, ResourceQuota, Secret, Service, ServiceAccount,
    },
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::core::DynamicObject;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::Failure;
use crate::action::Quantity;

/// What comes with the Gateway API has no types here.
type GatewayClass = DynamicObject;
type Gateway = DynamicObject;
type HTTPRoute = DynamicObject;

/// One resource of the API.
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) namespaced: bool,
    /// The object as the typed API would read it; what it doesn't know gets lost.
    typed: fn(&Value) -> Result<Value, serde_json::Error>,
}

fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(value)?)
}

macro_rules! resources {
    ($($group:literal $version:literal $kind:ident $plural:literal $short:expr, $namespaced:literal;)*) => {
        pub(super) static RESOURCES: &[Resource] = &[$(Resource {
            group: $group, version: $version, kind: stringify!($kind), plural: $plural, short: &$short, namespaced: $namespaced, typed: typed::<$kind>,
        }),*];
    };
}

resources! {
    "" "v1" Namespace "namespaces" ["ns"], false;
    "" "v1" Node "nodes" ["no"], false;
    "" "v1" Pod "pods" ["po"], true;
    "" "v1" Service "services" ["svc"], true;
    "" "v1" ConfigMap "configmaps" ["cm"], true;
    "" "v1" Secret "secrets" [], true;
    "" "v1" ServiceAccount "serviceaccounts" ["sa"], true;
    "" "v1" Event "events" ["ev"], true;
    "" "v1" ResourceQuota "resourcequotas" ["quota"], true;
    "" "v1" LimitRange "limitranges" ["limits"], true;
    "" "v1" PersistentVolume "persistentvolumes" ["pv"], false;
    "" "v1" PersistentVolumeClaim "persistentvolumeclaims" ["pvc"], true;
    "apps" "v1" Deployment "deployments" ["deploy"], true;
    "apps" "v1" ReplicaSet "replicasets" ["rs"], true;
    "apps" "v1" StatefulSet "statefulsets" ["sts"], true;
    "apps" "v1" DaemonSet "daemonsets" ["ds"], true;
    "batch" "v1" Job "jobs" [], true;
    "batch" "v1" CronJob "cronjobs" ["cj"], true;
    "networking.k8s.io" "v1" Ingress "ingresses" ["ing"], true;
    "networking.k8s.io" "v1" IngressClass "ingressclasses" [], false;
    "networking.k8s.io" "v1" NetworkPolicy "networkpolicies" ["netpol"], true;
    "storage.k8s.io" "v1" StorageClass "storageclasses" ["sc"], false;
    "admissionregistration.k8s.io" "v1" ValidatingWebhookConfiguration "validatingwebhookconfigurations" [], false;
    "admissionregistration.k8s.io" "v1" MutatingWebhookConfiguration "mutatingwebhookconfigurations" [], false;
    "autoscaling" "v2" HorizontalPodAutoscaler "horizontalpodautoscalers" ["hpa"], true;
    "discovery.k8s.io" "v1" EndpointSlice "endpointslices" [], true;
    "gateway.networking.k8s.io" "v1" GatewayClass "gatewayclasses" ["gc"], false;
    "gateway.networking.k8s.io" "v1" Gateway "gateways" ["gtw"], true;
    "gateway.networking.k8s.io" "v1" HTTPRoute "httproutes" [], true;
    "policy" "v1" PodDisruptionBudget "poddisruptionbudgets" ["pdb"], true;
}

pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| {
        resource.group == group && resource.version == version && resource.plural == plural
    })
}

/// A resource by its plural: for the controllers, which know that it is there.
pub(super) fn named(plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.plural == plural)
}

impl Resource {
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.into()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(super) fn scalable(&self) -> bool {
        matches!(self.plural, "deployments" | "statefulsets" | "replicasets")
    }

    /// Reads an object as its type would be read, checks it, and fills in defaults.
    pub(super) fn admit(
        &self,
        object: &mut Value,
        old: Option<&Value>,
        strict: bool,
    ) -> Result<(), Failure> {
        let known = (self.typed)(object).map_err(|error| {
            Failure::new(
                400,
                "BadRequest",
                format!(
                    "{} in version \"{}\" cannot be handled: {error}",
                    self.kind, self.version
                ),
            )
        })?;
        if strict {
            let mut lost = Vec::new();
            unknown_fields(object, &known, String::new(), &mut lost);
            if !lost.is_empty() {
                let fields: Vec<String> = lost
                    .iter()
                    .map(|field| format!("unknown field \"{field}\""))
                    .collect();
                return Err(Failure::new(
                    400,
                    "BadRequest",
                    format!("strict decoding error: {}", fields.join(", ")),
                ));
            }
        }
        if let Some(template) = object.pointer("/spec/template").cloned() {
            self.check_template(object, &template)?;
        }
        if self.plural == "namespaces" {
            let name = object.pointer("/metadata/name").cloned();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.unwrap_or_default();
        }
        if self.plural == "gateways" && object.get("status").is_none() {
            // The defaults of its CRD.
            let pending = |kind: &str| json!({ "type": kind, "status": "Unknown", "reason": "Pending", "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z" });
            object["status"] =
                json!({ "conditions": [pending("Accepted"), pending("Programmed")] });
        }
        if self.plural == "statefulsets" {
            fill_in(
                object,
                json!({ "replicas": 1, "podManagementPolicy": "OrderedReady" }),
            );
        }
        if self.plural == "deployments" {
            default_deployment(object);
            self.check_deployment(object, old)?;
        }
        Ok(())
    }

    fn invalid(&self, object: &Value, field: &str, problem: &str) -> Failure {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let group = if self.group.is_empty() {
            String::new()
        } else {
            format!(".{}", self.group)
        };
        Failure::new(
            422,
            "Invalid",
            format!(
                "{}{group} \"{name}\" is invalid: {field}: {problem}",
                self.kind
            ),
        )
    }

    fn check_deployment(&self, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
        let selector = object.pointer("/spec/selector");
        if let Some(old) = old.filter(|old| old.pointer("/spec/selector") != selector) {
            let was = old.pointer("/spec/selector").unwrap_or(&Value::Null);
            return Err(self.invalid(
                object,
                "spec.selector",
                &format!("Invalid value: {was}: field is immutable"),
            ));
        }
        let wanted = selector
            .and_then(|selector| selector.get("matchLabels"))
            .and_then(Value::as_object);
        let labels = object.pointer("/spec/template/metadata/labels");
        let matches = wanted.is_some_and(|wanted| {
            !wanted.is_empty()
                && wanted
                    .iter()
                    .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        });
        if !matches {
            return Err(self.invalid(
                object,
                "spec.template.metadata.labels",
                "Invalid value: `selector` does not match template `labels`",
            ));
        }
        if object
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .is_some_and(|replicas| replicas < 0)
        {
            return Err(self.invalid(
                object,
                "spec.replicas",
                "Invalid value: must be greater than or equal to 0",
            ));
        }
        Ok(())
    }

    fn check_template(&self, object: &Value, template: &Value) -> Result<(), Failure> {
        let containers = template
            .pointer("/spec/containers")
            .and_then(Value::as_array);
        let containers = containers.filter(|containers| !containers.is_empty());
        let Some(containers) = containers else {
            if self.group == "apps" {
                return Err(self.invalid(
                    object,
                    "spec.template.spec.containers",
                    "Required value",
                ));
            }
            return Ok(());
        };
        for (index, container) in containers.iter().enumerate() {
            let place = |field: &str| format!("spec.template.spec.containers[{index}].{field}");
            if container
                .get("image")
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
            {
                return Err(self.invalid(object, &place("image"), "Required value"));
            }
            for resource in ["cpu", "memory"] {
                let amount = |part: &str| {
                    container
                        .pointer(&format!("/resources/{part}/{resource}"))
                        .and_then(Value::as_str)
                };
                let read = |text: &str| {
                    Quantity::new(text).map_err(|_| {
                        Failure::new(
                            400,
                            "BadRequest",
                            format!("quantities must match the regular expression: {text}"),
                        )
                    })
                };
                let (limit, request) = (
                    amount("limits").map(read).transpose()?,
                    amount("requests").map(read).transpose()?,
                );
                if let (Some(limit), Some(request)) = (limit, request)
                    && request > limit
                {
                    let problem = format!(
                        "Invalid value: \"{request}\": must be less than or equal to {resource} limit of {limit}"
                    );
                    return Err(self.invalid(object, &place("resources.requests"), &problem));
                }
            }
        }
        Ok(())
    }
}

fn default_deployment(object: &mut Value) {
    let defaults = json!({
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
    });
    fill_in(object, defaults);
}

/// Puts defaults into the spec where it says nothing.
fn fill_in(object: &mut Value, defaults: Value) {
    if let (Some(spec), Value::Object(defaults)) = (
        object.get_mut("spec").and_then(Value::as_object_mut),
        defaults,
    ) {
        for (key, value) in defaults {
            spec.entry(key).or_insert(value);
        }
    }
}

fn unknown_fields(given: &Value, known: &Value, path: String, lost: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match known.get(key) {
                    Some(known) => unknown_fields(value, known, path, lost),
                    // Typed objects leave empty lists and objects out.
                    None if value.as_object().is_some_and(|map| map.is_empty())
                        || value.as_array().is_some_and(Vec::is_empty) => {}
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                unknown_fields(given, known, format!("{path}[{index}]"), lost);
            }
        }
        _ => {}
    }
}
