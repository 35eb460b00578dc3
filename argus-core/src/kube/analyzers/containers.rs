//! Containers become symptoms of their pods: crashes, images, settings and probes.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use super::super::lean::{Container, ContainerStatus, Probe, Terminated};
use super::super::seen::Seen;
use super::pods::Symptom;
use super::{map, meant};
use crate::incident::{Cause, Severity};

/// For how long a container that was out of memory, and runs again, is still reported.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// For how long a container that was started again after an error is not taken for mended.
const TRIAL: Duration = Duration::from_secs(10);
/// The exit codes of a container that was killed, and of one that did as it was told.
const KILLED: i32 = 137;
const TOLD_TO_END: i32 = 143;
/// How many seconds stopping a container may take besides its grace period.
const SLACK: i64 = 5;
/// The least and the most seconds of peace that a container is given at its start.
const LEAST_DELAY: i64 = 60;
const MOST_DELAY: i64 = 900;

/// Whether a container was started again a moment ago after an error, so that nobody knows yet whether it goes on.
fn on_trial(seen: &Seen, status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    let last = status.last_state.as_ref();
    let failed = last.and_then(|last| last.terminated.as_ref());
    let again = status.restart_count > 1 || (status.restart_count == 1 && !status.ready);
    let running = state.and_then(|state| state.running.as_ref());
    again
        && failed.is_some_and(|end| end.exit_code != 0)
        && running.is_some_and(|running| !seen.older_than(running.started_at.as_ref(), TRIAL))
}

pub(super) fn of_container(
    seen: &Seen,
    app: &str,
    container: &Container,
    status: &ContainerStatus,
    grace: i64,
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
        related: Vec::new(),
    };
    // One that ended once may be a job that failed; one that was started again crashes.
    let crashing = reason == "CrashLoopBackOff"
        || (status.restart_count > 0 && now.is_some_and(|end| end.exit_code != 0))
        || on_trial(seen, status);
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
        let largest = seen.cluster.largest_node("memory");
        let largest = largest.map(|memory| memory.as_str().into());
        symptom
            .facts
            .insert("largest_node".into(), largest.unwrap_or_default());
    } else if let Some(symptom) = last
        .filter(|_| crashing)
        .and_then(|end| stopped_by_probe(app, container, end, grace))
    {
        return Some(symptom);
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
    let keys = seen.objects.config_maps.get(config)?;
    let right = meant(key, keys.names.iter().map(String::as_str));
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
pub(super) fn probe_port(
    app: &str,
    container: &Container,
    status: &ContainerStatus,
) -> Option<Symptom> {
    let probe = container
        .readiness_probe
        .as_ref()
        .filter(|_| !status.ready)?;
    wrong_port(app, container, "readinessProbe", probe)
}

/// A container that was stopped from outside because of how its health is asked for.
fn stopped_by_probe(
    app: &str,
    container: &Container,
    end: &Terminated,
    grace: i64,
) -> Option<Symptom> {
    if !matches!(end.exit_code, KILLED | TOLD_TO_END) {
        return None;
    }
    let probes = [
        ("startupProbe", container.startup_probe.as_ref()),
        ("livenessProbe", container.liveness_probe.as_ref()),
    ];
    let mut asked = probes
        .into_iter()
        .filter_map(|(name, probe)| Some((name, probe?)));
    let (name, probe) = asked.next()?;
    wrong_port(app, container, name, probe)
        .or_else(|| too_early(app, container, name, probe, end, grace))
}

/// A probe whose patience ended just when the container did.
fn too_early(
    app: &str,
    container: &Container,
    name: &'static str,
    probe: &Probe,
    end: &Terminated,
    grace: i64,
) -> Option<Symptom> {
    let (started, finished) = (end.started_at.as_ref()?, end.finished_at.as_ref()?);
    let lasted = finished.0.duration_since(started.0).as_secs();
    let delay = i64::from(probe.initial_delay_seconds.unwrap_or(0));
    let times = i64::from(probe.failure_threshold.unwrap_or(3));
    let patience =
        delay.saturating_add(times.saturating_mul(i64::from(probe.period_seconds.unwrap_or(10))));
    if lasted > patience.saturating_add(grace).saturating_add(SLACK) {
        return None;
    }
    let right = patience.saturating_mul(2).clamp(LEAST_DELAY, MOST_DELAY);
    Some(Symptom {
        cause: Cause::LivenessProbe,
        container: container.name.clone(),
        severity: Severity::High,
        title: format!("{app} is stopped before it has started"),
        description: format!(
            "Kubernetes asks the container {} of {app} whether it is alive, and stops it when there is no answer within {patience} seconds of its start. It ran for {lasted} seconds and was stopped.",
            container.name
        ),
        evidence: vec![
            format!("Exit code: {}", end.exit_code),
            format!("The {name} gives it {patience} seconds"),
        ],
        metrics: map(json!({ "lasted_seconds": lasted, "patience_seconds": patience })),
        facts: map(
            json!({ "container": container.name, "probe": name, "wrong": probe.initial_delay_seconds, "right": right }),
        ),
        related: Vec::new(),
    })
}

/// A probe that asks a port which the container doesn't declare.
fn wrong_port(
    app: &str,
    container: &Container,
    name: &'static str,
    probe: &Probe,
) -> Option<Symptom> {
    let http = probe
        .http_get
        .as_ref()
        .map(|check| ("httpGet", &check.port));
    let tcp = probe.tcp_socket.as_ref();
    let (check, port) = http.or_else(|| tcp.map(|check| ("tcpSocket", &check.port)))?;
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
    let (question, therefore) = match name {
        "readinessProbe" => ("ready", "never gets any work"),
        _ => ("alive", "is stopped again and again"),
    };
    Some(Symptom {
        cause: Cause::ProbePort,
        container: container.name.clone(),
        severity: Severity::High,
        title: format!("{app} is asked for its health at the wrong port"),
        description: format!(
            "Kubernetes asks the container {} of {app} at port {asked} whether it is {question}, but the container listens on {listens}, so it {therefore}.",
            container.name
        ),
        evidence: vec![
            format!("{}: port {asked}", words(name)),
            format!("Container port: {listens}"),
        ],
        metrics: Map::new(),
        facts: map(
            json!({ "container": container.name, "probe": name, "check": check, "port": asked, "container_port": listens }),
        ),
        related: Vec::new(),
    })
}

fn words(probe: &str) -> &'static str {
    match probe {
        "readinessProbe" => "Readiness probe",
        "startupProbe" => "Startup probe",
        _ => "Liveness probe",
    }
}
