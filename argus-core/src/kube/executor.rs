//! An approved step becomes one conditional write, a rollout that came to rest, or an undo.

use std::time::Duration;

use ::kube::api::ListParams;
use ::kube::runtime::wait::await_condition;
use ::kube::{Api, Error, core::DynamicObject};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::lean::Pod;
use super::seen::{controller, is_ready};
use super::{Kube, TRIES, dry_run::send, dry_run::whole, json, refusal, resource_version, uid};
use crate::action::{Kind, PatchKind, Target};
use crate::approval::ApprovedStep;
use crate::dry_run::{Preview, Write};
use crate::executor::{ApplyError, Executor, SettleError, UndoError, UndoStep, Undone};
use crate::identity::Restored;
use crate::identity::patch::patch;

/// How soon to look again whether what a status says is still so.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[async_trait]
impl Executor for Kube {
    async fn apply(&self, step: ApprovedStep<'_>) -> Result<Value, ApplyError> {
        let (target, preview) = (target(step)?, step.preview());
        let approved = preview.state(&preview.before);
        // How the last try failed, if it may go out again.
        let mut problem = None;
        // The version that a write without a clear answer was for: while it is the object's, the write may still be made.
        let mut pending: Option<String> = None;
        for attempt in 0..=TRIES {
            let is_last = attempt == TRIES;
            if problem.is_some() && !is_last {
                pause(attempt).await;
            }
            let current = self.read(target).await.map_err(|error| match problem {
                None => ApplyError::Refused(words(&error)),
                Some(_) => unknown(error),
            })?;
            // Never blindly again: it may have been done.
            if problem.is_some() && in_force(current.as_ref(), preview) {
                // A pod that takes its time to stop is deleted, as far as the write goes.
                let gone = preview.after.is_null();
                return Ok(current.filter(|_| !gone).unwrap_or_default());
            }
            let version = current.as_ref().map(resource_version);
            pending = pending.filter(|pending| version == Some(pending));
            if is_last {
                break;
            }
            // A StatefulSet replaces a copy itself where that worked for a moment after the change.
            if preview.after.is_null() && in_force(current.as_ref(), preview) {
                return Ok(Value::Null);
            }
            let current = current.ok_or_else(|| ApplyError::Stale(target.to_string()))?;
            if uid(&current) != preview.uid || preview.state(&current) != approved {
                return Err(ApplyError::Stale(target.to_string()));
            }
            if let Err(withdrawn) = step.still_permitted().await {
                return Err(match (pending, problem) {
                    (Some(_), Some(error)) => unknown(error),
                    _ => ApplyError::Withdrawn(withdrawn),
                });
            }
            let version = resource_version(&current);
            let api = self.api(target);
            let sent = send(&api, target, &preview.write, &preview.uid, version, false);
            let error = match sent.await {
                Ok(answer) => return Ok(whole(&preview.write, &current, answer)),
                Err(error) => error,
            };
            match refusal(&error) {
                // The version moved: look again whether it was only the status.
                Some((409 | 422, _)) if self.moved(target, &current).await => {}
                // Too many requests: it was not even looked at.
                Some((429, _)) => problem = Some(error),
                Some((code, _)) if code < 500 && pending.is_some() => return Err(unknown(error)),
                Some((404, _)) => return Err(ApplyError::Stale(target.to_string())),
                Some((code, message)) if code < 500 => return Err(ApplyError::Refused(message)),
                _ => {
                    pending = Some(version.to_owned());
                    problem = Some(error);
                }
            }
        }
        Err(match problem {
            None => ApplyError::Refused(format!("{target} changes all the time")),
            Some(error) if pending.is_none() => ApplyError::Refused(words(&error)),
            Some(error) => unknown(error),
        })
    }

