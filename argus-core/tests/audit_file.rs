//! The file trail: durable before it returns, chained, one writer, and every damage is found.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use argus_core::testing::{MemoryAudit, laws};
use argus_core::{
    Actor, AuditEntry, AuditError, AuditEvent, AuditKey, AuditQuery, AuditRecord, AuditSigner,
    AuditSink, AuditTee, CSV_HEAD, CheckpointError, CopiedAudit, FileAudit, IncidentId,
    InclusionProof, PlanId, PlanState, RecordCopy, StepStatus, csv,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

fn entry(outcome: &str) -> AuditEntry {
    AuditEntry {
        outcome: Some(outcome.into()),
        ..AuditEntry::new(
            AuditEvent::Suggested,
            IncidentId::new("INC-1").unwrap(),
            PlanId::try_from(format!("PLAN-{:032x}", 1)).unwrap(),
            Actor::user("operator").unwrap(),
        )
    }
}

async fn trail(folder: &Path, records: usize) {
    let audit = FileAudit::open(folder).await.unwrap();
    for n in 0..records {
        audit.append(entry(&format!("record {n}"))).await.unwrap();
    }
}

#[tokio::test]
async fn the_laws_of_sinks_hold() {
    let folder = tempfile::tempdir().unwrap();
    laws::audit_sink(&FileAudit::open(folder.path()).await.unwrap())
        .await
        .unwrap();
    laws::audit_sink(&MemoryAudit::new()).await.unwrap();
    let tee = AuditTee::new(MemoryAudit::new(), MemoryAudit::new());
    laws::audit_sink(&tee).await.unwrap();
}

#[tokio::test]
async fn a_tee_of_which_one_failed_takes_nothing_more() {
    let first = MemoryAudit::new();
    let tee = AuditTee::new(first.clone(), MemoryAudit::failing_from(2));
    assert!(tee.append(entry("one")).await.is_ok());
    assert!(tee.append(entry("two")).await.is_err());
    assert!(matches!(
        tee.append(entry("three")).await,
        Err(AuditError::Poisoned)
    ));
    assert_eq!(first.all().len(), 2);
}

#[tokio::test]
async fn it_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path(), 3).await;
    trail(folder.path(), 2).await;
    assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 5);
}

#[tokio::test]
async fn a_second_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = FileAudit::open(folder.path()).await.unwrap();
    assert!(matches!(
        FileAudit::open(folder.path()).await,
        Err(AuditError::Locked(_))
    ));
    drop(first);
    assert!(FileAudit::open(folder.path()).await.is_ok());
}

/// Every change of any byte is seen: by the chain, or because the last record no longer is what its digest says.
#[tokio::test]
async fn every_flipped_byte_is_found() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path(), 3).await;
    let whole = FileAudit::verify(folder.path()).unwrap();
    let file = folder.path().join("records-00000000000000000001.jsonl");
    let good = std::fs::read(&file).unwrap();
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        std::fs::write(&file, bad).unwrap();
        assert!(
            !FileAudit::verify(folder.path()).is_ok_and(|tail| tail == whole),
            "byte {index}"
        );
    }
}

#[tokio::test]
async fn records_taken_out_put_in_or_moved_are_found() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path(), 4).await;
    let file = folder.path().join("records-00000000000000000001.jsonl");
    let good = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    for (what, order, record) in [
        ("missing", vec![0, 2, 3], 2),
        ("moved", vec![0, 2, 1, 3], 2),
        ("twice", vec![0, 1, 1, 2, 3], 3),
        ("first missing", vec![1, 2, 3], 1),
    ] {
        let text: String = order
            .iter()
            .map(|index| format!("{}\n", lines[*index]))
            .collect();
        std::fs::write(&file, text).unwrap();
        match FileAudit::verify(folder.path()) {
            Err(AuditError::Damaged { record: found, .. }) => assert_eq!(found, record, "{what}"),
            other => assert!(other.is_err(), "{what} was not found"),
        }
        assert!(
            matches!(
                FileAudit::open(folder.path()).await,
                Err(AuditError::Damaged { .. })
            ),
            "{what} opened"
        );
    }
}

