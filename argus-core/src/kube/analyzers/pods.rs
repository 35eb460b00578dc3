//! Pods become findings: one per fault, container and owner, however many pods show it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::lean::{Condition, Container, ContainerStatus, Pod};
use super::super::seen::{PodFacts, Seen, is_ready};
use super::containers::{of_container, probe_port};
use super::placement::{NoPlace, no_place};
use super::runs::runs;
use super::{map, target};
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

/// How many pods of one fault are named; all are counted.
const NAMED: usize = 20;
/// How long after its time a pod that is to go may still be there.
const LINGERS: Duration = Duration::from_secs(300);

/// One fault of one pod.
pub(super) struct Symptom {
    pub(super) cause: Cause,
    pub(super) container: String,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) evidence: Vec<String>,
    pub(super) metrics: Map<String, Value>,
    pub(super) facts: Map<String, Value>,
    pub(super) related: Vec<ObjectRef>,
}

/// The pods of a namespace, one after another; none is kept.
pub(in crate::kube) struct Crowd {
    facts: PodFacts,
    findings: BTreeMap<String, (Finding, Vec<Value>, u64)>,
}

impl Crowd {
    pub(in crate::kube) fn new(seen: &Seen) -> Self {
        let mut facts = PodFacts::default();
        for (owner, template) in seen.objects.templates(seen.namespace) {
            facts.shapes.add_template(owner, template);
        }
        for (name, job) in &seen.objects.cron_jobs {
            let job = job.spec.job_template.spec.as_ref();
            let template = job.and_then(|job| job.template.metadata.as_ref());
            if let Some(labels) = template.and_then(|metadata| metadata.labels.as_ref()) {
                facts.shapes.add_labels(seen.named("CronJob", name), labels);
            }
        }
        seen.objects
            .note_ignored(seen.namespace, &mut facts.ignored);
        Self {
            facts,
            findings: BTreeMap::new(),
        }
    }

    pub(in crate::kube) fn add(&mut self, seen: &Seen, pod: &Pod) {
        let owner = seen.owner(&pod.metadata);
        let ready = is_ready(pod);
        self.facts.shapes.add_pod(&owner, pod, ready);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        for symptom in symptoms(seen, pod, &owner, ready) {
            let id = Finding::stable_id(symptom.cause, &owner, &symptom.container);
            self.facts.troubled.insert(owner.clone());
            let (_, pods, count) = self
                .findings
                .entry(id.clone())
                .or_insert_with(|| (finding(seen, id, symptom, &owner, name), Vec::new(), 0));
            *count += 1;
            if pods.len() < NAMED {
                pods.push(name.into());
            }
        }
        if owner.kind == "Pod" {
            self.facts
                .ignored
                .note(owner.clone(), pod.metadata.annotations.as_ref());
        }
        let volumes = pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten());
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        self.facts
            .claims
            .extend(claims.map(|claim| claim.claim_name.clone()));
        if let Some(runs) = runs(pod) {
            self.facts.runs.entry(owner.clone()).or_default().add(&runs);
        }
        if ready {
            *self.facts.ready.entry(owner).or_default() += 1;
        }
    }

    /// What is wrong with the pods, and what the others have to know of them.
    pub(in crate::kube) fn finish(self) -> (Vec<Finding>, PodFacts) {
        let finish = |(mut finding, pods, count): (Finding, Vec<Value>, u64)| {
            finding.metrics.insert("pods".into(), count.into());
            finding.raw_data.insert("pods".into(), pods.into());
            finding
        };
        let findings = self.findings.into_values().map(finish).collect();
        (findings, self.facts)
    }
}

