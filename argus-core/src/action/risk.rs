//! What an action can do: its risk, whether it can be undone, and the fields that it writes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
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
        matches!(
            self,
            Self::DeletePod { .. } | Self::Scale { replicas: 0, .. }
        )
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

    /// The least risk that this action has, and why. A model may call it riskier, never safer.
    #[must_use]
    pub fn risk(&self) -> (Risk, &'static str) {
        match self {
            Self::Scale { replicas: 0, .. } => (Risk::High, "every copy of the app would stop"),
            Self::Patch { patch, .. } if patch.is_sensitive() => (
                Risk::High,
                "it changes how the app is allowed to run, or what belongs to it",
            ),
            Self::RolloutRestart { .. } => (
                Risk::Low,
                "copies are replaced one by one with the same definition",
            ),
            Self::Scale { .. } => (Risk::Low, "only the number of copies changes"),
            Self::DeletePod { .. } => (Risk::Medium, "one copy stops until its replacement runs"),
            Self::SetResources { .. } => (Risk::Medium, "the app restarts with other limits"),
            Self::SetImage { .. } => (Risk::Medium, "the app restarts with another version"),
            Self::RolloutUndo { .. } => (Risk::Medium, "the app goes back to an earlier version"),
            Self::Patch { .. } => (Risk::Medium, "fields of the object change"),
            Self::Manual { .. } => (Risk::Low, "Argus does not run it"),
        }
    }

    /// The fields that it writes, as JSON pointers; `*` stands for every element of a list.
    #[must_use]
    pub fn fields_touched(&self) -> Vec<String> {
        const CONTAINER: &str = "/spec/template/spec/containers";
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
                let container = container.as_ref().map_or("*", DnsLabel::as_str);
                let field = |part: &str, name: &str| {
                    format!("{CONTAINER}/{container}/resources/{part}/{name}")
                };
                let limits = limits.iter().map(|(name, _)| field("limits", name));
                limits
                    .chain(requests.iter().map(|(name, _)| field("requests", name)))
                    .collect()
            }
            Self::SetImage { images, .. } => images
                .keys()
                .map(|name| format!("{CONTAINER}/{name}/image"))
                .collect(),
            Self::Patch { patch, .. } => patch.fields_touched(),
            Self::RolloutUndo { .. } => vec!["/spec/template".into()],
            Self::DeletePod { .. } | Self::Manual { .. } => Vec::new(),
        }
    }
}
