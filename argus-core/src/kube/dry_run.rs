//! A permitted step becomes a server-side dry run: the request that apply will send, with `dryRun=All`.

use ::kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, Preconditions, ValidationDirective,
};
use ::kube::core::{DynamicObject, Selector, SelectorExt};
use ::kube::{Api, Error};
use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Map, Value, json};

use super::{FIELD_MANAGER, Kube, TRIES, json, refusal, resource_version, uid};
use crate::action::{Action, Amounts, PatchKind, Target};
use crate::dry_run::{DryRunError, DryRunner, Preview, Write};
use crate::names::DnsLabel;
use crate::pod_security::unmet;
use crate::verdict::{Permitted, PermittedStep};

/// The label by which a namespace refuses pods.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

#[async_trait]
impl DryRunner for Kube {
    async fn missing_permissions(&self, plan: &Permitted) -> Result<Vec<String>, DryRunError> {
        super::preflight::missing(self, plan).await
    }

    async fn dry_run(&self, step: PermittedStep<'_>) -> Result<Preview, DryRunError> {
        let (action, time) = (step.action(), step.generated_at());
        let Some(target) = action.target() else {
            return Err(DryRunError::Impossible(
                "a manual step has no dry run".into(),
            ));
        };
        let (kube, heard) = self.heard();
        let (before, write, after) = kube.attempt(action, target, time).await?;
        let mut preview = Preview {
            uid: uid(&before).to_owned(),
            evidence: None,
            after: whole(&write, &before, after),
            before,
            write,
            warnings: heard.all(),
        };
        if preview.state(&preview.before) == preview.state(&preview.after) {
            let problem = format!(
                "{target} already is as the step wants it, or the fields have other names: the step would change nothing"
            );
            return Err(DryRunError::Impossible(problem));
        }
        preview.evidence = Some(kube.evidence(target, &preview.before, &preview.after).await);
        Ok(preview)
    }
}

impl Kube {
    /// Tries the step on the object as it is, again if only its version moved meanwhile.
    async fn attempt(
        &self,
        action: &Action,
        target: &Target,
        time: Timestamp,
    ) -> Result<(Value, Write, Value), DryRunError> {
        let mut tries = 1;
        loop {
            let before = self.read(target).await.map_err(dry_run_error)?;
            let before = before.ok_or_else(|| DryRunError::NotFound(target.to_string()))?;
            let write = self.write(action, target, &before, time).await?;
            let version = resource_version(&before);
            let api = self.api(target);
            match send(&api, target, &write, uid(&before), version, true).await {
                Ok(after) => return Ok((before, write, after)),
                Err(_) if tries < TRIES && self.moved(target, &before).await => tries += 1,
                Err(error) => return Err(dry_run_error(error)),
            }
        }
    }

