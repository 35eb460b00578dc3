//! A plan that was carried out is undone because a person wants it; the machine may die half-way there too.

use argus_core::testing::MemoryAudit;
use argus_core::testing::cluster::Fault;
use argus_core::{
    Actor, AuditEvent, Ending, MemoryPlans, OnFailure, PlanId, RemediatorError, StepStatus,
};
use serde_json::json;

use crate::resume_and_check;
use crate::shop::{Doors, NAMES, Shop};

/// A plan that was carried out.
async fn carried_out() -> (Shop, MemoryAudit, MemoryPlans, PlanId) {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let outcome = shop.walk(&audit, &plans, &[], usize::MAX).await;
    let plan_id = outcome.unwrap().unwrap().plan_id;
    assert_eq!(shop.changed().await, [true; 3]);
    (shop, audit, plans, plan_id)
}

fn not_undoable(result: &Result<argus_core::Outcome, RemediatorError>) -> bool {
    matches!(result, Err(RemediatorError::NotUndoable(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_put_back_once_in_the_name_of_who_asks() {
    let (shop, audit, plans, plan_id) = carried_out().await;
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let remediator = remediator.asked_by(Actor::user("grace").unwrap());
    let outcome = remediator.undo(&plan_id).await.unwrap();
    assert!(outcome.success, "{outcome:?}");
    assert_eq!(outcome.ending, Ending::Undone);
    assert_eq!(outcome.steps, [StepStatus::Undone; 3]);
    shop.check(&audit.all(), Some(Ending::Undone), "undone")
        .await;

    let records = audit.all();
    let asked = records
        .iter()
        .position(|record| record.entry.event == AuditEvent::UndoAsked);
    let undo = &records[asked.unwrap()..];
    assert!(
        undo.iter()
            .all(|record| record.entry.requested_by == Actor::user("grace").unwrap())
    );
    // Newest first.
    let order: Vec<usize> = undo
        .iter()
        .filter_map(|record| match record.entry.event {
            AuditEvent::UndoIntended => record.entry.step,
            _ => None,
        })
        .collect();
    assert_eq!(order, [2, 1, 0]);

    assert!(not_undoable(&remediator.undo(&plan_id).await));
    assert_eq!(
        audit.all().len(),
        records.len(),
        "a refusal leaves no record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_cut_after_every_record_of_the_undo() {
    for more in 0.. {
        let what = format!("the log cut after record {more} of the undo");
        let (shop, audit, plans, plan_id) = carried_out().await;
        let audit = audit.restarted_failing_from(audit.all().len() + more + 1);
        let remediator = shop.remediator(Doors::new(&audit, &plans));
        let cut = match remediator.undo(&plan_id).await {
            Ok(outcome) => {
                assert_eq!(outcome.ending, Ending::Undone);
                false
            }
            Err(RemediatorError::Audit { standing, .. }) => {
                // Nobody knows of an undo whose record failed, so its step counts as standing.
                assert!(standing <= 3, "{what}");
                true
            }
            Err(other) => panic!("{what}: {other}"),
        };
        let resumed = resume_and_check(&shop, &audit, &plans, &what).await;
        // Without the first record nothing was begun.
        let begun = cut && more > 0;
        assert_eq!(resumed, begun.then_some(Ending::Undone), "{what}");
        let expected = if cut && more == 0 {
            [true; 3]
        } else {
            [false; 3]
        };
        assert_eq!(shop.changed().await, expected, "{what}");
        if !cut {
            assert!(more >= 9, "{more} records");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_since_stays_as_they_left_it() {
    let (shop, audit, plans, plan_id) = carried_out().await;
    let theirs = json!({ "spec": { "replicas": 5 } });
    shop.patch(NAMES[1], theirs).await;
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let outcome = remediator.undo(&plan_id).await.unwrap();
    assert!(!outcome.success);
    assert_eq!(outcome.ending, Ending::Stuck);
    let stuck = [StepStatus::Undone, StepStatus::Stuck, StepStatus::Undone];
    assert_eq!(outcome.steps, stuck);
    assert_eq!(shop.get(NAMES[1]).await.spec.unwrap().replicas, Some(5));
    assert!(
        outcome.output.contains("at spec.replicas"),
        "{}",
        outcome.output
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_of_the_undo_refused_in_turn() {
    for nth in 0..3 {
        let (shop, audit, plans, plan_id) = carried_out().await;
        shop.cluster.inject(nth, Fault::RefuseWrite(403));
        let remediator = shop.remediator(Doors::new(&audit, &plans));
        let outcome = remediator.undo(&plan_id).await.unwrap();
        assert_eq!(outcome.ending, Ending::Stuck, "write {nth}");
        let mut expected = [StepStatus::Undone; 3];
        expected[2 - nth] = StepStatus::Stuck;
        assert_eq!(outcome.steps, expected, "write {nth}");
        // What is put back can't be asked for again; what is stuck is a person's.
        assert!(not_undoable(&remediator.undo(&plan_id).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_stands_can_be_undone() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let plan = remediator.suggest(&shop.incident()).await.unwrap();
    assert!(not_undoable(&remediator.undo(plan.plan_id()).await));

    // One that went back by itself.
    let refused = [(2, Fault::RefuseWrite(422))];
    let outcome = shop.walk(&audit, &plans, &refused, usize::MAX).await;
    let outcome = outcome.unwrap().unwrap();
    assert_eq!(outcome.ending, Ending::Undone);
    assert!(not_undoable(&remediator.undo(&outcome.plan_id).await));

    // One that is cut off is resumed, not undone.
    let audit = MemoryAudit::failing_from(7);
    shop.walk(&audit, &plans, &[], usize::MAX).await;
    let audit = audit.restarted();
    let remediator = shop.remediator(Doors::new(&audit, &plans));
    let cut_off = remediator.unfinished().await.unwrap().remove(0);
    assert!(not_undoable(&remediator.undo(&cut_off).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_at_failures_still_undoes_what_it_is_asked_to() {
    let (shop, audit, plans, plan_id) = carried_out().await;
    let doors = Doors::new(&audit, &plans);
    let remediator = shop.remediator_that(doors, OnFailure::Stop);
    let outcome = remediator.undo(&plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Undone);
    assert_eq!(shop.changed().await, [false; 3]);

    remediator.halt();
    let halted = remediator.undo(&plan_id).await;
    assert!(matches!(halted, Err(RemediatorError::Halted { .. })));
}
