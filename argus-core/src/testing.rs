//! For tests of hosts and implementors: a cluster in memory, scripted doors, doors that fail on purpose, and the laws of
//! the doors.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::audit::{AUDIT_SCHEMA, AuditEntry, AuditError, AuditQuery, AuditRecord, AuditSink};
use crate::digest::Digest;
use crate::hold::HoldBounds;
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};
use crate::verdict::{Opinion, PolicyEngine, PolicyError, PolicyInput};

pub mod cluster;
pub mod laws;

/// A hold for tests that are about something else. Without any, nothing is ever [resolved](crate::Recovery::Resolved).
pub const SHORT_HOLD: HoldBounds = HoldBounds {
    min: Duration::from_millis(50),
    max: Duration::from_millis(50),
};

/// A provider that always answers the same text: a model that does whatever the test says.
#[derive(Debug, Clone)]
pub struct Scripted(Completion);

impl Scripted {
    /// Answers `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Completion::new(text, "scripted"))
    }

    /// Answers a plan of these commands.
    #[must_use]
    pub fn commands(commands: &[&str]) -> Self {
        let steps: Vec<_> = commands.iter().map(|command| serde_json::json!({ "description": "As the test says.", "command": command })).collect();
        let draft = serde_json::json!({ "summary": "As the test says.", "steps": steps, "risk_level": "low", "risk_reason": "A test.", "rollback_steps": [] });
        Self::new(draft.to_string())
    }
}

#[async_trait]
impl LlmProvider for Scripted {
    async fn complete(&self, _: &Prompt) -> Result<Completion, LlmError> {
        Ok(self.0.clone())
    }
}

/// An engine that permits whatever the floor permits: for tests of everything but policy.
#[derive(Debug, Clone, Copy)]
pub struct PermitAll(());

impl PermitAll {
    /// An engine without rules. Never give it to a real remediator.
    #[must_use]
    pub fn dangerous() -> Self {
        Self(())
    }
}

#[async_trait]
impl PolicyEngine for PermitAll {
    async fn evaluate(&self, _: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        Ok(vec![Opinion {
            pack: "dangerous-permit-all".into(),
            revision: self.revision(),
            evaluated: vec!["permit-all".into()],
            deny: vec![],
            manual: vec![],
            require_approval: vec![],
            warn: vec![],
        }])
    }

    fn revision(&self) -> Digest {
        Digest::of_bytes(b"dangerous-permit-all")
    }
}

/// A trail in memory, for tests: durable as long as the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryAudit {
    state: Arc<Mutex<MemoryTrail>>,
}

#[derive(Debug, Default)]
struct MemoryTrail {
    records: Vec<AuditRecord>,
    /// The append, counted from 1, from which on everything fails.
    fail_from: Option<usize>,
}

impl MemoryAudit {
    /// An empty trail.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A trail whose append number `n`, from 1, fails, and every later one.
    #[must_use]
    pub fn failing_from(n: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(MemoryTrail {
                records: Vec::new(),
                fail_from: Some(n),
            })),
        }
    }

    /// A trail with the same records that works again: what a restart finds.
    #[must_use]
    pub fn restarted(&self) -> Self {
        self.restarted_failing_from(usize::MAX)
    }

    /// The same, and append number `n` of all fails, and every later one.
    #[must_use]
    pub fn restarted_failing_from(&self, n: usize) -> Self {
        Self {
            state: Arc::new(Mutex::new(MemoryTrail {
                records: self.all(),
                fail_from: Some(n),
            })),
        }
    }

    /// Every record, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<AuditRecord> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .records
            .clone()
    }
}

#[async_trait]
impl AuditSink for MemoryAudit {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        let mut trail = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = trail.records.len() + 1;
        if trail.fail_from.is_some_and(|from| number >= from) {
            trail.fail_from = Some(0);
            return Err(AuditError::Sink("made to fail by the test".into()));
        }
        let bytes = trail
            .records
            .last()
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| AuditError::Sink(error.to_string()))?;
        let record = AuditRecord {
            schema: AUDIT_SCHEMA.into(),
            sequence: u64::try_from(number).unwrap_or(u64::MAX),
            timestamp: Timestamp::now(),
            previous: bytes.map_or(Digest::ZERO, |bytes| Digest::of_bytes(&bytes)),
            entry,
        };
        trail.records.push(record.clone());
        Ok(record)
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        let matching = self
            .all()
            .into_iter()
            .rev()
            .filter(|record| query.matches(record));
        Ok(matching.take(query.limit.unwrap_or(usize::MAX)).collect())
    }
}