    async fn settle(&self, step: ApprovedStep<'_>) -> Result<(), SettleError> {
        let Some(target) = step.action().target() else {
            return Ok(());
        };
        let waiting = async {
            match target.kind() {
                Kind::Pod => self.replaced(target, step.preview()).await,
                Kind::StatefulSet => {
                    let rolled_out = self.rolled_out(target, step.preview());
                    tokio::select! {
                        ended = rolled_out => ended,
                        waits = self.waits_for_later_steps(target, step) => waits,
                    }
                }
                kind if kind.rolls_out() => self.rolled_out(target, step.preview()).await,
                _ => Ok(()),
            }
        };
        let why = match target.kind() {
            Kind::StatefulSet => {
                "; a copy that does not work keeps it waiting: a later step of the plan can remove it"
            }
            _ => "",
        };
        match timeout(self.settle_within, waiting).await {
            Ok(result) => result,
            Err(_) => Err(SettleError(format!(
                "{target} did not come to rest within {} seconds{why}",
                self.settle_within.as_secs()
            ))),
        }
    }

    async fn is_in_force(&self, step: ApprovedStep<'_>) -> Result<bool, ApplyError> {
        let (target, preview) = (target(step)?, step.preview());
        let current = self.read(target).await.map_err(unknown)?;
        Ok(in_force(current.as_ref(), preview))
    }

    async fn undo(&self, undo: UndoStep<'_>) -> Result<Undone, UndoError> {
        let (step, preview) = (undo.step(), undo.step().preview());
        let Some(target) = step.action().target() else {
            return Ok(Undone::NothingToRestore);
        };
        if preview.after.is_null() {
            return Ok(Undone::NothingToRestore);
        }
        for attempt in 0..TRIES {
            if attempt > 0 {
                pause(attempt).await;
            }
            let current = self
                .read(target)
                .await
                .map_err(|error| UndoError::Unreachable(words(&error)))?;
            let current = current
                .filter(|object| uid(object) == preview.uid)
                .ok_or_else(|| UndoError::Gone(target.to_string()))?;
            let restored = restored(&current, preview);
            if !restored.foreign.is_empty() {
                let fields = restored.foreign.iter().map(ToString::to_string);
                return Err(UndoError::NotOurs {
                    target: target.to_string(),
                    fields: fields.collect::<Vec<_>>().join(", "),
                });
            }
            if restored.object == preview.state(&current) {
                return Ok(Undone::Restored);
            }
            undo.still_permitted().await?;
            match send(
                &self.api(target),
                target,
                &inverse(&current, &restored.object, preview),
                &preview.uid,
                resource_version(&current),
                false,
            )
            .await
            {
                Ok(_) => return Ok(Undone::Restored),
                Err(error) => match refusal(&error) {
                    Some((409 | 422, _)) if self.moved(target, &current).await => {}
                    Some((code, message)) if code < 500 && code != 429 => {
                        return Err(UndoError::Refused(message));
                    }
                    // It may have been written: the next look tells.
                    _ => {}
                },
            }
        }
        Err(UndoError::Unreachable(format!(
            "{target} could not be restored in {TRIES} tries"
        )))
    }
}

impl Kube {
    async fn rolled_out(&self, target: &Target, preview: &Preview) -> Result<(), SettleError> {
        let kind = target.kind();
        // A deadline that was exceeded before the write says nothing about it.
        let old = exceeded(&preview.before);
        let seen = old.clone();
        let object = wait(self.api(target), target.name(), move |object| {
            rollout(kind, object, &seen).is_some()
        })
        .await?;
        match object.and_then(|object| rollout(kind, &object, &old)) {
            Some(true) => Ok(()),
            Some(false) => Err(SettleError(format!(
                "the rollout of {target} failed: it exceeded its progress deadline"
            ))),
            None => Err(SettleError(format!("{target} is gone"))),
        }
    }

