//! Whatever changes between two records of an execution, of its undo or of its resume: nothing that no longer holds is written.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argus_core::testing::MemoryAudit;
use argus_core::testing::cluster::Fault;
use argus_core::{
    AuditEvent, AuditRecord, Ending, MemoryPlans, OnFailure, PlanId, Remediator, RemediatorError,
    StepStatus,
};

use crate::shop::{Change, Doors, Says, Shop, made};

/// Something that is pulled right after a record, counted from 1 from the first record of the execution, the undo or the resume.
struct Trap {
    remediator: Arc<OnceLock<Remediator>>,
    /// How many writes had been made then; none if there were fewer records.
    made: Arc<OnceLock<usize>>,
    records: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Pull {
    Halt,
    Policy(Change),
}

fn trapped(shop: &Shop, audit: &MemoryAudit, plans: &MemoryPlans, at: usize, pull: Pull) -> Trap {
    let (remediator, caught) = (Arc::new(OnceLock::<Remediator>::new()), Arc::default());
    let (says, records) = (Says::default(), Arc::new(AtomicUsize::new(0)));
    let (handle, seen, counted) = (
        Arc::clone(&remediator),
        Arc::clone(&caught),
        Arc::clone(&records),
    );
    let (cluster, switch) = (shop.cluster.clone(), says.clone());
    let observer = move |record: &AuditRecord| {
        use AuditEvent::{Asked, DryRun, Permitted, Suggested};
        if matches!(record.entry.event, Asked | Suggested | Permitted | DryRun) {
            return;
        }
        if counted.fetch_add(1, Ordering::SeqCst) + 1 != at {
            return;
        }
        let _ = OnceLock::<usize>::set(&seen, made(&cluster));
        match pull {
            Pull::Halt => handle.get().unwrap().halt(),
            Pull::Policy(change) => switch.begin(change),
        }
    };
    let built = shop.remediator(Doors {
        says,
        observer: Some(Box::new(observer)),
        ..Doors::new(audit, plans)
    });
    remediator
        .set(built)
        .unwrap_or_else(|_| panic!("set twice"));
    Trap {
        remediator,
        made: caught,
        records,
    }
}

impl Trap {
    fn remediator(&self) -> &Remediator {
        self.remediator.get().unwrap()
    }

