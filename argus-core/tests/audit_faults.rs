//! What a machine does to a trail: its clock goes backwards, its folder can't be written.
#![expect(clippy::unwrap_used, reason = "tests")]

use argus_core::{
    Actor, AuditEntry, AuditError, AuditEvent, AuditRecord, AuditSink, Digest, FileAudit,
    IncidentId, PlanId,
};
use jiff::{SignedDuration, Timestamp};

fn entry() -> AuditEntry {
    AuditEntry::new(
        AuditEvent::Suggested,
        IncidentId::new("INC-1").unwrap(),
        PlanId::try_from(format!("PLAN-{:032x}", 1)).unwrap(),
        Actor::user("operator").unwrap(),
    )
}

/// The last record was written an hour ahead; then the clock was set right.
#[tokio::test]
async fn a_clock_that_goes_backwards_moves_no_record_back() {
    let folder = tempfile::tempdir().unwrap();
    let ahead = Timestamp::now() + SignedDuration::from_hours(1);
    let first = AuditRecord {
        schema: argus_core::AUDIT_SCHEMA.into(),
        sequence: 1,
        timestamp: ahead,
        previous: Digest::ZERO,
        entry: entry(),
    };
    let line = serde_json::to_string(&first).unwrap() + "\n";
    let file = folder.path().join("records-00000000000000000001.jsonl");
    std::fs::write(file, line).unwrap();
    let audit = FileAudit::options().segment_age(SignedDuration::from_mins(1));
    let audit = audit.open(folder.path()).await.unwrap();
    for sequence in 2..4 {
        let record = audit.append(entry()).await.unwrap();
        assert_eq!((record.sequence, record.timestamp), (sequence, ahead));
    }
    assert_eq!(FileAudit::verify(folder.path()).unwrap().records, 3);
}

/// The kernel's own folder, in which nobody may make one, not even root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_without_permission_is_one_clear_sentence() {
    let error = FileAudit::open("/sys/argus").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the audit trail `/sys/argus` can't be made: check that the folder exists, is writable and has space"
    );
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    assert!(
        matches!(&error, AuditError::Io { source, .. } if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem)),
        "{error:?}"
    );
}
