//! The name of a plan in the trail, in the plan store and for hosts.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The id of one plan; worth nothing by itself: every door is passed again from the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanId(String);

impl PlanId {
    pub(crate) fn random() -> Self {
        Self(format!("PLAN-{}", uuid::Uuid::new_v4().simple()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PlanId {
    type Error = PlanIdError;
    fn try_from(text: String) -> Result<Self, PlanIdError> {
        let hex = text.strip_prefix("PLAN-").unwrap_or_default();
        let clean = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if clean {
            Ok(Self(text))
        } else {
            Err(PlanIdError)
        }
    }
}

/// The text is no plan id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a plan id is `PLAN-` and 32 hexadecimal digits")]
pub struct PlanIdError;

impl From<PlanId> for String {
    fn from(id: PlanId) -> Self {
        id.0
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for PlanId {
    fn schema_name() -> Cow<'static, str> {
        "PlanId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^PLAN-[0-9a-f]{32}$" })
    }
}
