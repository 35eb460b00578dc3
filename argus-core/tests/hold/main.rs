//! Fixed means it held: nothing is resolved before the fault had the time to come back, and what comes back is undone.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod app;
mod cut_off;
mod in_memory;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use app::{Comes, Fault, HOLD, Host, pass};
use argus_core::{
    AuditEvent, Ending, HoldBounds, OnFailure, Outcome, Recovery, Remediator, StepStatus,
};
use tokio::time::Instant;

const AT_90_PERCENT: Duration = Duration::from_millis(14_400);
const AT_110_PERCENT: Duration = Duration::from_millis(17_600);

fn recovery(outcome: &Outcome) -> Recovery {
    outcome.rescan.as_ref().unwrap().recovery
}

async fn run(host: &Host) -> Outcome {
    let remediator = host.remediator();
    let approved = host.approved(&remediator).await;
    remediator.execute(approved).await.unwrap()
}

/// One host that is told of changes, and one that has to look.
fn hosts(comes: Comes) -> [Host; 2] {
    [true, false].map(|is_told| Host {
        is_told,
        ..Host::new(comes)
    })
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_at_90_percent_is_undone() {
    use AuditEvent::{
        Approved, Finished, Holding, Relapsed, Rescanned, StepApplied, StepIntended, StepSettled,
        StepUndone, UndoIntended,
    };
    for host in hosts(Some((AT_90_PERCENT, Fault::Same))) {
        let outcome = run(&host).await;
        assert_eq!(recovery(&outcome), Recovery::Relapsed, "{outcome:?}");
        assert_eq!(
            (outcome.ending, outcome.success),
            (Ending::Undone, false),
            "{outcome:?}"
        );
        let error = "the fault came back while it was watched: web: oom_killed";
        assert_eq!(outcome.error.as_deref(), Some(error));
        assert!(!host.app.stands());
        assert_eq!(
            host.events(),
            [
                Approved,
                StepIntended,
                StepApplied,
                StepSettled,
                Holding,
                Relapsed,
                UndoIntended,
                StepUndone,
                Rescanned,
                Finished
            ]
        );
        let summary = outcome.summary().unwrap();
        assert_eq!(
            summary,
            "It came back while it was watched. Remaining: 2 issues still present."
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_at_110_percent_was_resolved() {
    use AuditEvent::{
        Approved, Finished, Held, Holding, Rescanned, StepApplied, StepIntended, StepSettled,
    };
    for host in hosts(Some((AT_110_PERCENT, Fault::Same))) {
        let began = Instant::now();
        let outcome = run(&host).await;
        assert_eq!(began.elapsed(), HOLD);
        assert_eq!(recovery(&outcome), Recovery::Resolved, "{outcome:?}");
        assert_eq!((outcome.ending, outcome.success), (Ending::Succeeded, true));
        assert!(host.app.stands());
        assert_eq!(
            host.events(),
            [
                Approved,
                StepIntended,
                StepApplied,
                StepSettled,
                Holding,
                Held,
                Rescanned,
                Finished
            ]
        );
        let summary = outcome.summary().unwrap();
        assert_eq!(
            summary,
            "Fixed: 1 issue resolved. Remaining: 1 issue still present."
        );
        let lines: Vec<&str> = outcome.output.lines().collect();
        let (watching, held) = (lines.get(1).unwrap(), lines.get(2).unwrap());
        assert!(
            watching.starts_with("It runs. Watching until "),
            "{watching}"
        );
        let why = " UTC whether it stays so: before, it failed after 8 seconds.";
        assert!(watching.ends_with(why), "{watching}");
        assert_eq!(*held, "It stayed so for 16 seconds.");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_hold_nothing_is_resolved() {
    let host = Host {
        hold: HoldBounds {
            max: Duration::ZERO,
            ..HoldBounds::default()
        },
        ..Host::new(None)
    };
    let outcome = run(&host).await;
    assert_eq!(recovery(&outcome), Recovery::Unproven, "{outcome:?}");
    assert_eq!((outcome.ending, outcome.success), (Ending::Succeeded, true));
    let summary = outcome.summary().unwrap();
    assert_eq!(
        summary,
        "Gone for now: 1 issue. Nobody watched whether that stays so. Remaining: 1 issue still present."
    );
    let events = host.events();
    assert!(!events.contains(&AuditEvent::Holding), "{events:?}");
    let finished = host.record(AuditEvent::Finished).unwrap().entry.outcome;
    assert_eq!(
        finished.as_deref(),
        Some("succeeded: done, and nobody watched whether it stays so")
    );
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_ends_the_watching() {
    let host = Host::new(None);
    let switch: Arc<OnceLock<Remediator>> = Arc::default();
    let remediator = switch.get_or_init(|| host.remediator()).clone();
    let approved = host.approved(&remediator).await;
    let handle = Arc::clone(&switch);
    let began = Instant::now();
    tokio::spawn(async move {
        pass(Duration::from_secs(5)).await;
        handle.get().unwrap().halt();
    });
    let outcome = remediator.execute(approved).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(recovery(&outcome), Recovery::Unproven, "{outcome:?}");
    assert_eq!((outcome.ending, outcome.success), (Ending::Succeeded, true));
    assert!(host.app.stands(), "what was done stands");
    assert!(remediator.unfinished().await.unwrap().is_empty());
    assert!(!host.events().contains(&AuditEvent::Held));
    // Nothing is written while it is pulled; then it can be undone.
    assert!(remediator.undo(&outcome.plan_id).await.is_err());
    remediator.lift_halt();
    let undone = remediator.undo(&outcome.plan_id).await.unwrap();
    assert_eq!(undone.ending, Ending::Undone);
    assert_ne!(recovery(&undone), Recovery::Resolved);
    assert!(!host.app.stands());
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_before_the_watching_leaves_it_unproven() {
    let host = Host::new(None);
    let switch: Arc<OnceLock<Remediator>> = Arc::default();
    let handle = Arc::clone(&switch);
    let built = host.observed(Box::new(move |record| {
        if record.entry.event == AuditEvent::Holding {
            handle.get().unwrap().halt();
        }
    }));
    let remediator = switch.get_or_init(|| built).clone();
    let approved = host.approved(&remediator).await;
    let began = Instant::now();
    let outcome = remediator.execute(approved).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(recovery(&outcome), Recovery::Unproven, "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn each_way_of_not_holding_is_told_apart() {
    let silent = "fewer copies of Deployment/web in namespace shop answer than before";
    for (fault, recovery_of, error) in [
        (
            Fault::Restart,
            Recovery::Relapsed,
            "a container of Deployment/web in namespace shop failed while it was watched, and was started again",
        ),
        (
            Fault::Other,
            Recovery::Regressed,
            "something else went wrong with it: web: crash_loop",
        ),
        (Fault::Silent, Recovery::Relapsed, silent),
    ] {
        for host in hosts(Some((AT_90_PERCENT, fault))) {
            let outcome = run(&host).await;
            assert_eq!(recovery(&outcome), recovery_of, "{fault:?}: {outcome:?}");
            assert_eq!(outcome.ending, Ending::Undone, "{fault:?}");
            assert_eq!(outcome.error.as_deref(), Some(error), "{fault:?}");
            assert!(!host.app.stands(), "{fault:?}");
        }
    }
}

/// What worked beside the app has to go on working, from before the plan to the end of the hold.
#[tokio::test(start_paused = true)]
async fn what_breaks_beside_it_is_named_and_undone() {
    for (fault, error) in [
        (
            Fault::Neighbour,
            "something that worked before broke: api: crash_loop",
        ),
        (
            Fault::NeighbourSilent,
            "fewer copies of Deployment/api in namespace shop answer than before",
        ),
        (
            Fault::Service,
            "something that worked before broke: front: service_selector",
        ),
    ] {
        for when in [Duration::ZERO, AT_90_PERCENT] {
            for host in hosts(Some((when, fault))) {
                let outcome = run(&host).await;
                let what = format!("{fault:?} after {when:?}: {outcome:?}");
                assert_eq!(recovery(&outcome), Recovery::Regressed, "{what}");
                assert_eq!(outcome.ending, Ending::Undone, "{what}");
                assert_eq!(outcome.error.as_deref(), Some(error), "{what}");
                assert!(!host.app.stands(), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_not_work_before_is_not_the_plans() {
    for fault in [Fault::BrokenBefore, Fault::Newcomer, Fault::Trifle] {
        for host in hosts(Some((AT_90_PERCENT, fault))) {
            let outcome = run(&host).await;
            assert_eq!(
                recovery(&outcome),
                Recovery::Resolved,
                "{fault:?}: {outcome:?}"
            );
            assert!(host.app.stands(), "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn copies_that_are_away_at_the_end_are_waited_for() {
    for host in hosts(Some((AT_90_PERCENT, Fault::SilentAWhile))) {
        let began = Instant::now();
        let outcome = run(&host).await;
        assert_eq!(recovery(&outcome), Recovery::Resolved, "{outcome:?}");
        let back = AT_90_PERCENT + Duration::from_secs(20);
        let took = began.elapsed();
        assert!(took >= back && took < back + HOLD, "{took:?}");
        let held = host
            .events()
            .iter()
            .filter(|event| **event == AuditEvent::Holding)
            .count();
        assert_eq!(held, 2, "the longer time stands in the trail too");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_leaves_what_relapsed() {
    let host = Host {
        on_failure: OnFailure::Stop,
        ..Host::new(Some((AT_90_PERCENT, Fault::Same)))
    };
    let outcome = run(&host).await;
    assert_eq!(recovery(&outcome), Recovery::Relapsed);
    assert_eq!((outcome.ending, outcome.success), (Ending::Stopped, false));
    assert_eq!(outcome.steps, [StepStatus::Settled]);
    assert!(host.app.stands());
}

/// Whoever is told of changes asks for nothing; who isn't asks three times, and both once more at the end.
#[tokio::test(start_paused = true)]
async fn how_often_the_cluster_is_asked() {
    for (host, while_held) in hosts(None).into_iter().zip([0, 3]) {
        let (seen, app) = (Arc::new(OnceLock::new()), host.app.clone());
        let (note, looked) = (Arc::clone(&seen), app.clone());
        let remediator = host.observed(Box::new(move |record| {
            if record.entry.event == AuditEvent::Holding {
                note.set(looked.looks()).unwrap();
            }
        }));
        let approved = host.approved(&remediator).await;
        remediator.execute(approved).await.unwrap();
        assert_eq!(app.looks() - seen.get().unwrap(), while_held + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_sets_the_bounds() {
    let bounds = |min, max| HoldBounds {
        min: Duration::from_secs(min),
        max: Duration::from_secs(max),
    };
    for (hold, seconds) in [(bounds(30, 60), 30), (bounds(0, 5), 5), (bounds(60, 5), 5)] {
        let host = Host {
            hold,
            ..Host::new(None)
        };
        let began = Instant::now();
        let outcome = run(&host).await;
        assert_eq!(began.elapsed(), Duration::from_secs(seconds));
        assert_eq!(recovery(&outcome), Recovery::Resolved);
        let recorded = host.held_for();
        assert!(
            recorded <= Duration::from_secs(seconds),
            "{recorded:?} of {seconds} s"
        );
    }
}