/// Whatever a crash leaves of the last line is taken off; what stands before it stays.
#[tokio::test]
async fn a_torn_last_line_is_cut_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path(), 2).await;
    let file = folder.path().join("records-00000000000000000001.jsonl");
    let good = std::fs::read(&file).unwrap();
    let second = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in second + 1..good.len() {
        std::fs::write(&file, &good[..end]).unwrap();
        assert!(FileAudit::verify(folder.path()).is_err());
        let audit = FileAudit::open(folder.path()).await.unwrap();
        assert_eq!(audit.cut(), Some((end - second) as u64));
        assert_eq!(audit.append(entry("after")).await.unwrap().sequence, 2);
        assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 2);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_one_clear_sentence() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = FileAudit::open(file.path().join("audit"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("check that the folder exists, is writable and has space"),
        "{error}"
    );
}

#[tokio::test]
async fn appends_from_many_tasks_are_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let audit = FileAudit::open(folder.path()).await.unwrap();
    let tasks = (0..50).map(|n| {
        let audit = audit.clone();
        tokio::spawn(async move { audit.append(entry(&n.to_string())).await.unwrap().sequence })
    });
    let mut sequences: Vec<u64> = futures::future::join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=50).collect::<Vec<_>>());
    assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 50);
    assert_eq!(
        audit
            .records(&AuditQuery {
                limit: Some(1),
                ..AuditQuery::default()
            })
            .await
            .unwrap()[0]
            .sequence,
        50
    );
}

/// Made with `openssl genpkey -algorithm ed25519` for these tests; the second pair is somebody else's.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIMGjoTER1M//z/0jvmDtA6H4dVv3c5TGzxzr453t0N1G\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPhRMMjUwMCKoVFLgTmg7Sd3h7RrFoxubj+B9D/s0LQQ=\n-----END PUBLIC KEY-----\n";
const OTHER: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAcTTrSCsipZjnD3y3TYM0LpCqgiWsAyOmEpfTkJKTHHU=\n-----END PUBLIC KEY-----\n";
const NAME: &str = "argus.example.com/shop";

fn signer() -> AuditSigner {
    AuditSigner::from_pem(NAME, PRIVATE).unwrap()
}

fn key() -> AuditKey {
    AuditKey::from_pem(NAME, PUBLIC).unwrap()
}

/// An entry of one of three plans of one of two incidents, by one of two users.
fn varied(n: usize) -> AuditEntry {
    AuditEntry {
        event: if n % 4 == 3 {
            AuditEvent::Finished
        } else {
            AuditEvent::StepSettled
        },
        incident_id: IncidentId::new(format!("INC-{}", n % 2)).unwrap(),
        plan_id: PlanId::try_from(format!("PLAN-{:032x}", n % 3)).unwrap(),
        step: Some(n % 3),
        requested_by: if n.is_multiple_of(5) {
            Actor::automatic("argus").unwrap()
        } else {
            Actor::user("ada").unwrap()
        },
        command: n
            .is_multiple_of(2)
            .then(|| "kubectl scale deployment/web -n shop --replicas=2".into()),
        outcome: Some(format!("Outcome {n} of a plan, {}", "=".repeat(200)).into()),
        ..entry("")
    }
}

/// A trail of small files.
async fn segments(folder: &Path, records: usize) -> FileAudit {
    let options = FileAudit::options().segment_bytes(4096).signed_by(signer());
    let audit = options.open(folder).await.unwrap();
    for n in 0..records {
        audit.append(varied(n)).await.unwrap();
    }
    audit
}

fn files(folder: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.display().to_string().ends_with(end))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn the_chain_goes_on_over_many_files() {
    let folder = tempfile::tempdir().unwrap();
    drop(segments(folder.path(), 60).await);
    let files = files(folder.path(), ".jsonl");
    assert!(files.len() > 5, "{files:?}");
    assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 60);
    drop(segments(folder.path(), 3).await);
    assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 63);
    // A file that is gone, or that another one stands in for, is named.
    let middle = &files[2];
    let (text, next) = (
        std::fs::read(middle).unwrap(),
        std::fs::read(&files[3]).unwrap(),
    );
    std::fs::remove_file(middle).unwrap();
    let error = FileAudit::verify(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("it is missing, with the file that it was in"),
        "{error}"
    );
    std::fs::write(middle, next).unwrap();
    assert!(FileAudit::verify(folder.path()).is_err());
    std::fs::write(middle, &text[..text.len() - 10]).unwrap();
    let error = FileAudit::verify(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cut short"), "{error}");
    assert!(
        FileAudit::open(folder.path()).await.is_err(),
        "only the last line can be torn"
    );
    std::fs::write(middle, text).unwrap();
    assert!(FileAudit::verify(folder.path()).is_ok());
}

