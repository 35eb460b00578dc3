//! The embedded provider: findings become a draft by fixed rules, offline and the same every time. It is no model, and
//! says so.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::action::{Action, ActionError, Kind, Quantity, Risk, Target};
use crate::incident::{Cause, Finding, Incident, ObjectRef, owner_of_pod};
use crate::prompt::{
    Completion, Draft, DraftStep, LlmError, LlmProvider, MAX_STEPS, Prompt, Question,
};

mod diagnose;
mod fixes;
mod memory;
mod placement;
use fixes::{
    Fix, cpu_request, go_back, last_image, new_pod, one_copy, one_may_go, removed_copy, restart,
    right_backend, right_key, right_port, right_selector, right_target, right_time, right_workload,
    some_at_a_time, switch_on,
};
use memory::Memory;
use placement::{
    a_single_copy, more_patience, right_claim, right_node, smaller_request, toleration,
};

/// What `model_used` says of its plans.
const NAME: &str = "argus playbook (fixed rules, no model)";

/// Plans by fixed rules: deterministic, offline, for faults with a well-known fix.
///
/// What it doesn't know it leaves to a person, with the reason. Its answer goes through every door like any model's.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use argus_core::{Incident, LlmProvider, Playbook, Prompt, Scope};
/// let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#)?;
/// let completion = Playbook::new().complete(&Prompt::new(&incident, &Scope::namespaces(["shop"])?)).await?;
/// assert!(completion.model().contains("no model"));
/// assert!(completion.text().contains("Nothing needs to be changed"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Playbook {
    most_memory: Option<Quantity>,
}

impl Playbook {
    /// The one playbook.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives no container more memory than this, whatever the nodes have. Without it, a node's memory is the bound.
    ///
    /// # Example
    /// ```
    /// # use argus_core::{Playbook, Quantity};
    /// let frugal = Playbook::new().most_memory(Quantity::new("2Gi")?);
    /// # Ok::<(), argus_core::ActionError>(())
    /// ```
    #[must_use]
    pub fn most_memory(mut self, most: Quantity) -> Self {
        self.most_memory = Some(most);
        self
    }
}

#[async_trait]
impl LlmProvider for Playbook {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let text = match prompt.question() {
            Question::Plan => serde_json::to_string(&self.draft(prompt)),
            Question::Diagnosis => serde_json::to_string(&diagnose::draft(prompt.incident())),
        };
        let text = text.map_err(|error| LlmError {
            source: Some(error.into()),
            ..LlmError::unasked("the answer could not be written")
        })?;
        Ok(Completion::new(text, NAME))
    }
}

