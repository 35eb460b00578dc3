//! The three kinds of patches, as the API server applies them.

use serde_json::{Map, Value};

use super::Failure;

/// Applies a patch by its content type.
pub(super) fn apply(object: &mut Value, content_type: &str, body: &[u8]) -> Result<(), Failure> {
    let bad = |error: serde_json::Error| {
        Failure::new(
            400,
            "BadRequest",
            format!("the patch can't be read: {error}"),
        )
    };
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(body).map_err(bad)?;
            json_patch::patch(object, &patch).map_err(|error| {
                Failure::new(
                    422,
                    "Invalid",
                    format!(
                        "the server rejected our request due to an error in our request: {error}"
                    ),
                )
            })
        }
        "application/merge-patch+json" => {
            json_patch::merge(object, &serde_json::from_slice(body).map_err(bad)?);
            Ok(())
        }
        "application/strategic-merge-patch+json" => {
            strategic(object, serde_json::from_slice(body).map_err(bad)?, "");
            Ok(())
        }
        other => Err(Failure::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format: {other}"),
        )),
    }
}

/// The key by which elements of a list are merged; lists without one are replaced.
fn merge_key(list: &str, items: &[Value]) -> Option<&'static str> {
    match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets" => Some("name"),
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => {
            Some("containerPort")
        }
        "ports" => Some("port"),
        "volumeMounts" => Some("mountPath"),
        "conditions" => Some("type"),
        "hostAliases" => Some("ip"),
        "ownerReferences" => Some("uid"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

fn strategic(old: &mut Value, patch: Value, field: &str) {
    match (old, patch) {
        (Value::Object(old), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    old.remove(&key);
                    continue;
                }
                match old.get_mut(&key) {
                    Some(slot) => strategic(slot, value, &key),
                    None => {
                        old.insert(key, without_nulls(value));
                    }
                }
            }
        }
        (Value::Array(old), Value::Array(patch)) => match merge_key(field, &patch) {
            None => *old = patch,
            Some(key) => {
                // New elements go to the front, as the API server does it.
                let mut new = Vec::new();
                for item in patch {
                    match old
                        .iter_mut()
                        .find(|known| known.get(key) == item.get(key) && item.get(key).is_some())
                    {
                        Some(known) => strategic(known, item, ""),
                        None => new.push(without_nulls(item)),
                    }
                }
                new.append(old);
                *old = new;
            }
        },
        (slot, value) => *slot = without_nulls(value),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(k, v)| (k, without_nulls(v)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_strategic_patch_merges_lists_by_their_key() {
        let mut object = json!({"spec": {"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]}});
        let patch =
            json!({"spec": {"containers": [{"name": "a", "image": "2", "args": ["y", "z"]}]}});
        apply(
            &mut object,
            "application/strategic-merge-patch+json",
            patch.to_string().as_bytes(),
        )
        .unwrap();
        assert_eq!(
            object,
            json!({"spec": {"containers": [{"name": "a", "image": "2", "args": ["y", "z"]}, {"name": "b"}]}})
        );
    }
}
