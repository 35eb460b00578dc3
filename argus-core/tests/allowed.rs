//! The table of what a plan may change: its page, and what is made of the results of steps.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use argus_core::{
    Action, AllowedChange, Evidence, JudgedField, Kind, Patch, PatchKind, Risk, Target,
    parse_command,
};
use serde_json::{Value, json};

/// The page of the documentation, made of the table.
fn page() -> String {
    let mut page = String::from(
        "# What a plan may change\n\n\
         Made of the one table in `argus-core/src/action/allowed.rs`. A change that is not on it is high risk: it is refused unless a \
         host switches on `remediation.allow_high_risk`, and then a person types the object's name. Some changes are never made; \
         SECURITY.md has them.\n\n\
         `pod` stands for the pod template of a Deployment, a StatefulSet, a DaemonSet or a CronJob. `*` is any element of a list, by \
         its name, or any key.\n\n\
         | field | of | values | risk | why |\n|---|---|---|---|---|\n",
    );
    for row in AllowedChange::ALL {
        let kinds: Vec<String> = row.kinds.iter().map(ToString::to_string).collect();
        let field = row.field.trim_start_matches('/').replace('/', ".");
        let field = field.replace("~1", "/").replace('|', "\\|");
        let field = if row.in_pod_template {
            format!("pod.{field}")
        } else {
            field
        };
        page += &format!(
            "| `{field}` | {} | {} | {} | {} |\n",
            kinds.join(", "),
            row.values.describe(),
            row.risk,
            row.why
        );
    }
    page
}

/// `ARGUS_WRITE_ALLOWED=1` writes the page.
#[test]
fn the_page_is_the_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies/ALLOWED.md");
    if std::env::var_os("ARGUS_WRITE_ALLOWED").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page());
}

#[test]
fn no_row_is_high_risk_and_none_stands_twice() {
    let mut seen = BTreeSet::new();
    for row in AllowedChange::ALL {
        assert!(row.risk < Risk::High, "{}", row.field);
        for kind in row.kinds {
            assert!(seen.insert((*kind, row.pointer(*kind))), "{}", row.field);
        }
    }
}

fn patch(kind: Kind) -> Action {
    let target = Target::new(kind, "shop", "web").unwrap();
    let body = json!({ "spec": { "x": 1 } });
    Action::patch(target, Patch::new(PatchKind::Merge, body).unwrap()).unwrap()
}

/// A hardened workload.
fn workload() -> Value {
    json!({ "metadata": { "name": "web", "namespace": "shop", "labels": { "app": "web" } }, "spec": {
        "replicas": 4,
        "template": { "metadata": { "labels": { "app": "web" } }, "spec": {
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "serviceAccountName": "web",
            "volumes": [{ "name": "creds", "secret": { "secretName": "db" } }, { "name": "conf", "configMap": { "name": "web" } }],
            "containers": [{
                "name": "app", "image": "r.example/web:1",
                "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
                "env": [{ "name": "MODE", "value": "on" }, { "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "web", "key": "level" } } }],
                "resources": { "limits": { "memory": "128Mi" } },
                "readinessProbe": { "httpGet": { "path": "/", "port": 80, "scheme": "HTTP" }, "periodSeconds": 10 } }] } } } })
}

/// The object with `value` at a JSON pointer, where null takes the field away and `-` adds to a list.
fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let field = field.replace("~1", "/");
    let parent = object
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("{pointer}"));
    match parent {
        Value::Array(items) if field == "-" => items.push(value),
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = value,
        fields if value.is_null() => {
            fields.as_object_mut().unwrap().remove(&field);
        }
        fields => fields[field.as_str()] = value,
    }
    object
}

/// What a change of one field is: its worst risk, and whether it is never made.
fn judged(kind: Kind, before: &Value, after: &Value, evidence: &Evidence) -> (Risk, bool) {
    let fields = patch(kind).judge(before, after, evidence);
    assert!(!fields.is_empty(), "nothing differs");
    let never = fields.iter().any(|field| field.never);
    (fields.iter().map(|field| field.risk).max().unwrap(), never)
}

