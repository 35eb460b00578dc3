//! A patch: JSON becomes a bounded change of fields whose paths are known.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ActionError;
use super::field::{FieldPath, Segment, identity};
use crate::letters::{is_hidden, mixed_word};
use crate::redact::redact_json;

/// The largest patch, in bytes of JSON.
const MAX_BYTES: usize = 16 * 1024;
/// The deepest patch.
const MAX_DEPTH: usize = 16;
/// The longest name of a field, in bytes; a label's prefix and name have 317 at most.
const MAX_KEY: usize = 320;
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

/// A small change of fields: at most 16 KiB, 16 levels and 64 fields, below `spec` or the labels and annotations, without
/// directives, in letters that can't be mistaken for others.
#[derive(Clone, PartialEq, Eq)]
pub struct Patch {
    kind: PatchKind,
    body: Value,
}

/// The body as it may be kept.
impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("kind", &self.kind)
            .field("body", &redact_json(self.body.clone()))
            .finish()
    }
}

/// Where a patch may write.
const ROOTS: [&str; 3] = ["/spec/", "/metadata/labels/", "/metadata/annotations/"];

impl Patch {
    /// Checks a patch.
    ///
    /// # Errors
    /// [`ActionError::Invalid`] for a patch that is too large, too deep, empty, that has directives (`$patch`), hidden or
    /// look-alike letters, or that touches anything but `spec`, labels and annotations.
    pub fn new(kind: PatchKind, body: Value) -> Result<Self, ActionError> {
        check_value(&body, 0)?;
        let bytes = body.to_string().len();
        if bytes > MAX_BYTES {
            return Err(invalid(format!(
                "has {bytes} bytes, at most {MAX_BYTES} are taken"
            )));
        }
        match (kind, &body) {
            (PatchKind::Json, Value::Array(operations)) => {
                operations.iter().try_for_each(check_operation)?
            }
            (PatchKind::Strategic | PatchKind::Merge, Value::Object(_)) => {}
            (PatchKind::Json, _) => {
                return Err(invalid("of type `json` must be a list of operations"));
            }
            (_, _) => return Err(invalid("must be an object")),
        }
        let patch = Self { kind, body };
        let fields = patch.fields_touched();
        if !(1..=MAX_FIELDS).contains(&fields.len()) {
            return Err(invalid(format!(
                "must touch 1 to {MAX_FIELDS} fields, not {}",
                fields.len()
            )));
        }
        let outside = fields
            .iter()
            .find(|field| !ROOTS.iter().any(|root| field.starts_with(root)));
        if let Some(field) = outside {
            return Err(invalid(format!(
                "touches `{field}`: only fields below `spec`, labels and annotations may be patched"
            )));
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

    /// The patch as YAML, for people. Every reader of YAML reads the same from it.
    ///
    /// # Example
    /// ```
    /// use argus_core::{Patch, PatchKind};
    /// let patch = Patch::new(PatchKind::Merge, serde_json::json!({"spec": {"suspend": false}}))?;
    /// assert_eq!(patch.to_yaml(), "spec:\n  suspend: false\n");
    /// # Ok::<(), argus_core::ActionError>(())
    /// ```
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // A JSON value always has a YAML text, and JSON is YAML too.
        serde_saphyr::to_string(&self.body).unwrap_or_else(|_| self.body.to_string())
    }

    /// The fields that it writes, as JSON pointers. What is replaced as a whole (a list in a merge patch, the value of a
    /// JSON operation) comes with what stands in it; elements of a strategic patch's lists are named by their `name`.
    #[must_use]
    pub fn fields_touched(&self) -> Vec<String> {
        let mut fields = Vec::new();
        match &self.body {
            Value::Array(operations) => {
                for operation in operations {
                    if operation.get("op") != Some(&"test".into()) {
                        let value = operation.get("value").unwrap_or(&Value::Null);
                        let path = text(operation, "path").to_owned();
                        if value.is_object() {
                            fields.push(path.clone());
                        }
                        leaves(value, path, false, &mut fields);
                    }
                }
            }
            body => {
                let by_name = self.kind == PatchKind::Strategic;
                leaves(body, String::new(), by_name, &mut fields);
            }
        }
        fields.sort();
        fields.dedup();
        fields
    }

    /// The fields whose value it relies on: those that a JSON patch tests.
    #[must_use]
    pub fn fields_read(&self) -> Vec<String> {
        let operations = self.body.as_array().into_iter().flatten();
        operations
            .filter(|operation| operation.get("op") == Some(&"test".into()))
            .map(|operation| text(operation, "path").to_owned())
            .collect()
    }

    /// Whether it takes every copy of an app away, as scaling to none does.
    #[must_use]
    pub fn stops_every_copy(&self) -> bool {
        let is_none = |value: Option<&Value>| value.and_then(Value::as_f64) == Some(0.0);
        match &self.body {
            Value::Array(operations) => operations.iter().any(|operation| {
                text(operation, "path") == "/spec/replicas"
                    && text(operation, "op") != "test"
                    && is_none(operation.get("value"))
            }),
            body => is_none(body.pointer("/spec/replicas")),
        }
    }

    /// The fields that it writes with their values; none takes a field away. Elements of a strategic patch's lists are told
    /// by what the API server merges them by.
    pub(super) fn writes(&self) -> Vec<(FieldPath, Option<Value>)> {
        let mut writes = Vec::new();
        match &self.body {
            Value::Array(operations) => {
                for operation in operations {
                    let path = FieldPath::of_pointer(text(operation, "path"));
                    match text(operation, "op") {
                        "test" => {}
                        "remove" => writes.push((path, None)),
                        _ => {
                            let value = operation.get("value").unwrap_or(&Value::Null);
                            written(value, path, false, &mut writes);
                        }
                    }
                }
            }
            body => {
                let merges = self.kind == PatchKind::Strategic;
                written(body, FieldPath::default(), merges, &mut writes);
            }
        }
        writes
    }
}

fn written(
    value: &Value,
    path: FieldPath,
    merges: bool,
    writes: &mut Vec<(FieldPath, Option<Value>)>,
) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                written(value, path.key(key), merges, writes);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let list = path.segments().last().map_or("", Segment::as_str);
            for (index, item) in items.iter().enumerate() {
                let keys = merge_keys(list);
                let merged = identity(list, item).filter(|_| merges && !keys.is_empty());
                let mut fields = item.clone();
                if let (Some(_), Some(fields)) = (&merged, fields.as_object_mut()) {
                    fields.retain(|field, _| !keys.contains(&field.as_str()));
                }
                let element = path.element(merged.unwrap_or_else(|| index.to_string()));
                written(&fields, element, merges, writes);
            }
        }
        Value::Null => writes.push((path, None)),
        value => writes.push((path, Some(value.clone()))),
    }
}

