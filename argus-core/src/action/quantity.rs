//! Amounts and images: text becomes a value that the API server would accept.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::ActionError;

/// An amount of memory or CPU in Kubernetes' notation: `512Mi`, `1.5Gi`, `250m`, `2`.
///
/// Source: the grammar in `k8s.io/apimachinery/pkg/api/resource`. Amounts are compared as numbers; negative ones, and what is
/// finer than a thousandth, which the API server would round, are refused.
///
/// # Example
/// ```
/// use argus_core::Quantity;
/// assert!(Quantity::new("512Mi")? > Quantity::new("512M")?);
/// assert!(Quantity::new("512MB").is_err());
/// # Ok::<(), argus_core::ActionError>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity(String);

impl Quantity {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`ActionError::Invalid`] for anything that isn't a whole number of thousandths in that grammar.
    pub fn new(text: impl Into<String>) -> Result<Self, ActionError> {
        let text = text.into();
        match milli(&text) {
            Some(_) => Ok(Self(text)),
            None => {
                let shown: String = text.chars().take(32).filter(|c| !c.is_control()).collect();
                let problem = format!(
                    "`{shown}` is no Kubernetes amount: write memory as `512Mi` or `2Gi`, CPU as `500m` or `2`"
                );
                Err(ActionError::invalid("the amount", problem))
            }
        }
    }

    /// The amount as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in thousandths of its unit: bytes for memory, cores for CPU.
    #[must_use]
    pub fn milli(&self) -> u128 {
        // The constructor has read it already.
        milli(&self.0).unwrap_or_default()
    }
}

/// Thousandths, for amounts that a cluster can have: below 2^63 units, no finer than a thousandth.
fn milli(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let number_end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(number_end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty()
        || whole.len() > 19
        || fraction.len() > 9
        || fraction.contains('.')
    {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (times, divided) = factor(suffix)?;
    let scale = 10u128
        .checked_pow(u32::try_from(fraction.len()).ok()?)?
        .checked_mul(divided)?;
    let scaled = digits.checked_mul(times)?.checked_mul(1000)?;
    (scaled % scale == 0 && scaled / scale < (1u128 << 63) * 1_000).then_some(scaled / scale)
}

/// What a suffix multiplies by and divides by.
fn factor(suffix: &str) -> Option<(u128, u128)> {
    const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(power) = BINARY.iter().position(|known| *known == suffix) {
        return Some((1 << (10 * (power + 1)), 1));
    }
    let power = match DECIMAL.iter().position(|known| *known == suffix) {
        Some(index) => 3 * (i32::try_from(index).ok()? - 3),
        None => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            exponent
                .parse()
                .ok()
                .filter(|power| (-18..=18).contains(power))?
        }
    };
    let size = 10u128.checked_pow(power.unsigned_abs())?;
    Some(if power < 0 { (1, size) } else { (size, 1) })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.milli() == other.milli()
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.milli().cmp(&other.milli())
    }
}
impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.milli().hash(state);
    }
}
impl TryFrom<String> for Quantity {
    type Error = ActionError;
    fn try_from(text: String) -> Result<Self, ActionError> {
        Self::new(text)
    }
}
impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 32, "pattern": "^\\+?([0-9]+\\.?|[0-9]*\\.[0-9]+)(n|u|m|k|M|G|T|P|E|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?$" })
    }
}

/// An image by the reference grammar of the distribution project: `registry.example:5000/team/web:1.2@sha256:...`.
///
/// # Example
/// ```
/// use argus_core::Image;
/// assert_eq!(Image::new("registry.example/web:1.2")?.as_str(), "registry.example/web:1.2");
/// assert!(Image::new("web:1.2 --privileged").is_err());
/// # Ok::<(), argus_core::ActionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Image(String);

/// Source: `reference/regexp.go` of distribution, with the domain's ports and the digest of SHA-256.
const IMAGE: &str = concat!(
    r"^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?",
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*",
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$"
);
static IMAGE_PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(IMAGE).ok());

impl Image {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`ActionError::Invalid`] for anything outside the grammar, or beyond 512 characters.
    pub fn new(text: impl Into<String>) -> Result<Self, ActionError> {
        let text = text.into();
        if text.len() <= 512
            && IMAGE_PATTERN
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(&text))
        {
            return Ok(Self(text));
        }
        let shown: String = text.chars().take(64).filter(|c| !c.is_control()).collect();
        Err(ActionError::invalid(
            "the image",
            format!("`{shown}` is no image reference: write `registry/name:tag`"),
        ))
    }

    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Image {
    type Error = ActionError;
    fn try_from(text: String) -> Result<Self, ActionError> {
        Self::new(text)
    }
}
impl From<Image> for String {
    fn from(image: Image) -> Self {
        image.0
    }
}
impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl JsonSchema for Image {
    fn schema_name() -> Cow<'static, str> {
        "Image".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 512, "description": "registry/name:tag" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_the_grammar() {
        for good in [
            "1", "0.5", "512Mi", "1.5Gi", "250m", "100k", "2T", ".5", "1.", "+1", "1e3", "1E3",
            "5e-1", "1Ei", "2P", "3000u", "5000000n",
        ] {
            assert!(Quantity::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "512MB",
            "512mb",
            "-1",
            "++1",
            "1e3x",
            "1e",
            "1e99",
            "16Ei",
            "1K",
            "1mi",
            "1u",
            "Mi",
            "1 Mi",
            "1..5",
            "0.0001",
            "99999999999999999999Ti",
            "1Mi\n",
        ] {
            assert!(Quantity::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Quantity::new("1Gi").unwrap(),
            Quantity::new("1024Mi").unwrap()
        );
        for (text, milli) in [
            ("1e3", 1_000_000),
            ("5e-1", 500),
            ("1E", 10u128.pow(21)),
            ("1500u", 0),
            ("2000u", 2),
        ] {
            let read = Quantity::new(text).map_or(0, |quantity| quantity.milli());
            assert_eq!(read, milli, "{text}");
        }
    }

    #[test]
    fn images_follow_the_grammar() {
        for good in [
            "web",
            "web:1",
            "library/web",
            "localhost:5000/a/b:v1.2-3",
            "r.example/web:does-not-exist",
            "a__b/c-d.e",
        ] {
            assert!(Image::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Web",
            "web:",
            "web@sha256:12",
            "a b",
            "web;rm",
            "https://r.example/web",
            "web:1=2",
        ] {
            assert!(Image::new(bad).is_err(), "{bad}");
        }
    }
}
