//! Three namespaces of one API server: for a command as it was written, as it is rendered, and for Argus.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, Incident, IncidentId, Kind, Kube, OnFailure, Quantity, Remediator, Scope, Settings,
    StepStatus, desired_state, parse_command,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cases::fixtures;

pub(crate) struct Lab {
    client: Client,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    audit_log: PathBuf,
    run: String,
}

/// What one run of a command left behind.
pub(crate) struct Observed {
    pub(crate) namespace: String,
    pub(crate) object: Value,
}

impl Lab {
    pub(crate) async fn start() -> Option<Self> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let (Some(kubeconfig), Some(audit_log), Some(kubectl)) = (
            variable("ARGUS_TEST_KUBECONFIG"),
            variable("ARGUS_TEST_AUDIT_LOG"),
            variable("ARGUS_TEST_KUBECTL"),
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
        let read = Kubeconfig::read_from(&kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(read, &options)
            .await
            .unwrap();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            client: Client::try_from(config).unwrap(),
            kubeconfig,
            kubectl,
            audit_log,
            run: format!("same-{}-{next}", std::process::id()),
        };
        for who in ["w", "r", "a", "u"] {
            let namespace = json!({ "metadata": { "name": lab.namespace(who) } });
            let namespaces: Api<Namespace> = Api::all(lab.client.clone());
            namespaces
                .create(
                    &PostParams::default(),
                    &serde_json::from_value(namespace).unwrap(),
                )
                .await
                .unwrap();
        }
        Some(lab)
    }

    pub(crate) fn namespace(&self, who: &str) -> String {
        format!("{}-{who}", self.run)
    }

    pub(crate) async fn end(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for who in ["w", "r", "a", "u"] {
            namespaces
                .delete(&self.namespace(who), &DeleteParams::background())
                .await
                .unwrap();
        }
    }

    /// Makes the objects of these kinds, each named `w` and the case's number.
    pub(crate) async fn fixtures(&self, namespace: &str, number: usize, kinds: &[Kind]) {
        let mut owner = None;
        let wanted = |object: &Value| {
            kinds
                .iter()
                .any(|kind| object["kind"] == kind.to_string().as_str())
        };
        for mut object in fixtures(&format!("w{number}")).into_iter().filter(wanted) {
            if object["kind"] == "Pod" {
                // What no controller owns is never deleted by Argus.
                object["metadata"]["ownerReferences"] = json!([owner]);
            }
            let made = self.create(namespace, &object).await;
            if object["kind"] == "CronJob" {
                owner = Some(
                    json!({ "apiVersion": "batch/v1", "kind": "CronJob", "name": made["metadata"]["name"],
                    "uid": made["metadata"]["uid"], "controller": true }),
                );
            }
        }
    }

