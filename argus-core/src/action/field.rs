//! Two states of an object become the fields that differ, each by a path that names list elements by what they are called.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::identity::name_of;

/// The way to one field: names of fields, keys of maps, and elements of lists by their identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldPath(Vec<Segment>);

/// One part of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    /// A field, or a key of a map.
    Key(String),
    /// An element of a list, by its identity.
    Element(String),
}

impl Segment {
    /// The text of either.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Key(text) | Self::Element(text) => text,
        }
    }
}

impl FieldPath {
    /// The path of a JSON pointer. Elements of lists are told by the numbers, or the `-`, that stand for them; containers
    /// by their names too.
    pub(crate) fn of_pointer(pointer: &str) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for part in pointer.split('/').skip(1) {
            let text = part.replace("~1", "/").replace("~0", "~");
            let is_place = text == "-" || text.bytes().all(|byte| byte.is_ascii_digit());
            let is_container = matches!(segments.last(), Some(Segment::Key(list))
                if matches!(list.as_str(), "containers" | "initContainers"));
            segments.push(match is_place || is_container {
                true => Segment::Element(text),
                false => Segment::Key(text),
            });
        }
        Self(segments)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// True for a path that begins with this field.
    #[cfg(feature = "kube")]
    pub(crate) fn is_below(&self, field: &str) -> bool {
        self.0.first().is_some_and(|first| first.as_str() == field)
    }

    /// True for a path that has this field as a part.
    #[cfg(feature = "kube")]
    pub(crate) fn has(&self, field: &str) -> bool {
        self.up_to(field).is_some()
    }

    /// The way to this field on it.
    #[cfg(feature = "kube")]
    pub(crate) fn up_to(&self, field: &str) -> Option<&[Segment]> {
        let wanted = |segment: &Segment| matches!(segment, Segment::Key(key) if key == field);
        let place = self.0.iter().position(wanted)?;
        self.0.get(..=place)
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(crate) fn element(&self, identity: String) -> Self {
        self.with(Segment::Element(identity))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

/// Writes `spec.template.spec.containers[app].image`.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Element(identity) => write!(f, "[{identity}]")?,
                Segment::Key(key) if index == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldChange<'a> {
    pub(crate) path: FieldPath,
    /// None if the field is new.
    pub(crate) before: Option<&'a Value>,
    /// None if the field goes.
    pub(crate) after: Option<&'a Value>,
}

/// Every field that differs, as deep as both sides go. An element of a list that only one side has is one change.
pub(crate) fn field_changes<'a>(before: &'a Value, after: &'a Value) -> Vec<FieldChange<'a>> {
    let mut changes = Vec::new();
    compare(
        Some(before),
        Some(after),
        FieldPath::default(),
        &mut changes,
    );
    changes
}

fn compare<'a>(
    before: Option<&'a Value>,
    after: Option<&'a Value>,
    path: FieldPath,
    changes: &mut Vec<FieldChange<'a>>,
) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                compare(old.get(key), new.get(key), path.key(key), changes);
            }
        }
        // A part that comes or goes as a whole is each of its fields.
        (Some(Value::Object(part)), None) if !part.is_empty() => {
            for (key, value) in part {
                compare(Some(value), None, path.key(key), changes);
            }
        }
        (None, Some(Value::Object(part))) if !part.is_empty() => {
            for (key, value) in part {
                compare(None, Some(value), path.key(key), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new)))
            if old.iter().chain(new).all(Value::is_object) =>
        {
            elements(old, new, &path, changes);
            if order(&path, old, new) != order(&path, new, old) {
                changes.push(FieldChange {
                    path,
                    before,
                    after,
                });
            }
        }
        (before, after) => changes.push(FieldChange {
            path,
            before,
            after,
        }),
    }
}

fn elements<'a>(
    old: &'a [Value],
    new: &'a [Value],
    path: &FieldPath,
    changes: &mut Vec<FieldChange<'a>>,
) {
    let list = path.segments().last().map_or("", Segment::as_str);
    let (old, new) = (identified(list, old), identified(list, new));
    let of_old: BTreeMap<_, _> = old.iter().cloned().collect();
    let of_new: BTreeMap<_, _> = new.iter().cloned().collect();
    for (identity, item) in &old {
        let element = path.element(identity.clone());
        match of_new.get(identity) {
            Some(other) => compare(Some(*item), Some(*other), element, changes),
            None => changes.push(FieldChange {
                path: element,
                before: Some(*item),
                after: None,
            }),
        }
    }
    let added = new
        .iter()
        .filter(|(identity, _)| !of_old.contains_key(identity));
    changes.extend(added.map(|(identity, item)| FieldChange {
        path: path.element(identity.clone()),
        before: None,
        after: Some(*item),
    }));
}

/// The elements that the other list has too, in their order.
fn order(path: &FieldPath, items: &[Value], other: &[Value]) -> Vec<String> {
    let list = path.segments().last().map_or("", Segment::as_str);
    let other: BTreeMap<_, _> = identified(list, other).into_iter().collect();
    let identities = identified(list, items)
        .into_iter()
        .map(|(identity, _)| identity);
    identities
        .filter(|identity| other.contains_key(identity))
        .collect()
}

/// The elements of a list by what Kubernetes tells them apart by; the second of two that are called the same has `#2`.
fn identified<'a>(list: &str, items: &'a [Value]) -> Vec<(String, &'a Value)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut identified = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let identity = identity(list, item).unwrap_or_else(|| index.to_string());
        let count = seen.entry(identity.clone()).or_default();
        *count += 1;
        let identity = match *count {
            1 => identity,
            nth => format!("{identity}#{nth}"),
        };
        identified.push((identity, item));
    }
    identified
}

/// The name of a list's element; none where only its place tells it from the others. A source of variables stays the
/// same when it reads another ConfigMap.
pub(crate) fn identity(list: &str, item: &Value) -> Option<String> {
    match list {
        "envFrom" => None,
        _ => name_of(list, item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(before: &Value, after: &Value) -> Vec<String> {
        let changes = field_changes(before, after);
        changes
            .iter()
            .map(|change| change.path.to_string())
            .collect()
    }

    #[test]
    fn elements_are_told_apart_by_what_they_are_called() {
        let before = json!({"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "env": [{"name": "V", "value": "1"}]}]});
        let after = json!({"containers": [{"name": "new"}, {"name": "b", "env": [{"name": "V", "value": "2"}]}, {"name": "a", "image": "x:1"}]});
        assert_eq!(
            shown(&before, &after),
            [
                "containers[b].env[V].value",
                "containers[new]",
                "containers"
            ]
        );
        let doubled = json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]});
        let single = json!({"env": [{"name": "A", "value": "1"}]});
        assert_eq!(shown(&doubled, &single), ["env[A#2]"]);
    }

    #[test]
    fn a_part_that_comes_is_each_of_its_fields() {
        let after = json!({"probe": {"httpGet": {"port": 80, "path": "/"}}, "args": ["a"]});
        let mut fields = shown(&json!({}), &after);
        fields.sort();
        assert_eq!(fields, ["args", "probe.httpGet.path", "probe.httpGet.port"]);
    }
}