#[tokio::test]
async fn an_old_file_is_closed_too() {
    let folder = tempfile::tempdir().unwrap();
    let options = FileAudit::options().segment_age(SignedDuration::ZERO);
    let audit = options.open(folder.path()).await.unwrap();
    for n in 0..3 {
        audit.append(varied(n)).await.unwrap();
    }
    assert_eq!(files(folder.path(), ".jsonl").len(), 3);
}

/// Every query says what a look at every record says, page by page, with indexes, without them and with wrong ones.
#[tokio::test]
async fn queries_find_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let audit = segments(folder.path(), 60).await;
    let all = audit.records(&AuditQuery::default()).await.unwrap();
    assert!(all.iter().map(|record| record.sequence).eq((1..=60).rev()));
    let middle = all[30].timestamp;
    let none = AuditQuery::default;
    let queries = [
        AuditQuery {
            incident_id: IncidentId::new("INC-1").ok(),
            ..none()
        },
        AuditQuery {
            incident_id: IncidentId::new("INC-9").ok(),
            ..none()
        },
        AuditQuery {
            plan_id: PlanId::try_from(format!("PLAN-{:032x}", 2)).ok(),
            ..none()
        },
        AuditQuery {
            plan_id: PlanId::try_from(format!("PLAN-{:032x}", 2)).ok(),
            incident_id: IncidentId::new("INC-1").ok(),
            ..none()
        },
        AuditQuery {
            actor: Some("ada".into()),
            ..none()
        },
        AuditQuery {
            event: Some(AuditEvent::Finished),
            ..none()
        },
        AuditQuery {
            action: Some("scale".into()),
            ..none()
        },
        AuditQuery {
            action: Some("patch".into()),
            ..none()
        },
        AuditQuery {
            text: Some("OUTCOME 7".into()),
            ..none()
        },
        AuditQuery {
            text: Some("kubectl SCALE".into()),
            ..none()
        },
        AuditQuery {
            since: Some(middle),
            ..none()
        },
        AuditQuery {
            until: Some(middle),
            ..none()
        },
        AuditQuery {
            after: Some(41),
            ..none()
        },
        AuditQuery {
            before: Some(17),
            ..none()
        },
        AuditQuery {
            actor: Some("ada".into()),
            event: Some(AuditEvent::Finished),
            after: Some(5),
            before: Some(50),
            ..none()
        },
    ];
    let check = async |audit: &FileAudit, what: &str| {
        for query in &queries {
            let wanted: Vec<_> = all
                .iter()
                .filter(|record| query.matches(record))
                .cloned()
                .collect();
            assert_eq!(
                audit.records(query).await.unwrap(),
                wanted,
                "{what}: {query:?}"
            );
            assert_eq!(
                FileAudit::read(folder.path(), query).unwrap(),
                wanted,
                "{what}: {query:?}"
            );
            let (mut pages, mut before) = (Vec::new(), query.before);
            loop {
                let page = AuditQuery {
                    limit: Some(4),
                    before,
                    ..query.clone()
                };
                let page = audit.records(&page).await.unwrap();
                let Some(last) = page.last() else { break };
                assert!(page.len() <= 4);
                before = Some(last.sequence);
                pages.extend(page);
            }
            assert_eq!(pages, wanted, "{what}, by pages: {query:?}");
        }
    };
    check(&audit, "as written").await;
    for index in files(folder.path(), ".index") {
        std::fs::remove_file(index).unwrap();
    }
    check(&audit, "without indexes").await;
    drop(audit);
    let audit = segments(folder.path(), 0).await;
    check(&audit, "opened again").await;
    drop(audit);
    for (index, bytes) in files(folder.path(), ".index")
        .iter()
        .zip([0usize, 20, 16, 40].iter().cycle())
    {
        let mut text = std::fs::read(index).unwrap();
        text[*bytes] ^= 0xff;
        std::fs::write(index, text).unwrap();
    }
    check(
        &segments(folder.path(), 0).await,
        "with wrong indexes mended",
    )
    .await;
}

