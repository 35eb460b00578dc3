//! Who does something, for the trail, for policy and for approvals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Actor {
    /// A person, by the name that the host knows.
    User(String),
    /// The host by itself, by the name of its component.
    Automatic(String),
}

impl Actor {
    /// The name, without saying which kind of actor.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Automatic(name) => name,
        }
    }
}
