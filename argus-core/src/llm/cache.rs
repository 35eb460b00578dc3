//! A provider that isn't asked the same again for a while.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::cost::Usage;
use crate::digest::Digest;
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};

/// Gives the answer of before to a prompt of before, at no cost: for hosts whose users look at one incident again and again.
///
/// An answer passes every door again, whenever it was given. What was answered stands in memory only.
///
/// # Example
/// ```
/// # use std::time::Duration;
/// use argus_core::{Cache, Playbook};
/// let llm = Cache::new(Playbook::new(), Duration::from_secs(600), 100);
/// # let _ = llm;
/// ```
pub struct Cache<L> {
    llm: L,
    lasts: Duration,
    most: usize,
    /// Oldest first.
    answers: Mutex<VecDeque<(Digest, Instant, Completion)>>,
}

impl<L: LlmProvider> Cache<L> {
    /// Keeps at most so many answers, each for so long.
    #[must_use]
    pub fn new(llm: L, lasts: Duration, answers: usize) -> Self {
        Self {
            llm,
            lasts,
            most: answers,
            answers: Mutex::default(),
        }
    }
}

#[async_trait]
impl<L: LlmProvider> LlmProvider for Cache<L> {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let digest = prompt.digest();
        let known = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.retain(|(_, given, _)| given.elapsed() < self.lasts);
            let known = answers.iter().find(|(asked, ..)| *asked == digest);
            known.map(|(.., completion)| completion.clone())
        };
        if let Some(completion) = known {
            return Ok(completion.using(Usage::default()));
        }
        let completion = self.llm.complete(prompt).await?;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push_back((digest, Instant::now(), completion.clone()));
        let surplus = answers.len().saturating_sub(self.most);
        answers.drain(..surplus);
        Ok(completion)
    }
}
