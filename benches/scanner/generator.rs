//! A cluster of any size, the same each time: 50 namespaces of apps with ten pods each, of which every twentieth has a fault.

use serde_json::{Value, json};

pub(crate) const NAMESPACES: usize = 50;
const PODS_OF_AN_APP: usize = 10;
const ONE_FAULT_IN: usize = 20;

/// The faults, in turn.
pub(crate) const FAULTS: [&str; 14] = [
    "out-of-memory",
    "crash-loop",
    "image",
    "no-secret",
    "no-config-map",
    "no-place",
    "not-ready",
    "evicted",
    "scaled-to-zero",
    "service-selector",
    "service-port",
    "ingress-backend",
    "claim-lost",
    "job-failed",
];

#[derive(Clone)]
pub(crate) struct Generator {
    pub(crate) pods: usize,
    pub(crate) started: String,
}

/// An app of the cluster.
pub(crate) struct App {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) fault: Option<&'static str>,
    /// When its pods started: after their settings were made.
    pub(crate) started: String,
}

pub(crate) fn namespace(index: usize) -> String {
    format!("team-{index:02}")
}

/// The first moment of the pods: long ago, so that what is late is late.
const BEGAN: &str = "2026-11-01T10:00:00Z";

impl Generator {
    /// A cluster whose pods started long ago.
    pub(crate) fn new(pods: usize) -> Self {
        Self {
            pods,
            started: BEGAN.into(),
        }
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = App> + use<> {
        let started = self.started.clone();
        (0..self.pods / PODS_OF_AN_APP).map(move |index| {
            let is_faulty = index % ONE_FAULT_IN == ONE_FAULT_IN / 2;
            let fault = is_faulty.then(|| FAULTS[index / ONE_FAULT_IN % FAULTS.len()]);
            App {
                namespace: namespace(index % NAMESPACES),
                name: format!("app-{index:05}"),
                fault,
                started: started.clone(),
            }
        })
    }

    pub(crate) fn apps_of(&self, namespace: &str) -> Vec<App> {
        self.apps()
            .filter(|app| app.namespace == namespace)
            .collect()
    }
}

impl App {
    fn uid(&self, kind: u32) -> String {
        let number: u64 = self.name.trim_start_matches("app-").parse().unwrap();
        format!("{kind:08x}-0000-4000-8000-{number:012x}")
    }

    fn metadata(&self, name: &str, kind: u32) -> Value {
        json!({ "name": name, "namespace": self.namespace, "uid": self.uid(kind), "creationTimestamp": BEGAN, "labels": { "app": self.name } })
    }

    fn template(&self) -> Value {
        let labels = json!({ "app": self.name });
        json!({ "metadata": { "labels": labels }, "spec": self.pod_spec() })
    }

    fn pod_spec(&self) -> Value {
        let image = match self.fault {
            Some("image") => "registry.example.com/does-not-exist:1".to_owned(),
            _ => format!("registry.example.com/{}:1.2.3", self.name),
        };
        let mut env = vec![json!({ "name": "LOG_LEVEL", "value": "info" })];
        match self.fault {
            Some("no-secret") => env.push(json!({ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "key" } } })),
            Some("no-config-map") => env.push(json!({ "name": "MODE", "valueFrom": { "configMapKeyRef": { "name": "gone", "key": "mode" } } })),
            _ => env.push(json!({ "name": "MODE", "valueFrom": { "configMapKeyRef": { "name": self.name, "key": "mode" } } })),
        }
        let container = json!({
            "name": "app", "image": image, "imagePullPolicy": "IfNotPresent", "env": env,
            "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
            "resources": { "limits": { "cpu": "500m", "memory": "256Mi" }, "requests": { "cpu": "100m", "memory": "128Mi" } },
            "readinessProbe": probe(), "livenessProbe": probe(),
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "securityContext": { "allowPrivilegeEscalation": false, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" } },
        });
        json!({
            "containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "securityContext": {}, "schedulerName": "default-scheduler",
        })
    }

    pub(crate) fn wanted(&self) -> usize {
        if self.fault == Some("scaled-to-zero") {
            0
        } else {
            PODS_OF_AN_APP
        }
    }

    /// How many of its pods have the fault.
    fn broken(&self) -> usize {
        match self.fault {
            Some("not-ready" | "evicted" | "no-place") => 1,
            Some("out-of-memory" | "crash-loop" | "image" | "no-secret" | "no-config-map") => 3,
            _ => 0,
        }
    }

