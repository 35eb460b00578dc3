//! An approval is used once, and what resuming goes by is what the trail says.

use argus_core::testing::MemoryAudit;
use argus_core::{
    Actor, Answer, AuditEvent, AuditSink, DryRun, Ending, MemoryPlans, PlanStore, Remediator,
    RemediatorError, StepStatus, step_statuses,
};
use serde_json::{Value, json};

use crate::shop::{Doors, Shop};

async fn dry_run(shop: &Shop, remediator: &Remediator) -> DryRun {
    let plan = remediator.suggest(&shop.incident()).await.unwrap();
    let permitted = remediator.review(plan).await.unwrap();
    remediator.dry_run(permitted).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_stands_is_not_executed_again_and_stays_undoable() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let dry_run = dry_run(&shop, &remediator).await;
    let plan_id = dry_run.plan().plan_id().clone();
    let again = dry_run.clone();
    let approved = dry_run.approve(Answer::confirm("ada")).unwrap();
    assert!(remediator.execute(approved).await.unwrap().success);

    let records = audit.all().len();
    let other = shop.remediator(Doors::new(&audit, &plans));
    for host in [&remediator, &other] {
        let approved = again.clone().approve(Answer::confirm("ada")).unwrap();
        let error = host.execute(approved).await.unwrap_err();
        assert!(error.is_stale(), "{error:?}");
        assert!(
            error.to_string().contains("stands in the cluster"),
            "{error}"
        );
    }
    assert_eq!(audit.all().len(), records, "a refusal leaves no record");

    let outcome = remediator.undo(&plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
    assert_eq!(shop.changed().await, [false; 3]);
    // Nothing of it stands now: the objects are as they were approved, so it may be carried out again, by a new approval.
    let approved = again.approve(Answer::confirm("ada")).unwrap();
    assert!(remediator.execute(approved).await.unwrap().success);
    assert_eq!(step_statuses(&audit.all()), [StepStatus::Settled; 3]);
    assert_eq!(
        remediator.undo(&plan_id).await.unwrap().ending,
        Ending::Undone
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_remediator_does_not_end_the_execution_of_the_first() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::failing_from(7), MemoryPlans::default());
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let dry_run = dry_run(&shop, &remediator).await;
    let again = dry_run.clone();
    let approved = dry_run.approve(Answer::confirm("ada")).unwrap();
    // Cut off after its first write.
    remediator.execute(approved).await.unwrap_err();
    let audit = audit.restarted();
    let other = shop.remediator(Doors::new(&audit, &plans));
    let records = audit.all().len();
    let error = other
        .execute(again.approve(Answer::confirm("grace")).unwrap())
        .await;
    let error = error.unwrap_err();
    assert!(error.is_stale(), "{error:?}");
    assert_eq!(audit.all().len(), records, "a refusal leaves no record");

    let plan_id = other.unfinished().await.unwrap().remove(0);
    assert_eq!(
        other.resume(&plan_id).await.unwrap().ending,
        Ending::Succeeded
    );
    assert_eq!(shop.made(), 3);
}

/// Two that begin in one moment: both look at the trail before either has a record there.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_remediators_that_begin_together_one_goes_on() {
    for _ in 0..8 {
        let shop = Shop::open().await;
        let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
        let remediator = shop.remediator(Doors::new(&audit, &plans));
        let other = shop.remediator(Doors::new(&audit, &plans));
        let first = dry_run(&shop, &remediator).await;
        let second = first.clone();
        let (first, second) = (
            first.approve(Answer::confirm("ada")).unwrap(),
            second.approve(Answer::confirm("ada")).unwrap(),
        );
        let results = futures::join!(remediator.execute(first), other.execute(second));
        let results = [results.0, results.1];
        let successes = results.iter().flatten().filter(|outcome| outcome.success);
        assert_eq!(successes.count(), 1, "{results:?}");
        assert!(
            results
                .iter()
                .any(|result| result.as_ref().is_err_and(RemediatorError::is_stale))
        );
        assert_eq!(shop.made(), 3);
        let finished = |event| {
            audit
                .all()
                .iter()
                .filter(|record| record.entry.event == event)
                .count()
        };
        assert_eq!(finished(AuditEvent::Finished), 1);
    }
}

