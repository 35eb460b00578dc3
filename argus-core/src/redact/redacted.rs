//! Text that can't be had without redaction.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{redact, redact_to};

/// A text as it may be kept and shown; whoever makes one redacts it.
///
/// # Guarantees
/// Made of a text it is what [`redact`] makes of it; what was stored as such is read as it stands.
///
/// # Example
/// ```
/// use argus_core::Redacted;
/// let text = Redacted::from("token: abc123def");
/// assert_eq!(&*text, "token: [redacted]");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redacted(String);

impl Redacted {
    /// A text bounded to `longest` characters instead of 4,096.
    pub(crate) fn to(text: &str, longest: usize) -> Self {
        Self(redact_to(text, longest))
    }

    /// The same with something before and after it.
    pub(crate) fn between(self, before: &'static str, after: &'static str) -> Self {
        Self(format!("{before}{}{after}", self.0))
    }
}

impl From<&str> for Redacted {
    fn from(text: &str) -> Self {
        Self(redact(text))
    }
}

impl From<String> for Redacted {
    fn from(text: String) -> Self {
        Self(redact(&text))
    }
}

impl Deref for Redacted {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Redacted {
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}
