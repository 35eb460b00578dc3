//! The fixtures are made, the cases run, several at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argus_core::{Kind, PatchKind, Preview};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::cases::{Fixture, Group, Kinds, Op, Try};
use super::oracle;
use super::pipeline::{Outcome, Pipeline, plan};
use super::pod_security::{Level, level};
use super::schema::Document;
use super::stolen::{Stolen, Thief};
use super::table;
use super::world::{World, builtin};

/// How many cases run at once.
const WORKERS: usize = 12;
/// What one patch may have, as Argus says: a larger one would be refused for its size.
const MOST_FIELDS: usize = 64;
const MOST_BYTES: usize = 16 * 1024;
/// A pod with more volumes is there for its volumes.
const MOST_VOLUMES: usize = 9;
/// What the API server says where no other value helps.
const HOPELESS: [&str; 6] = [
    "Forbidden",
    "immutable",
    "more than 1",
    "more than one",
    "Not found",
    "Required value",
];
const KINDS: [PatchKind; 3] = [PatchKind::Json, PatchKind::Strategic, PatchKind::Merge];

/// One case with what became of it.
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) field: String,
    pub(crate) op: Op,
    pub(crate) patch_kind: PatchKind,
    pub(crate) name: String,
    pub(crate) body: Value,
    pub(crate) outcome: Outcome,
    /// Why it never should have passed; empty for what didn't.
    pub(crate) never: Vec<String>,
    /// Whether the API server's own admission and the list of what never passes have another opinion of the level.
    pub(crate) is_level_doubted: bool,
    /// Whether everything that changed is listed; none for what didn't pass by default.
    pub(crate) listed: Option<bool>,
    /// What the API server does with the same patch of a stolen token.
    pub(crate) stolen: Stolen,
}

/// What a sweep found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    /// How many values the API server did not take, where it took another.
    pub(crate) refused: usize,
}

impl Record {
    /// Whether the API server had nothing against it, as far as it was asked.
    fn is_taken(&self) -> bool {
        !matches!(self.outcome, Outcome::Server(_) | Outcome::Nothing)
    }

    /// What a stolen token may and must not.
    pub(crate) fn wrong_of_stolen(&self) -> &[String] {
        match &self.stolen {
            Stolen::Passed(wrong) => wrong,
            Stolen::Server | Stolen::Policy | Stolen::Nothing => &[],
        }
    }

    fn is_hopeless(&self) -> bool {
        matches!(&self.outcome, Outcome::Server(why) if HOPELESS.iter().any(|text| why.contains(text)))
    }
}

fn fixtures() -> Vec<Value> {
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let pods = read(include_str!("fixtures/pods.yaml"));
    let mut objects = Vec::new();
    for workload in read(include_str!("fixtures/workloads.yaml"))
        .as_array()
        .unwrap()
    {
        for (name, pod) in pods.as_object().unwrap() {
            let (mut object, mut pod) = (workload.clone(), with_sidecars(pod));
            object["metadata"]["name"] = json!(name);
            pod["metadata"]["labels"]["app"] = json!("web");
            if object["kind"] == "CronJob" {
                pod["spec"]["restartPolicy"] = json!("Never");
                object["spec"]["jobTemplate"]["spec"]["template"] = pod;
            } else {
                object["spec"]["template"] = pod;
            }
            objects.push(object);
        }
    }
    let others = read(include_str!("fixtures/objects.yaml"));
    objects.extend(others.as_array().unwrap().iter().cloned());
    objects
}

