//! The embedded audit sink: one append-only file of JSON lines, synced before `append` returns.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{AUDIT_SCHEMA, AuditEntry, AuditError, AuditQuery, AuditRecord, AuditSink};
use crate::digest::Digest;

/// The name of the file in the folder.
const FILE: &str = "audit.jsonl";
/// The longest record, in bytes; also bounds what a reader holds of a damaged file.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// A trail in one file: `audit.jsonl` in a folder of its own.
///
/// # Guarantees
/// `append` returns after `fdatasync`. One writer at a time, across processes. A last line that a crash cut short is
/// taken off when the trail is opened and reported by [`FileAudit::cut`]; any other damage refuses to open.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("argus-doc-{}", std::process::id()));
/// use argus_core::FileAudit;
/// let audit = FileAudit::open(&folder).await?;
/// assert_eq!(FileAudit::verify(&folder)?.records, 0);
/// # drop(audit);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileAudit {
    path: PathBuf,
    cut: Option<u64>,
    writer: Arc<Mutex<Writer>>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    tail: Tail,
    poisoned: bool,
}

/// Where a trail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tail {
    /// How many records there are.
    pub records: u64,
    /// The digest of the last one.
    pub digest: Digest,
}

impl FileAudit {
    /// Opens or makes the trail in `folder`, checking the whole chain.
    ///
    /// # Errors
    /// [`AuditError`] for a folder that can't be used, a trail that another process writes, or a damaged one.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, AuditError> {
        let folder = folder.as_ref().to_owned();
        blocking(move || Self::open_now(&folder)).await
    }

    fn open_now(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join(FILE);
        let io = |verb| io_error(&path, verb);
        std::fs::create_dir_all(folder).map_err(io("made"))?;
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(io("opened"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::Locked(path.display().to_string()));
            }
            Err(TryLockError::Error(source)) => return Err(io("locked")(source)),
        }
        let mut whole = 0;
        let tail = walk(&path, &mut file, |_, end| whole = end)?;
        let length = file.seek(SeekFrom::End(0)).map_err(io("read"))?;
        let cut = (length > whole).then(|| length - whole);
        if cut.is_some() {
            file.set_len(whole).map_err(io("repaired"))?;
        }
        // The file itself, and its name in the folder.
        file.sync_all().map_err(io("synced"))?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io("synced"))?;
        Ok(Self {
            path,
            cut,
            writer: Arc::new(Mutex::new(Writer {
                file,
                tail,
                poisoned: false,
            })),
        })
    }

    /// How many bytes of a torn last line were taken off when it was opened.
    #[must_use]
    pub fn cut(&self) -> Option<u64> {
        self.cut
    }

    /// Checks every record of the trail in `folder`.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] names the first bad record.
    pub fn verify(folder: impl AsRef<Path>) -> Result<Tail, AuditError> {
        let path = folder.as_ref().join(FILE);
        let mut file = File::open(&path).map_err(io_error(&path, "opened"))?;
        let mut whole = 0;
        let tail = walk(&path, &mut file, |_, end| whole = end)?;
        let length = file
            .seek(SeekFrom::End(0))
            .map_err(io_error(&path, "read"))?;
        if length > whole {
            return Err(damaged(
                &path,
                tail.records + 1,
                "the last line is cut short",
            ));
        }
        Ok(tail)
    }
}

fn append_now(
    path: &Path,
    writer: &mut Writer,
    entry: AuditEntry,
) -> Result<AuditRecord, AuditError> {
    if writer.poisoned {
        return Err(AuditError::Poisoned);
    }
    let record = AuditRecord {
        schema: AUDIT_SCHEMA.into(),
        sequence: writer.tail.records + 1,
        timestamp: Timestamp::now(),
        previous: writer.tail.digest,
        entry,
    };
    let mut line =
        serde_json::to_vec(&record).map_err(|error| AuditError::Sink(error.to_string()))?;
    if line.len() as u64 >= MAX_RECORD_BYTES {
        return Err(AuditError::Sink(format!(
            "the record has {} bytes, at most {MAX_RECORD_BYTES} are stored",
            line.len()
        )));
    }
    let digest = Digest::of_bytes(&line);
    line.push(b'\n');
    // Whatever fails from here on, the end of the file is unknown: no more records until it was opened again.
    writer.poisoned = true;
    writer
        .file
        .write_all(&line)
        .map_err(io_error(path, "written"))?;
    writer.file.sync_data().map_err(io_error(path, "synced"))?;
    writer.poisoned = false;
    writer.tail = Tail {
        records: record.sequence,
        digest,
    };
    Ok(record)
}

#[async_trait]
impl AuditSink for FileAudit {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        let (path, writer) = (self.path.clone(), Arc::clone(&self.writer));
        blocking(move || {
            let mut writer = writer.lock().map_err(|_| AuditError::Poisoned)?;
            append_now(&path, &mut writer, entry)
        })
        .await
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        let (path, query) = (self.path.clone(), query.clone());
        blocking(move || {
            let mut file = File::open(&path).map_err(io_error(&path, "opened"))?;
            let mut records = Vec::new();
            walk(&path, &mut file, |record, _| {
                if query.matches(&record) {
                    records.push(record);
                }
            })?;
            records.reverse();
            records.truncate(query.limit.unwrap_or(usize::MAX));
            Ok(records)
        })
        .await
    }
}

/// Reads the file from its start, checking the chain; `each` gets every whole record and where it ends.
fn walk(
    path: &Path,
    file: &mut File,
    mut each: impl FnMut(AuditRecord, u64),
) -> Result<Tail, AuditError> {
    file.seek(SeekFrom::Start(0))
        .map_err(io_error(path, "read"))?;
    let mut reader = BufReader::new(file);
    let mut tail = Tail {
        records: 0,
        digest: Digest::ZERO,
    };
    let (mut line, mut end) = (Vec::new(), 0u64);
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(MAX_RECORD_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(io_error(path, "read"))?;
        let number = tail.records + 1;
        let Some(bytes) = line.strip_suffix(b"\n") else {
            if read as u64 == MAX_RECORD_BYTES {
                return Err(damaged(path, number, "the record is too long"));
            }
            return Ok(tail);
        };
        let record: AuditRecord = serde_json::from_slice(bytes)
            .map_err(|error| damaged(path, number, &error.to_string()))?;
        if record.schema != AUDIT_SCHEMA {
            return Err(damaged(path, number, "its schema is not known"));
        }
        if record.sequence != number {
            return Err(damaged(
                path,
                number,
                &format!("it says that it is record {}", record.sequence),
            ));
        }
        if record.previous != tail.digest {
            return Err(damaged(
                path,
                number,
                "it does not follow the record before it, one of the two was changed",
            ));
        }
        end += read as u64;
        tail = Tail {
            records: number,
            digest: Digest::of_bytes(bytes),
        };
        each(record, end);
    }
}

fn damaged(path: &Path, record: u64, problem: &str) -> AuditError {
    AuditError::Damaged {
        path: path.display().to_string(),
        record,
        problem: problem.to_owned(),
    }
}

fn io_error(path: &Path, verb: &'static str) -> impl FnOnce(std::io::Error) -> AuditError {
    let path = path.display().to_string();
    move |source| AuditError::Io { path, verb, source }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuditError> + Send + 'static,
) -> Result<T, AuditError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(AuditError::Sink(error.to_string())),
    }
}
