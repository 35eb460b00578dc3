//! The one table of what a plan may change. What isn't on it is high risk.
//!
//! A list of what is bad is always shorter than Kubernetes, so this is a list of what is good: kind, field, values, risk and
//! why. The risk of an action, the fields that policy sees, the admission policy of [`Roles`](crate::Roles) and a page of the
//! documentation are made from it.

use super::allowed_values::AllowedValues;
use super::field::{FieldPath, Segment};
use super::{Kind, Risk};

/// One row of the table: a field that a plan may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedChange {
    /// The kinds whose objects have the field.
    pub kinds: &'static [Kind],
    /// True for a field of the pod template, where [`field`](Self::field) begins then.
    pub in_pod_template: bool,
    /// The field, as a JSON pointer: `*` is every element or key, `**` everything below, `|` one of two names.
    pub field: &'static str,
    /// The values that it may get.
    pub values: AllowedValues,
    /// The risk of such a change.
    pub risk: Risk,
    /// The reason why it is on the table.
    pub why: &'static str,
}

const WITH_PODS: &[Kind] = &[
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::CronJob,
];
const ROLLED_OUT: &[Kind] = &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet];
const COUNTED: &[Kind] = &[Kind::Deployment, Kind::StatefulSet];

const fn object(
    kinds: &'static [Kind],
    field: &'static str,
    values: AllowedValues,
    why: &'static str,
) -> AllowedChange {
    AllowedChange {
        kinds,
        in_pod_template: false,
        field,
        values,
        risk: Risk::Medium,
        why,
    }
}

const fn pod(field: &'static str, values: AllowedValues, why: &'static str) -> AllowedChange {
    AllowedChange {
        kinds: WITH_PODS,
        in_pod_template: true,
        field,
        values,
        risk: Risk::Medium,
        why,
    }
}

impl AllowedChange {
    const fn low(mut self) -> Self {
        self.risk = Risk::Low;
        self
    }

