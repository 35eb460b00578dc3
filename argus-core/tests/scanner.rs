//! How the scanner asks: only in its namespaces, page by page, in bounded time, and no more than it must.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::{Cause, Kube, Scan, Scanner, Scope};
use http::{Request, Response, StatusCode};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, TypeMeta,
};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::json;

/// Where the cluster says whether it has the Gateway API.
const GATEWAY_API: &str = "/apis/gateway.networking.k8s.io/v1";

/// What becomes of a request.
enum Fate {
    Passes,
    Waits,
    Fails(StatusCode),
    /// Its answer has this many bytes.
    Grows(usize),
}

type Asked = Arc<Mutex<Vec<String>>>;

/// A client whose requests are noted, and some of which are stopped.
fn noting(
    cluster: &Cluster,
    fate: impl Fn(&str) -> Fate + Send + Sync + 'static,
) -> (Client, Asked) {
    let (client, asked, fate) = (cluster.client(), Asked::default(), Arc::new(fate));
    let seen = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, seen, fate) = (client.clone(), Arc::clone(&seen), Arc::clone(&fate));
        async move {
            let path = request.uri().to_string();
            seen.lock().unwrap().push(path.clone());
            match fate(&path) {
                Fate::Passes => client.send(request).await,
                Fate::Waits => std::future::pending().await,
                Fate::Grows(bytes) => {
                    let body = Body::from(vec![b' '; bytes]);
                    Ok(Response::builder().body(body).unwrap())
                }
                Fate::Fails(code) => {
                    let status = json!({ "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": "Expired", "message": "it is too late" });
                    let body = Body::from(status.to_string().into_bytes());
                    Ok(Response::builder().status(code).body(body).unwrap())
                }
            }
        }
    });
    (Client::new(service, "default"), asked)
}

fn shop() -> Scope {
    Scope::namespaces(["shop"]).unwrap()
}

/// A cluster with an app that is switched off.
async fn cluster() -> Cluster {
    let cluster = Cluster::start();
    let off = cluster
        .deployment("shop", "off", "r.example/off:1")
        .replicas(0);
    off.create().await.unwrap();
    cluster
}

fn causes(scan: &Scan) -> Vec<Option<Cause>> {
    scan.findings.iter().map(|finding| finding.cause).collect()
}

fn ids(scan: &Scan) -> BTreeSet<&str> {
    scan.findings
        .iter()
        .map(|finding| finding.finding_id.as_str())
        .collect()
}

#[tokio::test]
async fn only_the_namespaces_of_the_scope_are_asked_about() {
    let cluster = cluster().await;
    let (client, asked) = noting(&cluster, |_| Fate::Passes);
    let scan = Kube::new(client.clone()).scan(&shop()).await.unwrap();
    assert_eq!(causes(&scan), [Some(Cause::ScaledToZero)]);
    let mut paths = std::mem::take(&mut *asked.lock().unwrap());
    // Whether the cluster has the Gateway API is asked of nobody's namespace.
    paths.retain(|path| path != GATEWAY_API);
    assert!(
        paths.iter().all(|path| path.contains("/namespaces/shop/")),
        "{paths:?}"
    );
    // Each kind once; none of them a secret.
    let kinds: BTreeSet<&String> = paths.iter().collect();
    assert_eq!(kinds.len(), paths.len());
    assert!(
        !paths.iter().any(|path| path.contains("secrets")),
        "{paths:?}"
    );

    Kube::new(client)
        .seeing_cluster()
        .scan(&shop())
        .await
        .unwrap();
    let paths = asked.lock().unwrap();
    let above = paths
        .iter()
        .filter(|path| !path.contains("/namespaces/shop/") && *path != GATEWAY_API);
    let above: BTreeSet<&str> = above
        .filter_map(|path| path.split('?').next()?.rsplit('/').next())
        .collect();
    let expected = [
        "gatewayclasses",
        "ingressclasses",
        "mutatingwebhookconfigurations",
        "nodes",
        "persistentvolumes",
        "storageclasses",
        "validatingwebhookconfigurations",
    ];
    assert_eq!(above, BTreeSet::from(expected));
}