#[tokio::test]
async fn a_trail_that_ends_too_early_is_found_by_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&seen);
    let audit = FileAudit::options()
        .segment_bytes(4096)
        .signed_by(signer())
        .on_checkpoint(move |checkpoint| hook.lock().unwrap().push(checkpoint.to_string()))
        .open(folder.path())
        .await
        .unwrap();
    for n in 0..30 {
        audit.append(varied(n)).await.unwrap();
    }
    let newest = audit.checkpoint().await.unwrap();
    assert_eq!(newest.records(), 30);
    drop(audit);
    let verify = |text: Option<&str>| FileAudit::verify_signed(folder.path(), &key(), text);
    assert_eq!(verify(None).unwrap().records, 30);
    // One after each plan's end, each full file, and the one that was asked for; all of them hold.
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() > 9, "{}", seen.len());
    for text in &seen {
        assert!(verify(Some(text)).is_ok());
    }
    let last = files(folder.path(), ".jsonl").pop().unwrap();
    let good = std::fs::read_to_string(&last).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    // Whole records cut off the end, up to the whole file.
    for kept in 0..lines.len() {
        let text: String = lines[..kept]
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&last, text).unwrap();
        assert!(
            FileAudit::verify(folder.path()).is_ok(),
            "the chain alone doesn't tell"
        );
        let error = verify(None).unwrap_err().to_string();
        assert!(
            error.contains("it is missing: the checkpoint stands for 30 records"),
            "{error}"
        );
        let open = FileAudit::options()
            .signed_by(signer())
            .open(folder.path())
            .await;
        assert!(open.is_err(), "it doesn't go on from there");
    }
    std::fs::remove_file(&last).unwrap();
    assert!(verify(None).is_err());
    std::fs::write(&last, &good).unwrap();
    // A changed last record is another root.
    std::fs::write(&last, good.replace("Outcome 29", "Outcome 92")).unwrap();
    assert!(
        FileAudit::verify(folder.path()).is_ok(),
        "nothing follows that would tell"
    );
    let error = verify(None).unwrap_err().to_string();
    assert!(error.contains("other records"), "{error}");
    std::fs::write(&last, &good).unwrap();
    // Nobody else can sign one.
    let other = AuditKey::from_pem(NAME, OTHER).unwrap();
    assert!(matches!(
        FileAudit::verify_signed(folder.path(), &other, None),
        Err(AuditError::Checkpoint(_))
    ));
    let elsewhere = AuditKey::from_pem("argus.example.com/other", PUBLIC).unwrap();
    assert!(FileAudit::verify_signed(folder.path(), &elsewhere, None).is_err());
    let text = newest.to_string();
    for changed in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[changed] ^= 1;
        let Ok(bad) = String::from_utf8(bytes) else {
            continue;
        };
        assert!(key().check(&bad).is_err(), "byte {changed}: {bad}");
    }
    std::fs::remove_file(folder.path().join("checkpoint")).unwrap();
    assert!(matches!(verify(None), Err(AuditError::Unsigned)));
}

#[tokio::test]
async fn old_files_are_removed_and_a_checkpoint_stands_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let audit = segments(folder.path(), 60).await;
    let before = files(folder.path(), ".jsonl").len();
    let all = audit.records(&AuditQuery::default()).await.unwrap();
    assert_eq!(audit.remove_before(all[59].timestamp).await.unwrap(), 0);
    let removed = audit.remove_before(all[30].timestamp).await.unwrap();
    assert!((20..=30).contains(&removed), "{removed}");
    assert!(files(folder.path(), ".jsonl").len() < before);
    let more = audit.remove_before(Timestamp::MAX).await.unwrap();
    assert_eq!(
        files(folder.path(), ".jsonl").len(),
        1,
        "the last one stays"
    );
    for n in 60..70 {
        audit.append(varied(n)).await.unwrap();
    }
    let left = audit.records(&AuditQuery::default()).await.unwrap();
    assert_eq!(left.len() as u64, 70 - removed - more);
    drop(audit);
    let tail = FileAudit::verify(folder.path()).unwrap();
    assert_eq!((tail.records, tail.unproven), (70, removed + more));
    let verify = || FileAudit::verify_signed(folder.path(), &key(), None);
    let tail = verify().unwrap();
    assert_eq!((tail.records, tail.unproven), (70, 0));
    let audit = segments(folder.path(), 1).await;
    assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 71);
    drop(audit);
    // What stands for them can't be changed.
    let base = folder.path().join("base.json");
    let text = std::fs::read_to_string(&base).unwrap();
    std::fs::write(
        &base,
        text.replacen("\"peaks\":[\"sha256:", "\"peaks\":[\"sha256:0", 1)
            .replacen("\",", "", 1),
    )
    .unwrap();
    assert!(verify().is_err());
    std::fs::remove_file(&base).unwrap();
    let error = FileAudit::verify(folder.path()).unwrap_err().to_string();
    assert!(error.contains("record 1"), "{error}");
    std::fs::write(&base, text).unwrap();
    assert!(verify().is_ok());

    let unsigned = tempfile::tempdir().unwrap();
    let audit = FileAudit::open(unsigned.path()).await.unwrap();
    assert!(matches!(
        audit.remove_before(Timestamp::MAX).await,
        Err(AuditError::Unsigned)
    ));
    assert!(matches!(
        audit.checkpoint().await,
        Err(AuditError::Unsigned)
    ));
}