    /// Waits until a StatefulSet has seen the change and waits itself, for a copy that doesn't work and that a later step
    /// of the plan deletes. A rollout in order begins with no copy while one before it isn't ready, not even to replace
    /// that one.
    ///
    /// Source: the StatefulSet controller, `podManagementPolicy: OrderedReady`.
    async fn waits_for_later_steps(
        &self,
        target: &Target,
        step: ApprovedStep<'_>,
    ) -> Result<(), SettleError> {
        let mut deleted = step.later().into_iter().filter(|later| {
            let before = &later.preview().before;
            let owner = before.pointer("/metadata/ownerReferences/0/uid");
            later.preview().after.is_null()
                && owner.and_then(Value::as_str) == Some(step.preview().uid.as_str())
        });
        let Some(pod) = deleted.next().and_then(|later| later.action().target()) else {
            return std::future::pending().await;
        };
        let seen = |set: &Value| {
            number(set, "/status/observedGeneration") >= number(set, "/metadata/generation")
        };
        wait(self.api(target), target.name(), seen).await?;
        // One on its way out holds nothing up.
        let broken = |pod: Option<&Pod>| {
            pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_none() && !is_ready(pod))
        };
        self.pod_is(pod, broken).await
    }

    /// Waits until the pod is gone and its owner has what it wants again: a ReplicaSet all its pods, a StatefulSet this one.
    async fn replaced(&self, target: &Target, preview: &Preview) -> Result<(), SettleError> {
        let old = preview.uid.clone();
        wait(self.api(target), target.name(), move |object| {
            uid(object) != old
        })
        .await?;
        let owner = preview.before.pointer("/metadata/ownerReferences/0");
        let field = |name: &str| {
            owner
                .and_then(|owner| owner.get(name))
                .and_then(Value::as_str)
        };
        if field("kind") == Some("StatefulSet") {
            let works = |pod: Option<&Pod>| pod.is_some_and(is_ready);
            return self.pod_is(target, works).await;
        }
        if field("kind") != Some("ReplicaSet") {
            return Ok(());
        }
        let name = field("name").unwrap_or_default();
        let ready = move |object: &Value| {
            number(object, "/status/readyReplicas") >= number(object, "/spec/replicas")
        };
        loop {
            let set = wait(self.replica_sets(target.namespace()), name, ready).await?;
            let Some(set) = set else { return Ok(()) };
            // Its status may be from before the pod was gone, so the pods themselves are counted.
            if self.ready_pods(target, &set).await? >= number(&set, "/spec/replicas") {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Watches a pod until the condition holds.
    async fn pod_is(
        &self,
        target: &Target,
        condition: impl Fn(Option<&Pod>) -> bool,
    ) -> Result<(), SettleError> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), target.namespace());
        match await_condition(pods, target.name(), condition).await {
            Ok(_) => Ok(()),
            Err(_) => Err(SettleError(format!("{target} could not be watched"))),
        }
    }

    /// How many pods of a ReplicaSet are ready and stay.
    async fn ready_pods(&self, target: &Target, set: &Value) -> Result<u64, SettleError> {
        let labels = set
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let labels: Vec<String> = labels
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        let owned = ListParams::default().labels(&labels.join(","));
        let pods = Api::<Pod>::namespaced(self.client.clone(), target.namespace());
        let pods = pods.list(&owned).await;
        let pods = pods.map_err(|_| SettleError("the pods could not be listed".into()))?;
        let is_its = |pod: &&Pod| controller(&pod.metadata).is_some_and(|of| of.uid == uid(set));
        let ready = pods.items.iter().filter(is_its);
        let count = ready.filter(|pod| is_ready(pod)).count();
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

fn number(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// Watches until the object satisfies the condition or is gone.
async fn wait(
    api: Api<DynamicObject>,
    name: &str,
    condition: impl Fn(&Value) -> bool,
) -> Result<Option<Value>, SettleError> {
    let met = |object: Option<&DynamicObject>| object.is_none_or(|object| condition(&json(object)));
    match await_condition(api, name, met).await {
        Ok(object) => Ok(object.map(|object| json(&object))),
        Err(_) => Err(SettleError(format!("{name} could not be watched"))),
    }
}

/// Whether a rollout is complete (`true`), failed (`false`) or still under way.
///
/// Source: `kubectl rollout status`.
fn rollout(kind: Kind, object: &Value, old: &Option<Value>) -> Option<bool> {
    let number = |path| number(object, path);
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return None;
    }
    let wanted = object
        .pointer("/spec/replicas")
        .and_then(Value::as_u64)
        .unwrap_or(1);
    let complete = match kind {
        Kind::Deployment => {
            let exceeded = exceeded(object);
            if exceeded.is_some() && exceeded != *old {
                return Some(false);
            }
            number("/status/updatedReplicas") == wanted
                && number("/status/replicas") == wanted
                && number("/status/availableReplicas") == wanted
        }
        Kind::StatefulSet => {
            number("/status/readyReplicas") == wanted && number("/status/updatedReplicas") == wanted
        }
        _ => {
            let wanted = number("/status/desiredNumberScheduled");
            number("/status/updatedNumberScheduled") == wanted
                && number("/status/numberAvailable") == wanted
        }
    };
    complete.then_some(true)
}

/// When a Deployment's progress deadline was exceeded, if it was.
fn exceeded(object: &Value) -> Option<Value> {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)?;
    let condition = conditions
        .iter()
        .find(|condition| condition.get("reason") == Some(&"ProgressDeadlineExceeded".into()))?;
    condition.get("lastUpdateTime").cloned()
}