#[tokio::test]
async fn what_does_not_come_in_time_is_named_and_the_rest_is_judged() {
    let cluster = cluster().await;
    for late in ["ingresses", "pods", "configmaps"] {
        let (client, _) = noting(&cluster, move |path| {
            let is_late = path
                .split('?')
                .next()
                .is_some_and(|path| path.ends_with(late));
            if is_late { Fate::Waits } else { Fate::Passes }
        });
        let kube = Kube::new(client).scan_within(Duration::from_secs(2));
        let scan = kube.scan(&shop()).await.unwrap();
        assert_eq!(causes(&scan), [Some(Cause::ScaledToZero)], "{late}");
        let expected = format!(
            "the {late} of namespace shop did not come in time: narrow the scope, or let the scan take longer"
        );
        assert_eq!(scan.incomplete, [expected]);
    }
}

/// Objects that lead to each other, and nothing wrong with any.
async fn all_that_leads_somewhere(cluster: &Cluster) {
    let web = cluster.deployment("shop", "web", "r.example/web:1");
    web.env_from("settings")
        .ports(8080, 8080)
        .create()
        .await
        .unwrap();
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    let hook = json!({ "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": { "service": { "namespace": "shop", "name": "web" } } });
    let app = json!({ "matchLabels": { "app": "web" } });
    for (api_version, kind, fields) in [
        (
            "v1",
            "ConfigMap",
            json!({ "metadata": { "name": "settings" } }),
        ),
        (
            "v1",
            "Service",
            json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] } }),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            json!({ "metadata": { "name": "web" }, "spec": { "ingressClassName": "nginx", "defaultBackend": backend } }),
        ),
        (
            "networking.k8s.io/v1",
            "IngressClass",
            json!({ "metadata": { "name": "nginx" } }),
        ),
        (
            "gateway.networking.k8s.io/v1",
            "GatewayClass",
            json!({ "metadata": { "name": "cloud" }, "spec": { "controllerName": "example.com/cloud" } }),
        ),
        (
            "gateway.networking.k8s.io/v1",
            "Gateway",
            json!({ "metadata": { "name": "door" }, "spec": { "gatewayClassName": "cloud", "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] } }),
        ),
        (
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            json!({ "metadata": { "name": "web" }, "spec": { "parentRefs": [{ "name": "door" }], "rules": [{ "backendRefs": [{ "name": "web", "port": 80 }] }] } }),
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({ "metadata": { "name": "web" }, "spec": { "podSelector": app } }),
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({ "metadata": { "name": "web" }, "spec": { "maxUnavailable": 1, "selector": app } }),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({ "metadata": { "name": "web" }, "spec": { "maxReplicas": 3, "scaleTargetRef": { "kind": "Deployment", "name": "web" },
            "metrics": [{ "type": "Pods", "pods": { "metric": { "name": "m" }, "target": { "type": "AverageValue", "averageValue": "1" } } }] } }),
        ),
        (
            "storage.k8s.io/v1",
            "StorageClass",
            json!({ "metadata": { "name": "fast" }, "provisioner": "none" }),
        ),
        (
            "apps/v1",
            "StatefulSet",
            json!({ "metadata": { "name": "db" }, "spec": { "serviceName": "web", "selector": { "matchLabels": { "app": "db" } },
            "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [{ "name": "app", "image": "r.example/db:1" }] } },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": { "storageClassName": "fast" } }] } }),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            json!({ "metadata": { "name": "hook" }, "webhooks": [hook] }),
        ),
    ] {
        let types = TypeMeta {
            api_version: api_version.into(),
            kind: kind.into(),
        };
        let plural = ApiResource::from_gvk(&types.try_into().unwrap());
        let is_above = matches!(
            kind,
            "GatewayClass" | "IngressClass" | "StorageClass" | "ValidatingWebhookConfiguration"
        );
        let api: Api<DynamicObject> = match is_above {
            true => Api::all_with(cluster.client(), &plural),
            false => Api::namespaced_with(cluster.client(), "shop", &plural),
        };
        api.create(
            &PostParams::default(),
            &serde_json::from_value(fields).unwrap(),
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn each_list_that_fails_is_named_and_invents_nothing() {
    each_list_that_fails(shop(), |client| Kube::new(client).seeing_cluster()).await;
}

#[tokio::test]
async fn each_list_across_namespaces_that_fails_is_named_and_invents_nothing() {
    let scope = Scope::namespaces(["shop", "bank"]).unwrap();
    let across = |client| Kube::new(client).seeing_cluster().across_namespaces();
    each_list_that_fails(scope, across).await;
}

async fn each_list_that_fails(scope: Scope, kube: impl Fn(Client) -> Kube) {
    let cluster = cluster().await;
    all_that_leads_somewhere(&cluster).await;
    let quiet = async || {
        for _ in 0..300 {
            let scan = kube(cluster.client()).scan(&scope).await.unwrap();
            if causes(&scan) == [Some(Cause::ScaledToZero)]
                && scan.workloads.iter().all(|one| one.ready == one.desired)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("something is wrong with what is right");
    };
    quiet().await;
    let (client, asked) = noting(&cluster, |_| Fate::Passes);
    kube(client).scan(&scope).await.unwrap();
    let paths = asked.lock().unwrap().clone();
    // However many namespaces are looked across.
    assert_eq!(paths.len(), 26);
    for path in paths {
        let failing = path.clone();
        let (client, _) = noting(&cluster, move |path| {
            if path == failing {
                Fate::Fails(StatusCode::FORBIDDEN)
            } else {
                Fate::Passes
            }
        });
        let scan = kube(client).scan(&scope).await.unwrap();
        assert_eq!(scan.incomplete.len(), 1, "{path}: {:?}", scan.incomplete);
        assert!(
            scan.incomplete
                .iter()
                .all(|text| text.ends_with("could not be read: it is too late")),
            "{:?}",
            scan.incomplete
        );
        let found = causes(&scan);
        let is_known = found
            .iter()
            .all(|cause| *cause == Some(Cause::ScaledToZero));
        assert!(is_known, "{:?}: {found:?}", scan.incomplete);
    }
}

/// A cluster that doesn't have the Gateway API isn't asked for what comes with it.
#[tokio::test]
async fn what_a_cluster_does_not_have_is_no_finding() {
    let cluster = cluster().await;
    let stray =
        json!({ "metadata": { "name": "stray" }, "spec": { "parentRefs": [{ "name": "none" }] } });
    let types = TypeMeta {
        api_version: "gateway.networking.k8s.io/v1".into(),
        kind: "HTTPRoute".into(),
    };
    let routes = ApiResource::from_gvk(&types.try_into().unwrap());
    Api::<DynamicObject>::namespaced_with(cluster.client(), "shop", &routes)
        .create(
            &PostParams::default(),
            &serde_json::from_value(stray).unwrap(),
        )
        .await
        .unwrap();
    for (code, found) in [(None, 2), (Some(StatusCode::NOT_FOUND), 1)] {
        let (client, asked) = noting(&cluster, move |path| match code {
            Some(code) if path == GATEWAY_API => Fate::Fails(code),
            _ => Fate::Passes,
        });
        let kube = Kube::new(client).seeing_cluster();
        let watch = kube.watch(&shop()).unwrap();
        for scanner in [&kube as &dyn Scanner, &watch] {
            let scan = scanner.scan(&shop()).await.unwrap();
            assert_eq!((scan.findings.len(), scan.incomplete), (found, vec![]));
        }
        let asked = asked.lock().unwrap();
        let of_it = asked.iter().filter(|path| path.contains("gateway."));
        assert_eq!(
            of_it.clone().all(|path| path == GATEWAY_API),
            code.is_some()
        );
    }
}

#[tokio::test]
async fn pages_that_expire_are_asked_for_again() {
    let cluster = cluster().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "shop");
    for index in 0..251 {
        let map = serde_json::from_value(json!({ "metadata": { "name": format!("c-{index}") } }))
            .unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    // The last of them is on the second page.
    let reads = cluster
        .deployment("shop", "reads", "r.example/reads:1")
        .env_from("c-99");
    reads.create().await.unwrap();
    for expires in [false, true] {
        let (client, asked) = noting(&cluster, move |path| {
            let is_second = path.contains("configmaps") && path.contains("continue=");
            if expires && is_second {
                Fate::Fails(StatusCode::GONE)
            } else {
                Fate::Passes
            }
        });
        let scan = Kube::new(client).scan(&shop()).await.unwrap();
        assert_eq!(
            (causes(&scan), scan.incomplete),
            (vec![Some(Cause::ScaledToZero)], vec![])
        );
        let paths = asked.lock().unwrap();
        let lists = paths
            .iter()
            .filter(|path| path.contains("configmaps"))
            .count();
        assert_eq!(lists, if expires { 3 } else { 2 });
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_asked_for_in_small_parts_and_never_read_whole() {
    let cluster = cluster().await;
    for parts_grow_too in [false, true] {
        let (client, asked) = noting(&cluster, move |path| {
            let is_large = path.contains("configmaps") && path.contains("limit=250");
            let is_part = path.contains("configmaps") && path.ends_with("limit=10");
            if is_large || parts_grow_too && is_part {
                Fate::Grows((32 << 20) + 1)
            } else {
                Fate::Passes
            }
        });
        let scan = Kube::new(client).scan(&shop()).await.unwrap();
        let paths = asked.lock().unwrap();
        let lists = paths.iter().filter(|path| path.contains("configmaps"));
        assert_eq!(lists.count(), 2, "{paths:?}");
        let missing: &[String] = &scan.incomplete;
        if parts_grow_too {
            let said =
                "the configmaps of namespace shop were not read: ten of them have more than 32 MiB";
            assert_eq!(missing, [said]);
        } else {
            assert_eq!(missing, [] as [&str; 0]);
        }
    }
}

/// Until the watch says what a fresh look says, and it is what is wanted.
async fn agree(kube: &Kube, watch: &impl Scanner, wanted: impl Fn(&Scan) -> bool) {
    let scope = Scope::namespaces(["shop", "bank"]).unwrap();
    let mut last = None;
    for _ in 0..1500 {
        let across = kube.clone().across_namespaces();
        let (fresh, across, watched) = (
            kube.scan(&scope).await.unwrap(),
            across.scan(&scope).await.unwrap(),
            watch.scan(&scope).await.unwrap(),
        );
        let same = [&fresh, &across].into_iter().all(|fresh| {
            assert_eq!(fresh.incomplete.len() + watched.incomplete.len(), 0);
            ids(fresh) == ids(&watched)
                && fresh.workloads == watched.workloads
                && fresh.ignored.len() == watched.ignored.len()
        });
        if same && wanted(&watched) {
            return;
        }
        last =
            Some([fresh, watched].map(|scan| (causes(&scan), scan.ignored.len(), scan.workloads)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("they never agreed on what is wanted: {last:?}");
}

#[tokio::test]
async fn a_watch_says_what_a_fresh_look_says() {
    for (sees_cluster, across) in [(false, false), (true, false), (false, true), (true, true)] {
        let cluster = cluster().await;
        // What is out of scope is never spoken of.
        let attic = cluster.deployment("attic", "off", "r.example/off:1");
        attic.replicas(0).create().await.unwrap();
        let scope = Scope::namespaces(["shop", "bank"]).unwrap();
        let late = Duration::from_millis(300);
        let mut kube = Kube::new(cluster.client()).unready_after(late);
        if sees_cluster {
            kube = kube.seeing_cluster();
        }
        let has = |scan: &Scan, cause| causes(scan).contains(&Some(cause));
        let watch = match across {
            true => kube.clone().across_namespaces().watch(&scope).unwrap(),
            false => kube.watch(&scope).unwrap(),
        };
        agree(&kube, &watch, |scan| has(scan, Cause::ScaledToZero)).await;

        let leaky = cluster.deployment("bank", "leaky", "r.example/leaky:1");
        let leaky = leaky.needs_memory("64Mi").memory_limit("32Mi");
        leaky.create().await.unwrap();
        agree(&kube, &watch, |scan| has(scan, Cause::OomKilled)).await;

        // Nothing changes any more, but what isn't ready becomes late.
        let shy = cluster.deployment("shop", "shy", "r.example/shy:1");
        shy.state("NotReady").create().await.unwrap();
        agree(&kube, &watch, |scan| has(scan, Cause::PodWedged)).await;

        // A pod that finds no place depends on the nodes.
        let large = cluster.deployment("shop", "large", "r.example/large:1");
        large.memory_request("9000Gi").create().await.unwrap();
        agree(&kube, &watch, |scan| has(scan, Cause::RequestTooLarge)).await;

        // Not to hear of it is a change as well.
        let of = |namespace| Api::<Deployment>::namespaced(cluster.client(), namespace);
        let ignore =
            Patch::Merge(json!({ "metadata": { "annotations": { "argus-ops/ignore": "all" } } }));
        let bank = of("bank");
        bank.patch("leaky", &PatchParams::default(), &ignore)
            .await
            .unwrap();
        agree(&kube, &watch, |scan| {
            !scan.ignored.is_empty() && !has(scan, Cause::OomKilled)
        })
        .await;

        bank.delete("leaky", &DeleteParams::default())
            .await
            .unwrap();
        of("shop")
            .delete("shy", &DeleteParams::default())
            .await
            .unwrap();
        of("shop")
            .delete("large", &DeleteParams::default())
            .await
            .unwrap();
        agree(&kube, &watch, |scan| {
            scan.workloads.len() == 1 && scan.findings.len() == 1
        })
        .await;
    }
}

#[tokio::test]
async fn a_watch_asks_once_and_says_what_it_can_not_see() {
    let cluster = cluster().await;
    let refused = Arc::new(Mutex::new(true));
    let (client, asked) = noting(&cluster, {
        let refused = Arc::clone(&refused);
        move |path| {
            let is_refused = *refused.lock().unwrap() && path.contains("/ingresses");
            if is_refused {
                Fate::Fails(StatusCode::FORBIDDEN)
            } else {
                Fate::Passes
            }
        }
    });
    let kube = Kube::new(client);
    let watch = kube.watch(&shop()).unwrap();
    let scan = watch.scan(&shop()).await.unwrap();
    assert_eq!(causes(&scan), [Some(Cause::ScaledToZero)]);
    assert_eq!(
        scan.incomplete,
        ["the ingresses of namespace shop could not be watched: it is too late"]
    );
    // It is tried again by itself.
    *refused.lock().unwrap() = false;
    while !watch.scan(&shop()).await.unwrap().incomplete.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Watches begin a moment after their lists; from then on nothing is asked.
    tokio::time::sleep(Duration::from_millis(500)).await;
    asked.lock().unwrap().clear();
    for _ in 0..10 {
        assert_eq!(
            causes(&watch.scan(&shop()).await.unwrap()),
            [Some(Cause::ScaledToZero)]
        );
    }
    assert_eq!(*asked.lock().unwrap(), [] as [String; 0]);

    let elsewhere = watch
        .scan(&Scope::namespaces(["bank"]).unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        elsewhere.problem,
        "namespace `bank` is not watched: watch it, or leave it out of the scope"
    );
    let (client, _) = noting(&cluster, |path| {
        if path.contains("/pods") {
            Fate::Waits
        } else {
            Fate::Passes
        }
    });
    let watch = Kube::new(client)
        .scan_within(Duration::from_secs(2))
        .watch(&shop())
        .unwrap();
    let scan = watch.scan(&shop()).await.unwrap();
    assert_eq!(
        scan.incomplete,
        ["the pods of namespace shop have not come yet"]
    );
}

#[tokio::test]
async fn a_watch_across_namespaces_looks_again_only_where_something_changed() {
    let cluster = cluster().await;
    let scope = Scope::namespaces(["shop", "bank"]).unwrap();
    let (client, asked) = noting(&cluster, |_| Fate::Passes);
    let watch = Kube::new(client).across_namespaces().watch(&scope).unwrap();
    let looked = |scan: &Scan| -> BTreeSet<String> {
        let findings = scan.findings.iter();
        findings
            .map(|finding| finding.timestamp.to_string())
            .collect()
    };
    let first = looked(&watch.scan(&scope).await.unwrap());
    assert_eq!(first.len(), 1);
    let lists = asked.lock().unwrap().clone();
    assert!(
        lists.iter().all(|path| !path.contains("/namespaces/")),
        "{lists:?}"
    );
    let other = cluster.deployment("bank", "off", "r.example/off:1");
    other.replicas(0).create().await.unwrap();
    // The Deployment is changed by its controller a few times.
    for _ in 0..500 {
        let scan = watch.scan(&scope).await.unwrap();
        if scan.findings.len() == 2 {
            assert!(
                looked(&scan).is_superset(&first),
                "shop was looked at again"
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what happened in the other namespace was never seen");
}

#[test]
fn a_watch_needs_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kube = runtime.block_on(async { Kube::new(cluster().await.client()) });
    let error = kube.watch(&shop()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the cluster could not be scanned: a watch needs a tokio runtime"
    );
}

#[tokio::test]
async fn what_becomes_late_is_seen_though_nothing_changes() {
    let cluster = Cluster::start();
    let kube = Kube::new(cluster.client()).unready_after(Duration::from_secs(6));
    let watch = kube.watch(&shop()).unwrap();
    let shy = cluster.deployment("shop", "shy", "r.example/shy:1");
    shy.state("NotReady").create().await.unwrap();
    // Until the cluster has come to rest.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(causes(&watch.scan(&shop()).await.unwrap()), []);
    for _ in 0..300 {
        if causes(&watch.scan(&shop()).await.unwrap()).contains(&Some(Cause::PodWedged)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a pod that is not ready for seconds was never reported");
}

#[tokio::test]
async fn a_scan_that_may_take_for_ever_is_no_panic() {
    let cluster = cluster().await;
    let kube = Kube::new(cluster.client()).scan_within(Duration::MAX);
    assert_eq!(causes(&kube.scan(&shop()).await.unwrap()).len(), 1);
    let watch = kube.watch(&shop()).unwrap();
    assert_eq!(causes(&watch.scan(&shop()).await.unwrap()).len(), 1);
}
