//! An undo finds what the step changed by its name: somebody else's element is never written, wherever it stands now.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, Ending, Incident, Kube, Outcome, Preview, Remediator, RemediatorError, Scope, Settings,
};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use proptest::prelude::*;
use serde_json::{Value, json};

struct Shop {
    cluster: Cluster,
    remediator: Remediator,
}

impl Shop {
    /// A Deployment `web` with two containers, and a model that answers `command`.
    async fn open(command: &str) -> Self {
        let cluster = Cluster::start();
        let web = cluster.deployment("shop", "web", "r.example/app:1");
        web.memory_limit("128Mi").create().await.unwrap();
        let shop = Self {
            remediator: Self::remediator(&cluster, command),
            cluster,
        };
        let helper = json!({ "name": "helper", "image": "r.example/app:1", "resources": { "limits": { "memory": "128Mi" } } });
        let containers = shop.containers().await;
        shop.put(json!([containers[0], helper])).await;
        shop
    }

    fn remediator(cluster: &Cluster, command: &str) -> Remediator {
        Remediator::builder()
            .hold(argus_core::testing::SHORT_HOLD)
            .scope(Scope::namespaces(["shop"]).unwrap())
            .settings(Settings {
                enabled: true,
                allow_high_risk: true,
            })
            .llm(Scripted::commands(&[command]))
            .policy(PermitAll::dangerous())
            .cluster(Kube::new(cluster.client_as("argus")))
            .audit(MemoryAudit::new())
            .build()
            .unwrap()
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.cluster.client(), "shop")
    }

    async fn get(&self) -> Value {
        serde_json::to_value(self.deployments().get("web").await.unwrap()).unwrap()
    }

    async fn containers(&self) -> Value {
        self.get().await["spec"]["template"]["spec"]["containers"].clone()
    }

    async fn patch(&self, patch: Value) {
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let params = PatchParams::default();
        self.deployments()
            .patch("web", &params, &patch)
            .await
            .unwrap();
    }

    /// Somebody else puts these containers there.
    async fn put(&self, containers: Value) {
        let path = "/spec/template/spec/containers";
        self.patch(json!([{ "op": "replace", "path": path, "value": containers }]))
            .await;
    }

    async fn previews(&self) -> Result<Vec<Preview>, RemediatorError> {
        let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
        let plan = self.remediator.suggest(&incident).await?;
        let permitted = self.remediator.review(plan).await?;
        Ok(self
            .remediator
            .dry_run(permitted)
            .await?
            .previews()
            .to_vec())
    }

    async fn execute(&self) -> Outcome {
        let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
        let plan = self.remediator.suggest(&incident).await.unwrap();
        let permitted = self.remediator.review(plan).await.unwrap();
        let dry_run = self.remediator.dry_run(permitted).await.unwrap();
        let answer = Answer::confirm_by_name("operator", "web");
        let approved = dry_run.approve(answer).unwrap();
        self.remediator.execute(approved).await.unwrap()
    }
}

fn memory(containers: &Value) -> Vec<(String, String)> {
    let containers = containers.as_array().unwrap().iter();
    let words = |value: &Value| value.as_str().unwrap().to_owned();
    let memory = |one: &Value| words(&one["resources"]["limits"]["memory"]);
    containers
        .map(|one| (words(&one["name"]), memory(one)))
        .collect()
}

const MORE: &str = "kubectl set resources deployment/web -n shop -c app --limits=memory=256Mi";

