//! Elements of lists by what identifies them, never by where they stand: one comparison for the diff, for whether a
//! step is in force, and for its undo.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

pub(crate) mod patch;

/// Which fields identify an element, by the list that it stands in: the first row whose second column the element has.
///
/// Source: the merge keys of the Kubernetes API (`x-kubernetes-patch-merge-key`, `x-kubernetes-list-map-keys`); for lists
/// that it takes as one value (rules, paths, metrics, tolerations, `envFrom`), the fields that tell their elements apart.
const KEYS: [(&str, &str, &[&str]); 22] = [
    ("ports", "/containerPort", &["/containerPort", "/protocol"]),
    ("ports", "/port", &["/port", "/protocol"]),
    ("volumeMounts", "/mountPath", &["/mountPath"]),
    ("volumeDevices", "/devicePath", &["/devicePath"]),
    (
        "volumeClaimTemplates",
        "/metadata/name",
        &["/metadata/name"],
    ),
    ("hostAliases", "/ip", &["/ip"]),
    ("ownerReferences", "/uid", &["/uid"]),
    (
        "topologySpreadConstraints",
        "/topologyKey",
        &["/topologyKey", "/whenUnsatisfiable"],
    ),
    ("tolerations", "/operator", TOLERATION),
    ("tolerations", "/key", TOLERATION),
    (
        "envFrom",
        "/configMapRef",
        &["/prefix", "/configMapRef/name"],
    ),
    ("envFrom", "/secretRef", &["/prefix", "/secretRef/name"]),
    ("items", "/path", &["/path"]),
    ("rules", "/host", &["/host"]),
    ("rules", "/http", &["/host"]),
    ("paths", "/backend", &["/path", "/pathType"]),
    ("tls", "/secretName", &["/secretName"]),
    ("metrics", "/resource", &["/type", "/resource/name"]),
    (
        "metrics",
        "/containerResource",
        &[
            "/type",
            "/containerResource/name",
            "/containerResource/container",
        ],
    ),
    ("metrics", "/pods", &["/type", "/pods/metric/name"]),
    (
        "metrics",
        "/object",
        &[
            "/type",
            "/object/metric/name",
            "/object/describedObject/kind",
            "/object/describedObject/name",
        ],
    ),
    ("metrics", "/external", &["/type", "/external/metric/name"]),
];
const TOLERATION: &[&str] = &["/key", "/operator", "/value", "/effect"];
const NAME: &[&str] = &["/name"];

/// What tells an element of a list from the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    fields: &'static [&'static str],
    /// As JSON, `null` where there is none.
    values: Vec<String>,
}

impl Identity {
    /// Of an element of the list `list`; none if nothing identifies it.
    fn of(list: &str, element: &Value) -> Option<Self> {
        let known = KEYS
            .iter()
            .find(|(of, has, _)| *of == list && element.pointer(has).is_some());
        let fields = match known {
            Some((_, _, fields)) => fields,
            None if element.get("name").is_some_and(Value::is_string) => NAME,
            None => return None,
        };
        let value = |field: &&str| element.pointer(field).unwrap_or(&Value::Null).to_string();
        Some(Self {
            fields,
            values: fields.iter().map(value).collect(),
        })
    }
}

/// An identity, and which of the elements that have it, from 0: names may stand twice in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Identity, usize);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.values.iter().filter(|value| *value != "null");
        let words: Vec<String> = values
            .map(|value| serde_json::from_str(value).unwrap_or_else(|_| value.clone()))
            .collect();
        match words.as_slice() {
            [] => f.write_str("*")?,
            words => f.write_str(&words.join(", "))?,
        }
        match self.1 {
            0 => Ok(()),
            more => write!(f, " #{}", more.saturating_add(1)),
        }
    }
}

/// What an element of the list `list` is called; none if only its place tells it from the others.
pub(crate) fn name_of(list: &str, element: &Value) -> Option<String> {
    Identity::of(list, element).map(|identity| Key(identity, 0).to_string())
}