/// A trail of before: its plan was executed twice, and the second time nothing was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_an_older_trail_that_was_executed_twice_is_undone() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let outcome = shop.walk(&audit, &plans, &[], usize::MAX).await;
    let plan_id = outcome.unwrap().unwrap().plan_id;
    for event in [
        AuditEvent::Approved,
        AuditEvent::StepIntended,
        AuditEvent::StepFailed,
        AuditEvent::Finished,
    ] {
        let of_first =
            |record: &&argus_core::AuditRecord| record.entry.event == AuditEvent::Approved;
        let mut entry = audit.all().iter().find(of_first).unwrap().entry.clone();
        entry.event = event;
        let of_step = matches!(event, AuditEvent::StepIntended | AuditEvent::StepFailed);
        entry.step = of_step.then_some(0);
        audit.append(entry).await.unwrap();
    }
    assert_eq!(step_statuses(&audit.all()), [StepStatus::Settled; 3]);
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let outcome = remediator.undo(&plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
    assert_eq!(shop.changed().await, [false; 3]);
}

/// Cut off between the first step's write and its record.
async fn cut_off() -> (Shop, MemoryAudit, MemoryPlans) {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::failing_from(7), MemoryPlans::default());
    shop.walk(&audit, &plans, &[], usize::MAX).await;
    (shop, audit.restarted(), plans)
}

#[tokio::test(flavor = "multi_thread")]
async fn time_approver_people_and_scan_of_a_stored_approval_can_not_be_changed() {
    let (shop, audit, plans) = cut_off().await;
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let plan_id = remediator.unfinished().await.unwrap().remove(0);
    let whole = plans.load(&plan_id).await.unwrap().unwrap();
    for (pointer, forged) in [
        ("/execution/approved_at", json!("2099-01-01T00:00:00Z")),
        ("/execution/taken_at", json!("2099-01-01T00:00:00Z")),
        ("/execution/approver/name", json!("mallory")),
        (
            "/execution/others",
            json!([{ "kind": "user", "name": "grace" }]),
        ),
        ("/execution/evaluations/0/opinions", json!([])),
        ("/execution/before/incomplete", json!(["forged"])),
    ] {
        let mut document: Value = serde_json::from_str(&whole).unwrap();
        *document
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer}")) = forged;
        plans.save(&plan_id, &document.to_string()).await.unwrap();
        let error = remediator.resume(&plan_id).await.unwrap_err();
        assert!(
            matches!(error, RemediatorError::Store(_)),
            "{pointer}: {error:?}"
        );
    }
    assert_eq!(shop.made(), 1);
    plans.save(&plan_id, &whole).await.unwrap();
    assert_eq!(
        remediator.resume(&plan_id).await.unwrap().ending,
        Ending::Succeeded
    );
}

/// A trail of before doesn't say when it was approved: what it began is undone, in the name that the trail has.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_of_an_older_trail_is_undone() {
    let (shop, audit, plans) = cut_off().await;
    let older = MemoryAudit::new();
    for mut record in audit.all() {
        record.entry.document = None;
        older.append(record.entry).await.unwrap();
    }
    let remediator = shop.remediator(Doors::new(&older, &plans));
    let plan_id = remediator.unfinished().await.unwrap().remove(0);
    let whole = plans.load(&plan_id).await.unwrap().unwrap();
    let forged = whole.replace("operator", "mallory");
    assert_ne!(forged, whole);
    plans.save(&plan_id, &forged).await.unwrap();
    let outcome = remediator.resume(&plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
    assert!(outcome.error.unwrap().contains("an older Argus"));
    assert_eq!(shop.changed().await, [false; 3]);
    let last = older.all().pop().unwrap();
    assert_eq!(last.entry.requested_by, Actor::user("operator").unwrap());
}
