//! Pods become findings: one per fault, container and owner, however many pods show it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use super::placement::{NoPlace, no_place};
use super::{Seen, map, meant};
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

/// For how long a container that was out of memory, and runs again, is still reported.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// One fault of one pod.
struct Symptom {
    cause: Cause,
    container: String,
    severity: Severity,
    title: String,
    description: String,
    evidence: Vec<String>,
    metrics: Map<String, Value>,
    facts: Map<String, Value>,
}

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    let mut findings: BTreeMap<String, (Finding, Vec<Value>)> = BTreeMap::new();
    for pod in seen
        .pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
    {
        let owner = seen.owner(pod);
        let name = pod.metadata.name.clone().unwrap_or_default();
        for symptom in symptoms(seen, pod, &owner) {
            let id = Finding::stable_id(symptom.cause, &owner, &symptom.container);
            let (_, pods) = findings
                .entry(id.clone())
                .or_insert_with(|| (finding(seen, id, symptom, &owner, &name), Vec::new()));
            pods.push(name.clone().into());
        }
    }
    let finish = |(mut finding, pods): (Finding, Vec<Value>)| {
        finding.metrics.insert("pods".into(), pods.len().into());
        finding.raw_data.insert("pods".into(), pods.into());
        finding
    };
    findings.into_values().map(finish).collect()
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
        target: format!("k8s://{}/{pod}{container}", owner.namespace),
        infra_type: "kubernetes".into(),
        evidence: symptom.evidence,
        metrics: symptom.metrics,
        timestamp: seen.now,
        raw_data: facts,
        owner: Some(owner.clone()),
        cause: Some(symptom.cause),
    }
}

fn symptoms(seen: &Seen, pod: &Pod, owner: &ObjectRef) -> Vec<Symptom> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let app = &owner.name;
    let phase = status.phase.as_deref().unwrap_or_default();
    let condition = |kind: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind)
    };
    if phase == "Failed" && status.reason.as_deref() == Some("Evicted") {
        return vec![wedged(
            app,
            "was evicted from its node",
            status.message.clone().unwrap_or_default(),
        )];
    }
    if let Some(unscheduled) =
        condition("PodScheduled").filter(|condition| condition.status == "False")
    {
        return vec![pending(app, unscheduled, no_place(seen, pod, unscheduled))];
    }
    if phase == "Unknown" {
        return vec![wedged(
            app,
            "runs on a node that does not answer",
            String::new(),
        )];
    }
    let containers = pod.spec.iter().flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    });
    let statuses: Vec<&ContainerStatus> = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten())
        .collect();
    let mut symptoms: Vec<Symptom> = containers
        .filter_map(|container| {
            let status = statuses
                .iter()
                .find(|status| status.name == container.name)?;
            of_container(seen, app, container, status)
                .or_else(|| probe_port(app, container, status))
        })
        .collect();
    let unready =
        condition("Ready").filter(|condition| condition.status == "False" && phase == "Running");
    if symptoms.is_empty()
        && unready.is_some_and(|condition| {
            seen.older_than(condition.last_transition_time.as_ref(), seen.unready_after)
        })
    {
        symptoms.push(wedged(
            app,
            "runs but does not become ready",
            unready.and_then(|c| c.message.clone()).unwrap_or_default(),
        ));
    }
    if symptoms.is_empty() {
        symptoms.extend(stale_config(seen, app, pod));
    }
    symptoms
}

