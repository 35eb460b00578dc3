//! A fault that is understood becomes the one step that mends it, in plain English, with the way back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::shortened;
use crate::action::{
    Action, ActionError, Amounts, Image, Kind, Patch, PatchKind, Quantity, Target,
};
use crate::incident::ObjectRef;
use crate::names::DnsLabel;
use crate::prompt::DraftStep;

/// One fix: the sentence for the summary, the step, and how a person would go back.
pub(super) struct Fix {
    pub(super) summary: String,
    pub(super) step: DraftStep,
    pub(super) rollback: Option<DraftStep>,
}

impl Fix {
    /// This fix with another one of the same object, where one action can be both: a plan has one step for each object.
    pub(super) fn join(&mut self, other: Self) {
        let Some(step) = both(&self.step, &other.step) else {
            return;
        };
        let rollbacks = self.rollback.as_ref().zip(other.rollback.as_ref());
        self.rollback = rollbacks.and_then(|(one, other)| both(one, other));
        self.step = step;
        if self.summary != other.summary {
            self.summary = format!("{} {}", self.summary, other.summary);
        }
    }
}

fn both(one: &DraftStep, other: &DraftStep) -> Option<DraftStep> {
    let action = match (one.action.as_ref()?, other.action.as_ref()?) {
        (Action::SetImage { target, images }, Action::SetImage { images: more, .. }) => {
            let images = images.clone().into_iter().chain(more.clone());
            Action::set_image(target.clone(), images.collect())
        }
        (Action::Patch { target, patch }, Action::Patch { patch: more, .. }) => {
            let (Value::Array(operations), Value::Array(more)) = (patch.body(), more.body()) else {
                return None;
            };
            let body = [operations.as_slice(), more].concat();
            Action::patch(
                target.clone(),
                Patch::new(PatchKind::Json, body.into()).ok()?,
            )
        }
        _ => return None,
    };
    let description = format!("{} {}", one.description, other.description);
    Some(step(shortened(description, 1000), action.ok()?))
}

pub(super) fn step(description: String, action: Action) -> DraftStep {
    DraftStep {
        description,
        command: Some(action.command()),
        action: Some(action),
    }
}

