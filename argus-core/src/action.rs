//! Room 3, first half: the closed list of what may ever be done to a cluster.
//!
//! An [`Action`] names one object and one change. Its parts are types that can't hold an invalid value, its
//! constructors refuse combinations that Kubernetes doesn't have, and there is no way to say "all", "force" or "file".

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{DnsLabel, NameError};

mod allowed;
mod allowed_values;
mod evidence;
mod field;
mod judge;
mod manual;
mod never;
mod patch;
mod quantity;
mod risk;
mod target;

pub use allowed::AllowedChange;
pub use allowed_values::AllowedValues;
pub use evidence::Evidence;
pub use judge::JudgedField;
pub use patch::{Patch, PatchKind};
pub use quantity::{Image, Quantity};
pub use risk::{Reversibility, Risk};
pub use target::{Kind, Target};

#[cfg(feature = "kube")]
pub(crate) use allowed::pod_template;
#[cfg(feature = "kube")]
pub(crate) use allowed_values::{repository, resolve};
#[cfg(feature = "kube")]
pub(crate) use field::{FieldChange, field_changes};

/// The most copies that a scale may ask for.
pub const MAX_REPLICAS: u32 = 1000;

/// Why a change is no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// A name isn't one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The action doesn't exist for this kind of object.
    #[error("`{action}` does not exist for a {kind}")]
    WrongKind {
        /// The action's name in JSON.
        action: &'static str,
        /// The kind of the target.
        kind: Kind,
    },
    /// A value is out of its bounds or not of its grammar.
    #[error("{field} {problem}")]
    Invalid {
        /// What is wrong, in words.
        field: &'static str,
        /// The problem, with the bound.
        problem: String,
    },
}

impl ActionError {
    fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }
}

/// Amounts of memory, CPU and local disk; absent means unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Amounts {
    /// CPU, such as `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory, such as `512Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Disk space of the node for logs and temporary files, such as `2Gi`.
    #[serde(rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<Quantity>,
}

impl Amounts {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The amounts by their resource name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Quantity)> {
        [
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("ephemeral-storage", &self.ephemeral_storage),
        ]
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount.as_ref()?)))
    }

    /// The place of a resource by its name.
    pub(crate) fn of(&mut self, resource: &str) -> Option<&mut Option<Quantity>> {
        match resource {
            "cpu" => Some(&mut self.cpu),
            "memory" => Some(&mut self.memory),
            "ephemeral-storage" => Some(&mut self.ephemeral_storage),
            _ => None,
        }
    }
}