/// The fields by which the API server merges the elements of a list; none where it replaces the list.
///
/// Source: `x-kubernetes-patch-merge-key` and `x-kubernetes-list-map-keys` of the API's OpenAPI document.
fn merge_keys(list: &str) -> &'static [&'static str] {
    match list {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" => &["name"],
        "ports" => &["containerPort", "port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey"],
        _ => &[],
    }
}

fn text<'a>(operation: &'a Value, field: &str) -> &'a str {
    operation
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn invalid(problem: impl Into<String>) -> ActionError {
    ActionError::invalid("the patch", problem)
}

fn check_value(value: &Value, depth: usize) -> Result<(), ActionError> {
    if depth > MAX_DEPTH {
        return Err(invalid(format!("is deeper than {MAX_DEPTH} levels")));
    }
    match value {
        Value::String(text) => check_letters(text),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_value(item, depth + 1)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            if key.starts_with('$') {
                return Err(invalid(format!(
                    "has the directive `{key}`: use a JSON patch to remove or replace list elements"
                )));
            }
            if !key.bytes().all(|b| b.is_ascii_graphic()) || key.len() > MAX_KEY {
                return Err(invalid(format!(
                    "has the field name `{}`: one is plain English letters, digits and punctuation, at most {MAX_KEY}",
                    key.escape_default().take(40).collect::<String>()
                )));
            }
            check_value(value, depth + 1)
        }),
        _ => Ok(()),
    }
}

/// What a person reads has to be what is written: nothing hidden, no letter that passes for another.
fn check_letters(text: &str) -> Result<(), ActionError> {
    let hidden = |c: &char| is_hidden(*c) || (c.is_control() && !matches!(c, '\n' | '\t'));
    if let Some(c) = text.chars().find(hidden) {
        return Err(invalid(format!(
            "has a hidden character, {}: write plain text",
            c.escape_unicode()
        )));
    }
    match mixed_word(text) {
        None => Ok(()),
        Some(word) => Err(invalid(format!(
            "has the word `{}`, which mixes letters of several scripts: type it anew",
            word.escape_unicode().take(80).collect::<String>()
        ))),
    }
}