pub(super) fn last_image(
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

pub(super) fn go_back(
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

pub(super) fn one_copy(
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

pub(super) fn new_pod(app: &str, owner: &ObjectRef, pod: &str) -> Result<Fix, ActionError> {
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

/// The step after a change that a broken copy keeps from being taken up.
pub(super) fn removed_copy(
    app: &str,
    namespace: &str,
    pod: &str,
) -> Result<DraftStep, ActionError> {
    Ok(step(
        format!(
            "Remove the copy {pod}, which does not work, so that {app} starts it again with the change: {app} replaces its copies one after another, and waits for this one as long as it is there."
        ),
        Action::delete_pod(Target::new(Kind::Pod, namespace, pod)?)?,
    ))
}

pub(super) fn restart(
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

pub(super) fn right_port(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    container: &str,
    [probe, check]: [&str; 2],
    port: &str,
    right: u64,
) -> Result<Fix, ActionError> {
    let set = |port: Value| {
        let containers = json!([{ "name": container, probe: { check: { "port": port } } }]);
        let body = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        Action::patch(target()?, Patch::new(PatchKind::Strategic, body)?)
    };
    let wrong = port
        .parse::<u64>()
        .map_or_else(|_| Value::from(port), Value::from);
    let (question, therefore) = match probe {
        "readinessProbe" => ("ready", "gets work again"),
        _ => ("alive", "is no longer stopped"),
    };
    Ok(Fix {
        summary: format!("Ask {app} for its health at the right port."),
        step: step(
            format!(
                "Ask {app} at port {right}, where it listens, whether it is {question} (currently asked at {port}), so that it {therefore}."
            ),
            set(right.into())?,
        ),
        rollback: Some(step(
            format!("Ask {app} at the old port again."),
            set(wrong)?,
        )),
    })
}

pub(super) fn right_selector(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    wrong: &Map<String, Value>,
    right: &Map<String, Value>,
    reason: &str,
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
                "Let the service {app} send its requests to the app of the same name, because {reason}."
            ),
            set(wrong, right)?,
        ),
        rollback: Some(step(
            format!("Let {app} look for the old labels again."),
            set(right, wrong)?,
        )),
    })
}

pub(super) fn right_target(
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

pub(super) fn right_backend(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    places: &[Value],
    wrong: &Value,
    right: &Value,
) -> Result<Fix, ActionError> {
    let set = |from: &Value, to: &Value| {
        // Only if what is wrong still stands at these places.
        let tests = places
            .iter()
            .map(|place| json!({ "op": "test", "path": place, "value": from }));
        let changes = places
            .iter()
            .map(|place| json!({ "op": "replace", "path": place, "value": to }));
        let body: Vec<Value> = tests.chain(changes).collect();
        Action::patch(target()?, Patch::new(PatchKind::Json, body.into())?)
    };
    let shown = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    Ok(Fix {
        summary: format!("Lead {app} to its service again."),
        step: step(
            format!(
                "Let the address that {app} answers lead to {} again, which is there (currently {}, which is not).",
                shown(right),
                shown(wrong)
            ),
            set(wrong, right)?,
        ),
        rollback: Some(step(
            format!("Let {app} lead to where it led before."),
            set(right, wrong)?,
        )),
    })
}

pub(super) fn right_workload(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    wrong: &str,
    right: &str,
) -> Result<Fix, ActionError> {
    let set = |name: &str| {
        let body = json!({ "spec": { "scaleTargetRef": { "name": name } } });
        Action::patch(target()?, Patch::new(PatchKind::Merge, body)?)
    };
    Ok(Fix {
        summary: format!("Let the automatic scaling {app} look after its app again."),
        step: step(
            format!(
                "Let {app} add copies to the app {right} when it is busy (currently to {wrong}, which is not there)."
            ),
            set(right)?,
        ),
        rollback: Some(step(
            format!("Let {app} look after {wrong} again."),
            set(wrong)?,
        )),
    })
}

pub(super) fn switch_on(
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

pub(super) fn right_key(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    container: &str,
    [variable, config]: [&str; 2],
    wrong: &str,
    right: &str,
) -> Result<Fix, ActionError> {
    let set = |key: &str| {
        let from = json!({ "configMapKeyRef": { "name": config, "key": key } });
        let variable = json!({ "name": variable, "valueFrom": from });
        let containers = json!([{ "name": container, "env": [variable] }]);
        let body = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        Action::patch(target()?, Patch::new(PatchKind::Strategic, body)?)
    };
    Ok(Fix {
        summary: format!("Let {app} read the setting that is there."),
        step: step(
            format!(
                "Let {app} read {variable} from {right} in the settings {config} (currently from {wrong}, which is not there), so that it can start."
            ),
            set(right)?,
        ),
        rollback: Some(step(format!("Let {app} read {wrong} again."), set(wrong)?)),
    })
}

/// How much processor time an app asks for that said nothing: a tenth of a core.
const SOME_CPU: &str = "100m";

pub(super) fn cpu_request(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    container: &str,
) -> Result<Fix, ActionError> {
    let requests = Amounts {
        cpu: Some(Quantity::new(SOME_CPU)?),
        ..Amounts::default()
    };
    let container = Some(DnsLabel::new(container)?);
    Ok(Fix {
        summary: format!("Let the automatic scaling of {app} work."),
        step: step(
            format!(
                "Let {app} ask for a tenth of a processor core (currently for nothing), because its automatic scaling can only tell how busy it is by comparing with that. Its copies restart one by one."
            ),
            Action::set_resources(target()?, container, Amounts::default(), requests)?,
        ),
        rollback: None,
    })
}

pub(super) fn some_at_a_time(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    wrong: &Value,
) -> Result<Fix, ActionError> {
    let set = |most: &Value| {
        let body =
            json!({ "spec": { "strategy": { "rollingUpdate": { "maxUnavailable": most } } } });
        Action::patch(target()?, Patch::new(PatchKind::Merge, body)?)
    };
    Ok(Fix {
        summary: format!("Update {app} a few copies at a time."),
        step: step(
            format!(
                "Let an update of {app} take at most a quarter of its copies away at a time, so that the others keep answering. Nothing restarts now."
            ),
            set(&"25%".into())?,
        ),
        rollback: Some(step(
            format!("Let an update of {app} take all copies away at once again."),
            set(wrong)?,
        )),
    })
}

pub(super) fn right_time(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    wrong: &str,
    right: &str,
) -> Result<Fix, ActionError> {
    let set = |schedule: &str| {
        let body = json!({ "spec": { "schedule": schedule } });
        Action::patch(target()?, Patch::new(PatchKind::Merge, body)?)
    };
    Ok(Fix {
        summary: format!("Start {app} on a day that there is."),
        step: step(
            format!(
                "Start the scheduled job {app} on the last day that its month has every year (`{right}`), because the day that it waits for never comes (`{wrong}`)."
            ),
            set(right)?,
        ),
        rollback: Some(step(format!("Give {app} its old time back."), set(wrong)?)),
    })
}

pub(super) fn one_may_go(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    least: &Value,
    most: &Value,
) -> Result<Fix, ActionError> {
    let set = |least: &Value, most: &Value| {
        let body = json!({ "spec": { "minAvailable": least, "maxUnavailable": most } });
        Action::patch(target()?, Patch::new(PatchKind::Merge, body)?)
    };
    Ok(Fix {
        summary: format!("Let {app} move one copy at a time."),
        step: step(
            format!(
                "Let the rule {app} allow one copy at a time to be moved to another node, so that nodes can be emptied for their maintenance. Nothing restarts now."
            ),
            set(&Value::Null, &1.into())?,
        ),
        rollback: Some(step(
            format!("Let {app} forbid moving copies again."),
            set(least, most)?,
        )),
    })
}
