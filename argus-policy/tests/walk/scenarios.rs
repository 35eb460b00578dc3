//! The scenario suite: every file of `tests/scenarios` is a fault and what has to become of it, in memory, on a real API
//! server and on a real node, with the playbook.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use argus_core::testing::MemoryAudit;
use argus_core::{
    Action, Anonymous, Answer, ApprovalError, Approver, AuditEntry, AuditError, AuditEvent,
    AuditQuery, AuditRecord, AuditSink, Cause, Completion, DryRun, Finding, FixOutcome, Incident,
    IncidentId, LlmError, LlmProvider, Plan, Playbook, Prompt, Recovery, RemediatorError, Scan,
    Scanner, Scope, StepStatus, Watch, parse_command, step_statuses,
};
use async_trait::async_trait;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde::Deserialize;
use serde_json::Value;

use crate::world::{World, Write};
use table::{Place, all};

mod evaluation;
mod table;

/// One file of the suite; see `tests/scenarios/README.md`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    title: String,
    /// Whether it changes what every namespace sees, so that it can't run beside others.
    #[serde(default)]
    alone: bool,
    /// Why it can't be made on a real node.
    #[serde(default)]
    not_on_node: String,
    /// Why only a real node shows it.
    #[serde(default)]
    only_on_node: String,
    /// Whether every test run makes it on a real node, and not only `make scenarios`.
    #[serde(default)]
    often: bool,
    /// For how many seconds nothing may come back on a real node, once it is said to be fixed.
    #[serde(default = "ten")]
    holds: u64,
    /// How many seconds after the fault somebody looks, once; until it is found where it isn't said.
    #[serde(default)]
    looks_after: u64,
    /// Somebody looks once, when a container that was started again twice has run for so many seconds.
    #[serde(default)]
    runs_again_for: u64,
    /// Within how many seconds it has to be found.
    #[serde(default = "ninety")]
    within: u64,
    /// Objects that are there, and work, before anything breaks.
    #[serde(default)]
    given: Vec<Value>,
    /// What breaks, in this order.
    #[serde(default)]
    fault: Vec<Change>,
    /// What the scanner has to find; nothing at all where it isn't said.
    finds: Option<Cause>,
    /// The incident, where the host found it and not the scanner.
    incident: Option<Value>,
    /// The plan that the playbook makes, as commands.
    #[serde(default)]
    plan: Vec<String>,
    ends: Ends,
    /// How many plans it takes until it is fixed: the first one above, and each other with what was learned.
    #[serde(default = "one")]
    tries: usize,
    /// A merge patch that somebody else makes as soon as the plan's change has come to rest.
    puts_back: Option<Value>,
    /// Words that the reason has to have, where it ends with one.
    #[serde(default)]
    says: String,
}

fn ten() -> u64 {
    10
}

fn one() -> usize {
    1
}

fn ninety() -> u64 {
    90
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Create(Value),
    /// A merge patch, with the kind and the name of its object.
    Merge(Value),
    /// Labels that the namespace gets.
    LabelNamespace(Value),
    /// A pod of this app runs and doesn't become ready; its name is `$POD` from then on.
    WedgePodOf(String),
    /// The same of a container that really runs: it is asked for `/hang`, and answers nothing any more.
    HangPodOf(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ends {
    /// Fixed, and proven so.
    Resolved,
    /// Somebody else put the old state back.
    Reverted,
    /// The plan is one for people; nothing was written.
    ByHand,
    /// Policy stopped it; nothing was written.
    Denied,
    /// Its dry run says that it wouldn't work; nothing was written.
    WouldNotWork,
    /// The right plan is no plan.
    NoPlan,
}

/// A trail, beside which somebody else works: a tool that keeps a cluster as its repository says.
struct PutsBack {
    audit: MemoryAudit,
    patch: Option<(Api<DynamicObject>, String, Value)>,
}

#[async_trait]
impl AuditSink for PutsBack {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        let is_settled = entry.event == AuditEvent::StepSettled;
        let record = self.audit.append(entry).await?;
        if let Some((api, name, patch)) = self.patch.as_ref().filter(|_| is_settled) {
            let params = PatchParams::default();
            api.patch(name, &params, &Patch::Merge(patch))
                .await
                .unwrap();
        }
        Ok(record)
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        self.audit.records(query).await
    }
}

fn files() -> BTreeMap<String, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    let named = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    files.map(named).collect()
}

