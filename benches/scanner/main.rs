//! What a scan costs, alone and beside k8sgpt and argus-ops; `benches/scan-peers` runs the latter.
//!
//! Without arguments it scans clusters of 1,000 to 100,000 pods that another process makes up as it is asked.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that can't run should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use argus_core::{Kube, Scan, Scanner, Scope};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures::{StreamExt, stream};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

mod generator;
use generator::{App, Generator, NAMESPACES, namespace};

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match words.as_slice() {
            [] => sizes(),
            ["serve", pods] => serve(pods.parse().unwrap()).await,
            ["scan", server] => scan(Kube::new(client_of(server))).await,
            ["scan across", server] => scan(across(client_of(server))).await,
            ["watch", server] => watch(Kube::new(client_of(server))).await,
            ["watch across", server] => watch(across(client_of(server))).await,
            ["populate", kubeconfig, pods] => {
                populate(connect(kubeconfig).await, pods.parse().unwrap()).await
            }
            ["findings", kubeconfig] => findings(Kube::new(connect(kubeconfig).await)).await,
            ["findings across", kubeconfig] => findings(across(connect(kubeconfig).await)).await,
            ["truth", pods] => truth(pods.parse().unwrap()),
            _ => panic!("no such measurement: {words:?}"),
        }
    });
}

/// Each size in processes of its own, so that the figures are theirs.
fn sizes() {
    let this = std::env::current_exe().unwrap();
    for pods in ["1000", "10000", "100000"] {
        let mut server = Command::new(&this)
            .args(["serve", pods])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        for what in ["scan", "scan across", "watch", "watch across"] {
            let output = Command::new(&this)
                .args([what, address.trim()])
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            print!(
                "{pods} pods, {what}: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

fn scope() -> Scope {
    Scope::namespaces(
        (0..NAMESPACES)
            .map(namespace)
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str),
    )
    .unwrap()
}

fn client_of(server: &str) -> Client {
    Client::try_from(Config::new(format!("http://{server}").parse().unwrap())).unwrap()
}

async fn connect(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// User and system time of this process, and the most memory that it had, in MiB.
fn used() -> (Duration, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    (Duration::from_millis(ticks * 10), kibibytes / 1024)
}

/// One that asks for each kind once for all namespaces.
fn across(client: Client) -> Kube {
    Kube::new(client).across_namespaces()
}

async fn scan(kube: Kube) {
    let began = Instant::now();
    let scan = kube.scan(&scope()).await.unwrap();
    let (cpu, peak) = used();
    assert_eq!(scan.incomplete, Vec::<String>::new());
    println!(
        "{} findings, {cpu:?} of CPU in {:?}, at most {peak} MiB",
        scan.findings.len(),
        began.elapsed()
    );
}

/// What `app-…` a text is about.
fn app(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("app-")?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (number.len() == 5).then(|| format!("app-{number}"))
}

fn apps_of(scan: &Scan) -> BTreeSet<String> {
    scan.findings
        .iter()
        .filter_map(|finding| app(&finding.target))
        .collect()
}

/// The apps that a scan of a real API server finds fault with, as the peers' output is read too.
async fn findings(kube: Kube) {
    let scan = kube.seeing_cluster().scan(&scope()).await.unwrap();
    assert_eq!(scan.incomplete, Vec::<String>::new());
    let (cpu, peak) = used();
    let others = scan
        .findings
        .iter()
        .filter(|finding| app(&finding.target).is_none())
        .count();
    println!(
        "{}",
        json!({ "apps": apps_of(&scan), "findings": scan.findings.len(), "others": others, "cpu": cpu.as_secs_f64(), "mib": peak })
    );
}

fn truth(pods: usize) {
    let faulty: BTreeMap<String, &str> = Generator::new(pods)
        .apps()
        .filter_map(|app| Some((app.name, app.fault?)))
        .collect();
    println!("{}", json!(faulty));
}

/// The objects of a list, page by page, made up as they are asked for.
async fn serve(pods: usize) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(pods);
    axum::serve(listener, router).await.unwrap();
}

async fn answer(State(pods): State<usize>, request: Request) -> Response {
    let generator = Generator::new(pods);
    let parts: Vec<&str> = request.uri().path().split('/').collect();
    let query: BTreeMap<&str, &str> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    if query.contains_key("watch") {
        return watched(&parts);
    }
    // It doesn't have the Gateway API.
    let plural = parts
        .last()
        .filter(|_| !parts.contains(&"gateway.networking.k8s.io"));
    let Some(plural) = plural else {
        let status = json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404 });
        return Response::builder()
            .status(StatusCode::NOT_FOUND)
            .header("content-type", "application/json")
            .body(Body::from(status.to_string()))
            .unwrap();
    };
    let place = parts.iter().position(|part| *part == "namespaces");
    let apps: Vec<App> = match place {
        Some(at) => generator.apps_of(parts[at + 1]),
        None => generator.apps().collect(),
    };
    let from: usize = query
        .get("continue")
        .and_then(|from| from.parse().ok())
        .unwrap_or(0);
    let limit: usize = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(usize::MAX);
    // What is skipped isn't made up.
    let all: Box<dyn Iterator<Item = Value> + Send> = match *plural {
        "pods" => {
            let pods = apps
                .iter()
                .flat_map(|app| (0..app.wanted()).map(move |index| (app, index)));
            Box::new(pods.skip(from).map(|(app, index)| app.pod(index)))
        }
        _ => {
            let objects = apps.iter().flat_map(App::objects);
            let objects = objects.filter(|(of, _)| of == plural);
            Box::new(objects.map(|(_, object)| object).skip(from))
        }
    };
    let mut page: Vec<Value> = all.take(limit.saturating_add(1)).collect();
    let mut metadata = json!({ "resourceVersion": "1" });
    if page.len() > limit {
        page.truncate(limit);
        metadata["continue"] = (from + limit).to_string().into();
    }
    let managed: Value = serde_json::from_str(include_str!("managed.json")).unwrap();
    page.iter_mut()
        .for_each(|object| object["metadata"]["managedFields"] = managed.clone());
    let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page });
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from(list.to_string()))
        .unwrap()
}

