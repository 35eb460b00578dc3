//! A trail's files become what stands in them: the whole chain, checked; the records of a query; a proof.

use std::io::Read;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::InclusionProof;
use crate::audit::chain::{Chain, Link, MAX_RECORD_BYTES, damaged, io_error};
use crate::audit::checkpoint::{AuditKey, Checkpoint, CheckpointError, Signed};
use crate::audit::merkle::{Tree, leaf, prove};
use crate::audit::segment::{Row, firsts, follow, index, index_of, name_of};
use crate::audit::{AuditError, AuditRecord, Tail};
use crate::digest::Digest;
use crate::disk::Disk;

/// The file of [`Base`].
pub(super) const BASE: &str = "base.json";
/// The newest checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// What stands for the records that were removed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    pub(super) records: u64,
    pub(super) digest: Digest,
    pub(super) peaks: Vec<Digest>,
    pub(super) checkpoint: String,
}

impl Base {
    pub(super) fn chain(&self) -> Result<Chain, AuditError> {
        let peaks = self.peaks.iter().map(|peak| *peak.as_bytes()).collect();
        let tree = Tree::new(self.records, peaks);
        let tree = tree.ok_or_else(|| damaged(BASE, self.records, "its hashes don't fit"))?;
        Ok(Chain {
            link: Link {
                records: self.records,
                digest: self.digest,
            },
            tree: Some(tree),
        })
    }

    /// The checkpoint by which this key says that these records were removed.
    fn proven(&self, key: &AuditKey) -> Result<Checkpoint, AuditError> {
        let signed = key
            .check(&self.checkpoint)
            .map_err(AuditError::Checkpoint)?;
        let tree = self.chain()?.tree.unwrap_or_default();
        if tree.size() == signed.records() && tree.root() == *signed.root() {
            return Ok(signed);
        }
        let problem = "its checkpoint is for other records";
        Err(damaged(BASE, self.records, problem))
    }
}

/// What a trail is read for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Purpose {
    /// To go on writing it: indexes that are missing or wrong are made again.
    Write,
    /// The same, with its tree.
    Sign,
    /// To check it.
    Check,
}

/// A trail as it stands in its folder.
pub(super) struct Reading {
    pub(super) chain: Chain,
    pub(super) base: Option<Base>,
    pub(super) segments: Vec<u64>,
    pub(super) rows: Vec<Row>,
    /// The time of the first record of the last segment.
    pub(super) began: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) last_length: u64,
    /// How many bytes of a torn last line follow.
    pub(super) torn: Option<u64>,
    /// What a crash left behind.
    pub(super) leftovers: Vec<String>,
}

impl Reading {
    pub(super) fn tail(&self) -> Result<Tail, AuditError> {
        let link = self.chain.link;
        match (self.torn, self.segments.last()) {
            (Some(_), Some(last)) => Err(damaged(
                &name_of(*last),
                link.records + 1,
                "the last line is cut short",
            )),
            _ => Ok(Tail {
                unproven: self.base.as_ref().map_or(0, |base| base.records),
                ..link.tail()
            }),
        }
    }
}

/// Follows the whole chain; it has to have the records of the checkpoint.
pub(super) fn read(
    disk: &dyn Disk,
    purpose: Purpose,
    checkpoint: Option<&Checkpoint>,
) -> Result<Reading, AuditError> {
    let names = disk.names().map_err(io_error("", "read"))?;
    let base = read_base(disk)?;
    let with_tree = checkpoint.is_some() || purpose == Purpose::Sign;
    let mut chain = base
        .as_ref()
        .map_or_else(|| Ok(Chain::new(with_tree)), Base::chain)?;
    if !with_tree {
        chain.tree = None;
    }
    let removed = chain.link.records;
    let mut segments = firsts(&names);
    // Records that were removed for good, and files that were about to be.
    segments.retain(|first| *first > removed);
    let known = |name: &&String| {
        let segment =
            |first: &u64| name_of(*first) == **name || index_of(&name_of(*first)) == **name;
        let ours = name.starts_with("records-") || name.ends_with(".new");
        ours && !segments.iter().any(segment)
    };
    let leftovers = names.iter().filter(known).cloned().collect();
    let mut reading = Reading {
        chain,
        base,
        segments,
        rows: Vec::new(),
        began: None,
        last: None,
        last_length: 0,
        torn: None,
        leftovers,
    };
    if let Some(old) = checkpoint.filter(|checkpoint| checkpoint.records() < removed) {
        let records = old.records();
        return Err(AuditError::Checkpoint(CheckpointError::Old {
            records,
            removed,
        }));
    }
    let mut signed = Signed::to(checkpoint, &reading.chain);
    for (position, first) in reading.segments.iter().enumerate() {
        let (name, next) = (name_of(*first), reading.chain.link.records + 1);
        if *first != next {
            return Err(damaged(
                &name,
                next,
                "it is missing, with the file that it was in",
            ));
        }
        (reading.began, reading.rows) = (None, Vec::new());
        let (rows, began, last) = (&mut reading.rows, &mut reading.began, &mut reading.last);
        let each = |bytes: &[u8], offset, chain: &Chain| {
            signed.look(chain);
            if purpose != Purpose::Check
                && let Ok(record) = serde_json::from_slice::<AuditRecord>(bytes)
            {
                rows.push(Row::new(&record.entry, offset));
                began.get_or_insert(record.timestamp);
                *last = Some(record.timestamp);
            }
        };
        let (whole, torn) = follow(disk, &name, &mut reading.chain, each)?;
        reading.last_length = whole;
        if position + 1 == reading.segments.len() {
            reading.torn = (torn > 0).then_some(torn);
        } else if torn > 0 {
            let record = reading.chain.link.records + 1;
            return Err(damaged(&name, record, "the line is cut short"));
        } else if purpose != Purpose::Check {
            keep_index(disk, &index_of(&name), &index(&reading.rows))?;
        }
    }
    signed.holds(&reading.chain)?;
    Ok(reading)
}

