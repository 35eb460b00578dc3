//! Facts of the cluster to judge a change by, where the object itself doesn't say; only those that this change needs.
//!
//! A fact that can't be read stays unknown, and the unknown speaks for nothing.

use std::collections::{BTreeMap, BTreeSet};

use ::kube::Api;
use ::kube::api::{DynamicObject, ListParams};
use k8s_openapi::api::core::v1::{
    ConfigMap, Node, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolumeClaim, Pod,
    PodSpec, Service, Taint, Toleration,
};
use serde_json::Value;

use super::Kube;
use crate::action::{
    Evidence, FieldChange, Kind, Target, field_changes, pod_template, repository, resolve,
};

/// The most pods or nodes that are looked at; where there are more, what they would say stays unknown.
const MOST: u32 = 5000;
/// The most earlier revisions of a Deployment that are looked at.
const MOST_REVISIONS: usize = 20;

impl Kube {
    /// The facts that decide whether a change of `target` is one of the allowed.
    pub(super) async fn evidence(
        &self,
        target: &Target,
        before: &Value,
        after: &Value,
    ) -> Evidence {
        let mut evidence = Evidence::default();
        let changes = field_changes(before, after);
        let changes: Vec<&FieldChange<'_>> = changes
            .iter()
            .filter(|change| change.path.is_below("spec"))
            .collect();
        let kind = target.kind();
        let changed = |field: &str| changes.iter().any(|change| change.path.has(field));
        if changed("replicas") && matches!(kind, Kind::Deployment | Kind::StatefulSet) {
            evidence.autoscalers = self.autoscalers(target).await;
        }
        if kind == Kind::Deployment {
            evidence.earlier_values = self.earlier_values(target, before, &changes).await;
        }
        for reference in ["configMapKeyRef", "configMapRef", "configMap"] {
            for name in named_by(&changes, after, reference) {
                if let Some(keys) = self.config_map_keys(target, &name).await {
                    evidence.config_maps.insert(name, keys);
                }
            }
        }
        for name in named_by(&changes, after, "persistentVolumeClaim") {
            let claims: Api<PersistentVolumeClaim> =
                Api::namespaced(self.client.clone(), target.namespace());
            if matches!(claims.get_metadata_opt(&name).await, Ok(Some(_))) {
                evidence.claims.insert(name);
            }
        }
        if kind == Kind::Ingress {
            for name in named_by(&changes, after, "service") {
                if let Some(ports) = self.service_ports(target, &name).await {
                    evidence.service_ports.insert(name, ports);
                }
            }
        }
        if kind == Kind::Service && changed("selector") {
            evidence.selected = self.selected(target, before, after).await;
        }
        if changed("nodeSelector") || changed("nodeAffinity") || changed("tolerations") {
            evidence.nodes = self.nodes_for(kind, before, after).await;
        }
        if kind == Kind::HorizontalPodAutoscaler && changed("scaleTargetRef") {
            evidence.scale_targets = self.scale_targets(target, before, after).await;
        }
        evidence
    }

    async fn autoscalers(&self, target: &Target) -> Option<BTreeSet<String>> {
        let kind = Kind::HorizontalPodAutoscaler;
        let all = self.api_of(
            kind.group(),
            kind.version(),
            &kind.to_string(),
            kind.plural(),
            target.namespace(),
        );
        let all = all.list(&ListParams::default()).await.ok()?;
        let scales = |scaler: &DynamicObject| {
            let scaled = scaler.data.pointer("/spec/scaleTargetRef");
            let field = |field: &str| scaled.and_then(|scaled| scaled.get(field)?.as_str());
            field("kind") == Some(&target.kind().to_string())
                && field("name") == Some(target.name())
        };
        let names = all.items.into_iter().filter(scales);
        Some(names.filter_map(|scaler| scaler.metadata.name).collect())
    }

