//! What waits becomes durable: one writer at a time, everything that waits by one write and one sync.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::FileAuditOptions;
use super::reading::{BASE, Base, CHECKPOINT, Found, read_base};
use super::within;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::disk::{Append, Disk};
use crate::audit::query::AuditQuery;
use crate::audit::segment::{
    Chain, Link, MAX_RECORD_BYTES, Row, backwards, follow, index, index_of, io_error, lookup,
    lookup_in, name_of, record_at,
};
use crate::audit::{AUDIT_SCHEMA, AuditEntry, AuditError, AuditEvent, AuditRecord};
use crate::digest::Digest;

/// The most records that one sync makes durable.
pub(super) const BATCH: usize = 1024;
/// The most that a record's own fields take, in bytes.
const MAX_HEAD_BYTES: u64 = 256;
/// And the most text in them, in bytes.
pub(super) const BATCH_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    pub(super) writer: Mutex<Writer>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) place: String,
    pub(super) _lock: Box<dyn std::fmt::Debug + Send + Sync>,
}

pub(super) type Reply = oneshot::Sender<Result<AuditRecord, AuditError>>;

/// An entry that waits for its place, and its JSON.
pub(super) struct Waiting {
    entry: AuditEntry,
    json: Vec<u8>,
}

impl Waiting {
    pub(super) fn new(entry: AuditEntry) -> Result<Self, AuditError> {
        let json =
            serde_json::to_vec(&entry).map_err(|error| AuditError::Sink(error.to_string()))?;
        if json.len() as u64 + MAX_HEAD_BYTES >= MAX_RECORD_BYTES {
            return Err(AuditError::Sink(format!(
                "the record has {} bytes, at most {MAX_RECORD_BYTES} are stored",
                json.len()
            )));
        }
        Ok(Self { entry, json })
    }
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<(Waiting, Reply)>,
    /// Whether somebody is writing: whoever comes meanwhile only waits.
    pub(super) busy: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({})", self.waiting.len())
    }
}

pub(super) struct Writer {
    pub(super) options: FileAuditOptions,
    pub(super) file: Box<dyn Append>,
    /// The first record of each segment; the last one grows.
    pub(super) segments: Vec<u64>,
    pub(super) bytes: u64,
    /// The time of the first record of the last segment.
    pub(super) began: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) rows: Vec<Row>,
    pub(super) chain: Chain,
    pub(super) poisoned: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({:?})", self.chain.link)
    }
}

