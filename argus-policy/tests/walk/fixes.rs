//! Faults that the playbook fixes, each by exactly one approved write.

use std::time::Duration;

use argus_core::{Cause, Finding, Recovery, StepStatus, step_statuses};

use crate::has;
use crate::world::{World, Write};

fn patch(path: &str) -> Vec<Write> {
    vec![
        ("patch".into(), path.into(), true, 200),
        ("patch".into(), path.into(), false, 200),
    ]
}

/// Fixes what the playbook finds and asserts that it is fixed, by exactly these writes.
async fn fix(
    world: &World,
    wanted: impl Fn(&[Finding]) -> bool,
    command: &str,
    writes: Vec<Write>,
) {
    let findings = world.findings(wanted).await;
    let (remediator, dry_run) = world.prepare(findings).await;
    let command = command.replace("shop", world.namespace());
    assert_eq!(
        dry_run
            .plan()
            .steps()
            .iter()
            .map(|step| step.command().to_owned())
            .collect::<Vec<_>>(),
        [command]
    );
    let outcome = world.execute(&remediator, dry_run).await;
    assert!(outcome.success, "{outcome:#?}");
    let rescan = outcome.rescan.unwrap();
    assert_eq!(rescan.recovery, Recovery::Resolved, "{rescan:#?}");
    assert!(
        rescan.summary().ends_with("Remaining: no issues."),
        "{}",
        rescan.summary()
    );
    assert_eq!(outcome.steps, [StepStatus::Settled]);
    assert_eq!(step_statuses(&world.audit.all()), [StepStatus::Settled]);
    assert_eq!(world.writes().await, writes);
}

pub(crate) async fn out_of_memory_is_fixed_by_a_higher_limit(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .needs_memory("200Mi")
        .memory_limit("128Mi")
        .create()
        .await
        .unwrap();
    let command = "kubectl set resources deployment/web -n shop -c app --limits=memory=256Mi";
    fix(
        world,
        has(Cause::OomKilled),
        command,
        patch("deployments/web"),
    )
    .await;
}

pub(crate) async fn a_bad_image_is_fixed_by_going_back(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    world.wait_ready("web").await;
    world
        .deployment("web", "r.example/web:does-not-exist")
        .update()
        .await
        .unwrap();
    fix(
        world,
        has(Cause::ImagePull),
        "kubectl rollout undo deployment/web -n shop --to-revision=1",
        patch("deployments/web"),
    )
    .await;
    assert_eq!(image(world).await, "r.example/web:1");
}

pub(crate) async fn image(world: &World) -> String {
    world
        .get("web")
        .await
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers[0]
        .image
        .clone()
        .unwrap()
}

pub(crate) async fn a_bad_image_in_a_larger_update_is_fixed_alone(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    world.wait_ready("web").await;
    world
        .deployment("web", "r.example/web:does-not-exist")
        .env("COLOUR", "blue")
        .update()
        .await
        .unwrap();
    fix(
        world,
        has(Cause::ImagePull),
        "kubectl set image deployment/web -n shop app=r.example/web:1",
        patch("deployments/web"),
    )
    .await;
    assert!(
        world
            .get("web")
            .await
            .spec
            .unwrap()
            .template
            .spec
            .unwrap()
            .containers[0]
            .env
            .is_some()
    );
}

pub(crate) async fn a_crash_after_an_update_is_fixed_by_going_back(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .needs_env("DATABASE_URL")
        .env("DATABASE_URL", "db")
        .create()
        .await
        .unwrap();
    world.wait_ready("web").await;
    world
        .deployment("web", "r.example/web:1")
        .needs_env("DATABASE_URL")
        .update()
        .await
        .unwrap();
    fix(
        world,
        has(Cause::CrashLoop),
        "kubectl rollout undo deployment/web -n shop --to-revision=1",
        patch("deployments/web"),
    )
    .await;
}

pub(crate) async fn a_stuck_rollout_is_fixed_by_going_back(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    world.wait_ready("web").await;
    world
        .deployment("web", "r.example/web:2")
        .state("ContainerCreating")
        .progress_deadline(1)
        .update()
        .await
        .unwrap();
    fix(
        world,
        has(Cause::StuckRollout),
        "kubectl rollout undo deployment/web -n shop --to-revision=1",
        patch("deployments/web"),
    )
    .await;
}

pub(crate) async fn an_app_without_copies_gets_one(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .replicas(0)
        .create()
        .await
        .unwrap();
    fix(
        world,
        has(Cause::ScaledToZero),
        "kubectl scale deployment/web -n shop --replicas=1",
        patch("deployments/web/scale"),
    )
    .await;
}

pub(crate) async fn a_stuck_pod_is_replaced(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .replicas(2)
        .create()
        .await
        .unwrap();
    world.wait_ready("web").await;
    let pod = world.pods().await[0].metadata.name.clone().unwrap();
    world.wedge(&pod).await;
    let path = format!("pods/{pod}");
    let writes = vec![
        ("delete".into(), path.clone(), true, 200),
        ("delete".into(), path, false, 200),
    ];
    fix(
        world,
        has(Cause::PodWedged),
        &format!("kubectl delete pod/{pod} -n shop"),
        writes,
    )
    .await;
    assert!(
        world
            .pods()
            .await
            .iter()
            .all(|other| other.metadata.name.as_ref() != Some(&pod))
    );
}

pub(crate) async fn old_settings_are_read_again(world: &World) {
    world.config_map("settings", "old").await;
    world
        .deployment("web", "r.example/web:1")
        .env_from("settings")
        .create()
        .await
        .unwrap();
    world.wait_ready("web").await;
    // The API keeps times to the second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.config_map("settings", "new").await;
    fix(
        world,
        has(Cause::StaleConfig),
        "kubectl rollout restart deployment/web -n shop",
        patch("deployments/web"),
    )
    .await;
}

pub(crate) async fn a_probe_at_the_wrong_port_is_mended(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .ports(8080, 9090)
        .create()
        .await
        .unwrap();
    let command = r#"kubectl patch deployment/web -n shop --type=strategic -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","readinessProbe":{"httpGet":{"port":8080}}}]}}}}'"#;
    fix(
        world,
        has(Cause::ProbePort),
        command,
        patch("deployments/web"),
    )
    .await;
}
