//! What each room of the walk costs, and how the file trail compares with the bare system calls.
#![expect(clippy::unwrap_used, reason = "a bench that can't run should stop")]

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, Scripted};
use argus_core::{
    Actor, Answer, AuditEntry, AuditEvent, AuditQuery, AuditSink, Completion, FileAudit, FilePlans,
    Incident, IncidentId, Kube, Plan, PlanId, PlanStore, PolicyEngine, PolicyInput, Remediator,
    Scope, Settings, floor, parse_command, unfinished_plans,
};
use argus_policy::RegoEngine;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

fn completion() -> Completion {
    let step = |n: usize| json!({ "description": "Create more copies of this app so it can handle more load.", "command": format!("kubectl scale deployment/web-{n} -n shop --replicas=3") });
    let steps: Vec<Value> = (0..5).map(step).collect();
    let draft = json!({ "summary": "Run more copies.", "steps": steps, "risk_level": "low", "risk_reason": "Only numbers change.", "rollback_steps": [] });
    Completion::new(draft.to_string(), "bench")
}

fn rooms(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let command = "kubectl set resources deployment/web -n shop -c app --limits=memory=512Mi";
    criterion.bench_function("parse a command", |bencher| {
        bencher.iter(|| parse_command(black_box(command)))
    });

    let patch = "kubectl patch deployment/web -n shop -p 'spec: {template: {spec: {containers: [{name: app, resources: {limits: {memory: 512Mi}}}]}}}'";
    criterion.bench_function("parse a patch in YAML", |bencher| {
        bencher.iter(|| parse_command(black_box(patch)))
    });

    let (completion, incident) = (completion(), IncidentId::new("INC-1").unwrap());
    criterion.bench_function("parse a plan of 5 steps", |bencher| {
        bencher.iter(|| Plan::parse(black_box(&completion), &incident))
    });

    let plan = Plan::parse(&completion, &incident).unwrap();
    let scope = Scope::namespaces(["shop"]).unwrap();
    criterion.bench_function("floor, 5 steps", |bencher| {
        bencher.iter(|| floor(black_box(&plan), &scope, Settings::default()))
    });
    let engine = RegoEngine::builtin().unwrap();
    let input = PolicyInput::of_plan(&plan, &scope, Settings::default());
    criterion.bench_function("baseline pack, 5 steps", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(engine.evaluate(black_box(&input)))
                .unwrap()
        })
    });
}

fn entry() -> AuditEntry {
    AuditEntry {
        step: Some(0),
        command: Some("kubectl scale deployment/web -n shop --replicas=3".into()),
        ..AuditEntry::new(
            AuditEvent::StepIntended,
            IncidentId::new("INC-1").unwrap(),
            PlanId::try_from(format!("PLAN-{:032x}", 1)).unwrap(),
            Actor::user("operator").unwrap(),
        )
    }
}

fn trail(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let audit = runtime.block_on(FileAudit::open(folder.path())).unwrap();
    let mut group = criterion.benchmark_group("append, one writer");
    group.bench_function("file trail", |bencher| {
        bencher.iter(|| runtime.block_on(audit.append(entry())).unwrap())
    });
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.path().join("raw"))
        .unwrap();
    let line = vec![b'x'; 500];
    group.bench_function("write and fdatasync", |bencher| {
        bencher.iter(|| {
            file.write_all(&line).unwrap();
            file.sync_data().unwrap();
        });
    });
    // A plan of 5 steps as the store keeps it before anybody approved it.
    let plan = Plan::parse(&completion(), &IncidentId::new("INC-1").unwrap()).unwrap();
    let document = serde_json::to_string(&plan).unwrap();
    let plans = runtime
        .block_on(FilePlans::open(folder.path().join("plans")))
        .unwrap();
    group.bench_function("save a plan in a file", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(plans.save(plan.plan_id(), &document))
                .unwrap();
        });
    });
    group.finish();

    let long = tempfile::tempdir().unwrap();
    let trail = runtime.block_on(FileAudit::open(long.path())).unwrap();
    for _ in 0..1000 {
        runtime.block_on(trail.append(entry())).unwrap();
    }
    criterion.bench_function("find unfinished plans in 1,000 records", |bencher| {
        bencher.iter(|| {
            let mut records = runtime
                .block_on(trail.records(&AuditQuery::default()))
                .unwrap();
            records.reverse();
            unfinished_plans(&records)
        });
    });
}

fn walk(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let cluster = runtime.block_on(async {
        let cluster = Cluster::start();
        cluster
            .deployment("shop", "web", "r.example/web:1")
            .create()
            .await
            .unwrap();
        cluster
    });
    let remediator = Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(Scope::namespaces(["shop"]).unwrap())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&[
            "kubectl scale deployment/web -n shop --replicas=2",
        ]))
        .policy(RegoEngine::builtin().unwrap())
        .cluster(Kube::new(cluster.client()))
        .audit(MemoryAudit::new())
        .build()
        .unwrap();
    let incident = Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap();
    // Up to the approval: what a person waits for. The cluster's own pace would drown the rest.
    criterion.bench_function("suggest, review and dry run, in memory", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let plan = remediator.suggest(&incident).await.unwrap();
                let permitted = remediator.review(plan).await.unwrap();
                let dry_run = remediator.dry_run(permitted).await.unwrap();
                black_box(dry_run.approve(Answer::confirm("bench")).unwrap())
            })
        });
    });
}

criterion_group!(benches, rooms, trail, walk);
criterion_main!(benches);
