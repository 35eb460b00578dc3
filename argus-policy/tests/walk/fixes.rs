//! Faults that the playbook fixes, each by exactly one approved write.

use std::time::Duration;

use argus_core::{Cause, Finding, Playbook, Recovery, RemediatorError, StepStatus, step_statuses};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

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
    world.running("web").await;
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
    world.running("web").await;
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
    world.running("web").await;
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

/// A service that leads to `web`, and a scheduled job that waits for its time.
pub(crate) async fn healthy_surroundings(world: &World) {
    add_service(world, "web", json!(8080)).await;
    job(world, false).await;
    address(world, "web", 80).await;
    scaling(world, "web").await;
}

async fn add_service(world: &World, selector: &str, target: Value) {
    let ports = json!([{ "name": "ssh", "port": 22, "targetPort": 8080 }, { "name": "http", "port": 80, "targetPort": target }]);
    let spec = json!({ "selector": { "app": selector }, "ports": ports });
    world
        .create::<Service>(json!({ "metadata": { "name": "web" }, "spec": spec }))
        .await;
}

/// Paths that lead to this port of this service, the second of two.
async fn address(world: &World, service: &str, port: u16) {
    let to = |service: &str, port: u16| json!({ "service": { "name": service, "port": { "number": port } } });
    let paths = json!([
        { "path": "/", "pathType": "Prefix", "backend": to("web", 22) },
        { "path": "/shop", "pathType": "Prefix", "backend": to(service, port) },
    ]);
    let rules = json!([{ "host": "shop.example", "http": { "paths": paths } }]);
    world
        .create::<Ingress>(json!({ "metadata": { "name": "web" }, "spec": { "rules": rules } }))
        .await;
}

async fn scaling(world: &World, app: &str) {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": app });
    let spec = json!({ "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3 });
    world
        .create::<HorizontalPodAutoscaler>(json!({ "metadata": { "name": "web" }, "spec": spec }))
        .await;
}

async fn job(world: &World, suspend: bool) {
    let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "app", "image": "r.example/report:1" }] });
    let job = json!({ "spec": { "template": { "spec": pod } } });
    // Once a year, so that nothing starts while the test runs.
    let spec = json!({ "schedule": "0 0 1 1 *", "suspend": suspend, "jobTemplate": job });
    world
        .create::<CronJob>(json!({ "metadata": { "name": "report" }, "spec": spec }))
        .await;
}

async fn service(world: &World, selector: &str, target: Value) {
    world
        .deployment("web", "r.example/web:1")
        .ports(8080, 8080)
        .create()
        .await
        .unwrap();
    world.wait_ready("web").await;
    add_service(world, selector, target).await;
}

pub(crate) async fn a_service_that_leads_nowhere_leads_to_its_app(world: &World) {
    service(world, "wep", json!(8080)).await;
    fix(
        world,
        has(Cause::ServiceSelector),
        r#"kubectl patch service/web -n shop --type=merge -p '{"spec":{"selector":{"app":"web"}}}'"#,
        patch("services/web"),
    )
    .await;
}

pub(crate) async fn a_service_that_asks_at_the_wrong_port_asks_at_the_right_one(world: &World) {
    service(world, "web", json!(9090)).await;
    fix(
        world,
        has(Cause::ServicePort),
        r#"kubectl patch service/web -n shop --type=json -p '[{"op":"test","path":"/spec/ports/1/port","value":80},{"op":"replace","path":"/spec/ports/1/targetPort","value":8080}]'"#,
        patch("services/web"),
    )
    .await;
}

pub(crate) async fn a_job_that_was_switched_off_is_switched_on(world: &World) {
    job(world, true).await;
    fix(
        world,
        has(Cause::Suspended),
        r#"kubectl patch cronjob/report -n shop --type=merge -p '{"spec":{"suspend":false}}'"#,
        patch("cronjobs/report"),
    )
    .await;
}

pub(crate) async fn a_pending_pod_is_left_to_a_person(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .memory_request("100Ti")
        .create()
        .await
        .unwrap();
    let findings = world.findings(has(Cause::Pending)).await;
    let remediator = world.remediator(Playbook::new());
    match world.walk(&remediator, findings).await {
        Err(RemediatorError::Manual { steps }) => assert_eq!(steps.len(), 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.writes().await, []);
}

const BACKEND: &str = "/spec/rules/0/http/paths/1/backend/service";

pub(crate) async fn an_address_leads_to_its_service_again(world: &World) {
    service(world, "web", json!(8080)).await;
    address(world, "wep", 80).await;
    let command = format!(
        r#"kubectl patch ingress/web -n shop --type=json -p '[{{"op":"test","path":"{BACKEND}/name","value":"wep"}},{{"op":"replace","path":"{BACKEND}/name","value":"web"}}]'"#
    );
    fix(
        world,
        has(Cause::IngressBackend),
        &command,
        patch("ingresses/web"),
    )
    .await;
}

pub(crate) async fn an_address_leads_to_a_port_of_its_service(world: &World) {
    world.running("web").await;
    let spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 22 }] });
    world
        .create::<Service>(json!({ "metadata": { "name": "web" }, "spec": spec }))
        .await;
    address(world, "web", 8080).await;
    let command = format!(
        r#"kubectl patch ingress/web -n shop --type=json -p '[{{"op":"test","path":"{BACKEND}/port/number","value":8080}},{{"op":"replace","path":"{BACKEND}/port/number","value":22}}]'"#
    );
    fix(
        world,
        has(Cause::IngressBackend),
        &command,
        patch("ingresses/web"),
    )
    .await;
}

pub(crate) async fn a_scaling_looks_after_its_app_again(world: &World) {
    world.running("web").await;
    scaling(world, "wep").await;
    fix(
        world,
        has(Cause::ScaleTarget),
        r#"kubectl patch horizontalpodautoscaler/web -n shop --type=merge -p '{"spec":{"scaleTargetRef":{"name":"web"}}}'"#,
        patch("horizontalpodautoscalers/web"),
    )
    .await;
}