/// The elements of a list, each with its key; none if an element has no identity, so that the list is one value.
fn keyed<'a>(list: &str, elements: &'a [Value]) -> Option<Vec<(Key, &'a Value)>> {
    let mut seen: BTreeMap<Identity, usize> = BTreeMap::new();
    let keyed = elements.iter().map(|element| {
        let identity = Identity::of(list, element)?;
        let count = seen.entry(identity.clone()).or_default();
        let key = Key(identity, *count);
        *count = count.saturating_add(1);
        Some((key, element))
    });
    keyed.collect()
}

/// One step of the way to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A key of a map.
    Field(String),
    /// An element of a list.
    Element(Key),
    /// The order of a list's elements.
    Order,
}

/// The way to a field, such as `spec.containers[app].image`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(Vec<Part>);

impl Path {
    fn to(&self, part: Part) -> Self {
        let mut path = self.clone();
        path.0.push(part);
        path
    }

    fn field(&self, key: &str) -> Self {
        self.to(Part::Field(key.to_owned()))
    }

    /// The name of the list, if it leads to one.
    fn list(&self) -> &str {
        match self.0.last() {
            Some(Part::Field(key)) => key,
            _ => "",
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, part) in self.0.iter().enumerate() {
            match part {
                Part::Field(key) if depth == 0 => f.write_str(key)?,
                Part::Field(key) => write!(f, ".{key}")?,
                Part::Element(key) => write!(f, "[{key}]")?,
                Part::Order => f.write_str(" (order)")?,
            }
        }
        Ok(())
    }
}

/// One field in which two values differ; of an order, the keys of the elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    pub(crate) path: Path,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// Every field in which two values differ: none is left out, so that two values without a difference are equal.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(Path::default(), before, after, &mut found);
    found
}

fn compare(path: Path, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let mut differ = |path: Path, before: Option<&Value>, after: Option<&Value>| {
        found.push(Difference {
            path,
            before: before.cloned(),
            after: after.cloned(),
        });
    };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                differ(path.field(key), Some(old), None);
            }
            for (key, new) in new {
                match old.get(key) {
                    Some(old) => compare(path.field(key), old, new, found),
                    None => added(path.field(key), new, found),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let list = path.list();
            let (Some(old), Some(new)) = (keyed(list, old), keyed(list, new)) else {
                return differ(path, Some(before), Some(after));
            };
            let (was, is) = (by_key(&old), by_key(&new));
            let element = |key: &Key| path.to(Part::Element(key.clone()));
            for (key, element_before) in old.iter().filter(|(key, _)| !is.contains_key(key)) {
                differ(element(key), Some(element_before), None);
            }
            for (key, element_after) in &new {
                match was.get(key) {
                    Some(old) => compare(element(key), old, element_after, found),
                    None => found.push(Difference {
                        path: element(key),
                        before: None,
                        after: Some((*element_after).clone()),
                    }),
                }
            }
            // What stays stands where it stood, what is new comes after it: anything else is said.
            let stays = old
                .iter()
                .map(|(key, _)| key)
                .filter(|key| is.contains_key(key));
            let comes = new
                .iter()
                .map(|(key, _)| key)
                .filter(|key| !was.contains_key(key));
            if !stays.chain(comes).eq(new.iter().map(|(key, _)| key)) {
                found.push(Difference {
                    path: path.to(Part::Order),
                    before: Some(order(&old)),
                    after: Some(order(&new)),
                });
            }
        }
        _ => differ(path, Some(before), Some(after)),
    }
}

/// A new value, field by field.
fn added(path: Path, value: &Value, found: &mut Vec<Difference>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                added(path.field(key), value, found);
            }
        }
        value => found.push(Difference {
            path,
            before: None,
            after: Some(value.clone()),
        }),
    }
}

fn by_key<'a>(elements: &[(Key, &'a Value)]) -> BTreeMap<Key, &'a Value> {
    elements.iter().cloned().collect()
}

fn order(elements: &[(Key, &Value)]) -> Value {
    let names = elements.iter().map(|(key, _)| key.to_string());
    names.collect()
}