    /// Every row, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        object(
            COUNTED,
            "/spec/replicas",
            AllowedValues::Copies,
            "the number of copies changes",
        )
        .low(),
        AllowedChange {
            kinds: ROLLED_OUT,
            in_pod_template: true,
            field: "/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
            values: AllowedValues::Moment,
            risk: Risk::Low,
            why: "copies are replaced one by one with the same definition",
        },
        pod(
            "/spec/containers|initContainers/*/image",
            AllowedValues::SameRepository,
            "the app restarts with another version of itself",
        ),
        pod(
            "/spec/containers|initContainers/*/resources/limits|requests/cpu|memory|ephemeral-storage",
            AllowedValues::Amount,
            "the app restarts with other limits",
        ),
        pod(
            "/spec/containers|initContainers/*/livenessProbe|readinessProbe|startupProbe/httpGet|tcpSocket|grpc/port",
            AllowedValues::Port,
            "the app is asked at another port whether it works",
        ),
        pod(
            "/spec/containers|initContainers/*/livenessProbe|readinessProbe|startupProbe/httpGet/path",
            AllowedValues::Path,
            "the app is asked by another path whether it works",
        ),
        pod(
            "/spec/containers|initContainers/*/livenessProbe|readinessProbe|startupProbe/httpGet/scheme",
            AllowedValues::Scheme,
            "the app is asked by another protocol whether it works",
        ),
        pod(
            "/spec/containers|initContainers/*/livenessProbe|readinessProbe|startupProbe/grpc/service",
            AllowedValues::Word,
            "the app is asked about another of its services whether it works",
        ),
        pod(
            "/spec/containers|initContainers/*/livenessProbe|readinessProbe|startupProbe/\
             initialDelaySeconds|periodSeconds|timeoutSeconds|successThreshold|failureThreshold",
            AllowedValues::Times,
            "the app gets more or less time to answer",
        ),
        pod(
            "/spec/containers|initContainers/*/env/*/valueFrom/configMapKeyRef/name",
            AllowedValues::ConfigMap,
            "a variable comes from another ConfigMap",
        ),
        pod(
            "/spec/containers|initContainers/*/env/*/valueFrom/configMapKeyRef/key",
            AllowedValues::ConfigMapKey,
            "a variable comes from another key of its ConfigMap",
        ),
        pod(
            "/spec/containers|initContainers/*/envFrom/*/configMapRef/name",
            AllowedValues::ConfigMap,
            "variables come from another ConfigMap",
        ),
        pod(
            "/spec/containers|initContainers/*/env/*",
            AllowedValues::EarlierValue,
            "a variable is there again as it was in an earlier revision",
        ),
        pod(
            "/spec/containers|initContainers/*/env/*/value",
            AllowedValues::EarlierValue,
            "a variable is what it was in an earlier revision",
        ),
        pod(
            "/spec/volumes/*/configMap/name",
            AllowedValues::ConfigMap,
            "files come from another ConfigMap",
        ),
        pod(
            "/spec/volumes/*/configMap/items/*/key",
            AllowedValues::ConfigMapKey,
            "a file comes from another key of its ConfigMap",
        ),
        pod(
            "/spec/volumes/*/persistentVolumeClaim/claimName",
            AllowedValues::Claim,
            "the app uses another storage that is there",
        ),
        pod(
            "/spec/nodeSelector/*",
            AllowedValues::Nodes,
            "the app runs on other nodes",
        ),
        pod(
            "/spec/affinity/nodeAffinity/**",
            AllowedValues::Nodes,
            "the app runs on other nodes",
        ),
        pod(
            "/spec/affinity/podAffinity|podAntiAffinity/**",
            AllowedValues::NothingRequired,
            "the app runs beside other apps, or apart from them",
        ),
        pod(
            "/spec/tolerations/**",
            AllowedValues::NamedToleration,
            "the app runs on nodes that are kept for apps like it",
        ),
        object(
            &[Kind::Deployment],
            "/spec/strategy/type",
            AllowedValues::Strategy,
            "copies are replaced in another way",
        ),
        object(
            &[Kind::Deployment],
            "/spec/strategy/rollingUpdate/maxSurge|maxUnavailable",
            AllowedValues::Share,
            "more or fewer copies are replaced at a time",
        ),
        object(
            &[Kind::StatefulSet, Kind::DaemonSet],
            "/spec/updateStrategy/type",
            AllowedValues::Strategy,
            "copies are replaced in another way",
        ),
        object(
            &[Kind::StatefulSet],
            "/spec/updateStrategy/rollingUpdate/partition|maxUnavailable",
            AllowedValues::Share,
            "more or fewer copies are replaced at a time",
        ),
        object(
            &[Kind::DaemonSet],
            "/spec/updateStrategy/rollingUpdate/maxSurge|maxUnavailable",
            AllowedValues::Share,
            "more or fewer copies are replaced at a time",
        ),
        object(
            &[Kind::Service],
            "/spec/ports/*/targetPort",
            AllowedValues::Port,
            "requests go to another port of the app",
        ),
        object(
            &[Kind::Service],
            "/spec/selector/*",
            AllowedValues::Selector,
            "requests go to the one app that the service is for",
        ),
        object(
            &[Kind::Ingress],
            "/spec/rules/*/http/paths/*/backend/service/name",
            AllowedValues::ServiceOfBackend,
            "requests go to another service that is there",
        ),
        object(
            &[Kind::Ingress],
            "/spec/rules/*/http/paths/*/backend/service/port/name|number",
            AllowedValues::ServiceOfBackend,
            "requests go to a port that the service has",
        ),
        object(
            &[Kind::Ingress],
            "/spec/defaultBackend/service/name",
            AllowedValues::ServiceOfBackend,
            "requests go to another service that is there",
        ),
        object(
            &[Kind::Ingress],
            "/spec/defaultBackend/service/port/name|number",
            AllowedValues::ServiceOfBackend,
            "requests go to a port that the service has",
        ),
        object(
            &[Kind::HorizontalPodAutoscaler],
            "/spec/scaleTargetRef/apiVersion|kind|name",
            AllowedValues::ScaleTarget,
            "the autoscaler scales the app that is there",
        ),
        object(
            &[Kind::HorizontalPodAutoscaler],
            "/spec/minReplicas|maxReplicas",
            AllowedValues::CopiesOfAutoscaler,
            "the autoscaler may run more or fewer copies",
        ),
        object(
            &[Kind::PodDisruptionBudget],
            "/spec/minAvailable|maxUnavailable",
            AllowedValues::Share,
            "more or fewer copies may be away while nodes are looked after",
        ),
        object(
            &[Kind::CronJob],
            "/spec/schedule",
            AllowedValues::Schedule,
            "the job runs at other times",
        ),
        object(
            &[Kind::CronJob],
            "/spec/suspend",
            AllowedValues::False,
            "the job runs again",
        ),
    ];

    /// The field from the object's root, such as `/spec/template/spec/nodeSelector/*`.
    #[must_use]
    pub fn pointer(&self, kind: Kind) -> String {
        match self.in_pod_template {
            true => format!("{}{}", pod_template(kind), self.field),
            false => self.field.to_owned(),
        }
    }

    /// The whole table in a few lines: the fields of some kinds, then those of others. For the schema of what a model answers.
    pub(crate) fn in_short() -> String {
        let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
        for row in Self::ALL {
            let kinds: Vec<String> = row.kinds.iter().map(Kind::to_string).collect();
            let kinds = kinds.join(", ");
            let of = match row.in_pod_template {
                true => format!("pod template of {kinds}"),
                false => kinds,
            };
            match groups.iter_mut().find(|(other, _)| *other == of) {
                Some((_, fields)) => fields.push(row.field),
                None => groups.push((of, vec![row.field])),
            }
        }
        let groups = groups.into_iter();
        let groups = groups.map(|(of, fields)| format!("{of}: {}", fields.join(" ")));
        groups.collect::<Vec<_>>().join("; ")
    }

    /// The row of a field; the risk of a field that has none is high.
    pub(crate) fn find(kind: Kind, path: &FieldPath) -> Option<&'static Self> {
        let rows = Self::ALL.iter().filter(|row| row.kinds.contains(&kind));
        rows.into_iter().find(|row| row.matches(kind, path))
    }

    fn matches(&self, kind: Kind, path: &FieldPath) -> bool {
        let pattern = self.pointer(kind);
        let mut parts = pattern.split('/').skip(1).peekable();
        let mut segments = path.segments().iter();
        loop {
            match (parts.next(), segments.next()) {
                (None, None) => return true,
                (Some("**"), _) => return true,
                (Some("*"), Some(_)) => {}
                (Some(part), Some(Segment::Key(key))) => {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    if !part.split('|').any(|name| name.trim() == key) {
                        return false;
                    }
                }
                // Everything below is also the whole of it.
                (None, Some(_)) | (Some(_), Some(Segment::Element(_))) => return false,
                (Some(_), None) => return false,
            }
        }
    }
}

/// The pod template of a kind, as a JSON pointer.
pub(crate) fn pod_template(kind: Kind) -> &'static str {
    match kind {
        Kind::CronJob => "/spec/jobTemplate/spec/template",
        _ => "/spec/template",
    }
}
