//! A disk that forgets what wasn't synced, and one that fails: the file trail on both, at every operation.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Cursor, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

use super::{FileAudit, Purpose, read};
use crate::actor::Actor;
use crate::audit::checkpoint::AuditSigner;
use crate::audit::{AuditEntry, AuditError, AuditEvent, AuditQuery, AuditSink};
use crate::disk::{Append, Disk, ReadSeek};
use crate::incident::IncidentId;
use crate::plan_id::PlanId;

const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDGiYb9pRrhLlEuLVtV/wFgJGJTmpAgsZ0ZtYyBaHj5g\n-----END PRIVATE KEY-----\n";

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    cached: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<File>,
    durable_names: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    /// How many operations there were that change something.
    operations: usize,
    /// The operation from which on, or at which, everything fails.
    fails_at: Option<usize>,
    fails_once: bool,
    /// A disk on which no sync does anything.
    forgetful: bool,
    locked: bool,
}

/// What survives a crash of what wasn't synced.
#[derive(Debug, Clone, Copy)]
struct Survives {
    names: bool,
    /// How much of the bytes, in halves.
    halves: usize,
}

const SURVIVALS: [Survives; 6] = [
    Survives {
        names: false,
        halves: 0,
    },
    Survives {
        names: false,
        halves: 1,
    },
    Survives {
        names: false,
        halves: 2,
    },
    Survives {
        names: true,
        halves: 0,
    },
    Survives {
        names: true,
        halves: 1,
    },
    Survives {
        names: true,
        halves: 2,
    },
];

#[derive(Debug, Clone, Default)]
struct Model(Arc<Mutex<State>>);

impl Model {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.operations += 1;
        let fails = state
            .fails_at
            .is_some_and(|at| state.operations == at || state.operations > at && !state.fails_once);
        if fails {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(state)
    }

    /// The disk as another start of the machine finds it.
    fn after_crash(&self, survives: Survives) -> Self {
        let mut state = self.state().clone();
        for file in &mut state.files {
            let unsynced = file.cached.len().saturating_sub(file.durable.len());
            if survives.halves > 0 && file.cached.starts_with(&file.durable) {
                let kept = file.durable.len() + unsynced * survives.halves / 2;
                file.durable = file.cached[..kept].to_vec();
            }
            file.cached = file.durable.clone();
        }
        if !survives.names {
            state.names = state.durable_names.clone();
        }
        state.durable_names = state.names.clone();
        (state.fails_at, state.locked) = (None, false);
        Self(Arc::new(Mutex::new(state)))
    }
}

#[derive(Debug)]
struct Lock(Model);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

#[derive(Debug)]
struct Handle {
    model: Model,
    file: usize,
}

fn missing<T>() -> io::Result<T> {
    Err(ErrorKind::NotFound.into())
}

impl Disk for Model {
    fn make(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        let was = std::mem::replace(&mut self.state().locked, true);
        Ok((!was).then(|| Box::new(Lock(self.clone())) as Box<dyn Debug + Send + Sync>))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn ReadSeek>> {
        let state = self.state();
        let Some(file) = state.names.get(name) else {
            return missing();
        };
        Ok(Box::new(Cursor::new(state.files[*file].cached.clone())))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let mut state = self.change()?;
        let file = match state.names.get(name) {
            Some(file) => *file,
            None => {
                state.files.push(File::default());
                let file = state.files.len() - 1;
                state.names.insert(name.to_owned(), file);
                file
            }
        };
        let model = self.clone();
        Ok(Box::new(Handle { model, file }))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.change()?;
        let Some(file) = state.names.get(name).copied() else {
            return missing();
        };
        let file = &mut state.files[file];
        file.cached
            .truncate(usize::try_from(length).unwrap_or(usize::MAX));
        file.durable = file.cached.clone();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.names.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let Some(file) = state.names.remove(from) else {
            return missing();
        };
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.change()?;
        if !state.forgetful {
            state.durable_names = state.names.clone();
        }
        Ok(())
    }
}

impl Append for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A write that fails has written half.
        let whole = self.model.change().map(drop);
        let some = if whole.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        let mut state = self.model.state();
        let cached = &mut state.files[self.file].cached;
        cached.extend(&bytes[..some]);
        whole
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.model.change()?;
        if !state.forgetful {
            let file = &mut state.files[self.file];
            file.durable = file.cached.clone();
        }
        Ok(())
    }
}

fn entry(number: usize) -> AuditEntry {
    AuditEntry {
        outcome: Some(format!("{number} {}", "x".repeat(1500)).into()),
        ..AuditEntry::new(
            if number % 5 == 4 {
                AuditEvent::Finished
            } else {
                AuditEvent::Suggested
            },
            IncidentId::new("INC-1").unwrap_or_else(|error| panic!("{error}")),
            PlanId::try_from(format!("PLAN-{:032x}", number % 3))
                .unwrap_or_else(|error| panic!("{error}")),
            Actor::user("operator").unwrap(),
        )
    }
}

fn open(model: &Model) -> Result<FileAudit, AuditError> {
    let signer = AuditSigner::from_pem("argus.example.com/shop", PRIVATE);
    let options = FileAudit::options().segment_bytes(4096);
    let options = options.signed_by(signer.map_err(AuditError::Checkpoint)?);
    options.open_on(Arc::new(model.clone()), "model".into())
}

