//! The JSON patch that leads from one value to another, by the indexes of the first.

use serde_json::{Value, json};

use super::{by_key, keyed};

/// The JSON patch that makes `wanted` of `live`: indexes are those of the live lists, each with a `test` of the identity
/// of the element that stands there, and of every value that goes.
pub(crate) fn patch(live: &Value, wanted: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    make("", "", live, wanted, &mut operations);
    operations
}

fn make(pointer: &str, name: &str, live: &Value, wanted: &Value, operations: &mut Vec<Value>) {
    if live == wanted {
        return;
    }
    let test = |path: &str, value: &Value| json!({ "op": "test", "path": path, "value": value });
    match (live, wanted) {
        (Value::Object(old), Value::Object(new)) => {
            let below = |key: &str| {
                let key = key.replace('~', "~0").replace('/', "~1");
                format!("{pointer}/{key}")
            };
            for (key, value) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                operations.push(test(&below(key), value));
                operations.push(json!({ "op": "remove", "path": below(key) }));
            }
            for (key, value) in new {
                match old.get(key) {
                    Some(old) => make(&below(key), key, old, value, operations),
                    None => {
                        operations.push(json!({ "op": "add", "path": below(key), "value": value }))
                    }
                }
            }
            return;
        }
        (Value::Array(old), Value::Array(new)) => {
            if let (Some(old), Some(new)) = (keyed(name, old), keyed(name, new)) {
                let (was, is) = (by_key(&old), by_key(&new));
                let stays = old
                    .iter()
                    .map(|(key, _)| key)
                    .filter(|key| is.contains_key(key));
                let stood = new
                    .iter()
                    .map(|(key, _)| key)
                    .filter(|key| was.contains_key(key));
                // Elements that changed places are one value.
                if stays.eq(stood) {
                    for (index, (key, element)) in old.iter().enumerate() {
                        let Some(new) = is.get(key).filter(|new| *new != element) else {
                            continue;
                        };
                        let pointer = format!("{pointer}/{index}");
                        for field in key.0.fields {
                            if let Some(value) = element.pointer(field) {
                                operations.push(test(&format!("{pointer}{field}"), value));
                            }
                        }
                        make(&pointer, "", element, new, operations);
                    }
                    let gone = old.iter().enumerate().rev();
                    for (index, (_, element)) in gone.filter(|(_, (key, _))| !is.contains_key(key))
                    {
                        let path = format!("{pointer}/{index}");
                        operations.push(test(&path, element));
                        operations.push(json!({ "op": "remove", "path": path }));
                    }
                    let comes = new.iter().enumerate();
                    for (index, (_, element)) in
                        comes.filter(|(_, (key, _))| !was.contains_key(key))
                    {
                        let path = format!("{pointer}/{index}");
                        operations.push(json!({ "op": "add", "path": path, "value": element }));
                    }
                    return;
                }
            }
        }
        _ => {}
    }
    operations.push(test(pointer, live));
    operations.push(json!({ "op": "replace", "path": pointer, "value": wanted }));
}
