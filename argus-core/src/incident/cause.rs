//! The kinds of faults, what they are and what usually helps.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of fault that the scanner recognised, causes before their symptoms; the offline playbook decides by it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A node doesn't answer, or says that it isn't ready.
    NodeNotReady,
    /// A node runs short of memory, disk space, process ids or has no network.
    NodePressure,
    /// An admission webhook's service has nobody to answer.
    WebhookDead,
    /// The volume behind a claim is gone.
    ClaimLost,
    /// A storage class that is asked for isn't there, or several are the default.
    StorageClass,
    /// A claim gets no volume, though a pod waits for it.
    ClaimPending,
    /// A volume could not be reclaimed.
    VolumeFailed,
    /// Nothing more fits into a ResourceQuota.
    QuotaFull,
    /// A container was stopped because it used more memory than its limit.
    OomKilled,
    /// A liveness or startup probe stops a container before it has started.
    LivenessProbe,
    /// A probe asks a port that the container doesn't have.
    ProbePort,
    /// A container starts and ends again and again.
    CrashLoop,
    /// A container's image can't be pulled.
    ImagePull,
    /// A container reads a key that its ConfigMap doesn't have.
    ConfigKey,
    /// A workload reads a ConfigMap that isn't there.
    ConfigMapMissing,
    /// A container can't be made from its configuration.
    ContainerConfig,
    /// The cluster refuses to make the pods of a workload: a quota, a limit, a security rule, a missing service account.
    PodsRefused,
    /// A pod wants a claim for storage that isn't there.
    ClaimMissing,
    /// Several pods use a volume that one node can have at a time.
    SharedVolume,
    /// A pod wants a node with a label that no node has.
    NodeSelector,
    /// A pod asks for more than the largest node has.
    RequestTooLarge,
    /// Every node that a pod may run on has a taint that it doesn't tolerate.
    Taint,
    /// Pods that must not share a node are more than there are nodes.
    AntiAffinity,
    /// No node takes the pod, for another reason.
    Pending,
    /// A pod has a node, and its containers are not made.
    NotStarting,
    /// A pod runs without becoming ready, or was evicted, or its node doesn't answer.
    PodWedged,
    /// A pod was told to end and is still there long after.
    Terminating,
    /// A pod of no workload ended with an error.
    PodFailed,
    /// The last run of a Job, or of a CronJob, failed.
    JobFailed,
    /// A rollout exceeded its progress deadline.
    StuckRollout,
    /// A workload wants no pods at all.
    ScaledToZero,
    /// Pods are older than the ConfigMap that they read at their start.
    StaleConfig,
    /// A Service's selector matches no pod.
    ServiceSelector,
    /// A Service passes requests on to a port that no container has.
    ServicePort,
    /// Nobody answers for a Service without a selector.
    NoEndpoints,
    /// The service that gives a StatefulSet's pods their names isn't there.
    ServiceMissing,
    /// An Ingress leads to a Service or a port that isn't there.
    IngressBackend,
    /// An Ingress is of a class that isn't there.
    IngressClass,
    /// A Gateway is of a class that isn't there.
    GatewayClass,
    /// A Gateway says that it doesn't work.
    GatewayInactive,
    /// An HTTPRoute is for a Gateway, or leads to a Service or a port, that isn't there.
    RouteBackend,
    /// A Gateway doesn't carry an HTTPRoute out.
    RouteRefused,
    /// A HorizontalPodAutoscaler's workload isn't there.
    ScaleTarget,
    /// A HorizontalPodAutoscaler measures a share of what an app requests, and the app requests nothing.
    ScaleMetric,
    /// A HorizontalPodAutoscaler says that it can't work.
    ScaleInactive,
    /// A HorizontalPodAutoscaler wants more pods than it may have.
    ScaleLimited,
    /// A Deployment may take all its pods away at once when it is updated.
    RolloutStrategy,
    /// A PodDisruptionBudget never lets a single pod go.
    DisruptionBudget,
    /// A PodDisruptionBudget or a NetworkPolicy is for no pod.
    SelectsNothing,
    /// A CronJob's time never comes.
    Schedule,
    /// A CronJob is suspended.
    Suspended,
    /// A node takes no new pods because somebody closed it.
    NodeCordoned,
    /// A Deployment has fewer pods available than it wants.
    Unavailable,
}

impl Cause {
    /// The kinds of actions that usually help, as a plan names them; none where it is left to people: what is wrong belongs to whoever
    /// runs the cluster, or has more than one cure.
    ///
    /// # Example
    /// ```
    /// use argus_core::Cause;
    /// assert_eq!(Cause::OomKilled.helpful_actions(), ["set_resources"]);
    /// assert!(Cause::NodeNotReady.helpful_actions().is_empty());
    /// ```
    #[must_use]
    pub fn helpful_actions(self) -> &'static [&'static str] {
        match self {
            Self::OomKilled | Self::RequestTooLarge | Self::ScaleMetric => &["set_resources"],
            Self::CrashLoop | Self::StuckRollout | Self::PodsRefused => &["rollout_undo"],
            Self::ImagePull => &["rollout_undo", "set_image"],
            Self::ScaledToZero | Self::SharedVolume => &["scale"],
            Self::PodWedged => &["delete_pod"],
            Self::StaleConfig => &["rollout_restart"],
            Self::LivenessProbe
            | Self::ProbePort
            | Self::ConfigKey
            | Self::ClaimMissing
            | Self::NodeSelector
            | Self::Taint
            | Self::ServiceSelector
            | Self::ServicePort
            | Self::IngressBackend
            | Self::ScaleTarget
            | Self::RolloutStrategy
            | Self::DisruptionBudget
            | Self::Schedule
            | Self::Suspended => &["patch"],
            Self::NodeNotReady
            | Self::NodePressure
            | Self::NodeCordoned
            | Self::WebhookDead
            | Self::ClaimLost
            | Self::ClaimPending
            | Self::StorageClass
            | Self::VolumeFailed
            | Self::QuotaFull
            | Self::ConfigMapMissing
            | Self::ContainerConfig
            | Self::AntiAffinity
            | Self::Pending
            | Self::NotStarting
            | Self::Terminating
            | Self::PodFailed
            | Self::JobFailed
            | Self::ServiceMissing
            | Self::IngressClass
            | Self::NoEndpoints
            | Self::GatewayClass
            | Self::GatewayInactive
            | Self::RouteBackend
            | Self::RouteRefused
            | Self::ScaleInactive
            | Self::ScaleLimited
            | Self::SelectsNothing
            | Self::Unavailable => &[],
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