impl Shared {
    /// The same with the folder in its words.
    pub(super) fn within<T>(&self, result: Result<T, AuditError>) -> Result<T, AuditError> {
        result.map_err(|error| within(&self.place, error))
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // A queue is whole at every moment: nothing in it can panic half-way.
        self.queue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writer>, AuditError> {
        self.writer.lock().map_err(|_| AuditError::Poisoned)
    }

    /// The records of a query, newest first.
    pub(super) fn find(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        let (segments, bytes, offsets) = {
            let writer = self.writer()?;
            let offsets = lookup(&writer.rows, query);
            (writer.segments.clone(), writer.bytes, offsets)
        };
        let disk = &*self.disk;
        let mut found = Found::new(query);
        for (position, first) in segments.iter().rev().enumerate() {
            let name = name_of(*first);
            let (end, offsets) = match position {
                0 => (Some(bytes), offsets.clone()),
                // Without an index everything is read.
                _ => {
                    let file = disk.read(&index_of(&name));
                    let rows = file.and_then(|mut file| lookup_in(&mut *file, query));
                    (None, rows.ok().flatten())
                }
            };
            let more = match offsets {
                None => backwards(disk, &name, end, |record| found.add(record))?,
                Some(offsets) => {
                    let mut file = disk.read(&name).map_err(io_error(&name, "opened"))?;
                    let mut more = true;
                    for offset in offsets {
                        more = found.add(record_at(&mut *file, &name, offset)?);
                        if !more {
                            break;
                        }
                    }
                    more
                }
            };
            if !more {
                break;
            }
        }
        Ok(found.records)
    }

    /// What waits, as much as is written at once; if nothing does, whoever comes next writes.
    fn next_batch(&self) -> Vec<(Waiting, Reply)> {
        let mut bytes = 0;
        let fits = |(waiting, _): &&(Waiting, Reply)| {
            let first = bytes == 0;
            bytes += waiting.json.len();
            first || bytes < BATCH_BYTES
        };
        let mut queue = self.queue();
        let some = queue.waiting.iter().take(BATCH).take_while(fits).count();
        queue.busy = some > 0;
        queue.waiting.drain(..some).collect()
    }
}

/// Whoever writes for all who wait. If it doesn't come to that, because a runtime is shut down, they hear so.
pub(super) struct Lead {
    pub(super) shared: Arc<Shared>,
    pub(super) done: bool,
}

impl Lead {
    /// Writes what waits, together, until nothing does.
    pub(super) fn commit(mut self) {
        let mut batch = self.shared.next_batch();
        while !batch.is_empty() {
            let (entries, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let results = match self.shared.writer() {
                Ok(mut writer) => writer.append(&*self.shared.disk, entries),
                Err(_) => entries.iter().map(|_| Err(AuditError::Poisoned)).collect(),
            };
            batch = self.shared.next_batch();
            if batch.is_empty() {
                self.done = true;
                // Whoever hears that its record is durable may let go of the trail, and open it again at once.
                drop(self);
                return answer(replies, results);
            }
            answer(replies, results);
        }
        self.done = true;
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.done {
            let mut queue = self.shared.queue();
            queue.busy = false;
            queue.waiting.clear();
        }
    }
}

fn answer(replies: Vec<Reply>, results: Vec<Result<AuditRecord, AuditError>>) {
    for (reply, result) in replies.into_iter().zip(results) {
        // Whoever asked may be gone.
        let _ = reply.send(result);
    }
}

impl Writer {
    /// Makes entries durable, all of them by one write and one sync: the record of each, in order.
    pub(super) fn append(
        &mut self,
        disk: &dyn Disk,
        entries: Vec<Waiting>,
    ) -> Vec<Result<AuditRecord, AuditError>> {
        let before = (self.chain.clone(), self.last);
        let ready = if self.poisoned {
            Err(AuditError::Poisoned)
        } else {
            self.rotate_if_due(disk)
        };
        if let Err(error) = ready {
            return entries.iter().map(|_| Err(again(&error))).collect();
        }
        let (mut bytes, mut rows) = (Vec::new(), Vec::new());
        let mut records = Vec::new();
        for waiting in entries {
            let start = bytes.len();
            let timestamp = Timestamp::now().max(self.last.unwrap_or(Timestamp::MIN));
            let Link {
                records: last,
                digest: previous,
            } = self.chain.link;
            let sequence = last + 1;
            // What serde writes of a record: its head is made here, in order, the rest by whoever asked.
            bytes.extend_from_slice(
                format!(
                    "{{\"schema\":\"{AUDIT_SCHEMA}\",\"sequence\":\"{sequence}\",\"timestamp\":\"{timestamp}\",\"previous\":\"{previous}\","
                )
                .as_bytes(),
            );
            bytes.extend_from_slice(waiting.json.get(1..).unwrap_or_default());
            let line = bytes.get(start..).unwrap_or_default();
            self.chain.push(Digest::of_bytes(line));
            bytes.push(b'\n');
            rows.push(Row::new(&waiting.entry, self.bytes + start as u64));
            self.last = Some(timestamp);
            records.push(AuditRecord {
                schema: AUDIT_SCHEMA.into(),
                sequence,
                timestamp,
                previous,
                entry: waiting.entry,
            });
        }
        // Whatever fails from here on, the end of the file is unknown: no more records until it was opened again.
        self.poisoned = true;
        let name = self.name();
        let durable = self
            .file
            .write(&bytes)
            .map_err(io_error(&name, "written"))
            .and_then(|()| self.file.sync().map_err(io_error(&name, "synced")));
        if let Err(error) = durable {
            (self.chain, self.last) = before;
            return records.iter().map(|_| Err(again(&error))).collect();
        }
        self.poisoned = false;
        self.bytes += bytes.len() as u64;
        self.rows.extend(rows);
        if let Some(first) = records.first() {
            self.began.get_or_insert(first.timestamp);
        }
        let ends = |record: &AuditRecord| record.entry.event == AuditEvent::Finished;
        // A checkpoint that can't be kept takes nothing away from the records.
        if records.iter().any(ends)
            && self.options.signer.is_some()
            && let Err(error) = self.sign(disk)
        {
            tracing::warn!(%error, "no checkpoint of the audit trail could be kept");
        }
        records.into_iter().map(Ok).collect()
    }

