//! The machine dies half-way, anywhere: the next start knows, and the cluster comes to the plan's end or its beginning.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod changes;
mod killed;
mod shop;
mod twice;
mod undone;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use argus_core::testing::cluster::Fault;
use argus_core::testing::{MemoryAudit, laws};
use argus_core::{
    AuditEvent, AuditSink, Ending, FilePlans, MemoryPlans, PlanStore, Recovery, RemediatorError,
    StepStatus, step_statuses,
};
use serde_json::{Value, json};
use shop::{Doors, NAMES, Shop};

/// Resumes what is unfinished, with a trail that works, and checks what has to hold then.
async fn resume_and_check(
    shop: &Shop,
    audit: &MemoryAudit,
    plans: &MemoryPlans,
    what: &str,
) -> Option<Ending> {
    let audit = audit.restarted();
    let remediator = shop.remediator(Doors::new(&audit, plans));
    let unfinished = remediator.unfinished().await.unwrap();
    let mut ending = None;
    for plan_id in &unfinished {
        let outcome = remediator.resume(plan_id).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(step_statuses(&audit.all()), outcome.steps, "{what}");
        ending = Some(outcome.ending);
    }
    assert!(remediator.unfinished().await.unwrap().is_empty(), "{what}");
    shop.check(&audit.all(), ending, what).await;
    ending
}

/// The faults under which the log is cut: none, one that makes the plan go back, one that makes an undo fail too.
const FAULTS: [&[(usize, Fault)]; 4] = [
    &[],
    &[(2, Fault::RefuseWrite(422))],
    &[(2, Fault::RefuseWrite(422)), (3, Fault::RefuseWrite(403))],
    &[(1, Fault::CutAfterWrite)],
];

