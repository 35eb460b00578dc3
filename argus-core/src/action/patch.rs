//! A patch: JSON becomes a bounded change of fields whose paths are known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ActionError;

/// The largest patch, in bytes of JSON.
const MAX_BYTES: usize = 16 * 1024;
/// The deepest patch.
const MAX_DEPTH: usize = 16;
/// The most fields that one patch may touch.
const MAX_FIELDS: usize = 64;

/// How the API server applies a patch; the names are kubectl's `--type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatchKind {
    /// Lists are merged by their key, as `kubectl apply` does.
    Strategic,
    /// RFC 7386: lists are replaced as a whole.
    Merge,
    /// RFC 6902: a list of operations.
    Json,
}

impl PatchKind {
    /// kubectl's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strategic => "strategic",
            Self::Merge => "merge",
            Self::Json => "json",
        }
    }
}

/// A small change of fields: at most 16 KiB, 16 levels and 64 fields, below `spec`, `data` or the labels and
/// annotations, without directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    kind: PatchKind,
    body: Value,
}

/// Field names that change what a workload is allowed to do, or what belongs to it.
const SENSITIVE: [&str; 14] = [
    "securityContext",
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "hostPath",
    "hostPort",
    "volumes",
    "command",
    "args",
    "externalIPs",
    "matchLabels",
];

impl Patch {
    /// Checks a patch.
    ///
    /// # Errors
    /// [`ActionError::Invalid`] for a patch that is too large, too deep, empty, that has directives (`$patch`), or
    /// that touches anything but `spec`, `data`, labels and annotations.
    pub fn new(kind: PatchKind, body: Value) -> Result<Self, ActionError> {
        let bytes = body.to_string().len();
        if bytes > MAX_BYTES {
            return Err(ActionError::invalid(
                "the patch",
                format!("has {bytes} bytes, at most {MAX_BYTES} are taken"),
            ));
        }
        check_value(&body, 0)?;
        match (kind, &body) {
            (PatchKind::Json, Value::Array(operations)) => {
                operations.iter().try_for_each(check_operation)?
            }
            (PatchKind::Strategic | PatchKind::Merge, Value::Object(_)) => {}
            (PatchKind::Json, _) => {
                return Err(ActionError::invalid(
                    "the patch",
                    "of type `json` must be a list of operations",
                ));
            }
            (_, _) => return Err(ActionError::invalid("the patch", "must be an object")),
        }
        let patch = Self { kind, body };
        let fields = patch.fields_touched();
        if !(1..=MAX_FIELDS).contains(&fields.len()) {
            return Err(ActionError::invalid(
                "the patch",
                format!("must touch 1 to {MAX_FIELDS} fields, not {}", fields.len()),
            ));
        }
        let outside = fields
            .iter()
            .find(|field| !ROOTS.iter().any(|root| field.starts_with(root)));
        if let Some(field) = outside {
            return Err(ActionError::invalid(
                "the patch",
                format!(
                    "touches `{field}`: only fields below `spec`, labels and annotations may be patched"
                ),
            ));
        }
        Ok(patch)
    }

    /// How it is applied.
    #[must_use]
    pub fn kind(&self) -> PatchKind {
        self.kind
    }

    /// The patch itself.
    #[must_use]
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The fields that it writes, as JSON pointers; elements of merged lists by their name where they have one.
    #[must_use]
    pub fn fields_touched(&self) -> Vec<String> {
        let mut fields = Vec::new();
        match &self.body {
            Value::Array(operations) => {
                for operation in operations
                    .iter()
                    .filter(|operation| operation.get("op") != Some(&"test".into()))
                {
                    let path = operation
                        .get("path")
                        .and_then(Value::as_str)
                        .unwrap_or_default();
                    leaves(
                        operation.get("value").unwrap_or(&Value::Null),
                        path,
                        &mut fields,
                    );
                }
            }
            body => leaves(body, "", &mut fields),
        }
        fields
    }