/// The same pod with a volume that containers can be given, and with its containers once more, as ones that start before
/// all others.
fn with_sidecars(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let spec = pod["spec"].as_object_mut().unwrap();
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    let volumes = volumes.as_array_mut().unwrap();
    if !volumes.iter().any(|volume| volume["name"] == "scratch") {
        volumes.push(json!({ "name": "scratch", "emptyDir": {} }));
    }
    if volumes.len() < MOST_VOLUMES
        && !spec.contains_key("initContainers")
        && spec.contains_key("automountServiceAccountToken")
    {
        let mut containers = spec["containers"].clone();
        for container in containers.as_array_mut().unwrap() {
            container["restartPolicy"] = json!("Always");
            container["name"] = json!(format!("i-{}", container["name"].as_str().unwrap()));
            for port in container["ports"].as_array_mut().into_iter().flatten() {
                port["name"] = json!(format!("i-{}", port["name"].as_str().unwrap()));
            }
        }
        spec.insert("initContainers".into(), containers);
    }
    pod
}

async fn create_fixtures(world: &World) {
    for (name, color) in [("settings", "blue"), ("settings-2", "red")] {
        world
            .create_any(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "color": color, "size": "1" } }))
            .await;
    }
    let owner = world
        .api_of(&json!({ "apiVersion": "v1", "kind": "ConfigMap" }))
        .get("settings")
        .await
        .unwrap();
    for mut object in fixtures() {
        if object["metadata"]["ownerReferences"].is_array() {
            // An owner that isn't there takes the object with it.
            object["metadata"]["ownerReferences"][0]["uid"] = json!(owner.metadata.uid);
        }
        world.create_any(&object).await;
    }
}