fn check_operation(operation: &Value) -> Result<(), ActionError> {
    let known = |key: &String| matches!(key.as_str(), "op" | "path" | "value");
    let clean = operation
        .as_object()
        .is_some_and(|fields| fields.keys().all(known));
    let (op, path) = (text(operation, "op"), text(operation, "path"));
    let valued = operation.get("value").is_some() != (op == "remove");
    let escaped = |rest: &str| rest.starts_with(['0', '1']);
    let pointer = path.starts_with('/') && path.is_ascii() && path.split('~').skip(1).all(escaped);
    if clean && matches!(op, "add" | "remove" | "replace" | "test") && pointer && valued {
        return Ok(());
    }
    Err(invalid(
        "has an operation that is not `add`, `remove`, `replace` or `test` with a `path` (and a `value`)",
    ))
}

fn leaves(value: &Value, path: String, by_name: bool, fields: &mut Vec<String>) {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(value, format!("{path}/{}", escape(key)), by_name, fields);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let name = |item: &Value| item.get("name").and_then(Value::as_str).map(escape);
            let merged = by_name && items.iter().all(|item| name(item).is_some());
            if !merged {
                fields.push(path.clone());
            }
            for (index, item) in items.iter().enumerate() {
                let key = name(item).filter(|_| merged);
                let key = key.unwrap_or_else(|| index.to_string());
                leaves(item, format!("{path}/{key}"), by_name, fields);
            }
        }
        _ => fields.push(path),
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
    fn fields_are_named() {
        let body = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "securityContext": {"privileged": true}}]}}}});
        let patch = Patch::new(PatchKind::Strategic, body).unwrap();
        assert_eq!(
            patch.fields_touched(),
            [
                "/spec/template/spec/containers/app/name",
                "/spec/template/spec/containers/app/securityContext/privileged"
            ]
        );
        let written = |patch: &Patch| -> Vec<String> {
            let writes = patch.writes().into_iter();
            writes.map(|(path, _)| path.to_string()).collect()
        };
        assert_eq!(
            written(&patch),
            ["spec.template.spec.containers[app].securityContext.privileged"]
        );
        // A merge patch replaces the list, names and all.
        let merge = Patch::new(PatchKind::Merge, patch.body().clone()).unwrap();
        assert_eq!(
            written(&merge),
            [
                "spec.template.spec.containers[0].name",
                "spec.template.spec.containers[0].securityContext.privileged"
            ]
        );
        let ports =
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 9090}]}});
        let ports = Patch::new(PatchKind::Strategic, ports).unwrap();
        assert_eq!(written(&ports), ["spec.ports[80, TCP].targetPort"]);
    }

    #[test]
    fn a_deep_patch_is_refused() {
        let deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert!(Patch::new(PatchKind::Merge, json!({ "spec": deep })).is_err());
    }

    #[test]
    fn what_is_replaced_as_a_whole_is_touched_as_a_whole() {
        let containers = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "web:1"}]}}}});
        let whole = "/spec/template/spec/containers";
        // A strategic patch changes the one container, a merge patch throws the others away.
        let strategic = Patch::new(PatchKind::Strategic, containers.clone()).unwrap();
        assert!(!strategic.fields_touched().contains(&whole.to_owned()));
        let merge = Patch::new(PatchKind::Merge, containers).unwrap();
        assert_eq!(
            merge.fields_touched(),
            [
                whole,
                &format!("{whole}/0/image"),
                &format!("{whole}/0/name")
            ]
        );
    }

    #[test]
    fn what_a_json_patch_tests_is_read_not_written() {
        let body = json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "add", "path": "/spec/paused", "value": true}]);
        let patch = Patch::new(PatchKind::Json, body).unwrap();
        assert_eq!(patch.fields_read(), ["/spec/replicas"]);
        assert_eq!(patch.fields_touched(), ["/spec/paused"]);
    }

    #[test]
    fn letters_that_hide_or_pass_for_others_are_refused() {
        let patch = |note: &str| {
            Patch::new(
                PatchKind::Merge,
                json!({"metadata": {"annotations": {"note": note}}}),
            )
        };
        for fine in [
            "two\nlines",
            "gr\u{fc}n",
            "\u{43c}\u{438}\u{440}",
            "fine \u{1f600}",
        ] {
            assert!(patch(fine).is_ok(), "{fine}");
        }
        for bad in ["a\u{202e}b", "a\u{200b}b", "a\u{0}b", "d\u{435}ploy"] {
            assert!(patch(bad).is_err(), "{}", bad.escape_unicode());
        }
        assert!(Patch::new(PatchKind::Merge, json!({"spec": {"r\u{435}plicas": 1}})).is_err());
    }
}
