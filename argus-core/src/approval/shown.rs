//! A dry run as a person reads it before they answer.

use schemars::JsonSchema;
use serde::Serialize;

use crate::action::{JudgedField, Risk};
use crate::digest::Digest;
use crate::dry_run::{DryRun, Preview};
use crate::plan::Plan;
use crate::verdict::{Opinion, Verdict};

/// A dry run for people and HTTP clients: short, redacted, without the whole objects.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Shown {
    /// The plan.
    pub plan: Plan,
    /// What an approval is for.
    pub digest: Digest,
    /// How much it can hurt: the plan's risk, or more where what would result is riskier.
    pub risk_level: Risk,
    /// What policy says: `allow` or `require_approval`.
    pub verdict: Verdict,
    /// Each pack's opinion, of the actions and then of the resulting objects.
    pub opinions: Vec<Opinion>,
    /// How many people have to approve it.
    pub people: u8,
    /// The name that they have to type; only for high risk.
    pub name_to_type: Option<String>,
    /// Per step, what it would do.
    pub steps: Vec<ShownStep>,
}

/// What one step would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownStep {
    /// The fields that would change; none for a restart's own mark.
    pub changes: Vec<ShownChange>,
    /// The same fields, each held against the table of allowed changes.
    pub fields: Vec<JudgedField>,
    /// What the cluster warned of.
    pub warnings: Vec<String>,
}

/// One field, as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownChange {
    /// Where, such as `spec.replicas`.
    pub field: String,
    /// The value now; `none` if the field is new.
    pub before: String,
    /// The value then; `none` if the field goes.
    pub after: String,
}

impl ShownStep {
    fn new(preview: &Preview, fields: Vec<JudgedField>) -> Self {
        let changes = preview.changes().into_iter().map(|change| {
            let (before, after) = change.values();
            ShownChange {
                field: change.field,
                before,
                after,
            }
        });
        Self {
            changes: changes.collect(),
            fields,
            warnings: preview.warnings.clone(),
        }
    }
}

impl From<&DryRun> for Shown {
    fn from(dry_run: &DryRun) -> Self {
        let opinions = dry_run.evaluations().iter();
        let previews = dry_run.previews().iter().zip(dry_run.judged_fields());
        Self {
            plan: dry_run.plan().clone(),
            digest: dry_run.digest(),
            risk_level: dry_run.risk_level(),
            verdict: dry_run.verdict(),
            opinions: opinions
                .flat_map(|evaluation| evaluation.opinions.clone())
                .collect(),
            people: dry_run.people(),
            name_to_type: dry_run.name_to_type().map(ToOwned::to_owned),
            steps: previews
                .map(|(preview, fields)| ShownStep::new(preview, fields))
                .collect(),
        }
    }
}