impl Playbook {
    fn draft(&self, prompt: &Prompt) -> Draft {
        let mut findings: Vec<&Finding> = prompt.incident().findings().iter().collect();
        // The cause before its symptoms: causes are declared in that order.
        findings.sort_by_key(|finding| (cause_of(finding).is_none(), cause_of(finding)));
        let mut fixes: Vec<(Fix, Vec<DraftStep>)> = Vec::new();
        let mut decided: BTreeMap<ObjectRef, (Option<Cause>, usize)> = BTreeMap::new();
        let mut room = MAX_STEPS;
        for finding in findings {
            // What may come from another finding is taken for its symptom, and so is another cause of the same object.
            if finding
                .related
                .iter()
                .any(|from| decided.contains_key(from))
            {
                continue;
            }
            let (owner, cause) = (owner_of(finding), cause_of(finding));
            let known = owner.as_ref().and_then(|owner| decided.get(owner));
            let rule = || self.rule(prompt, finding, owner.as_ref()?);
            match known {
                Some((known, index)) => {
                    let other = rule().filter(|_| *known == cause);
                    if let (Some((first, _)), Some(other)) = (fixes.get_mut(*index), other) {
                        first.join(other);
                    }
                }
                None if room == 0 => {}
                None => {
                    let fix = rule().unwrap_or_else(|| {
                        let why =
                            format!("There is no safe standard fix for \"{}\".", finding.title);
                        by_hand(finding, owner.as_ref(), &why)
                    });
                    let removed = owner
                        .iter()
                        .flat_map(|owner| broken_copies(finding, owner, &fix.step));
                    let removed: Vec<_> = removed.take(room - 1).collect();
                    room -= 1 + removed.len();
                    decided.extend(owner.map(|owner| (owner, (cause, fixes.len()))));
                    fixes.push((fix, removed));
                }
            }
        }
        let steps = fixes
            .iter()
            .flat_map(|(fix, removed)| [&fix.step].into_iter().chain(removed));
        let steps: Vec<DraftStep> = steps.cloned().collect();
        let risk = steps
            .iter()
            .filter_map(|step| step.action.as_ref())
            .map(Action::risk)
            .max_by_key(|(risk, _)| *risk);
        let (risk_level, reason) = risk.unwrap_or((Risk::Low, "nothing is changed".into()));
        Draft {
            summary: if fixes.is_empty() {
                "Nothing needs to be changed: no finding asks for it.".into()
            } else {
                shortened(
                    fixes
                        .iter()
                        .map(|(fix, _)| fix.summary.as_str())
                        .collect::<Vec<_>>()
                        .join(" "),
                    400,
                )
            },
            risk_level,
            risk_reason: format!("At most: {reason}."),
            rollback_steps: fixes
                .iter()
                .filter_map(|(fix, _)| fix.rollback.clone())
                .collect(),
            steps,
        }
    }

    /// The fix of a finding, unless it was tried and did not help; `None` where there is no rule for it.
    fn rule(&self, prompt: &Prompt, finding: &Finding, owner: &ObjectRef) -> Option<Fix> {
        let fix = match cause_of(finding)? {
            Cause::OomKilled => self.more_memory(prompt, finding, owner)?,
            cause => fix(cause, finding, owner)?.ok()?,
        };
        let failed = prompt.history().iter().filter(|attempt| attempt.failed());
        let mut steps = failed.flat_map(|attempt| &attempt.steps);
        let command = fix.step.command.as_deref().unwrap_or_default();
        if fix.step.action.is_some() && steps.any(|step| step.written && *step.command == *command)
        {
            let why = format!("`{command}` was tried before and did not help.");
            return Some(by_hand(finding, Some(owner), &why));
        }
        Some(fix)
    }

    fn more_memory(&self, prompt: &Prompt, finding: &Finding, owner: &ObjectRef) -> Option<Fix> {
        let fact = |name: &str| finding.raw_data.get(name).and_then(Value::as_str);
        let in_diagnosis = limit_in_diagnosis(prompt.incident());
        let memory = Memory {
            now: fact("memory_limit").or(in_diagnosis.as_deref())?,
            history: prompt.history(),
            most: self.most_memory.as_ref(),
            largest_node: fact("largest_node"),
        };
        let target = Target::new(kind_of(owner)?, owner.namespace.clone(), owner.name.clone());
        let fix = memory.more(&owner.name, &target.ok()?, container_of(finding)?);
        Some(
            fix.ok()?
                .unwrap_or_else(|why| by_hand(finding, Some(owner), &why)),
        )
    }
}

/// The copies that keep a StatefulSet from taking a change up: it replaces them in order, and none while one doesn't work.
fn broken_copies(finding: &Finding, owner: &ObjectRef, step: &DraftStep) -> Vec<DraftStep> {
    let changes_copies = matches!(
        step.action,
        Some(
            Action::SetResources { .. }
                | Action::SetImage { .. }
                | Action::RolloutUndo { .. }
                | Action::Patch { .. }
        )
    );
    let in_order = finding.raw_data.get("replaced_in_order") == Some(&true.into());
    let pods = finding.raw_data.get("pods").and_then(Value::as_array);
    let pods = pods.filter(|_| changes_copies && in_order).into_iter();
    let pods = pods.flatten().filter_map(Value::as_str);
    let steps = pods.filter_map(|pod| removed_copy(&owner.name, &owner.namespace, pod).ok());
    steps.collect()
}