/// A watch on which a pod of the first app changes all the time.
fn watched(parts: &[&str]) -> Response {
    let is_first = !parts
        .iter()
        .any(|part| part.starts_with("team-") && *part != "team-00")
        && parts.last() == Some(&"pods");
    let events = stream::unfold(0, move |turn| async move {
        if !is_first {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let app = Generator::new(1000).apps().next().unwrap();
        let mut pod = app.pods().next().unwrap();
        pod["metadata"]["resourceVersion"] = (turn + 2).to_string().into();
        if turn % 2 == 0 {
            pod["status"] = json!({ "phase": "Failed", "reason": "Evicted" });
        }
        let line = format!("{}\n", json!({ "type": "MODIFIED", "object": pod }));
        Some((Ok::<_, std::convert::Infallible>(line), turn + 1))
    });
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from_stream(events))
        .unwrap()
}

/// What a scan costs by itself, when nothing and when one pod changed.
async fn watch(kube: Kube) {
    let watch = kube.watch(&scope()).unwrap();
    let first = watch.scan(&scope()).await.unwrap();
    assert_eq!(first.incomplete, Vec::<String>::new());
    let (_, peak) = used();
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    let mut last = ids(&first);
    while changed.len() < 100 {
        let before = on_cpu();
        let scan = watch.scan(&scope()).await.unwrap();
        let cost = on_cpu() - before;
        let now = ids(&scan);
        let costs = if now == last {
            &mut unchanged
        } else {
            &mut changed
        };
        costs.push(cost);
        last = now;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mean = |costs: Vec<Duration>| {
        let count = u32::try_from(costs.len()).unwrap().max(1);
        costs.iter().sum::<Duration>() / count
    };
    println!(
        "{} findings, at most {peak} MiB, a scan after one change {:?} of CPU, after none {:?}",
        first.findings.len(),
        mean(changed),
        mean(unchanged)
    );
}

fn ids(scan: &Scan) -> BTreeSet<String> {
    scan.findings
        .iter()
        .map(|finding| finding.finding_id.clone())
        .collect()
}

/// The time that this process was on a processor, to the nanosecond.
fn on_cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let time = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        stat.split(' ')
            .next()
            .and_then(|time| time.parse().ok())
            .unwrap_or(0)
    };
    Duration::from_nanos(tasks.map(|task| time(task.unwrap())).sum())
}

/// Makes the cluster on a real API server, whose controllers must not run.
async fn populate(client: Client, pods: usize) {
    let began = Instant::now();
    for index in 0..NAMESPACES {
        create(&client, "namespaces", &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace(index) } })).await;
        create(&client, "serviceaccounts", &json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": namespace(index) } })).await;
    }
    create(&client, "ingressclasses", &json!({ "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "nginx" }, "spec": { "controller": "example.com/nginx" } })).await;
    for index in 0..10 {
        let status = json!({ "allocatable": { "cpu": "64", "memory": "256Gi", "pods": "2000" }, "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready" }] });
        create(&client, "nodes", &json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": format!("node-{index}") }, "status": status })).await;
    }
    // Their settings are made now, and were there when the pods started.
    let later = jiff::Timestamp::now() + Duration::from_secs(3600);
    let objects = Generator {
        pods,
        started: later.to_string(),
    }
    .apps()
    .map(|app| {
        let client = client.clone();
        async move {
            for (plural, object) in app.objects() {
                create(&client, plural, &object).await;
            }
            let owner = uid(&client, &app).await;
            for mut pod in app.pods() {
                pod["metadata"]["ownerReferences"][0]["uid"] = owner.clone().into();
                create(&client, "pods", &pod).await;
            }
        }
    });
    stream::iter(objects)
        .buffer_unordered(16)
        .collect::<Vec<()>>()
        .await;
    println!("{pods} pods in {:?}", began.elapsed());
}

async fn uid(client: &Client, app: &App) -> String {
    let name = format!("{}-5d4f8c7b9", app.name);
    let set: Api<k8s_openapi::api::apps::v1::ReplicaSet> =
        Api::namespaced(client.clone(), &app.namespace);
    set.get(&name).await.unwrap().metadata.uid.unwrap()
}

/// Creates an object and then writes its status, as its controller would.
async fn create(client: &Client, plural: &str, object: &Value) {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource {
        group: group.into(),
        version: version.into(),
        api_version: api_version.into(),
        kind: object["kind"].as_str().unwrap().into(),
        plural: plural.into(),
    };
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut object = object.clone();
    if plural == "replicasets" {
        let name = object["metadata"]["ownerReferences"][0]["name"]
            .as_str()
            .unwrap();
        let owner: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(
            client.clone(),
            object["metadata"]["namespace"].as_str().unwrap(),
        );
        object["metadata"]["ownerReferences"][0]["uid"] =
            owner.get(name).await.unwrap().metadata.uid.unwrap().into();
    }
    let status = object.as_object_mut().unwrap().remove("status");
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        result => {
            result.unwrap_or_else(|error| panic!("{plural} {name}: {error}"));
        }
    }
    if let Some(status) = status {
        let patch = json!({ "status": status });
        let patched = api
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.unwrap_or_else(|error| panic!("the status of {plural} {name}: {error}"));
    }
}
