//! The file trail: durable before it returns, chained, one writer, and every damage is found.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use argus_core::testing::{MemoryAudit, laws};
use argus_core::{
    Actor, AuditEntry, AuditError, AuditEvent, AuditQuery, AuditSink, FileAudit, IncidentId, PlanId,
};

fn entry(outcome: &str) -> AuditEntry {
    AuditEntry {
        event: AuditEvent::Suggested,
        incident_id: IncidentId::new("INC-1").unwrap(),
        plan_id: PlanId::try_from(format!("PLAN-{:032x}", 1)).unwrap(),
        step: None,
        requested_by: Actor::User("operator".into()),
        command: None,
        digest: None,
        revision: None,
        outcome: Some(outcome.into()),
        findings_before: None,
        findings_after: None,
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