/// Whether what the step writes is there.
fn in_force(current: Option<&Value>, preview: &Preview) -> bool {
    match current {
        None => preview.after.is_null(),
        Some(current) if preview.after.is_null() => {
            uid(current) != preview.uid || current.pointer("/metadata/deletionTimestamp").is_some()
        }
        Some(current) => uid(current) == preview.uid && restored(current, preview).is_ours(),
    }
}

/// The object as it is, with the fields that the step changed as they were before.
fn restored(current: &Value, preview: &Preview) -> Restored {
    Restored::new(
        &preview.state(&preview.before),
        &preview.state(&preview.after),
        &preview.state(current),
    )
}

/// The write that makes `wanted` of the object as it is.
fn inverse(current: &Value, wanted: &Value, preview: &Preview) -> Write {
    if let Write::Patch {
        subresource: Some(name),
        ..
    } = &preview.write
    {
        let replicas = wanted.pointer("/spec/replicas").unwrap_or(&Value::Null);
        return Write::Patch {
            subresource: Some(name.clone()),
            patch_type: PatchKind::Merge,
            body: json!({ "spec": { "replicas": replicas } }),
        };
    }
    let mut live = preview.state(current);
    // A state always has annotations, an object needn't.
    let has_annotations = current.pointer("/metadata/annotations").is_some();
    if let Some(metadata) = live.get_mut("metadata").and_then(Value::as_object_mut)
        && !has_annotations
    {
        metadata.remove("annotations");
    }
    Write::Patch {
        subresource: None,
        patch_type: PatchKind::Json,
        body: patch(&live, wanted).into(),
    }
}

/// Waits before the next try: a tenth of a second, then twice as long each time.
async fn pause(attempt: usize) {
    let factor = 1u32 << attempt.saturating_sub(1).min(6);
    tokio::time::sleep(Duration::from_millis(100) * factor).await;
}

fn target(step: ApprovedStep<'_>) -> Result<&Target, ApplyError> {
    step.action()
        .target()
        .ok_or_else(|| ApplyError::Refused("a manual step is never run".into()))
}

fn words(error: &Error) -> String {
    refusal(error).map_or_else(
        || "no connection to the cluster".to_owned(),
        |(_, message)| message,
    )
}

fn unknown(error: Error) -> ApplyError {
    ApplyError::Unknown {
        problem: words(&error),
        source: Some(error.into()),
    }
}