/// One change to one object.
///
/// In JSON it is tagged by `kind` and flat:
/// `{"kind": "scale", "target": {"kind": "Deployment", "namespace": "shop", "name": "web"}, "replicas": 3}`.
/// Variants can be matched by hosts, and made only by the constructors.
///
/// # Example
/// ```
/// use argus_core::{Action, Kind, Target};
/// let action = Action::scale(Target::new(Kind::Deployment, "shop", "web")?, 3)?;
/// assert_eq!(action.command(), "kubectl scale deployment/web -n shop --replicas=3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawAction", into = "RawAction")]
#[non_exhaustive]
pub enum Action {
    /// Replace the pods of a workload one by one, with the same definition.
    #[non_exhaustive]
    RolloutRestart {
        /// A Deployment, StatefulSet or DaemonSet.
        target: Target,
    },
    /// Set how many copies run.
    #[non_exhaustive]
    Scale {
        /// A Deployment or StatefulSet.
        target: Target,
        /// From 0 to [`MAX_REPLICAS`].
        replicas: u32,
    },
    /// Set memory and CPU of one container, or of all.
    #[non_exhaustive]
    SetResources {
        /// A Deployment, StatefulSet or DaemonSet.
        target: Target,
        /// The container; every container when absent.
        container: Option<DnsLabel>,
        /// What a container may use at most.
        limits: Amounts,
        /// What a container is promised.
        requests: Amounts,
    },
    /// Set the images of containers.
    #[non_exhaustive]
    SetImage {
        /// A Deployment, StatefulSet or DaemonSet.
        target: Target,
        /// The image by container, never empty.
        images: BTreeMap<DnsLabel, Image>,
    },
    /// Change a few fields.
    #[non_exhaustive]
    Patch {
        /// Anything but a Pod.
        target: Target,
        /// The change.
        patch: Patch,
    },
    /// Delete one pod, so that its owner makes a new one.
    #[non_exhaustive]
    DeletePod {
        /// A Pod.
        target: Target,
    },
    /// Go back to an earlier revision of the pod template.
    #[non_exhaustive]
    RolloutUndo {
        /// A Deployment.
        target: Target,
        /// The revision; the one before the current when absent.
        to_revision: Option<u32>,
    },
    /// Something that only a person may do: shown, never run.
    #[non_exhaustive]
    Manual {
        /// The command, or words, for a person.
        command: String,
        /// Why Argus doesn't run it.
        reason: String,
    },
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum RawAction {
    RolloutRestart {
        target: Target,
    },
    Scale {
        target: Target,
        replicas: u32,
    },
    SetResources {
        target: Target,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        container: Option<DnsLabel>,
        #[serde(default, skip_serializing_if = "Amounts::is_empty")]
        limits: Amounts,
        #[serde(default, skip_serializing_if = "Amounts::is_empty")]
        requests: Amounts,
    },
    SetImage {
        target: Target,
        images: BTreeMap<DnsLabel, Image>,
    },
    Patch {
        target: Target,
        patch_type: PatchKind,
        patch: Value,
    },
    DeletePod {
        target: Target,
    },
    RolloutUndo {
        target: Target,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_revision: Option<u32>,
    },
    Manual {
        command: String,
        reason: String,
    },
}

impl TryFrom<RawAction> for Action {
    type Error = ActionError;
    fn try_from(raw: RawAction) -> Result<Self, ActionError> {
        match raw {
            RawAction::RolloutRestart { target } => Self::rollout_restart(target),
            RawAction::Scale { target, replicas } => Self::scale(target, replicas),
            RawAction::SetResources {
                target,
                container,
                limits,
                requests,
            } => Self::set_resources(target, container, limits, requests),
            RawAction::SetImage { target, images } => Self::set_image(target, images),
            RawAction::Patch {
                target,
                patch_type,
                patch,
            } => Self::patch(target, Patch::new(patch_type, patch)?),
            RawAction::DeletePod { target } => Self::delete_pod(target),
            RawAction::RolloutUndo {
                target,
                to_revision,
            } => Self::rollout_undo(target, to_revision),
            RawAction::Manual { command, reason } => Self::manual(&command, &reason),
        }
    }
}

impl From<Action> for RawAction {
    fn from(action: Action) -> Self {
        match action {
            Action::RolloutRestart { target } => Self::RolloutRestart { target },
            Action::Scale { target, replicas } => Self::Scale { target, replicas },
            Action::SetResources {
                target,
                container,
                limits,
                requests,
            } => Self::SetResources {
                target,
                container,
                limits,
                requests,
            },
            Action::SetImage { target, images } => Self::SetImage { target, images },
            Action::Patch { target, patch } => Self::Patch {
                target,
                patch_type: patch.kind(),
                patch: patch.body().clone(),
            },
            Action::DeletePod { target } => Self::DeletePod { target },
            Action::RolloutUndo {
                target,
                to_revision,
            } => Self::RolloutUndo {
                target,
                to_revision,
            },
            Action::Manual { command, reason } => Self::Manual { command, reason },
        }
    }
}

impl JsonSchema for Action {
    fn schema_name() -> Cow<'static, str> {
        "Action".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RawAction::json_schema(generator)
    }
}

fn only(action: &'static str, target: &Target, allowed: bool) -> Result<(), ActionError> {
    if allowed {
        Ok(())
    } else {
        Err(ActionError::WrongKind {
            action,
            kind: target.kind(),
        })
    }
}

impl Action {
    /// Restart a workload's pods one by one.
    ///
    /// # Errors
    /// [`ActionError::WrongKind`] for what has no rollout.
    pub fn rollout_restart(target: Target) -> Result<Self, ActionError> {
        only("rollout_restart", &target, target.kind().rolls_out())?;
        Ok(Self::RolloutRestart { target })
    }

    /// Run `replicas` copies.
    ///
    /// # Errors
    /// [`ActionError`] for what can't be scaled, or for more than [`MAX_REPLICAS`].
    pub fn scale(target: Target, replicas: u32) -> Result<Self, ActionError> {
        only(
            "scale",
            &target,
            matches!(target.kind(), Kind::Deployment | Kind::StatefulSet),
        )?;
        if replicas > MAX_REPLICAS {
            return Err(ActionError::invalid(
                "replicas",
                format!("is {replicas}, at most {MAX_REPLICAS} are taken"),
            ));
        }
        Ok(Self::Scale { target, replicas })
    }

    /// Set limits and requests.
    ///
    /// # Errors
    /// [`ActionError`] for what has no containers, or when nothing would be set.
    pub fn set_resources(
        target: Target,
        container: Option<DnsLabel>,
        limits: Amounts,
        requests: Amounts,
    ) -> Result<Self, ActionError> {
        only("set_resources", &target, target.kind().rolls_out())?;
        if limits.is_empty() && requests.is_empty() {
            return Err(ActionError::invalid(
                "set_resources",
                "names no limit and no request",
            ));
        }
        Ok(Self::SetResources {
            target,
            container,
            limits,
            requests,
        })
    }

