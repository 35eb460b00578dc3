//! What did not help is not done again at once, whatever the model says.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, Scripted};
use argus_core::{
    Answer, ApprovalError, Approver, DryRun, FixOutcome, HoldBounds, Incident, IncidentId, Kube,
    Remediator, Scope, Settings,
};
use argus_policy::RegoEngine;
use async_trait::async_trait;
use serde_json::json;

struct Operator;

#[async_trait]
impl Approver for Operator {
    async fn decide(&self, _: &DryRun) -> Result<Answer, ApprovalError> {
        Ok(Answer::confirm("operator"))
    }
}

/// A model that learns nothing, an app that needs more than it suggests, and the packs.
async fn fixed_with(policy: RegoEngine) -> (FixOutcome, Vec<bool>) {
    let cluster = Cluster::start();
    let app = cluster.deployment("shop", "web", "r.example/app:1");
    app.needs_memory("300Mi")
        .memory_limit("64Mi")
        .fails_after(Duration::from_millis(300))
        .create()
        .await
        .unwrap();
    let kube = Kube::new(cluster.client_as("argus"));
    let scope = Scope::namespaces(["shop"]).unwrap();
    let findings = cluster.wait_for_findings(&kube, &scope).await.unwrap();
    let incident = Incident::new(IncidentId::new("INC-1").unwrap(), findings, None).unwrap();
    let remediator = Remediator::builder()
        .scope(scope)
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&[
            "kubectl set resources deployment/web -n shop -c app --limits=memory=128Mi",
        ]))
        .policy(policy)
        .cluster(kube)
        .audit(MemoryAudit::new())
        .hold(HoldBounds {
            min: Duration::from_millis(900),
            max: Duration::from_secs(8),
        })
        .tries(2)
        .build()
        .unwrap();
    let fixed = remediator.fix(&incident, &Operator).await.unwrap();
    let history = remediator.history(&incident).await.unwrap();
    let helped = history.iter().map(|attempt| attempt.helped()).collect();
    (fixed, helped)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_step_is_refused_for_an_hour() {
    let (fixed, helped) = fixed_with(RegoEngine::builtin().unwrap()).await;
    assert_eq!(helped, [false]);
    assert!(!fixed.resolved && fixed.left.is_some());
    let reason = "step 1 was tried less than 60 minutes ago and did not help";
    assert!(fixed.reason.contains(reason), "{}", fixed.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_allow_it_at_once() {
    let given = json!({ "again_minutes": 0 });
    let policy = RegoEngine::builtin().unwrap();
    let policy = policy.with_parameters("blast_radius", given.as_object().unwrap());
    let (_, helped) = fixed_with(policy.unwrap()).await;
    assert_eq!(helped, [false, false]);
}
