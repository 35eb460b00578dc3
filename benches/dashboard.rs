//! How many requests the dashboard answers where ten thousand things are wrong, beside a route that answers `ok`; who asks runs on the
//! same cores.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that can't run should stop, and it prints"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use argus_benches::SeenAs;
use argus_core::testing::cluster::Cluster;
use argus_core::{FileAudit, FilePlans, Finding, Kube, Playbook, Remediator, Scan, Scope};
use argus_policy::RegoEngine;
use dashboard::guard::{Guard, Transport};
use dashboard::{About, Host, Telling, app};
use serde_json::json;

const FINDINGS: usize = 10_000;
const CLIENTS: usize = 16;
const ROUNDS: usize = 3;
const LASTS: Duration = Duration::from_secs(3);

/// Crash loops, each of an app of its own, with the evidence that a scan gives.
fn wrong() -> Scan {
    let finding = |number: usize| {
        let name = format!("app-{number:05}");
        let finding = json!({
            "finding_id": format!("F-{number:05}"), "category": "pod_health", "severity": if number.is_multiple_of(3) { "high" } else { "medium" },
            "infra_type": "kubernetes", "cause": "crash_loop", "container": "app",
            "title": format!("{name} keeps ending with an error"), "description": "Its container app ends soon after it starts, again and again.",
            "target": format!("k8s://shop/{name}-6d4b75cb6d-x2v9k/app"), "targets": [format!("k8s://shop/{name}-6d4b75cb6d-x2v9k/app")],
            "owner": { "kind": "Deployment", "namespace": "shop", "name": name },
            "evidence": ["it started 12 times", "it ended with exit code 1", "last 10 minutes ago"],
        });
        serde_json::from_value::<Finding>(finding).unwrap()
    };
    let workload = |number: usize| {
        let object = json!({ "kind": "Deployment", "namespace": "shop", "name": format!("app-{number:05}") });
        serde_json::from_value(json!({ "object": object, "desired": 2, "ready": 1 })).unwrap()
    };
    Scan {
        findings: (0..FINDINGS).map(finding).collect(),
        workloads: (0..FINDINGS).map(workload).collect(),
        ..Scan::default()
    }
}

async fn serve(listener: TcpListener) {
    let cluster = Cluster::start();
    let kube = Kube::new(cluster.client());
    let folder = tempfile::tempdir().unwrap();
    let audit = FileAudit::open(folder.path()).await.unwrap();
    let remediator = Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(Scope::namespaces(["shop"]).unwrap())
        .llm(Playbook::new())
        .policy(RegoEngine::builtin().unwrap())
        .cluster(SeenAs(kube.clone(), wrong()))
        .audit(audit.clone())
        .plans(FilePlans::open(folder.path().join("plans")).await.unwrap())
        .build()
        .unwrap();
    let about = About {
        cluster: "a bench".into(),
        namespaces: vec!["shop".into()],
        model: "fixed rules".into(),
        asks_model: false,
        reading_logs: false,
        remediation_enabled: false,
        allow_high_risk: false,
    };
    let (path, interval) = (folder.path().to_owned(), Duration::from_secs(3600));
    let host = Host::new(
        about,
        remediator,
        kube,
        audit,
        path,
        Telling::default(),
        interval,
    );
    let began = Instant::now();
    host.refresh().await.unwrap();
    println!(
        "a scan with {FINDINGS} findings is taken in after {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    let began = Instant::now();
    host.refresh().await.unwrap();
    println!(
        "and the next, with the same, after {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    let guard = Guard::new(vec!["127.0.0.1".into()], Vec::new(), Transport::Http);
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let bare = axum::Router::new().route("/ok", axum::routing::get(async || "ok"));
    let routes = bare.merge(app(host, guard));
    axum::serve(listener, routes).await.unwrap();
}

/// Reads one answer and says how long its body is.
fn answer(line: &mut TcpStream, bytes: &mut Vec<u8>) -> usize {
    bytes.clear();
    let mut part = [0; 64 << 10];
    loop {
        let read = line.read(&mut part).unwrap();
        assert!(read > 0, "the host hung up");
        bytes.extend(part.iter().take(read));
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(bytes.get(..head).unwrap()).to_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length = text.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        while bytes.len() < head + 4 + length {
            let read = line.read(&mut part).unwrap();
            bytes.extend(part.iter().take(read));
        }
        return length;
    }
}

/// Requests a second, and the length of an answer.
fn load(address: SocketAddr, path: &str) -> (f64, usize) {
    let (count, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (count, over, path) = (Arc::clone(&count), Arc::clone(&over), path.to_owned());
            std::thread::spawn(move || {
                let mut line = TcpStream::connect(address).unwrap();
                line.set_nodelay(true).unwrap();
                let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
                let (mut bytes, mut length) = (Vec::new(), 0);
                while !over.load(Ordering::Relaxed) {
                    line.write_all(request.as_bytes()).unwrap();
                    length = answer(&mut line, &mut bytes);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                length
            })
        })
        .collect();
    let began = Instant::now();
    std::thread::sleep(LASTS);
    over.store(true, Ordering::Relaxed);
    let rate = count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    let lengths = clients.into_iter().map(|client| client.join().unwrap());
    (rate, lengths.max().unwrap())
}

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(serve(listener));
    });
    // The first connection waits until the host has taken in its scan.
    load(address, "/ok");
    for path in [
        "/ok",
        "/api/status",
        "/api/scan",
        "/api/scan?offset=9000",
        "/api/diagnoses",
        "/api/trend",
        "/api/plans",
        "/api/audit",
    ] {
        let mut rounds: Vec<(f64, usize)> = (0..ROUNDS).map(|_| load(address, path)).collect();
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, length) = rounds.get(ROUNDS / 2).unwrap();
        println!("GET {path}: {rate:.0} requests a second, {length} bytes each");
    }
}