/// With the name of its namespace, and a quarter of what the largest node has.
fn read(text: &str, namespace: &str, quarter: &str) -> Scenario {
    let text = text.replace("$NAMESPACE", namespace);
    serde_saphyr::from_str(&text.replace("$QUARTER", quarter))
        .unwrap_or_else(|error| panic!("no scenario: {error}"))
}

fn is_deployment(object: &Value) -> bool {
    object["kind"] == "Deployment"
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

async fn pod_of(world: &World, app: &str) -> String {
    let pods = world.pods().await.into_iter();
    let mut names = pods.filter_map(|pod| pod.metadata.name);
    let name = names.find(|name| name.starts_with(&format!("{app}-")));
    name.unwrap()
}

/// Breaks what has to break; the pod that was wedged, if one was.
async fn break_it(world: &World, scenario: &Scenario) -> Option<String> {
    for object in &scenario.given {
        world.create_any(object).await;
    }
    for object in scenario.given.iter().filter(|object| is_deployment(object)) {
        world.wait_ready(name(object)).await;
    }
    for object in &scenario.given {
        if object["kind"] == "StatefulSet" {
            let copies = object["spec"]["replicas"].as_u64().unwrap();
            let copies = usize::try_from(copies).unwrap();
            world.pods_ready(name(object), copies).await;
        }
    }
    if !scenario.given.is_empty() {
        // The API keeps times to the second, and what changed after a start has to be later.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let mut wedged = None;
    for change in &scenario.fault {
        match change {
            Change::Create(object) => world.create_any(object).await,
            Change::Merge(patch) => world.merge_any(patch).await,
            Change::LabelNamespace(labels) => world.label_namespace(labels).await,
            Change::WedgePodOf(app) => {
                let pod = pod_of(world, app).await;
                world.wedge(&pod).await;
                wedged = Some(pod);
            }
            Change::HangPodOf(app) => {
                let pod = pod_of(world, app).await;
                world.ask(&pod, "hang").await;
                wedged = Some(pod);
            }
        }
    }
    wedged
}

async fn deployments(world: &World) -> BTreeMap<String, (i32, i32)> {
    let api: Api<Deployment> = Api::namespaced(world.admin(), world.namespace());
    let all = api.list(&ListParams::default()).await.unwrap();
    let state = |deployment: Deployment| {
        let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let status = deployment.status.unwrap_or_default();
        (
            deployment.metadata.name.unwrap(),
            (wanted, status.available_replicas.unwrap_or(0)),
        )
    };
    all.items.into_iter().map(state).collect()
}

/// What a scenario took to be fixed; nothing where nothing was carried out.
#[derive(Default)]
struct Walked {
    tries: usize,
    /// For how many seconds the last plan was watched.
    hold: u64,
}

impl Walked {
    fn of(fixed: &FixOutcome, records: &[AuditRecord]) -> Self {
        let mut held = records.iter().rev().filter_map(|record| {
            let until = record.entry.hold.as_ref()?.until;
            u64::try_from(until.duration_since(record.timestamp).as_secs()).ok()
        });
        Self {
            tries: fixed.outcomes.len(),
            hold: held.next().unwrap_or_default(),
        }
    }
}

/// Confirms whatever it is asked.
struct Operator;

#[async_trait]
impl Approver for Operator {
    async fn decide(&self, _: &DryRun) -> Result<Answer, ApprovalError> {
        Ok(Answer::confirm("operator"))
    }
}

/// The writes that a plan is allowed to make: each of its steps once, after a dry run of it.
fn approved_writes(plan: &Plan) -> Vec<Write> {
    let write = |action: &Action, dry_run: bool| {
        let target = action.target().unwrap();
        let (plural, name) = (target.kind().plural(), target.name());
        let (verb, path) = match action {
            Action::DeletePod { .. } => ("delete", format!("{plural}/{name}")),
            Action::Scale { .. } => ("patch", format!("{plural}/{name}/scale")),
            _ => ("patch", format!("{plural}/{name}")),
        };
        (verb.to_owned(), path, dry_run, 200)
    };
    let steps = || plan.steps().iter().map(|step| step.action());
    let tried = steps().map(|action| write(action, true));
    tried
        .chain(steps().map(|action| write(action, false)))
        .collect()
}

/// What the host is asked about.
async fn incident(world: &World, scenario: &Scenario) -> Result<Incident, String> {
    if let Some(given) = &scenario.incident {
        return Incident::from_json(&given.to_string()).map_err(|error| error.to_string());
    }
    let wanted = |findings: &[Finding]| match scenario.finds {
        Some(cause) => findings.iter().any(|finding| finding.cause == Some(cause)),
        None => findings.is_empty(),
    };
    let patience = match (scenario.looks_after, scenario.runs_again_for) {
        (0, 0) => scenario.within,
        (seconds, 0) => {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            0
        }
        (_, seconds) => {
            world.runs_again_for(seconds).await;
            0
        }
    };
    let patience = Duration::from_secs(patience);
    let findings = world.findings_within(patience, wanted).await;
    let findings = findings.map_err(|last| {
        let titles: Vec<&str> = last.iter().map(|found| found.title.as_str()).collect();
        format!("found only {titles:?}")
    })?;
    Incident::new(IncidentId::new("INC-1").unwrap(), findings, None)
        .map_err(|error| error.to_string())
}

/// Whether a watch that saw it happen says what a fresh look says.
async fn watched(world: &World, watch: &Watch) -> Result<(), String> {
    let ids = |scan: Scan| -> BTreeSet<String> {
        let ids = scan.findings.into_iter().map(|finding| finding.finding_id);
        ids.chain(scan.incomplete).collect()
    };
    let (kube, scope) = (world.kube(), world.scope());
    // With another namespace beside it, so that it looks across all.
    let wide = Scope::namespaces([world.namespace(), "kube-node-lease"]).unwrap();
    let across = world.kube_of_admin().across_namespaces();
    let mut last = None;
    for _ in 0..100 {
        let fresh = kube.scan(&scope).await.map_err(|error| error.to_string())?;
        let watched = watch
            .scan(&scope)
            .await
            .map_err(|error| error.to_string())?;
        let across = across
            .scan(&wide)
            .await
            .map_err(|error| error.to_string())?;
        let (fresh, watched, across) = (ids(fresh), ids(watched), ids(across));
        if fresh == watched && fresh == across {
            return Ok(());
        }
        last = Some((fresh, watched, across));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!(
        "a fresh look, the watch and a look across namespaces don't agree: {last:?}"
    ))
}

/// Hears no name, and answers as the playbook.
struct Deaf<'a>(&'a [String]);

#[async_trait]
impl LlmProvider for Deaf<'_> {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let incident = serde_json::to_string(prompt.incident()).unwrap();
        let heard = [prompt.system(), prompt.user(), &incident].concat();
        match self.0.iter().find(|name| heard.contains(*name)) {
            Some(name) => Err(LlmError::new(format!("it hears `{name}`"))),
            None => Playbook::new().complete(prompt).await,
        }
    }
}

