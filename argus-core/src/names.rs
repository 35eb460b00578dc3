//! Names as Kubernetes checks them: text becomes a name that the API server would accept, or an error.
//!
//! Source: RFC 1123, as quoted in the Kubernetes documentation, "Object Names and IDs".

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a text is not a Kubernetes name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a valid {what}: use lower-case letters, digits and `-`{dots}, start and end with a letter or digit, at most {max} characters"
)]
pub struct NameError {
    text: String,
    what: &'static str,
    dots: &'static str,
    max: usize,
}

impl NameError {
    fn new(text: &str, what: &'static str, dots: &'static str, max: usize) -> Self {
        let text = text
            .chars()
            .take(64)
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        Self {
            text,
            what,
            dots,
            max,
        }
    }
}

fn is_label(text: &str) -> bool {
    let alphanumeric =
        |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && alphanumeric(text.chars().next())
        && alphanumeric(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $dots:literal, $max:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`NameError`] says what the text may hold.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(NameError::new(&text, $what, $dots, $max)) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "maxLength": $max, "pattern": $pattern })
            }
        }
    };
}

name!(
    /// A DNS label: a namespace or a container, at most 63 characters.
    ///
    /// # Example
    /// ```
    /// use argus_core::DnsLabel;
    /// assert!(DnsLabel::new("shop").is_ok());
    /// assert!(DnsLabel::new("Shop!").is_err());
    /// ```
    DnsLabel, "DNS label", "", 63, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", is_label
);
name!(
    /// A DNS subdomain: the name of an object, at most 253 characters, dots allowed.
    ///
    /// # Example
    /// ```
    /// use argus_core::DnsSubdomain;
    /// assert!(DnsSubdomain::new("web.v2").is_ok());
    /// assert!(DnsSubdomain::new("web/../../secrets").is_err());
    /// ```
    DnsSubdomain, "object name", " and `.`", 253, "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
    |text| text.len() <= 253 && text.split('.').all(is_label)
);