/// The fault: the scanner's word, or what argus-ops writes at the start of its titles.
fn cause_of(finding: &Finding) -> Option<Cause> {
    let title = finding.title.as_str();
    let named = [
        ("OOMKilled", Cause::OomKilled),
        ("CrashLoopBackOff", Cause::CrashLoop),
        ("Image pull failure", Cause::ImagePull),
    ];
    finding.cause.or_else(|| {
        named
            .iter()
            .find(|(start, _)| title.starts_with(start))
            .map(|(_, cause)| *cause)
    })
}

/// The workload to change: the scanner's word, or what the pod's name says, `<deployment>-<hash>-<suffix>`.
fn owner_of(finding: &Finding) -> Option<ObjectRef> {
    finding.owner.clone().or_else(|| {
        let mut parts = finding.target.strip_prefix("k8s://")?.split('/');
        let (namespace, pod) = (parts.next()?, parts.next()?);
        Some(ObjectRef {
            kind: "Deployment".into(),
            namespace: namespace.into(),
            name: owner_of_pod(pod)?.into(),
        })
    })
}

fn kind_of(owner: &ObjectRef) -> Option<Kind> {
    let mut kinds = Kind::ALL.into_iter();
    kinds.find(|kind| kind.to_string() == owner.kind)
}

fn container_of(finding: &Finding) -> Option<&str> {
    let named = finding.raw_data.get("container").and_then(Value::as_str);
    named.or_else(|| finding.target.strip_prefix("k8s://")?.split('/').nth(2))
}