#[tokio::test]
async fn one_record_is_proved_without_the_trail() {
    let folder = tempfile::tempdir().unwrap();
    let audit = segments(folder.path(), 23).await;
    let checkpoint = audit.checkpoint().await.unwrap().to_string();
    for n in 23..30 {
        audit.append(varied(n)).await.unwrap();
    }
    drop(audit);
    for sequence in 1..=23 {
        let proof = FileAudit::prove(folder.path(), &key(), &checkpoint, sequence).unwrap();
        assert!(proof.holds(&key()));
        let text = serde_json::to_string(&proof).unwrap();
        let read: InclusionProof = serde_json::from_str(&text).unwrap();
        assert!(read.holds(&key()));
        let lie = read.record.replace("Outcome", "outcome");
        assert!(
            !InclusionProof {
                record: lie,
                ..read.clone()
            }
            .holds(&key())
        );
        assert!(
            !InclusionProof {
                sequence: sequence + 1,
                ..read.clone()
            }
            .holds(&key())
        );
        assert!(!read.holds(&AuditKey::from_pem(NAME, OTHER).unwrap()));
    }
    for sequence in [0, 24, 30, 31] {
        assert!(
            FileAudit::prove(folder.path(), &key(), &checkpoint, sequence).is_err(),
            "{sequence}"
        );
    }
}

/// Records of many writers share a sync: fewer syncs than records.
#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_share_a_trail_that_rotates() {
    let folder = tempfile::tempdir().unwrap();
    let audit = segments(folder.path(), 0).await;
    let writers = (0..16).map(|writer| {
        let audit = audit.clone();
        tokio::spawn(async move {
            for n in 0..25 {
                audit.append(varied(writer * 25 + n)).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut last = 0;
    while last < 400 {
        let records = audit.records(&AuditQuery::default()).await.unwrap();
        let sequences: Vec<u64> = records.iter().map(|record| record.sequence).collect();
        last = sequences.first().copied().unwrap_or(0);
        assert!(
            sequences.iter().copied().eq((1..=last).rev()),
            "{sequences:?}"
        );
        // Another process reads too; it may see a line that is being written, never a wrong one.
        let page = AuditQuery {
            limit: Some(10),
            ..AuditQuery::default()
        };
        FileAudit::read(folder.path(), &page).unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    drop(audit);
    assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 400);
}

#[tokio::test]
async fn the_state_of_a_plan_and_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let audit = segments(folder.path(), 12).await;
    let plan = AuditQuery {
        plan_id: PlanId::try_from(format!("PLAN-{:032x}", 0)).ok(),
        ..AuditQuery::default()
    };
    let mut records = audit.records(&plan).await.unwrap();
    records.reverse();
    let state = PlanState::of(&records).unwrap();
    assert!(state.is_finished);
    assert_eq!(state.steps, [StepStatus::Settled]);
    assert_eq!(state.last, AuditEvent::StepSettled);
    assert!(PlanState::of(&[]).is_none());

    let mut record = records[0].clone();
    record.entry.outcome = Some("=cmd(\"x\"), two\nlines".into());
    let table = CSV_HEAD.to_owned() + &csv(&record);
    assert!(
        table.ends_with(",\"'=cmd(\"\"x\"\"), two\nlines\",,,,,,\r\n"),
        "{table}"
    );
}

/// The name of a file stands in every error, and what to do.
#[tokio::test]
async fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    drop(segments(folder.path(), 3).await);
    let file = files(folder.path(), ".jsonl").remove(0);
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replacen("Outcome 1", "Outcome 7", 1)).unwrap();
    let error = FileAudit::verify(folder.path()).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "the audit trail `{}` is damaged at record 3",
            file.display()
        )),
        "{error}"
    );
    // The last one, which no record follows, is read as a whole.
    std::fs::write(&file, good.replacen("Outcome 2", "Outcome \u{1}", 1)).unwrap();
    let error = FileAudit::verify(folder.path()).unwrap_err().to_string();
    assert!(error.contains("at record 3: control character"), "{error}");
    assert!(AuditSigner::from_pem("a b", PRIVATE).is_err());
    assert!(
        AuditSigner::from_pem(NAME, PUBLIC)
            .unwrap_err()
            .to_string()
            .contains("openssl genpkey")
    );
}

