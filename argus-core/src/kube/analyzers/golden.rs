//! What each analyzer finds in the objects of `golden.yaml`, and that none stumbles over objects that are odd.

use std::sync::LazyLock;
use std::time::Duration;

use ::kube::api::ObjectMeta;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::lean::Pod;
use super::super::scanner::judge;
use super::super::seen::{ClusterObjects, Keys, Named, Objects, Seen};
use super::analyze_cluster;
use super::pods::Crowd;
use crate::incident::{Finding, Scan};

/// The objects of a case, sorted by what they are.
#[derive(Default)]
struct Given {
    objects: Objects,
    cluster: ClusterObjects,
    pods: Vec<Pod>,
}

fn put<T: DeserializeOwned>(all: &mut Named<T>, object: Value) -> Result<(), serde_json::Error> {
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    all.insert(name, serde_json::from_value(object)?);
    Ok(())
}

impl Given {
    fn of(objects: Vec<Value>) -> Result<Self, serde_json::Error> {
        let mut given = Self::default();
        given.cluster.whole = true;
        let mut nodes = Named::new();
        for mut object in objects {
            // Lists leave out what their items are.
            let kind = object
                .as_object_mut()
                .and_then(|fields| fields.remove("kind"));
            let kind = kind.unwrap_or_default();
            let Given {
                objects: all,
                cluster,
                pods,
            } = &mut given;
            match kind.as_str().unwrap_or_default() {
                "Pod" => pods.push(serde_json::from_value(object)?),
                "Deployment" => put(&mut all.deployments, object)?,
                "ReplicaSet" => put(&mut all.replica_sets, object)?,
                "StatefulSet" => put(&mut all.stateful_sets, object)?,
                "DaemonSet" => put(&mut all.daemon_sets, object)?,
                "Job" => put(&mut all.jobs, object)?,
                "CronJob" => put(&mut all.cron_jobs, object)?,
                "Service" => put(&mut all.services, object)?,
                "Ingress" => put(&mut all.ingresses, object)?,
                "EndpointSlice" => put(&mut all.slices, object)?,
                "Gateway" => put(&mut all.gateways, object)?,
                "HTTPRoute" => put(&mut all.routes, object)?,
                "GatewayClass" => put(&mut cluster.gateway_classes, object)?,
                "NetworkPolicy" => put(&mut all.policies, object)?,
                "HorizontalPodAutoscaler" => put(&mut all.autoscalers, object)?,
                "PodDisruptionBudget" => put(&mut all.budgets, object)?,
                "PersistentVolumeClaim" => put(&mut all.claims, object)?,
                "ResourceQuota" => put(&mut all.quotas, object)?,
                "ConfigMap" => {
                    let metadata: ObjectMeta = serde_json::from_value(object["metadata"].take())?;
                    let name = metadata.name.clone().unwrap_or_default();
                    all.config_maps.insert(name, Keys::from(&metadata));
                }
                "Node" => put(&mut nodes, object)?,
                "PersistentVolume" => put(&mut cluster.volumes, object)?,
                "StorageClass" => put(&mut cluster.storage_classes, object)?,
                "IngressClass" => put(&mut cluster.ingress_classes, object)?,
                "ValidatingWebhookConfiguration" => put(&mut cluster.validating, object)?,
                "MutatingWebhookConfiguration" => put(&mut cluster.mutating, object)?,
                other => panic!("no kind of object is called {other}"),
            }
        }
        given.cluster.nodes = nodes;
        Ok(given)
    }

    fn scan(&self) -> Scan {
        let now = "2026-01-01T12:00:00Z".parse().unwrap_or_default();
        let late = Duration::from_secs(30);
        let mut seen = Seen::new("shop", &self.objects, &self.cluster, now, late);
        let mut crowd = Crowd::new(&seen);
        self.pods.iter().for_each(|pod| crowd.add(&seen, pod));
        let (findings, facts) = crowd.finish();
        seen.pods = facts;
        let mut scan = judge(&seen, findings);
        let services = seen.answering(&self.cluster.webhook_services());
        let none = Objects::default();
        let above = Seen::new("", &none, &self.cluster, now, late);
        scan.findings.extend(analyze_cluster(&above, &services));
        scan
    }
}

static CASES: LazyLock<Vec<(String, Vec<Value>)>> = LazyLock::new(|| {
    let cases: Vec<Value> = serde_saphyr::from_str(include_str!("golden.yaml"))
        .unwrap_or_else(|error| panic!("{error}"));
    let namespaced = |mut object: Value| {
        let above = [
            "Node",
            "PersistentVolume",
            "StorageClass",
            "IngressClass",
            "GatewayClass",
            "ValidatingWebhookConfiguration",
        ];
        if !above.iter().any(|kind| object["kind"] == *kind) {
            object["metadata"]["namespace"] = "shop".into();
        }
        object
    };
    let case = |case: Value| {
        let objects = case["objects"].as_array().cloned().unwrap_or_default();
        let name = case["case"].as_str().unwrap_or_default().to_owned();
        (name, objects.into_iter().map(namespaced).collect())
    };
    cases.into_iter().map(case).collect()
});

