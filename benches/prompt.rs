//! What an incident costs on its way to a model and back, without the model: read and redact, prompt, parse and hold against the
//! schema.
#![expect(clippy::unwrap_used, reason = "a bench that can't run should stop")]

use std::hint::black_box;

use argus_core::{
    Anonymous, Completion, Incident, LlmProvider, Plan, Playbook, Prompt, Scope, redact,
};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// An incident of about so many bytes: log lines of apps that fail, as an analyzer hands them over.
fn incident(bytes: usize) -> String {
    let line = |n: usize| {
        format!(
            "2026-11-26T09:{:02}:07.{n:03}Z ERROR web-6d4b75cb6d-x2v9k connecting to postgres://app:hunter2@db:5432/shop failed: timeout after {n} ms",
            n % 60
        )
    };
    let finding = |n: usize| {
        json!({
            "finding_id": format!("F-{n}"), "category": "pod_health", "severity": "high", "title": format!("web-{n} runs out of memory"),
            "description": "It was stopped for using more memory than it may.", "target": format!("k8s://shop/web-{n}-6d4b75cb6d-x2v9k/app"),
            "infra_type": "kubernetes", "timestamp": "2026-11-26T09:00:00Z", "cause": "oom_killed",
            "owner": { "kind": "Deployment", "namespace": "shop", "name": format!("web-{n}") },
            "evidence": (0..20).map(line).collect::<Vec<_>>(), "raw_data": { "container": "app", "memory_limit": "128Mi" },
        })
    };
    let mut findings: Vec<Value> = Vec::new();
    let whole = |findings: &[Value]| {
        json!({ "incident_id": "INC-1", "created_at": "2026-11-26T09:00:00Z", "findings": findings }).to_string()
    };
    while whole(&findings).len() < bytes {
        findings.push(finding(findings.len()));
    }
    whole(&findings)
}

fn prompts(criterion: &mut Criterion) {
    let scope = Scope::namespaces(["shop"]).unwrap();
    let runtime = Runtime::new().unwrap();
    let (small, large) = (incident(32 << 10), incident(900 << 10));
    criterion.bench_function("parse 32 KiB of JSON and nothing else", |bencher| {
        bencher.iter(|| serde_json::from_str::<Value>(black_box(&small)).unwrap())
    });
    criterion.bench_function("read and redact an incident of 32 KiB", |bencher| {
        bencher.iter(|| Incident::from_json(black_box(&small)).unwrap())
    });
    let line = small
        .get(1000..1150)
        .unwrap_or_default()
        .replace("hunter2@", "");
    criterion.bench_function("redact a line without a secret", |bencher| {
        bencher.iter(|| redact(black_box(&line)))
    });
    let read = Incident::from_json(&small).unwrap();
    criterion.bench_function("prompt of an incident of 32 KiB", |bencher| {
        bencher.iter(|| Prompt::new(black_box(&read), &scope))
    });
    let prompt = Prompt::new(&read, &scope);
    let completion: Completion = runtime.block_on(Playbook::new().complete(&prompt)).unwrap();
    criterion.bench_function("parse and check the plan that answers it", |bencher| {
        bencher.iter(|| Plan::parse(black_box(&completion), read.incident_id()).unwrap())
    });
    let anonymous = Anonymous::new(Playbook::new());
    criterion.bench_function(
        "the same without names: hide, ask the playbook, restore",
        |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(anonymous.complete(black_box(&prompt)))
                    .unwrap()
            })
        },
    );
    let read = Incident::from_json(&large).unwrap();
    criterion.bench_function("prompt of an incident of 900 KiB", |bencher| {
        bencher.iter(|| Prompt::new(black_box(&read), &scope))
    });
}

criterion_group!(benches, prompts);
criterion_main!(benches);