/// Cuts the front off a trail of `records` records, as anybody can who may write the folder: the first file is gone, and a base of their
/// own making stands for it. The answer is how many records that are.
fn cut_front(folder: &Path) -> u64 {
    let all = files(folder, ".jsonl");
    let second = std::fs::read_to_string(&all[1]).unwrap();
    let next: serde_json::Value = serde_json::from_str(second.lines().next().unwrap()).unwrap();
    let removed = next["sequence"].as_str().unwrap().parse::<u64>().unwrap() - 1;
    let peak = "sha256:0101010101010101010101010101010101010101010101010101010101010101";
    let base = serde_json::json!({
        "records": removed, "digest": next["previous"],
        "peaks": vec![peak; removed.count_ones() as usize], "checkpoint": "",
    });
    std::fs::write(folder.join("base.json"), base.to_string()).unwrap();
    for file in [
        all[0].clone(),
        all[0].with_extension("index"),
        folder.join("checkpoint"),
    ] {
        let _ = std::fs::remove_file(file);
    }
    removed
}

#[tokio::test]
async fn a_front_that_was_cut_off_is_counted_without_a_key_and_found_with_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(segments(folder.path(), 60).await);
    assert_eq!(FileAudit::verify(folder.path()).unwrap().unproven, 0);
    let removed = cut_front(folder.path());
    assert!(removed > 0);
    let tail = FileAudit::verify(folder.path()).unwrap();
    assert_eq!((tail.records, tail.unproven), (60, removed));
    let verified = FileAudit::verify_signed(folder.path(), &key(), None);
    assert!(matches!(verified, Err(AuditError::Checkpoint(_))));
    // Whoever signs the trail doesn't go on from a beginning that nobody signed.
    let options = FileAudit::options().signed_by(signer());
    let opened = options.open(folder.path()).await;
    assert!(matches!(opened, Err(AuditError::Checkpoint(_))));
}

#[tokio::test]
async fn a_checkpoint_that_is_older_than_what_was_removed_is_not_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let audit = segments(folder.path(), 5).await;
    let old = audit.checkpoint().await.unwrap().to_string();
    drop(audit);
    let audit = segments(folder.path(), 55).await;
    let removed = audit.remove_before(Timestamp::MAX).await.unwrap();
    let new = audit.checkpoint().await.unwrap().to_string();
    drop(audit);
    let verify = |text: &str| FileAudit::verify_signed(folder.path(), &key(), Some(text));
    assert_eq!(verify(&new).unwrap().records, 60);
    let AuditError::Checkpoint(error) = verify(&old).unwrap_err() else {
        panic!("the old checkpoint is ignored")
    };
    let wanted = CheckpointError::Old {
        records: 5,
        removed,
    };
    assert_eq!(error, wanted);
    // A host that signed nothing since goes on from what it signed last: that they were removed.
    std::fs::write(folder.path().join("checkpoint"), &old).unwrap();
    assert_eq!(
        FileAudit::verify_signed(folder.path(), &key(), None)
            .unwrap()
            .records,
        60
    );
    drop(segments(folder.path(), 1).await);
}

#[tokio::test]
async fn records_are_handed_on_one_at_a_time_for_as_long_as_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let audit = segments(folder.path(), 60).await;
    let read = async |query: AuditQuery, most: usize| {
        let found = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&found);
        let each = move |record: AuditRecord| {
            let mut found = to.lock().unwrap();
            found.push(record.sequence);
            found.len() < most
        };
        audit.for_each(&query, each).await.unwrap();
        std::mem::take(&mut *found.lock().unwrap())
    };
    let all = AuditQuery::default();
    assert_eq!(
        read(all.clone(), 100).await,
        (1..=60).rev().collect::<Vec<_>>()
    );
    assert_eq!(read(all, 3).await, [60, 59, 58]);
    for before in [1, 2, 17, 60, 61] {
        let page = AuditQuery {
            before: Some(before),
            limit: Some(2),
            ..AuditQuery::default()
        };
        let wanted: Vec<u64> = (1..before.min(61)).rev().take(2).collect();
        assert_eq!(read(page, 100).await, wanted, "before {before}");
    }
}

