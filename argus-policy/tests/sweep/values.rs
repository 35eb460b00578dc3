//! Values that a field could plausibly be set to, by the schema's type and format; a few by the field's name.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::schema::{Document, Segment, is_list, is_map, is_object, text};

/// What a field is set to.
#[derive(Default)]
pub(crate) struct Values {
    /// Each of them: what they mean differs.
    pub(crate) each: Vec<Value>,
    /// One that the API server accepts: they are tried until then.
    pub(crate) one_of: Vec<Value>,
}

/// Values by name, keys of maps and the least objects of types.
static DATA: LazyLock<Value> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("fixtures/values.yaml")).unwrap());

/// Values for a leaf at a path.
pub(crate) fn of_leaf(path: &[Segment], schema: &Value, current: Option<&Value>) -> Values {
    let mut values = of_type(path, schema, current);
    let other = |value: &Value| Some(value) != current;
    values.each.retain(other);
    let each = values.each.clone();
    values
        .one_of
        .retain(|value| other(value) && !each.contains(value));
    values
}

fn of_type(path: &[Segment], schema: &Value, current: Option<&Value>) -> Values {
    let ints = |each: &[i64]| each.iter().map(|number| json!(number)).collect();
    let texts = |texts: &[&str]| texts.iter().map(|text| json!(text)).collect();
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("boolean"), _) => Values {
            each: vec![json!(true), json!(false)],
            ..Values::default()
        },
        (Some("integer" | "number"), _) => {
            let now = current.and_then(Value::as_i64);
            let each = now.map_or(vec![3, 0], |now| vec![now + 1, now - 1, 0]);
            Values {
                each: ints(&each),
                one_of: ints(&[1, 2, 30, 50, 100, 8081]),
            }
        }
        (_, Some("int-or-string")) => Values {
            each: vec![json!(8081), json!("sweep")],
            one_of: vec![json!(0), json!("50%"), json!(1)],
        },
        (Some("string"), Some("date-time")) => Values {
            one_of: texts(&["2030-01-01T00:00:00Z"]),
            ..Values::default()
        },
        (Some("string"), _) => {
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let named = by_end(&DATA["by_name"], &text(path)).map(list);
            let mut each: Vec<Value> = named.unwrap_or_default();
            let listed = list(&schema["enum"]);
            each.extend(
                listed
                    .into_iter()
                    .filter(|value| !each.contains(value))
                    .collect::<Vec<_>>(),
            );
            if each.is_empty() {
                each = list(&schema["description"]);
            }
            Values {
                each,
                one_of: list(&DATA["texts"]),
            }
        }
        (_, None) if schema["oneOf"].is_array() => Values {
            each: texts(&["3Gi", "3"]),
            one_of: texts(&["1500m", "64Mi"]),
        },
        _ => Values {
            one_of: vec![json!({}), json!("sweep")],
            ..Values::default()
        },
    }
}

/// The value of the key that a path ends with.
fn by_end<'a>(map: &'a Value, path: &str) -> Option<&'a Value> {
    let is_end = |end: &str| {
        let rest = path.strip_suffix(end);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let mut found = map.as_object().into_iter().flatten();
    found.find(|(end, _)| is_end(end)).map(|(_, value)| value)
}

/// Keys that a map at a path is given, each with a value.
pub(crate) fn keys(path: &[Segment], value: &Value) -> Vec<(String, Value)> {
    let named = by_end(&DATA["keys"], &text(path)).and_then(Value::as_object);
    match named {
        Some(keys) => keys.clone().into_iter().collect(),
        None => vec![("sweep".to_owned(), value.clone())],
    }
}

/// The least value of a schema that the API server could accept.
pub(crate) fn least(document: &Document, path: &[Segment], schema: &Value) -> Value {
    built(document, path, schema, &[], &Value::Null)
}

/// The value of a schema in which the leaf below `rest` has a value, with what is required beside it.
pub(crate) fn built(
    document: &Document,
    path: &[Segment],
    schema: &Value,
    rest: &[Segment],
    leaf: &Value,
) -> Value {
    let deeper =
        |segment: &Segment| -> Vec<Segment> { path.iter().chain([segment]).cloned().collect() };
    let below = |segment: &Segment, rest: &[Segment], leaf: &Value| {
        let inner = document.below(schema, segment);
        built(document, &deeper(segment), &inner, rest, leaf)
    };
    if rest.is_empty() && !leaf.is_null() {
        return leaf.clone();
    }
    match rest.split_first() {
        Some((Segment::Element, rest)) => json!([below(&Segment::Element, rest, leaf)]),
        Some((Segment::Value, rest)) => {
            let value = below(&Segment::Value, rest, leaf);
            let key = keys(path, &value).remove(0).0;
            json!({ key: value })
        }
        Some((Segment::Field(_), _)) | None if is_object(schema) => {
            let next = match rest.first() {
                Some(Segment::Field(name)) => Some(name.as_str()),
                _ => None,
            };
            let mut object = base(schema, next);
            let required = schema["required"]
                .as_array()
                .map_or(Cow::default(), Cow::Borrowed);
            for name in required.iter().filter_map(Value::as_str) {
                if Some(name) != next && object.get(name).is_none() {
                    object[name] = below(&Segment::Field(name.to_owned()), &[], &Value::Null);
                }
            }
            if let Some((segment, rest)) = rest.split_first() {
                object[next.unwrap()] = below(segment, rest, leaf);
            }
            object
        }
        None if is_list(schema) => json!([below(&Segment::Element, &[], leaf)]),
        None if is_map(schema) => json!({}),
        None => {
            let values = of_leaf(path, schema, None);
            let mut values = values.each.into_iter().chain(values.one_of);
            values.next().unwrap_or_default()
        }
        _ => leaf.clone(),
    }
}

fn base(schema: &Value, next: Option<&str>) -> Value {
    let name = schema["type_name"].as_str().unwrap_or_default();
    let base = &DATA["bases"][name];
    let fields = |part: &str| base[part].as_object().cloned().unwrap_or_default();
    let mut object = fields("always");
    let instead = base["instead"].as_array().cloned().unwrap_or_default();
    let is_instead = |next: &str| {
        instead.contains(&json!(next))
            || instead.contains(&json!("*")) && !object.contains_key(next)
    };
    if !next.is_some_and(is_instead) {
        object.extend(fields("else"));
    }
    object.into()
}