    /// Set images by container.
    ///
    /// # Errors
    /// [`ActionError`] for what has no containers, or when no container is named.
    pub fn set_image(
        target: Target,
        images: BTreeMap<DnsLabel, Image>,
    ) -> Result<Self, ActionError> {
        only("set_image", &target, target.kind().rolls_out())?;
        if !(1..=20).contains(&images.len()) {
            return Err(ActionError::invalid(
                "set_image",
                "names 1 to 20 containers",
            ));
        }
        Ok(Self::SetImage { target, images })
    }

    /// Change a few fields.
    ///
    /// # Errors
    /// [`ActionError::WrongKind`] for a pod, whose fields can't change.
    pub fn patch(target: Target, patch: Patch) -> Result<Self, ActionError> {
        only("patch", &target, target.kind() != Kind::Pod)?;
        Ok(Self::Patch { target, patch })
    }

    /// Delete one pod.
    ///
    /// # Errors
    /// [`ActionError::WrongKind`] for anything but a pod.
    pub fn delete_pod(target: Target) -> Result<Self, ActionError> {
        only("delete_pod", &target, target.kind() == Kind::Pod)?;
        Ok(Self::DeletePod { target })
    }

    /// Go back to an earlier revision.
    ///
    /// # Errors
    /// [`ActionError`] for anything but a Deployment, or for revision 0.
    pub fn rollout_undo(target: Target, to_revision: Option<u32>) -> Result<Self, ActionError> {
        only("rollout_undo", &target, target.kind() == Kind::Deployment)?;
        if to_revision == Some(0) {
            return Err(ActionError::invalid(
                "to_revision",
                "starts at 1; leave it out for the revision before the current one",
            ));
        }
        Ok(Self::RolloutUndo {
            target,
            to_revision,
        })
    }

    /// Something for a person to do. Both texts are redacted and bounded.
    ///
    /// # Errors
    /// [`ActionError::Invalid`] when the command is empty.
    pub fn manual(command: &str, reason: &str) -> Result<Self, ActionError> {
        let command = crate::redact::redact(command).trim().to_owned();
        if command.is_empty() {
            return Err(ActionError::invalid("command", "is empty"));
        }
        Ok(Self::Manual {
            command,
            reason: crate::redact::redact(reason),
        })
    }

    /// The object that it changes; none for a manual step.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::RolloutRestart { target }
            | Self::Scale { target, .. }
            | Self::SetResources { target, .. }
            | Self::SetImage { target, .. }
            | Self::Patch { target, .. }
            | Self::DeletePod { target }
            | Self::RolloutUndo { target, .. } => Some(target),
            Self::Manual { .. } => None,
        }
    }

    /// The tag in JSON, such as `set_image`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RolloutRestart { .. } => "rollout_restart",
            Self::Scale { .. } => "scale",
            Self::SetResources { .. } => "set_resources",
            Self::SetImage { .. } => "set_image",
            Self::Patch { .. } => "patch",
            Self::DeletePod { .. } => "delete_pod",
            Self::RolloutUndo { .. } => "rollout_undo",
            Self::Manual { .. } => "manual",
        }
    }

    /// Whether it is only ever shown.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        matches!(self, Self::Manual { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn web(kind: Kind) -> Target {
        Target::new(kind, "shop", "web").unwrap()
    }

    #[test]
    fn constructors_refuse_what_kubernetes_does_not_have() {
        assert!(Action::scale(web(Kind::Pod), 1).is_err());
        assert!(Action::scale(web(Kind::Deployment), MAX_REPLICAS + 1).is_err());
        assert!(Action::delete_pod(web(Kind::Deployment)).is_err());
        assert!(Action::rollout_undo(web(Kind::Deployment), Some(0)).is_err());
        assert!(Action::set_image(web(Kind::Deployment), BTreeMap::new()).is_err());
        assert!(
            Action::set_resources(
                web(Kind::Deployment),
                None,
                Amounts::default(),
                Amounts::default()
            )
            .is_err()
        );
    }

    #[test]
    fn json_goes_through_the_constructors() {
        let target = json!({"kind": "Pod", "namespace": "shop", "name": "web"});
        assert!(
            serde_json::from_value::<Action>(
                json!({"kind": "scale", "target": target, "replicas": 1})
            )
            .is_err()
        );
        assert!(
            serde_json::from_value::<Action>(
                json!({"kind": "delete_pod", "target": target, "force": true})
            )
            .is_err()
        );
        let action: Action =
            serde_json::from_value(json!({"kind": "delete_pod", "target": target})).unwrap();
        assert_eq!(
            serde_json::to_value(&action).unwrap(),
            json!({"kind": "delete_pod", "target": target})
        );
    }

    #[test]
    fn stopping_everything_is_high_risk_and_destructive() {
        let stop = Action::scale(web(Kind::Deployment), 0).unwrap();
        assert_eq!(stop.risk().0, Risk::High);
        assert!(stop.is_destructive());
    }
}
