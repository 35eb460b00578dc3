//! The kubelet of the cluster's node: pods start, crash, run out of memory or fail to load their image, as their image,
//! limits, environment and the `fake-kubelet/` annotations say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::resources::named;
use super::store::{Key, Store, now, suffix};
use crate::action::Quantity;

/// What an image's name says when its pull is to fail.
const BAD_IMAGES: [&str; 5] = ["does-not-exist", "nonexistent", "no-such", ":nope", ":typo"];

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From bound to running, and from running to crashed.
    pub(super) start: Duration,
    /// How long a crashed container waits at first; doubled each time.
    pub(super) backoff: Duration,
}

/// What a kubelet keeps in memory about a pod.
#[derive(Debug)]
struct Running {
    /// When to look again.
    due: Instant,
    stage: Stage,
    restarts: u64,
    backoff: Duration,
    /// When the containers were started that crash.
    started: Value,
    last: Value,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Created,
    Started,
    Waiting,
    Resting,
    Stopping,
}

/// How a container is meant to behave.
enum Fate {
    Runs,
    NotReady,
    Crashes {
        reason: &'static str,
        code: u8,
        /// How long it works before; it does not at all where that isn't said.
        after: Option<Duration>,
    },
    Waits {
        reason: String,
        message: String,
    },
    /// Not begun, because of what the events say.
    Creating,
}

#[derive(Debug)]
pub(super) struct Kubelet {
    pace: Pace,
    pods: HashMap<String, Running>,
}

impl Kubelet {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            pods: HashMap::new(),
        }
    }

    /// When something happens next, by itself.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.pods
            .values()
            .filter(|pod| pod.stage != Stage::Resting)
            .map(|pod| pod.due)
            .min()
    }

    /// Lets the kubelet look once.
    pub(super) fn reconcile(&mut self, store: &mut Store) {
        let time = Instant::now();
        let bound: Vec<(Key, Value)> = store
            .list("pods", None)
            .filter(|(_, pod)| pod.pointer("/spec/nodeName").is_some())
            .map(|(key, pod)| (key.clone(), pod.clone()))
            .collect();
        let uid = |pod: &Value| {
            pod.pointer("/metadata/uid")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let known: Vec<String> = bound.iter().map(|(_, pod)| uid(pod)).collect();
        self.pods.retain(|uid, _| known.contains(uid));
        for (key, pod) in bound {
            let restarts = annotation(&pod, "restarts", "")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let pace = self.pace;
            let running = self.pods.entry(uid(&pod)).or_insert_with(|| Running {
                due: time + pace.start,
                stage: Stage::Created,
                restarts,
                backoff: pace.backoff,
                started: now(),
                last: json!({}),
            });
            if pod.pointer("/metadata/deletionTimestamp").is_some()
                && running.stage != Stage::Stopping
            {
                running.stage = Stage::Stopping;
                running.due = time + pace.start;
            }
            if running.stage != Stage::Resting && running.due <= time {
                running.advance(store, &key, pod, pace, time);
            }
        }
    }
}

