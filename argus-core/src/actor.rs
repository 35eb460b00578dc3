//! Who does something, for the trail, for policy and for approvals.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::letters::is_hidden;
use crate::redact::redact;

/// The longest name of an actor, in characters.
const MAX_NAME: usize = 128;

/// Why a text is no name of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActorError {
    /// Nothing in it can be read.
    #[error("the name has no letter and no digit: name the person, or the component of the host")]
    Empty,
    /// Something in it can't be seen.
    #[error(
        "the name has a control character, or one that is invisible or turns text around: use plain letters"
    )]
    Hidden,
    /// More than 128 characters.
    #[error("the name has more than {MAX_NAME} characters: use a shorter one")]
    TooLong,
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Actor {
    /// A person, by the name that the host knows.
    User(#[schemars(with = "String")] ActorName),
    /// The host by itself, by the name of its component.
    Automatic(#[schemars(with = "String")] ActorName),
}

impl Actor {
    /// A person, by the name that the host knows.
    ///
    /// # Errors
    /// [`ActorError`] as of [`ActorName::new`].
    ///
    /// # Example
    /// ```
    /// use argus_core::{Actor, ActorError};
    /// assert_eq!(Actor::user(" ada ")?.name(), "ada");
    /// assert_eq!(Actor::user(""), Err(ActorError::Empty));
    /// # Ok::<(), ActorError>(())
    /// ```
    pub fn user(name: impl AsRef<str>) -> Result<Self, ActorError> {
        ActorName::new(name).map(Self::User)
    }

    /// The host by itself, by the name of its component.
    ///
    /// # Errors
    /// [`ActorError`] as of [`ActorName::new`].
    pub fn automatic(name: impl AsRef<str>) -> Result<Self, ActorError> {
        ActorName::new(name).map(Self::Automatic)
    }

    /// Argus itself, where the host names nobody.
    pub(crate) fn argus() -> Self {
        Self::Automatic(ActorName("argus".into()))
    }

    /// The name, without saying which kind of actor.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Automatic(name) => name.as_str(),
        }
    }
}

/// The name of an actor: 1 to 128 characters that can be seen, without space around them and without what looks like a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ActorName(String);

impl ActorName {
    /// A name as it may stand in the trail and go to policy: trimmed and redacted.
    ///
    /// # Errors
    /// [`ActorError`] for a text without a letter or a digit, with something invisible in it, or longer than 128 characters.
    pub fn new(name: impl AsRef<str>) -> Result<Self, ActorError> {
        let name = name.as_ref().trim();
        if name.chars().any(|c| c.is_control() || is_hidden(c)) {
            return Err(ActorError::Hidden);
        }
        if !name.chars().any(char::is_alphanumeric) {
            return Err(ActorError::Empty);
        }
        if name.chars().nth(MAX_NAME).is_some() {
            return Err(ActorError::TooLong);
        }
        Ok(Self(redact(name)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ActorName {
    type Error = ActorError;
    fn try_from(name: String) -> Result<Self, ActorError> {
        Self::new(name)
    }
}

/// An actor as a trail has it: before names were checked, a host could give any.
#[derive(Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
enum Stored {
    User(String),
    Automatic(String),
}

impl From<Stored> for Actor {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::User(name) => Self::User(ActorName(name)),
            Stored::Automatic(name) => Self::Automatic(ActorName(name)),
        }
    }
}

/// Reads an actor of a trail, whatever its name.
pub(crate) fn stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Actor, D::Error> {
    Stored::deserialize(deserializer).map(Actor::from)
}

/// Reads an actor of a trail that may be absent, whatever its name.
pub(crate) fn stored_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Actor>, D::Error> {
    let stored = Option::<Stored>::deserialize(deserializer)?;
    Ok(stored.map(Actor::from))
}

/// Reads several actors of a stored document, whatever their names.
pub(crate) fn all_stored<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Actor>, D::Error> {
    let stored = Vec::<Stored>::deserialize(deserializer)?;
    Ok(stored.into_iter().map(Actor::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_read_and_is_bounded() {
        for (name, kept) in [
            ("ada", "ada"),
            (" ada lovelace\t", "ada lovelace"),
            ("\u{c9}va", "\u{c9}va"),
            ("ada@example.com", "ada@example.com"),
            ("7", "7"),
            ("x DB_PASSWORD=hunter2", "x DB_PASSWORD=[redacted]"),
        ] {
            assert_eq!(Actor::user(name).unwrap().name(), kept);
            assert_eq!(Actor::automatic(name).unwrap().name(), kept);
        }
        assert!(ActorName::new("\u{e9}".repeat(128)).is_ok());
        for (name, error) in [
            ("", ActorError::Empty),
            (" \u{3000} ", ActorError::Empty),
            ("--", ActorError::Empty),
            ("\u{2800}", ActorError::Empty),
            ("a\nb", ActorError::Hidden),
            ("a\u{1b}[31mb", ActorError::Hidden),
            ("ada\u{202e}", ActorError::Hidden),
            ("a\u{200b}da", ActorError::Hidden),
            ("\u{feff}ada", ActorError::Hidden),
        ] {
            assert_eq!(Actor::user(name), Err(error), "{name:?}");
        }
        assert_eq!(ActorName::new("a".repeat(129)), Err(ActorError::TooLong));
    }

    #[test]
    fn json_of_a_host_is_checked_and_json_of_a_trail_is_read() {
        #[derive(Deserialize)]
        struct Record {
            #[serde(deserialize_with = "stored")]
            by: Actor,
        }
        for name in ["", "a\\u202eb"] {
            let actor = format!(r#"{{"kind":"user","name":"{name}"}}"#);
            assert!(serde_json::from_str::<Actor>(&actor).is_err(), "{name}");
            let record: Record = serde_json::from_str(&format!(r#"{{"by":{actor}}}"#)).unwrap();
            let again = serde_json::to_value(&record.by).unwrap();
            let same: serde_json::Value = serde_json::from_str(&actor).unwrap();
            assert_eq!(again, same);
        }
    }
}