/// A live object with the fields that a step changed as they were before it, and everything else as it is.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The object; meaningful only if nothing is foreign.
    pub(crate) object: Value,
    /// Changed fields that are as they were before.
    pub(crate) back: Vec<Path>,
    /// Changed fields that are neither as the step left them nor as they were before.
    pub(crate) foreign: Vec<Path>,
}

impl Restored {
    /// From the object before the step, after it, and now.
    pub(crate) fn new(before: &Value, after: &Value, live: &Value) -> Self {
        let mut restored = Self::default();
        let object = restored.value(Path::default(), Some(before), Some(after), Some(live));
        restored.object = object.unwrap_or_default();
        restored
    }

    /// Whether everything that the step changed is as it left it.
    pub(crate) fn is_ours(&self) -> bool {
        self.back.is_empty() && self.foreign.is_empty()
    }

    fn value(
        &mut self,
        path: Path,
        before: Option<&Value>,
        after: Option<&Value>,
        live: Option<&Value>,
    ) -> Option<Value> {
        if before == after {
            return live.cloned();
        }
        match (before, after, live) {
            _ if live == after || live == before => self.whole(path, before, after, live),
            (Some(Value::Object(_)), Some(Value::Object(_)), Some(Value::Object(live))) => {
                Some(self.fields(path, map(before), map(after), live).into())
            }
            // A map of ours that others have added to, or one that we removed and that they began anew.
            (Some(Value::Object(part)), None, Some(Value::Object(live)))
            | (None, Some(Value::Object(part)), Some(Value::Object(live)))
                if !part.is_empty() =>
            {
                let fields = self.fields(path, map(before), map(after), live);
                (before.is_some() || !fields.is_empty()).then(|| fields.into())
            }
            (Some(Value::Array(_)), Some(Value::Array(_)), Some(Value::Array(items))) => {
                match self.elements(&path, list(before), list(after), items) {
                    Some(elements) => Some(elements.into()),
                    None => self.whole(path, before, after, live),
                }
            }
            (Some(Value::Array(part)), None, Some(Value::Array(items)))
            | (None, Some(Value::Array(part)), Some(Value::Array(items)))
                if !part.is_empty() =>
            {
                match self.elements(&path, list(before), list(after), items) {
                    Some(elements) => {
                        (before.is_some() || !elements.is_empty()).then(|| elements.into())
                    }
                    None => self.whole(path, before, after, live),
                }
            }
            _ => self.whole(path, before, after, live),
        }
    }

    /// A field as one value.
    fn whole(
        &mut self,
        path: Path,
        before: Option<&Value>,
        after: Option<&Value>,
        live: Option<&Value>,
    ) -> Option<Value> {
        if live == after {
            return before.cloned();
        }
        match live == before {
            true => self.back.push(path),
            false => self.foreign.push(path),
        }
        live.cloned()
    }

    fn fields(
        &mut self,
        path: Path,
        before: Option<&Map<String, Value>>,
        after: Option<&Map<String, Value>>,
        live: &Map<String, Value>,
    ) -> Map<String, Value> {
        let mut fields = live.clone();
        let keys = before.into_iter().chain(after).flat_map(Map::keys);
        for key in keys.collect::<BTreeSet<_>>() {
            let of = |map: Option<&Map<String, Value>>| map.and_then(|map| map.get(key)).cloned();
            let (before, after) = (of(before), of(after));
            let restored = self.value(
                path.field(key),
                before.as_ref(),
                after.as_ref(),
                live.get(key),
            );
            match restored {
                Some(value) => fields.insert(key.clone(), value),
                None => fields.remove(key),
            };
        }
        fields
    }