    /// The values of changed images and variables in a Deployment's earlier revisions.
    async fn earlier_values(
        &self,
        target: &Target,
        before: &Value,
        changes: &[&FieldChange<'_>],
    ) -> BTreeMap<String, Vec<Value>> {
        let asks = |change: &&&FieldChange<'_>| {
            let images = [change.before, change.after]
                .map(|image| image.and_then(Value::as_str).map(repository));
            let is_image = change.path.has("image") && images.first() != images.last();
            is_image || change.path.has("env")
        };
        let asked: Vec<&&FieldChange<'_>> = changes.iter().filter(asks).collect();
        let mut found = BTreeMap::new();
        if asked.is_empty() {
            return found;
        }
        let Ok(sets) = self.revisions(target, before).await else {
            return found;
        };
        let sets = sets.into_iter().rev().take(MOST_REVISIONS);
        let sets: Vec<Value> = sets.map(|(_, set)| set).collect();
        for change in asked {
            // The template of a ReplicaSet stands where that of its Deployment does.
            let values = sets
                .iter()
                .filter_map(|set| resolve(set, change.path.segments()));
            let values: Vec<Value> = values.cloned().collect();
            if !values.is_empty() {
                found.insert(change.path.to_string(), values);
            }
        }
        found
    }

    async fn config_map_keys(&self, target: &Target, name: &str) -> Option<BTreeSet<String>> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), target.namespace());
        let map = maps.get_opt(name).await.ok()??;
        let data = map.data.unwrap_or_default().into_keys();
        Some(
            data.chain(map.binary_data.unwrap_or_default().into_keys())
                .collect(),
        )
    }

    async fn service_ports(&self, target: &Target, name: &str) -> Option<BTreeSet<String>> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), target.namespace());
        let ports = services
            .get_opt(name)
            .await
            .ok()??
            .spec?
            .ports
            .unwrap_or_default();
        let names = ports
            .into_iter()
            .flat_map(|port| port.name.into_iter().chain([port.port.to_string()]));
        Some(names.collect())
    }

    /// The workloads whose pods a Service's selector finds, before and after.
    async fn selected(
        &self,
        target: &Target,
        before: &Value,
        after: &Value,
    ) -> Option<[BTreeSet<String>; 2]> {
        let sets = self
            .replica_sets(target.namespace())
            .list(&ListParams::default())
            .await
            .ok()?;
        let owner =
            |object: &DynamicObject| controller(object.metadata.owner_references.as_deref());
        let of_set: BTreeMap<String, String> = sets
            .items
            .iter()
            .filter_map(|set| Some((set.metadata.name.clone()?, owner(set)?)))
            .collect();
        let mut found = [BTreeSet::new(), BTreeSet::new()];
        for (workloads, object) in found.iter_mut().zip([before, after]) {
            let selector = object.pointer("/spec/selector").and_then(Value::as_object);
            let labels = selector.into_iter().flatten();
            let labels: Option<Vec<String>> = labels
                .map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
                .collect();
            let labels = labels?.join(",");
            if labels.is_empty() {
                continue;
            }
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), target.namespace());
            let params = ListParams::default().labels(&labels).limit(MOST);
            let pods = pods.list_metadata(&params).await.ok()?;
            if pods.metadata.continue_.is_some_and(|more| !more.is_empty()) {
                return None;
            }
            for pod in pods.items {
                let owner = controller(pod.metadata.owner_references.as_deref());
                let workload = owner.map(|owner| match owner.strip_prefix("ReplicaSet/") {
                    Some(set) => of_set.get(set).cloned().unwrap_or(owner),
                    None => owner,
                });
                workloads.insert(workload.or(pod.metadata.name).unwrap_or_default());
            }
        }
        Some(found)
    }

    /// The number of nodes that would take a pod of the workload, before and after.
    async fn nodes_for(&self, kind: Kind, before: &Value, after: &Value) -> Option<[u32; 2]> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes.list(&ListParams::default().limit(MOST)).await.ok()?;
        if nodes
            .metadata
            .continue_
            .is_some_and(|more| !more.is_empty())
        {
            return None;
        }
        let spec = |object: &Value| {
            let spec = object.pointer(&format!("{}/spec", pod_template(kind)))?;
            serde_json::from_value::<PodSpec>(spec.clone()).ok()
        };
        let [before, after] = [spec(before)?, spec(after)?];
        let count = |spec: &PodSpec| {
            let taking = nodes.items.iter().filter(|node| takes(node, spec, kind));
            u32::try_from(taking.count()).unwrap_or(u32::MAX)
        };
        Some([count(&before), count(&after)])
    }

    /// Looks for the workload that an autoscaler scales, before and after.
    async fn scale_targets(
        &self,
        target: &Target,
        before: &Value,
        after: &Value,
    ) -> Option<[bool; 2]> {
        let mut found = [false, false];
        for (there, object) in found.iter_mut().zip([before, after]) {
            let scaled = object.pointer("/spec/scaleTargetRef")?;
            let kind = match scaled.get("kind")?.as_str()? {
                "Deployment" => Kind::Deployment,
                "StatefulSet" => Kind::StatefulSet,
                _ => return None,
            };
            let workload =
                Target::new(kind, target.namespace(), scaled.get("name")?.as_str()?).ok()?;
            *there = self.read(&workload).await.ok()?.is_some();
        }
        Some(found)
    }
}