fn shown(finding: &Finding) -> String {
    let cause = finding
        .cause
        .map(|cause| cause.to_string())
        .unwrap_or_default();
    let owner = finding
        .owner
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut text = format!(
        "  {cause} ({:?}, {:?}) of {owner}, at {}, {}\n    {}\n    {}\n",
        finding.severity,
        finding.category,
        finding.target,
        finding.finding_id,
        finding.title,
        finding.description
    );
    for evidence in &finding.evidence {
        text += &format!("    - {evidence}\n");
    }
    for related in &finding.related {
        text += &format!("    from {related}\n");
    }
    for (name, value) in [("metrics", &finding.metrics), ("facts", &finding.raw_data)] {
        if !value.is_empty() {
            // The order of keys is the program's, not JSON's.
            let sorted = serde_json_canonicalizer::to_string(value).unwrap_or_default();
            text += &format!("    {name}: {sorted}\n");
        }
    }
    text
}

#[test]
fn each_analyzer_finds_what_it_is_there_for() {
    let mut text = String::new();
    for (name, objects) in CASES.clone() {
        let scan = Given::of(objects)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .scan();
        text += &format!("{name}\n");
        text += &scan.findings.iter().map(shown).collect::<String>();
        for finding in &scan.ignored {
            text += &format!("  ignored: {}\n", finding.finding_id);
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let (name, objects) = CASES.last().cloned().unwrap_or_default();
    assert_eq!(name, "nothing is wrong");
    let scan = Given::of(objects).map(|given| given.scan());
    assert_eq!(
        scan.map(|scan| (scan.findings, scan.ignored)).ok(),
        Some((vec![], vec![]))
    );
}

/// `cargo test --release -p argus-core --lib pods_a_second -- --ignored --nocapture`: how fast pods are judged once they are parsed.
#[test]
#[ignore = "a measurement"]
fn pods_a_second() {
    let healthy = CASES.last().cloned().unwrap_or_default().1;
    let broken = CASES.first().cloned().unwrap_or_default().1;
    let given = Given::of(healthy).unwrap();
    let template = given.pods[0].clone();
    let faulty = Given::of(broken).unwrap().pods[0].clone();
    let pods: Vec<Pod> = (0..100_000)
        .map(|n| {
            let mut pod = if n % 20 == 0 {
                faulty.clone()
            } else {
                template.clone()
            };
            pod.metadata.name = Some(format!("web-1-{n}"));
            pod
        })
        .collect();
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let seen = Seen::new(
        "shop",
        &given.objects,
        &given.cluster,
        now,
        Duration::from_secs(30),
    );
    let began = std::time::Instant::now();
    let mut crowd = Crowd::new(&seen);
    pods.iter().for_each(|pod| crowd.add(&seen, pod));
    let (findings, _) = crowd.finish();
    let rate = 100_000.0 / began.elapsed().as_secs_f64();
    println!("{rate:.0} pods a second, {} findings", findings.len());
}

/// A value that no API server would send, or hardly.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!([])),
        Just(json!("")),
        Just(json!(i64::from(i32::MAX))),
        Just(json!(i64::from(i32::MIN))),
        Just(json!(-1)),
        Just(json!("9999999999999999999Ei")),
        Just(json!("2026-01-01T11:00:00Z")),
        Just(json!("9999-12-31T23:59:59Z")),
        Just(json!("0000-01-01T00:00:00Z")),
        Just(json!("100%")),
        Just(json!("\u{202e}%s\u{0}{{}}")),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ]
}

#[derive(Debug, Clone)]
enum Change {
    To(Value),
    ToThatOf(prop::sample::Index),
}

fn changed() -> impl Strategy<Value = Change> {
    prop_oneof![
        odd().prop_map(Change::To),
        any::<prop::sample::Index>().prop_map(Change::ToThatOf),
    ]
}

/// Every place in a document, as JSON pointers.
fn places(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            places(value, format!("{at}/{key}"), all);
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| places(value, format!("{at}/{index}"), all)),
        _ => {}
    }
    all.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Objects of every kind with values in any places that are odd, or stand elsewhere: what can be parsed is judged, without a panic and
    /// to its end.
    #[test]
    fn no_object_makes_an_analyzer_stumble(
        case in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), changed()), 0..6),
    ) {
        let (_, mut objects) = CASES[case.index(CASES.len())].clone();
        for (place, change) in changes {
            let mut all = Vec::new();
            places(&Value::Array(objects.clone()), String::new(), &mut all);
            all.retain(|place| place.matches('/').count() > 1 && !place.ends_with("/kind"));
            let mut document = Value::Array(objects);
            let value = match change {
                Change::To(value) => value,
                Change::ToThatOf(other) => document.pointer(&all[other.index(all.len())]).cloned().unwrap_or_default(),
            };
            if let Some(found) = document.pointer_mut(&all[place.index(all.len())]) {
                *found = value;
            }
            objects = document.as_array().cloned().unwrap_or_default();
        }
        if let Ok(given) = Given::of(objects) {
            let scan = given.scan();
            let mut known = std::collections::BTreeMap::new();
            for finding in &scan.findings {
                let other = known.insert(&finding.finding_id, finding);
                prop_assert!(other.is_none(), "one id for two findings:\n{}{}", other.map(shown).unwrap_or_default(), shown(finding));
            }
        }
    }
}