/// Appends records, over several segments, and removes old ones: which records were said to be durable, and up to which they
/// may have been removed.
async fn use_it(model: &Model, records: usize) -> (Vec<u64>, u64) {
    let (mut durable, mut removed) = (Vec::new(), 0);
    let Ok(audit) = open(model) else {
        return (durable, removed);
    };
    for number in 0..records {
        if let Ok(record) = audit.append(entry(number)).await {
            durable.push(record.sequence);
        }
        if number == records / 2 {
            // What was asked for may have been done, whatever was answered.
            removed = durable.last().copied().unwrap_or(0);
            let _ = audit.remove_before(Timestamp::MAX).await;
        }
    }
    (durable, removed)
}

/// That everything which was said to be durable is there, in one chain, and that it goes on.
async fn holds(model: &Model, durable: &[u64], removed: u64) -> Result<(), String> {
    let audit = open(model).map_err(|error| format!("it doesn't open: {error:?}"))?;
    let records = audit.records(&AuditQuery::default()).await;
    let records = records.map_err(|error| format!("it can't be read: {error:?}"))?;
    let found: Vec<u64> = records.iter().rev().map(|record| record.sequence).collect();
    let last = found.last().copied().unwrap_or(0);
    for sequence in durable.iter().filter(|sequence| **sequence > removed) {
        if !found.contains(sequence) {
            return Err(format!("record {sequence} is lost: {found:?}"));
        }
    }
    if found.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
        return Err(format!("there is a gap: {found:?}"));
    }
    if last > durable.last().copied().unwrap_or(0) + 1 {
        return Err(format!("a record too many: {found:?}"));
    }
    for plan in 0..3 {
        let query = AuditQuery {
            plan_id: PlanId::try_from(format!("PLAN-{plan:032x}")).ok(),
            ..AuditQuery::default()
        };
        let of_plan = audit
            .records(&query)
            .await
            .map_err(|error| error.to_string())?;
        let wanted = records.iter().filter(|record| query.matches(record));
        if !of_plan.iter().eq(wanted) {
            return Err(format!("the index of plan {plan} is wrong"));
        }
    }
    let record = audit
        .append(entry(0))
        .await
        .map_err(|error| error.to_string())?;
    if record.sequence != last + 1 && last > 0 {
        return Err(format!("it goes on with {} after {last}", record.sequence));
    }
    drop(audit);
    let read = read(model, Purpose::Check, None).map_err(|error| format!("{error:?}"))?;
    read.tail().map(drop).map_err(|error| format!("{error:?}"))
}

const RECORDS: usize = 12;

#[tokio::test]
async fn whatever_a_crash_leaves_what_was_durable_is_there() {
    let mut crashes = 0;
    for at in 1.. {
        let model = Model::default();
        model.state().fails_at = Some(at);
        let (durable, removed) = use_it(&model, RECORDS).await;
        for survives in SURVIVALS {
            let disk = model.after_crash(survives);
            let result = holds(&disk, &durable, removed).await;
            assert_eq!(result, Ok(()), "crash at operation {at}, {survives:?}");
            crashes += 1;
        }
        if durable.len() == RECORDS && model.state().operations < at {
            break;
        }
    }
    assert!(crashes > 300, "{crashes}");
}

/// The test above sees a missing sync: of a file, or of its name.
#[tokio::test]
async fn a_disk_that_never_syncs_is_noticed() {
    let model = Model::default();
    model.state().forgetful = true;
    let (durable, removed) = use_it(&model, RECORDS).await;
    assert_eq!(durable.len(), RECORDS);
    for survives in SURVIVALS
        .iter()
        .filter(|survives| !survives.names || survives.halves < 2)
    {
        let result = holds(&model.after_crash(*survives), &durable, removed).await;
        assert!(result.is_err(), "{survives:?}");
    }
}

/// A full disk: the caller hears of it, nothing that was durable goes away, and opening it again mends it.
#[tokio::test]
async fn every_operation_may_fail_once() {
    for at in 1.. {
        let model = Model::default();
        {
            let mut state = model.state();
            (state.fails_at, state.fails_once) = (Some(at), true);
        }
        let (durable, removed) = use_it(&model, RECORDS).await;
        let failed = model.state().operations >= at;
        model.state().fails_at = None;
        let result = holds(&model, &durable, removed).await;
        assert_eq!(result, Ok(()), "operation {at} failed");
        if !failed {
            assert_eq!(durable.len(), RECORDS);
            break;
        }
    }
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_taken_until_it_is_opened_again() {
    let model = Model::default();
    let audit = open(&model).unwrap_or_else(|error| panic!("{error}"));
    assert!(audit.append(entry(0)).await.is_ok());
    {
        let mut state = model.state();
        (state.fails_at, state.fails_once) = (Some(state.operations + 2), true);
    }
    let error = audit.append(entry(1)).await.map(|record| record.sequence);
    let text = error.map_err(|error| error.to_string());
    assert_eq!(text, Err("the audit trail `model/records-00000000000000000001.jsonl` can't be synced: check that the folder exists, is writable and has space".into()));
    for number in 2..4 {
        let error = audit.append(entry(number)).await;
        assert!(matches!(error, Err(AuditError::Poisoned)), "{error:?}");
    }
    drop(audit);
    let audit = open(&model).unwrap_or_else(|error| panic!("{error}"));
    assert!(audit.append(entry(5)).await.is_ok());
}
