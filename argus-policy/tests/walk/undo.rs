//! Random objects and random permitted plans: what is applied and undone is as it was before.
#![expect(clippy::print_stderr, reason = "tests say what they saw")]

use argus_core::testing::Scripted;
use argus_core::{Ending, Remediator, Settings, StepStatus};
use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::DeleteParams;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::impatient;
use crate::world::{World, builtin};

/// How many plans; the last step of each fails.
const PLANS: usize = 24;
/// As many of them at once: each waits until its last step is given up.
const AT_ONCE: usize = 12;

#[derive(Debug)]
struct Case {
    replicas: u32,
    memory: Option<&'static str>,
    env: bool,
    ports: bool,
    /// What another client sets besides, which Argus must leave alone.
    extra: Value,
    commands: Vec<String>,
}

fn case() -> impl Strategy<Value = Case> {
    let annotations = prop::collection::btree_map("[a-z]{1,8}", "[ -~]{0,12}", 0..3);
    let command = prop_oneof![
        Just("rollout restart deployment/NAME -n NS".to_owned()),
        (1..5u32).prop_map(|n| format!("scale deployment/NAME -n NS --replicas={n}")),
        (2..9u32).prop_map(|n| format!("set image deployment/NAME app=r.example/web:{n} -n NS")),
        (100..900u32).prop_map(|n| format!("set resources deployment/NAME -n NS --limits=memory={n}Mi")),
        (1..900u32).prop_map(|n| format!("set resources deployment/NAME -n NS --requests=cpu={n}m --limits=cpu=1")),
        (10..90u32).prop_map(|n| format!("patch deployment/NAME -n NS --type=merge -p '{{\"spec\":{{\"minReadySeconds\":0,\"revisionHistoryLimit\":{n}}}}}'")),
        "[a-z]{1,8}".prop_map(|key| format!("patch deployment/NAME -n NS -p '{{\"metadata\":{{\"annotations\":{{\"new/{key}\":\"x\"}}}}}}'")),
        (600..700u32).prop_map(|n| format!("patch deployment/NAME -n NS --type=json -p '[{{\"op\":\"replace\",\"path\":\"/spec/progressDeadlineSeconds\",\"value\":{n}}}]'")),
    ];
    let shape = (
        1..3u32,
        select(vec![None, Some("64Mi"), Some("1Gi")]),
        any::<bool>(),
        any::<bool>(),
        annotations,
        select(vec![None, Some("ClusterFirst"), Some("Default")]),
    );
    (shape, prop::collection::vec(command, 1..3)).prop_map(
        |((replicas, memory, env, ports, annotations, dns), commands)| {
            let mut extra = json!({"metadata": {"annotations": annotations}});
            if let Some(dns) = dns {
                extra["spec"] = json!({"template": {"spec": {"dnsPolicy": dns}}});
            }
            Case {
                replicas,
                memory,
                env,
                ports,
                extra,
                commands,
            }
        },
    )
}

/// What nobody but a client of the API decides of a Deployment.
fn wanted(deployment: &Deployment) -> Value {
    let annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    let own = annotations.into_iter();
    let own = own.filter(|(key, _)| !key.starts_with("deployment.kubernetes.io/"));
    json!({
        "spec": deployment.spec,
        "labels": deployment.metadata.labels,
        "annotations": own.collect::<Vec<_>>(),
    })
}

async fn undone(world: &World, number: usize, case: &Case) {
    let names: Vec<String> = (0..case.commands.len())
        .map(|step| format!("web-{number}-{step}"))
        .collect();
    for name in &names {
        let mut builder = world
            .deployment(name, "r.example/web:1")
            .replicas(case.replicas);
        if let Some(memory) = case.memory {
            builder = builder.memory_limit(memory);
        }
        if case.env {
            builder = builder.env("MODE", "fast");
        }
        if case.ports {
            builder = builder.ports(8080, 8080);
        }
        builder.create().await.unwrap();
        world.merge(name, case.extra.clone()).await;
    }
    let last = format!("last-{number}");
    world
        .deployment(&last, "r.example/web:1")
        .create()
        .await
        .unwrap();
    for name in names.iter().chain([&last]) {
        world.wait_ready(name).await;
    }
    let mut before = Vec::new();
    for name in &names {
        before.push(wanted(&world.get(name).await));
    }
    let fill = |command: &str, name: &str| {
        let command = command.replace("NAME", name);
        format!("kubectl {}", command.replace("NS", world.namespace()))
    };
    let mut commands: Vec<String> = case
        .commands
        .iter()
        .zip(&names)
        .map(|(command, name)| fill(command, name))
        .collect();
    commands.push(fill(
        "set image deployment/NAME app=r.example/web:does-not-exist -n NS",
        &last,
    ));
    let texts: Vec<&str> = commands.iter().map(String::as_str).collect();
    let remediator = Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(world.scope())
        .settings(Settings {
            enabled: true,
            allow_high_risk: true,
        })
        .llm(Scripted::commands(&texts))
        .policy(builtin())
        .cluster(impatient(world))
        .audit(world.audit.clone())
        .build()
        .unwrap();
    let walked = world.walk(&remediator, Vec::new()).await;
    // A step that would change nothing is refused before anything is written.
    let Ok(dry_run) = walked else {
        let refused = walked.map(|_| ()).unwrap_err().to_string();
        eprintln!("{commands:?}: {refused}");
        return;
    };
    let answer = match dry_run.name_to_type() {
        Some(name) => argus_core::Answer::confirm_by_name("operator", name.to_owned()),
        None => argus_core::Answer::confirm("operator"),
    };
    let approved = dry_run.approve(answer).unwrap();
    let outcome = remediator.execute(approved).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone, "{commands:?}: {outcome:#?}");
    // On a slow machine an earlier step may be the one that doesn't come to rest in time.
    let first = outcome
        .steps
        .iter()
        .take_while(|step| **step == StepStatus::Undone);
    let (first, all) = (first.count(), &outcome.steps);
    assert!(
        first > 0
            && all
                .iter()
                .skip(first)
                .all(|step| *step == StepStatus::Untouched),
        "{commands:?}: {outcome:#?}"
    );
    for (name, before) in names.iter().zip(before) {
        assert_eq!(wanted(&world.get(name).await), before, "{commands:?}");
    }
    // Each look of the controllers is at all that is there.
    let api: Api<Deployment> = Api::namespaced(world.admin(), world.namespace());
    for name in names.iter().chain([&last]) {
        api.delete(name, &DeleteParams::background()).await.unwrap();
    }
}

async fn all(world: &World) {
    let mut runner = TestRunner::deterministic();
    let cases: Vec<Case> = (0..PLANS)
        .map(|_| case().new_tree(&mut runner).unwrap().current())
        .collect();
    let plans = cases.iter().enumerate();
    let plans = plans.map(|(number, case)| undone(world, number, case));
    stream::iter(plans)
        .for_each_concurrent(AT_ONCE, |plan| plan)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_undone_is_as_before_in_memory() {
    all(&World::memory().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_undone_is_as_before_on_a_real_api_server() {
    let Some(world) = World::real().await else {
        return;
    };
    all(&world).await;
    world.end().await;
}
