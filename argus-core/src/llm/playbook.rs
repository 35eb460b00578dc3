//! The embedded provider: findings become a draft by fixed rules, offline and the same every time. It is no model, and
//! says so.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::action::{
    Action, ActionError, Amounts, Image, Kind, Patch, PatchKind, Quantity, Risk, Target,
};
use crate::incident::{Cause, Finding, Incident, ObjectRef};
use crate::names::DnsLabel;
use crate::prompt::{Completion, Draft, DraftStep, LlmError, LlmProvider, MAX_STEPS, Prompt};

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
#[derive(Debug, Clone, Copy, Default)]
pub struct Playbook;

impl Playbook {
    /// The one playbook.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl LlmProvider for Playbook {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let draft = draft(prompt.incident());
        let text = serde_json::to_string(&draft).map_err(|error| LlmError {
            problem: "the plan could not be written".into(),
            retryable: false,
            retry_after: None,
            source: Some(error.into()),
        })?;
        Ok(Completion::new(text, NAME))
    }
}

/// One fix: the sentence for the summary, the step, and how a person would go back.
struct Fix {
    summary: String,
    step: DraftStep,
    rollback: Option<DraftStep>,
}

fn draft(incident: &Incident) -> Draft {
    let mut findings: Vec<&Finding> = incident.findings().iter().collect();
    // The cause before its symptoms: causes are declared in that order.
    findings.sort_by_key(|finding| (cause_of(finding).is_none(), cause_of(finding)));
    let mut fixes: Vec<Fix> = Vec::new();
    let mut fixed: BTreeSet<ObjectRef> = BTreeSet::new();
    for finding in findings {
        // One finding per workload decides; the others are taken for its symptoms.
        let owner = owner_of(finding);
        if fixes.len() == MAX_STEPS || owner.as_ref().is_some_and(|owner| fixed.contains(owner)) {
            continue;
        }
        let fix = owner
            .as_ref()
            .and_then(|owner| fix(incident, finding, owner)?.ok());
        fixed.extend(owner.clone());
        fixes.push(fix.unwrap_or_else(|| by_hand(finding, owner.as_ref())));
    }
    let risk = fixes
        .iter()
        .filter_map(|fix| fix.step.action.as_ref())
        .map(Action::risk)
        .max_by_key(|(risk, _)| *risk);
    let (risk_level, reason) = risk.unwrap_or((Risk::Low, "nothing is changed"));
    Draft {
        summary: if fixes.is_empty() {
            "Nothing needs to be changed: no finding asks for it.".into()
        } else {
            shortened(
                fixes
                    .iter()
                    .map(|fix| fix.summary.as_str())
                    .collect::<Vec<_>>()
                    .join(" "),
                400,
            )
        },
        risk_level,
        risk_reason: format!("At most: {reason}."),
        rollback_steps: fixes
            .iter()
            .filter_map(|fix| fix.rollback.clone())
            .collect(),
        steps: fixes.into_iter().map(|fix| fix.step).collect(),
    }
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
        let (rest, suffix) = pod.rsplit_once('-')?;
        let (name, hash) = rest.rsplit_once('-')?;
        // Kubernetes makes these suffixes of consonants and digits only.
        let made = |text: &str| {
            text.chars()
                .all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c))
        };
        let matches =
            suffix.len() == 5 && made(suffix) && (6..=10).contains(&hash.len()) && made(hash);
        matches.then(|| ObjectRef {
            kind: "Deployment".into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    })
}

/// The fix of a finding; `None` where there is no rule for it.
fn fix(
    incident: &Incident,
    finding: &Finding,
    owner: &ObjectRef,
) -> Option<Result<Fix, ActionError>> {
    let app = &owner.name;
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.to_string() == owner.kind)?;
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
    let container =
        text("container").or_else(|| finding.target.strip_prefix("k8s://")?.split('/').nth(2));
    match cause_of(finding)? {
        Cause::OomKilled => {
            let old = text("memory_limit")
                .map(ToOwned::to_owned)
                .or_else(|| limit_in_diagnosis(incident));
            Some(more_memory(app, target, container?, old.as_deref()?))
        }
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
        Cause::CrashLoop | Cause::StuckRollout => {
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
            text("check")?,
            text("port")?,
            fact("container_port")?.as_u64()?,
        )),
        Cause::ServiceSelector => Some(right_selector(
            app,
            target,
            fact("selector")?.as_object()?,
            fact("right_selector")?.as_object()?,
        )),
        Cause::ServicePort => Some(right_target(
            app,
            target,
            fact("index")?.as_u64()?,
            fact("port")?,
            fact("target_port").filter(|_| fact("has_target") == Some(&Value::Bool(true))),
            fact("container_port")?.as_u64()?,
        )),
        Cause::Suspended => Some(switch_on(app, target)),
        Cause::Pending | Cause::Unavailable | Cause::ContainerConfig => None,
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

