//! The floor judges what would result, not only what a step says: also where no pack says anything.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{Incident, Kube, Remediator, RemediatorError, Risk, Scope, Settings};
use serde_json::json;

/// What becomes of a step: its risk, or the rules of the floor that refuse it and whether that was before the dry run.
async fn judged(
    step: serde_json::Value,
    allow_high_risk: bool,
) -> Result<Risk, (Vec<String>, bool)> {
    let cluster = Cluster::start();
    let web = cluster.deployment("shop", "web", "r.example/app:1");
    web.memory_limit("128Mi").create().await.unwrap();
    let draft = json!({ "summary": "s", "steps": [step], "risk_level": "low", "risk_reason": "r", "rollback_steps": [] });
    let remediator = Remediator::builder()
        .scope(Scope::namespaces(["shop"]).unwrap())
        .settings(Settings {
            enabled: true,
            allow_high_risk,
        })
        .llm(Scripted::new(draft.to_string()))
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(cluster.client()))
        .audit(MemoryAudit::new())
        .build()
        .unwrap();
    let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
    let refused = |error: RemediatorError, before: bool| match error {
        RemediatorError::Denied { evaluation, .. } => {
            let violations = evaluation.violations.into_iter();
            let mut ids: Vec<String> = violations.map(|violation| violation.id).collect();
            ids.dedup();
            (ids, before)
        }
        other => panic!("{other:?}"),
    };
    let plan = remediator.suggest(&incident).await.unwrap();
    let permitted = remediator.review(plan).await;
    let permitted = permitted.map_err(|error| refused(error, true))?;
    let dry_run = remediator.dry_run(permitted).await;
    let dry_run = dry_run.map_err(|error| refused(error, false))?;
    Ok(dry_run.risk_level())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_result_is_judged_without_any_pack() {
    let image = |image: &str| json!({ "description": "d", "command": format!("kubectl set image deployment/web app={image} -n shop") });
    let patch = |spec: serde_json::Value| {
        let target = json!({ "kind": "Deployment", "namespace": "shop", "name": "web" });
        let patch = json!({ "spec": { "template": { "spec": spec } } });
        json!({ "description": "d", "action": { "kind": "patch", "target": target, "patch_type": "strategic", "patch": patch } })
    };
    let refused = |id: &str, before: bool| Err((vec![id.to_owned()], before));
    // Only the object knows which repository ran before.
    assert_eq!(
        judged(image("r.example/app:2"), false).await,
        Ok(Risk::Medium)
    );
    let other = || image("evil.example/app:2");
    assert_eq!(
        judged(other(), false).await,
        refused("floor-high-risk", false)
    );
    assert_eq!(judged(other(), true).await, Ok(Risk::High));
    // And whether a security field is weaker than it was.
    let host = || patch(json!({ "hostNetwork": true }));
    assert_eq!(
        judged(host(), false).await,
        refused("floor-high-risk", true)
    );
    assert_eq!(judged(host(), true).await, refused("floor-never", false));
}