#[tokio::test(flavor = "multi_thread")]
async fn a_container_put_before_ours_is_not_written() {
    let shop = Shop::open(MORE).await;
    let done = shop.execute().await;
    assert_eq!(done.ending, Ending::Succeeded, "{done:?}");
    let proxy = json!({ "name": "proxy", "image": "r.example/app:1", "resources": { "limits": { "memory": "256Mi" } } });
    shop.patch(
        json!([{ "op": "add", "path": "/spec/template/spec/containers/0", "value": proxy }]),
    )
    .await;
    let outcome = shop.remediator.undo(&done.plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
    let expected = [("proxy", "256Mi"), ("app", "128Mi"), ("helper", "128Mi")];
    let expected = expected.map(|(name, memory)| (name.to_owned(), memory.to_owned()));
    assert_eq!(memory(&shop.containers().await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_ours_is_gone_a_person_must_look() {
    let shop = Shop::open(MORE).await;
    let done = shop.execute().await;
    // Another container stands where ours stood, with our value.
    let mut theirs = shop.containers().await;
    theirs[0]["name"] = "other".into();
    shop.put(theirs.clone()).await;
    let outcome = shop.remediator.undo(&done.plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Stuck, "{outcome:?}");
    let said = "changed by somebody else since, at spec.template.spec.containers[app]";
    assert!(outcome.output.contains(said), "{}", outcome.output);
    assert_eq!(memory(&shop.containers().await), memory(&theirs));
}

#[derive(Debug, Clone)]
enum Theirs {
    Insert(usize),
    Remove,
    Reverse,
    Change(usize),
    Variable(usize),
}

fn theirs() -> impl Strategy<Value = Vec<Theirs>> {
    let one = prop_oneof![
        (0..4usize).prop_map(Theirs::Insert),
        Just(Theirs::Remove),
        Just(Theirs::Reverse),
        (0..4usize).prop_map(Theirs::Change),
        (0..4usize).prop_map(Theirs::Variable),
    ];
    proptest::collection::vec(one, 1..5)
}

/// What somebody makes of the containers; ours keeps its name and its memory.
fn changed(containers: &Value, theirs: &[Theirs]) -> Value {
    let mut all = containers.as_array().unwrap().clone();
    for (number, one) in theirs.iter().enumerate() {
        let others = all.iter().filter(|one| one["name"] != "app").count();
        match one {
            Theirs::Insert(place) => {
                let new = json!({ "name": format!("new-{number}"), "image": "r.example/app:1", "resources": { "limits": { "memory": "256Mi" } } });
                let place = place % (all.len() + 1);
                all.insert(place, new);
            }
            Theirs::Remove => {
                let place = all.iter().position(|one| one["name"] != "app");
                if let Some(place) = place.filter(|_| others > 0) {
                    all.remove(place);
                }
            }
            Theirs::Reverse => all.reverse(),
            Theirs::Change(place) => {
                let place = place % all.len();
                all[place]["image"] = format!("r.example/app:{}", number + 2).into();
            }
            Theirs::Variable(place) => {
                let place = place % all.len();
                let one = json!([{ "name": format!("V{number}"), "value": "256Mi" }]);
                all[place]["env"] = one;
            }
        }
    }
    all.into()
}

/// Somebody inserts, removes, moves and changes containers between the step and its undo.
#[test]
fn undo_restores_the_named_element_whatever_others_do() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(theirs in theirs())| {
        runtime.block_on(async {
            let shop = Shop::open(MORE).await;
            let done = shop.execute().await;
            assert_eq!(done.ending, Ending::Succeeded, "{done:?}");
            let now = changed(&shop.containers().await, &theirs);
            shop.put(now).await;
            let mut expected = shop.containers().await;
            let ours = expected.as_array_mut().unwrap().iter_mut().find(|one| one["name"] == "app");
            ours.unwrap()["resources"]["limits"]["memory"] = "128Mi".into();
            let outcome = shop.remediator.undo(&done.plan_id).await.unwrap();
            assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
            assert_eq!(shop.containers().await, expected);
        });
    });
}

/// An annotation that the step took away comes back, also where no other is left.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_annotation_comes_back() {
    let command = r#"kubectl patch service/web -n shop --type=merge -p '{"metadata":{"annotations":{"example.com/team":null}}}'"#;
    let shop = Shop::open(command).await;
    let services: Api<Service> = Api::namespaced(shop.cluster.client(), "shop");
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "web", "namespace": "shop", "annotations": { "example.com/team": "a" } },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "protocol": "TCP" }] },
    });
    let service = serde_json::from_value(service).unwrap();
    services
        .create(&Default::default(), &service)
        .await
        .unwrap();
    let done = shop.execute().await;
    assert_eq!(done.ending, Ending::Succeeded, "{done:?}");
    let none = json!([{ "op": "remove", "path": "/metadata/annotations" }]);
    let none = Patch::Json::<()>(serde_json::from_value(none).unwrap());
    let params = PatchParams::default();
    services.patch("web", &params, &none).await.unwrap();
    let outcome = shop.remediator.undo(&done.plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
    let annotations = services.get("web").await.unwrap().metadata.annotations;
    assert_eq!(annotations.unwrap()["example.com/team"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_replica_set_is_no_earlier_revision() {
    let shop = Shop::open("kubectl rollout undo deployment/web -n shop --to-revision=7").await;
    let uid = shop.get().await["metadata"]["uid"].clone();
    let sets: Api<ReplicaSet> = Api::namespaced(shop.cluster.client(), "shop");
    for (name, controls, labels, taken) in [
        ("not-controlled", false, json!({ "app": "web" }), false),
        ("not-selected", true, json!({ "app": "evil" }), false),
        ("one-of-its", true, json!({ "app": "web" }), true),
        // Nobody can say which of two was meant; the first stays.
        ("of-the-same-revision", true, json!({ "app": "web" }), false),
    ] {
        let set: ReplicaSet = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": name, "namespace": "shop", "labels": labels,
                "annotations": { "deployment.kubernetes.io/revision": "7" },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid, "controller": controls }],
            },
            "spec": {
                "replicas": 0, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "app", "image": "evil.example/x:1" }] } },
            },
        }))
        .unwrap();
        sets.create(&Default::default(), &set).await.unwrap();
        let previews = shop.previews().await;
        assert_eq!(previews.is_ok(), taken, "{name}: {previews:?}");
        if !taken {
            sets.delete(name, &Default::default()).await.unwrap();
        }
    }
}