    /// The request that does `action` to the object as it is.
    async fn write(
        &self,
        action: &Action,
        target: &Target,
        before: &Value,
        time: Timestamp,
    ) -> Result<Write, DryRunError> {
        let known = |name: &DnsLabel| match list_of(before, name.as_str()) {
            Some(list) => Ok(list),
            None => Err(DryRunError::Impossible(format!(
                "{target} has no container `{name}`, it has {}",
                containers(before)
                    .map(|(_, name)| name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        };
        if let (Action::RolloutRestart { .. } | Action::RolloutUndo { .. }, Some(true)) = (
            action,
            before.pointer("/spec/paused").and_then(Value::as_bool),
        ) {
            return Err(DryRunError::Impossible(format!(
                "rollouts of {target} are paused: `kubectl rollout resume` goes on with them"
            )));
        }
        let patch = |patch_type, body| Write::Patch {
            subresource: None,
            patch_type,
            body,
        };
        let template = |spec: Value| {
            patch(
                PatchKind::Strategic,
                json!({ "spec": { "template": spec } }),
            )
        };
        Ok(match action {
            Action::RolloutRestart { .. } => {
                let time = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                template(
                    json!({ "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": time } } }),
                )
            }
            Action::Scale { replicas, .. } => Write::Patch {
                subresource: Some("scale".into()),
                patch_type: PatchKind::Merge,
                body: json!({ "spec": { "replicas": replicas } }),
            },
            Action::SetResources {
                container,
                limits,
                requests,
                ..
            } => {
                let resources = json!({ "resources": resources(limits, requests) });
                let chosen = match container {
                    Some(name) => vec![(known(name)?, name.as_str())],
                    None => containers(before).collect(),
                };
                template(pod_spec(
                    chosen
                        .into_iter()
                        .map(|(list, name)| (list, name, resources.clone())),
                ))
            }
            Action::SetImage { images, .. } => {
                let mut changes = Vec::new();
                for (name, image) in images {
                    changes.push((known(name)?, name.as_str(), json!({ "image": image })));
                }
                template(pod_spec(changes.into_iter()))
            }
            Action::Patch { patch: change, .. } => patch(change.kind(), change.body().clone()),
            Action::DeletePod { .. } => {
                let owned = before
                    .pointer("/metadata/ownerReferences")
                    .and_then(Value::as_array)
                    .is_some_and(|owners| {
                        owners
                            .iter()
                            .any(|owner| owner.get("controller") == Some(&Value::Bool(true)))
                    });
                if !owned {
                    return Err(DryRunError::Impossible(format!(
                        "nothing would make {target} again: it has no owner"
                    )));
                }
                self.can_come_back(target, before).await?;
                Write::Delete
            }
            Action::RolloutUndo { to_revision, .. } => {
                let set = self.earlier_set(target, before, *to_revision).await?;
                patch(PatchKind::Json, back_to(&set, before))
            }
            Action::Manual { .. } => {
                return Err(DryRunError::Impossible(
                    "a manual step has no dry run".into(),
                ));
            }
        })
    }

    /// Deleting a pod always works; a new one in its place may be refused by its namespace.
    async fn can_come_back(&self, target: &Target, pod: &Value) -> Result<(), DryRunError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = namespaces.get_metadata(target.namespace()).await;
        let labels = namespace.map_err(dry_run_error)?.metadata.labels;
        let level = labels.as_ref().and_then(|labels| labels.get(ENFORCE));
        match level.and_then(|level| Some((level, unmet(level, pod).pop_first()?))) {
            None => Ok(()),
            Some((level, problem)) => Err(DryRunError::Impossible(format!(
                "deleting {target} would lose it: its namespace takes only pods that are `{level}`, and a new one would not be ({problem})"
            ))),
        }
    }

    /// The ReplicaSets that keep a Deployment's revisions, the oldest first: those that it controls and whose pods its selector
    /// takes.
    ///
    /// Source: `kubectl rollout undo`, which lists by the selector and takes those that are controlled.
    pub(super) async fn revisions(
        &self,
        target: &Target,
        deployment: &Value,
    ) -> Result<Vec<(u32, Value)>, DryRunError> {
        let impossible = |problem: &str| DryRunError::Impossible(format!("{target} {problem}"));
        let selector = deployment.pointer("/spec/selector").cloned();
        let selector: LabelSelector = serde_json::from_value(selector.unwrap_or_default())
            .map_err(|_| impossible("has no selector that can be read"))?;
        let selector = Selector::try_from(selector)
            .map_err(|_| impossible("has no selector that can be read"))?;
        let sets = self
            .replica_sets(target.namespace())
            .list(&ListParams::default().labels_from(&selector))
            .await
            .map_err(dry_run_error)?;
        let is_its = |set: &Value| {
            let of = |owner: &Value| {
                owner.get("controller") == Some(&Value::Bool(true))
                    && owner.get("uid").and_then(Value::as_str) == Some(uid(deployment))
            };
            let owners = set.pointer("/metadata/ownerReferences");
            let owners = owners.and_then(Value::as_array);
            let labels = set.pointer("/spec/template/metadata/labels").cloned();
            let labels = serde_json::from_value(labels.unwrap_or_default());
            owners.is_some_and(|owners| owners.iter().any(of))
                && labels.is_ok_and(|labels| selector.matches(&labels))
        };
        let mut revisions: Vec<(u32, Value)> = sets
            .items
            .iter()
            .map(json)
            .filter(is_its)
            .filter_map(|set| Some((set_revision(&set)?, set)))
            .collect();
        revisions.sort_by_key(|(revision, _)| *revision);
        Ok(revisions)
    }

    /// The ReplicaSet that keeps an earlier revision.
    async fn earlier_set(
        &self,
        target: &Target,
        deployment: &Value,
        revision: Option<u32>,
    ) -> Result<Value, DryRunError> {
        let revisions = self.revisions(target, deployment).await?;
        let wanted = revision.or_else(|| {
            // The last one is the one that runs now.
            let mut known = revisions.iter().rev().map(|(revision, _)| *revision);
            let last = known.next()?;
            known.find(|revision| *revision != last)
        });
        let mut found = revisions
            .into_iter()
            .filter(|(revision, _)| Some(*revision) == wanted);
        let (first, other) = (found.next(), found.next());
        if let Some((revision, _)) = other {
            return Err(DryRunError::Impossible(format!(
                "{target} has two ReplicaSets of revision {revision}: nobody can say which was meant"
            )));
        }
        let (_, set) = first.ok_or_else(|| {
            let which = revision.map_or("an earlier revision".to_owned(), |revision| {
                format!("revision {revision}")
            });
            DryRunError::Impossible(format!("{target} has no {which} to go back to"))
        })?;
        Ok(set)
    }
}

/// The patch that goes back to what a ReplicaSet keeps: the pod template, and the annotations of that time but for those
/// that the controllers and `kubectl apply` keep for themselves.
///
/// Source: `DeploymentRollbacker` of kubectl.
fn back_to(set: &Value, deployment: &Value) -> Value {
    const KEPT: [&str; 6] = [
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    ];
    let mut template = set.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove("pod-template-hash");
    }
    let annotations = |object: &Value, kept: bool| {
        let map = object
            .pointer("/metadata/annotations")
            .and_then(Value::as_object);
        let chosen = map.cloned().unwrap_or_default().into_iter();
        chosen
            .filter(|(key, _)| KEPT.contains(&key.as_str()) == kept)
            .collect::<Map<String, Value>>()
    };
    let mut restored = annotations(deployment, true);
    restored.extend(annotations(set, false));
    // `add` also replaces, and works where there are none.
    json!([
        { "op": "replace", "path": "/spec/template", "value": template },
        { "op": "add", "path": "/metadata/annotations", "value": restored },
    ])
}

