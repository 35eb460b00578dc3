//! The question whether a change that passed by default is one of the listed ones.

use std::collections::BTreeMap;

use argus_core::{AllowedChange, Kind};
use serde_json::Value;

/// Whether every field that changed is in the table of allowed changes.
///
/// `changed` are the fields that differ, by their path with element names (`spec.template.spec.containers[app].image`),
/// with the value before and after (null where there is none). The paths are matched here by their text, not by the code
/// under test.
pub(crate) fn is_listed(kind: Kind, changed: &BTreeMap<String, (Value, Value)>) -> bool {
    let rows = AllowedChange::ALL
        .iter()
        .filter(|row| row.kinds.contains(&kind));
    let patterns: Vec<String> = rows.map(|row| row.pointer(kind)).collect();
    changed.keys().all(|path| {
        let matches = |pattern: &String| {
            let parts: Vec<&str> = pattern.split('/').skip(1).collect();
            is_matched(path, &parts)
        };
        patterns.iter().any(matches)
    })
}

/// Whether a path is what a pattern's parts say, one after another.
fn is_matched(path: &str, parts: &[&str]) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return path.is_empty();
    };
    let path = path.strip_prefix('.').unwrap_or(path);
    match *part {
        "**" => true,
        "*" => match path.strip_prefix('[').and_then(|path| path.split_once(']')) {
            Some((_, below)) => is_matched(below, rest),
            // A key of a map may have dots; none of the table has anything below it.
            None => rest.is_empty() && !path.is_empty(),
        },
        names => names.split('|').any(|name| {
            let name = name.trim().replace("~1", "/");
            let below = path.strip_prefix(name.as_str());
            below.is_some_and(|below| {
                (below.is_empty() || below.starts_with(['.', '['])) && is_matched(below, rest)
            })
        }),
    }
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
        // A map that became empty is the removal of what was in it.
        let below = format!("{path}.");
        let emptied = before.is_null()
            && after == serde_json::json!({})
            && old.keys().any(|other| other.starts_with(&below));
        if before != after && !emptied {
            changed.insert(path, (before, after));
        }
    }
    changed
}

const SERVERS: [&str; 7] = [
    "metadata.annotations.deprecated.daemonset.template.generation",
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
