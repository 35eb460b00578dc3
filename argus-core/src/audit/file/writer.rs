//! What waits becomes durable in a file: everything by one write and one sync.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

use super::FileAuditOptions;
use super::reading::{BASE, Base, CHECKPOINT, read_base};
use super::within;
use crate::audit::chain::{Chain, Place, Time, Waiting, io_error};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::group::{Group, Queue, again};
use crate::audit::query::{AuditQuery, Found};
use crate::audit::segment::{
    Row, backwards, follow, index, index_of, lookup, lookup_in, name_of, record_at,
};
use crate::audit::{AuditError, AuditEvent, AuditRecord};
use crate::digest::Digest;
use crate::disk::{Append, Disk};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) writer: Mutex<Writer>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) place: String,
    pub(super) _lock: Box<dyn std::fmt::Debug + Send + Sync>,
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

    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writer>, AuditError> {
        self.writer.lock().map_err(|_| AuditError::Poisoned)
    }

    /// The records of a query, newest first, for as long as `each` wants more.
    pub(super) fn find(
        &self,
        query: &AuditQuery,
        each: impl FnMut(AuditRecord) -> bool,
    ) -> Result<(), AuditError> {
        let (segments, bytes, mut newest) = {
            let writer = self.writer()?;
            let newest = lookup(&writer.rows, query);
            (writer.segments.clone(), Some(writer.bytes), newest)
        };
        let disk = &*self.disk;
        let mut found = Found::new(query, each);
        let mut more = true;
        for (position, first) in segments.iter().rev().enumerate() {
            if query.before.is_some_and(|before| before <= *first) {
                continue;
            }
            let name = name_of(*first);
            let (end, offsets) = if position == 0 {
                (bytes, newest.take())
            } else {
                // Without an index everything is read.
                let file = disk.read(&index_of(&name));
                let offsets = file.and_then(|mut file| lookup_in(&mut *file, query));
                (None, offsets.ok().flatten())
            };
            if let Some(offsets) = offsets {
                let mut file = disk.read(&name).map_err(io_error(&name, "opened"))?;
                let mut offsets = offsets.into_iter();
                while more && let Some(offset) = offsets.next() {
                    more = found.add(record_at(&mut *file, &name, offset)?);
                }
            } else {
                more = backwards(disk, &name, end, |record| found.add(record))?;
            }
            if !more {
                break;
            }
        }
        Ok(())
    }
}

impl Group for Shared {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn write(&self, entries: Vec<Waiting>) -> Vec<Result<Place, AuditError>> {
        match self.writer() {
            Ok(mut writer) => writer.append(&*self.disk, entries),
            Err(_) => entries.iter().map(|_| Err(AuditError::Poisoned)).collect(),
        }
    }
}

impl Writer {
    /// Makes entries durable, all of them by one write and one sync: the place of each, in order.
    fn append(&mut self, disk: &dyn Disk, entries: Vec<Waiting>) -> Vec<Result<Place, AuditError>> {
        let before = (self.chain.clone(), self.last);
        let ready = if self.poisoned {
            Err(AuditError::Poisoned)
        } else {
            self.rotate_if_due(disk)
        };
        if let Err(error) = ready {
            return entries.iter().map(|_| Err(again(&error))).collect();
        }
        let mut bytes = Vec::with_capacity(entries.iter().map(Waiting::len).sum());
        let mut rows = Vec::with_capacity(entries.len());
        let mut places = Vec::with_capacity(entries.len());
        let time = Time::after(self.last);
        for waiting in &entries {
            rows.push(Row::new(&waiting.entry, self.bytes + bytes.len() as u64));
            places.push(self.chain.write(waiting, &time, &mut bytes));
            bytes.push(b'\n');
        }
        self.last = Some(time.time);
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
            return places.iter().map(|_| Err(again(&error))).collect();
        }
        self.poisoned = false;
        self.bytes += bytes.len() as u64;
        self.rows.extend(rows);
        self.began.get_or_insert(time.time);
        let ends = |waiting: &Waiting| waiting.entry.event == AuditEvent::Finished;
        // A checkpoint that can't be kept takes nothing away from the records.
        if entries.iter().any(ends)
            && self.options.signer.is_some()
            && let Err(error) = self.sign(disk)
        {
            tracing::warn!(%error, "no checkpoint of the audit trail could be kept");
        }
        places.into_iter().map(Ok).collect()
    }

    /// Begins a new segment if this one is full or old. The old one is durable as it stands.
    fn rotate_if_due(&mut self, disk: &dyn Disk) -> Result<(), AuditError> {
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

    fn name(&self) -> String {
        name_of(self.segments.last().copied().unwrap_or(1))
    }
}