fn of_container(
    seen: &Seen,
    app: &str,
    container: &Container,
    status: &ContainerStatus,
) -> Option<Symptom> {
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.clone());
    let now = state.and_then(|state| state.terminated.as_ref());
    let last = now.or_else(|| {
        status
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
    });
    let limit = container
        .resources
        .as_ref()
        .and_then(|resources| resources.limits.as_ref()?.get("memory"))
        .map(|limit| limit.0.clone());
    let mut symptom = Symptom {
        cause: Cause::CrashLoop,
        container: container.name.clone(),
        severity: Severity::High,
        title: String::new(),
        description: String::new(),
        evidence: message.into_iter().collect(),
        metrics: map(json!({ "restart_count": status.restart_count })),
        facts: map(json!({ "container": container.name, "image": container.image })),
    };
    // One that ended once may be a job that failed; one that was started again crashes.
    let crashing = reason == "CrashLoopBackOff"
        || (status.restart_count > 0 && now.is_some_and(|end| end.exit_code != 0));
    let out_of_memory = last.filter(|end| end.reason.as_deref() == Some("OOMKilled"));
    let recent =
        out_of_memory.is_some_and(|end| !seen.older_than(end.finished_at.as_ref(), REMEMBERED));
    if out_of_memory.is_some() && (crashing || recent) {
        let allowed = limit.as_ref().map_or_else(
            || "its node has".to_owned(),
            |limit| format!("it may ({limit})"),
        );
        symptom.cause = Cause::OomKilled;
        symptom.severity = if crashing {
            Severity::High
        } else {
            Severity::Medium
        };
        symptom.title = format!("{app} runs out of memory");
        symptom.description = format!(
            "The container {} of {app} was stopped because it used more memory than {allowed}. It restarted {} times.",
            container.name, status.restart_count
        );
        symptom.evidence.push("Last state: OOMKilled".into());
        symptom.facts.insert("memory_limit".into(), limit.into());
    } else if crashing {
        let code = last.map_or(0, |end| end.exit_code);
        symptom.title = format!("{app} crashes again and again");
        symptom.description = format!(
            "The container {} of {app} ends with exit code {code} soon after each start. It restarted {} times.",
            container.name, status.restart_count
        );
        symptom.evidence.push(format!("Exit code: {code}"));
    } else if matches!(
        reason,
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName"
    ) {
        symptom.cause = Cause::ImagePull;
        symptom.title = format!("{app} can't load its image");
        symptom.description = format!(
            "The container {} of {app} can't start because its image `{}` can't be loaded.",
            container.name, status.image
        );
    } else if matches!(
        reason,
        "CreateContainerConfigError" | "RunContainerError" | "CreateContainerError"
    ) {
        symptom.cause = Cause::ContainerConfig;
        if let Some((description, facts)) = missing_key(seen, container, symptom.evidence.first()) {
            symptom.cause = Cause::ConfigKey;
            symptom.title = format!("{app} looks for a setting that is not there");
            symptom.description = description;
            symptom.facts.extend(facts);
            return Some(symptom);
        }
        symptom.title = format!("{app} can't be started as it is configured");
        symptom.description = match missing_secret(symptom.evidence.first()) {
            Some(secret) => format!(
                "The container {} of {app} needs the Secret {secret}, which is not there or lacks a key. Secrets are never read nor written by Argus.",
                container.name
            ),
            None => format!(
                "The container {} of {app} can't be started: {reason}.",
                container.name
            ),
        };
    } else {
        return None;
    }
    if symptom.evidence.is_empty() {
        symptom.evidence.push(format!("State: {reason}"));
    }
    Some(symptom)
}

/// The key of a ConfigMap that a container lacks, and the one that was meant, by the kubelet's own words.
fn missing_key(
    seen: &Seen,
    container: &Container,
    message: Option<&String>,
) -> Option<(String, Map<String, Value>)> {
    let rest = message?.strip_prefix("couldn't find key ")?;
    let (key, place) = rest.split_once(" in ConfigMap ")?;
    let config = place.split('/').nth(1)?;
    let variable = container.env.iter().flatten().find(|variable| {
        let from = variable.value_from.as_ref();
        let from = from.and_then(|from| from.config_map_key_ref.as_ref());
        from.is_some_and(|from| from.name == config && from.key == key)
    })?;
    let mut maps = seen.config_maps.iter();
    let map = maps.find(|map| map.name.as_deref() == Some(config))?;
    // Only the names of keys are seen: what a ConfigMap holds is never read.
    let fields = map.managed_fields.iter().flatten();
    let keys = fields.filter_map(|fields| fields.fields_v1.as_ref()?.0.get("f:data")?.as_object());
    let keys: BTreeSet<&str> = keys
        .flat_map(Map::keys)
        .filter_map(|key| key.strip_prefix("f:"))
        .collect();
    let right = meant(key, keys.into_iter());
    let description = format!(
        "The container {} reads its variable {} from {key} in the settings {config}, which have nothing of that name.",
        container.name, variable.name
    );
    let facts =
        json!({ "variable": variable.name, "config_map": config, "wrong": key, "right": right });
    Some((description, super::map(facts)))
}

