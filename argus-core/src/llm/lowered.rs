//! The schema of a draft becomes one that every provider takes: the answer is held against the full one anyway.

use serde_json::{Map, Value, json};

/// How deep a schema may go: ours are not recursive.
const MAX_DEPTH: usize = 16;
/// How long a command may be on the wire, in characters: a small model that repeats itself fills whatever it is given.
const MAX_COMMAND: usize = 2000;
/// What no provider needs.
const DROPPED: [&str; 5] = ["$schema", "$defs", "title", "format", "default"];
/// What hosted providers refuse in a schema, and are told in words.
const BOUNDS: [(&str, &str); 6] = [
    ("minLength", "characters at least"),
    ("maxLength", "characters at most"),
    ("minItems", "entries at least"),
    ("maxItems", "entries at most"),
    ("minimum", "at least"),
    ("maximum", "at most"),
];

/// Whether a server holds a model to lengths and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bounds {
    /// It does; without them a small model writes without end.
    Enforced,
    /// It refuses a schema that has them.
    InWords,
}

/// The schema of a plan on the wire: a model writes commands, which say all that an action does in fewer words.
pub(super) fn lowered(schema: &Value, bounds: Bounds) -> Value {
    let mut schema = schema.clone();
    if let Some(step) = schema.pointer_mut("/$defs/DraftStep/properties")
        && let Some(step) = step.as_object_mut()
    {
        step.remove("action");
        if let Some(command) = step.get_mut("command") {
            command["type"] = json!("string");
            command["maxLength"] = json!(MAX_COMMAND);
        }
    }
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    lower(&schema, &definitions, bounds, MAX_DEPTH)
}

fn lower(schema: &Value, definitions: &Value, bounds: Bounds, depth: usize) -> Value {
    let (Some(schema), Some(depth)) = (schema.as_object(), depth.checked_sub(1)) else {
        return json!({});
    };
    let mut schema = schema.clone();
    let name = schema
        .remove("$ref")
        .and_then(|path| Some(path.as_str()?.strip_prefix("#/$defs/")?.to_owned()));
    if let Some(definition) = name.and_then(|name| definitions.get(&name)?.as_object().cloned()) {
        // What stands beside a reference says more than what it refers to.
        let beside = std::mem::replace(&mut schema, definition);
        schema.extend(beside);
    }
    DROPPED.iter().for_each(|key| drop(schema.remove(*key)));
    if let Some(value) = schema.remove("const") {
        schema.insert("enum".into(), json!([value]));
    }
    let inner = |schema: &Value| lower(schema, definitions, bounds, depth);
    for key in ["oneOf", "anyOf"] {
        if let Some(Value::Array(cases)) = schema.remove(key) {
            schema.insert("anyOf".into(), cases.iter().map(inner).collect());
        }
    }
    if let Some(items) = schema.get("items").map(inner) {
        schema.insert("items".into(), items);
    }
    if let Some(Value::Object(properties)) = schema.remove("properties") {
        // A model writes in this order: as the type has it, which the list of what is required kept.
        let required = schema.get("required").and_then(Value::as_array);
        let first = required.into_iter().flatten().filter_map(Value::as_str);
        let first: Vec<&str> = first.collect();
        let mut names: Vec<String> = properties.keys().cloned().collect();
        names.sort_by_key(|name| first.iter().position(|first| first == name).unwrap_or(99));
        let property = |name: &String| Some((name.clone(), inner(properties.get(name)?)));
        let properties: Map<String, Value> = names.iter().filter_map(property).collect();
        schema.insert("properties".into(), properties.into());
        schema.insert("required".into(), names.into());
        schema.insert("additionalProperties".into(), false.into());
    }
    if bounds == Bounds::InWords {
        in_words(&mut schema);
    }
    one_text_enum(&mut schema);
    schema.into()
}

/// Moves bounds into the description.
fn in_words(schema: &mut Map<String, Value>) {
    let mut words = Vec::new();
    for (key, unit) in BOUNDS {
        if let Some(bound) = schema.remove(key) {
            words.push(match key {
                "minimum" | "maximum" => format!("{unit} {bound}"),
                _ => format!("{bound} {unit}"),
            });
        }
    }
    schema.remove("pattern");
    if !words.is_empty() {
        let before = schema.get("description").and_then(Value::as_str);
        let description = format!("{} ({})", before.unwrap_or_default(), words.join(", "));
        schema.insert("description".into(), description.trim().into());
    }
}

/// Cases that are one text each become one list of texts.
fn one_text_enum(schema: &mut Map<String, Value>) {
    let Some(cases) = schema.get("anyOf").and_then(Value::as_array) else {
        return;
    };
    let text = |case: &Value| {
        let values = case.get("enum")?.as_array()?.clone();
        values.iter().all(Value::is_string).then_some(values)
    };
    let texts: Option<Vec<Vec<Value>>> = cases.iter().map(text).collect();
    if let Some(texts) = texts {
        schema.remove("anyOf");
        schema.insert("type".into(), "string".into());
        schema.insert("enum".into(), texts.concat().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Draft;

    fn keywords(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if key == "properties" {
                        let properties = value.as_object().into_iter().flatten();
                        properties.for_each(|(_, property)| keywords(property, found));
                    } else {
                        found.push(key.clone());
                        keywords(value, found);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keywords(item, found)),
            _ => {}
        }
    }

    #[test]
    fn the_wire_schema_has_only_what_every_provider_takes() {
        let full = crate::json::schema_of::<Draft>();
        let wire = lowered(&full, Bounds::InWords);
        let mut found = Vec::new();
        keywords(&wire, &mut found);
        found.sort();
        found.dedup();
        assert_eq!(
            found,
            [
                "additionalProperties",
                "description",
                "enum",
                "items",
                "required",
                "type"
            ]
        );
        insta::assert_json_snapshot!(wire);
    }

    #[test]
    fn a_server_that_enforces_lengths_gets_them() {
        let full = crate::json::schema_of::<Draft>();
        let wire = lowered(&full, Bounds::Enforced);
        assert_eq!(wire["properties"]["summary"]["maxLength"], 400);
        assert_eq!(wire["properties"]["steps"]["maxItems"], 10);
    }
}