/// The containers of a workload, each with the list that it stands in.
fn containers(workload: &Value) -> impl Iterator<Item = (&'static str, &str)> {
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(move |list| {
            let items = workload
                .pointer(&format!("/spec/template/spec/{list}"))
                .and_then(Value::as_array);
            let items = items.into_iter().flatten();
            items.filter_map(move |container| Some((list, container.get("name")?.as_str()?)))
        })
}

fn list_of(workload: &Value, name: &str) -> Option<&'static str> {
    let found = containers(workload).find(|(_, known)| *known == name);
    found.map(|(list, _)| list)
}

/// A pod spec that changes fields of containers; each comes with its list and its name.
fn pod_spec<'a>(changes: impl Iterator<Item = (&'static str, &'a str, Value)>) -> Value {
    let mut lists: Map<String, Value> = Map::new();
    for (list, name, mut change) in changes {
        if let Some(fields) = change.as_object_mut() {
            fields.insert("name".into(), name.into());
        }
        let list = lists.entry(list).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(change);
        }
    }
    json!({ "spec": lists })
}

fn set_revision(set: &Value) -> Option<u32> {
    set.pointer("/metadata/annotations")?
        .get("deployment.kubernetes.io/revision")?
        .as_str()?
        .parse()
        .ok()
}

