//! What a model is asked to fill in, before anything of it is trusted.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Action, AllowedChange, Risk};

/// The most steps that a plan may have.
pub const MAX_STEPS: usize = 10;

/// A plan, before anything of it is trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// What the plan does, in one plain English sentence.
    #[schemars(length(min = 1, max = 400))]
    pub summary: String,
    /// The steps in order; none when nothing is wrong.
    #[schemars(length(max = MAX_STEPS), transform = with_the_table)]
    pub steps: Vec<DraftStep>,
    /// How much the plan can hurt. Argus computes its own and takes the higher.
    pub risk_level: Risk,
    /// Why the risk is what it is.
    #[schemars(length(min = 1, max = 400))]
    pub risk_reason: String,
    /// How a person would undo the plan.
    #[schemars(length(max = MAX_STEPS))]
    pub rollback_steps: Vec<DraftStep>,
}

/// One step of a [`Draft`]: a command, an action, or both if they mean the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftStep {
    /// What the step does and why it helps, for people who don't know Kubernetes.
    #[schemars(length(min = 1, max = 1000))]
    pub description: String,
    /// One kubectl command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    pub command: Option<String>,
    /// The same as a typed action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// Tells whoever reads the schema which fields a patch may set: the table itself.
fn with_the_table(schema: &mut Schema) {
    let words = schema.get("description").and_then(Value::as_str);
    let words = format!(
        "{} A patch sets only these fields, any other is high-risk or refused: {}.",
        words.unwrap_or_default(),
        AllowedChange::in_short()
    );
    schema.insert("description".to_owned(), words.into());
}

/// A diagnosis, before anything of it is trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftDiagnosis {
    /// The cause of all findings, in one line.
    #[schemars(length(min = 1, max = 300))]
    pub root_cause: String,
    /// The cause in plain English, for people who don't know Kubernetes.
    #[schemars(length(min = 1, max = 2000))]
    pub explanation: String,
    /// How sure it is: 0 is a guess, 1 is certain.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
    /// What would help, in words, the best first.
    #[schemars(length(max = 5), inner(length(min = 1, max = 500)))]
    pub recommendations: Vec<String>,
}
