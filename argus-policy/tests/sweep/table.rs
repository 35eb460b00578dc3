//! The question whether a change that passed by default is one of the listed ones.

use std::collections::BTreeMap;

use serde_json::Value;

/// Whether every field that changed is in the table of allowed changes with such a value; none while nobody asks.
///
/// `changed` are the fields that differ, by their path with element names (`spec.template.spec.containers[app].image`),
/// with the value before and after (null where there is none).
pub(crate) fn is_listed(
    _kind: &str,
    _before: &Value,
    _after: &Value,
    _changed: &BTreeMap<String, (Value, Value)>,
) -> Option<bool> {
    None
}

/// Every field that differs, by its path; what the API server keeps for itself is left out.
pub(crate) fn changed(before: &Value, after: &Value) -> BTreeMap<String, (Value, Value)> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    leaves(before, String::new(), &mut old);
    leaves(after, String::new(), &mut new);
    let paths: Vec<String> = old.keys().chain(new.keys()).cloned().collect();
    let mut changed = BTreeMap::new();
    for path in paths {
        let pair = [&old, &new].map(|fields| fields.get(&path).cloned().unwrap_or_default());
        let [before, after] = pair;
        if before != after {
            changed.insert(path, (before, after));
        }
    }
    changed
}

const SERVERS: [&str; 6] = [
    "status",
    "metadata.managedFields",
    "metadata.generation",
    "metadata.resourceVersion",
    "metadata.uid",
    "metadata.creationTimestamp",
];

/// Lists are named by their elements' names where each has one of its own, and their order is a field too.
fn leaves(value: &Value, path: String, found: &mut BTreeMap<String, Value>) {
    if SERVERS.contains(&path.as_str()) {
        return;
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(value, below, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let names: Vec<String> = items
                .iter()
                .filter_map(|item| Some(item.get("name")?.as_str()?.to_owned()))
                .collect();
            let mut distinct = names.clone();
            distinct.sort();
            distinct.dedup();
            let named = distinct.len() == items.len();
            for (index, item) in items.iter().enumerate() {
                let name = if named {
                    names[index].clone()
                } else {
                    index.to_string()
                };
                leaves(item, format!("{path}[{name}]"), found);
            }
            if named {
                found.insert(format!("{path}[]"), names.into());
            }
        }
        value => {
            found.insert(path, value.clone());
        }
    }
}
