//! What tests of packs ask about.

use argus_core::{Completion, Incident, IncidentId, Plan, PolicyInput, Scope, Settings};
use serde_json::{Value, json};

/// A plan of these commands, as a model would give it, for an incident about what they change.
pub(crate) fn plan(commands: &[&str], risk: &str) -> Plan {
    let plan = plan_for_nobody(commands, risk);
    let targets = plan
        .steps()
        .iter()
        .filter_map(|step| step.action().target());
    let related: Vec<Value> = targets
        .map(|target| json!({ "kind": target.kind(), "namespace": target.namespace(), "name": target.name() }))
        .collect();
    let finding = json!({ "finding_id": "f", "category": "pod_health", "severity": "high", "title": "t", "description": "d",
        "target": "k8s://shop", "infra_type": "kubernetes", "related": related });
    let incident = json!({ "incident_id": "INC-1", "findings": [finding] });
    plan.answering(&Incident::from_json(&incident.to_string()).unwrap())
}

/// The same where the incident isn't known.
fn plan_for_nobody(commands: &[&str], risk: &str) -> Plan {
    let steps: Vec<Value> = commands
        .iter()
        .map(|command| json!({"description": "d", "command": command}))
        .collect();
    let draft = json!({"summary": "s", "risk_level": risk, "risk_reason": "r", "rollback_steps": [], "steps": steps});
    Plan::parse(
        &Completion::new(draft.to_string(), "test"),
        &IncidentId::new("INC-1").unwrap(),
    )
    .unwrap()
}

/// What policy is asked about a plan first.
pub(crate) fn input(plan: &Plan) -> PolicyInput {
    PolicyInput::of_plan(
        plan,
        &Scope::namespaces(["shop"]).unwrap(),
        Settings::default(),
    )
}