    /// Begins a new segment if this one is full or old. The old one is durable as it stands.
    pub(super) fn rotate_if_due(&mut self, disk: &dyn Disk) -> Result<(), AuditError> {
        let old = self.began.is_some_and(|began| {
            Timestamp::now().duration_since(began) >= self.options.segment_age
        });
        if self.bytes < self.options.segment_bytes && !old {
            return Ok(());
        }
        let first = self.chain.link.records + 1;
        let name = name_of(first);
        let file = disk.append(&name).map_err(io_error(&name, "made"))?;
        // Replacing syncs the folder: nothing is written to the new file before its name is durable.
        let closed = index_of(&self.name());
        disk.replace(&closed, &index(&self.rows))
            .map_err(io_error(&closed, "written"))?;
        self.file = file;
        self.segments.push(first);
        (self.bytes, self.began) = (0, None);
        self.rows.clear();
        if self.options.signer.is_some() {
            self.sign(disk)?;
        }
        Ok(())
    }

    pub(super) fn sign(&self, disk: &dyn Disk) -> Result<Checkpoint, AuditError> {
        let signer = self.options.signer.as_ref().ok_or(AuditError::Unsigned)?;
        let checkpoint = signer.sign(self.chain.tree.as_ref().ok_or(AuditError::Unsigned)?);
        disk.replace(CHECKPOINT, checkpoint.to_string().as_bytes())
            .map_err(io_error(CHECKPOINT, "written"))?;
        if let Some(hook) = &self.options.hook {
            hook(&checkpoint);
        }
        Ok(checkpoint)
    }

    pub(super) fn remove_before(
        &mut self,
        disk: &dyn Disk,
        time: Timestamp,
    ) -> Result<u64, AuditError> {
        let signer = self.options.signer.as_ref().ok_or(AuditError::Unsigned)?;
        let base = read_base(disk)?;
        let mut chain = base
            .as_ref()
            .map_or_else(|| Ok(Chain::new(true)), Base::chain)?;
        let mut kept = chain.clone();
        let mut old = 0;
        for first in self.segments.iter().rev().skip(1).rev() {
            let mut young = false;
            follow(disk, &name_of(*first), &mut chain, |bytes, _, _| {
                let record: Result<AuditRecord, _> = serde_json::from_slice(bytes);
                young |= record.is_ok_and(|record| record.timestamp >= time);
            })?;
            if young {
                break;
            }
            kept = chain.clone();
            old += 1;
        }
        if old == 0 {
            return Ok(0);
        }
        let removed = kept.link.records - base.map_or(0, |base| base.records);
        let tree = kept.tree.unwrap_or_default();
        let base = Base {
            records: kept.link.records,
            digest: kept.link.digest,
            peaks: tree
                .peaks()
                .iter()
                .copied()
                .map(Digest::from_bytes)
                .collect(),
            checkpoint: signer.sign(&tree).to_string(),
        };
        let text =
            serde_json::to_vec(&base).map_err(|error| AuditError::Sink(error.to_string()))?;
        // What stands for them is durable before they go.
        disk.replace(BASE, &text)
            .map_err(io_error(BASE, "written"))?;
        for first in self.segments.drain(..old) {
            let name = name_of(first);
            disk.remove(&name).map_err(io_error(&name, "removed"))?;
            // An index that isn't there is made again when it is missed.
            let _ = disk.remove(&index_of(&name));
        }
        disk.sync().map_err(io_error("", "synced"))?;
        Ok(removed)
    }

    pub(super) fn name(&self) -> String {
        name_of(self.segments.last().copied().unwrap_or(1))
    }
}

/// The same error once more: each of a batch gets its own.
pub(super) fn again(error: &AuditError) -> AuditError {
    match error {
        AuditError::Io { path, verb, source } => AuditError::Io {
            path: path.clone(),
            verb,
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        AuditError::Poisoned => AuditError::Poisoned,
        other => AuditError::Sink(other.to_string()),
    }
}