fn finding(
    seen: &Seen,
    finding_id: String,
    symptom: Symptom,
    owner: &ObjectRef,
    pod: &str,
) -> Finding {
    let mut facts = symptom.facts;
    if let Some(working) = seen.working_revision(owner) {
        facts.insert("working_revision".into(), working);
    }
    let mut evidence = symptom.evidence;
    // Only a fault that a change of its workload mends.
    if seen.replaces_in_order(owner) && symptom.cause != Cause::PodWedged {
        facts.insert("replaced_in_order".into(), true.into());
        evidence.push(format!(
            "{} replaces its copies in order, and waits while one does not work: after a change that copy has to be removed.",
            owner.name
        ));
    }
    let container = if symptom.container.is_empty() {
        String::new()
    } else {
        format!("/{}", symptom.container)
    };
    Finding {
        finding_id,
        category: if symptom.cause == Cause::StaleConfig {
            Category::Configuration
        } else {
            Category::PodHealth
        },
        severity: symptom.severity,
        title: symptom.title,
        description: symptom.description,
        target: format!("{}{container}", target(&seen.named("Pod", pod))),
        infra_type: "kubernetes".into(),
        evidence,
        metrics: symptom.metrics,
        timestamp: seen.now,
        raw_data: facts,
        related: symptom.related,
        owner: Some(owner.clone()),
        cause: Some(symptom.cause),
    }
}

fn symptoms(seen: &Seen, pod: &Pod, owner: &ObjectRef, ready: bool) -> Vec<Symptom> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let app = &owner.name;
    let phase = status.phase.as_deref().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return terminating(seen, app, pod).into_iter().collect();
    }
    // A Job says itself what became of its pods.
    let is_of_job = owner.kind == "Job" || owner.kind == "CronJob";
    let condition = |kind: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|condition| condition.type_ == kind)
    };
    if phase == "Failed" && status.reason.as_deref() == Some("Evicted") {
        let message = status.message.clone().unwrap_or_default();
        return vec![wedged(app, "was evicted from its node", message)];
    }
    if matches!(phase, "Failed" | "Succeeded") {
        let failed = phase == "Failed" && owner.kind == "Pod";
        return failed.then(|| ended(app, pod)).into_iter().collect();
    }
    let unscheduled = condition("PodScheduled").filter(|condition| condition.status == "False");
    if let Some(unscheduled) = unscheduled {
        let since = unscheduled.last_transition_time.as_ref();
        // A new node may be on its way.
        if since.is_some() && !seen.older_than(since, seen.unready_after) {
            return Vec::new();
        }
        return vec![pending(app, unscheduled, no_place(seen, pod, unscheduled))];
    }
    if phase == "Unknown" {
        let mut symptom = wedged(app, "runs on a node that does not answer", String::new());
        symptom.related.extend(node(pod));
        return vec![symptom];
    }
    let mut symptoms = of_containers(seen, app, pod);
    let since = |kind| condition(kind).filter(|condition| condition.status == "False");
    let unready = since("Ready").filter(|_| phase == "Running");
    if symptoms.is_empty()
        && let Some(condition) = unready
        && !is_of_job
        && seen.older_than(condition.last_transition_time.as_ref(), seen.unready_after)
    {
        let message = condition.message.clone().unwrap_or_default();
        let mut symptom = wedged(app, "runs but does not become ready", message);
        symptom.related.extend(node(pod));
        symptoms.push(symptom);
    }
    let waiting = since("ContainersReady").filter(|_| phase == "Pending");
    if symptoms.is_empty()
        && let Some(condition) = waiting
        && seen.older_than(condition.last_transition_time.as_ref(), seen.slow_after())
    {
        symptoms.push(never_starts(app, condition));
    }
    if symptoms.is_empty() && (ready || phase == "Running") {
        symptoms.extend(stale_config(seen, app, pod));
    }
    symptoms
}

fn of_containers(seen: &Seen, app: &str, pod: &Pod) -> Vec<Symptom> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else {
        return Vec::new();
    };
    let statuses = status.init_container_statuses.iter().flatten();
    let statuses = statuses.chain(status.container_statuses.iter().flatten());
    let statuses: Vec<&ContainerStatus> = statuses.collect();
    let symptom = |container: &Container| {
        let status = statuses
            .iter()
            .find(|status| status.name == container.name)?;
        let grace = spec.termination_grace_period_seconds.unwrap_or(30);
        of_container(seen, app, container, status, grace)
            .or_else(|| probe_port(app, container, status))
    };
    spec.all_containers().filter_map(symptom).collect()
}

/// The node that a pod is on.
fn node(pod: &Pod) -> Option<ObjectRef> {
    let name = pod.node_name()?.clone();
    Some(ObjectRef {
        kind: "Node".into(),
        namespace: String::new(),
        name,
    })
}