    fn made(&self, what: &str) -> usize {
        *self
            .made
            .get()
            .unwrap_or_else(|| panic!("{what}: no such record"))
    }
}

/// Of the twelve records of an execution, how many steps are applied when that record stands.
const APPLIED: [usize; 12] = [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3];

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_after_each_record_of_an_execution() {
    for (at, applied) in (1..).zip(APPLIED) {
        let what = format!("halted after record {at}");
        let shop = Shop::open().await;
        let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
        let trap = trapped(&shop, &audit, &plans, at, Pull::Halt);
        let approved = shop.approved(trap.remediator()).await;
        let result = trap.remediator().execute(approved).await;
        assert_eq!(trap.made(&what), applied, "{what}");
        assert_eq!(shop.made(), applied, "{what}: something was written");
        if applied == 3 {
            assert_eq!(result.unwrap().ending, Ending::Succeeded, "{what}");
            continue;
        }
        match result {
            Err(RemediatorError::Halted { standing }) => assert_eq!(standing, applied, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        // It isn't lost: it goes on where it stopped.
        trap.remediator().lift_halt();
        let plan_id = trap.remediator().unfinished().await.unwrap().remove(0);
        let outcome = trap.remediator().resume(&plan_id).await.unwrap();
        assert_eq!(outcome.ending, Ending::Succeeded, "{what}");
        assert_eq!(shop.made(), 3, "{what}");
        shop.check(&audit.all(), Some(Ending::Succeeded), &what)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_changes_after_each_record_of_an_execution() {
    for change in Change::ALL {
        for (at, applied) in (1..).zip(APPLIED) {
            let what = format!("{change:?} after record {at}");
            let shop = Shop::open().await;
            let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
            let trap = trapped(&shop, &audit, &plans, at, Pull::Policy(change));
            let approved = shop.approved(trap.remediator()).await;
            let result = trap.remediator().execute(approved).await;
            assert_eq!(trap.made(&what), applied, "{what}");
            let after = shop.made() - applied;
            match (applied, result) {
                (3, Ok(outcome)) => {
                    assert_eq!((outcome.ending, after), (Ending::Succeeded, 0), "{what}");
                }
                (0, Err(RemediatorError::Stale { .. })) => {
                    assert_eq!(after, 0, "{what}");
                    assert_eq!(shop.changed().await, [false; 3], "{what}");
                }
                (1 | 2, Ok(outcome)) if change.lets_undo() => {
                    assert_eq!((outcome.ending, after), (Ending::Undone, applied), "{what}");
                    assert_eq!(shop.changed().await, [false; 3], "{what}");
                }
                (1 | 2, Ok(outcome)) => {
                    assert_eq!((outcome.ending, after), (Ending::Stuck, 0), "{what}");
                    let stuck = |status: &&StepStatus| **status == StepStatus::Stuck;
                    let stuck = outcome.steps.iter().filter(stuck).count();
                    assert_eq!(stuck, applied, "{what}");
                    let told = outcome.output.contains("a person has to look");
                    assert!(told, "{what}: {}", outcome.output);
                }
                (_, other) => panic!("{what}: {other:?}"),
            }
            let open = trap.remediator().unfinished().await.unwrap();
            assert!(open.is_empty(), "{what}: {open:?}");
        }
    }
}

/// A plan that was carried out, by another remediator.
async fn carried_out(shop: &Shop, audit: &MemoryAudit, plans: &MemoryPlans) -> PlanId {
    let outcome = shop.walk(audit, plans, &[], usize::MAX).await;
    let outcome = outcome.unwrap().unwrap();
    assert_eq!((outcome.ending, shop.made()), (Ending::Succeeded, 3));
    outcome.plan_id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_after_each_record_of_an_undo() {
    for (at, undone) in (1..).zip([0, 0, 1, 1, 2, 2, 3, 3, 3]) {
        let what = format!("halted after record {at} of the undo");
        let shop = Shop::open().await;
        let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
        let plan_id = carried_out(&shop, &audit, &plans).await;
        let trap = trapped(&shop, &audit, &plans, at, Pull::Halt);
        let result = trap.remediator().undo(&plan_id).await;
        assert_eq!(shop.made() - 3, undone, "{what}: something was written");
        if undone == 3 {
            assert_eq!(result.unwrap().ending, Ending::Undone, "{what}");
            continue;
        }
        match result {
            Err(RemediatorError::Halted { standing }) => assert_eq!(standing, 3 - undone, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        trap.remediator().lift_halt();
        let outcome = trap.remediator().resume(&plan_id).await.unwrap();
        assert_eq!((outcome.ending, shop.made()), (Ending::Undone, 6), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_changes_after_each_record_of_an_undo() {
    for change in [Change::Freeze, Change::RefuseAll, Change::Replace] {
        for (at, undone) in (1..).zip([0, 0, 1, 1, 2, 2, 3, 3, 3]) {
            let what = format!("{change:?} after record {at} of the undo");
            let shop = Shop::open().await;
            let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
            let plan_id = carried_out(&shop, &audit, &plans).await;
            let trap = trapped(&shop, &audit, &plans, at, Pull::Policy(change));
            let outcome = trap.remediator().undo(&plan_id).await.unwrap();
            // An undo needs no approval that still holds, only that it is permitted itself.
            let expected = if change.lets_undo() || undone == 3 {
                (Ending::Undone, 3)
            } else {
                (Ending::Stuck, undone)
            };
            assert_eq!((outcome.ending, shop.made() - 3), expected, "{what}");
        }
    }
}

/// An execution that was cut off after so many of its own records; five stand before its first intent.
async fn cut_off(shop: &Shop, whole: usize) -> (MemoryAudit, MemoryPlans) {
    let (audit, plans) = (MemoryAudit::failing_from(whole + 5), MemoryPlans::default());
    let result = shop.walk(&audit, &plans, &[], usize::MAX).await;
    assert!(matches!(result, Some(Err(RemediatorError::Audit { .. }))));
    (audit.restarted(), plans)
}

#[tokio::test(flavor = "multi_thread")]
async fn something_changes_after_each_record_of_a_resume() {
    let changes = [Change::Freeze, Change::RefuseAll, Change::Replace];
    for pull in changes.map(Pull::Policy).into_iter().chain([Pull::Halt]) {
        for whole in [1, 2, 4] {
            for at in 1.. {
                let what = format!("{pull:?}, cut after {whole} records, after {at} of the resume");
                let shop = Shop::open().await;
                let (audit, plans) = cut_off(&shop, whole).await;
                let trap = trapped(&shop, &audit, &plans, at, pull);
                let plan_id = trap.remediator().unfinished().await.unwrap().remove(0);
                let result = trap.remediator().resume(&plan_id).await;
                if trap.records.load(Ordering::SeqCst) < at {
                    assert!(at > 3, "{what}");
                    break;
                }
                let applied = trap.made(&what);
                let after = shop.made() - applied;
                let changed = shop.changed().await;
                match (pull, applied) {
                    (_, 3) => {
                        assert_eq!(after, 0, "{what}");
                        assert_eq!(changed, [true; 3], "{what}");
                    }
                    (Pull::Halt, _) => {
                        assert_eq!(after, 0, "{what}");
                        let halted = matches!(result, Err(RemediatorError::Halted { .. }));
                        assert!(halted, "{what}: {result:?}");
                    }
                    (Pull::Policy(change), _) if change.lets_undo() => {
                        assert_eq!(after, applied, "{what}");
                        assert_eq!(changed, [false; 3], "{what}");
                    }
                    (Pull::Policy(_), _) => assert_eq!(after, 0, "{what}"),
                }
            }
        }
    }
}

/// The host was restarted with other settings, or another one takes the plan up.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_with_other_settings_or_another_scope() {
    for whole in 1..12 {
        let written = [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3];
        let what = format!("cut after {whole} records");
        let shop = Shop::open().await;
        let (audit, plans) = cut_off(&shop, whole).await;
        let made = shop.made();
        assert_eq!(Some(&made), written.get(whole - 1), "{what}");
        let off = shop.remediator(Doors {
            enabled: false,
            ..Doors::new(&audit, &plans)
        });
        let plan_id = off.unfinished().await.unwrap().remove(0);
        let disabled = off.resume(&plan_id).await;
        assert!(matches!(disabled, Err(RemediatorError::Disabled)), "{what}");

        let elsewhere = shop.remediator(Doors {
            scope: "other",
            ..Doors::new(&audit, &plans)
        });
        let outcome = elsewhere.resume(&plan_id).await.unwrap();
        assert_eq!(shop.made(), made, "{what}: written outside of the scope");
        // Nothing was intended, something may stand, or nothing is left to be written.
        let ending = match whole {
            1 => Ending::Undone,
            2..=8 => Ending::Stuck,
            _ => Ending::Succeeded,
        };
        assert_eq!(outcome.ending, ending, "{what}: {outcome:?}");
        if ending == Ending::Stuck {
            let why = "a person has to look: deployment/";
            assert!(outcome.output.contains(why), "{what}: {}", outcome.output);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_another_scope_is_refused_before_any_record() {
    let shop = Shop::open().await;
    let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
    let wide = shop.remediator(Doors::new(&audit, &plans));
    let narrow = shop.remediator(Doors {
        scope: "other",
        ..Doors::new(&audit, &plans)
    });
    let approved = shop.approved(&wide).await;
    let error = narrow.execute(approved).await.unwrap_err();
    assert!(error.is_denied(), "{error:?}");
    let last = audit.all().pop().unwrap();
    assert_eq!(last.entry.event, AuditEvent::Denied);
    assert_eq!(shop.made(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_began_since_the_dry_run_refuses_the_plan() {
    for change in [Change::Freeze, Change::FreezeObjects] {
        let shop = Shop::open().await;
        let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
        let says = Says::default();
        let remediator = shop.remediator(Doors {
            says: says.clone(),
            ..Doors::new(&audit, &plans)
        });
        let approved = shop.approved(&remediator).await;
        says.begin(change);
        let error = remediator.execute(approved).await.unwrap_err();
        assert!(error.is_denied(), "{error:?}");
        assert_eq!(shop.made(), 0);
    }
}

/// The switch is pulled while the executor waits to try again.
#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_between_two_tries() {
    for is_undo in [false, true] {
        let shop = Shop::open().await;
        let (audit, plans) = (MemoryAudit::new(), MemoryPlans::default());
        let remediator = shop.remediator_that(Doors::new(&audit, &plans), OnFailure::Undo);
        let approved = shop.approved(&remediator).await;
        let nth = if is_undo { 3 } else { 0 };
        for again in nth..nth + 5 {
            shop.cluster.inject(again, Fault::RefuseWrite(503));
        }
        let failed = || {
            let writes = shop.writes();
            writes.iter().filter(|write| write.code == 503).count()
        };
        let pull = async {
            while failed() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            remediator.halt();
        };
        let halted = async {
            let plan_id = approved.plan().plan_id().clone();
            match remediator.execute(approved).await {
                Ok(outcome) if is_undo => {
                    assert_eq!(outcome.ending, Ending::Succeeded);
                    remediator.undo(&plan_id).await
                }
                other => other,
            }
        };
        let (result, ()) = futures::join!(halted, pull);
        let standing = if is_undo { 3 } else { 1 };
        match result {
            Err(RemediatorError::Halted { standing: left }) => assert_eq!(left, standing),
            other => panic!("{other:?}"),
        }
        assert_eq!(failed(), 1, "it was tried again after the kill switch");
        assert_eq!(shop.made(), nth);
    }
}
