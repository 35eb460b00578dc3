//! What an action can do: its risk, whether it can be undone, and the fields that it writes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::manual::ManualText;
use crate::names::DnsLabel;

/// Whether an action can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// Undo restores what was there.
    Reversible,
    /// Undo restores the definition, not what was lost meanwhile.
    Partial,
    /// There is nothing to restore it from.
    Irreversible,
}

/// How much an action or a plan can hurt.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Little can go wrong.
    Low,
    /// The app restarts or changes.
    Medium,
    /// The app may stop, or be allowed more than before.
    High,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

impl Action {
    /// Whether something is removed that undo can't bring back as it was: a pod, or all copies of an app.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        match self {
            Self::DeletePod { .. } => true,
            Self::Manual { command, .. } => ManualText::of(command).is_destructive(),
            _ => self.stops_every_copy(),
        }
    }

    /// Whether no copy of an app would be left, however that is written.
    fn stops_every_copy(&self) -> bool {
        match self {
            Self::Scale { replicas, .. } => *replicas == 0,
            Self::Patch { patch, .. } => patch.stops_every_copy(),
            _ => false,
        }
    }

    /// Whether Argus can undo it.
    #[must_use]
    pub fn reversibility(&self) -> Reversibility {
        match self {
            Self::RolloutRestart { .. } => Reversibility::Partial,
            Self::DeletePod { .. } | Self::Manual { .. } => Reversibility::Irreversible,
            _ => Reversibility::Reversible,
        }
    }

    /// The least risk that this action has, by the action alone, and why. A model may call it riskier, never safer; what
    /// would result may be riskier too, see [`judge`](Self::judge).
    #[must_use]
    pub fn risk(&self) -> (Risk, String) {
        match self {
            _ if self.stops_every_copy() => {
                return (Risk::High, "every copy of the app would stop".into());
            }
            Self::DeletePod { .. } => {
                return (
                    Risk::Medium,
                    "one copy stops until its replacement runs".into(),
                );
            }
            Self::Manual { command, .. } => {
                let text = ManualText::of(command);
                return (text.risk(), text.why().into());
            }
            _ => {}
        }
        let fields = self.judged_fields();
        match fields.iter().max_by_key(|judged| judged.risk) {
            Some(judged) if !judged.listed => (
                Risk::High,
                format!("it changes `{}`: {}", judged.field, judged.why),
            ),
            Some(judged) => (judged.risk, judged.why.clone()),
            None => (Risk::High, "it is not known what it changes".into()),
        }
    }

    /// The fields that it writes, as JSON pointers; `*` stands for every element of a list. A container that is named may
    /// be an init container too.
    #[must_use]
    pub fn fields_touched(&self) -> Vec<String> {
        match self {
            Self::RolloutRestart { .. } => vec![
                "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt".into(),
            ],
            Self::Scale { .. } => vec!["/spec/replicas".into()],
            Self::SetResources {
                container,
                limits,
                requests,
                ..
            } => {
                let containers = match container {
                    Some(name) => vec![format!("{CONTAINERS}/{name}")],
                    None => vec![format!("{CONTAINERS}/*"), format!("{INIT_CONTAINERS}/*")],
                };
                let amounts = [("limits", limits), ("requests", requests)];
                let fields = amounts.iter().flat_map(|(part, amounts)| {
                    amounts
                        .iter()
                        .map(move |(name, _)| format!("{part}/{name}"))
                });
                let fields: Vec<String> = fields.collect();
                let of = |container: &String| {
                    let field = |field| format!("{container}/resources/{field}");
                    fields.iter().map(field).collect::<Vec<_>>()
                };
                containers.iter().flat_map(of).collect()
            }
            Self::SetImage { images, .. } => images
                .keys()
                .map(|name| format!("{CONTAINERS}/{name}/image"))
                .collect(),
            Self::Patch { patch, .. } => patch.fields_touched(),
            Self::RolloutUndo { .. } => {
                vec!["/spec/template".into(), "/metadata/annotations".into()]
            }
            Self::DeletePod { .. } | Self::Manual { .. } => Vec::new(),
        }
    }

    /// The fields of the target that decide whether it can be done, as JSON pointers.
    #[must_use]
    pub fn fields_read(&self) -> Vec<String> {
        let name = |name: &DnsLabel| format!("{CONTAINERS}/{name}/name");
        match self {
            Self::SetResources { container, .. } => container.iter().map(name).collect(),
            Self::SetImage { images, .. } => images.keys().map(name).collect(),
            Self::Patch { patch, .. } => patch.fields_read(),
            Self::RolloutRestart { .. } | Self::RolloutUndo { .. } => vec!["/spec/paused".into()],
            Self::DeletePod { .. } => vec!["/metadata/ownerReferences".into()],
            Self::Scale { .. } | Self::Manual { .. } => Vec::new(),
        }
    }

    /// The other objects in the target's namespace that it reads, each by API group and plural.
    #[must_use]
    pub fn objects_read(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            // An old template is kept by its ReplicaSet, and a deleted pod is made again by it.
            Self::RolloutUndo { .. } | Self::DeletePod { .. } => &[("apps", "replicasets")],
            _ => &[],
        }
    }
}

const CONTAINERS: &str = "/spec/template/spec/containers";
const INIT_CONTAINERS: &str = "/spec/template/spec/initContainers";
