//! Objects by resource, namespace and name, with resource versions and a history for watches.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::resources::Resource;

/// How many events a watch may lie behind before it has to list again.
const HISTORY: usize = 20_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) plural: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(plural: &'static str, namespace: &str, name: &str) -> Self {
        Self {
            plural,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) version: u64,
    pub(super) kind: &'static str,
    pub(super) key: Key,
    pub(super) object: Value,
}

#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Key, Value>,
    history: VecDeque<Event>,
    changed: watch::Sender<u64>,
    made: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            version: 1,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            changed: watch::Sender::new(1),
            made: 0,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    /// The objects of a resource, in all namespaces or in one.
    pub(super) fn list<'a>(
        &'a self,
        plural: &'static str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        let start = Key::new(plural, namespace.unwrap_or_default(), "");
        self.objects.range(start..).take_while(move |(key, _)| {
            key.plural == plural && namespace.is_none_or(|namespace| key.namespace == namespace)
        })
    }

    /// A number that was never given before: for uids and suffixes.
    pub(super) fn unique(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Fills in what the server gives to a new object.
    pub(super) fn stamp_new(&mut self, resource: &Resource, object: &mut Value) {
        let unique = self.unique();
        let uid = uuid::Uuid::new_v4().to_string();
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        let metadata = &mut object["metadata"];
        if metadata.get("name").is_none() {
            let prefix = metadata
                .get("generateName")
                .and_then(Value::as_str)
                .unwrap_or("object-")
                .to_owned();
            metadata["name"] = format!("{prefix}{}", suffix(unique, 5)).into();
        }
        metadata["uid"] = uid.into();
        metadata["creationTimestamp"] = now();
        metadata["generation"] = 1.into();
    }

    /// Stores an object; `None` if nothing changed.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Value {
        let old = self.objects.get(&key);
        let without_version = |object: &Value| {
            let mut object = object.clone();
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("resourceVersion");
            }
            object
        };
        if let Some(old) = old {
            if without_version(old) == without_version(&object) {
                return old.clone();
            }
            if old.get("spec") != object.get("spec") {
                let generation = old
                    .pointer("/metadata/generation")
                    .and_then(Value::as_u64)
                    .unwrap_or(0)
                    + 1;
                object["metadata"]["generation"] = generation.into();
            }
        }
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key.clone(), object.clone());
        self.remember(kind, key, object.clone());
        object
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.remember("DELETED", key.clone(), object);
        }
    }

    fn remember(&mut self, kind: &'static str, key: Key, object: Value) {
        self.history.push_back(Event {
            version: self.version,
            kind,
            key,
            object,
        });
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.changed.send_replace(self.version);
    }

    /// What happened after a version; `None` if that is too long ago.
    pub(super) fn since(
        &self,
        version: u64,
        plural: &str,
        namespace: Option<&str>,
    ) -> Option<Vec<Event>> {
        if self
            .history
            .front()
            .is_some_and(|first| first.version > version + 1)
            && self.history.len() == HISTORY
        {
            return None;
        }
        let start = self
            .history
            .partition_point(|event| event.version <= version);
        let concerned = self.history.range(start..).filter(|event| {
            event.key.plural == plural && namespace.is_none_or(|n| event.key.namespace == n)
        });
        Some(concerned.cloned().collect())
    }
}

/// The time as the API writes it, to the second.
pub(super) fn now() -> Value {
    Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
        .into()
}

/// Letters and digits as Kubernetes makes them, different for each number.
pub(super) fn suffix(number: u64, length: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5bd1_e995;
    (0..length)
        .map(|_| {
            let index = usize::try_from(seed % 27).unwrap_or(0);
            seed = (seed / 27).rotate_left(23) ^ number.wrapping_mul(0xff51_afd7_ed55_8ccd);
            char::from(ALPHABET.get(index).copied().unwrap_or(b'x'))
        })
        .collect()
}

/// A `Status` object.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": if code < 400 { "Success" } else { "Failure" },
            "message": message, "reason": reason, "code": code })
}
