//! What it costs to execute an approved plan on a real API server, beside the same writes by a bare client and by kubectl.
//!
//! `ARGUS_TEST_KUBECONFIG`, `ARGUS_TEST_AUDIT_LOG` and `ARGUS_TEST_KUBECTL` name the server, its audit log and kubectl, as
//! `.ci/control-plane up` prints them. Not criterion: three programs take turns, and requests are counted by the server.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that can't run should stop, and it prints"
)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use argus_benches::SeenAs;
use argus_core::testing::Scripted;
use argus_core::testing::cluster::DeploymentBuilder;
use argus_core::{
    Answer, Approved, Ending, FileAudit, Incident, IncidentId, Kube, Remediator, Scan, Scope,
    Settings,
};
use argus_policy::RegoEngine;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const STEPS: usize = 5;
const ROUNDS: usize = 21;
/// How often the plan is executed whose steps wait for pods.
const ROLLOUTS: usize = 5;

/// A real API server with a namespace of its own.
struct Server {
    kubeconfig: String,
    kubectl: String,
    audit_log: PathBuf,
    client: Client,
    namespace: String,
}

impl Server {
    async fn new() -> Option<Self> {
        let variable = |name: &str| std::env::var(format!("ARGUS_TEST_{name}")).ok();
        let kubeconfig = variable("KUBECONFIG")?;
        let (read, usual) = (
            Kubeconfig::read_from(&kubeconfig).unwrap(),
            KubeConfigOptions::default(),
        );
        let config = Config::from_custom_kubeconfig(read, &usual).await.unwrap();
        let server = Self {
            kubeconfig,
            kubectl: variable("KUBECTL")?,
            audit_log: variable("AUDIT_LOG")?.into(),
            client: Client::try_from(config).unwrap(),
            namespace: format!("argus-bench-{}", std::process::id()),
        };
        let namespace = json!({ "metadata": { "name": server.namespace } });
        let namespaces: Api<Namespace> = Api::all(server.client.clone());
        let namespace = serde_json::from_value(namespace).unwrap();
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        for n in 0..STEPS {
            let service = json!({ "metadata": { "name": format!("web-{n}") }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
            let service = serde_json::from_value(service).unwrap();
            let services = server.services();
            services
                .create(&PostParams::default(), &service)
                .await
                .unwrap();
        }
        for n in 0..STEPS {
            let name = format!("app-{n}");
            let app = DeploymentBuilder::new(
                server.client.clone(),
                &server.namespace,
                &name,
                "r.example/app:1",
            );
            app.memory_limit("64Mi").create().await.unwrap();
        }
        Some(server)
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn end(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .delete(&self.namespace, &Default::default())
            .await
            .unwrap();
    }

    /// The verbs of the requests about the Services so far, oldest first, by the server's audit log.
    fn verbs(&self) -> Vec<String> {
        // The log is written a moment after the answer.
        std::thread::sleep(Duration::from_millis(500));
        let text = std::fs::read_to_string(&self.audit_log).unwrap();
        let events = text
            .lines()
            .filter(|line| line.contains(&self.namespace))
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mine = events.filter(|event| {
            let text = |path: &str| event.pointer(path).and_then(Value::as_str);
            text("/stage") == Some("ResponseComplete")
                && text("/objectRef/resource") == Some("services")
                && text("/userAgent").is_none_or(|agent| !agent.contains("controller"))
        });
        mine.filter_map(|event| Some(event.get("verb")?.as_str()?.to_owned()))
            .collect()
    }
}

fn body(round: usize) -> Value {
    json!({ "spec": { "publishNotReadyAddresses": round.is_multiple_of(2) } })
}

/// A plan of a patch for each Service, approved.
async fn approved(server: &Server, remediator: &Remediator) -> Approved {
    let incident = Incident::new(IncidentId::new("INC-1").unwrap(), Vec::new(), None).unwrap();
    let plan = remediator.suggest(&incident).await.unwrap();
    let permitted = remediator.review(plan).await.unwrap();
    let dry_run = remediator.dry_run(permitted).await.unwrap();
    assert_eq!(dry_run.plan().steps().len(), STEPS, "{}", server.namespace);
    dry_run.approve(Answer::confirm("bench")).unwrap()
}

fn patches(server: &Server, round: usize) -> Vec<String> {
    let (patch, namespace) = (body(round), &server.namespace);
    (0..STEPS)
        .map(|n| format!("kubectl patch service/web-{n} -n {namespace} --type=merge -p '{patch}'"))
        .collect()
}

fn limits(server: &Server, round: usize) -> Vec<String> {
    let (memory, namespace) = (128 + round, &server.namespace);
    (0..STEPS)
        .map(|n| {
            format!("kubectl set resources deployment/app-{n} -n {namespace} -c app --limits=memory={memory}Mi")
        })
        .collect()
}

fn remediator(server: &Server, audit: &FileAudit, commands: Vec<String>) -> Remediator {
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(Scope::namespaces([server.namespace.as_str()]).unwrap())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&commands))
        .policy(RegoEngine::builtin().unwrap())
        .cluster(SeenAs(Kube::new(server.client.clone()), Scan::default()))
        .audit(audit.clone())
        .build()
        .unwrap()
}

/// The same requests by a bare client: read each, write it as it was read, and look at all of them in the end.
async fn bare(server: &Server, round: usize) {
    let services = server.services();
    for n in 0..STEPS {
        let name = format!("web-{n}");
        let read = services.get(&name).await.unwrap();
        let mut patch = body(round);
        let version =
            json!({ "uid": read.metadata.uid, "resourceVersion": read.metadata.resource_version });
        patch
            .as_object_mut()
            .unwrap()
            .insert("metadata".into(), version);
        let params = PatchParams::default();
        services
            .patch(&name, &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }
    let names: Vec<String> = (0..STEPS).map(|n| format!("web-{n}")).collect();
    join_all(names.iter().map(|name| services.get(name))).await;
}

fn kubectl(server: &Server, round: usize) {
    let patch = body(round).to_string();
    for n in 0..STEPS {
        let status = Command::new(&server.kubectl)
            .args(["--kubeconfig", &server.kubeconfig, "-n", &server.namespace])
            .args(["patch", "service", &format!("web-{n}"), "--type=merge"])
            .args(["-o", "name", "-p", &patch])
            .output()
            .unwrap();
        assert!(status.status.success());
    }
}

/// Five changes of apps, each until its pods are replaced.
fn rollouts(runtime: &Runtime, server: &Server, audit: &FileAudit) {
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for round in 0..ROLLOUTS {
        let plan = remediator(server, audit, limits(server, 2 * round));
        let plan_approved = runtime.block_on(approved(server, &plan));
        let began = Instant::now();
        let outcome = runtime.block_on(plan.execute(plan_approved)).unwrap();
        assert_eq!(outcome.ending, Ending::Succeeded, "{:?}", outcome.error);
        ours.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        for (n, command) in limits(server, 2 * round + 1).iter().enumerate() {
            let wait = format!(
                "kubectl rollout status deployment/app-{n} -n {}",
                server.namespace
            );
            for command in [command, &wait] {
                let arguments = command.split(' ').skip(1);
                let done = Command::new(&server.kubectl)
                    .args(["--kubeconfig", &server.kubeconfig])
                    .args(arguments)
                    .output()
                    .unwrap();
                assert!(done.status.success());
            }
        }
        by_hand.push(began.elapsed().as_secs_f64());
    }
    let (ours, by_hand) = (median(ours), median(by_hand));
    println!(
        "a plan of {STEPS} rollouts, executed: {ours:.2} s, {:.2} of kubectl and waiting with it ({by_hand:.2} s)",
        ours / by_hand
    );
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap()
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let Some(server) = runtime.block_on(Server::new()) else {
        println!(
            "skipped: no real API server; `.ci/control-plane up` starts one and prints what to set"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let audit = runtime.block_on(FileAudit::open(folder.path())).unwrap();
    let (mut ours, mut client, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
    let milliseconds = |began: Instant| began.elapsed().as_secs_f64() * 1000.0;
    for round in 0..ROUNDS {
        let remediator = remediator(&server, &audit, patches(&server, 3 * round));
        let approved = runtime.block_on(approved(&server, &remediator));
        let began = Instant::now();
        let outcome = runtime.block_on(remediator.execute(approved)).unwrap();
        ours.push(milliseconds(began));
        assert_eq!(outcome.ending, Ending::Succeeded);
        let began = Instant::now();
        runtime.block_on(bare(&server, 3 * round + 1));
        client.push(milliseconds(began));
        let began = Instant::now();
        kubectl(&server, 3 * round + 2);
        by_hand.push(milliseconds(began));
    }
    let (ours, client, by_hand) = (median(ours), median(client), median(by_hand));
    println!("a plan of {STEPS} patches, executed: {ours:.1} ms");
    println!(
        "the same requests by a bare client: {client:.1} ms, {:.2} of it",
        ours / client
    );
    println!(
        "the same with kubectl patch: {by_hand:.1} ms, {:.2} of it",
        ours / by_hand
    );
    let remediator = remediator(&server, &audit, patches(&server, 3 * ROUNDS));
    let approved = runtime.block_on(approved(&server, &remediator));
    let before = server.verbs().len();
    runtime.block_on(remediator.execute(approved)).unwrap();
    let verbs = server.verbs().split_off(before);
    println!(
        "requests of an execution, by the server's audit log: {} for {STEPS} steps",
        verbs.len()
    );
    let before = server.verbs().len();
    kubectl(&server, 1);
    let verbs = server.verbs().split_off(before);
    println!("requests of kubectl: {}", verbs.len());
    rollouts(&runtime, &server, &audit);
    runtime.block_on(server.end());
}