impl Running {
    fn advance(&mut self, store: &mut Store, key: &Key, mut pod: Value, pace: Pace, time: Instant) {
        if self.stage == Stage::Stopping {
            // Whoever holds a finalizer keeps the pod until it lets go.
            let finalizers = pod.pointer("/metadata/finalizers");
            if finalizers
                .and_then(Value::as_array)
                .is_none_or(Vec::is_empty)
            {
                store.remove(key);
            }
            return;
        }
        if annotation(&pod, "state", "").as_deref() == Some("Evicted") {
            self.stage = Stage::Resting;
            let message = "The node was low on resource: memory.";
            pod["status"] = json!({ "phase": "Failed", "reason": "Evicted", "message": message });
            event(store, &pod, "Warning", "Evicted", message);
            store.put(key.clone(), pod);
            return;
        }
        let containers = pod
            .pointer("/spec/containers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let taken = taken_storage(store, key, &pod);
        if let Some(message) = &taken {
            event(store, &pod, "Warning", "FailedAttachVolume", message);
        }
        let fates: Vec<Fate> = containers
            .iter()
            .map(|container| match taken {
                Some(_) => Fate::Creating,
                None => fate(store, key, &pod, container, self.restarts),
            })
            .collect();
        let crashes = fates
            .iter()
            .any(|fate| matches!(fate, Fate::Crashes { .. }));
        let waits = fates
            .iter()
            .any(|fate| matches!(fate, Fate::Waits { .. } | Fate::Creating));
        match self.stage {
            Stage::Waiting | Stage::Created if crashes => {
                if self.stage == Stage::Waiting {
                    self.restarts += 1;
                }
                let lasts = fates.iter().filter_map(|fate| match fate {
                    Fate::Crashes { after, .. } => Some(after.unwrap_or(pace.start)),
                    _ => None,
                });
                self.started = now();
                (self.stage, self.due) = (Stage::Started, time + lasts.min().unwrap_or(pace.start));
            }
            Stage::Started if crashes => {
                (self.stage, self.due) = (Stage::Waiting, time + self.backoff);
                self.backoff = (self.backoff * 2).min(Duration::from_secs(60));
            }
            // What waits for an image or a ConfigMap looks again.
            _ if waits => (self.stage, self.due) = (Stage::Created, time + pace.backoff),
            _ => self.stage = Stage::Resting,
        }
        let statuses: Vec<Value> = containers
            .iter()
            .zip(&fates)
            .map(|(container, fate)| self.container_status(store, &pod, container, fate))
            .collect();
        let ready = statuses
            .iter()
            .all(|status| status.get("ready") == Some(&true.into()));
        let pulled = statuses.iter().any(|status| {
            status.pointer("/state/running").is_some()
                || status.pointer("/lastState/terminated").is_some()
        });
        let unready: Vec<&str> = statuses
            .iter()
            .filter(|s| s.get("ready") != Some(&true.into()))
            .filter_map(|s| s.get("name")?.as_str())
            .collect();
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        let before = pod
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            let same = before.iter().find(|c| {
                c.get("type") == Some(&kind.into()) && c.get("status") == Some(&status.into())
            });
            same.cloned().unwrap_or_else(|| {
                let mut condition =
                    json!({ "type": kind, "status": status, "lastTransitionTime": now() });
                if !holds {
                    condition["reason"] = "ContainersNotReady".into();
                    condition["message"] = message.clone().into();
                }
                condition
            })
        };
        let start = pod
            .pointer("/status/startTime")
            .cloned()
            .unwrap_or_else(now);
        pod["status"] = json!({
            "phase": if pulled { "Running" } else { "Pending" }, "startTime": start, "hostIP": "127.0.0.1", "podIP": "10.244.0.2",
            "conditions": [condition("PodScheduled", true), condition("Initialized", true), condition("ContainersReady", ready), condition("Ready", ready)],
            "containerStatuses": statuses,
        });
        store.put(key.clone(), pod);
    }

    fn container_status(
        &mut self,
        store: &mut Store,
        pod: &Value,
        container: &Value,
        fate: &Fate,
    ) -> Value {
        let name = container
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let image = container
            .get("image")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let running = json!({ "running": { "startedAt": now() } });
        let (state, ready) = match fate {
            Fate::Runs => (running, true),
            Fate::NotReady => (running, false),
            Fate::Creating => (
                json!({ "waiting": { "reason": "ContainerCreating" } }),
                false,
            ),
            Fate::Waits { reason, message } => {
                event(store, pod, "Warning", "Failed", message);
                (
                    json!({ "waiting": { "reason": reason, "message": message } }),
                    false,
                )
            }
            Fate::Crashes { after, .. } if self.stage == Stage::Started => {
                (running, after.is_some())
            }
            Fate::Crashes { reason, code, .. } => {
                self.last = json!({ "terminated": { "reason": reason, "exitCode": code, "startedAt": self.started, "finishedAt": now() } });
                let pod_name = pod
                    .pointer("/metadata/name")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let message = format!(
                    "back-off {}ms restarting failed container={name} pod={pod_name}",
                    self.backoff.as_millis()
                );
                event(
                    store,
                    pod,
                    "Warning",
                    "BackOff",
                    &format!("Back-off restarting failed container {name}"),
                );
                (
                    json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } }),
                    false,
                )
            }
        };
        json!({ "name": name, "image": image, "imageID": "", "ready": ready, "started": state.get("running").is_some(),
                "restartCount": self.restarts, "state": state, "lastState": self.last })
    }
}