/// The fix of a cause that needs nothing but the finding; `None` where there is none.
fn fix(cause: Cause, finding: &Finding, owner: &ObjectRef) -> Option<Result<Fix, ActionError>> {
    let app = &owner.name;
    let kind = kind_of(owner)?;
    let target = || {
        Ok::<_, ActionError>(Target::new(
            kind,
            owner.namespace.clone(),
            owner.name.clone(),
        )?)
    };
    let fact = |name: &str| finding.raw_data.get(name);
    let text = |name: &str| fact(name).and_then(Value::as_str);
    let working = fact("working_revision").filter(|_| kind == Kind::Deployment);
    let container = container_of(finding);
    match cause {
        Cause::ImagePull => {
            let working = working?;
            let only_images = working.get("only_images_changed") == Some(&Value::Bool(true));
            let image = working
                .get("images")
                .and_then(|images| images.get(container?))
                .and_then(Value::as_str);
            match image {
                // The rest of the update is kept.
                Some(image) if !only_images => {
                    Some(last_image(app, target, container?, image, text("image")))
                }
                _ => Some(go_back(app, target, working, "whose image could be loaded")),
            }
        }
        Cause::ConfigKey => Some(right_key(
            app,
            target,
            container?,
            [text("variable")?, text("config_map")?],
            text("wrong")?,
            text("right")?,
        )),
        Cause::CrashLoop | Cause::StuckRollout | Cause::PodsRefused => {
            Some(go_back(app, target, working?, "which still runs"))
        }
        Cause::ScaledToZero => Some(one_copy(app, target)),
        Cause::PodWedged => {
            let pod = fact("pods")
                .and_then(|pods| pods.get(0))
                .and_then(Value::as_str)?;
            Some(new_pod(app, owner, pod))
        }
        Cause::StaleConfig => Some(restart(app, target, text("config_map")?)),
        Cause::ProbePort => Some(right_port(
            app,
            target,
            container?,
            [text("probe")?, text("check")?],
            text("port")?,
            fact("container_port")?.as_u64()?,
        )),
        Cause::ServiceSelector => Some(right_selector(
            app,
            target,
            fact("selector")?.as_object()?,
            fact("right_selector")?.as_object()?,
            text("reason")?,
        )),
        Cause::ServicePort => Some(right_target(
            app,
            target,
            fact("index")?.as_u64()?,
            fact("port")?,
            fact("target_port").filter(|_| fact("has_target") == Some(&Value::Bool(true))),
            fact("container_port")?.as_u64()?,
        )),
        Cause::IngressBackend => Some(right_backend(
            app,
            target,
            fact("places")?.as_array()?,
            fact("wrong")?,
            fact("right").filter(|right| !right.is_null())?,
        )),
        Cause::ScaleTarget => Some(right_workload(app, target, text("wrong")?, text("right")?)),
        Cause::NodeSelector => Some(right_node(
            app,
            target,
            fact("wrong")?.as_object()?,
            fact("right")?.as_object()?,
        )),
        Cause::RequestTooLarge => match working {
            Some(working) => Some(go_back(app, target, working, "which still runs")),
            None => Some(smaller_request(
                app,
                target,
                container?,
                text("resource")?,
                text("wrong")?,
                text("right")?,
            )),
        },
        Cause::Taint => Some(toleration(
            app,
            target,
            text("taint")?,
            fact("wrong")?,
            fact("right")?,
        )),
        Cause::DisruptionBudget => Some(one_may_go(
            app,
            target,
            fact("min_available")?,
            fact("max_unavailable")?,
        )),
        Cause::ScaleMetric => Some(cpu_request(app, target, container?)),
        Cause::RolloutStrategy => Some(some_at_a_time(app, target, fact("max_unavailable")?)),
        Cause::Schedule => Some(right_time(app, target, text("wrong")?, text("right")?)),
        Cause::Suspended => Some(switch_on(app, target)),
        Cause::LivenessProbe => Some(more_patience(
            app,
            target,
            [container?, text("probe")?],
            fact("wrong")?,
            fact("right")?.as_u64()?,
        )),
        Cause::ClaimMissing => Some(right_claim(
            app,
            target,
            text("volume")?,
            text("wrong")?,
            text("right")?,
        )),
        Cause::SharedVolume => Some(a_single_copy(
            app,
            target,
            u32::try_from(fact("replicas")?.as_u64()?).ok()?,
        )),
        // What belongs to whoever runs the cluster, has more than one cure, or needs more than the finding.
        Cause::OomKilled
        | Cause::NodeNotReady
        | Cause::NodePressure
        | Cause::NodeCordoned
        | Cause::WebhookDead
        | Cause::ClaimLost
        | Cause::ClaimPending
        | Cause::StorageClass
        | Cause::VolumeFailed
        | Cause::QuotaFull
        | Cause::ConfigMapMissing
        | Cause::ContainerConfig
        | Cause::AntiAffinity
        | Cause::Pending
        | Cause::NotStarting
        | Cause::Terminating
        | Cause::PodFailed
        | Cause::JobFailed
        | Cause::ServiceMissing
        | Cause::IngressClass
        | Cause::NoEndpoints
        | Cause::GatewayClass
        | Cause::GatewayInactive
        | Cause::RouteBackend
        | Cause::RouteRefused
        | Cause::ScaleInactive
        | Cause::ScaleLimited
        | Cause::SelectsNothing
        | Cause::Unavailable => None,
    }
}

/// argus-ops' findings don't say the limit, its diagnoses do: "the memory limit of 256Mi is too low".
fn limit_in_diagnosis(incident: &Incident) -> Option<String> {
    let words = incident
        .diagnosis()?
        .root_cause
        .split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| word.ends_with("Mi") || word.ends_with("Gi"))
        .find(|word| Quantity::new(*word).is_ok())
        .map(ToOwned::to_owned)
}

