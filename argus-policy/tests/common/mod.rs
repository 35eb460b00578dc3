//! What tests of packs ask about.

use argus_core::{Completion, IncidentId, Plan, PolicyInput, Scope, Settings};
use serde_json::{Value, json};

/// A plan of these commands, as a model would give it.
pub(crate) fn plan(commands: &[&str], risk: &str) -> Plan {
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
