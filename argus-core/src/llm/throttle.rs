//! A provider that isn't asked too often, nor while it is down.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::deadline::deadline;
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};

/// What a rate is for.
const MINUTE: Duration = Duration::from_secs(60);

/// Keeps calls of a provider to what it bears: so many at once, so many a minute, and none for a while after it failed several times
/// in a row. Who has to wait waits, as long as its [`Budget::time`](crate::Budget::time) lasts.
///
/// # Example
/// ```
/// # use std::time::Duration;
/// use argus_core::{Playbook, Throttle};
/// let llm = Throttle::new(Playbook::new()).at_once(2).per_minute(30).breaking(5, Duration::from_secs(60));
/// # let _ = llm;
/// ```
pub struct Throttle<L> {
    llm: L,
    at_once: Semaphore,
    per_minute: Option<usize>,
    breaking: Option<(u32, Duration)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When calls of the last minute began.
    begun: VecDeque<Instant>,
    /// How often in a row it failed.
    failures: u32,
    /// Until when it is left alone.
    alone_until: Option<Instant>,
}

impl<L: LlmProvider> Throttle<L> {
    /// A provider without limits yet.
    #[must_use]
    pub fn new(llm: L) -> Self {
        Self {
            llm,
            at_once: Semaphore::new(Semaphore::MAX_PERMITS),
            per_minute: None,
            breaking: None,
            state: Mutex::default(),
        }
    }

    /// At most so many calls at once, at least one.
    #[must_use]
    pub fn at_once(mut self, calls: usize) -> Self {
        self.at_once = Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS));
        self
    }

    /// At most so many calls in any minute, at least one.
    #[must_use]
    pub fn per_minute(mut self, calls: usize) -> Self {
        self.per_minute = Some(calls.max(1));
        self
    }

    /// After so many failures in a row, leaves it alone for so long; then one call shows whether it works again. What is the caller's
    /// fault, such as a wrong key, is no failure.
    #[must_use]
    pub fn breaking(mut self, failures: u32, rest: Duration) -> Self {
        self.breaking = Some((failures.max(1), rest));
        self
    }

    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When the next call may begin; none if it just did.
    fn wait(&self) -> Option<Instant> {
        let limit = self.per_minute?;
        self.state(|state| {
            let now = Instant::now();
            while state
                .begun
                .front()
                .is_some_and(|begun| now >= *begun + MINUTE)
            {
                state.begun.pop_front();
            }
            if state.begun.len() < limit {
                state.begun.push_back(now);
                return None;
            }
            state.begun.front().map(|begun| *begun + MINUTE)
        })
    }

    fn is_alone(&self) -> Result<(), LlmError> {
        let Some((_, rest)) = self.breaking else {
            return Ok(());
        };
        self.state(|state| {
            let now = Instant::now();
            match state.alone_until.filter(|until| *until > now) {
                None => {
                    // One call finds out; others stay away meanwhile.
                    if state.alone_until.is_some() {
                        state.alone_until = Some(deadline(rest));
                    }
                    Ok(())
                }
                Some(until) => Err(LlmError {
                    retryable: true,
                    retry_after: Some(until - now),
                    ..LlmError::unasked(format!(
                        "it failed {} times in a row and is left alone for a while",
                        state.failures
                    ))
                }),
            }
        })
    }

    fn learn(&self, answer: &Result<Completion, LlmError>) {
        let Some((most, rest)) = self.breaking else {
            return;
        };
        self.state(|state| match answer {
            Err(error) if error.retryable => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= most {
                    state.alone_until = Some(deadline(rest));
                }
            }
            _ => {
                state.failures = 0;
                state.alone_until = None;
            }
        });
    }
}

#[async_trait]
impl<L: LlmProvider> LlmProvider for Throttle<L> {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let closed = |_| LlmError::unasked("it takes no calls any more");
        let _one = self.at_once.acquire().await.map_err(closed)?;
        self.is_alone()?;
        while let Some(ready) = self.wait() {
            sleep_until(ready).await;
        }
        let answer = self.llm.complete(prompt).await;
        self.learn(&answer);
        answer
    }
}
