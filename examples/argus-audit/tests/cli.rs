//! The program as people use it: its output and its exit codes, on a trail that a host wrote.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use argus_core::{
    Actor, AuditEntry, AuditEvent, AuditSigner, AuditSink, FileAudit, IncidentId, PlanId,
};

const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIMGjoTER1M//z/0jvmDtA6H4dVv3c5TGzxzr453t0N1G\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPhRMMjUwMCKoVFLgTmg7Sd3h7RrFoxubj+B9D/s0LQQ=\n-----END PUBLIC KEY-----\n";
const NAME: &str = "argus.example.com/shop";

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_argus-audit"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

async fn trail(folder: &Path) -> FileAudit {
    let signer = AuditSigner::from_pem(NAME, PRIVATE).unwrap();
    let audit = FileAudit::options()
        .signed_by(signer)
        .open(folder)
        .await
        .unwrap();
    for (n, event) in [
        AuditEvent::Suggested,
        AuditEvent::Approved,
        AuditEvent::StepIntended,
        AuditEvent::StepSettled,
        AuditEvent::Finished,
    ]
    .into_iter()
    .enumerate()
    {
        let step = (2..=3).contains(&n);
        let entry = AuditEntry {
            step: step.then_some(0),
            command: step.then(|| "kubectl scale deployment/web -n shop --replicas=2".into()),
            // As another host may have stored it.
            outcome: serde_json::from_value(format!("outcome {n}\u{1b}[31m").into()).unwrap(),
            ..AuditEntry::new(
                event,
                IncidentId::new("INC-1").unwrap(),
                PlanId::try_from(format!("PLAN-{:032x}", 1)).unwrap(),
                Actor::user("ada").unwrap(),
            )
        };
        audit.append(entry).await.unwrap();
    }
    audit
}

#[test]
fn the_schema_of_a_record_is_the_one_that_is_published() {
    let (code, out, _) = run(&["schema"]);
    assert_eq!(code, 0);
    let published = include_str!("../record.schema.json");
    assert_eq!(
        out, published,
        "run `argus-audit schema > examples/argus-audit/record.schema.json`"
    );
}

#[tokio::test]
async fn a_trail_is_checked_shown_exported_and_proved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    // While a host has it open, too.
    let audit = trail(&path).await;
    let place = path.display().to_string();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, PUBLIC).unwrap();
    let key = key.display().to_string();

    let (code, out, _) = run(&["verify", &place]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("5 records, one chain; without --key"),
        "{out}"
    );
    let signed = ["--key", &key, "--name", NAME];
    let with_key = |arguments: &[&str]| run(&[arguments, &signed].concat());
    let (code, out, error) = with_key(&["verify", &place]);
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "5 records, one chain, and all that the checkpoint stands for\n"
        ),
        "{error}"
    );

    let (_, out, _) = run(&["show", &place]);
    assert!(!out.contains('\u{1b}'), "a terminal acts on nothing: {out}");
    assert_eq!(out.lines().count(), 5);
    assert!(
        out.lines().next().unwrap().contains("finished"),
        "newest first: {out}"
    );
    let (_, out, _) = run(&["show", &place, "--action", "scale", "--limit", "1"]);
    assert!(
        out.contains("step_settled") && out.lines().count() == 1,
        "{out}"
    );
    let (code, _, error) = run(&["show", &place, "--event", "exploded"]);
    assert!(
        code == 2 && error.contains("unknown variant `exploded`"),
        "{error}"
    );

    let (_, out, _) = run(&["plans", &place]);
    assert!(
        out.contains("\"is_finished\":true") && out.contains("\"steps\":[\"settled\"]"),
        "{out}"
    );
    let (_, out, _) = run(&["export", &place]);
    assert!(
        out.starts_with("sequence,timestamp,event") && out.lines().count() == 6,
        "{out}"
    );
    let (_, out, _) = run(&["export", &place, "--format", "jsonl", "--event", "approved"]);
    assert!(
        out.contains("\"sequence\":\"2\"") && out.lines().count() == 1,
        "{out}"
    );

    let (code, proof, error) = with_key(&["prove", &place, "3"]);
    assert_eq!(code, 0, "{error}");
    let file = folder.path().join("proof.json").display().to_string();
    std::fs::write(&file, &proof).unwrap();
    let (code, out, _) = with_key(&["check", &file]);
    assert!(
        code == 0 && out.starts_with("record 3 is one of the 5"),
        "{out}"
    );
    std::fs::write(&file, proof.replace("replicas=2", "replicas=3")).unwrap();
    assert_eq!(with_key(&["check", &file]).0, 1);
    drop(audit);

    // One flipped byte is found and named.
    let records = path.join("records-00000000000000000001.jsonl");
    let good = std::fs::read_to_string(&records).unwrap();
    std::fs::write(&records, good.replacen("outcome 2", "outcome 3", 1)).unwrap();
    let (code, _, error) = run(&["verify", &place]);
    assert_eq!(code, 1);
    assert!(error.contains("is damaged at record 4"), "{error}");
    // So are records that are missing at the end.
    let shorter = good.split_inclusive('\n').take(3).collect::<String>();
    std::fs::write(&records, shorter).unwrap();
    assert_eq!(run(&["verify", &place]).0, 0);
    let (code, _, error) = with_key(&["verify", &place]);
    assert!(
        code == 1 && error.contains("record 4") && error.contains("it is missing"),
        "{error}"
    );
    // That the first ones are not there is said without the key, and found with it.
    let rest = good.split_inclusive('\n').skip(3).collect::<String>();
    let next: serde_json::Value = serde_json::from_str(rest.lines().next().unwrap()).unwrap();
    std::fs::remove_file(&records).unwrap();
    std::fs::write(path.join("records-00000000000000000004.jsonl"), rest).unwrap();
    let peak = format!("sha256:{}", "1".repeat(64));
    let base = serde_json::json!({ "records": 3, "digest": next["previous"], "peaks": [peak, peak], "checkpoint": "" });
    std::fs::write(path.join("base.json"), base.to_string()).unwrap();
    let (code, out, error) = run(&["verify", &place]);
    assert!(
        code == 0
            && out
                .contains("of those the first 3 are not there: they are said to have been removed"),
        "{out}{error}"
    );
    assert_eq!(with_key(&["verify", &place]).0, 1);
    let (code, _, error) = run(&["verify", "nowhere"]);
    assert!(code == 2 && error.contains("nowhere"), "{error}");
}
