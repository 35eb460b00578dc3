//! Each field that a step changes, held against the table of allowed changes: first by the action alone, then by the objects
//! that would result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::allowed::AllowedChange;
use super::allowed_values::Candidate;
use super::evidence::Evidence;
use super::field::{FieldPath, field_changes};
use super::never::{never, path_never};
use super::{Action, Risk};

/// One field that a step changes, as the table of allowed changes has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedField {
    /// The field, such as `spec.template.spec.containers[app].image`.
    pub field: String,
    /// Whether the change is on the table.
    pub listed: bool,
    /// The risk; high for what is not on the table.
    pub risk: Risk,
    /// Whether no plan makes this change, also where a host allows high risk.
    pub never: bool,
    /// The reason, in plain English.
    pub why: String,
}

impl JudgedField {
    fn unlisted(field: String, why: String) -> Self {
        Self {
            field,
            listed: false,
            risk: Risk::High,
            never: false,
            why,
        }
    }

    fn never(field: String, why: String) -> Self {
        Self {
            never: true,
            ..Self::unlisted(field, why)
        }
    }

    fn listed(field: String, risk: Risk, why: &str) -> Self {
        Self {
            field,
            listed: true,
            risk,
            never: false,
            why: why.to_owned(),
        }
    }
}

const UNLISTED: &str = "it is not on the list of what a plan may change";
const EARLIER_REVISION: &str = "the app goes back to an earlier version";

impl Action {
    /// The fields that the action writes, by the action alone: what depends on the cluster is taken for granted here, and
    /// judged by [`judge`](Self::judge) when the result is known.
    #[must_use]
    pub fn judged_fields(&self) -> Vec<JudgedField> {
        let Some(target) = self.target() else {
            return Vec::new();
        };
        let writes = match self {
            Self::Patch { patch, .. } => patch.writes(),
            Self::RolloutUndo { .. } => {
                let field = "spec.template".to_owned();
                return vec![JudgedField::listed(field, Risk::Medium, EARLIER_REVISION)];
            }
            Self::Scale { replicas, .. } => {
                let path = FieldPath::of_pointer("/spec/replicas");
                vec![(path, Some(Value::from(*replicas)))]
            }
            // Its values were read by their types.
            _ => {
                let fields = self.fields_touched().into_iter();
                let listed = fields.map(|pointer| {
                    let path = FieldPath::of_pointer(&pointer);
                    let field = path.to_string();
                    match AllowedChange::find(target.kind(), &path) {
                        Some(row) => JudgedField::listed(field, row.risk, row.why),
                        None => JudgedField::unlisted(field, UNLISTED.into()),
                    }
                });
                return listed.collect();
            }
        };
        let judged = writes.into_iter().map(|(path, value)| {
            let field = path.to_string();
            if let Some(why) = path_never(&path) {
                return JudgedField::never(field, why.into());
            }
            match AllowedChange::find(target.kind(), &path) {
                Some(row) if row.values.admits(value.as_ref()) => {
                    JudgedField::listed(field, row.risk, row.why)
                }
                Some(_) if value == Some(Value::from(0)) && field == "spec.replicas" => {
                    JudgedField::unlisted(field, "every copy of the app would stop".into())
                }
                Some(row) => JudgedField::unlisted(
                    field,
                    format!("it may only be {}", row.values.describe()),
                ),
                None => JudgedField::unlisted(field, UNLISTED.into()),
            }
        });
        judged.collect()
    }

    /// The fields that differ between an object before and after the action, each held against the table; empty for what
    /// is deleted.
    ///
    /// # Example
    /// ```
    /// use argus_core::{Evidence, Risk, parse_command};
    /// use serde_json::json;
    /// let action = parse_command(r#"kubectl patch deploy/web -n shop -p '{"spec":{"paused":true}}'"#)?;
    /// let (before, after) = (json!({"spec": {}}), json!({"spec": {"paused": true}}));
    /// let fields = action.judge(&before, &after, &Evidence::default());
    /// assert_eq!((fields[0].field.as_str(), fields[0].risk), ("spec.paused", Risk::High));
    /// # Ok::<(), argus_core::CommandError>(())
    /// ```
    #[must_use]
    pub fn judge(&self, before: &Value, after: &Value, evidence: &Evidence) -> Vec<JudgedField> {
        let Some(target) = self.target().filter(|_| !after.is_null()) else {
            return Vec::new();
        };
        let kind = target.kind();
        let [old, new] = [before, after].map(decided_part);
        let changes = field_changes(&old, &new);
        let never = never(kind, before, after, &changes);
        let judged = changes.iter().map(|change| {
            let field = change.path.to_string();
            let goes_back = matches!(self, Self::RolloutUndo { .. })
                && (field.starts_with("spec.template.")
                    || field.starts_with("metadata.annotations."));
            if goes_back {
                return JudgedField::listed(field, Risk::Medium, EARLIER_REVISION);
            }
            let Some(row) = AllowedChange::find(kind, &change.path) else {
                return JudgedField::unlisted(field, UNLISTED.into());
            };
            let candidate = Candidate {
                change,
                kind,
                before,
                after,
                evidence,
            };
            match row.values.judge(&candidate, row.risk) {
                Ok(risk) => JudgedField::listed(field, risk, row.why),
                Err(why) => JudgedField::unlisted(field, why),
            }
        });
        let mut judged: Vec<JudgedField> = judged
            .filter(|judged| !never.iter().any(|(field, _)| *field == judged.field))
            .collect();
        judged.extend(
            never
                .iter()
                .map(|(field, why)| JudgedField::never(field.clone(), why.clone())),
        );
        judged
    }
}

/// The part of an object that a request can change: not its status, nor what the API server counts by itself.
fn decided_part(object: &Value) -> Value {
    const METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];
    let mut part = object.clone();
    if let Some(fields) = part.as_object_mut() {
        fields.remove("status");
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.retain(|field, _| METADATA.contains(&field.as_str()));
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                // The API server sets it from its own count, whatever a request says.
                annotations.remove("deprecated.daemonset.template.generation");
            }
        }
    }
    part
}