/// Lets the fixtures go: what has finalizers would keep the namespace.
pub(crate) async fn remove_fixtures(world: &World) {
    for object in fixtures() {
        let api = world.api_of(&object);
        let name = object["metadata"]["name"].as_str().unwrap();
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        api.patch(name, &PatchParams::default(), &free)
            .await
            .unwrap();
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

async fn live(world: &World, kind: Kind) -> Vec<Fixture> {
    let types = GroupVersionKind::gvk(kind.group(), kind.version(), &kind.to_string());
    let resource = ApiResource::from_gvk_with_plural(&types, kind.plural());
    let api: Api<DynamicObject> = Api::namespaced_with(world.admin(), world.namespace(), &resource);
    let list = api.list(&ListParams::default()).await.unwrap();
    let fixture = |object: DynamicObject| {
        let name = object.metadata.name.clone().unwrap();
        let mut object = serde_json::to_value(&object).unwrap();
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("managedFields");
        Fixture { name, object }
    };
    let mut fixtures: Vec<Fixture> = list.items.into_iter().map(fixture).collect();
    // The hardened one first: what it has is tried there; last the one that is allowed everything.
    fixtures.sort_by_key(|fixture| (fixture.name != "hardened", fixture.name == "host"));
    fixtures
}

struct Job {
    thief: Arc<Thief>,
    kind: Kind,
    fixtures: Arc<Vec<Fixture>>,
    groups: Vec<Group>,
}

/// Every case of every kind.
pub(crate) async fn sweep(world: &World) -> Found {
    world
        .label_namespace(&json!({ "pod-security.kubernetes.io/warn": "restricted" }))
        .await;
    create_fixtures(world).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let thief = Arc::new(Thief::new(world).await);
    let start = std::time::Instant::now();
    let mut jobs = Vec::new();
    let mut documents: BTreeMap<&str, Document> = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Pod) {
        let group = kind.group();
        if !documents.contains_key(group) {
            documents.insert(
                group,
                Document::fetch(&world.admin(), group, kind.version()).await,
            );
        }
        let document = &documents[group];
        let root = document.root(group, kind.version(), &kind.to_string());
        let nodes = document.nodes(&root);
        let fixtures = Arc::new(live(world, kind).await);
        let groups = chosen(kind, Kinds::new(document, &nodes, &fixtures).groups());
        jobs.extend(groups.into_iter().map(|groups| Job {
            thief: Arc::clone(&thief),
            kind,
            fixtures: Arc::clone(&fixtures),
            groups,
        }));
    }
    let pipeline = Arc::new(Pipeline::new(
        world.kube_of_admin(),
        &world.scope(),
        &builtin(),
    ));
    let (jobs, next) = (Arc::new(jobs), Arc::new(AtomicUsize::new(0)));
    let workers = (0..WORKERS).map(|_| {
        let (jobs, next, pipeline) = (Arc::clone(&jobs), Arc::clone(&next), Arc::clone(&pipeline));
        let namespace = world.namespace().to_owned();
        tokio::spawn(async move {
            let mut found = Found::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(index) else { break };
                if index.is_multiple_of(250) {
                    println!("{index} of {} after {:?}", jobs.len(), start.elapsed());
                }
                of_job(&pipeline, &namespace, job, &mut found).await;
            }
            found
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut all = Found::default();
    for worker in workers {
        let found = worker.await.unwrap();
        all.records.extend(found.records);
        all.refused += found.refused;
    }
    all
}

/// The pod template of a kind, as paths begin.
const PODS: [&str; 2] = [
    "spec.template.spec.",
    "spec.jobTemplate.spec.template.spec.",
];
/// Parts of it that are many, and much alike.
const ALIKE: [&str; 2] = ["volumes[*].", "initContainers[*]."];

fn in_pods(field: &str) -> Option<&str> {
    PODS.iter().find_map(|pods| field.strip_prefix(pods))
}

/// A number of a group's own, so that what takes turns is the same at each run.
fn turn(kind: Kind, group: &Group) -> usize {
    let bytes = group.field.bytes().map(usize::from).sum::<usize>();
    bytes + group.op as usize + kind as usize
}

/// What is run of a kind, each until something of it is taken. A Deployment's pods stand for all pods: in the other
/// workloads each field of theirs is set, changed or removed, by one kind of patch.
fn chosen(kind: Kind, groups: Vec<Group>) -> Vec<Vec<Group>> {
    let mut chosen: Vec<Vec<Group>> = Vec::new();
    for group in groups {
        let alone = kind == Kind::Deployment || in_pods(&group.field).is_none();
        match chosen.last_mut() {
            Some(of_field) if !alone && of_field[0].field == group.field => of_field.push(group),
            _ => chosen.push(vec![group]),
        }
    }
    for of_field in &mut chosen {
        let first = turn(kind, &of_field[0]) % of_field.len();
        of_field.rotate_left(first);
    }
    chosen
}

/// The kinds of patch that a field is changed by, the one that finds a value first. Fields of pods take turns, unless
/// `ARGUS_SWEEP_WHOLE` is set: then those of a Deployment are changed by each, in three times the time.
fn patch_kinds(kind: Kind, group: &Group) -> Vec<PatchKind> {
    let all = match in_pods(&group.field) {
        None => true,
        Some(field) => {
            let alike = ALIKE.iter().any(|alike| field.starts_with(alike));
            kind == Kind::Deployment && !alike && std::env::var_os("ARGUS_SWEEP_WHOLE").is_some()
        }
    };
    if all {
        return KINDS.to_vec();
    }
    vec![KINDS[turn(kind, group) % KINDS.len()]]
}

async fn of_job(pipeline: &Pipeline, namespace: &str, job: &Job, found: &mut Found) {
    for group in &job.groups {
        if of_group(pipeline, namespace, job, group, found).await {
            break;
        }
    }
}

/// Whether the API server took something.
async fn of_group(
    pipeline: &Pipeline,
    namespace: &str,
    job: &Job,
    group: &Group,
    found: &mut Found,
) -> bool {
    let mut refused = None;
    let mut accepted = false;
    let kinds = patch_kinds(job.kind, group);
    let (first, others) = kinds.split_first().unwrap();
    let values = group.each.iter().map(|tries| (tries, others.is_empty()));
    let values = values.chain(group.one_of.iter().map(|tries| (tries, true)));
    for (tries, until_accepted) in values {
        if until_accepted && accepted {
            break;
        }
        let mut records = of_value(pipeline, namespace, job, group, *first, tries).await;
        let taken = records.pop_if(|last| last.is_taken());
        found.refused += records.len();
        refused = records.pop().or(refused);
        let hopeless = refused.as_ref().is_some_and(Record::is_hopeless);
        if let Some(taken) = taken {
            accepted = true;
            found.records.push(taken);
            for patch_kind in others {
                let mut records =
                    of_value(pipeline, namespace, job, group, *patch_kind, tries).await;
                found.records.extend(records.pop());
            }
        } else if until_accepted && hopeless {
            break;
        }
    }
    if !accepted {
        found.records.extend(refused);
    }
    accepted
}

/// Tries one value, and in an element of its own if the API server doesn't take it beside what is there.
async fn of_value(
    pipeline: &Pipeline,
    namespace: &str,
    job: &Job,
    group: &Group,
    patch_kind: PatchKind,
    tries: &[Try],
) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let written = |tried: &Try| {
        Some((
            tried.fixture,
            tried.depth,
            written(tried, &job.fixtures[tried.fixture].object, patch_kind)?,
        ))
    };
    let mut all: Vec<(usize, usize, Value)> = tries.iter().filter_map(written).collect();
    // What is too large comes last.
    all.sort_by_key(|(_, _, body)| !fits(body));
    let mut left = all.as_slice();
    while let Some(((fixture, depth, body), rest)) = left.split_first() {
        let name = &job.fixtures[*fixture].name;
        let kind = job.kind.to_string();
        let target = json!({ "kind": kind, "namespace": namespace, "name": name });
        let action =
            json!({ "kind": "patch", "target": target, "patch_type": patch_kind, "patch": body });
        let (outcome, preview) = pipeline.judge(plan(json!({ "action": action }))).await;
        let preview = preview.as_ref();
        let never = preview
            .map(|preview| oracle::never(&preview.before, &preview.after))
            .unwrap_or_default();
        let listed = match (&outcome, preview) {
            (Outcome::Allowed(..), Some(preview)) => {
                let changed = table::changed(&preview.before, &preview.after);
                Some(table::is_listed(job.kind, &changed))
            }
            _ => None,
        };
        let object = &job.fixtures[*fixture];
        let stolen = job.thief.patch(job.kind, object, patch_kind, body).await;
        records.push(Record {
            stolen,
            kind: job.kind,
            field: group.field.clone(),
            op: group.op,
            patch_kind,
            name: name.clone(),
            body: body.clone(),
            outcome,
            never,
            is_level_doubted: preview.is_some_and(is_level_doubted),
            listed,
        });
        if records.last().is_some_and(Record::is_taken) {
            break;
        }
        match rest.iter().position(|(_, other, _)| other < depth) {
            Some(index) => left = &rest[index..],
            None => break,
        }
    }
    records
}

/// The namespace warns of pods that aren't restricted.
fn is_level_doubted(preview: &Preview) -> bool {
    let pods = oracle::template(&preview.after);
    let mut warnings = preview.warnings.iter();
    let warned = warnings.any(|warning| warning.contains("would violate PodSecurity"));
    !pods.is_null() && warned != (level(pods) != Level::Restricted)
}

fn written(tried: &Try, object: &Value, patch_kind: PatchKind) -> Option<Value> {
    match patch_kind {
        PatchKind::Json => tried.edit.json(object),
        PatchKind::Merge => tried.edit.merge(object),
        PatchKind::Strategic => tried.edit.strategic(object),
    }
}

fn fits(body: &Value) -> bool {
    fields(body) <= MOST_FIELDS && body.to_string().len() <= MOST_BYTES
}

fn fields(value: &Value) -> usize {
    match value {
        Value::Object(fields_) if !fields_.is_empty() => fields_.values().map(fields).sum(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            1 + items.iter().map(fields).sum::<usize>()
        }
        _ => 1,
    }
}