    /// None if the elements have no identity.
    fn elements(
        &mut self,
        path: &Path,
        before: &[Value],
        after: &[Value],
        live: &[Value],
    ) -> Option<Vec<Value>> {
        let name = path.list();
        let (old, new, now) = (
            keyed(name, before)?,
            keyed(name, after)?,
            keyed(name, live)?,
        );
        let (was, left, is) = (by_key(&old), by_key(&new), by_key(&now));
        let mut order: Vec<Key> = now.iter().map(|(key, _)| key.clone()).collect();
        let mut elements: BTreeMap<Key, Value> = BTreeMap::new();
        for (key, element) in &now {
            elements.insert(key.clone(), (*element).clone());
        }
        let changed = old.iter().chain(&new).map(|(key, _)| key);
        let changed: BTreeSet<&Key> = changed
            .filter(|key| was.get(key) != left.get(key))
            .collect();
        for key in changed {
            let (before, after) = (was.get(key).copied(), left.get(key).copied());
            let (live, path) = (is.get(key).copied(), path.to(Part::Element(key.clone())));
            let restored = if !tells_apart(&key.0, &old, &new, &now) {
                self.foreign.push(path);
                live.cloned()
            } else if before.is_some() && after.is_some() {
                self.value(path, before, after, live)
            } else {
                self.whole(path, before, after, live)
            };
            match restored {
                Some(element) => elements.insert(key.clone(), element),
                None => elements.remove(key),
            };
        }
        order.retain(|key| elements.contains_key(key));
        self.reorder(path, &old, &new, &mut order);
        put_back(&old, &elements, &mut order);
        let restored = order.iter().filter_map(|key| elements.remove(key));
        Some(restored.collect())
    }

    /// Puts the elements that the step moved into the order of before, each into a place where one of them stands.
    fn reorder(
        &mut self,
        path: &Path,
        old: &[(Key, &Value)],
        new: &[(Key, &Value)],
        order: &mut [Key],
    ) {
        let (was, left): (BTreeSet<&Key>, BTreeSet<&Key>) = (keys(old), keys(new));
        let there: BTreeSet<Key> = order.iter().cloned().collect();
        let moves = |key: &&Key| was.contains(key) && left.contains(key);
        let stays = |key: &&Key| moves(key) && there.contains(key);
        let (first, then) = (
            old.iter().map(|(key, _)| key),
            new.iter().map(|(key, _)| key),
        );
        if first.clone().filter(moves).eq(then.clone().filter(moves)) {
            return;
        }
        let now: Vec<Key> = order.iter().filter(stays).cloned().collect();
        if !then.filter(stays).eq(&now) {
            let path = path.to(Part::Order);
            match first.filter(stays).eq(&now) {
                true => self.back.push(path),
                false => self.foreign.push(path),
            }
            return;
        }
        let moved: BTreeSet<Key> = now.into_iter().collect();
        let places = order.iter_mut().filter(|key| moved.contains(*key));
        for (place, key) in places.zip(first.filter(stays)) {
            *place = key.clone();
        }
    }
}

/// Whether the elements of one identity can be told apart now: there is one at most, or they are all as the step found
/// or left them.
fn tells_apart(
    identity: &Identity,
    old: &[(Key, &Value)],
    new: &[(Key, &Value)],
    now: &[(Key, &Value)],
) -> bool {
    let of = |list: &[(Key, &Value)]| -> Vec<Value> {
        let elements = list.iter().filter(|(key, _)| key.0 == *identity);
        elements.map(|(_, element)| (*element).clone()).collect()
    };
    let (old, new, now) = (of(old), of(new), of(now));
    let single = [&old, &new, &now].iter().all(|list| list.len() <= 1);
    single || now == new || now == old
}

/// Puts the elements that are missing behind the one that they stood behind, or before the one that they stood before.
fn put_back(old: &[(Key, &Value)], elements: &BTreeMap<Key, Value>, order: &mut Vec<Key>) {
    for (index, (key, _)) in old.iter().enumerate() {
        if !elements.contains_key(key) || order.contains(key) {
            continue;
        }
        let place = |(key, _): &(Key, &Value)| order.iter().position(|other| other == key);
        let behind = old.iter().take(index).rev().find_map(place);
        let before = || old.iter().skip(index).find_map(place);
        let place = behind
            .map(|place| place.saturating_add(1))
            .or_else(before)
            .unwrap_or(order.len());
        order.insert(place, key.clone());
    }
}

fn keys<'a>(elements: &'a [(Key, &Value)]) -> BTreeSet<&'a Key> {
    elements.iter().map(|(key, _)| key).collect()
}

fn map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn list(value: Option<&Value>) -> &[Value] {
    value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