/// A sink and a copy that takes a record only when it is let.
#[derive(Debug, Clone)]
struct Gated {
    open: Arc<Semaphore>,
    sink: MemoryAudit,
}

impl Gated {
    fn closed() -> Self {
        Self {
            open: Arc::new(Semaphore::new(0)),
            sink: MemoryAudit::new(),
        }
    }

    fn outcomes(&self) -> Vec<String> {
        outcomes(&self.sink)
    }
}

fn outcomes(sink: &MemoryAudit) -> Vec<String> {
    let outcome = |record: &AuditRecord| record.entry.outcome.as_ref().map(ToString::to_string);
    sink.all().iter().filter_map(outcome).collect()
}

#[async_trait::async_trait]
impl AuditSink for Gated {
    async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
        self.open.acquire().await.unwrap().forget();
        self.sink.append(entry).await
    }

    async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
        self.sink.records(query).await
    }
}

#[async_trait::async_trait]
impl RecordCopy for Gated {
    async fn copy(&self, record: &AuditRecord) -> Result<(), String> {
        let copied = self.append(record.entry.clone()).await;
        copied.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn an_append_that_is_dropped_between_two_sinks_comes_to_its_end_in_both() {
    let (first, second) = (MemoryAudit::new(), Gated::closed());
    let tee: Arc<dyn AuditSink> = Arc::new(AuditTee::new(first.clone(), second.clone()));
    let (trail, copy) = (MemoryAudit::new(), Gated::closed());
    let copied: Arc<dyn AuditSink> = Arc::new(CopiedAudit::new(trail.clone(), copy.clone()));
    for (both, first, second) in [(tee, first, second), (copied, trail, copy)] {
        let patience = std::time::Duration::from_millis(50);
        let dropped = tokio::time::timeout(patience, both.append(entry("one"))).await;
        assert!(dropped.is_err());
        assert_eq!(outcomes(&first), ["one"]);
        second.open.add_permits(2);
        let record = both.append(entry("two")).await.unwrap();
        assert_eq!(record.sequence, 2);
        assert_eq!(outcomes(&first), ["one", "two"]);
        assert_eq!(second.outcomes(), ["one", "two"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sinks_have_one_order() {
    /// A sink that is slow, and slower with some.
    #[derive(Debug)]
    struct Slow(MemoryAudit);

    #[async_trait::async_trait]
    impl AuditSink for Slow {
        async fn append(&self, entry: AuditEntry) -> Result<AuditRecord, AuditError> {
            let length = entry
                .outcome
                .as_ref()
                .map_or(0, |text| text.len() as u64 % 2);
            tokio::time::sleep(std::time::Duration::from_millis(2 * length)).await;
            self.0.append(entry).await
        }

        async fn records(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, AuditError> {
            self.0.records(query).await
        }
    }

    let (first, second) = (MemoryAudit::new(), MemoryAudit::new());
    let tee = Arc::new(AuditTee::new(first.clone(), Slow(second.clone())));
    let appends = (0..40).map(|n| {
        let tee = Arc::clone(&tee);
        tokio::spawn(async move { tee.append(entry(&"x".repeat(n))).await.map(drop) })
    });
    for appended in futures::future::join_all(appends).await {
        appended.unwrap().unwrap();
    }
    assert_eq!(outcomes(&first).len(), 40);
    assert_eq!(outcomes(&first), outcomes(&second));
}

/// A copy that panics, or a sink that does.
#[tokio::test]
async fn a_copy_that_panics_is_a_failure_and_nothing_more_is_taken() {
    struct Broken;

    #[async_trait::async_trait]
    impl RecordCopy for Broken {
        async fn copy(&self, _: &AuditRecord) -> Result<(), String> {
            panic!("full")
        }
    }

    let trail = MemoryAudit::new();
    let copied = CopiedAudit::new(trail.clone(), Broken);
    assert!(copied.append(entry("one")).await.is_err());
    let after = copied.append(entry("two")).await;
    assert!(matches!(after, Err(AuditError::Poisoned)));
    assert_eq!(outcomes(&trail), ["one"]);
}
