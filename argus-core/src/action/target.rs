//! The one object that an action changes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{DnsLabel, DnsSubdomain, NameError};

/// The kinds of objects that an action can name. Secrets, RBAC, nodes, storage and the like are not among them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each name is the kind's name in the Kubernetes API reference"
)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
    Service,
    Ingress,
    HorizontalPodAutoscaler,
    PodDisruptionBudget,
    Pod,
}

impl Kind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::CronJob,
        Self::Service,
        Self::Ingress,
        Self::HorizontalPodAutoscaler,
        Self::PodDisruptionBudget,
        Self::Pod,
    ];

    /// The API group, empty for the core group.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps",
            Self::CronJob => "batch",
            Self::Service | Self::Pod => "",
            Self::Ingress => "networking.k8s.io",
            Self::HorizontalPodAutoscaler => "autoscaling",
            Self::PodDisruptionBudget => "policy",
        }
    }

    /// The API version within the group.
    #[must_use]
    pub fn version(self) -> &'static str {
        if self == Self::HorizontalPodAutoscaler {
            "v2"
        } else {
            "v1"
        }
    }

    /// The resource name of the API, the plural.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::CronJob => "cronjobs",
            Self::Service => "services",
            Self::Ingress => "ingresses",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::Pod => "pods",
        }
    }

    /// The singular that kubectl prints and takes.
    #[must_use]
    pub fn singular(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::CronJob => "cronjob",
            Self::Service => "service",
            Self::Ingress => "ingress",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscaler",
            Self::PodDisruptionBudget => "poddisruptionbudget",
            Self::Pod => "pod",
        }
    }

    /// The short names that the API server announces.
    #[must_use]
    pub fn short_names(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => &["deploy"],
            Self::StatefulSet => &["sts"],
            Self::DaemonSet => &["ds"],
            Self::CronJob => &["cj"],
            Self::Service => &["svc"],
            Self::Ingress => &["ing"],
            Self::HorizontalPodAutoscaler => &["hpa"],
            Self::PodDisruptionBudget => &["pdb"],
            Self::Pod => &["po"],
        }
    }

    /// Whether the kind has pods of its own template that a rollout replaces.
    pub(crate) fn rolls_out(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet | Self::DaemonSet)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The one object that an action changes, always by its full address.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Target {
    kind: Kind,
    namespace: DnsLabel,
    name: DnsSubdomain,
}

impl Target {
    /// The object `kind`/`name` in `namespace`.
    ///
    /// # Errors
    /// [`NameError`] when one of them can't be a name.
    pub fn new(
        kind: Kind,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Result<Self, NameError> {
        Ok(Self {
            kind,
            namespace: DnsLabel::new(namespace)?,
            name: DnsSubdomain::new(name)?,
        })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{} in namespace {}",
            self.kind.singular(),
            self.name,
            self.namespace
        )
    }
}
