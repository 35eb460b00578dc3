//! The embedded plan store: one file per plan, replaced as a whole.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{MAX_DOCUMENT_BYTES, PlanStore, StoreError};
use crate::plan::PlanId;

/// Plans as files in a folder, `PLAN-....json`, readable by the host's user alone.
///
/// # Guarantees
/// A document is written beside the old one, synced, and takes its name in one step: a crash leaves the old one or the new
/// one.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("argus-plans-{}", std::process::id()));
/// use argus_core::{FilePlans, PlanId, PlanStore};
/// let plans = FilePlans::open(&folder).await?;
/// let id = PlanId::try_from(format!("PLAN-{:032x}", 1))?;
/// plans.save(&id, "{}").await?;
/// assert_eq!(plans.load(&id).await?.as_deref(), Some("{}"));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FilePlans {
    folder: PathBuf,
}

impl FilePlans {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// [`StoreError::Io`] for a folder that can't be used.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = folder.as_ref().to_owned();
        blocking(move || {
            std::fs::create_dir_all(&folder).map_err(io_error(&folder, "made"))?;
            Ok(Self { folder })
        })
        .await
    }

    fn path(&self, plan_id: &PlanId) -> PathBuf {
        // A plan id is `PLAN-` and hexadecimal digits, whatever it came from.
        self.folder.join(format!("{plan_id}.json"))
    }
}

#[async_trait]
impl PlanStore for FilePlans {
    async fn save(&self, plan_id: &PlanId, document: &str) -> Result<(), StoreError> {
        let (folder, path) = (self.folder.clone(), self.path(plan_id));
        let document = document.to_owned();
        blocking(move || {
            let new = path.with_extension("new");
            let mut file = private()
                .create(true)
                .truncate(true)
                .write(true)
                .open(&new)
                .map_err(io_error(&new, "made"))?;
            file.write_all(document.as_bytes())
                .map_err(io_error(&new, "written"))?;
            file.sync_all().map_err(io_error(&new, "synced"))?;
            std::fs::rename(&new, &path).map_err(io_error(&path, "replaced"))?;
            // Its name is only durable with the folder.
            File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io_error(&folder, "synced"))
        })
        .await
    }

    async fn load(&self, plan_id: &PlanId) -> Result<Option<String>, StoreError> {
        let path = self.path(plan_id);
        blocking(move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(io_error(&path, "opened")(error)),
            };
            let mut text = String::new();
            file.take(MAX_DOCUMENT_BYTES as u64 + 1)
                .read_to_string(&mut text)
                .map_err(io_error(&path, "read"))?;
            Ok(Some(text))
        })
        .await
    }
}

/// Options for files that only the host's user may read.
fn private() -> OpenOptions {
    let options = OpenOptions::new();
    #[cfg(unix)]
    let options = {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = options;
        options.mode(0o600);
        options
    };
    options
}

fn io_error(path: &Path, verb: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| StoreError::Io { path, verb, source }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Store(error.to_string())),
    }
}
