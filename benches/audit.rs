//! What the file trail costs beside what it can't do without: a write and a sync, reading and hashing. All in one run.
//!
//! Not criterion: rates of many writers, and a trail of a million records. `ARGUS_BENCH_RECORDS` says how many.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that can't run should stop, and it prints"
)]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use argus_core::{
    Actor, AuditEntry, AuditEvent, AuditQuery, AuditSink, FileAudit, IncidentId, PlanId,
    PostgresAudit,
};
use futures::future::join_all;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, raw_sql};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const SECONDS: u64 = 1;
const ROUNDS: usize = 9;

fn entry(plan: usize) -> AuditEntry {
    AuditEntry {
        step: Some(0),
        command: Some("kubectl scale deployment/web -n shop --replicas=3".into()),
        ..AuditEntry::new(
            AuditEvent::StepIntended,
            IncidentId::new("INC-1").unwrap(),
            PlanId::try_from(format!("PLAN-{plan:032x}")).unwrap(),
            Actor::user("operator").unwrap(),
        )
    }
}

/// A group commit without a chain: the same entries as JSON lines, written and synced together by whoever comes first.
type Waiting = (Vec<u8>, oneshot::Sender<()>);

#[derive(Clone)]
struct Plain {
    queue: Arc<Mutex<(Vec<Waiting>, bool)>>,
    file: Arc<Mutex<(File, u64)>>,
}

impl Plain {
    async fn append(&self, entry: AuditEntry) {
        let json = serde_json::to_vec(&entry).unwrap();
        let (reply, done) = oneshot::channel();
        let lead = {
            let mut queue = self.queue.lock().unwrap();
            queue.0.push((json, reply));
            !std::mem::replace(&mut queue.1, true)
        };
        if lead {
            let plain = self.clone();
            tokio::task::spawn_blocking(move || plain.commit());
        }
        done.await.unwrap();
    }

    fn commit(&self) {
        loop {
            let batch: Vec<_> = {
                let mut queue = self.queue.lock().unwrap();
                queue.1 = !queue.0.is_empty();
                if !queue.1 {
                    return;
                }
                queue.0.drain(..).collect()
            };
            let mut file = self.file.lock().unwrap();
            let mut lines = Vec::new();
            for (json, _) in &batch {
                // As long as a record's own fields.
                lines.extend_from_slice(&[b'x'; 190]);
                lines.extend_from_slice(json);
                lines.push(b'\n');
            }
            file.0.write_all(&lines).unwrap();
            file.0.sync_data().unwrap();
            file.1 += 1;
            batch
                .into_iter()
                .for_each(|(_, reply)| reply.send(()).unwrap());
        }
    }
}

fn open(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.create(true).append(true).open(path).unwrap()
}

/// Appends in a second, by so many writers at once.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    writers: usize,
    append: impl Fn() -> F + Clone + Send + 'static,
) -> f64 {
    let (start, end) = (Instant::now(), Duration::from_secs(SECONDS));
    let tasks = (0..writers).map(|_| {
        let append = append.clone();
        tokio::spawn(async move {
            let mut count = 0u64;
            while start.elapsed() < end {
                append().await;
                count += 1;
            }
            count
        })
    });
    let counts = join_all(tasks).await;
    let all: u64 = counts.into_iter().map(Result::unwrap).sum();
    all as f64 / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

/// Turn and turn about, so that a noisy neighbour disturbs all three; the ratios are medians of those of each round.
fn writers(runtime: &Runtime, folder: &Path) {
    for count in [1, 64, 256] {
        let (mut raws, mut of_raw, mut of_plain, mut lines) = (vec![], vec![], vec![], vec![]);
        for round in 0..ROUNDS {
            let mut raw = open(&folder.join("raw"));
            let (start, mut bare) = (Instant::now(), 0u64);
            while start.elapsed() < Duration::from_secs(SECONDS) {
                raw.write_all(&[b'x'; 420]).unwrap();
                raw.sync_data().unwrap();
                bare += 1;
            }
            let raw = bare as f64 / start.elapsed().as_secs_f64();

            let plain = Plain {
                queue: Arc::default(),
                file: Arc::new(Mutex::new((open(&folder.join("plain")), 0))),
            };
            let file = Arc::clone(&plain.file);
            let append = move || {
                let plain = plain.clone();
                async move { plain.append(entry(1)).await }
            };
            let unchained = runtime.block_on(rate(count, append));
            let flushes = file.lock().unwrap().1 as f64 / SECONDS as f64;

            let place = folder.join(format!("trail-{count}-{round}"));
            let audit = runtime.block_on(FileAudit::open(&place)).unwrap();
            let append = move || {
                let audit = audit.clone();
                async move { drop(audit.append(entry(1)).await.unwrap()) }
            };
            let ours = runtime.block_on(rate(count, append));
            raws.push(raw);
            of_raw.push(ours / raw);
            of_plain.push(ours / unchained);
            lines.push(unchained / flushes);
        }
        let (raw, of_raw) = (median(raws), median(of_raw));
        println!(
            "{count:3} writers: {:9.0} records a second, {of_raw:4.2} of a write and fdatasync ({raw:.0}), {:4.2} of the same without a chain ({:.0} lines a flush)",
            raw * of_raw,
            median(of_plain),
            median(lines),
        );
    }
}

/// The trail in PostgreSQL beside bare commits of one row, in the database that `ARGUS_BENCH_POSTGRES` names, as its owner.
fn postgres(runtime: &Runtime) {
    let Ok(url) = std::env::var("ARGUS_BENCH_POSTGRES") else {
        return println!("no PostgreSQL: ARGUS_BENCH_POSTGRES names no database");
    };
    let mut bare = runtime.block_on(async {
        let mut bare = PgConnection::connect(&url).await.unwrap();
        let table = "CREATE TABLE IF NOT EXISTS bare (record text)";
        raw_sql(table).execute(&mut bare).await.unwrap();
        bare
    });
    let commits = runtime.block_on(async {
        let (start, mut count) = (Instant::now(), 0u64);
        while start.elapsed() < Duration::from_secs(SECONDS) {
            let insert = sqlx::query("INSERT INTO bare VALUES ($1)").bind("x".repeat(420));
            insert.execute(&mut bare).await.unwrap();
            count += 1;
        }
        count as f64 / start.elapsed().as_secs_f64()
    });
    println!("PostgreSQL, a commit of one row           {commits:9.0} a second");
    let audit = runtime.block_on(async {
        PostgresAudit::migrate(&url, "owner").await.unwrap();
        PostgresAudit::open(&url).await.unwrap()
    });
    for count in [1, 256] {
        let audit = audit.clone();
        let append = move || {
            let audit = audit.clone();
            async move { drop(audit.append(entry(1)).await.unwrap()) }
        };
        let ours = runtime.block_on(rate(count, append));
        println!(
            "PostgreSQL, {count:3} writers: {ours:9.0} records a second, {:.2} of bare commits",
            ours / commits
        );
    }
    let start = Instant::now();
    let records = runtime
        .block_on(PostgresAudit::verify(&url))
        .unwrap()
        .records;
    println!(
        "PostgreSQL, verify {records} records: {:.2} s",
        start.elapsed().as_secs_f64()
    );
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).map(str::parse::<u64>);
    pages.and_then(Result::ok).unwrap_or(0) * 4 / 1024
}

