//! A scope and the kinds that may be changed become the Roles that a host needs, and no more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::lean::GATEWAY_API;
use crate::action::Kind;
use crate::names::{DnsLabel, DnsSubdomain, NameError};
use crate::scope::Scope;

/// The role for looking: enough for findings and suggestions.
pub(super) const READER: &str = "argus-ops-reader";
/// The role for changes, which a host's user opts in to. A server-side dry run of a change needs it too.
pub(super) const REMEDIATOR: &str = "argus-ops-remediator";

/// The role for looking at what belongs to no namespace.
const CLUSTER_READER: &str = "argus-ops-cluster-reader";

/// The least-privilege roles for a scope: `argus-ops-reader` and `argus-ops-remediator`, one of each per namespace.
///
/// # Guarantees
/// Tested on a real API server: with exactly these the whole walk works, and with any rule taken out the scan or the
/// preflight names what is missing. Nothing in them reads Secrets, changes permissions, nodes or
/// storage, or reaches beyond the namespaces of the scope; with
/// [`seeing_cluster`](Self::seeing_cluster) nodes, volumes, classes and webhooks are looked at.
///
/// # Example
/// ```
/// use argus_core::{Roles, Scope};
/// let roles = Roles::new(&Scope::namespaces(["shop"])?);
/// let yaml = roles.to_yaml("tools", "argus")?;
/// assert!(yaml.contains("name: argus-ops-remediator"));
/// assert!(yaml.contains("deployments/scale"));
/// assert!(!yaml.contains("secrets"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Roles {
    namespaces: Vec<String>,
    kinds: BTreeSet<Kind>,
    cluster: bool,
    logs: bool,
    across: bool,
}

impl Roles {
    /// The roles for changing Deployments and deleting pods in the namespaces of `scope`: what most plans of the playbook need.
    #[must_use]
    pub fn new(scope: &Scope) -> Self {
        Self {
            namespaces: scope.iter().map(str::to_owned).collect(),
            kinds: BTreeSet::from([Kind::Deployment, Kind::Pod]),
            cluster: false,
            logs: false,
            across: false,
        }
    }

    /// The roles for changing objects of this kind too.
    #[must_use]
    pub fn changing(mut self, kind: Kind) -> Self {
        self.kinds.insert(kind);
        self
    }

    /// With the right to look at what belongs to no namespace, as [`Kube::seeing_cluster`](super::Kube::seeing_cluster) does:
    /// without it a finding about a pod that finds no place can't say what would give it one.
    #[must_use]
    pub fn seeing_cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// With the right to read the logs of pods, as [`Kube::last_words`](super::Kube::last_words) does. Logs may hold anything.
    #[must_use]
    pub fn reading_logs(mut self) -> Self {
        self.logs = true;
        self
    }

    /// With the right to look at all namespaces, as [`Kube::across_namespaces`](super::Kube::across_namespaces) does: the reader
    /// is a ClusterRole then. What may be changed stays in the namespaces of the scope.
    #[must_use]
    pub fn across_namespaces(mut self) -> Self {
        self.across = true;
        self
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.iter().map(String::as_str)
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        self.kinds.clone().into_iter()
    }