#[tokio::test(flavor = "multi_thread")]
async fn the_log_cut_after_every_record() {
    let mut cuts = 0;
    for faults in FAULTS {
        for whole in 0.. {
            let what = format!("{faults:?}, the log cut after record {whole}");
            let shop = Shop::open().await;
            let (audit, plans) = (MemoryAudit::failing_from(whole + 1), MemoryPlans::default());
            let result = shop.walk(&audit, &plans, faults, usize::MAX).await;
            let cut = matches!(result, Some(Err(RemediatorError::Audit { .. })));
            let resumed = resume_and_check(&shop, &audit, &plans, &what).await;
            // Five records stand before the first intent: asked, suggested, permitted, dry run, approved.
            assert_eq!(resumed.is_some(), cut && whole >= 5, "{what}");
            if faults.is_empty() && cut && whole >= 5 {
                assert_eq!(resumed, Some(Ending::Succeeded), "{what}");
            }
            if !cut {
                break;
            }
            cuts += 1;
        }
    }
    eprintln!("{cuts} cuts, each resumed to an end");
    assert!(cuts > 50, "{cuts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_again_while_resuming() {
    for faults in FAULTS {
        for whole in [6, 7, 9, 12] {
            for again in 1..6 {
                let what =
                    format!("{faults:?}, cut after record {whole}, and {again} records later");
                let shop = Shop::open().await;
                let (audit, plans) = (MemoryAudit::failing_from(whole + 1), MemoryPlans::default());
                shop.walk(&audit, &plans, faults, usize::MAX).await;
                let audit = audit.restarted_failing_from(whole + again);
                let remediator = shop.remediator(Doors::new(&audit, &plans));
                for plan_id in remediator.unfinished().await.unwrap() {
                    let _ = remediator.resume(&plan_id).await;
                }
                resume_and_check(&shop, &audit, &plans, &what).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_at_every_await() {
    for polls in 0.. {
        let what = format!("dropped after {polls} polls");
        let shop = Shop::open().await;
        let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
        let result = shop.walk(&audit, &plans, &[], polls).await;
        // A write that was under way may still arrive.
        tokio::time::sleep(Duration::from_millis(20)).await;
        resume_and_check(&shop, &audit, &plans, &what).await;
        if result.is_some() {
            assert!(polls > 5, "it ended after {polls} polls");
            break;
        }
    }
}

/// Cut between the first step's write and its record.
async fn cut_after_the_first_write() -> (Shop, MemoryAudit, MemoryPlans) {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::failing_from(7), MemoryPlans::default());
    shop.walk(&audit, &plans, &[], usize::MAX).await;
    assert_eq!(shop.changed().await, [true, false, false]);
    (shop, audit.restarted(), plans)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_meanwhile_stays_as_they_left_it() {
    let (shop, audit, plans) = cut_after_the_first_write().await;
    let theirs = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "resources": { "limits": { "memory": "99Mi" } } }] } } } });
    shop.patch(NAMES[0], theirs).await;
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let plan_id = remediator.unfinished().await.unwrap().remove(0);
    let outcome = remediator.resume(&plan_id).await;
    assert!(
        outcome.as_ref().is_err_and(RemediatorError::is_stale),
        "{outcome:?}"
    );
    assert_eq!(shop.memory(NAMES[0]).await, "99Mi");
    assert!(remediator.unfinished().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_no_longer_holds_is_undone() {
    let (shop, audit, plans) = cut_after_the_first_write().await;
    let remediator = shop.remediator(Doors {
        policy: b"another policy",
        ..Doors::new(&audit, &plans)
    });
    let plan_id = remediator.unfinished().await.unwrap().remove(0);
    let outcome = remediator.resume(&plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
    assert_eq!(shop.changed().await, [false, false, false]);
    let error = outcome.error.unwrap();
    assert!(error.contains("the policy changed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_was_altered_is_not_resumed() {
    let (shop, audit, plans) = cut_after_the_first_write().await;
    let writes = shop.writes().len();
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let plan_id = remediator.unfinished().await.unwrap().remove(0);
    let whole = plans.load(&plan_id).await.unwrap().unwrap();
    let alter = |pointer: &str, value: Value| {
        let mut document: Value = serde_json::from_str(&whole).unwrap();
        *document
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer}")) = value;
        document.to_string()
    };
    for altered in [
        alter("/execution/previews/1/write/body/spec/replicas", json!(500)),
        alter("/execution/previews/0/uid", json!("another")),
        alter("/execution/previews/0/before/spec/replicas", json!(0)),
        alter(
            "/execution/revision",
            json!(format!("sha256:{}", "0".repeat(64))),
        ),
        alter("/execution/previews", json!([])),
        alter("/plan/steps/1/action/replicas", json!(500)),
        alter(
            "/plan/steps/1/command",
            json!("kubectl delete pod/x -n shop"),
        ),
        alter("/plan/risk_level", json!("low")),
        alter("/plan/plan_id", json!(format!("PLAN-{:032x}", 7))),
        alter("/version", json!("argus.plan/v0")),
        alter("/execution", Value::Null),
        "{}".into(),
        String::new(),
        whole.get(..whole.len() / 2).unwrap().to_owned(),
    ] {
        plans.save(&plan_id, &altered).await.unwrap();
        let error = remediator.resume(&plan_id).await.unwrap_err();
        assert!(
            matches!(error, RemediatorError::Store(_)),
            "{error:?}: {altered}"
        );
    }
    let without = shop.remediator(Doors::new(&audit, &MemoryPlans::default()));
    let error = without.resume(&plan_id).await.unwrap_err();
    assert!(matches!(error, RemediatorError::Store(_)), "{error:?}");
    assert_eq!(
        shop.writes().len(),
        writes,
        "nothing is written for an altered document"
    );
    // The document as it was still works.
    plans.save(&plan_id, &whole).await.unwrap();
    assert_eq!(
        remediator.resume(&plan_id).await.unwrap().ending,
        Ending::Succeeded
    );
    let error = remediator.resume(&plan_id).await.unwrap_err();
    assert!(
        matches!(error, RemediatorError::NotUnfinished(_)),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_stops_at_the_next_step() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let remediator = Arc::new(OnceLock::new());
    let handle = Arc::clone(&remediator);
    let watched = shop.remediator(Doors {
        observer: Some(Box::new(move |record| {
            if record.entry.event == AuditEvent::StepSettled
                && let Some(remediator) = handle.get()
            {
                argus_core::Remediator::halt(remediator);
            }
        })),
        ..Doors::new(&audit, &plans)
    });
    let watched = remediator.get_or_init(|| watched);
    let (approved, later) = (shop.approved(watched).await, shop.approved(watched).await);
    let error = watched.execute(approved).await.unwrap_err();
    assert!(
        matches!(error, RemediatorError::Halted { standing: 1 }) && error.is_stuck(),
        "{error:?}"
    );
    assert_eq!(shop.changed().await, [true, false, false]);
    // While it is pulled, nothing goes on and nothing starts.
    let plan_id = watched.unfinished().await.unwrap().remove(0);
    let writes = shop.writes().len();
    for error in [
        watched.resume(&plan_id).await.unwrap_err(),
        watched.execute(later).await.unwrap_err(),
    ] {
        assert!(matches!(error, RemediatorError::Halted { .. }), "{error:?}");
    }
    assert_eq!(shop.writes().len(), writes);
    watched.lift_halt();
    // The observer pulls it after each step: four starts for three steps.
    let mut endings = 0;
    for _ in 0..4 {
        if let Ok(outcome) = watched.resume(&plan_id).await {
            assert_eq!(outcome.ending, Ending::Succeeded);
            endings += 1;
            break;
        }
        watched.lift_halt();
    }
    assert_eq!(endings, 1);
    assert_eq!(shop.changed().await, [true, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_can_be_taken_up_again_by_its_id() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let first = shop.remediator(Doors::new(&audit, &plans));
    let plan = first.suggest(&shop.incident()).await.unwrap();
    let plan_id = plan.plan_id().clone();
    let seen = first
        .dry_run(first.review(plan).await.unwrap())
        .await
        .unwrap()
        .digest();
    drop(first);
    // Another process: every door again, and the same digest, a restart's time included.
    let second = shop.remediator(Doors::new(&audit, &plans));
    let plan = second.plan(&plan_id).await.unwrap().unwrap();
    let dry_run = second
        .dry_run(second.review(plan).await.unwrap())
        .await
        .unwrap();
    assert_eq!(dry_run.digest(), seen);
    shop.patch(NAMES[1], json!({ "spec": { "minReadySeconds": 1 } }))
        .await;
    let plan = second.plan(&plan_id).await.unwrap().unwrap();
    let dry_run = second
        .dry_run(second.review(plan).await.unwrap())
        .await
        .unwrap();
    assert_ne!(dry_run.digest(), seen, "another object is another approval");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rescan_of_a_resumed_plan_compares_with_before_it_began() {
    let shop = Shop::broken().await;
    let (audit, plans) = (MemoryAudit::failing_from(8), MemoryPlans::default());
    shop.walk(&audit, &plans, &[], usize::MAX).await;
    let audit = audit.restarted();
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let plan_id = remediator.unfinished().await.unwrap().remove(0);
    let outcome = remediator.resume(&plan_id).await.unwrap();
    let rescan = outcome.rescan.unwrap();
    assert_eq!(rescan.recovery, Recovery::Resolved, "{rescan:?}");
    assert!(!rescan.fixed.is_empty());
}

/// An execution that is under way is no prey of a resume in the same process.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_under_way_is_not_resumed() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let approved = shop.approved(&remediator).await;
    let mut execution = pin!(remediator.execute(approved));
    poll_fn(|context| {
        let done = execution.as_mut().poll(context).is_ready();
        let begun = audit
            .all()
            .iter()
            .any(|record| record.entry.event == AuditEvent::StepIntended);
        assert!(!done);
        if begun {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let plan_id = remediator.unfinished().await.unwrap().remove(0);
    let error = remediator.resume(&plan_id).await.unwrap_err();
    assert!(matches!(error, RemediatorError::Busy { .. }), "{error:?}");
    assert_eq!(execution.await.unwrap().ending, Ending::Succeeded);
}

/// The trail is gone while a plan is undone: the steps that stand are named, and a resume with the trail back ends it.
#[tokio::test(flavor = "multi_thread")]
async fn stuck_steps_stay_stuck() {
    let shop = Shop::open().await;
    let plans = MemoryPlans::default();
    // Both undos fail; cut before the end is recorded.
    let faults = [
        (2, Fault::RefuseWrite(422)),
        (3, Fault::RefuseWrite(403)),
        (4, Fault::RefuseWrite(403)),
    ];
    let whole = MemoryAudit::new();
    shop.walk(&whole, &plans, &faults, usize::MAX).await;
    let last = whole.all().len();
    let shop = Shop::open().await;
    let audit = MemoryAudit::failing_from(last);
    shop.walk(&audit, &plans, &faults, usize::MAX).await;
    let writes = shop.writes().len();
    let ending = resume_and_check(&shop, &audit, &plans, "stuck").await;
    assert_eq!(ending, Some(Ending::Stuck));
    assert_eq!(
        shop.writes().len(),
        writes,
        "a person may be at work on what is stuck"
    );
    let statuses = step_statuses(&audit.all());
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == StepStatus::Stuck)
            .count(),
        2
    );
}

#[tokio::test]
async fn the_stores_keep_the_laws() {
    laws::plan_store(&MemoryPlans::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = FilePlans::open(folder.path().join("a/b")).await.unwrap();
    laws::plan_store(&store).await.unwrap();
    #[cfg(unix)]
    for file in std::fs::read_dir(folder.path().join("a/b")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else may read the specs");
    }
    let audit = MemoryAudit::new();
    assert!(audit.records(&Default::default()).await.unwrap().is_empty());
}
