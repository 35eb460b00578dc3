//! Label and field selectors of a query.

use std::collections::HashMap;

use serde_json::Value;

use super::Failure;

/// Label and field selectors: equality only.
pub(super) struct Selectors {
    terms: Vec<(Vec<String>, String, bool)>,
}

impl Selectors {
    pub(super) fn read(query: &HashMap<String, String>) -> Result<Self, Failure> {
        let mut terms = Vec::new();
        for (parameter, labels) in [("labelSelector", true), ("fieldSelector", false)] {
            for term in query
                .get(parameter)
                .into_iter()
                .flat_map(|text| text.split(','))
                .filter(|term| !term.is_empty())
            {
                let (key, value, equal) = match (
                    term.split_once("!="),
                    term.split_once("==").or_else(|| term.split_once('=')),
                ) {
                    (Some((key, value)), _) => (key, value, false),
                    (None, Some((key, value))) => (key, value, true),
                    (None, None) => {
                        return Err(Failure::new(
                            400,
                            "BadRequest",
                            format!("unable to parse requirement: {term}"),
                        ));
                    }
                };
                let path = if labels {
                    vec!["metadata".into(), "labels".into(), key.to_owned()]
                } else {
                    key.split('.').map(ToOwned::to_owned).collect()
                };
                terms.push((path, value.to_owned(), equal));
            }
        }
        Ok(Self { terms })
    }

    pub(super) fn select(&self, object: &Value) -> bool {
        self.terms.iter().all(|(path, wanted, equal)| {
            let found = path
                .iter()
                .try_fold(object, |value, key| value.get(key))
                .and_then(Value::as_str)
                .unwrap_or_default();
            (found == wanted) == *equal
        })
    }
}