fn annotation(pod: &Value, name: &str, container: &str) -> Option<String> {
    let annotations = pod.pointer("/metadata/annotations")?;
    let specific = annotations.get(format!("fake-kubelet/{name}.{container}"));
    specific
        .or_else(|| annotations.get(format!("fake-kubelet/{name}")))?
        .as_str()
        .map(ToOwned::to_owned)
}

fn fate(store: &Store, key: &Key, pod: &Value, container: &Value, restarts: u64) -> Fate {
    let name = container
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let state = annotation(pod, "state", name);
    let waits = |reason: &str, message: String| Fate::Waits {
        reason: reason.into(),
        message,
    };
    if state.is_none() && BAD_IMAGES.iter().any(|bad| image.contains(bad)) {
        return waits(
            "ImagePullBackOff",
            format!("Back-off pulling image \"{image}\""),
        );
    }
    if let Some(message) = missing_config(store, key, container) {
        return waits("CreateContainerConfigError", message);
    }
    let after = annotation(pod, "fails-after", name).and_then(|text| text.parse().ok());
    let after = after.map(Duration::from_millis);
    let amount = |text: Option<String>| text.and_then(|text| Quantity::new(text).ok());
    let limit = amount(
        container
            .pointer("/resources/limits/memory")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned),
    );
    if let (Some(needed), Some(limit)) = (amount(annotation(pod, "needs-memory", name)), limit)
        && limit < needed
    {
        return Fate::Crashes {
            reason: "OOMKilled",
            code: 137,
            after,
        };
    }
    let code = annotation(pod, "exit-code", name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    if let Some(needed) = annotation(pod, "needs-env", name) {
        let env = container.get("env").and_then(Value::as_array);
        if !env.is_some_and(|env| {
            env.iter()
                .any(|variable| variable.get("name") == Some(&needed.as_str().into()))
        }) {
            return Fate::Crashes {
                reason: "Error",
                code,
                after,
            };
        }
    }
    let needs_time =
        annotation(pod, "starts-after", name).and_then(|text| text.parse::<u64>().ok());
    if needs_time.is_some_and(|seconds| patience(container).is_some_and(|most| most < seconds)) {
        return Fate::Crashes {
            reason: "Error",
            code: 137,
            after: None,
        };
    }
    match state.as_deref() {
        Some("CrashLoopBackOff" | "Error") => Fate::Crashes {
            reason: "Error",
            code,
            after,
        },
        Some("OOMKilled") => Fate::Crashes {
            reason: "OOMKilled",
            code: 137,
            after,
        },
        Some("OOMKilledOnce") if restarts == 0 => Fate::Crashes {
            reason: "OOMKilled",
            code: 137,
            after,
        },
        Some(reason @ ("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName")) => {
            waits(reason, format!("Back-off pulling image \"{image}\""))
        }
        Some(
            reason @ ("CreateContainerConfigError" | "RunContainerError" | "ContainerCreating"),
        ) => waits(reason, format!("{name} can't be started")),
        Some("NotReady") => Fate::NotReady,
        _ if probe_fails(container) => Fate::NotReady,
        _ => Fate::Runs,
    }
}

/// What keeps a pod's storage from it: a pod on another node has what only one node at a time may have.
fn taken_storage(store: &Store, key: &Key, pod: &Value) -> Option<String> {
    let claims = |pod: &Value| -> Vec<String> {
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        let names = volumes.into_iter().flatten().filter_map(|volume| {
            let name = volume.pointer("/persistentVolumeClaim/claimName")?;
            name.as_str().map(ToOwned::to_owned)
        });
        names.collect()
    };
    let mine = claims(pod);
    let node = pod.pointer("/spec/nodeName");
    let is_single = |name: &String| {
        let claim = store.get(&Key::new("persistentvolumeclaims", &key.namespace, name));
        let modes = claim.and_then(|claim| claim.pointer("/spec/accessModes")?.as_array());
        modes.is_some_and(|modes| modes.iter().all(|mode| mode == "ReadWriteOnce"))
    };
    let runs_elsewhere = |other: &Value| {
        other.pointer("/status/phase") == Some(&"Running".into())
            && other.pointer("/spec/nodeName") != node
    };
    let mut others = store
        .list("pods", Some(&key.namespace))
        .filter(|(other, _)| *other != key);
    let (other, _) = others.find(|(_, other)| {
        runs_elsewhere(other)
            && claims(other)
                .iter()
                .any(|claim| mine.contains(claim) && is_single(claim))
    })?;
    Some(format!(
        "Multi-Attach error for volume: the volume is already used by pod(s) {}",
        other.name
    ))
}