/// How long it takes to read the files of a trail and hash each record, or all as a whole.
fn hashed(folder: &Path, each: bool) -> Duration {
    let start = Instant::now();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "jsonl") {
            continue;
        }
        let mut reader = BufReader::with_capacity(64 * 1024, File::open(path).unwrap());
        let (mut line, mut hash) = (Vec::new(), Sha256::new());
        loop {
            let read = if each {
                line.clear();
                reader.read_until(b'\n', &mut line).unwrap()
            } else {
                reader.fill_buf().unwrap().len()
            };
            if read == 0 {
                break;
            } else if each {
                std::hint::black_box(Sha256::digest(&line));
            } else {
                hash.update(reader.buffer());
                reader.consume(read);
            }
        }
        std::hint::black_box(hash.finalize());
    }
    start.elapsed()
}

fn long(runtime: &Runtime, folder: &Path) {
    let count =
        std::env::var("ARGUS_BENCH_RECORDS").map_or(1_000_000, |text| text.parse().unwrap());
    let audit = runtime.block_on(FileAudit::open(folder)).unwrap();
    let before = resident();
    runtime.block_on(async {
        // Ten records a plan.
        let writers = (0..500).map(|writer| {
            let audit = audit.clone();
            tokio::spawn(async move {
                for n in 0..count / 500 {
                    audit
                        .append(entry(writer * count / 5000 + n / 10))
                        .await
                        .unwrap();
                }
            })
        });
        join_all(writers).await;
    });
    println!(
        "{count} records: {} MiB more memory",
        resident().saturating_sub(before)
    );
    let (whole, each) = (hashed(folder, false), hashed(folder, true));
    let start = Instant::now();
    assert_eq!(FileAudit::verify(folder).unwrap().records, count as u64);
    let verify = start.elapsed();
    println!(
        "verify: {:.2} s, {:4.2} times reading and hashing each record ({:.2} s), {:4.2} times the files as a whole ({:.2} s)",
        verify.as_secs_f64(),
        verify.as_secs_f64() / each.as_secs_f64(),
        each.as_secs_f64(),
        verify.as_secs_f64() / whole.as_secs_f64(),
        whole.as_secs_f64(),
    );
    for (what, plan) in [
        ("the newest", count / 10 - 1),
        ("one in the middle", count / 20),
        ("the oldest", 0),
        ("none", count),
    ] {
        let query = AuditQuery {
            plan_id: PlanId::try_from(format!("PLAN-{plan:032x}")).ok(),
            ..AuditQuery::default()
        };
        let start = Instant::now();
        let found = runtime.block_on(audit.records(&query)).unwrap().len();
        println!(
            "the records of a plan, {what}: {found} in {:.2} ms",
            start.elapsed().as_secs_f64() * 1e3
        );
    }
    let page = AuditQuery {
        limit: Some(50),
        ..AuditQuery::default()
    };
    let start = Instant::now();
    runtime.block_on(audit.records(&page)).unwrap();
    println!(
        "the newest 50: {:.2} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    drop(audit);
    let start = Instant::now();
    drop(runtime.block_on(FileAudit::open(folder)).unwrap());
    println!(
        "open, with the whole chain checked: {:.2} s",
        start.elapsed().as_secs_f64()
    );
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    writers(&runtime, folder.path());
    postgres(&runtime);
    long(&runtime, &folder.path().join("long"));
}
