//! Nodes for people to look at; never for actions.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use schemars::JsonSchema;
use serde::Serialize;

use ::kube::api::{Api, ListParams};

use super::{Kube, refusal};
use crate::incident::ScanError;
use crate::redact::redact;

/// A node as argus-ops shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Whether it is ready for pods.
    pub ready: bool,
    /// Whether it takes no new pods.
    pub unschedulable: bool,
    /// What it says of itself, by the type of condition, such as `MemoryPressure`.
    pub conditions: BTreeMap<String, NodeCondition>,
    /// What pods may ask for, such as `memory`.
    pub allocatable: BTreeMap<String, String>,
    /// What it has.
    pub capacity: BTreeMap<String, String>,
}

/// One condition of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NodeCondition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// In one word.
    pub reason: Option<String>,
    /// In words; redacted.
    pub message: Option<String>,
}

impl From<Node> for NodeState {
    fn from(node: Node) -> Self {
        let status = node.status.unwrap_or_default();
        let conditions = status.conditions.into_iter().flatten().map(|condition| {
            let state = NodeCondition {
                status: condition.status,
                reason: condition.reason,
                message: condition.message.map(|message| redact(&message)),
            };
            (condition.type_, state)
        });
        let conditions: BTreeMap<_, _> = conditions.collect();
        let amounts = |amounts: Option<
            BTreeMap<_, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
        >| {
            let amounts = amounts.unwrap_or_default().into_iter();
            amounts.map(|(name, amount)| (name, amount.0)).collect()
        };
        Self {
            name: node.metadata.name.unwrap_or_default(),
            ready: conditions
                .get("Ready")
                .is_some_and(|ready| ready.status == "True"),
            unschedulable: node
                .spec
                .and_then(|spec| spec.unschedulable)
                .unwrap_or_default(),
            conditions,
            allocatable: amounts(status.allocatable),
            capacity: amounts(status.capacity),
        }
    }
}

impl Kube {
    /// The nodes of the cluster; takes [`Roles::seeing_cluster`](super::Roles::seeing_cluster).
    ///
    /// # Errors
    /// [`ScanError`] when they may not be seen, or the cluster doesn't answer.
    pub async fn node_states(&self) -> Result<Vec<NodeState>, ScanError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes
            .list(&ListParams::default())
            .await
            .map_err(|error| ScanError {
                problem: match refusal(&error) {
                    Some((403, _)) => "the cluster does not let Argus see its nodes".into(),
                    Some((_, message)) => message,
                    None => "no answer about nodes".into(),
                },
                source: None,
            })?;
        Ok(nodes.into_iter().map(NodeState::from).collect())
    }
}