/// The names that changed references of this kind have in the result.
fn named_by(changes: &[&FieldChange<'_>], after: &Value, reference: &str) -> BTreeSet<String> {
    let names = changes.iter().filter_map(|change| {
        let at = change.path.up_to(reference)?;
        let reference = resolve(after, at)?;
        let name = reference
            .get("name")
            .or_else(|| reference.get("claimName"))?;
        // What can't be a name would be another request.
        let name = crate::names::DnsSubdomain::new(name.as_str()?).ok()?;
        Some(name.as_str().to_owned())
    });
    names.collect()
}

fn controller(
    owners: Option<&[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]>,
) -> Option<String> {
    let owner = owners?
        .iter()
        .find(|owner| owner.controller == Some(true))?;
    Some(format!("{}/{}", owner.kind, owner.name))
}

/// True for a node that would take a pod by its labels and taints; how full it is, is not asked.
fn takes(node: &Node, pod: &PodSpec, kind: Kind) -> bool {
    let labels = node.metadata.labels.as_ref();
    let label = |key: &str| {
        labels
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let selected = pod
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| label(key) == Some(value));
    let affinity = pod.affinity.as_ref().and_then(|affinity| {
        let required = affinity.node_affinity.as_ref()?;
        required
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let meets = |term: &NodeSelectorTerm| {
        let expressions = term.match_expressions.iter().flatten();
        let fields = term.match_fields.iter().flatten();
        // A term without conditions is met by no node.
        let some = expressions.clone().chain(fields.clone()).next().is_some();
        some && expressions
            .clone()
            .all(|rule| meets_rule(rule, label(&rule.key)))
            && fields
                .clone()
                .all(|rule| meets_rule(rule, node.metadata.name.as_deref()))
    };
    let wanted = affinity.is_none_or(|affinity| affinity.node_selector_terms.iter().any(meets));
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let tolerations = || pod.tolerations.iter().flatten();
    let mut keeping_out = taints.filter(|taint| {
        let hard = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        // The controller of DaemonSets tolerates what nodes suffer from.
        let own = kind == Kind::DaemonSet && taint.key.starts_with("node.kubernetes.io/");
        hard && !own && !tolerations().any(|toleration| tolerates(toleration, taint))
    });
    selected && wanted && keeping_out.next().is_none()
}

fn meets_rule(rule: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let named = || {
        rule.values
            .iter()
            .flatten()
            .any(|wanted| Some(wanted.as_str()) == value)
    };
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let bound = || number(rule.values.iter().flatten().next().map(String::as_str));
    match rule.operator.as_str() {
        "In" => named(),
        "NotIn" => !named(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value)
            .zip(bound())
            .is_some_and(|(value, bound)| value > bound),
        "Lt" => number(value)
            .zip(bound())
            .is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

pub(super) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let exists = toleration.operator.as_deref() == Some("Exists");
    let key = toleration.key.as_deref().unwrap_or_default();
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    let of_key = if key.is_empty() {
        exists
    } else {
        key == taint.key
    };
    let of_effect = toleration
        .effect
        .as_ref()
        .is_none_or(|effect| effect.is_empty() || *effect == taint.effect);
    of_key && of_effect && (exists || value(&toleration.value) == value(&taint.value))
}
