//! Fields of a kind, read from the API server's own OpenAPI document: what Kubernetes adds comes in by itself.

use kube::Client;
use kube::api::GetParams;
use kube::core::Request;
use serde_json::{Map, Value, json};

/// The deepest path; the schemas of the kinds have no loops.
const MOST_SEGMENTS: usize = 40;

/// The most values that a description is taken to name.
const MOST_WORDS: usize = 6;

/// One part of a path in a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Field(String),
    /// Any element of a list.
    Element,
    /// Any value of a map.
    Value,
}

/// A path in a schema as text, such as `spec.template.spec.containers[*].image`.
pub(crate) fn text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Field(name) if text.is_empty() => text.push_str(name),
            Segment::Field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Segment::Element => text.push_str("[*]"),
            Segment::Value => text.push_str("{*}"),
        }
    }
    text
}

/// One field, object, list or map of a kind.
pub(crate) struct Node {
    pub(crate) path: Vec<Segment>,
    pub(crate) schema: Value,
    /// The one above among the nodes; the kind itself has none.
    pub(crate) parent: Option<usize>,
}

/// The schemas of one API version.
pub(crate) struct Document(Map<String, Value>);

impl Document {
    pub(crate) async fn fetch(client: &Client, group: &str, version: &str) -> Self {
        let folder = match group {
            "" => "/openapi/v3/api".to_owned(),
            group => format!("/openapi/v3/apis/{group}"),
        };
        let request = Request::new(folder)
            .get(version, &GetParams::default())
            .unwrap();
        let mut document: Value = client.request(request).await.unwrap();
        shorten(&mut document);
        match document["components"]["schemas"].take() {
            Value::Object(schemas) => Self(schemas),
            other => panic!("no schemas: {other}"),
        }
    }

    /// The schema of a kind.
    pub(crate) fn root(&self, group: &str, version: &str, kind: &str) -> Value {
        let wanted = json!({ "group": group, "version": version, "kind": kind });
        let is_wanted = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.is_some_and(|kinds| kinds.len() == 1 && kinds[0] == wanted)
        };
        self.0.values().find(is_wanted).unwrap().clone()
    }

    /// A schema without its reference, with the name of its type as `type_name`.
    pub(crate) fn resolved(&self, schema: &Value) -> Value {
        let referred = schema.get("$ref").or_else(|| match &schema["allOf"] {
            Value::Array(all) if all.len() == 1 => all[0].get("$ref"),
            _ => None,
        });
        let Some(name) = referred.and_then(Value::as_str) else {
            return schema.clone();
        };
        let name = name.rsplit('/').next().unwrap();
        let mut whole = self.resolved(&self.0[name]);
        let fields = whole.as_object_mut().unwrap();
        // What is said where it is used counts before what is said of the type.
        for (key, value) in schema.as_object().unwrap() {
            if key != "$ref" && key != "allOf" {
                fields.insert(key.clone(), value.clone());
            }
        }
        fields.insert("type_name".into(), name.rsplit('.').next().unwrap().into());
        whole
    }

    /// The schema one segment below.
    pub(crate) fn below(&self, schema: &Value, segment: &Segment) -> Value {
        let inner = match segment {
            Segment::Field(name) => &schema["properties"][name.as_str()],
            Segment::Element => &schema["items"],
            Segment::Value => &schema["additionalProperties"],
        };
        self.resolved(inner)
    }

    /// Everything of a kind, parents before children.
    pub(crate) fn nodes(&self, root: &Value) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut open = vec![(Vec::new(), root.clone(), None)];
        while let Some((path, schema, parent)) = open.pop() {
            assert!(path.len() < MOST_SEGMENTS, "{}", text(&path));
            let mut segments = Vec::new();
            if let Some(properties) = schema["properties"].as_object() {
                segments.extend(properties.keys().cloned().map(Segment::Field));
            } else if schema["items"].is_object() {
                segments.push(Segment::Element);
            } else if schema["additionalProperties"].is_object() {
                segments.push(Segment::Value);
            }
            for segment in segments.into_iter().rev() {
                let inner = self.below(&schema, &segment);
                let mut deeper: Vec<Segment> = path.clone();
                deeper.push(segment);
                open.push((deeper, inner, Some(nodes.len())));
            }
            nodes.push(Node {
                path,
                schema,
                parent,
            });
        }
        nodes
    }
}

/// Leaves only the values that a description names in quotes, such as `"Always"`, as a list.
fn shorten(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get("description") {
                let words = words(text);
                fields.insert("description".into(), words.into());
            }
            fields.values_mut().for_each(shorten);
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}

fn words(description: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for quote in ['"', '\'', '`'] {
        for word in description.split(quote).skip(1).step_by(2) {
            let plain = word.len() > 2 && word.chars().all(|c| c.is_ascii_alphanumeric());
            let is_value = plain && word.starts_with(|c: char| c.is_ascii_uppercase());
            if is_value && !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
    }
    words.truncate(MOST_WORDS);
    words
}

/// The field by which a strategic patch finds an element of a list; none where it replaces the list as a whole.
pub(crate) fn merge_key(list: &Value) -> Option<&str> {
    let strategy = list["x-kubernetes-patch-strategy"]
        .as_str()
        .unwrap_or_default();
    let merges = strategy.split(',').any(|word| word == "merge");
    list["x-kubernetes-patch-merge-key"]
        .as_str()
        .filter(|_| merges)
}

pub(crate) fn is_object(schema: &Value) -> bool {
    schema["properties"].is_object()
}

pub(crate) fn is_list(schema: &Value) -> bool {
    schema["type"] == "array"
}

pub(crate) fn is_map(schema: &Value) -> bool {
    schema["additionalProperties"].is_object()
}
