//! Entries that wait become durable together: whoever comes first writes for all.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::chain::{Place, Waiting};
use super::{AuditEntry, AuditError, AuditRecord};

/// The most records that are made durable at once.
pub(super) const BATCH: usize = 1024;
/// And the most text in them, in bytes.
const BATCH_BYTES: usize = 4 << 20;

/// A trail that makes what waits durable by one write.
pub(super) trait Group: Send + Sync + 'static {
    fn queue(&self) -> &Queue;
    /// Makes entries durable, all of them: the place of each, in order. It may block.
    fn write(&self, entries: Vec<Waiting>) -> Vec<Result<Place, AuditError>>;
}

type Reply = oneshot::Sender<Result<Place, AuditError>>;

#[derive(Default)]
struct Waits {
    waiting: Vec<(Waiting, Reply)>,
    /// Whether somebody is writing: whoever comes meanwhile only waits.
    busy: bool,
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waits>);

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.lock().waiting.len())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waits> {
        // A queue is whole at every moment: nothing in it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, as much as is written at once; if nothing does, whoever comes next writes.
    fn next_batch(&self) -> Vec<(Waiting, Reply)> {
        let mut bytes = 0;
        let fits = |(waiting, _): &&(Waiting, Reply)| {
            let first = bytes == 0;
            bytes += waiting.len();
            first || bytes < BATCH_BYTES
        };
        let mut queue = self.lock();
        let some = queue.waiting.iter().take(BATCH).take_while(fits).count();
        queue.busy = some > 0;
        if some == queue.waiting.len() {
            return std::mem::take(&mut queue.waiting);
        }
        queue.waiting.drain(..some).collect()
    }
}

/// Stores one entry, together with what waits.
pub(super) async fn append<G: Group>(
    group: &Arc<G>,
    entry: AuditEntry,
) -> Result<AuditRecord, AuditError> {
    let entry = Arc::new(entry);
    let waiting = Waiting::new(Arc::clone(&entry))?;
    let (reply, answer) = oneshot::channel();
    let lead = {
        let mut queue = group.queue().lock();
        queue.waiting.push((waiting, reply));
        !std::mem::replace(&mut queue.busy, true)
    };
    if lead {
        let lead = Lead {
            group: Arc::clone(group),
            done: false,
        };
        tokio::task::spawn_blocking(move || lead.commit());
    }
    let gone = |_| Err(AuditError::Sink("the runtime was shut down".into()));
    Ok(answer.await.unwrap_or_else(gone)?.record(entry))
}

/// Whoever writes for all who wait. If it doesn't come to that, because a runtime is shut down, they hear so.
struct Lead<G: Group> {
    group: Arc<G>,
    done: bool,
}

impl<G: Group> Lead<G> {
    /// Writes what waits, together, until nothing does.
    fn commit(mut self) {
        let mut batch = self.group.queue().next_batch();
        while !batch.is_empty() {
            let (entries, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let results = self.group.write(entries);
            batch = self.group.queue().next_batch();
            if batch.is_empty() {
                self.done = true;
                // Whoever hears that its record is durable may let go of the trail, and open it again at once.
                drop(self);
                return answer(replies, results);
            }
            answer(replies, results);
        }
        self.done = true;
    }
}

impl<G: Group> Drop for Lead<G> {
    fn drop(&mut self) {
        if !self.done {
            let mut queue = self.group.queue().lock();
            queue.busy = false;
            queue.waiting.clear();
        }
    }
}

fn answer(replies: Vec<Reply>, results: Vec<Result<Place, AuditError>>) {
    for (reply, result) in replies.into_iter().zip(results) {
        // Whoever asked may be gone.
        let _ = reply.send(result);
    }
}

/// The same error once more: each of a batch gets its own.
pub(super) fn again(error: &AuditError) -> AuditError {
    match error {
        AuditError::Io { path, verb, source } => AuditError::Io {
            path: path.clone(),
            verb,
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        AuditError::Database { verb, source } => AuditError::Database {
            verb,
            source: source.to_string().into(),
        },
        AuditError::Poisoned => AuditError::Poisoned,
        other => AuditError::Sink(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::audit::AuditEvent;
    use crate::audit::chain::{Chain, Time};
    use crate::incident::IncidentId;
    use crate::plan_id::PlanId;

    struct Plain {
        queue: Queue,
        chain: Mutex<Chain>,
    }

    impl Group for Plain {
        fn queue(&self) -> &Queue {
            &self.queue
        }

        fn write(&self, entries: Vec<Waiting>) -> Vec<Result<Place, AuditError>> {
            let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
            let (time, mut bytes) = (Time::after(None), Vec::new());
            entries
                .iter()
                .map(|entry| Ok(chain.write(entry, &time, &mut bytes)))
                .collect()
        }
    }

    fn entry() -> AuditEntry {
        AuditEntry::new(
            AuditEvent::Suggested,
            IncidentId::new("INC-1").unwrap_or_else(|error| panic!("{error}")),
            PlanId::try_from(format!("PLAN-{:032x}", 1)).unwrap_or_else(|error| panic!("{error}")),
            Actor::user("law").unwrap(),
        )
    }

    /// A runtime that is shut down takes the one who would have written with it: those who wait hear so, others go on.
    #[tokio::test]
    async fn a_lead_that_never_comes_leaves_nobody_waiting() {
        let group = Arc::new(Plain {
            queue: Queue::default(),
            chain: Mutex::new(Chain::new(false)),
        });
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = group.queue.lock();
            let waiting = Waiting::new(Arc::new(entry())).unwrap_or_else(|error| panic!("{error}"));
            queue.waiting.push((waiting, reply));
            queue.busy = true;
        }
        drop(Lead {
            group: Arc::clone(&group),
            done: false,
        });
        assert!(answer.await.is_err());
        let record = append(&group, entry()).await;
        assert_eq!(record.map(|record| record.sequence).ok(), Some(1));
    }
}
