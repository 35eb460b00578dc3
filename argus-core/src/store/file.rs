//! The embedded plan store: one file per plan, replaced as a whole.

use std::path::Path;

use async_trait::async_trait;

use super::{MAX_DOCUMENT_BYTES, PlanStore, StoreError};
use crate::disk::{Disk, Folder};
use crate::plan_id::PlanId;

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
    folder: Folder,
}

impl FilePlans {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// [`StoreError::Io`] for a folder that can't be used.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = Folder(folder.as_ref().to_owned());
        blocking(move || {
            folder.make().map_err(io_error(&folder.0, "made"))?;
            Ok(Self { folder })
        })
        .await
    }
}

/// A plan id is `PLAN-` and hexadecimal digits, whatever it came from.
fn name_of(plan_id: &PlanId) -> String {
    format!("{plan_id}.json")
}

#[async_trait]
impl PlanStore for FilePlans {
    async fn save(&self, plan_id: &PlanId, document: &str) -> Result<(), StoreError> {
        let (folder, name) = (self.folder.clone(), name_of(plan_id));
        let document = document.to_owned();
        blocking(move || {
            let saved = folder.replace(&name, document.as_bytes());
            saved.map_err(io_error(&folder.0.join(&name), "written"))
        })
        .await
    }

    async fn load(&self, plan_id: &PlanId) -> Result<Option<String>, StoreError> {
        let (folder, name) = (self.folder.clone(), name_of(plan_id));
        blocking(move || {
            // One byte more than there may be tells that there are too many.
            let text = folder.text(&name, MAX_DOCUMENT_BYTES as u64 + 1);
            text.map_err(io_error(&folder.0.join(&name), "read"))
        })
        .await
    }
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