/// Makes an index again that is missing or isn't what the records say.
fn keep_index(disk: &dyn Disk, name: &str, wanted: &[u8]) -> Result<(), AuditError> {
    let mut found = Vec::new();
    let read = disk.read(name).and_then(|file| {
        let most = wanted.len() as u64 + 1;
        file.take(most).read_to_end(&mut found)
    });
    if read.is_ok() && found == wanted {
        return Ok(());
    }
    disk.replace(name, wanted)
        .map_err(io_error(name, "written"))
}

pub(super) fn read_base(disk: &dyn Disk) -> Result<Option<Base>, AuditError> {
    let base = text_of(disk, BASE)?.map(|text| serde_json::from_str(&text));
    base.transpose()
        .map_err(|error| damaged(BASE, 0, error.to_string()))
}

/// The newest checkpoint in the folder, as signed. That of what was removed has to hold too, and counts where it is the newer one.
pub(super) fn read_checkpoint(
    disk: &dyn Disk,
    key: &AuditKey,
) -> Result<Option<Checkpoint>, AuditError> {
    let removed = read_base(disk)?.map(|base| base.proven(key)).transpose()?;
    let signed = text_of(disk, CHECKPOINT)?.map(|text| key.check(&text));
    let signed = signed.transpose().map_err(AuditError::Checkpoint)?;
    let newest = |signed: Checkpoint| {
        let newest = removed.into_iter().chain([signed]);
        newest.max_by_key(Checkpoint::records)
    };
    Ok(signed.and_then(newest))
}

/// A small file, if it is there.
fn text_of(disk: &dyn Disk, name: &str) -> Result<Option<String>, AuditError> {
    disk.text(name, MAX_RECORD_BYTES)
        .map_err(io_error(name, "read"))
}

pub(super) fn verify_signed(
    disk: &dyn Disk,
    key: &AuditKey,
    checkpoint: Option<&str>,
) -> Result<Tail, AuditError> {
    if let Some(base) = read_base(disk)? {
        base.proven(key)?;
    }
    let signed = match checkpoint {
        Some(text) => key.check(text).map_err(AuditError::Checkpoint)?,
        None => read_checkpoint(disk, key)?.ok_or(AuditError::Unsigned)?,
    };
    let tail = read(disk, Purpose::Check, Some(&signed))?.tail()?;
    // What was removed is what the key signed.
    Ok(Tail {
        unproven: 0,
        ..tail
    })
}

pub(super) fn prove_on(
    disk: &dyn Disk,
    key: &AuditKey,
    checkpoint: &str,
    sequence: u64,
) -> Result<InclusionProof, AuditError> {
    let signed = key.check(checkpoint).map_err(AuditError::Checkpoint)?;
    let mut chain = Chain::new(false);
    let (mut leaves, mut wanted) = (Vec::new(), None);
    let names = disk.names().map_err(io_error("", "read"))?;
    if names.iter().any(|name| name == BASE) {
        return Err(damaged(
            BASE,
            sequence,
            "records were removed: a proof needs all of them",
        ));
    }
    for first in firsts(&names) {
        let each = |bytes: &[u8], _, chain: &Chain| {
            if chain.link.records == sequence {
                wanted = Some(String::from_utf8_lossy(bytes).into_owned());
            }
            leaves.push(leaf(chain.link.digest.as_bytes()));
        };
        follow(disk, &name_of(first), &mut chain, each)?;
    }
    let size = usize::try_from(signed.records()).unwrap_or(usize::MAX);
    let (Some(record), Some(leaves)) = (wanted, leaves.get(..size)) else {
        return Err(damaged("", sequence, "it is not there"));
    };
    let index = usize::try_from(sequence.saturating_sub(1)).unwrap_or(usize::MAX);
    if index >= size {
        return Err(damaged(
            "the trail",
            sequence,
            "the checkpoint is older than it",
        ));
    }
    let path = prove(leaves, index).into_iter();
    let proof = InclusionProof {
        record,
        sequence,
        path: path.map(Digest::from_bytes).collect(),
        checkpoint: checkpoint.to_owned(),
    };
    if !proof.holds(key) {
        return Err(damaged(
            "the trail",
            sequence,
            "the checkpoint is for other records",
        ));
    }
    Ok(proof)
}