/// How many seconds the liveness probe gives a container to start; none without a probe.
fn patience(container: &Value) -> Option<u64> {
    let probe = container.get("livenessProbe")?;
    let number = |field: &str, usual| probe.get(field).and_then(Value::as_u64).unwrap_or(usual);
    Some(
        number("initialDelaySeconds", 0)
            + number("failureThreshold", 3) * number("periodSeconds", 10),
    )
}

/// Whether the readiness probe asks a port that the container doesn't declare.
fn probe_fails(container: &Value) -> bool {
    let ports = container
        .get("ports")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let asked = ["httpGet", "tcpSocket"]
        .iter()
        .find_map(|check| container.pointer(&format!("/readinessProbe/{check}/port")));
    let listens = |asked: &Value| {
        ports
            .iter()
            .any(|port| port.get("containerPort") == Some(asked) || port.get("name") == Some(asked))
    };
    asked.is_some_and(|asked| !ports.is_empty() && !listens(asked))
}

fn missing_config(store: &Store, key: &Key, container: &Value) -> Option<String> {
    let list = |field: &str| {
        container
            .get(field)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let whole = list("envFrom").into_iter().flat_map(|from| {
        [
            ("configmaps", from.get("configMapRef").cloned()),
            ("secrets", from.get("secretRef").cloned()),
        ]
    });
    let keys = list("env").into_iter().flat_map(|env| {
        let from = env.get("valueFrom").cloned().unwrap_or_default();
        [
            ("configmaps", from.get("configMapKeyRef").cloned()),
            ("secrets", from.get("secretKeyRef").cloned()),
        ]
    });
    whole.chain(keys).find_map(|(plural, reference)| {
        let reference =
            reference.filter(|reference| reference.get("optional") != Some(&true.into()))?;
        let name = reference.get("name")?.as_str()?.to_owned();
        let what = plural.trim_end_matches('s');
        match (
            store.get(&Key::new(plural, &key.namespace, &name)),
            reference.get("key").and_then(Value::as_str),
        ) {
            (None, _) => Some(format!("{what} \"{name}\" not found")),
            (Some(object), Some(wanted))
                if object
                    .get("data")
                    .and_then(|data| data.get(wanted))
                    .is_none() =>
            {
                let kind = if plural == "secrets" {
                    "Secret"
                } else {
                    "ConfigMap"
                };
                Some(format!(
                    "couldn't find key {wanted} in {kind} {}/{name}",
                    key.namespace
                ))
            }
            _ => None,
        }
    })
}

/// Records an event about a pod, once per message.
pub(super) fn event(store: &mut Store, pod: &Value, kind: &str, reason: &str, message: &str) {
    let Some(resource) = named("events") else {
        return;
    };
    let of = |path: &str| pod.pointer(path).cloned().unwrap_or_default();
    let namespace = of("/metadata/namespace")
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let uid = of("/metadata/uid");
    let known = store.list("events", Some(&namespace)).any(|(_, event)| {
        event.pointer("/involvedObject/uid") == Some(&uid)
            && event.get("reason") == Some(&reason.into())
            && event.get("message") == Some(&message.into())
    });
    if known {
        return;
    }
    let unique = store.unique();
    let name = format!(
        "{}.{}",
        of("/metadata/name").as_str().unwrap_or_default(),
        suffix(unique, 16)
    );
    let mut object = json!({
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": { "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": of("/metadata/name"), "uid": uid },
        "type": kind, "reason": reason, "message": message, "count": 1, "firstTimestamp": now(), "lastTimestamp": now(),
        "source": { "component": "kubelet" },
    });
    store.stamp_new(resource, &mut object);
    store.put(Key::new("events", &namespace, &name), object);
}
