//! The embedded audit sink: append-only files of JSON lines, synced before `append` returns.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::chain::io_error;
use super::checkpoint::{AuditKey, AuditSigner, Checkpoint};
use super::group::{Queue, append};
use super::merkle::{leaf, proves};
use super::query::{AuditQuery, Found};
use super::segment::{backwards, firsts, name_of};
use super::{AuditEntry, AuditError, AuditRecord, AuditSink, Tail};
use crate::digest::Digest;
use crate::disk::{Disk, Folder};

#[cfg(test)]
mod model;
mod reading;
mod writer;
use reading::{Purpose, prove_on, read, read_checkpoint, verify_signed};
use writer::{Shared, Writer};

/// When a segment is full, in bytes.
const SEGMENT_BYTES: u64 = 64 << 20;
/// When it is old.
const SEGMENT_AGE: SignedDuration = SignedDuration::from_hours(24);

/// How a [`FileAudit`] keeps its files.
#[derive(Clone)]
pub struct FileAuditOptions {
    segment_bytes: u64,
    segment_age: SignedDuration,
    signer: Option<AuditSigner>,
    hook: Option<Hook>,
}

type Hook = Arc<dyn Fn(&Checkpoint) + Send + Sync>;

impl FileAuditOptions {
    /// Begins a new file when this one has so many bytes; 64 MiB by default, at least 4 KiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.clamp(4096, u64::from(u32::MAX));
        self
    }

    /// Begins a new file when this one's first record is so old; a day by default.
    #[must_use]
    pub fn segment_age(mut self, age: SignedDuration) -> Self {
        self.segment_age = age;
        self
    }

    /// Signs a checkpoint after each plan's end, each full file, and when the host asks; kept in the file `checkpoint`.
    #[must_use]
    pub fn signed_by(mut self, signer: AuditSigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Called with each checkpoint, to keep it off this machine. It runs where records are written: hand it on, don't wait.
    #[must_use]
    pub fn on_checkpoint(mut self, hook: impl Fn(&Checkpoint) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Opens or makes the trail in `folder`, checking the whole chain.
    ///
    /// # Errors
    /// [`AuditError`] for a folder that can't be used, a trail that another process writes, or a damaged one.
    pub async fn open(self, folder: impl AsRef<Path>) -> Result<FileAudit, AuditError> {
        let folder = folder.as_ref().to_owned();
        blocking(move || {
            let place = folder.display().to_string();
            let open = self.open_on(Arc::new(Folder(folder)), place.clone());
            open.map_err(|error| within(&place, error))
        })
        .await
    }

    pub(super) fn open_on(
        self,
        disk: Arc<dyn Disk>,
        place: String,
    ) -> Result<FileAudit, AuditError> {
        let io = |verb| io_error("", verb);
        disk.make().map_err(io("made"))?;
        let lock = disk.lock().map_err(io("locked"))?;
        let lock = lock.ok_or_else(|| AuditError::Locked(String::new()))?;
        let signed = match &self.signer {
            None => None,
            Some(signer) => read_checkpoint(&*disk, &signer.key())?,
        };
        let purpose = match self.signer {
            Some(_) => Purpose::Sign,
            None => Purpose::Write,
        };
        let read = read(&*disk, purpose, signed.as_ref())?;
        // What a crash left behind: of a file that was to be replaced, of records that were to be removed, of a last line.
        for name in &read.leftovers {
            disk.remove(name).map_err(io("repaired"))?;
        }
        let first = read.segments.last().copied();
        let first = first.unwrap_or(read.chain.link.records + 1);
        if read.torn.is_some() {
            disk.truncate(&name_of(first), read.last_length)
                .map_err(io("repaired"))?;
        }
        let mut file = disk.append(&name_of(first)).map_err(io("opened"))?;
        file.sync().map_err(io("synced"))?;
        disk.sync().map_err(io("synced"))?;
        let segments = if read.segments.is_empty() {
            vec![first]
        } else {
            read.segments
        };
        Ok(FileAudit {
            cut: read.torn,
            shared: Arc::new(Shared {
                queue: Queue::default(),
                writer: Mutex::new(Writer {
                    options: self,
                    file,
                    segments,
                    bytes: read.last_length,
                    began: read.began,
                    last: read.last,
                    rows: read.rows,
                    chain: read.chain,
                    poisoned: false,
                }),
                disk,
                place,
                _lock: lock,
            }),
        })
    }
}

/// A trail in files of JSON lines, `records-....jsonl`, in a folder of its own.
///
/// # Guarantees
/// `append` returns after `fdatasync`; what waits meanwhile is written and synced together. One writer at a time, across
/// processes. A last line that a crash cut short is taken off when the trail is opened and reported by [`FileAudit::cut`];
/// any other damage refuses to open. A clock that goes backwards doesn't move records back: they keep the time of the one
/// before. With a key, a trail that is shorter than its newest checkpoint is damaged too.
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
    cut: Option<u64>,
    shared: Arc<Shared>,
}