fn resources(limits: &Amounts, requests: &Amounts) -> Value {
    let part = |amounts: &Amounts| -> Map<String, Value> {
        amounts
            .iter()
            .map(|(name, amount)| (name.into(), amount.as_str().into()))
            .collect()
    };
    let mut resources = Map::new();
    for (name, amounts) in [("limits", limits), ("requests", requests)] {
        if !amounts.is_empty() {
            resources.insert(name.into(), part(amounts).into());
        }
    }
    resources.into()
}

/// Sends a write on the condition that the object still has this uid and resource version, which the server checks.
pub(super) async fn send(
    api: &Api<DynamicObject>,
    target: &Target,
    write: &Write,
    uid: &str,
    version: &str,
    dry_run: bool,
) -> Result<Value, Error> {
    match write {
        Write::Delete => {
            let preconditions = Preconditions {
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
            };
            let params = DeleteParams {
                dry_run,
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            api.delete(target.name(), &params).await?;
            Ok(Value::Null)
        }
        Write::Patch {
            subresource,
            patch_type,
            body,
        } => {
            let params = PatchParams {
                dry_run,
                field_manager: Some(FIELD_MANAGER.into()),
                field_validation: Some(ValidationDirective::Strict),
                ..PatchParams::default()
            };
            let patch = conditional(*patch_type, body, uid, version, subresource.is_none())?;
            let object = match subresource {
                Some(name) => {
                    api.patch_subresource(name, target.name(), &params, &patch)
                        .await?
                }
                None => api.patch(target.name(), &params, &patch).await?,
            };
            Ok(json(&object))
        }
    }
}

fn conditional(
    kind: PatchKind,
    body: &Value,
    uid: &str,
    version: &str,
    whole_object: bool,
) -> Result<Patch<Value>, Error> {
    let mut body = body.clone();
    if kind == PatchKind::Json {
        let test = |path: &str, value: &str| json!({ "op": "test", "path": path, "value": value });
        let mut operations = vec![
            test("/metadata/uid", uid),
            test("/metadata/resourceVersion", version),
        ];
        operations.extend(body.as_array_mut().map(std::mem::take).unwrap_or_default());
        return serde_json::from_value(operations.into())
            .map(Patch::Json)
            .map_err(Error::SerdeError);
    }
    if let Some(fields) = body.as_object_mut() {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".into(), version.into());
            // The scale subresource has the object's version, but takes no uid.
            if whole_object {
                metadata.insert("uid".into(), uid.into());
            }
        }
    }
    Ok(if kind == PatchKind::Merge {
        Patch::Merge(body)
    } else {
        Patch::Strategic(body)
    })
}

/// The whole object after a write; a subresource answers with its own kind.
pub(super) fn whole(write: &Write, before: &Value, answer: Value) -> Value {
    match write {
        Write::Patch {
            subresource: Some(_),
            ..
        } => {
            let mut object = before.clone();
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                // A scale leaves zero out.
                spec.insert(
                    "replicas".into(),
                    answer
                        .pointer("/spec/replicas")
                        .cloned()
                        .unwrap_or(0.into()),
                );
            }
            object
        }
        _ => answer,
    }
}

pub(super) fn dry_run_error(error: Error) -> DryRunError {
    match refusal(&error) {
        Some((403, message)) => DryRunError::Forbidden(message),
        Some((code, message)) if code < 500 && code != 429 => DryRunError::Refused(message),
        Some((_, problem)) => DryRunError::Unreachable {
            problem,
            source: None,
        },
        None => DryRunError::Unreachable {
            problem: "no connection, or an answer that is not Kubernetes'".into(),
            source: Some(error.into()),
        },
    }
}