fn step(description: String, action: Action) -> DraftStep {
    DraftStep {
        description,
        command: Some(action.command()),
        action: Some(action),
    }
}

fn more_memory(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    container: &str,
    old: &str,
) -> Result<Fix, ActionError> {
    let old = Quantity::new(old)?;
    let mebibytes = (old.milli() * 2).div_ceil(1000 << 20).max(16);
    let new = Quantity::new(format!("{mebibytes}Mi"))?;
    let set = |memory: Quantity| {
        let limits = Amounts {
            memory: Some(memory),
            ..Amounts::default()
        };
        Action::set_resources(
            target()?,
            Some(DnsLabel::new(container)?),
            limits,
            Amounts::default(),
        )
    };
    Ok(Fix {
        summary: format!("Give {app} more memory."),
        step: step(
            format!(
                "Let {app} use more memory so that it is no longer stopped for using too much (currently {old}, will set to {new}). Its copies restart one by one."
            ),
            set(new)?,
        ),
        rollback: Some(step(
            format!("Give {app} its old memory limit back."),
            set(old)?,
        )),
    })
}

fn last_image(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    container: &str,
    image: &str,
    broken: Option<&str>,
) -> Result<Fix, ActionError> {
    let set = |image: &str| {
        Action::set_image(
            target()?,
            BTreeMap::from([(DnsLabel::new(container)?, Image::new(image)?)]),
        )
    };
    Ok(Fix {
        summary: format!("Run {app} with the last version that could be loaded."),
        step: step(
            format!(
                "Start {app} from the last image that worked, {image}, because the new one can't be loaded. Everything else of the update is kept."
            ),
            set(image)?,
        ),
        rollback: broken.and_then(|image| {
            Some(step(
                format!("Ask for the new image of {app} again."),
                set(image).ok()?,
            ))
        }),
    })
}

fn go_back(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    working: &Value,
    which: &str,
) -> Result<Fix, ActionError> {
    let revision = working
        .get("revision")
        .and_then(Value::as_u64)
        .and_then(|revision| u32::try_from(revision).ok());
    Ok(Fix {
        summary: format!("Go back to the last version of {app} that worked."),
        step: step(
            format!(
                "Put back the earlier version of {app}, {which}, because the update broke it. Copies are replaced one by one, so what still works keeps working."
            ),
            Action::rollout_undo(target()?, revision)?,
        ),
        rollback: Some(step(
            format!("Bring the update of {app} back."),
            Action::rollout_undo(target()?, None)?,
        )),
    })
}

fn one_copy(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
) -> Result<Fix, ActionError> {
    Ok(Fix {
        summary: format!("Start {app} again."),
        step: step(
            format!(
                "Create a copy of {app} so that something answers again (currently no copies, will set to 1)."
            ),
            Action::scale(target()?, 1)?,
        ),
        rollback: Some(step(
            format!("Stop {app} again."),
            Action::scale(target()?, 0)?,
        )),
    })
}

fn new_pod(app: &str, owner: &ObjectRef, pod: &str) -> Result<Fix, ActionError> {
    Ok(Fix {
        summary: format!("Replace the stuck copy of {app}."),
        step: step(
            format!(
                "Remove the copy of {app} that is stuck; Kubernetes starts a fresh one in its place."
            ),
            Action::delete_pod(Target::new(Kind::Pod, owner.namespace.clone(), pod)?)?,
        ),
        rollback: None,
    })
}

