//! The second lock: what a stolen token of Argus' account can do on a real API server, with plain kubectl.
#![cfg(feature = "kube")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use argus_core::{Kind, Roles, Scope};
use serde_json::{Value, json};

const SPACE: &str = "argus-admission";

/// kubectl as somebody, by a kubeconfig.
struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    fn must(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

fn roles() -> Roles {
    let scope = Scope::namespaces([SPACE]).unwrap();
    Kind::ALL
        .into_iter()
        .fold(Roles::new(&scope), Roles::changing)
}

fn fixtures() -> String {
    let labels = json!({ "app": "web" });
    let strict = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } });
    let pod = json!({
        "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
        "nodeSelector": { "never": "there" },
        "volumes": [{ "name": "creds", "secret": { "secretName": "db", "optional": true } }, { "name": "conf", "configMap": { "name": "web", "optional": true } },
            { "name": "data", "persistentVolumeClaim": { "claimName": "web" } }],
        "containers": [
            { "name": "app", "image": "r.example:5000/shop/web:1", "securityContext": strict, "ports": [{ "name": "http", "containerPort": 8080 }],
              "env": [{ "name": "MODE", "value": "on" }, { "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "web", "key": "level", "optional": true } } }],
              "resources": { "limits": { "memory": "128Mi" } }, "readinessProbe": { "httpGet": { "path": "/", "port": 8080 } } },
            { "name": "side", "image": "side:1", "securityContext": strict }] });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let object = |api: &str, kind: &str, spec: Value| json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "web", "namespace": SPACE }, "spec": spec });
    let workload = |kind: &str, more: Value| {
        let mut spec = json!({ "selector": { "matchLabels": labels }, "template": template });
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object("apps/v1", kind, spec)
    };
    let mut job = pod.clone();
    job["restartPolicy"] = json!("Never");
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let objects = [
        workload("Deployment", json!({ "replicas": 2 })),
        workload(
            "StatefulSet",
            json!({ "replicas": 2, "serviceName": "web" }),
        ),
        workload("DaemonSet", json!({})),
        object(
            "batch/v1",
            "CronJob",
            json!({ "suspend": true, "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": { "spec": job } } } }),
        ),
        object(
            "v1",
            "Service",
            json!({ "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] }),
        ),
        object(
            "networking.k8s.io/v1",
            "Ingress",
            json!({ "rules": [{ "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }] }),
        ),
        object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({ "minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "none" } }),
        ),
        object(
            "policy/v1",
            "PodDisruptionBudget",
            json!({ "minAvailable": 2, "selector": { "matchLabels": labels } }),
        ),
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "alone", "namespace": SPACE }, "spec": pod }),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string()
}

/// The cluster's administrator, and Argus' account with its Roles and the admission policies.
fn cluster() -> Option<(Kubectl, Kubectl, tempfile::TempDir)> {
    let (Some(kubeconfig), Some(program)) = (
        std::env::var_os("ARGUS_TEST_KUBECONFIG"),
        std::env::var_os("ARGUS_TEST_KUBECTL"),
    ) else {
        assert!(
            std::env::var_os("ARGUS_TEST_ALL").is_none(),
            "ARGUS_TEST_ALL is set, but no control plane is running: use `make test`"
        );
        eprintln!(
            "skipped: no real API server; `make control-plane` builds and starts one (it needs Go and Debian's etcd-server)"
        );
        return None;
    };
    let program = PathBuf::from(program);
    let admin = Kubectl {
        program: program.clone(),
        kubeconfig: kubeconfig.into(),
    };
    let space = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SPACE } });
    admin.run(&["delete", "namespace", SPACE, "--ignore-not-found"], "");
    admin.must(&["apply", "-f", "-"], &space.to_string());
    admin.must(&["create", "serviceaccount", "argus", "-n", SPACE], "");
    admin.must(&["apply", "-f", "-"], &fixtures());
    let objects = roles().objects(SPACE, "argus").unwrap();
    let policies = roles().admission(SPACE, "argus").unwrap();
    for objects in [objects, policies] {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        admin.must(&["apply", "-f", "-"], &list.to_string());
    }
    let token = admin.must(&["create", "token", "argus", "-n", SPACE], "");
    let config = admin.must(&["config", "view", "--raw", "-o", "json"], "");
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["users"][0]["user"] = json!({ "token": token.trim() });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    let argus = Kubectl {
        program,
        kubeconfig: file,
    };
    // Policies come into force one by one.
    let label = r#"{"metadata":{"labels":{"in-force":"yes"}}}"#;
    for kind in ["deploy", "sts", "ds", "cj", "svc", "ing", "hpa", "pdb"] {
        let target = format!("{kind}/web");
        refused_soon(&argus, &["patch", &target, "--dry-run=server", "-p", label]);
    }
    for target in ["deploy/web", "sts/web"] {
        refused_soon(
            &argus,
            &["scale", target, "--replicas=0", "--dry-run=server"],
        );
    }
    refused_soon(&argus, &["delete", "pod/alone", "--dry-run=server"]);
    Some((admin, argus, folder))
}