    /// The rules of `argus-ops-reader`, as RBAC has them.
    #[must_use]
    pub fn reader(&self) -> Vec<Value> {
        let mut resources: BTreeSet<(&str, &str)> = self
            .kinds
            .iter()
            .map(|kind| (kind.group(), kind.plural()))
            .collect();
        // What the scanner looks at, whatever may be changed. Of ConfigMaps only names, keys and times are read.
        resources.extend([
            ("", "pods"),
            ("", "configmaps"),
            ("", "services"),
            ("", "persistentvolumeclaims"),
            ("", "resourcequotas"),
            // Only those of the scope, as the role is in them: whether a deleted pod could come back.
            ("", "namespaces"),
            ("apps", "deployments"),
            ("apps", "replicasets"),
            ("apps", "statefulsets"),
            ("apps", "daemonsets"),
            ("autoscaling", "horizontalpodautoscalers"),
            ("batch", "cronjobs"),
            ("batch", "jobs"),
            ("discovery.k8s.io", "endpointslices"),
            // Whether or not the cluster has the Gateway API.
            (GATEWAY_API, "gateways"),
            (GATEWAY_API, "httproutes"),
            ("networking.k8s.io", "ingresses"),
            ("networking.k8s.io", "networkpolicies"),
            ("policy", "poddisruptionbudgets"),
        ]);
        let mut rules = rules(&resources, &["get", "list", "watch"]);
        // Why a pod is not made, or does not start.
        rules.push(json!({ "apiGroups": [""], "resources": ["events"], "verbs": ["list"] }));
        if self.logs {
            rules.push(json!({ "apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"] }));
        }
        rules
    }

    /// The rules of `argus-ops-remediator`, as RBAC has them.
    #[must_use]
    pub fn remediator(&self) -> Vec<Value> {
        let patched = self.kinds.iter().filter(|kind| **kind != Kind::Pod);
        let mut resources: BTreeSet<(&str, &str)> =
            patched.map(|kind| (kind.group(), kind.plural())).collect();
        for (kind, scale) in [
            (Kind::Deployment, "deployments/scale"),
            (Kind::StatefulSet, "statefulsets/scale"),
        ] {
            if self.kinds.contains(&kind) {
                resources.insert((kind.group(), scale));
            }
        }
        let mut rules = rules(&resources, &["patch", "update"]);
        if self.kinds.contains(&Kind::Pod) {
            rules.push(json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["delete"] }));
        }
        rules
    }

    /// The Roles and RoleBindings for a service account, as objects to apply.
    ///
    /// # Errors
    /// [`NameError`] for what can't be the name of a namespace or a service account.
    pub fn objects(&self, namespace: &str, account: &str) -> Result<Vec<Value>, NameError> {
        let (namespace, account) = (DnsLabel::new(namespace)?, DnsSubdomain::new(account)?);
        let subject = json!({ "kind": "ServiceAccount", "name": account, "namespace": namespace });
        let mut objects = Vec::new();
        for namespace in &self.namespaces {
            let reader = (!self.across).then(|| (READER, self.reader()));
            for (name, rules) in reader.into_iter().chain([(REMEDIATOR, self.remediator())]) {
                let metadata = json!({ "name": name, "namespace": namespace });
                objects.push(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules }));
                objects.push(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name }, "subjects": [subject] }));
            }
        }
        let mut of_cluster = |name: &str, rules: Vec<Value>| {
            objects.push(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules }));
            // One for each account, so that two hosts don't take it from each other.
            let metadata = json!({ "name": format!("{name}:{namespace}:{account}") });
            objects.push(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata,
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name }, "subjects": [subject] }));
        };
        if self.across {
            of_cluster(READER, self.reader());
        }
        if self.cluster {
            let rules = rules(
                &BTreeSet::from([
                    ("", "nodes"),
                    ("", "persistentvolumes"),
                    (
                        "admissionregistration.k8s.io",
                        "mutatingwebhookconfigurations",
                    ),
                    (
                        "admissionregistration.k8s.io",
                        "validatingwebhookconfigurations",
                    ),
                    (GATEWAY_API, "gatewayclasses"),
                    ("networking.k8s.io", "ingressclasses"),
                    ("storage.k8s.io", "storageclasses"),
                ]),
                &["get", "list", "watch"],
            );
            of_cluster(CLUSTER_READER, rules);
        }
        Ok(objects)
    }

    /// The same as YAML for `kubectl apply -f -`.
    ///
    /// # Errors
    /// [`NameError`] for what can't be the name of a namespace or a service account.
    pub fn to_yaml(&self, namespace: &str, account: &str) -> Result<String, NameError> {
        Ok(yaml(&self.objects(namespace, account)?))
    }
}

/// Objects as YAML, each a document of its own.
pub(super) fn yaml(objects: &[Value]) -> String {
    // JSON is YAML too.
    let yaml = |object: &Value| serde_saphyr::to_string(object).unwrap_or(object.to_string());
    objects.iter().map(yaml).collect::<Vec<_>>().join("---\n")
}

/// One rule per API group.
fn rules(resources: &BTreeSet<(&str, &str)>, verbs: &[&str]) -> Vec<Value> {
    let groups: BTreeSet<&str> = resources.iter().map(|(group, _)| *group).collect();
    let rule = |group: &str| {
        let names = resources.iter().filter(|(of, _)| *of == group);
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        json!({ "apiGroups": [group], "resources": names, "verbs": verbs })
    };
    groups.into_iter().map(rule).collect()
}
