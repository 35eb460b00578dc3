//! What was asked and answered, as files: to read later what a model was told, and to answer the same without it.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::answer::MAX_COMPLETION_BYTES;
use crate::cost::Usage;
use crate::digest::Digest;
use crate::disk::{Disk, Folder};
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};
use crate::redact::Redacted;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// One prompt and its answer. A file of them is named after the prompt's digest, as the audit trail has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    system: String,
    user: String,
    /// Answers that couldn't be used, each with what was said about it.
    turns: Vec<(Redacted, Redacted)>,
    answer: Redacted,
    model: String,
    input_tokens: u64,
    output_tokens: u64,
    is_cut_off: bool,
}

/// The hexadecimal digits of a digest: safe as the name of a file.
fn name_of(prompt: &Prompt) -> String {
    let digest: Digest = prompt.digest();
    let digest = digest.to_string();
    format!("{}.json", digest.get(7..).unwrap_or(&digest))
}

/// Keeps each prompt with its answer in a folder, readable by the host's user alone: one file each, named after the digest that the
/// audit trail has of the prompt.
///
/// Prompts are redacted; so are the answers that are kept, so that [`Replay`] gives back what was redacted.
pub struct Recorder<L> {
    llm: L,
    folder: PathBuf,
}

impl<L: LlmProvider> Recorder<L> {
    /// Keeps them in `folder`, which is made with the first answer.
    #[must_use]
    pub fn new(llm: L, folder: impl AsRef<Path>) -> Self {
        Self {
            llm,
            folder: folder.as_ref().to_owned(),
        }
    }
}

#[async_trait]
impl<L: LlmProvider> LlmProvider for Recorder<L> {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let completion = self.llm.complete(prompt).await?;
        let turns = prompt.turns().iter();
        let usage = completion.usage();
        let recording = Recording {
            system: prompt.system().to_owned(),
            user: prompt.user().to_owned(),
            turns: turns
                .map(|turn| (turn.answer.clone(), turn.problem.clone()))
                .collect(),
            answer: Redacted::to(completion.text(), MAX_COMPLETION_BYTES),
            model: completion.model().to_owned(),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            is_cut_off: completion.is_cut_off(),
        };
        let paid = completion.model().to_owned();
        let (folder, name) = (Folder(self.folder.clone()), name_of(prompt));
        let kept = blocking(move || {
            folder.make()?;
            folder.replace(&name, &serde_json::to_vec_pretty(&recording)?)
        });
        kept.await.map_err(|source| LlmError {
            source: Some(source.into()),
            model: paid,
            usage: Some(usage),
            ..LlmError::new("its answer could not be recorded: check the folder of recordings")
        })?;
        Ok(completion)
    }
}

/// Answers from the folder of a [`Recorder`], and nothing else: for tests and demonstrations without a model.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let folder = std::env::temp_dir().join(format!("argus-recorded-{}", std::process::id()));
/// use argus_core::{Incident, LlmProvider, Playbook, Prompt, Recorder, Replay, Scope};
/// let incident = Incident::from_json(r#"{"incident_id": "INC-1", "created_at": "2026-11-26T09:00:00Z"}"#)?;
/// let prompt = Prompt::new(&incident, &Scope::namespaces(["shop"])?);
/// let said = Recorder::new(Playbook::new(), &folder).complete(&prompt).await?;
/// assert_eq!(Replay::from(&folder).complete(&prompt).await?, said);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Replay(PathBuf);

impl Replay {
    /// Answers from `folder`.
    #[must_use]
    pub fn from(folder: impl AsRef<Path>) -> Self {
        Self(folder.as_ref().to_owned())
    }
}

#[async_trait]
impl LlmProvider for Replay {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let (folder, name) = (Folder(self.0.clone()), name_of(prompt));
        let file = name.clone();
        let failed = |problem: &str, source: std::io::Error| LlmError {
            source: Some(source.into()),
            ..LlmError::unasked(format!("its recording `{file}` can't be {problem}"))
        };
        let text = blocking(move || folder.text(&name, MAX_BYTES)).await;
        let text = text.map_err(|source| failed("read", source))?;
        let Some(text) = text else {
            return Err(LlmError::unasked(format!(
                "nothing was recorded for this prompt: there is no `{file}`"
            )));
        };
        let recording: Recording =
            serde_json::from_str(&text).map_err(|source| failed("used", source.into()))?;
        let completion = Completion::new(&*recording.answer, recording.model).using(Usage {
            input_tokens: recording.input_tokens,
            output_tokens: recording.output_tokens,
        });
        Ok(match recording.is_cut_off {
            true => completion.cut_off(),
            false => completion,
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(std::io::Error::other(error)),
    }
}