/// Waits until a policy refuses what it has to.
fn refused_soon(argus: &Kubectl, arguments: &[&str]) {
    for _ in 0..150 {
        let output = argus.run(&[arguments, &["-n", SPACE]].concat(), "");
        if String::from_utf8_lossy(&output.stderr).contains("ValidatingAdmissionPolicy") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("after half a minute no policy refuses {arguments:?}");
}

#[test]
fn a_stolen_token_does_only_what_the_table_lists() {
    let Some((admin, argus, _folder)) = cluster() else {
        return;
    };
    let template = |spec: Value| json!({ "spec": { "template": { "spec": spec } } });
    let app = |fields: Value| {
        let mut container = json!({ "name": "app" });
        container
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        template(json!({ "containers": [container] }))
    };
    let restart = json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-11-28T10:00:00Z" } } } } });
    let mut wrong = Vec::new();
    let mut try_it = |target: &str, patch: &Value, allowed: bool| {
        let patch = patch.to_string();
        let kind = if patch.starts_with('[') {
            "json"
        } else {
            "strategic"
        };
        let output = argus.run(
            &[
                "patch",
                target,
                "-n",
                SPACE,
                "--dry-run=server",
                "--type",
                kind,
                "-p",
                &patch,
            ],
            "",
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let by_policy = said.contains("ValidatingAdmissionPolicy");
        if output.status.success() != allowed || (!allowed && !by_policy) {
            wrong.push(format!(
                "{target} {patch}: allowed should be {allowed}: {said}"
            ));
        }
    };
    for kind in ["deploy/web", "sts/web", "ds/web"] {
        for listed in [
            restart.clone(),
            app(json!({ "image": "r.example:5000/shop/web:2" })),
            app(json!({ "resources": { "limits": { "memory": "256Mi", "cpu": "1" } } })),
            app(
                json!({ "readinessProbe": { "httpGet": { "port": "http" }, "initialDelaySeconds": 20 } }),
            ),
            app(json!({ "livenessProbe": { "tcpSocket": { "port": 8080 } } })),
            app(
                json!({ "env": [{ "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "web", "key": "other" } } }] }),
            ),
            template(json!({ "nodeSelector": { "never": "here", "disk": "ssd" } })),
            template(
                json!({ "tolerations": [{ "key": "for", "value": "data", "effect": "NoSchedule" }] }),
            ),
            template(
                json!({ "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "other" } }] }),
            ),
        ] {
            try_it(kind, &listed, true);
        }
        for unlisted in [
            app(json!({ "image": "r.example:5000/shop/other:1" })),
            app(json!({ "image": "evil.example/shop/web:1" })),
            app(json!({ "command": ["sh"] })),
            app(json!({ "env": [{ "name": "MODE", "value": "off" }] })),
            app(
                json!({ "env": [{ "name": "MODE", "value": null, "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } } }] }),
            ),
            app(json!({ "envFrom": [{ "secretRef": { "name": "db" } }] })),
            app(json!({ "volumeMounts": [{ "name": "creds", "mountPath": "/creds" }] })),
            app(json!({ "securityContext": { "allowPrivilegeEscalation": null } })),
            app(json!({ "resources": { "limits": { "memory": null } } })),
            app(json!({ "readinessProbe": { "httpGet": { "host": "169.254.169.254" } } })),
            template(
                json!({ "containers": [{ "name": "evil", "image": "r.example:5000/shop/web:1" }] }),
            ),
            template(
                json!({ "initContainers": [{ "name": "evil", "image": "r.example:5000/shop/web:1" }] }),
            ),
            template(
                json!({ "volumes": [{ "name": "s", "secret": { "secretName": "prod-root" } }] }),
            ),
            template(json!({ "serviceAccountName": "admin" })),
            template(json!({ "hostNetwork": true })),
            template(json!({ "hostAliases": [{ "ip": "6.6.6.6", "hostnames": ["db"] }] })),
            template(json!({ "tolerations": [{ "operator": "Exists" }] })),
            template(json!({ "terminationGracePeriodSeconds": 0 })),
            json!({ "spec": { "template": { "metadata": { "annotations": { "iam.amazonaws.com/role": "admin" } } } } }),
            json!({ "metadata": { "annotations": { "argus-ops/ignore": "all" } } }),
            json!({ "metadata": { "labels": { "team": "x" } } }),
            json!({ "metadata": { "finalizers": ["x.example/y"] } }),
            json!([{ "op": "replace", "path": "/spec/template/spec/containers/1", "value": { "name": "side", "image": "evil:1" } }]),
            json!([{ "op": "remove", "path": "/spec/template/spec/containers/1" }]),
            json!([{ "op": "move", "from": "/spec/template/spec/containers/1", "path": "/spec/template/spec/containers/0" }]),
        ] {
            try_it(kind, &unlisted, false);
        }
    }
    for (target, patch, allowed) in [
        ("deploy/web", json!({ "spec": { "replicas": 3 } }), true),
        ("deploy/web", json!({ "spec": { "replicas": 0 } }), false),
        (
            "deploy/web",
            json!({ "spec": { "strategy": { "rollingUpdate": { "maxUnavailable": 1 } } } }),
            true,
        ),
        (
            "sts/web",
            json!({ "spec": { "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Delete", "whenScaled": "Delete" } } }),
            false,
        ),
        (
            "svc/web",
            json!({ "spec": { "ports": [{ "port": 80, "targetPort": 9090 }] } }),
            true,
        ),
        (
            "svc/web",
            json!({ "spec": { "selector": { "app": "evil" } } }),
            false,
        ),
        ("svc/web", json!({ "spec": { "type": "NodePort" } }), false),
        (
            "ing/web",
            json!([{ "op": "replace", "path": "/spec/rules/0/http/paths/0/backend/service/port/number", "value": 81 }]),
            true,
        ),
        (
            "ing/web",
            json!([{ "op": "replace", "path": "/spec/rules/0/host", "value": "x.example" }]),
            false,
        ),
        (
            "ing/web",
            json!({ "spec": { "ingressClassName": "nginx" } }),
            false,
        ),
        (
            "ing/web",
            json!({ "metadata": { "annotations": { "nginx.ingress.kubernetes.io/server-snippet": "x" } } }),
            false,
        ),
        (
            "cj/web",
            json!({ "spec": { "suspend": false, "schedule": "*/5 * * * *" } }),
            true,
        ),
        (
            "cj/web",
            json!({ "spec": { "concurrencyPolicy": "Forbid" } }),
            false,
        ),
        (
            "cj/web",
            json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "r.example:5000/shop/web:3" }] } } } } } }),
            true,
        ),
        (
            "cj/web",
            json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": { "containers": [{ "name": "app", "args": ["x"] }] } } } } } }),
            false,
        ),
        ("hpa/web", json!({ "spec": { "maxReplicas": 7 } }), true),
        ("hpa/web", json!({ "spec": { "minReplicas": 1 } }), false),
        (
            "hpa/web",
            json!({ "spec": { "scaleTargetRef": { "name": "web" } } }),
            true,
        ),
        ("pdb/web", json!({ "spec": { "minAvailable": 1 } }), true),
        (
            "pdb/web",
            json!({ "spec": { "selector": { "matchLabels": { "app": "x" } } } }),
            false,
        ),
    ] {
        try_it(target, &patch, allowed);
    }
    for (arguments, allowed) in [
        (vec!["scale", "deploy/web", "--replicas=3"], true),
        (vec!["scale", "deploy/web", "--replicas=0"], false),
        (vec!["scale", "sts/web", "--replicas=1"], false),
        // Nothing would make it again.
        (vec!["delete", "pod/alone"], false),
    ] {
        let output = argus.run(
            &[&arguments[..], &["-n", SPACE, "--dry-run=server"]].concat(),
            "",
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() != allowed {
            wrong.push(format!(
                "{arguments:?}: allowed should be {allowed}: {said}"
            ));
        }
    }
    // Where the Roles give too much, as those of somebody else do, the policies still hold.
    admin.must(
        &[
            "create",
            "rolebinding",
            "too-much",
            "-n",
            SPACE,
            "--clusterrole=admin",
            &format!("--serviceaccount={SPACE}:argus"),
        ],
        "",
    );
    refused_soon(&argus, &["create", "configmap", "x", "--dry-run=server"]);
    for arguments in [
        vec!["create", "configmap", "x"],
        vec!["create", "secret", "generic", "x"],
        vec!["delete", "deploy/web"],
        vec!["delete", "pvc/web"],
        vec!["create", "token", "argus"],
    ] {
        let output = argus.run(&[&arguments[..], &["-n", SPACE]].concat(), "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let gone = said.contains("not found");
        if output.status.success() || !(said.contains("ValidatingAdmissionPolicy") || gone) {
            wrong.push(format!("{arguments:?} is done: {said}"));
        }
    }
    for policy in roles().admission(SPACE, "argus").unwrap() {
        let (kind, name) = (&policy["kind"], &policy["metadata"]["name"]);
        admin.must(
            &["delete", kind.as_str().unwrap(), name.as_str().unwrap()],
            "",
        );
    }
    admin.must(&["delete", "namespace", SPACE, "--wait=false"], "");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