/// The Secret that a container lacks, by the kubelet's own words.
fn missing_secret(message: Option<&String>) -> Option<&str> {
    let message = message?;
    let absent = message
        .strip_prefix("secret \"")
        .and_then(|rest| rest.split('"').next());
    absent.or_else(|| {
        let (_, place) = message.split_once(" in Secret ")?;
        place.split('/').nth(1)
    })
}

/// A readiness probe that asks a port which the container doesn't declare.
fn probe_port(app: &str, container: &Container, status: &ContainerStatus) -> Option<Symptom> {
    let probe = container
        .readiness_probe
        .as_ref()
        .filter(|_| !status.ready)?;
    let (check, port) = probed(probe)?;
    let ports = container.ports.as_ref().filter(|ports| !ports.is_empty())?;
    let (asked, declared) = match port {
        IntOrString::Int(number) => (
            number.to_string(),
            ports.iter().any(|port| port.container_port == *number),
        ),
        IntOrString::String(name) => (
            name.clone(),
            ports.iter().any(|port| port.name.as_ref() == Some(name)),
        ),
    };
    if declared {
        return None;
    }
    let listens = ports.first().map(|port| port.container_port)?;
    Some(Symptom {
        cause: Cause::ProbePort,
        container: container.name.clone(),
        severity: Severity::High,
        title: format!("{app} is asked for its health at the wrong port"),
        description: format!(
            "Kubernetes asks the container {} of {app} at port {asked} whether it is ready, but the container listens on {listens}, so it never gets any work.",
            container.name
        ),
        evidence: vec![
            format!("Readiness probe: port {asked}"),
            format!("Container port: {listens}"),
        ],
        metrics: Map::new(),
        facts: map(
            json!({ "container": container.name, "check": check, "port": asked, "container_port": listens }),
        ),
    })
}

fn probed(probe: &Probe) -> Option<(&'static str, &IntOrString)> {
    let http = probe
        .http_get
        .as_ref()
        .map(|check| ("httpGet", &check.port));
    http.or_else(|| {
        probe
            .tcp_socket
            .as_ref()
            .map(|check| ("tcpSocket", &check.port))
    })
}

fn pending(app: &str, condition: &PodCondition, reason: NoPlace) -> Symptom {
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
    }
}

/// A pod that read a ConfigMap into its environment before the ConfigMap changed.
fn stale_config(seen: &Seen, app: &str, pod: &Pod) -> Option<Symptom> {
    let started = pod.status.as_ref()?.start_time.as_ref()?;
    let containers = &pod.spec.as_ref()?.containers;
    let whole = containers
        .iter()
        .flat_map(|c| c.env_from.iter().flatten())
        .filter_map(|from| Some(from.config_map_ref.as_ref()?.name.clone()));
    let keys = containers
        .iter()
        .flat_map(|c| c.env.iter().flatten())
        .filter_map(|env| {
            Some(
                env.value_from
                    .as_ref()?
                    .config_map_key_ref
                    .as_ref()?
                    .name
                    .clone(),
            )
        });
    let read: Vec<String> = whole.chain(keys).collect();
    let changed = seen.config_maps.iter().find(|config| {
        let written = config
            .managed_fields
            .iter()
            .flatten()
            .filter_map(|field| field.time.as_ref())
            .map(|time| time.0)
            .max();
        config.name.as_ref().is_some_and(|name| read.contains(name))
            && written.is_some_and(|written| written > started.0)
    })?;
    let config = changed.name.clone().unwrap_or_default();
    Some(Symptom {
        cause: Cause::StaleConfig,
        container: String::new(),
        severity: Severity::Low,
        title: format!("{app} runs with old settings"),
        description: format!(
            "{app} read its settings from the ConfigMap {config} when it started, and they were changed since."
        ),
        evidence: vec![format!("ConfigMap {config} is newer than the pod")],
        metrics: Map::new(),
        facts: map(json!({ "config_map": config })),
    })
}
