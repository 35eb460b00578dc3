//! What asking a model costs: tokens become money by a table of prices.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest table of prices that is read, in bytes of JSON.
const MAX_PRICES_BYTES: usize = 16 << 20;
/// How many tokens a price is for.
const PER: u128 = 1_000_000;
/// Billionths of a dollar in one dollar.
const BILLION: f64 = 1e9;

/// Tokens of one completion, as its provider counts them; 0 where it doesn't say.
///
/// # Example
/// ```
/// # use argus_core::Usage;
/// let usage = Usage { input_tokens: 900, output_tokens: 100 };
/// assert_eq!(usage.total(), 1000);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that it wrote, with what it thought before.
    pub output_tokens: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }
}

/// An estimate of the most tokens that a text has, without asking the model: prose has a third fewer.
pub(crate) fn estimated_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes / 3).unwrap_or(u64::MAX)
}

/// US dollars, in whole billionths; in JSON a number of dollars.
///
/// # Example
/// ```
/// # use argus_core::Usd;
/// assert_eq!(Usd::dollars(0.25).map(|price| price.to_string()).as_deref(), Some("0.25 USD"));
/// assert_eq!(Usd::dollars(-1.0), None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

impl Usd {
    /// So many dollars; nothing for less than none, or for more than a million.
    #[must_use]
    pub fn dollars(dollars: f64) -> Option<Self> {
        let billionths = (dollars * BILLION).round();
        // Up to here every billionth is a number of its own, so that JSON gives back what it was given.
        let exact = (0.0..=1e15).contains(&billionths);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the bounds were checked"
        )]
        exact.then_some(Self(billionths as u64))
    }

    /// As a number of dollars.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to a million dollars")]
    pub fn as_dollars(self) -> f64 {
        self.0 as f64 / BILLION
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} USD", self.as_dollars())
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Self::dollars(dollars)
            .ok_or_else(|| serde::de::Error::custom("no amount of US dollars from 0 to 1,000,000"))
    }
}

impl JsonSchema for Usd {
    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1_000_000, "description": "US dollars." })
    }
}

/// What a million tokens of one model cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Price {
    input: Usd,
    output: Usd,
}

/// Why a text is no table of prices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PricesError {
    /// More bytes than are read.
    #[error("the table of prices has {0} bytes, at most {MAX_PRICES_BYTES} are read")]
    TooLarge(usize),
    /// No JSON object of models.
    #[error("the table of prices is no JSON object with one object per model")]
    Malformed(#[source] serde_json::Error),
    /// A price that is none.
    #[error("`{model}` has a price that is no amount of US dollars from 0 on")]
    NoAmount {
        /// The model.
        model: String,
    },
}