/// That a record is one of those that a checkpoint stands for; to be checked without the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    /// The record, as it is stored.
    pub record: String,
    /// Its number, from 1.
    pub sequence: u64,
    /// The hashes from the record up to the root.
    pub path: Vec<Digest>,
    /// The checkpoint, as signed.
    pub checkpoint: String,
}

impl InclusionProof {
    /// Whether the proof holds under this key.
    #[must_use]
    pub fn holds(&self, key: &AuditKey) -> bool {
        let Ok(checkpoint) = key.check(&self.checkpoint) else {
            return false;
        };
        let Some(index) = self.sequence.checked_sub(1) else {
            return false;
        };
        let leaf = leaf(Digest::of_bytes(self.record.as_bytes()).as_bytes());
        let path: Vec<_> = self.path.iter().map(|step| *step.as_bytes()).collect();
        let own = serde_json::from_str::<AuditRecord>(&self.record);
        own.is_ok_and(|record| record.sequence == self.sequence)
            && proves(leaf, index, checkpoint.records(), &path, checkpoint.root())
    }
}

impl FileAudit {
    /// Opens or makes the trail in `folder` with the default options, checking the whole chain.
    ///
    /// # Errors
    /// [`AuditError`] for a folder that can't be used, a trail that another process writes, or a damaged one.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, AuditError> {
        Self::options().open(folder).await
    }

    /// The default options, to be changed.
    #[must_use]
    pub fn options() -> FileAuditOptions {
        FileAuditOptions {
            segment_bytes: SEGMENT_BYTES,
            segment_age: SEGMENT_AGE,
            signer: None,
            hook: None,
        }
    }

    /// How many bytes of a torn last line were taken off when it was opened.
    #[must_use]
    pub fn cut(&self) -> Option<u64> {
        self.cut
    }

    /// Signs what the trail has now.
    ///
    /// # Errors
    /// [`AuditError::Unsigned`] without a key, [`AuditError`] if it can't be kept.
    pub async fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.within(shared.writer()?.sign(&*shared.disk))).await
    }

    /// Removes the files whose records are all older than `time`, but the last one; a signed checkpoint stands for them.
    /// The answer is how many records were removed.
    ///
    /// # Errors
    /// [`AuditError::Unsigned`] without a key, [`AuditError`] if a file can't be removed.
    pub async fn remove_before(&self, time: Timestamp) -> Result<u64, AuditError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.within(shared.writer()?.remove_before(&*shared.disk, time))).await
    }

    /// Checks every record of the trail in `folder`, without a key: what was changed, taken out, put in or moved is found, a
    /// trail that ends too early is not, and records that are missing before the first one are counted in [`Tail::unproven`]: anybody
    /// who can write the folder can say that they were removed.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] names the first bad record.
    pub fn verify(folder: impl AsRef<Path>) -> Result<Tail, AuditError> {
        inside(folder.as_ref(), |disk| {
            read(disk, Purpose::Check, None)?.tail()
        })
    }

    /// The same with a key, and a checkpoint that was kept elsewhere or, without one, the newest in the folder: a trail that ends
    /// too early is found too, and so is a beginning that was removed without the key's signature of it.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] names the first bad or missing record, [`AuditError::Checkpoint`] for a checkpoint that is missing
    /// that the key didn't sign, or that is older than what was removed.
    pub fn verify_signed(
        folder: impl AsRef<Path>,
        key: &AuditKey,
        checkpoint: Option<&str>,
    ) -> Result<Tail, AuditError> {
        inside(folder.as_ref(), |disk| verify_signed(disk, key, checkpoint))
    }

    /// Reads the trail in `folder`, whoever writes it, newest first. Nothing is checked: that is [`FileAudit::verify`]'s.
    ///
    /// # Errors
    /// [`AuditError`] when it can't be read.
    pub fn read(
        folder: impl AsRef<Path>,
        query: &AuditQuery,
    ) -> Result<Vec<AuditRecord>, AuditError> {
        inside(folder.as_ref(), |disk| {
            let names = disk.names().map_err(io_error("", "read"))?;
            let mut records = Vec::new();
            let mut found = Found::new(query, |record| {
                records.push(record);
                true
            });
            for first in firsts(&names).into_iter().rev() {
                if !backwards(disk, &name_of(first), None, |record| found.add(record))? {
                    break;
                }
            }
            Ok(records)
        })
    }

    /// Hands on the records of a query, newest first, one at a time, for as long as `each` wants more: a trail of any length takes no
    /// more memory than one record. `each` runs on a thread where it may block.
    ///
    /// # Errors
    /// [`AuditError`] when the trail can't be read.
    pub async fn for_each(
        &self,
        query: &AuditQuery,
        each: impl FnMut(AuditRecord) -> bool + Send + 'static,
    ) -> Result<(), AuditError> {
        let (shared, query) = (Arc::clone(&self.shared), query.clone());
        blocking(move || shared.within(shared.find(&query, each))).await
    }

    /// Proves that record `sequence` of the trail in `folder` is one of those that the checkpoint stands for.
    ///
    /// # Errors
    /// [`AuditError::Damaged`] for a damaged trail, or where the record or those of the checkpoint aren't there.
    pub fn prove(
        folder: impl AsRef<Path>,
        key: &AuditKey,
        checkpoint: &str,
        sequence: u64,
    ) -> Result<InclusionProof, AuditError> {
        inside(folder.as_ref(), |disk| {
            prove_on(disk, key, checkpoint, sequence)
        })
    }
}