/// A model that doesn't learn how things are called makes the same plan, and no prompt is longer than it may be.
async fn asked_without_names(
    world: &World,
    incident: &Incident,
    plan: &Plan,
) -> Result<(), String> {
    let prompt = Prompt::new(incident, &world.scope());
    let length = prompt.length();
    // A token has three letters or more.
    if length > 24_000 {
        return Err(format!("its prompt has {length} letters"));
    }
    let scope = world.scope();
    let spaces: Vec<String> = scope.iter().map(str::to_owned).collect();
    let answer = Anonymous::new(Deaf(&spaces)).complete(&prompt).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let same = Plan::parse(&answer, incident.incident_id()).map_err(|error| error.to_string())?;
    let commands = |plan: &Plan| {
        let steps = plan.steps().iter();
        steps.map(|step| step.action().clone()).collect::<Vec<_>>()
    };
    match commands(&same) == commands(plan) {
        true => Ok(()),
        false => Err(format!(
            "without names the plan is {:?}, not {:?}",
            commands(&same),
            commands(plan)
        )),
    }
}

/// Whether everything that was there is there, wants copies, and has them; not only by the word of Argus.
async fn as_before(world: &World, before: &BTreeMap<String, (i32, i32)>) -> Result<(), String> {
    let mut broken = Vec::new();
    // The status of a Deployment comes a moment after its pods.
    for _ in 0..50 {
        let after = deployments(world).await;
        broken = before
            .keys()
            .map(|name| (name.clone(), after.get(name).copied()))
            .filter(|(_, state)| state.is_none_or(|(wanted, has)| wanted == 0 || has < wanted))
            .collect();
        if broken.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("not as it was before: {broken:?}"))
}