    /// Whether it changes what the workload may do, or which pods belong to it.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.fields_touched()
            .iter()
            .any(|field| field.split('/').any(|part| SENSITIVE.contains(&part)))
    }
}

/// Where a patch may write.
const ROOTS: [&str; 3] = ["/spec/", "/metadata/labels/", "/metadata/annotations/"];

fn check_value(value: &Value, depth: usize) -> Result<(), ActionError> {
    if depth > MAX_DEPTH {
        return Err(ActionError::invalid(
            "the patch",
            format!("is deeper than {MAX_DEPTH} levels"),
        ));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, depth + 1)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            if key.starts_with('$') {
                return Err(ActionError::invalid("the patch", format!("has the directive `{key}`: use a JSON patch to remove or replace list elements")));
            }
            check_value(value, depth + 1)
        }),
        _ => Ok(()),
    }
}

fn check_operation(operation: &Value) -> Result<(), ActionError> {
    let known = |key: &String| matches!(key.as_str(), "op" | "path" | "value");
    let clean = operation
        .as_object()
        .is_some_and(|fields| fields.keys().all(known));
    let op = operation
        .get("op")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let path = operation
        .get("path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let valued = operation.get("value").is_some() != (op == "remove");
    if clean
        && matches!(op, "add" | "remove" | "replace" | "test")
        && path.starts_with('/')
        && valued
    {
        return Ok(());
    }
    Err(ActionError::invalid(
        "the patch",
        "has an operation that is not `add`, `remove`, `replace` or `test` with a `path` (and a `value`)",
    ))
}

fn leaves(value: &Value, path: &str, fields: &mut Vec<String>) {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(value, &format!("{path}/{}", escape(key)), fields);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let key = item
                    .get("name")
                    .and_then(Value::as_str)
                    .map_or_else(|| index.to_string(), escape);
                leaves(item, &format!("{path}/{key}"), fields);
            }
        }
        _ => fields.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_stays_below_spec_labels_and_annotations() {
        for bad in [
            json!({"metadata": {"finalizers": []}}),
            json!({"metadata": {"name": "other"}, "spec": {"replicas": 1}}),
            json!({"status": {"replicas": 1}}),
            json!({"kind": "Secret"}),
            json!({"spec": {"template": {"$patch": "replace"}}}),
            json!({"spec": null}),
            json!({}),
            json!([]),
        ] {
            assert!(Patch::new(PatchKind::Merge, bad.clone()).is_err(), "{bad}");
        }
        for bad in [
            json!([{"op": "replace", "path": "/metadata/ownerReferences", "value": []}]),
            json!([{"op": "move", "from": "/spec/a", "path": "/spec/b"}]),
            json!([{"op": "replace", "path": "", "value": {}}]),
            json!([{"op": "remove", "path": "/spec"}]),
            json!([{"op": "test", "path": "/spec/replicas", "value": 1}]),
        ] {
            assert!(Patch::new(PatchKind::Json, bad.clone()).is_err(), "{bad}");
        }
        assert!(Patch::new(PatchKind::Strategic, json!({"spec": {"replicas": 2}})).is_ok());
        assert!(
            Patch::new(
                PatchKind::Json,
                json!([{"op": "remove", "path": "/spec/suspend"}])
            )
            .is_ok()
        );
    }

    #[test]
    fn fields_are_named_and_sensitive_ones_seen() {
        let body = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "securityContext": {"privileged": true}}]}}}});
        let patch = Patch::new(PatchKind::Strategic, body).unwrap();
        assert!(patch.is_sensitive());
        assert_eq!(
            patch.fields_touched(),
            [
                "/spec/template/spec/containers/app/name",
                "/spec/template/spec/containers/app/securityContext/privileged"
            ]
        );
    }

    #[test]
    fn a_deep_patch_is_refused() {
        let deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert!(Patch::new(PatchKind::Merge, json!({ "spec": deep })).is_err());
    }
}
