//! The whole of it on a cluster that a real client talks to: an app that needs its memory only a while after its start.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, AuditEvent, Ending, HoldBounds, Incident, IncidentId, Kube, Outcome, Recovery,
    Remediator, Scope, Settings,
};

use crate::recovery;

/// An app that needs 150Mi so long after each start, and a plan that gives it so much.
async fn raised_to(memory: &str, hold: Duration) -> (Outcome, Vec<(AuditEvent, usize)>) {
    let cluster = Cluster::start();
    let app = cluster.deployment("shop", "web", "r.example/app:1");
    app.needs_memory("150Mi")
        .memory_limit("32Mi")
        .fails_after(Duration::from_millis(400))
        .create()
        .await
        .unwrap();
    let (kube, scope) = (
        Kube::new(cluster.client_as("argus")),
        Scope::namespaces(["shop"]).unwrap(),
    );
    let findings = cluster.wait_for_findings(&kube, &scope).await.unwrap();
    let incident = Incident::new(IncidentId::new("INC-1").unwrap(), findings, None).unwrap();
    let command =
        format!("kubectl set resources deployment/web -n shop -c app --limits=memory={memory}");
    let reads: Arc<Mutex<Vec<(AuditEvent, usize)>>> = Arc::default();
    let (note, counted) = (Arc::clone(&reads), cluster.clone());
    let remediator = Remediator::builder()
        .scope(scope)
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&[&command]))
        .policy(PermitAll::dangerous())
        .cluster(kube)
        .audit(MemoryAudit::new())
        .hold(HoldBounds {
            min: hold,
            max: hold,
        })
        .observe(move |record| {
            let read = counted.reads("argus");
            note.lock().unwrap().push((record.entry.event, read));
        })
        .build()
        .unwrap();
    let plan = remediator.suggest(&incident).await.unwrap();
    let permitted = remediator.review(plan).await.unwrap();
    let dry_run = remediator.dry_run(permitted).await.unwrap();
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    let outcome = remediator.execute(approved).await.unwrap();
    let reads = reads.lock().unwrap().clone();
    (outcome, reads)
}

fn reads(all: &[(AuditEvent, usize)], event: AuditEvent) -> usize {
    let mut found = all.iter().filter(|(seen, _)| *seen == event);
    found
        .next()
        .unwrap_or_else(|| panic!("no {event:?}: {all:?}"))
        .1
}

/// It would be watched for a minute; the fault comes within the first second, and nothing is waited for after that.
#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_used_late_is_no_fix() {
    let (outcome, all) = raised_to("64Mi", Duration::from_secs(60)).await;
    assert_eq!(recovery(&outcome), Recovery::Relapsed, "{outcome:?}");
    assert_eq!(outcome.ending, Ending::Undone, "{outcome:?}");
    let error = outcome.error.unwrap();
    assert!(error.contains("web runs out of memory"), "{error}");
    // The watch said so: nothing was read.
    let (holding, relapsed) = (AuditEvent::Holding, AuditEvent::Relapsed);
    assert_eq!(reads(&all, holding), reads(&all, relapsed), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn enough_memory_holds_and_nothing_is_read_meanwhile() {
    let (outcome, all) = raised_to("256Mi", Duration::from_millis(1000)).await;
    assert_eq!(recovery(&outcome), Recovery::Resolved, "{outcome:?}");
    assert_eq!(outcome.ending, Ending::Succeeded, "{outcome:?}");
    // One last look, and a look whether the change is still there.
    let read = reads(&all, AuditEvent::Held) - reads(&all, AuditEvent::Holding);
    assert!((16..=22).contains(&read), "{read}: {all:?}");
}
