//! Copies with a number: a StatefulSet replaces none while one doesn't work, so a plan removes that one after its change.

use argus_core::testing::Scripted;
use argus_core::{Answer, Ending, Pause, Plan, StepStatus, step_statuses};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use crate::world::World;

/// Takes the broken copy away itself before the plan comes to it.
struct Faster(Api<Pod>);

#[async_trait]
impl Pause for Faster {
    async fn go_on(&self, _: &Plan, _: usize) -> Result<(), String> {
        let old = self.0.get("db-1").await.unwrap().metadata.uid;
        self.0.delete("db-1", &Default::default()).await.unwrap();
        for _ in 0..300 {
            let new = self.0.get_opt("db-1").await.unwrap();
            if new.is_some_and(|pod| pod.metadata.uid != old) {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Err("it never came back".into())
    }
}

/// Two copies, the second of which was updated to a memory limit that is too low.
async fn half_updated(world: &World) {
    let set = |memory: &str| {
        json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" }, "spec": {
            "serviceName": "", "replicas": 2, "selector": { "matchLabels": { "app": "db" } },
            "template": { "metadata": { "labels": { "app": "db" }, "annotations": { "fake-kubelet/needs-memory": "100Mi" } },
                "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": "r.example/db:1", "resources": { "limits": { "memory": memory } } }] } } } })
    };
    world.create_any(&set("128Mi")).await;
    world.pods_ready("db", 2).await;
    world.merge_any(&set("64Mi")).await;
    world.pods_ready("db", 1).await;
}

fn commands(world: &World) -> [String; 2] {
    let namespace = world.namespace();
    [
        format!("kubectl set resources statefulset/db -n {namespace} -c app --limits=memory=128Mi"),
        format!("kubectl delete pod/db-1 -n {namespace}"),
    ]
}

pub(crate) async fn a_copy_that_was_replaced_meanwhile_needs_no_delete(world: &World) {
    half_updated(world).await;
    let commands = commands(world);
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let pods = Api::namespaced(world.admin(), world.namespace());
    let builder = world.builder(Scripted::commands(&commands), world.kube());
    let builder = builder.audit(world.audit.clone()).pause(Faster(pods));
    let remediator = builder.build().unwrap();
    let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    let outcome = remediator.execute(approved).await.unwrap();
    assert_eq!(outcome.ending, Ending::Succeeded, "{:?}", outcome.error);
    assert_eq!(
        step_statuses(&world.audit.all()),
        vec![StepStatus::Settled; 2]
    );
    let real = world.writes().await.into_iter().filter(|write| !write.2);
    let verbs: Vec<String> = real.map(|write| write.0).collect();
    assert_eq!(verbs, ["patch"], "the new copy was deleted too");
    world.pods_ready("db", 2).await;
}

pub(crate) async fn a_change_that_a_broken_copy_holds_up_says_so(world: &World) {
    half_updated(world).await;
    let commands = commands(world);
    let kube = world
        .kube()
        .settle_within(std::time::Duration::from_secs(3));
    let remediator = world.remediator_on(Scripted::commands(&[&commands[0]]), kube);
    let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
    let outcome = world.execute(&remediator, dry_run).await;
    assert_eq!(outcome.ending, Ending::Undone);
    let error = outcome.error.unwrap();
    assert!(
        error.contains("a later step of the plan can remove it"),
        "{error}"
    );
}
