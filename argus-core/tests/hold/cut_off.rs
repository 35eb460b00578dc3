//! The machine dies while it is watched, anywhere: the next start watches on, and nobody believes what nobody saw.

use std::time::Duration;

use argus_core::testing::MemoryAudit;
use argus_core::{AuditEvent, Ending, Outcome, Recovery, RemediatorError};
use tokio::time::{Instant, timeout};

use crate::app::{Comes, Fault, HOLD, Host, pass};
use crate::recovery;

/// Whether `kind` is of the hold.
fn is_of_hold(kind: AuditEvent) -> bool {
    use AuditEvent::{Held, Holding, Regressed, Relapsed};
    matches!(kind, Holding | Held | Relapsed | Regressed)
}

/// Another process on the same trail.
fn restarted(host: Host, audit: MemoryAudit) -> Host {
    Host { audit, ..host }
}

async fn resume(host: &Host) -> Option<Outcome> {
    let remediator = host.remediator();
    let plan_id = remediator.unfinished().await.unwrap().pop()?;
    let outcome = remediator.resume(&plan_id).await.unwrap();
    assert!(remediator.unfinished().await.unwrap().is_empty());
    Some(outcome)
}

/// Ends after each record in turn, is taken up again after `away`, and comes to what it would have come to.
async fn cut_after_every_record(comes: Comes, away: Duration, ends: (Recovery, Ending)) -> usize {
    let mut in_the_hold = 0;
    for whole in 5.. {
        let what = format!("{comes:?}, cut after record {whole}, away for {away:?}");
        let host = Host {
            audit: MemoryAudit::failing_from(whole + 1),
            ..Host::new(comes)
        };
        let remediator = host.remediator();
        let approved = host.approved(&remediator).await;
        match remediator.execute(approved).await {
            Err(RemediatorError::Audit { .. }) => {}
            Ok(outcome) => {
                assert_eq!((recovery(&outcome), outcome.ending), ends, "{what}");
                return in_the_hold;
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
        let last = host.audit.all().last().unwrap().entry.event;
        in_the_hold += usize::from(is_of_hold(last));
        pass(away).await;
        let audit = host.audit.restarted();
        let host = restarted(host, audit);
        let outcome = resume(&host).await.unwrap_or_else(|| panic!("{what}"));
        assert_eq!(
            (recovery(&outcome), outcome.ending),
            ends,
            "{what}: {outcome:?}"
        );
        assert_eq!(host.app.stands(), ends.1 == Ending::Succeeded, "{what}");
    }
    panic!("it never came to its end")
}

#[tokio::test(start_paused = true)]
async fn the_trail_cut_after_every_record() {
    let at_90 = Duration::from_millis(14_400);
    let resolved = (Recovery::Resolved, Ending::Succeeded);
    let relapsed = (Recovery::Relapsed, Ending::Undone);
    let mut cuts = 0;
    for (comes, ends) in [
        (None, resolved),
        (Some((at_90, Fault::Same)), relapsed),
        (Some((at_90, Fault::Restart)), relapsed),
        (
            Some((at_90, Fault::Other)),
            (Recovery::Regressed, Ending::Undone),
        ),
    ] {
        cuts += cut_after_every_record(comes, Duration::ZERO, ends).await;
    }
    assert_eq!(cuts, 8, "both records of each hold");
}

/// The fault comes, and goes, while nobody looks: the trail has how often it had failed when the watching began.
#[tokio::test(start_paused = true)]
async fn what_happened_while_nobody_looked_is_seen_afterwards() {
    for (fault, ends) in [
        (Fault::Same, Recovery::Relapsed),
        (Fault::Restart, Recovery::Relapsed),
        (Fault::Other, Recovery::Regressed),
        (Fault::Silent, Recovery::Relapsed),
        (Fault::Neighbour, Recovery::Regressed),
        (Fault::NeighbourSilent, Recovery::Regressed),
    ] {
        let host = Host::new(Some((Duration::from_secs(8), fault)));
        let remediator = host.remediator();
        let approved = host.approved(&remediator).await;
        let execution = remediator.execute(approved);
        // Dropped in the hold, as by a crash.
        let cut = timeout(Duration::from_secs(5), execution).await;
        assert!(cut.is_err());
        assert_eq!(
            host.audit.all().last().unwrap().entry.event,
            AuditEvent::Holding
        );
        pass(Duration::from_secs(3600)).await;
        let outcome = resume(&host).await.unwrap();
        assert_eq!(recovery(&outcome), ends, "{fault:?}: {outcome:?}");
        assert_eq!(outcome.ending, Ending::Undone, "{fault:?}");
        assert!(!host.app.stands(), "{fault:?}");
    }
}

/// Time that nobody watched proves nothing: it is watched again, for what was left and for the shortest time at least.
#[tokio::test(start_paused = true)]
async fn a_hold_is_taken_up_again() {
    let host = Host::new(None);
    let remediator = host.remediator();
    let approved = host.approved(&remediator).await;
    let cut = timeout(Duration::from_secs(5), remediator.execute(approved)).await;
    assert!(cut.is_err());
    let until = host
        .record(AuditEvent::Holding)
        .unwrap()
        .entry
        .hold
        .unwrap()
        .until;
    let began = Instant::now();
    let outcome = resume(&host).await.unwrap();
    // The clock of the trail did not move while the test's did, so all of the time was left.
    let took = began.elapsed();
    assert!(
        took <= HOLD && took > HOLD - Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(recovery(&outcome), Recovery::Resolved, "{outcome:?}");
    let again = host.record(AuditEvent::Holding).unwrap().entry;
    assert!(
        again.hold.unwrap().until
            >= until
                .checked_sub(jiff::SignedDuration::from_secs(1))
                .unwrap()
    );
    assert!(
        again
            .outcome
            .unwrap()
            .contains("nobody watched while Argus was away")
    );
}

/// An undo that is cut off after a hold that held is no fix when it is taken up.
#[tokio::test(start_paused = true)]
async fn an_undo_after_a_hold_resolves_nothing() {
    for more in 1..6 {
        let host = Host::new(None);
        let remediator = host.remediator();
        let approved = host.approved(&remediator).await;
        let outcome = remediator.execute(approved).await.unwrap();
        assert_eq!(recovery(&outcome), Recovery::Resolved);
        let audit = host
            .audit
            .restarted_failing_from(host.audit.all().len() + more);
        let host = restarted(host, audit);
        let _ = host.remediator().undo(&outcome.plan_id).await;
        let audit = host.audit.restarted();
        let host = restarted(host, audit);
        if let Some(outcome) = resume(&host).await {
            assert_eq!(
                recovery(&outcome),
                Recovery::Persists,
                "{more}: {outcome:?}"
            );
            assert_eq!(outcome.ending, Ending::Undone);
        } else {
            assert_eq!(more, 1, "only where nothing was asked for yet");
        }
    }
}
