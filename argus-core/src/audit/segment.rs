//! A trail's files: segments of records, one after another, each with an index that finds the records of a plan or an incident.

use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use super::chain::{Chain, MAX_RECORD_BYTES, damaged, io_error};
use super::query::AuditQuery;
use super::{AuditEntry, AuditError, AuditRecord};
use crate::disk::{Disk, ReadSeek};

/// How much is read at once from the end of a segment.
const CHUNK: u64 = 64 * 1024;
const PREFIX: &str = "records-";
/// What an index begins with.
const INDEX: &[u8; 8] = b"argusix1";
const ROW: usize = 12;

/// The name of the segment that begins with this record.
pub(super) fn name_of(first: u64) -> String {
    format!("{PREFIX}{first:020}.jsonl")
}

/// The first records of the segments among these files, in order.
pub(super) fn firsts(names: &[String]) -> Vec<u64> {
    let first = |name: &String| {
        let number = name.strip_prefix(PREFIX)?.strip_suffix(".jsonl")?;
        (number.len() == 20).then(|| number.parse().ok())?
    };
    names.iter().filter_map(first).collect()
}

pub(super) fn index_of(name: &str) -> String {
    name.replace(".jsonl", ".index")
}

/// Follows the chain through one segment. `each` gets the bytes of every whole record, where it begins, and the chain with it;
/// the answer is how many bytes are whole, and how many of a torn line follow them.
pub(super) fn follow(
    disk: &dyn Disk,
    name: &str,
    chain: &mut Chain,
    mut each: impl FnMut(&[u8], u64, &Chain),
) -> Result<(u64, u64), AuditError> {
    let mut file = disk.read(name).map_err(io_error(name, "opened"))?;
    // What was read and not followed yet stands at the front; the last record is kept until the next one shows that it is whole.
    let mut buffer = vec![0; CHUNK as usize];
    let (mut filled, mut whole) = (0, 0u64);
    let (mut before, mut last) = (chain.link, Vec::new());
    loop {
        if filled == buffer.len() {
            if filled as u64 >= MAX_RECORD_BYTES {
                let record = chain.link.records + 1;
                return Err(damaged(name, record, "the record is too long"));
            }
            buffer.resize(filled * 2, 0);
        }
        let read = match file.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(io_error(name, "read"))?,
        };
        if read == 0 {
            break;
        }
        filled += read;
        let mut rest = buffer.get(..filled).unwrap_or_default();
        let mut newest = None;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (bytes, after) = rest.split_at(end);
            before = chain.link;
            chain.follow(name, bytes)?;
            each(bytes, whole, chain);
            whole += end as u64 + 1;
            newest = Some(bytes);
            rest = after.get(1..).unwrap_or_default();
        }
        if let Some(bytes) = newest {
            last.clear();
            last.extend_from_slice(bytes);
        }
        let start = filled - rest.len();
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
    // No record follows the last one that would tell whether it is whole.
    if !last.is_empty()
        && let Some(problem) = before.problem(&last)
    {
        return Err(damaged(name, before.records + 1, problem));
    }
    Ok((whole, filled as u64))
}

/// Where a record begins, with what it is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    plan: u64,
    incident: u64,
    offset: u32,
}

impl Row {
    pub(super) fn new(entry: &AuditEntry, offset: u64) -> Self {
        Self {
            plan: key(entry.plan_id.as_str()),
            incident: key(entry.incident_id.as_str()),
            offset: offset.try_into().unwrap_or(u32::MAX),
        }
    }
}

