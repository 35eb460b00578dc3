//! Facts of the cluster that decide whether a change is one of the allowed, where the object itself doesn't say.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Facts of the cluster about one change, as a dry runner read them. What nobody looked at is absent, and what is absent
/// speaks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// The values that a changed field had in earlier revisions of the pod template, by field, such as
    /// `spec.template.spec.containers[app].image`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier_values: BTreeMap<String, Vec<Value>>,
    /// The keys of each ConfigMap that the result names and that is there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config_maps: BTreeMap<String, BTreeSet<String>>,
    /// The claims for storage that the result names and that are there.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub claims: BTreeSet<String>,
    /// The ports, by number and by name, of each Service that the result names and that is there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_ports: BTreeMap<String, BTreeSet<String>>,
    /// The workloads whose pods a Service's selector finds, before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<[BTreeSet<String>; 2]>,
    /// How many nodes would take a pod of the workload, before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<[u32; 2]>,
    /// Whether the workload that an autoscaler scales is there, before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_targets: Option<[bool; 2]>,
    /// The autoscalers that set the workload's number of copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscalers: Option<BTreeSet<String>>,
}
