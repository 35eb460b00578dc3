//! An entry becomes the next record of a chain: how each is written, and what shows that it follows the one before.

use std::sync::Arc;

use jiff::Timestamp;

use super::merkle::{Tree, leaf};
use super::{AUDIT_SCHEMA, AuditEntry, AuditError, AuditRecord};
use crate::digest::Digest;

/// The longest record, in bytes; also bounds what a reader holds of a damaged file.
pub(super) const MAX_RECORD_BYTES: u64 = 1 << 20;
/// The most that a record's own fields take, in bytes.
const MAX_HEAD_BYTES: u64 = 256;

/// An entry that waits for its place, and its JSON.
pub(super) struct Waiting {
    /// Shared with whoever waits, who makes the record of it: a writer of hundreds has better things to do.
    pub(super) entry: Arc<AuditEntry>,
    json: Vec<u8>,
}

/// Where an entry found its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    sequence: u64,
    timestamp: Timestamp,
    previous: Digest,
}

impl Place {
    pub(super) fn record(self, entry: Arc<AuditEntry>) -> AuditRecord {
        AuditRecord {
            schema: AUDIT_SCHEMA.into(),
            sequence: self.sequence,
            timestamp: self.timestamp,
            previous: self.previous,
            entry: Arc::unwrap_or_clone(entry),
        }
    }
}

impl Waiting {
    pub(super) fn new(entry: Arc<AuditEntry>) -> Result<Self, AuditError> {
        let mut json = Vec::with_capacity(512);
        serde_json::to_writer(&mut json, &*entry)
            .map_err(|error| AuditError::Sink(error.to_string()))?;
        if json.len() as u64 + MAX_HEAD_BYTES >= MAX_RECORD_BYTES {
            return Err(AuditError::Sink(format!(
                "the record has {} bytes, at most {MAX_RECORD_BYTES} are stored",
                json.len()
            )));
        }
        Ok(Self { entry, json })
    }

    /// How many bytes its record has at most.
    pub(super) fn len(&self) -> usize {
        self.json.len() + MAX_HEAD_BYTES as usize
    }
}

/// Where a trail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tail {
    /// How many records there are.
    pub records: u64,
    /// How many of those stand before the first that is there, and are only said to have been removed: a check without a key can't tell
    /// whether whoever keeps the trail removed them, or which they were. None after a check with the key.
    pub unproven: u64,
    /// The digest of the last one.
    pub digest: Digest,
}

/// How far a chain was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) records: u64,
    pub(super) digest: Digest,
}

/// The same with the tree of everything before, where somebody wants to know its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) link: Link,
    pub(super) tree: Option<Tree>,
}

impl Chain {
    /// Before the first record.
    pub(super) fn new(with_tree: bool) -> Self {
        Self {
            link: Link {
                records: 0,
                digest: Digest::ZERO,
            },
            tree: with_tree.then(Tree::default),
        }
    }

    /// With one more record: its stored bytes are added to `bytes`.
    pub(super) fn write(&mut self, waiting: &Waiting, time: &Time, bytes: &mut Vec<u8>) -> Place {
        let place = Place {
            sequence: self.link.records + 1,
            timestamp: time.time,
            previous: self.link.digest,
        };
        let start = bytes.len();
        // What serde writes of a record: its head is made here, in order, the rest by whoever asked.
        let sequence = place.sequence.to_string();
        let head: [&[u8]; 9] = [
            b"{\"schema\":\"",
            AUDIT_SCHEMA.as_bytes(),
            b"\",\"sequence\":\"",
            sequence.as_bytes(),
            b"\",\"timestamp\":\"",
            time.text.as_bytes(),
            b"\",\"previous\":\"",
            &place.previous.to_text(),
            b"\",",
        ];
        head.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(waiting.json.get(1..).unwrap_or_default());
        self.push(Digest::of_bytes(bytes.get(start..).unwrap_or_default()));
        place
    }

    /// With the next record, if these are its bytes.
    pub(super) fn follow(&mut self, path: &str, bytes: &[u8]) -> Result<(), AuditError> {
        if !self.link.begins(bytes) {
            let problem = self.link.problem(bytes).unwrap_or_default();
            return Err(damaged(path, self.link.records + 1, problem));
        }
        self.push(Digest::of_bytes(bytes));
        Ok(())
    }

    /// With one more record, by the digest of its stored bytes.
    fn push(&mut self, digest: Digest) {
        self.link = Link {
            records: self.link.records + 1,
            digest,
        };
        if let Some(tree) = &mut self.tree {
            tree.push(leaf(digest.as_bytes()));
        }
    }
}

/// When records become durable, and how that is written.
pub(super) struct Time {
    pub(super) time: Timestamp,
    text: String,
}

impl Time {
    /// Now, but not before the last record: a clock that goes backwards doesn't move records back.
    pub(super) fn after(last: Option<Timestamp>) -> Self {
        let time = Timestamp::now().max(last.unwrap_or(Timestamp::MIN));
        Self {
            time,
            text: time.to_string(),
        }
    }
}

impl Link {
    pub(super) fn tail(self) -> Tail {
        let Self { records, digest } = self;
        Tail {
            records,
            unproven: 0,
            digest,
        }
    }

    /// Whether these bytes are the next record, by what every record begins with: none is ever written another way.
    fn begins(self, bytes: &[u8]) -> bool {
        let begins = || {
            let rest = bytes.strip_prefix(b"{\"schema\":\"")?;
            let rest = rest.strip_prefix(AUDIT_SCHEMA.as_bytes())?;
            let rest = rest.strip_prefix(b"\",\"sequence\":\"")?;
            let end = rest.iter().position(|byte| *byte == b'"')?;
            let (number, rest) = rest.split_at_checked(end)?;
            let digit = |number: u64, byte: &u8| {
                let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
                number.checked_mul(10)?.checked_add(digit)
            };
            let leading = number.first() == Some(&b'0');
            let number = number.iter().try_fold(0, digit)?;
            let rest = rest.strip_prefix(b"\",\"timestamp\":\"")?;
            if leading || number != self.records + 1 {
                return None;
            }
            let end = rest.iter().position(|byte| *byte == b'"')?;
            let rest = rest.get(end..)?.strip_prefix(b"\",\"previous\":\"")?;
            let rest = rest.strip_prefix(&self.digest.to_text())?;
            Some(rest.starts_with(b"\",") && rest.ends_with(b"}"))
        };
        begins().unwrap_or(false)
    }

    /// What is wrong with the next record, if anything is.
    pub(super) fn problem(self, bytes: &[u8]) -> Option<String> {
        let record: AuditRecord = match serde_json::from_slice(bytes) {
            Ok(record) => record,
            Err(error) => return Some(error.to_string()),
        };
        if record.schema != AUDIT_SCHEMA {
            return Some("its schema is not known".into());
        }
        if record.sequence != self.records + 1 {
            return Some(format!("it says that it is record {}", record.sequence));
        }
        if record.previous != self.digest {
            return Some(
                "it does not follow the record before it, one of the two was changed".into(),
            );
        }
        (!self.begins(bytes)).then(|| "it is not written as Argus writes records".into())
    }
}

pub(super) fn damaged(path: &str, record: u64, problem: impl Into<String>) -> AuditError {
    AuditError::Damaged {
        path: path.to_owned(),
        record,
        problem: problem.into(),
    }
}

pub(super) fn io_error(
    path: &str,
    verb: &'static str,
) -> impl FnOnce(std::io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { path, verb, source }
}
