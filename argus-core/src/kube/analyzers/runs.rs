//! How the containers of pods ended, and how soon their probes tell: the evidence of how long a fix has to be watched.

use jiff::SignedDuration;

use super::super::lean::{Container, ContainerStatus, Pod, PodSpec, Probe, Terminated};
use crate::incident::Runs;

/// What a probe takes where it doesn't say: the API server's own values.
const PERIOD: i32 = 10;
const THRESHOLD: i32 = 3;

/// How the containers of a pod ended; none of one that is to go: it is stopped, and hasn't failed.
pub(super) fn runs(pod: &Pod) -> Option<Runs> {
    let status = pod
        .status
        .as_ref()
        .filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    let first = status.init_container_statuses.iter().flatten();
    let containers = first.chain(status.container_statuses.iter().flatten());
    let mut all = Runs::default();
    containers.for_each(|container| all.add(&of_container(container)));
    Some(all)
}

fn of_container(status: &ContainerStatus) -> Runs {
    let waiting = status
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    let backs_off = waiting.filter(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    let states = [status.state.as_ref(), status.last_state.as_ref()];
    let ends = states
        .into_iter()
        .filter_map(|state| state?.terminated.as_deref());
    let mut runs = Runs {
        restarts: u64::try_from(status.restart_count).unwrap_or(0),
        backoff_seconds: backs_off.and_then(|waiting| backoff(waiting.message.as_deref()?)),
        ..Runs::default()
    };
    for end in ends.filter(|end| end.exit_code != 0 || backs_off.is_some()) {
        let lasted = lasted(end);
        runs.last_failed_at = runs
            .last_failed_at
            .max(end.finished_at.as_ref().map(|time| time.0));
        runs.failed_after_seconds = runs.failed_after_seconds.max(lasted);
    }
    runs
}

fn lasted(end: &Terminated) -> Option<u64> {
    let (started, finished) = (end.started_at.as_ref()?, end.finished_at.as_ref()?);
    u64::try_from(finished.0.duration_since(started.0).as_secs()).ok()
}

/// The time in the kubelet's own words: `back-off 1m20s restarting failed container=app pod=...`.
fn backoff(message: &str) -> Option<u64> {
    let (time, _) = message.strip_prefix("back-off ")?.split_once(' ')?;
    let time: SignedDuration = time.parse().ok()?;
    u64::try_from(time.as_secs()).ok()
}

/// How long the slowest probe of a workload takes to find out that it doesn't work.
pub(super) fn probe_seconds(spec: &PodSpec) -> Option<u64> {
    let probes = |container: &Container| {
        let probes = [
            container.startup_probe.as_ref(),
            container.liveness_probe.as_ref(),
            container.readiness_probe.as_ref(),
        ];
        probes.into_iter().flatten().map(patience).max()
    };
    spec.all_containers().filter_map(probes).max()
}

fn patience(probe: &Probe) -> u64 {
    let seconds = |given: Option<i32>, usual| u64::try_from(given.unwrap_or(usual)).unwrap_or(0);
    let asked = seconds(probe.period_seconds, PERIOD) * seconds(probe.failure_threshold, THRESHOLD);
    seconds(probe.initial_delay_seconds, 0) + asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    fn pod(containers: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": {}, "status": { "phase": "Running", "containerStatuses": containers } })).unwrap()
    }

    fn ended(code: i32, from: &str, to: &str) -> Value {
        json!({ "terminated": { "exitCode": code, "startedAt": format!("2026-01-01T{from}Z"), "finishedAt": format!("2026-01-01T{to}Z") } })
    }

    #[test]
    fn the_longest_run_and_the_last_failure_count() {
        let waits = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 1m20s restarting failed container=app pod=web-1_shop" } });
        let crashes = json!({ "name": "app", "restartCount": 4, "state": waits, "lastState": ended(137, "10:00:00", "10:00:08") });
        let slower = json!({ "name": "sidecar", "restartCount": 1, "state": { "running": {} }, "lastState": ended(1, "09:00:00", "09:01:00") });
        let stopped = json!({ "name": "job", "restartCount": 2, "state": { "running": {} }, "lastState": ended(0, "00:00:00", "09:59:00") });
        let seen = runs(&pod(json!([crashes, slower, stopped]))).unwrap();
        let last: Timestamp = "2026-01-01T10:00:08Z".parse().unwrap();
        assert_eq!(
            seen,
            Runs {
                restarts: 7,
                last_failed_at: Some(last),
                failed_after_seconds: Some(60),
                backoff_seconds: Some(80),
                probe_seconds: None,
            }
        );
    }

    #[test]
    fn one_that_ends_well_again_and_again_fails() {
        let waits = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container=app" } });
        let ends = json!([{ "name": "app", "restartCount": 9, "state": waits, "lastState": ended(0, "10:00:00", "10:00:03") }]);
        let seen = runs(&pod(ends)).unwrap();
        assert_eq!(
            (seen.failed_after_seconds, seen.backoff_seconds),
            (Some(3), Some(300))
        );
    }

    #[test]
    fn a_pod_that_is_to_go_has_not_failed() {
        let mut pod = pod(
            json!([{ "name": "app", "restartCount": 1, "state": ended(137, "10:00:00", "10:00:08") }]),
        );
        assert!(runs(&pod).unwrap().last_failed_at.is_some());
        pod.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T10:00:00Z")).unwrap();
        assert_eq!(runs(&pod), None);
    }

    #[test]
    fn the_slowest_probe_counts() {
        let spec = |containers: Value| -> PodSpec {
            serde_json::from_value(json!({ "containers": containers })).unwrap()
        };
        let quick =
            json!({ "name": "a", "readinessProbe": { "periodSeconds": 1, "failureThreshold": 2 } });
        let usual = json!({ "name": "b", "livenessProbe": { "initialDelaySeconds": 15 } });
        assert_eq!(probe_seconds(&spec(json!([quick, usual]))), Some(45));
        assert_eq!(probe_seconds(&spec(json!([quick]))), Some(2));
        assert_eq!(probe_seconds(&spec(json!([{ "name": "c" }]))), None);
    }
}