/// A pod that is to go, and stays long after its time.
fn terminating(seen: &Seen, app: &str, pod: &Pod) -> Option<Symptom> {
    if !seen.older_than(pod.metadata.deletion_timestamp.as_ref(), LINGERS) {
        return None;
    }
    let held = pod.metadata.finalizers.as_deref().unwrap_or_default();
    let why = if held.is_empty() {
        "Its node has not confirmed that it ended.".to_owned()
    } else {
        format!(
            "Something has asked to be waited for and never lets go: {}.",
            held.join(", ")
        )
    };
    Some(Symptom {
        cause: Cause::Terminating,
        title: format!("A copy of {app} does not go away"),
        description: format!("A copy of {app} was told to end, and is still there. {why}"),
        related: node(pod).into_iter().collect(),
        ..wedged(app, "", String::new())
    })
}

/// A pod of nobody that ended badly: nothing starts it again.
fn ended(app: &str, pod: &Pod) -> Symptom {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let code = containers.into_iter().flatten().find_map(|container| {
        let end = container.state.as_ref()?.terminated.as_ref()?;
        (end.exit_code != 0).then_some(end.exit_code)
    });
    let how = code.map_or_else(String::new, |code| format!(" with exit code {code}"));
    Symptom {
        cause: Cause::PodFailed,
        title: format!("{app} ended with an error"),
        description: format!(
            "{app} ended{how}, and nothing starts it again because it belongs to no app."
        ),
        ..wedged(
            app,
            "",
            status
                .and_then(|status| status.message.clone())
                .unwrap_or_default(),
        )
    }
}

/// A pod that has a node, and whose containers are not made.
fn never_starts(app: &str, condition: &Condition) -> Symptom {
    Symptom {
        cause: Cause::NotStarting,
        severity: Severity::High,
        title: format!("A copy of {app} does not start"),
        description: format!(
            "A copy of {app} has its place and waits for something before it can start, such as its storage, its settings or the network."
        ),
        ..wedged(app, "", condition.message.clone().unwrap_or_default())
    }
}

fn pending(app: &str, condition: &Condition, reason: NoPlace) -> Symptom {
    Symptom {
        cause: reason.cause,
        container: String::new(),
        severity: Severity::High,
        title: format!("{app} finds no place to run"),
        description: format!(
            "A copy of {app} waits because no node of the cluster can take it. {}",
            reason.why
        ),
        evidence: condition.message.clone().into_iter().collect(),
        metrics: Map::new(),
        facts: reason.facts,
        related: reason.related,
    }
}

fn wedged(app: &str, how: &str, evidence: String) -> Symptom {
    Symptom {
        cause: Cause::PodWedged,
        container: String::new(),
        severity: Severity::Medium,
        title: format!("A copy of {app} is stuck"),
        description: format!("A copy of {app} {how}."),
        evidence: Some(evidence)
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect(),
        metrics: Map::new(),
        facts: Map::new(),
        related: Vec::new(),
    }
}

/// A pod that read a ConfigMap into its environment before the ConfigMap changed.
fn stale_config(seen: &Seen, app: &str, pod: &Pod) -> Option<Symptom> {
    let started = pod.status.as_ref()?.start_time.as_ref()?;
    let containers = &pod.spec.as_ref()?.containers;
    let whole = containers.iter().flat_map(|c| c.env_from.iter().flatten());
    let whole = whole.filter_map(|from| Some(&from.config_map_ref.as_ref()?.name));
    let variables = containers.iter().flat_map(|c| c.env.iter().flatten());
    let keys = variables.filter_map(|variable| variable.value_from.as_ref());
    let keys = keys.filter_map(|from| Some(&from.config_map_key_ref.as_ref()?.name));
    let config = whole.chain(keys).find(|name| {
        let keys = seen.objects.config_maps.get(*name);
        keys.is_some_and(|keys| keys.written.is_some_and(|written| written > started.0))
    })?;
    Some(Symptom {
        cause: Cause::StaleConfig,
        severity: Severity::Low,
        title: format!("{app} runs with old settings"),
        description: format!(
            "{app} read its settings from the ConfigMap {config} when it started, and they were changed since."
        ),
        evidence: vec![format!("ConfigMap {config} is newer than the pod")],
        facts: map(json!({ "config_map": config })),
        ..wedged(app, "", String::new())
    })
}