/// A fault without a rule: a person has to look, and is told where.
fn by_hand(finding: &Finding, owner: Option<&ObjectRef>, why: &str) -> Fix {
    let what = owner.map_or_else(|| finding.target.clone(), ToString::to_string);
    let command = match owner {
        Some(owner) if owner.namespace.is_empty() => format!(
            "kubectl describe {}/{}",
            owner.kind.to_ascii_lowercase(),
            owner.name
        ),
        Some(owner) => format!(
            "kubectl describe {}/{} -n {}",
            owner.kind.to_ascii_lowercase(),
            owner.name,
            owner.namespace
        ),
        None => "kubectl get events".into(),
    };
    let description = format!("Look at {what} yourself. {why} {}", finding.description);
    Fix {
        summary: shortened(format!("A person has to look at {what}."), 200),
        step: DraftStep {
            description: shortened(description, 1000),
            command: Some(command),
            action: None,
        },
        rollback: None,
    }
}

fn shortened(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        text
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;
    use serde_json::json;

    /// The commands of the plan for findings about one object.
    fn planned(kind: &str, findings: &[(&str, Value)]) -> Vec<String> {
        let owner = json!({ "kind": kind, "namespace": "shop", "name": "web" });
        let findings = findings.iter().enumerate();
        let findings: Vec<Value> = findings
            .map(|(index, (cause, facts))| {
                json!({
                    "finding_id": format!("F-{index}"), "category": "pod_health", "severity": "high", "infra_type": "kubernetes",
                    "title": cause, "description": "", "target": "k8s://shop/web", "timestamp": "2026-01-01T12:00:00Z",
                    "owner": owner, "cause": cause, "raw_data": facts,
                })
            })
            .collect();
        let incident = json!({
            "incident_id": "INC-1", "created_at": "2026-01-01T12:00:00Z", "findings": findings,
        });
        let incident = Incident::from_json(&incident.to_string()).unwrap();
        let prompt = Prompt::new(&incident, &Scope::namespaces(["shop"]).unwrap());
        let commands = Playbook::new().draft(&prompt).steps.into_iter();
        commands.filter_map(|step| step.command).collect()
    }

    fn image(container: &str, only_images: bool) -> (&'static str, Value) {
        let images = json!({ "app": "r/web:1", "side": "r/side:1" });
        let working =
            json!({ "revision": 1, "images": images, "only_images_changed": only_images });
        (
            "image_pull",
            json!({ "container": container, "image": "r/none:1", "working_revision": working }),
        )
    }

    #[test]
    fn faults_of_one_cause_in_one_object_are_mended_in_one_step() {
        assert_eq!(
            planned("Deployment", &[image("app", false), image("side", false)]),
            ["kubectl set image deployment/web -n shop app=r/web:1 side=r/side:1"]
        );
        let lost = |place: &str, wrong: Value, right: Value| {
            let facts = json!({ "places": [place], "wrong": wrong, "right": right });
            ("ingress_backend", facts)
        };
        let findings = [
            lost("/spec/a", json!("wep"), json!("web")),
            lost("/spec/b", json!(81), json!(80)),
        ];
        assert_eq!(
            planned("Ingress", &findings),
            [concat!(
                "kubectl patch ingress/web -n shop --type=json -p '[",
                r#"{"op":"test","path":"/spec/a","value":"wep"},{"op":"replace","path":"/spec/a","value":"web"},"#,
                r#"{"op":"test","path":"/spec/b","value":81},{"op":"replace","path":"/spec/b","value":80}]'"#
            )]
        );
    }

    #[test]
    fn what_one_step_cannot_mend_twice_is_done_once() {
        let [undo]: [String; 1] = planned("Deployment", &[image("app", true), image("side", true)])
            .try_into()
            .unwrap();
        assert!(undo.starts_with("kubectl rollout undo"), "{undo}");
        // Another cause of the same object is a symptom of the first.
        let switched_off = ("scaled_to_zero", json!({}));
        assert_eq!(
            planned("Deployment", &[image("app", false), switched_off]).len(),
            1
        );
    }
}