    /// Its objects, but for its pods, with their resource; a status stands in `status`.
    pub(crate) fn objects(&self) -> Vec<(&'static str, Value)> {
        let selector = json!({ "matchLabels": { "app": self.name } });
        let ready = self.wanted() - self.broken();
        let status = json!({ "observedGeneration": 1, "replicas": self.wanted(), "updatedReplicas": self.wanted(), "readyReplicas": ready, "availableReplicas": ready, "conditions": [
            { "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "lastTransitionTime": BEGAN, "lastUpdateTime": BEGAN },
            { "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastTransitionTime": BEGAN, "lastUpdateTime": BEGAN }] });
        let mut deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata(&self.name, 1),
            "spec": { "replicas": self.wanted(), "selector": selector, "template": self.template() }, "status": status });
        deployment["metadata"]["annotations"] = json!({ "deployment.kubernetes.io/revision": "1" });
        let mut set = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": self.metadata(&format!("{}-5d4f8c7b9", self.name), 2),
            "spec": { "replicas": self.wanted(), "selector": selector, "template": self.template() },
            "status": { "replicas": self.wanted(), "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": 1 } });
        set["metadata"]["annotations"] = json!({ "deployment.kubernetes.io/revision": "1" });
        set["metadata"]["ownerReferences"] = owner("Deployment", &self.name, &self.uid(1));
        let (app, port) = match self.fault {
            Some("service-selector") => (format!("{}-of-old", self.name), 8080),
            Some("service-port") => (self.name.clone(), 9090),
            _ => (self.name.clone(), 8080),
        };
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(&self.name, 3),
            "spec": { "selector": { "app": app }, "ports": [{ "name": "http", "port": 80, "targetPort": port }] } });
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(&self.name, 4), "data": { "mode": "fast" } });
        let backend = if self.fault == Some("ingress-backend") {
            "nowhere"
        } else {
            &self.name
        };
        let backend = json!({ "service": { "name": backend, "port": { "number": 80 } } });
        let rule = json!({ "host": format!("{}.example.com", self.name), "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } });
        let ingress = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": self.metadata(&self.name, 5), "spec": { "ingressClassName": "nginx", "rules": [rule] } });
        let mut objects = vec![
            ("configmaps", config),
            ("deployments", deployment),
            ("replicasets", set),
            ("services", service),
            ("ingresses", ingress),
        ];
        if self.fault == Some("claim-lost") {
            let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "volumeName": "gone", "storageClassName": "standard" });
            let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": self.metadata(&self.name, 6), "spec": spec, "status": { "phase": "Lost" } });
            objects.push(("persistentvolumeclaims", claim));
        }
        if self.fault == Some("job-failed") {
            let mut template = self.template();
            template["spec"]["restartPolicy"] = "Never".into();
            let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit", "lastTransitionTime": BEGAN, "lastProbeTime": BEGAN });
            let status = json!({ "failed": 7, "startTime": BEGAN, "conditions": [condition("FailureTarget"), condition("Failed")] });
            let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": self.metadata(&self.name, 7), "spec": { "backoffLimit": 6, "template": template }, "status": status });
            objects.push(("jobs", job));
        }
        objects
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = Value> {
        (0..self.wanted()).map(|index| self.pod(index))
    }

    pub(crate) fn pod(&self, index: usize) -> Value {
        let fault = self.fault.filter(|_| index < self.broken());
        let mut spec = self.pod_spec();
        if fault != Some("no-place") {
            spec["nodeName"] = format!("node-{}", index % 10).into();
        }
        let mut metadata = self.metadata(
            &format!("{}-5d4f8c7b9-{index:05}", self.name),
            100 + u32::try_from(index).unwrap(),
        );
        metadata["labels"]["pod-template-hash"] = "5d4f8c7b9".into();
        metadata["ownerReferences"] = owner(
            "ReplicaSet",
            &format!("{}-5d4f8c7b9", self.name),
            &self.uid(2),
        );
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status(fault, &self.started) })
    }
}

fn probe() -> Value {
    json!({ "httpGet": { "path": "/healthz", "port": 8080, "scheme": "HTTP" }, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3 })
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true }])
}

fn status(fault: Option<&str>, started: &str) -> Value {
    let waiting = |reason: &str, message: &str| json!({ "waiting": { "reason": reason, "message": message } });
    let ended = |reason: &str, code: u32| json!({ "terminated": { "reason": reason, "exitCode": code, "startedAt": BEGAN, "finishedAt": "2026-11-01T10:05:00Z" } });
    let running = json!({ "running": { "startedAt": BEGAN } });
    let (phase, state, last, restarts) = match fault {
        Some("out-of-memory") => (
            "Running",
            waiting(
                "CrashLoopBackOff",
                "back-off 5m0s restarting failed container",
            ),
            ended("OOMKilled", 137),
            12,
        ),
        Some("crash-loop") => (
            "Running",
            waiting(
                "CrashLoopBackOff",
                "back-off 5m0s restarting failed container",
            ),
            ended("Error", 1),
            12,
        ),
        Some("image") => (
            "Pending",
            waiting(
                "ImagePullBackOff",
                "Back-off pulling image \"registry.example.com/does-not-exist:1\"",
            ),
            json!({}),
            0,
        ),
        Some("no-secret") => (
            "Pending",
            waiting("CreateContainerConfigError", "secret \"keys\" not found"),
            json!({}),
            0,
        ),
        Some("no-config-map") => (
            "Pending",
            waiting("CreateContainerConfigError", "configmap \"gone\" not found"),
            json!({}),
            0,
        ),
        Some("no-place") => {
            let message = "0/10 nodes are available: 10 Insufficient cpu.";
            return json!({ "phase": "Pending", "qosClass": "Burstable", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": BEGAN }] });
        }
        Some("evicted") => {
            return json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.", "startTime": BEGAN });
        }
        _ => ("Running", running, json!({}), 0),
    };
    let ready = fault.is_none();
    let holds = |kind: &str, holds: bool| {
        let (reason, message) = if holds {
            ("", "")
        } else {
            (
                "ContainersNotReady",
                "containers with unready status: [app]",
            )
        };
        json!({ "type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message, "lastProbeTime": null, "lastTransitionTime": BEGAN })
    };
    let container = json!({ "name": "app", "image": "registry.example.com/app:1.2.3", "imageID": format!("registry.example.com/app@sha256:{}", "a".repeat(64)),
        "containerID": format!("containerd://{}", "b".repeat(64)), "ready": ready, "started": ready, "restartCount": restarts, "state": state, "lastState": last });
    json!({
        "phase": phase, "qosClass": "Burstable", "hostIP": "10.0.0.1", "podIP": "10.1.0.1", "podIPs": [{ "ip": "10.1.0.1" }], "startTime": started,
        "conditions": [holds("Initialized", true), holds("Ready", ready), holds("ContainersReady", ready), holds("PodScheduled", true)],
        "containerStatuses": [container],
    })
}