const POD: &str = "/spec/template/spec";
const APP: &str = "/spec/template/spec/containers/0";

#[test]
fn what_is_listed_is_no_high_risk() {
    let before = workload();
    let nothing = Evidence::default();
    for (pointer, value) in [
        (format!("{APP}/image"), json!("r.example/web:2")),
        (
            format!("{APP}/image"),
            json!(
                "r.example/web@sha256:0000000000000000000000000000000000000000000000000000000000000000"
            ),
        ),
        (format!("{APP}/resources/limits/memory"), json!("256Mi")),
        (format!("{APP}/resources/limits/cpu"), json!("1")),
        (format!("{APP}/readinessProbe/httpGet/port"), json!("http")),
        (
            format!("{APP}/readinessProbe/initialDelaySeconds"),
            json!(30),
        ),
        (
            format!("{APP}/livenessProbe"),
            json!({ "tcpSocket": { "port": 80 }, "periodSeconds": 5 }),
        ),
        (
            format!("{POD}/tolerations"),
            json!([{ "key": "for", "value": "data", "effect": "NoSchedule" }]),
        ),
        (
            "/spec/strategy".into(),
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": "25%" } }),
        ),
    ] {
        let after = with(&before, &pointer, value);
        assert_eq!(
            judged(Kind::Deployment, &before, &after, &nothing),
            (Risk::Medium, false),
            "{pointer}"
        );
    }
}