/// Walks a scenario to its end; what is not as it has to be.
async fn walk(world: &World, scenario: &Scenario) -> Result<Walked, String> {
    let watch = world
        .kube()
        .watch(&world.scope())
        .map_err(|error| error.to_string())?;
    let wedged = break_it(world, scenario).await;
    let incident = incident(world, scenario).await?;
    watched(world, &watch).await?;
    let before = deployments(world).await;
    let puts_back = scenario.puts_back.as_ref().map(|patch| {
        let name = patch["metadata"]["name"].as_str().unwrap().to_owned();
        (world.api_of(patch), name, patch.clone())
    });
    let audit = PutsBack {
        audit: world.audit.clone(),
        patch: puts_back,
    };
    let builder = world.builder(Playbook::new(), world.kube());
    let remediator = builder.audit(audit).build().unwrap();
    let plan = remediator
        .suggest(&incident)
        .await
        .map_err(|error| error.to_string())?;
    asked_without_names(world, &incident, &plan).await?;
    if scenario.ends != Ends::ByHand {
        let pod = wedged.unwrap_or_default();
        let wanted = scenario
            .plan
            .iter()
            .map(|command| command.replace("$POD", &pod));
        let wanted: Vec<Action> = wanted
            .map(|command| parse_command(&command).unwrap())
            .collect();
        // The actions, not the texts: JSON has no order of keys.
        if !plan.steps().iter().map(|step| step.action()).eq(&wanted) {
            let commands: Vec<&str> = plan.steps().iter().map(|step| step.command()).collect();
            return Err(format!("the plan is {commands:?}, not {:?}", scenario.plan));
        }
    }
    let causes = incident
        .findings()
        .iter()
        .filter_map(|finding| finding.cause);
    let mut helps: BTreeSet<&str> = causes.flat_map(Cause::helpful_actions).copied().collect();
    let in_order = |finding: &Finding| finding.raw_data.contains_key("replaced_in_order");
    if incident.findings().iter().any(in_order) {
        helps.insert("delete_pod");
    }
    for step in plan.steps() {
        let action = serde_json::to_value(step.action()).unwrap();
        let kind = action["kind"].as_str().unwrap();
        if kind != "manual" && scenario.incident.is_none() && !helps.contains(kind) {
            return Err(format!("{kind} is not among what helps, {helps:?}"));
        }
    }
    if scenario.ends == Ends::NoPlan {
        nothing_written(world).await?;
        return Ok(Walked::default());
    }
    let words: Vec<&str> = plan.steps().iter().map(|step| step.description()).collect();
    let words = words.join(" ");
    if !matches!(scenario.ends, Ends::Resolved | Ends::Reverted) {
        let dry_run = match remediator.review(plan).await {
            Ok(permitted) => remediator.dry_run(permitted).await,
            Err(error) => Err(error),
        };
        let reason = match (dry_run, scenario.ends) {
            (Err(RemediatorError::Manual { .. }), Ends::ByHand) => words,
            (Err(error), Ends::Denied) if error.is_denied() => error.to_string(),
            (Err(RemediatorError::DryRun { source, .. }), Ends::WouldNotWork) => source.to_string(),
            (Ok(_), _) => return Err("the plan came through to its dry run".into()),
            (Err(error), _) => return Err(format!("{error}")),
        };
        left_alone(world, scenario, &reason).await?;
        return Ok(Walked::default());
    }
    let fixed = remediator.fix(&incident, &Operator).await;
    let fixed = fixed.map_err(|error| error.to_string())?;
    let outcome = fixed.outcomes.last().ok_or(fixed.reason.clone())?;
    let (records, plan_id) = (world.audit.all(), outcome.plan_id.clone());
    let walked = Walked::of(&fixed, &records);
    let rescan = outcome.rescan.as_ref().ok_or("nobody looked again")?;
    if scenario.ends == Ends::Reverted {
        let said = rescan.recovery == Recovery::Reverted;
        return said.then_some(walked).ok_or(format!(
            "{:?}: {}",
            rescan.recovery,
            rescan.summary()
        ));
    }
    if !fixed.resolved || rescan.recovery != Recovery::Resolved {
        let remaining = rescan.remaining.iter().chain(&rescan.new);
        let titles: Vec<&str> = remaining.map(|found| found.title.as_str()).collect();
        return Err(format!(
            "{:?}: {}; {titles:?}; {:?}; {}",
            rescan.recovery,
            rescan.summary(),
            outcome.error,
            fixed.reason
        ));
    }
    if walked.tries != scenario.tries {
        return Err(format!(
            "it took {} tries, not {}",
            walked.tries, scenario.tries
        ));
    }
    if !rescan.summary().ends_with("Remaining: no issues.") {
        return Err(rescan.summary());
    }
    as_before(world, &before).await?;
    let of_plan = records
        .into_iter()
        .filter(|record| record.entry.plan_id == plan_id);
    let statuses = step_statuses(&of_plan.collect::<Vec<_>>());
    if statuses != vec![StepStatus::Settled; outcome.steps.len()] {
        return Err("the trail says otherwise".into());
    }
    if walked.tries > 1 {
        // Each try but the last is put back.
        let real = world
            .writes()
            .await
            .into_iter()
            .filter(|write| !write.2)
            .count();
        let wanted = outcome.steps.len() * (2 * walked.tries - 1);
        return match real == wanted {
            true => Ok(walked),
            false => Err(format!("wrote {real} times, not {wanted}")),
        };
    }
    let plan = remediator
        .plan(&plan_id)
        .await
        .map_err(|error| error.to_string())?;
    let plan = plan.ok_or("the plan is not kept")?;
    let (writes, mut approved) = (world.writes().await, approved_writes(&plan));
    // A copy that was replaced before its turn came needs no delete.
    approved.retain(|write| write.0 != "delete" || write.2 || writes.contains(write));
    match writes == approved {
        true => Ok(walked),
        false => Err(format!("wrote {writes:?}, approved were {approved:?}")),
    }
}

/// Nothing was written, for the reason that the scenario names.
async fn left_alone(world: &World, scenario: &Scenario, reason: &str) -> Result<(), String> {
    if !reason.contains(&scenario.says) {
        return Err(format!("`{reason}` does not say `{}`", scenario.says));
    }
    nothing_written(world).await
}

async fn nothing_written(world: &World) -> Result<(), String> {
    let real: Vec<Write> = world
        .writes()
        .await
        .into_iter()
        .filter(|write| !write.2)
        .collect();
    match real.is_empty() {
        true => Ok(()),
        false => Err(format!("wrote {real:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    all("On the cluster in memory", Place::Memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_api_server() {
    let Some(probe) = World::real().await else {
        return;
    };
    probe.end().await;
    all("On a real API server", Place::ApiServer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_node() {
    let Some(probe) = World::node().await else {
        return;
    };
    probe.end().await;
    all("On a real node", Place::Node).await;
}