fn restart(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    config: &str,
) -> Result<Fix, ActionError> {
    Ok(Fix {
        summary: format!("Restart {app} with its new settings."),
        step: step(
            format!(
                "Restart the copies of {app} one by one, so that they read the settings in {config} that were changed after they started."
            ),
            Action::rollout_restart(target()?)?,
        ),
        rollback: None,
    })
}

fn right_port(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    container: &str,
    check: &str,
    port: &str,
    right: u64,
) -> Result<Fix, ActionError> {
    let set = |port: Value| {
        let containers =
            json!([{ "name": container, "readinessProbe": { check: { "port": port } } }]);
        let body = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        Action::patch(target()?, Patch::new(PatchKind::Strategic, body)?)
    };
    let wrong = port
        .parse::<u64>()
        .map_or_else(|_| Value::from(port), Value::from);
    Ok(Fix {
        summary: format!("Ask {app} for its health at the right port."),
        step: step(
            format!(
                "Ask {app} at port {right}, where it listens, whether it is ready (currently asked at {port}), so that it gets work again."
            ),
            set(right.into())?,
        ),
        rollback: Some(step(
            format!("Ask {app} at the old port again."),
            set(wrong)?,
        )),
    })
}

fn right_selector(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    wrong: &Map<String, Value>,
    right: &Map<String, Value>,
) -> Result<Fix, ActionError> {
    // In a merge patch null takes a label away that the other one hasn't.
    let set = |from: &Map<String, Value>, to: &Map<String, Value>| {
        let mut selector: Map<String, Value> =
            from.keys().map(|key| (key.clone(), Value::Null)).collect();
        selector.extend(to.clone());
        let body = json!({ "spec": { "selector": selector } });
        Action::patch(target()?, Patch::new(PatchKind::Merge, body)?)
    };
    Ok(Fix {
        summary: format!("Lead {app} to its app again."),
        step: step(
            format!(
                "Let the service {app} send its requests to the app of the same name again, because nothing has the labels that it looks for now."
            ),
            set(wrong, right)?,
        ),
        rollback: Some(step(
            format!("Let {app} look for the old labels again."),
            set(right, wrong)?,
        )),
    })
}

fn right_target(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    index: u64,
    port: &Value,
    wrong: Option<&Value>,
    right: u64,
) -> Result<Fix, ActionError> {
    let place = format!("/spec/ports/{index}");
    let set = |to: &Value| {
        // Only if the port still stands at this place.
        let body = json!([
            { "op": "test", "path": format!("{place}/port"), "value": port },
            { "op": "replace", "path": format!("{place}/targetPort"), "value": to },
        ]);
        Action::patch(target()?, Patch::new(PatchKind::Json, body)?)
    };
    let rollback = wrong.map(|wrong| {
        Ok::<_, ActionError>(step(
            format!("Let {app} pass requests on to the old port again."),
            set(wrong)?,
        ))
    });
    Ok(Fix {
        summary: format!("Lead {app} to the port where its app listens."),
        step: step(
            format!(
                "Let the service {app} pass requests on to port {right}, where the app listens, so that they are answered again."
            ),
            set(&right.into())?,
        ),
        rollback: rollback.transpose()?,
    })
}

fn switch_on(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
) -> Result<Fix, ActionError> {
    let set = |suspend: bool| {
        let body = json!({ "spec": { "suspend": suspend } });
        Action::patch(target()?, Patch::new(PatchKind::Merge, body)?)
    };
    Ok(Fix {
        summary: format!("Switch {app} on again."),
        step: step(
            format!("Let the scheduled job {app} be started at its times again."),
            set(false)?,
        ),
        rollback: Some(step(format!("Switch {app} off again."), set(true)?)),
    })
}

/// A fault without a rule: a person has to look, and is told where.
fn by_hand(finding: &Finding, owner: Option<&ObjectRef>) -> Fix {
    let what = owner.map_or_else(|| finding.target.clone(), ToString::to_string);
    let command = match owner {
        Some(owner) => format!(
            "kubectl describe {}/{} -n {}",
            owner.kind.to_ascii_lowercase(),
            owner.name,
            owner.namespace
        ),
        None => "kubectl get events".into(),
    };
    let description = format!(
        "Look at {what} yourself: there is no safe standard fix for \"{}\". {}",
        finding.title, finding.description
    );
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
