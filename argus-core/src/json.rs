//! Text becomes JSON without surprises: no key is given twice, no number is rounded, nothing is bottomless.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use crate::letters::short;

mod yaml;
pub(crate) use yaml::from_yaml;

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 32;

/// Why a text isn't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Its grammar is broken; the text says where.
    #[error("{0}")]
    Syntax(String),
    /// It could be read in two ways, or would lose something.
    #[error("{problem}{}", at(place))]
    Value {
        /// A JSON pointer.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

fn at(place: &str) -> String {
    if place.is_empty() {
        String::new()
    } else {
        format!(", at `{place}`")
    }
}

/// Reads JSON text.
pub(crate) fn from_json(text: &str) -> Result<Value, JsonError> {
    let failed = RefCell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Place::Root(&failed)
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value));
    value.map_err(|error| match failed.take() {
        Some(error) => error,
        None if error.classify() == Category::Eof => {
            JsonError::Syntax(format!("the text ends too early, {error}"))
        }
        None => JsonError::Syntax(error.to_string()),
    })
}

/// Where in the document the reader is; the root keeps the error, which a deserialiser would turn into text.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root(&'a RefCell<Option<JsonError>>),
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn depth(&self) -> usize {
        match self {
            Self::Root(_) => 0,
            Self::Key(parent, _) | Self::Index(parent, _) => parent.depth() + 1,
        }
    }

    fn check_depth(&self) -> Result<(), JsonError> {
        if self.depth() < MAX_DEPTH {
            Ok(())
        } else {
            Err(self.error(format!("the nesting is deeper than {MAX_DEPTH} levels")))
        }
    }

    fn error(&self, problem: impl Into<String>) -> JsonError {
        // The end of a deep path says nothing that its start doesn't.
        let place: String = self.to_string().chars().take(200).collect();
        JsonError::Value {
            place,
            problem: problem.into(),
        }
    }

    /// Keeps the error at the root, for the caller of the deserialiser.
    fn keep<E: de::Error>(&self, error: JsonError) -> E {
        match self {
            Self::Root(failed) => {
                let text = error.to_string();
                failed.replace(Some(error));
                E::custom(text)
            }
            Self::Key(parent, _) | Self::Index(parent, _) => parent.keep(error),
        }
    }

    fn check_key(&self, map: &Map<String, Value>, key: &str) -> Result<(), JsonError> {
        if map.contains_key(key) {
            return Err(self.error(format!("`{}` is given twice", short(key))));
        }
        Ok(())
    }

    fn float(&self, number: f64) -> Result<Value, JsonError> {
        // An integer beyond 64 bits arrives as a float too.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match Number::from_f64(number) {
            Some(exact) if number.abs() < EXACT => Ok(exact.into()),
            _ => Err(self.error(format!(
                "the number {number:e} is beyond 64 bits and would be rounded"
            ))),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(_) => Ok(()),
            Self::Key(parent, key) => {
                let key = short(key).replace('~', "~0").replace('/', "~1");
                write!(f, "{parent}/{key}")
            }
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.float(value).map_err(|error| self.keep(error))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth().map_err(|error| self.keep(error))?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Place::Index(&self, list.len()))? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.check_depth().map_err(|error| self.keep(error))?;
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            self.check_key(&map, &key)
                .map_err(|error| self.keep(error))?;
            let value = fields.next_value_seed(Place::Key(&self, &key))?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// The JSON Schema of a type, its keys in order: features of other crates decide whether they otherwise are.
pub(crate) fn schema_of<T: schemars::JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    schema.sort_all_objects();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_would_be_lost_is_an_error_that_names_the_place() {
        for (text, place, problem) in [
            (r#"{"a": 1, "a": 1}"#, "", "`a` is given twice"),
            (
                r#"{"a": [0, {"b/c": {"d": 1, "d": 2}}]}"#,
                "/a/1/b~1c",
                "`d` is given twice",
            ),
            (r#"{"a": 18446744073709551616}"#, "/a", "beyond 64 bits"),
            (r#"{"a": -9223372036854775809}"#, "/a", "beyond 64 bits"),
            (r#"[1e300]"#, "/0", "beyond 64 bits"),
        ] {
            let error = from_json(text).unwrap_err();
            assert!(error.to_string().contains(problem), "{text}: {error}");
            let JsonError::Value { place: found, .. } = error else {
                panic!("{text}: {error}");
            };
            assert_eq!(found, place, "{text}");
        }
        let deep = format!("{}1{}", r#"{"a":["#.repeat(20), "]}".repeat(20));
        assert!(
            from_json(&deep)
                .unwrap_err()
                .to_string()
                .contains("nesting is deeper")
        );
        for broken in ["", "{", "NaN", "[1,]", "{} {}", "{\"a\": Infinity}", "'a'"] {
            assert!(
                matches!(from_json(broken), Err(JsonError::Syntax(_))),
                "{broken}"
            );
        }
        assert_eq!(
            from_json(r#"{"a": [18446744073709551615, -1, 0.5, "x", null, true]}"#).unwrap(),
            json!({"a": [u64::MAX, -1, 0.5, "x", null, true]})
        );
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            prop::sample::select(vec![
                "on", "yes", "~", "null", "0x1f", "1e3", "010", "- a", "a: b", "#", "512Mi",
                "1:30", " x "
            ])
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_back(value in document()) {
            prop_assert_eq!(from_json(&value.to_string()), Ok(value));
        }

        #[test]
        fn where_it_reads_it_agrees_with_serde_json(text in "[\\[\\]{}:,\"a0-9eE+. -]{0,24}") {
            if let Ok(value) = from_json(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
