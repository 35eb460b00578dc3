//! A pod that no node takes becomes the one step that gives it a place.

use serde_json::{Map, Value, json};

use super::fixes::{Fix, step};
use crate::action::{Action, ActionError, Amounts, Patch, PatchKind, Quantity, Target};
use crate::names::DnsLabel;

/// A patch of the pod template.
fn template(
    target: &impl Fn() -> Result<Target, ActionError>,
    spec: Value,
) -> Result<Action, ActionError> {
    let body = json!({ "spec": { "template": { "spec": spec } } });
    Action::patch(target()?, Patch::new(PatchKind::Strategic, body)?)
}

pub(super) fn right_claim(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    volume: &str,
    wrong: &str,
    right: &str,
) -> Result<Fix, ActionError> {
    let set = |claim: &str| {
        let volume = json!({ "name": volume, "persistentVolumeClaim": { "claimName": claim } });
        template(&target, json!({ "volumes": [volume] }))
    };
    Ok(Fix {
        summary: format!("Give {app} the storage that there is."),
        step: step(
            format!(
                "Let {app} use the storage {right} (currently {wrong}, which is not there), so that it can start."
            ),
            set(right)?,
        ),
        rollback: Some(step(
            format!("Let {app} wait for the storage {wrong} again."),
            set(wrong)?,
        )),
    })
}

pub(super) fn a_single_copy(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    wrong: u32,
) -> Result<Fix, ActionError> {
    Ok(Fix {
        summary: format!("Run one copy of {app}."),
        step: step(
            format!(
                "Run one copy of {app} (currently {wrong} are wanted), because its storage can be used on one node at a time only, and the others never start."
            ),
            Action::scale(target()?, 1)?,
        ),
        rollback: Some(step(
            format!("Ask for {wrong} copies of {app} again."),
            Action::scale(target()?, wrong)?,
        )),
    })
}

pub(super) fn more_patience(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    [container, probe]: [&str; 2],
    wrong: &Value,
    right: u64,
) -> Result<Fix, ActionError> {
    let set = |delay: Value| {
        let container = json!({ "name": container, probe: { "initialDelaySeconds": delay } });
        template(&target, json!({ "containers": [container] }))
    };
    Ok(Fix {
        summary: format!("Give {app} more time to start."),
        step: step(
            format!(
                "Wait {right} seconds after the start of {app} before asking whether it is alive (currently {}), so that it is no longer stopped before it has started. Its copies restart one by one.",
                wrong.as_u64().unwrap_or(0)
            ),
            set(right.into())?,
        ),
        rollback: Some(step(
            format!("Ask {app} as early as before again."),
            set(wrong.clone())?,
        )),
    })
}

pub(super) fn right_node(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    wrong: &Map<String, Value>,
    right: &Map<String, Value>,
) -> Result<Fix, ActionError> {
    let set = |labels: &Map<String, Value>| template(&target, json!({ "nodeSelector": labels }));
    let shown = |labels: &Map<String, Value>| {
        let label = |(key, value): (&String, &Value)| Some(format!("{key}={}", value.as_str()?));
        labels
            .iter()
            .filter_map(label)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let places = match shown(right) {
        known if known.is_empty() => "on any node".to_owned(),
        known => format!("on a node labelled {known}"),
    };
    Ok(Fix {
        summary: format!("Let {app} run on a node that there is."),
        step: step(
            format!(
                "Let {app} run {places} (currently only on one labelled {}, which is not there).",
                shown(wrong)
            ),
            set(right)?,
        ),
        rollback: Some(step(
            format!("Let {app} wait for the node that it wanted again."),
            set(wrong)?,
        )),
    })
}

pub(super) fn smaller_request(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    container: &str,
    resource: &str,
    wrong: &str,
    right: &str,
) -> Result<Fix, ActionError> {
    let set = |amount: &str| {
        let amount = Some(Quantity::new(amount)?);
        let requests = match resource {
            "cpu" => Amounts {
                cpu: amount,
                ..Amounts::default()
            },
            _ => Amounts {
                memory: amount,
                ..Amounts::default()
            },
        };
        let container = Some(DnsLabel::new(container)?);
        Action::set_resources(target()?, container, Amounts::default(), requests)
    };
    Ok(Fix {
        summary: format!("Let {app} ask for what a node has."),
        step: step(
            format!(
                "Let {app} ask for {right} of {resource}, a quarter of the largest node (currently {wrong}, more than any node has), so that it finds a place."
            ),
            set(right)?,
        ),
        rollback: Some(step(
            format!("Let {app} ask for {wrong} again."),
            set(wrong)?,
        )),
    })
}

pub(super) fn toleration(
    app: &str,
    target: impl Fn() -> Result<Target, ActionError>,
    taint: &str,
    wrong: &Value,
    right: &Value,
) -> Result<Fix, ActionError> {
    let set = |all: &Value| template(&target, json!({ "tolerations": all }));
    Ok(Fix {
        summary: format!("Let {app} run on the nodes that it is meant for."),
        step: step(
            format!(
                "Let {app} run on nodes that are kept for apps which accept {taint}, because all nodes that it may run on are. The nodes are not touched."
            ),
            set(right)?,
        ),
        rollback: Some(step(
            format!("Keep {app} away from these nodes again."),
            set(wrong)?,
        )),
    })
}