/// A short number for an id (FNV-1a): two may share one, whoever looks up reads the record itself.
fn key(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The index of a segment: where the records of each plan begin, then those of each incident, both sorted.
pub(super) fn index(rows: &[Row]) -> Vec<u8> {
    let mut bytes = INDEX.to_vec();
    bytes.extend((rows.len() as u64).to_be_bytes());
    for by in [|row: &Row| row.plan, |row: &Row| row.incident] {
        let mut table: Vec<(u64, u32)> = rows.iter().map(|row| (by(row), row.offset)).collect();
        table.sort_unstable();
        for (key, offset) in table {
            bytes.extend(key.to_be_bytes());
            bytes.extend(offset.to_be_bytes());
        }
    }
    bytes
}

/// What a query is looked up by, and in which table of an index; `None` if its records could be anywhere.
fn wanted(query: &AuditQuery) -> Option<(u64, u64)> {
    match (&query.plan_id, &query.incident_id) {
        (Some(plan), _) => Some((key(plan.as_str()), 0)),
        (None, Some(incident)) => Some((key(incident.as_str()), 1)),
        (None, None) => None,
    }
}

/// Where to look for the records of a query, newest first; `None` if it could be anywhere.
pub(super) fn lookup(rows: &[Row], query: &AuditQuery) -> Option<Vec<u64>> {
    let (wanted, table) = wanted(query)?;
    let is_wanted = |row: &&Row| [row.plan, row.incident].get(table as usize) == Some(&wanted);
    let found = rows.iter().rev().filter(is_wanted);
    Some(found.map(|row| row.offset.into()).collect())
}

/// The same from an index on the disk.
pub(super) fn lookup_in(
    file: &mut dyn ReadSeek,
    query: &AuditQuery,
) -> std::io::Result<Option<Vec<u64>>> {
    let Some((wanted, table)) = wanted(query) else {
        return Ok(None);
    };
    let mut head = [0; 16];
    file.read_exact(&mut head)?;
    let (magic, count) = head.split_at(8);
    if magic != INDEX {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let count = u64::from_be_bytes(count.try_into().unwrap_or_default());
    let start = 16 + table * count * ROW as u64;
    let mut row = |number: u64| {
        let mut bytes = [0; ROW];
        file.seek(SeekFrom::Start(start + number * ROW as u64))?;
        file.read_exact(&mut bytes)?;
        let [a, b, c, d, e, f, g, h, offset @ ..] = bytes;
        let key = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Ok::<_, std::io::Error>((key, u32::from_be_bytes(offset)))
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if row(middle)?.0 < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut offsets = Vec::new();
    while low < count {
        let (key, offset) = row(low)?;
        if key != wanted {
            break;
        }
        offsets.push(offset.into());
        low += 1;
    }
    offsets.reverse();
    Ok(Some(offsets))
}

/// Reads the record that begins here.
pub(super) fn record_at(
    file: &mut dyn ReadSeek,
    name: &str,
    offset: u64,
) -> Result<AuditRecord, AuditError> {
    file.seek(SeekFrom::Start(offset))
        .map_err(io_error(name, "read"))?;
    let mut line = Vec::new();
    BufReader::with_capacity(2048, file.take(MAX_RECORD_BYTES))
        .read_until(b'\n', &mut line)
        .map_err(io_error(name, "read"))?;
    parse(name, line.strip_suffix(b"\n").unwrap_or(&line))
}

fn parse(name: &str, bytes: &[u8]) -> Result<AuditRecord, AuditError> {
    serde_json::from_slice(bytes).map_err(|error| AuditError::Damaged {
        path: name.to_owned(),
        record: 0,
        problem: error.to_string(),
    })
}

/// Reads the records of a segment from its end, or from `end`, until `each` says that it is enough.
pub(super) fn backwards(
    disk: &dyn Disk,
    name: &str,
    end: Option<u64>,
    mut each: impl FnMut(AuditRecord) -> bool,
) -> Result<bool, AuditError> {
    let mut file = disk.read(name).map_err(io_error(name, "opened"))?;
    let length = file
        .seek(SeekFrom::End(0))
        .map_err(io_error(name, "read"))?;
    let mut start = end.unwrap_or(length).min(length);
    // What was read and isn't a whole line yet: its beginning stands further up.
    let mut rest: Vec<u8> = Vec::new();
    let mut torn = end.is_none();
    while start > 0 {
        let from = start.saturating_sub(CHUNK);
        let mut chunk = vec![0; (start - from) as usize];
        file.seek(SeekFrom::Start(from))
            .and_then(|_| file.read_exact(&mut chunk))
            .map_err(io_error(name, "read"))?;
        chunk.extend_from_slice(&rest);
        if chunk.len() as u64 > MAX_RECORD_BYTES + CHUNK {
            return Err(damaged(name, 0, "a record is too long"));
        }
        let first = match chunk.iter().position(|byte| *byte == b'\n') {
            _ if from == 0 => 0,
            Some(end) => end + 1,
            None => chunk.len(),
        };
        let whole = chunk.split_off(first);
        let lines = (!whole.is_empty()).then_some(&whole);
        for line in lines
            .into_iter()
            .flat_map(|lines| lines.split(|byte| *byte == b'\n').rev())
        {
            // After the last line end stands nothing, or what a crash cut short.
            if std::mem::take(&mut torn) || line.is_empty() {
                continue;
            }
            if !each(parse(name, line)?) {
                return Ok(false);
            }
        }
        (rest, start) = (chunk, from);
    }
    Ok(true)
}