/// What models cost. Empty by default: prices change, so Argus comes with none.
///
/// A model is found by its whole name, and by its name before a version, such as `gpt-5-mini` for `gpt-5-mini-2026-01-01`.
///
/// # Example
/// ```
/// use argus_core::{Prices, Usage, Usd};
/// let free = Usd::default();
/// let prices = Prices::from_json(r#"{"gpt-5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}}"#)?
///     .price("qwen3:8b", free, free);
/// let usage = Usage { input_tokens: 4000, output_tokens: 500 };
/// let cost = prices.cost("gpt-5-mini-2026-01-01", usage);
/// assert_eq!(cost.map(|cost| cost.to_string()).as_deref(), Some("0.002 USD"));
/// assert_eq!(prices.cost("qwen3:8b", usage), Some(free));
/// assert_eq!(prices.cost("a model of tomorrow", usage), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// Reads the table that `LiteLLM` keeps, `model_prices_and_context_window.json`, or one like it: `input_cost_per_token` and
    /// `output_cost_per_token` in US dollars by a model's name. Models without both, such as those that draw, are left out.
    ///
    /// # Errors
    /// [`PricesError`] for what is no such table, or a price that is no amount.
    pub fn from_json(text: &str) -> Result<Self, PricesError> {
        #[derive(Deserialize)]
        struct Row {
            input_cost_per_token: Option<f64>,
            output_cost_per_token: Option<f64>,
        }
        if text.len() > MAX_PRICES_BYTES {
            return Err(PricesError::TooLarge(text.len()));
        }
        let rows: BTreeMap<String, Row> =
            serde_json::from_str(text).map_err(PricesError::Malformed)?;
        let mut prices = Self::default();
        for (model, row) in rows {
            let (Some(input), Some(output)) = (row.input_cost_per_token, row.output_cost_per_token)
            else {
                continue;
            };
            let (Some(input), Some(output)) =
                (Usd::dollars(input * 1e6), Usd::dollars(output * 1e6))
            else {
                return Err(PricesError::NoAmount { model });
            };
            prices.0.insert(model, Price { input, output });
        }
        Ok(prices)
    }

    /// With the price of a model, or another one: what a million tokens read and a million tokens written cost.
    #[must_use]
    pub fn price(mut self, model: impl Into<String>, input: Usd, output: Usd) -> Self {
        self.0.insert(model.into(), Price { input, output });
        self
    }

    /// What a completion of a model cost, rounded up to a billionth of a dollar; nothing where its price isn't known.
    #[must_use]
    pub fn cost(&self, model: &str, usage: Usage) -> Option<Usd> {
        let Price { input, output } = self.of(model)?;
        let part = |tokens: u64, price: &Usd| u128::from(tokens) * u128::from(price.0);
        let billionths = part(usage.input_tokens, input)
            .saturating_add(part(usage.output_tokens, output))
            .div_ceil(PER);
        Some(Usd(u64::try_from(billionths).unwrap_or(u64::MAX)))
    }

    /// The cost where the dearest of the models was asked.
    pub(crate) fn dearest(&self, usage: Usage) -> Option<Usd> {
        let costs = self.0.keys().filter_map(|model| self.cost(model, usage));
        costs.max()
    }

    fn of(&self, model: &str) -> Option<&Price> {
        let is_version = |rest: &str| {
            let mut chars = rest.chars();
            matches!(chars.next(), Some('-' | '@'))
                && chars.next().is_some_and(|c| c.is_ascii_digit())
        };
        self.0.get(model).or_else(|| {
            let known = self.0.iter().filter(|(name, _)| {
                let rest = model.strip_prefix(name.as_str());
                rest.is_some_and(is_version)
            });
            known
                .max_by_key(|(name, _)| name.len())
                .map(|(_, price)| price)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(dollars: f64) -> Usd {
        Usd::dollars(dollars).unwrap_or_default()
    }

    #[test]
    fn a_version_has_the_price_of_its_model_and_another_model_has_not() {
        let prices = Prices::default()
            .price("gpt-5", price(1.0), price(10.0))
            .price("gpt-5-mini", price(0.25), price(2.0));
        let million = Usage {
            input_tokens: 1_000_000,
            output_tokens: 0,
        };
        for (model, cost) in [
            ("gpt-5", Some(1.0)),
            ("gpt-5-mini-2026-01-01", Some(0.25)),
            ("gpt-5-2026-01-01", Some(1.0)),
            ("gpt-5-nano", None),
            ("gpt-50", None),
            ("", None),
        ] {
            let found = prices.cost(model, million).map(Usd::as_dollars);
            assert_eq!(found, cost, "{model}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let error = |text: &str| {
            Prices::from_json(text).map_or_else(|error| error.to_string(), |_| String::new())
        };
        assert!(error("[]").contains("one object per model"));
        assert!(error(&"x".repeat(MAX_PRICES_BYTES + 1)).contains("at most"));
        let negative = r#"{"m": {"input_cost_per_token": -1, "output_cost_per_token": 1}}"#;
        assert!(error(negative).contains("`m`"));
        assert_eq!(error(r#"{"draws": {"output_cost_per_image": 1}}"#), "");
    }

    proptest! {
        #[test]
        fn money_is_the_same_after_json(billionths in 0_u64..=1_000_000_000_000_000) {
            let text = serde_json::to_string(&Usd(billionths)).unwrap_or_default();
            prop_assert_eq!(serde_json::from_str::<Usd>(&text).ok(), Some(Usd(billionths)));
        }

        #[test]
        fn nothing_costs_less_than_its_tokens(input: u64, output: u64, price in 0_u64..1_000_000_000) {
            let prices = Prices::default().price("m", Usd(price), Usd(price));
            let cost = prices.cost("m", Usage { input_tokens: input, output_tokens: output });
            let exact = (u128::from(input) + u128::from(output)) * u128::from(price);
            prop_assert!(cost.is_some_and(|cost| cost.0 == u64::MAX || u128::from(cost.0) * PER >= exact));
        }
    }
}
