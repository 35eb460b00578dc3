//! `pack.yaml` becomes what a pack says of itself: its rules, when each has to answer, and what a host may set.

use std::collections::BTreeSet;

use argus_core::{Phase, PolicyInput};
use serde::Deserialize;
use serde_json::Value;

/// The kinds of actions, as the input names them.
const ACTIONS: [&str; 8] = [
    "rollout_restart",
    "scale",
    "set_resources",
    "set_image",
    "patch",
    "delete_pod",
    "rollout_undo",
    "manual",
];

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    #[expect(dead_code, reason = "for people; checked to be there")]
    version: String,
    #[expect(dead_code, reason = "for people; checked to be there")]
    description: String,
    /// The JSON Schema of `data.json`, and of what a host sets in its stead.
    pub(crate) parameters: Option<Value>,
    pub(crate) rules: Vec<Rule>,
}

/// A rule: its id, and when it has to answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) id: String,
    phases: Vec<Phase>,
    /// It is asked only about plans with such a step; about every plan if it names none.
    #[serde(default)]
    actions: Vec<String>,
}

impl Rule {
    /// Whether it has to answer to this input.
    pub(crate) fn applies(&self, input: &PolicyInput) -> bool {
        let steps = input.plan.steps.iter().chain(&input.plan.rollback_steps);
        let concerns = |kind: &str| self.actions.iter().any(|action| action == kind);
        self.phases.contains(&input.phase)
            && (self.actions.is_empty() || steps.into_iter().any(|step| concerns(&step.kind)))
    }

    /// Whether it always applies together with `other`.
    pub(crate) fn applies_with(&self, other: &Self) -> bool {
        self.phases == other.phases && self.actions == other.actions
    }
}

impl Manifest {
    /// Reads and checks `pack.yaml`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut manifest: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        for rule in &mut manifest.rules {
            rule.phases.sort_unstable_by_key(|phase| *phase as u8);
            rule.actions.sort_unstable();
        }
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let named = self.name.starts_with(|c: char| c.is_ascii_lowercase())
            && self
                .name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !named {
            return Err(format!(
                "the name `{}` must be lower-case letters, digits and `_`, a letter first",
                self.name
            ));
        }
        if self.rules.is_empty() {
            return Err("it lists no rules".into());
        }
        let ids: BTreeSet<&str> = self.rules.iter().map(|rule| rule.id.as_str()).collect();
        if ids.len() < self.rules.len() {
            return Err("it lists a rule twice".into());
        }
        for rule in &self.rules {
            if rule.phases.is_empty() {
                return Err(format!("the rule `{}` names no phase", rule.id));
            }
            let unknown = |action: &&String| !ACTIONS.contains(&action.as_str());
            if let Some(action) = rule.actions.iter().find(unknown) {
                return Err(format!(
                    "the rule `{}` names the action `{action}`, actions are {}",
                    rule.id,
                    ACTIONS.join(", ")
                ));
            }
        }
        Ok(())
    }
}