#[test]
fn what_is_not_listed_is_high_risk() {
    let before = workload();
    let nothing = Evidence::default();
    for (pointer, value) in [
        (format!("{APP}/image"), json!("r.example/other:1")),
        (format!("{APP}/image"), json!("evil.example/web:1")),
        (format!("{APP}/resources/limits/memory"), Value::Null),
        (format!("{APP}/readinessProbe"), Value::Null),
        (
            format!("{APP}/livenessProbe"),
            json!({ "exec": { "command": ["true"] } }),
        ),
        (
            format!("{APP}/readinessProbe/httpGet/httpHeaders"),
            json!([{ "name": "Host", "value": "db" }]),
        ),
        (format!("{APP}/command"), json!(["sh"])),
        (format!("{APP}/args"), json!(["-c"])),
        (format!("{APP}/env/0/value"), json!("off")),
        (
            format!("{APP}/env/1/valueFrom/configMapKeyRef/key"),
            json!("other"),
        ),
        (
            format!("{APP}/env/-"),
            json!({ "name": "NEW", "value": "1" }),
        ),
        (
            format!("{POD}/containers/-"),
            json!({ "name": "two", "image": "r.example/web:1", "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }),
        ),
        (
            format!("{APP}/volumeMounts"),
            json!([{ "name": "creds", "mountPath": "/creds" }]),
        ),
        (
            format!("{POD}/hostAliases"),
            json!([{ "ip": "6.6.6.6", "hostnames": ["db"] }]),
        ),
        (format!("{POD}/dnsPolicy"), json!("None")),
        (
            format!("{POD}/tolerations"),
            json!([{ "operator": "Exists" }]),
        ),
        (
            format!("{POD}/tolerations"),
            json!([{ "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" }]),
        ),
        (format!("{POD}/nodeSelector"), json!({ "no": "node" })),
        (format!("{POD}/terminationGracePeriodSeconds"), json!(0)),
        (
            "/spec/template/metadata/annotations".into(),
            json!({ "iam.amazonaws.com/role": "admin" }),
        ),
        ("/spec/template/metadata/labels/access".into(), json!("db")),
        ("/metadata/annotations".into(), json!({ "note": "x" })),
        ("/spec/replicas".into(), json!(0)),
        ("/spec/replicas".into(), json!(5000)),
        ("/spec/paused".into(), json!(true)),
        (
            "/spec/selector".into(),
            json!({ "matchLabels": { "app": "x" } }),
        ),
    ] {
        let after = with(&before, &pointer, value.clone());
        assert_eq!(
            judged(Kind::Deployment, &before, &after, &nothing),
            (Risk::High, false),
            "{pointer} {value}"
        );
    }
}

#[test]
fn what_is_never_changed_is_never_changed() {
    let before = workload();
    let nothing = Evidence::default();
    let secret = json!({ "name": "s", "secret": { "secretName": "prod-root" } });
    for (pointer, value) in [
        (format!("{POD}/volumes/-"), secret),
        (
            format!("{POD}/volumes/-"),
            json!({ "name": "t", "projected": { "sources": [{ "serviceAccountToken": { "path": "t" } }] } }),
        ),
        (
            format!("{POD}/volumes/-"),
            json!({ "name": "c", "csi": { "driver": "secrets-store.csi.k8s.io" } }),
        ),
        (
            format!("{POD}/volumes/-"),
            json!({ "name": "h", "hostPath": { "path": "/" } }),
        ),
        (
            format!("{POD}/volumes/1"),
            json!({ "name": "conf", "secret": { "secretName": "web" } }),
        ),
        (
            format!("{APP}/env/0"),
            json!({ "name": "MODE", "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } } }),
        ),
        (
            format!("{APP}/envFrom"),
            json!([{ "secretRef": { "name": "prod-root" } }]),
        ),
        (
            format!("{APP}/ports"),
            json!([{ "containerPort": 80, "hostPort": 80 }]),
        ),
        (
            format!("{POD}/imagePullSecrets"),
            json!([{ "name": "pull" }]),
        ),
        (format!("{POD}/serviceAccountName"), json!("admin")),
        (format!("{POD}/automountServiceAccountToken"), json!(true)),
        (format!("{POD}/hostNetwork"), json!(true)),
        (format!("{POD}/hostPID"), json!(true)),
        (format!("{POD}/hostUsers"), json!(true)),
        (format!("{POD}/shareProcessNamespace"), json!(true)),
        (format!("{POD}/securityContext"), Value::Null),
        (format!("{POD}/securityContext/runAsNonRoot"), Value::Null),
        (
            format!("{POD}/securityContext/seccompProfile/type"),
            json!("Unconfined"),
        ),
        (
            format!("{POD}/securityContext/supplementalGroups"),
            json!([0]),
        ),
        (
            format!("{POD}/securityContext/sysctls"),
            json!([{ "name": "net.ipv4.tcp_syncookies", "value": "0" }]),
        ),
        (
            format!("{APP}/securityContext/allowPrivilegeEscalation"),
            Value::Null,
        ),
        (
            format!("{APP}/securityContext/readOnlyRootFilesystem"),
            json!(false),
        ),
        (format!("{APP}/securityContext/capabilities"), Value::Null),
        (
            format!("{APP}/securityContext/capabilities/drop"),
            json!(["CHOWN"]),
        ),
        (
            format!("{APP}/securityContext/capabilities/add"),
            json!(["NET_RAW"]),
        ),
        (
            format!("{APP}/securityContext/procMount"),
            json!("Unmasked"),
        ),
        (
            format!("{APP}/securityContext/appArmorProfile"),
            json!({ "type": "Unconfined" }),
        ),
        (
            format!("{APP}/securityContext/seLinuxOptions"),
            json!({ "level": "s0" }),
        ),
        (format!("{APP}/securityContext/runAsUser"), json!(0)),
        (
            format!("{APP}/readinessProbe/httpGet/host"),
            json!("169.254.169.254"),
        ),
        (
            format!("{APP}/lifecycle"),
            json!({ "postStart": { "httpGet": { "host": "169.254.169.254", "port": 80 } } }),
        ),
        (
            format!("{POD}/initContainers"),
            json!([{ "name": "x", "image": "r.example/web:1", "volumeMounts": [{ "name": "creds", "mountPath": "/c" }] }]),
        ),
        (
            "/spec/template/metadata/annotations".into(),
            json!({ "container.apparmor.security.beta.kubernetes.io/app": "unconfined" }),
        ),
        (
            "/metadata/annotations".into(),
            json!({ "argus-ops/ignore": "all" }),
        ),
        (
            "/metadata/annotations".into(),
            json!({ "kubectl.kubernetes.io/last-applied-configuration": "{}" }),
        ),
        (
            "/metadata/annotations".into(),
            json!({ "deployment.kubernetes.io/revision": "1" }),
        ),
        ("/metadata/finalizers".into(), json!(["x/y"])),
        ("/metadata/ownerReferences".into(), json!([])),
        (
            "/spec/persistentVolumeClaimRetentionPolicy".into(),
            json!({ "whenScaled": "Delete", "whenDeleted": "Retain" }),
        ),
    ] {
        let after = with(&before, &pointer, value.clone());
        assert_eq!(
            judged(Kind::StatefulSet, &before, &after, &nothing),
            (Risk::High, true),
            "{pointer} {value}"
        );
    }
    // A part of the node that the pod has is not given to another of its containers.
    let volume = json!([{ "name": "host", "hostPath": { "path": "/" } }]);
    let has_host = with(&before, &format!("{POD}/volumes"), volume);
    let mount = json!([{ "name": "host", "mountPath": "/host" }]);
    let mounted = with(&has_host, &format!("{APP}/volumeMounts"), mount);
    assert_eq!(
        judged(Kind::StatefulSet, &has_host, &mounted, &nothing),
        (Risk::High, true)
    );
    // Storage goes with a copy where the object says so already.
    let deleting = with(
        &before,
        "/spec/persistentVolumeClaimRetentionPolicy",
        json!({ "whenScaled": "Delete" }),
    );
    let fewer = with(&deleting, "/spec/replicas", json!(3));
    assert_eq!(
        judged(Kind::StatefulSet, &deleting, &fewer, &nothing),
        (Risk::High, true)
    );
    // A stricter setting is only high risk.
    let strict = with(
        &before,
        &format!("{APP}/securityContext/runAsNonRoot"),
        json!(true),
    );
    assert_eq!(
        judged(Kind::StatefulSet, &before, &strict, &nothing),
        (Risk::High, false)
    );
}

#[test]
fn what_rests_on_the_cluster_needs_evidence() {
    let set = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let before = workload();
    let map = |names: &[&str]| BTreeMap::from([("web".to_owned(), set(names))]);
    let earlier = |field: &str, value: Value| Evidence {
        earlier_values: BTreeMap::from([(field.to_owned(), vec![value])]),
        ..Evidence::default()
    };
    let level = format!("{APP}/env/1/valueFrom/configMapKeyRef/key");
    for (pointer, value, known) in [
        (
            level,
            json!("other"),
            Evidence {
                config_maps: map(&["other"]),
                ..Evidence::default()
            },
        ),
        (
            format!("{APP}/image"),
            json!("old.example/web:1"),
            earlier(
                "spec.template.spec.containers[app].image",
                json!("old.example/web:0"),
            ),
        ),
        (
            format!("{APP}/env/0/value"),
            json!("off"),
            earlier(
                "spec.template.spec.containers[app].env[MODE].value",
                json!("off"),
            ),
        ),
        (
            format!("{POD}/nodeSelector"),
            json!({ "disk": "ssd" }),
            Evidence {
                nodes: Some([0, 1]),
                ..Evidence::default()
            },
        ),
    ] {
        let after = with(&before, &pointer, value);
        assert_eq!(
            judged(Kind::Deployment, &before, &after, &Evidence::default()),
            (Risk::High, false),
            "{pointer}"
        );
        assert_eq!(
            judged(Kind::Deployment, &before, &after, &known),
            (Risk::Medium, false),
            "{pointer}"
        );
    }
    let nowhere = with(
        &before,
        &format!("{POD}/nodeSelector"),
        json!({ "no": "node" }),
    );
    let nodes = |nodes| Evidence {
        nodes: Some(nodes),
        ..Evidence::default()
    };
    assert_eq!(
        judged(Kind::Deployment, &before, &nowhere, &nodes([3, 0])),
        (Risk::High, false)
    );
    // A DaemonSet has a copy on each node.
    assert_eq!(
        judged(Kind::DaemonSet, &before, &nowhere, &nodes([3, 2])),
        (Risk::High, false)
    );

    let service = json!({ "spec": { "selector": { "app": "wep" }, "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 8080 }] } });
    let right = with(&service, "/spec/selector/app", json!("web"));
    let selected = |before: &[&str], after: &[&str]| Evidence {
        selected: Some([set(before), set(after)]),
        ..Evidence::default()
    };
    for (evidence, risk) in [
        (Evidence::default(), Risk::High),
        (selected(&[], &["Deployment/web"]), Risk::Medium),
        (
            selected(&["Deployment/web", "Deployment/api"], &["Deployment/web"]),
            Risk::Medium,
        ),
        (
            selected(&["Deployment/web"], &["Deployment/evil"]),
            Risk::High,
        ),
        (
            selected(&[], &["Deployment/web", "Deployment/api"]),
            Risk::High,
        ),
        (selected(&["Deployment/web"], &[]), Risk::High),
    ] {
        assert_eq!(
            judged(Kind::Service, &service, &right, &evidence),
            (risk, false),
            "{evidence:?}"
        );
    }

    let scaler = json!({ "spec": { "minReplicas": 3, "maxReplicas": 50, "scaleTargetRef": { "kind": "Deployment", "name": "wep" } }, "status": { "currentReplicas": 40 } });
    for (pointer, value, evidence, risk) in [
        (
            "/spec/minReplicas",
            json!(1),
            Evidence::default(),
            Risk::High,
        ),
        (
            "/spec/maxReplicas",
            json!(1),
            Evidence::default(),
            Risk::High,
        ),
        (
            "/spec/maxReplicas",
            json!(45),
            Evidence::default(),
            Risk::Medium,
        ),
        (
            "/spec/maxReplicas",
            json!(60),
            Evidence::default(),
            Risk::Medium,
        ),
        (
            "/spec/scaleTargetRef/name",
            json!("web"),
            Evidence::default(),
            Risk::High,
        ),
        (
            "/spec/scaleTargetRef/name",
            json!("web"),
            Evidence {
                scale_targets: Some([true, true]),
                ..Evidence::default()
            },
            Risk::High,
        ),
        (
            "/spec/scaleTargetRef/name",
            json!("web"),
            Evidence {
                scale_targets: Some([false, true]),
                ..Evidence::default()
            },
            Risk::Medium,
        ),
    ] {
        let after = with(&scaler, pointer, value.clone());
        assert_eq!(
            judged(Kind::HorizontalPodAutoscaler, &scaler, &after, &evidence),
            (risk, false),
            "{pointer} {value} {evidence:?}"
        );
    }
}

#[test]
fn a_number_of_copies_is_low_risk_only_if_little_changes_and_nobody_else_sets_it() {
    let alone = Evidence {
        autoscalers: Some(BTreeSet::new()),
        ..Evidence::default()
    };
    let scaled = Evidence {
        autoscalers: Some(BTreeSet::from(["web".into()])),
        ..Evidence::default()
    };
    let before = workload();
    for (replicas, evidence, risk) in [
        (5, &alone, Risk::Low),
        (6, &alone, Risk::Low),
        (7, &alone, Risk::Medium),
        (100, &alone, Risk::Medium),
        (3, &alone, Risk::Medium),
        (5, &scaled, Risk::Medium),
        (5, &Evidence::default(), Risk::Medium),
    ] {
        let after = with(&before, "/spec/replicas", json!(replicas));
        assert_eq!(
            judged(Kind::Deployment, &before, &after, evidence),
            (risk, false),
            "{replicas}"
        );
    }
    let owned = with(
        &before,
        "/metadata/ownerReferences",
        json!([{ "kind": "Shop", "controller": true }]),
    );
    let after = with(&owned, "/spec/replicas", json!(5));
    assert_eq!(
        judged(Kind::Deployment, &owned, &after, &alone),
        (Risk::Medium, false)
    );
}

#[test]
fn an_earlier_revision_may_differ_in_anything_but_what_is_never_changed() {
    let undo = parse_command("kubectl rollout undo deploy/web -n shop").unwrap();
    let before = workload();
    let after = with(&before, &format!("{APP}/command"), json!(["serve"]));
    let fields = undo.judge(&before, &after, &Evidence::default());
    assert!(
        fields
            .iter()
            .all(|field| field.listed && field.risk == Risk::Medium),
        "{fields:?}"
    );
    let secret = json!([{ "secretRef": { "name": "prod-root" } }]);
    let after = with(&before, &format!("{APP}/envFrom"), secret);
    assert!(
        undo.judge(&before, &after, &Evidence::default())
            .iter()
            .any(|field| field.never)
    );
}

#[test]
fn the_action_alone_says_what_it_can() {
    for (command, risk) in [
        ("kubectl rollout restart deploy/web -n shop", Risk::Low),
        ("kubectl scale deploy/web -n shop --replicas=3", Risk::Low),
        ("kubectl scale deploy/web -n shop --replicas=0", Risk::High),
        (
            "kubectl set image deploy/web app=r.example/web:2 -n shop",
            Risk::Medium,
        ),
        (
            "kubectl set resources deploy/web --limits=memory=1Gi -n shop",
            Risk::Medium,
        ),
        ("kubectl rollout undo deploy/web -n shop", Risk::Medium),
        ("kubectl delete pod/web-1 -n shop", Risk::Medium),
        (
            r#"kubectl patch deploy/web -n shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"r.example/web:2"}]}}}}'"#,
            Risk::Medium,
        ),
        (
            r#"kubectl patch deploy/web -n shop --type=merge -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"r.example/web:2"}]}}}}'"#,
            Risk::High,
        ),
        (
            r#"kubectl patch svc/web -n shop -p '{"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":8080}]}}'"#,
            Risk::Medium,
        ),
        (
            r#"kubectl patch svc/web -n shop --type=json -p '[{"op":"replace","path":"/spec/ports/0/targetPort","value":8080}]'"#,
            Risk::Medium,
        ),
        (
            r#"kubectl patch svc/web -n shop -p '{"spec":{"loadBalancerSourceRanges":null}}'"#,
            Risk::High,
        ),
        (
            r#"kubectl patch ing/web -n shop -p '{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/server-snippet":"x"}}}'"#,
            Risk::High,
        ),
        (
            r#"kubectl patch cj/web -n shop -p '{"spec":{"suspend":true}}'"#,
            Risk::High,
        ),
        (
            r#"kubectl patch cj/web -n shop -p '{"spec":{"suspend":false}}'"#,
            Risk::Medium,
        ),
        (
            r#"kubectl patch deploy/web -n shop -p '{"spec":{"minReadySeconds":5}}'"#,
            Risk::High,
        ),
        ("kubectl delete namespace shop", Risk::High),
        ("kubectl describe node/n1", Risk::Low),
    ] {
        let action = parse_command(command).unwrap();
        assert_eq!(action.risk().0, risk, "{command}: {}", action.risk().1);
    }
    let hush = r#"kubectl patch svc/web -n shop --type=merge -p '{"metadata":{"annotations":{"argus-ops/ignore":"all"}}}'"#;
    let fields: Vec<JudgedField> = parse_command(hush).unwrap().judged_fields();
    assert!(fields[0].never, "{fields:?}");
}
