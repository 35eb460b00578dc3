//! Values become SHA-256 digests over canonical JSON (RFC 8785): what an approval binds.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Why a value has no digest, or a text is no digest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The value can't be written as canonical JSON.
    #[error("the value can't be written as canonical JSON")]
    Serialize(#[source] serde_json::Error),
    /// An integer that canonical JSON would round, so that two values would share a digest.
    #[error("the number {0} is beyond 2^53 and would be rounded")]
    Rounded(String),
    /// The text isn't `sha256:` and 64 hexadecimal digits.
    #[error("a digest is `sha256:` and 64 lower-case hexadecimal digits")]
    Malformed,
}

/// A SHA-256 digest, written `sha256:` and 64 hexadecimal digits.
///
/// # Example
/// ```
/// use argus_core::Digest;
/// let a = Digest::of_json(&serde_json::json!({"b": 1, "a": 2}))?;
/// let b = Digest::of_json(&serde_json::json!({"a": 2, "b": 1}))?;
/// assert_eq!(a, b);
/// assert_eq!(a.to_string().parse::<Digest>()?, a);
/// # Ok::<(), argus_core::DigestError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest that stands before the first record of a chain.
    pub const ZERO: Self = Self([0; 32]);

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As it is written: `sha256:` and 64 hexadecimal digits.
    pub(crate) fn to_text(self) -> [u8; 71] {
        // Letters come 39 after the digits: without a branch, all pairs become text at once.
        let digit = |nibble: u8| b'0' + nibble + 39 * u8::from(nibble > 9);
        let mut text = [0; 71];
        let (head, digits) = text.split_at_mut(7);
        head.copy_from_slice(b"sha256:");
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of bytes as they are.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a value's canonical JSON.
    ///
    /// # Errors
    /// [`DigestError::Rounded`] for integers beyond 2^53, [`DigestError::Serialize`] for what is no JSON.
    pub fn of_json<T: Serialize>(value: &T) -> Result<Self, DigestError> {
        let value = serde_json::to_value(value).map_err(DigestError::Serialize)?;
        refuse_rounding(&value)?;
        let bytes = serde_json_canonicalizer::to_vec(&value).map_err(DigestError::Serialize)?;
        Ok(Self::of_bytes(&bytes))
    }
}

fn refuse_rounding(value: &Value) -> Result<(), DigestError> {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Number(n)
            if n.as_u64().is_some_and(|n| n > EXACT)
                || n.as_i64().is_some_and(|n| n.unsigned_abs() > EXACT) =>
        {
            Err(DigestError::Rounded(n.to_string()))
        }
        Value::Array(items) => items.iter().try_for_each(refuse_rounding),
        Value::Object(fields) => fields.values().try_for_each(refuse_rounding),
        _ => Ok(()),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").ok_or(DigestError::Malformed)?;
        let clean = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !clean {
            return Err(DigestError::Malformed);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| DigestError::Malformed)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| DigestError::Malformed)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_would_round_have_no_digest() {
        assert!(Digest::of_json(&((1u64 << 53) + 1)).is_err());
        assert!(Digest::of_json(&serde_json::json!({"a": [-9_007_199_254_740_993_i64]})).is_err());
        assert!(Digest::of_json(&(1u64 << 53)).is_ok());
    }
}