    fn api(&self, namespace: &str, object: &Value) -> Api<DynamicObject> {
        let version = object["apiVersion"].as_str().unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = object["kind"].as_str().unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    async fn create(&self, namespace: &str, object: &Value) -> Value {
        let api = self.api(namespace, object);
        let new = serde_json::from_value(object.clone()).unwrap();
        let made = api.create(&PostParams::default(), &new).await;
        serde_json::to_value(made.unwrap_or_else(|error| panic!("{object}: {error}"))).unwrap()
    }

    /// The object of a case as it is now; null if it's gone.
    async fn object(&self, namespace: &str, text: &str, number: usize) -> Value {
        let action = parse_command(text).unwrap();
        let target = action.target().unwrap();
        let fixtures = fixtures(&format!("w{number}"));
        let fixture = fixtures
            .iter()
            .find(|object| object["kind"] == target.kind().to_string().as_str());
        let api = self.api(namespace, fixture.unwrap());
        for _ in 0..200 {
            let object = api.get_opt(target.name()).await.unwrap();
            let object = object.map_or(Value::Null, |object| serde_json::to_value(object).unwrap());
            if object["metadata"]["deletionTimestamp"].is_null() {
                return plain(desired_state(&object), namespace);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{text}: the object is never gone");
    }

    /// Takes a case's workload away again: the node has room for a hundred pods.
    async fn clean(&self, namespace: &str, number: usize, kinds: &[Kind]) {
        let all = fixtures(&format!("w{number}"));
        let mine = all.iter().filter(|object| {
            kinds
                .iter()
                .any(|kind| object["kind"] == kind.to_string().as_str())
        });
        for object in mine {
            let api = self.api(namespace, object);
            let _ = api
                .delete(&format!("w{number}"), &DeleteParams::background())
                .await;
        }
    }

    /// A second revision, so that there is something to go back to.
    async fn second_revision(&self, namespace: &str, number: usize) {
        let name = format!("w{number}");
        let deployments = self.api(
            namespace,
            &json!({ "apiVersion": "apps/v1", "kind": "Deployment" }),
        );
        self.wait_for_revision(&deployments, &name, "1").await;
        let patch = json!({ "metadata": { "annotations": { "note": "second", "only-second": "x" } },
            "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "r.example/app:2" }] } } } });
        let patch = kube::api::Patch::Strategic(patch);
        deployments
            .patch(&name, &Default::default(), &patch)
            .await
            .unwrap();
        self.wait_for_revision(&deployments, &name, "2").await;
    }

    async fn wait_for_revision(
        &self,
        deployments: &Api<DynamicObject>,
        name: &str,
        revision: &str,
    ) {
        for _ in 0..600 {
            let annotations = deployments.get(name).await.unwrap().metadata.annotations;
            if annotations.is_some_and(|map| {
                map.get("deployment.kubernetes.io/revision")
                    .is_some_and(|now| now == revision)
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} never had revision {revision}");
    }

    /// Runs one command three times: as written, as rendered, and by Argus.
    pub(crate) async fn compare(&self, number: usize, text: &str) -> [Observed; 3] {
        let name = format!("w{number}");
        let of = |who: &str| {
            let namespace = self.namespace(who);
            let text = text.replace("NAME", &name).replace("NS", &namespace);
            let action = parse_command(&text)
                .unwrap_or_else(|error| panic!("{text}: {error}, {}", error.hint()));
            assert!(!action.is_manual(), "{text} is left to people");
            (namespace, text, action)
        };
        let mut observed = Vec::new();
        for who in ["w", "r", "a"] {
            let (namespace, text, action) = of(who);
            let rendered = action.command();
            let kinds = match action.target().unwrap().kind() {
                Kind::Pod => vec![Kind::CronJob, Kind::Pod],
                kind => vec![kind],
            };
            self.fixtures(&namespace, number, &kinds).await;
            if text.contains("undo") {
                self.second_revision(&namespace, number).await;
            }
            match who {
                "a" => self.execute(&namespace, &rendered).await,
                _ => {
                    let line = if who == "w" { &text } else { &rendered };
                    let (ok, output) = self.shell(line).await;
                    assert!(ok, "{line}: {output}");
                }
            }
            let object = self.object(&namespace, &text, number).await;
            self.clean(&namespace, number, &kinds).await;
            observed.push(Observed { namespace, object });
        }
        observed.try_into().ok().unwrap()
    }

    async fn execute(&self, namespace: &str, command: &str) {
        let remediator = Remediator::builder()
            .hold(argus_core::testing::SHORT_HOLD)
            // Other commands change what stands beside it at the same time.
            .on_failure(OnFailure::Stop)
            .scope(Scope::namespaces([namespace]).unwrap())
            .settings(Settings {
                enabled: true,
                allow_high_risk: true,
            })
            .llm(Scripted::commands(&[command]))
            .policy(PermitAll::dangerous())
            .cluster(Kube::new(self.client.clone()).settle_within(Duration::from_secs(60)))
            .audit(MemoryAudit::new())
            .build()
            .unwrap();
        let incident = Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap();
        let plan = remediator.suggest(&incident).await.unwrap();
        let permitted = remediator.review(plan).await.unwrap();
        let dry_run = remediator.dry_run(permitted).await;
        let dry_run = dry_run.unwrap_or_else(|error| panic!("{command}: {error:?}"));
        let answer = match dry_run.name_to_type() {
            Some(name) => Answer::confirm_by_name("operator", name.to_owned()),
            None => Answer::confirm("operator"),
        };
        let outcome = remediator
            .execute(dry_run.approve(answer).unwrap())
            .await
            .unwrap();
        assert_eq!(
            outcome.steps,
            [StepStatus::Settled],
            "{command}: {outcome:?}"
        );
    }

    /// Runs a line as a person pastes it into a shell.
    async fn shell(&self, line: &str) -> (bool, String) {
        let line = line
            .trim_start()
            .replacen("kubectl", &self.kubectl.to_string_lossy(), 1);
        let mut command = Command::new("sh");
        command
            .args(["-c", &line])
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(std::process::Stdio::null());
        let output =
            tokio::time::timeout(Duration::from_secs(60), command.kill_on_drop(true).output());
        let output = output
            .await
            .unwrap_or_else(|_| panic!("{line} never ends"))
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// What kubectl says, if it refuses the command itself, before the server does.
    pub(crate) async fn usage_error(&self, text: &str) -> Option<String> {
        let line = text
            .replace("NAME", "w0")
            .replace("NS", &self.namespace("u"));
        let (ok, output) = self.shell(&line).await;
        let by_server = [
            "from server",
            "is invalid",
            "NotFound",
            "doesn't have a resource type",
            "not found",
            "no matches for kind",
            "no rollout history",
            "unable to find",
        ];
        (!ok && !by_server.iter().any(|words| output.contains(words)))
            .then(|| output.lines().next().unwrap_or_default().to_owned())
    }

    /// The server's own log, once it has settled.
    pub(crate) async fn audit_log(&self) -> AuditLog {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let text = tokio::fs::read_to_string(&self.audit_log).await.unwrap();
        let mine = text.lines().filter(|line| line.contains(&self.run));
        let events = mine
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        AuditLog(events)
    }
}

pub(crate) struct AuditLog(Vec<Value>);

impl AuditLog {
    /// The writes to the objects of one case that the server took, without those that set it up: verb, path and what
    /// the body says. A write that it refused for the status that moved meanwhile is sent again, by kubectl as by Argus.
    pub(crate) fn requests(&self, namespace: &str, number: usize) -> Vec<(String, String, Value)> {
        let name = format!("w{number}");
        let is_write = |event: &&Value| {
            let object = &event["objectRef"];
            let uri = event["requestURI"].as_str().unwrap();
            object["namespace"] == namespace
                && object["name"] == name.as_str()
                && ["patch", "update", "delete"].contains(&event["verb"].as_str().unwrap())
                && event["user"]["username"]
                    != "system:serviceaccount:kube-system:deployment-controller"
                && event["responseStatus"]["code"]
                    .as_u64()
                    .is_some_and(|code| code < 300)
                && !uri.contains("dryRun=All")
                && !event["requestObject"]["dryRun"].is_array()
                && !event["requestObject"]
                    .to_string()
                    .contains("only-second\":\"x")
                && !(event["verb"] == "delete"
                    && event["requestObject"]["preconditions"].is_null()
                    && !event["userAgent"]
                        .as_str()
                        .unwrap_or_default()
                        .starts_with("kubectl"))
        };
        let request = |event: &Value| {
            let uri = event["requestURI"].as_str().unwrap();
            let path = uri.split('?').next().unwrap().replace(namespace, "NS");
            let body = plain(event["requestObject"].clone(), namespace);
            (event["verb"].as_str().unwrap().to_owned(), path, body)
        };
        self.0.iter().filter(is_write).map(request).collect()
    }
}

/// A body or an object without what may differ: preconditions, the time of a restart, addresses, names of
/// namespaces, nulls.
fn plain(value: Value, namespace: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(key, value)| {
                let dropped = key.starts_with("$setElementOrder")
                    || [
                        "uid",
                        "resourceVersion",
                        "preconditions",
                        "propagationPolicy",
                        "creationTimestamp",
                        "clusterIP",
                        "clusterIPs",
                    ]
                    .contains(&key.as_str());
                if dropped || value.is_null() {
                    return None;
                }
                let value = match key.as_str() {
                    "kubectl.kubernetes.io/restartedAt" => "now".into(),
                    // kubectl and the server write an amount in their own way.
                    "cpu" | "memory" | "ephemeral-storage" => {
                        let text = value.as_str().map_or(value.to_string(), str::to_owned);
                        Quantity::new(text).unwrap().milli().to_string().into()
                    }
                    _ => plain(value, namespace),
                };
                (value != json!({}) || key == "annotations").then_some((key, value))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items
            .into_iter()
            .filter(|item| {
                let path = item["path"].as_str().unwrap_or_default();
                item["op"] != "test"
                    || !(path == "/metadata/uid" || path == "/metadata/resourceVersion")
            })
            .map(|item| {
                let mut item = plain(item, namespace);
                if item["path"] == "/metadata/annotations" {
                    item["op"] = "replace".into();
                }
                item
            })
            .collect(),
        Value::String(text) => text.replace(namespace, "NS").into(),
        value => value,
    }
}