#[async_trait]
impl AuditSink for FileAudit {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        self.shared.within(append(&self.shared, entry).await)
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        let (shared, query) = (Arc::clone(&self.shared), query.clone());
        blocking(move || {
            let mut records = Vec::new();
            let each = |record| {
                records.push(record);
                true
            };
            shared.within(shared.find(&query, each))?;
            Ok(records)
        })
        .await
    }
}

/// Asks the disk of a folder.
fn inside<T>(
    folder: &Path,
    ask: impl FnOnce(&dyn Disk) -> Result<T, AuditError>,
) -> Result<T, AuditError> {
    let place = folder.display().to_string();
    ask(&Folder(folder.to_owned())).map_err(|error| within(&place, error))
}

/// The same error with the folder in its words.
fn within(place: &str, error: AuditError) -> AuditError {
    let path = |name: String| {
        if name.is_empty() {
            place.to_owned()
        } else {
            format!("{place}/{name}")
        }
    };
    match error {
        AuditError::Io {
            path: name,
            verb,
            source,
        } => AuditError::Io {
            path: path(name),
            verb,
            source,
        },
        AuditError::Damaged {
            path: name,
            record,
            problem,
        } => AuditError::Damaged {
            path: path(name),
            record,
            problem,
        },
        AuditError::Locked(name) => AuditError::Locked(path(name)),
        other => other,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuditError> + Send + 'static,
) -> Result<T, AuditError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(AuditError::Sink(error.to_string())),
    }
}
