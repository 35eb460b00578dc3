//! A cluster of a host's own that answers too late, or not: its write may still be made, so nobody says that it wasn't.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, AuditEvent, Ending, Incident, JsonCluster, JsonDoor, JsonRefusal, JsonRefusalKind,
    MemoryPlans, Outcome, Remediator, RemediatorError, Scope, Settings, StepStatus, step_statuses,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

#[derive(Debug, Default)]
struct State {
    replicas: u64,
    applied: usize,
    undone: usize,
}

/// A cluster of one app, which writes so long after it was asked.
#[derive(Clone)]
struct Slow {
    state: Arc<Mutex<State>>,
    after: Duration,
    /// Whether it says at once that nobody knows, and writes all the same.
    unknown: bool,
}

impl Slow {
    fn object(&self) -> Value {
        let replicas = self.state.lock().unwrap().replicas;
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "shop", "uid": "u1" }, "spec": { "replicas": replicas } })
    }
}

#[async_trait]
impl JsonDoor for Slow {
    async fn call(&self, method: &'static str, _: Value) -> Result<Value, JsonRefusal> {
        Ok(match method {
            "missing_permissions" => json!([]),
            "dry_run" => {
                let mut after = self.object();
                after["spec"]["replicas"] = 2.into();
                let write = json!({ "method": "patch", "subresource": "scale", "patch_type": "merge", "body": { "spec": { "replicas": 2 } } });
                json!({ "uid": "u1", "before": self.object(), "after": after, "write": write })
            }
            "apply" => {
                self.state.lock().unwrap().applied += 1;
                // A thread of the host's: it knows nothing of who waits.
                let slow = self.clone();
                let write = tokio::spawn(async move {
                    sleep(slow.after).await;
                    slow.state.lock().unwrap().replicas = 2;
                });
                if self.unknown {
                    return Err(JsonRefusal {
                        kind: JsonRefusalKind::Unknown,
                        message: "no answer".into(),
                    });
                }
                write.await.unwrap();
                self.object()
            }
            "is_in_force" => (self.state.lock().unwrap().replicas == 2).into(),
            "undo" => {
                let mut state = self.state.lock().unwrap();
                state.undone += 1;
                state.replicas = 1;
                json!("restored")
            }
            "settle" => Value::Null,
            _ => json!({ "findings": [], "workloads": [], "incomplete": [] }),
        })
    }
}

struct Host {
    cluster: Slow,
    audit: MemoryAudit,
    remediator: Remediator,
}

impl Host {
    fn new(after: u64, unknown: bool) -> Self {
        let state = State {
            replicas: 1,
            ..State::default()
        };
        let cluster = Slow {
            state: Arc::new(Mutex::new(state)),
            after: Duration::from_secs(after),
            unknown,
        };
        let audit = MemoryAudit::new();
        let remediator = Remediator::builder()
            .scope(Scope::namespaces(["shop"]).unwrap())
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(Scripted::commands(&[
                "kubectl scale deployment/web -n shop --replicas=2",
            ]))
            .policy(PermitAll::dangerous())
            .cluster(JsonCluster::new(cluster.clone()))
            .audit(audit.clone())
            .plans(MemoryPlans::default())
            .build()
            .unwrap();
        Self {
            cluster,
            audit,
            remediator,
        }
    }

    async fn execute(&self) -> Result<Outcome, RemediatorError> {
        let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
        let plan = self.remediator.suggest(&incident).await?;
        let permitted = self.remediator.review(plan).await?;
        let dry_run = self.remediator.dry_run(permitted).await?;
        let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
        self.remediator.execute(approved).await
    }

    fn events(&self, event: AuditEvent) -> usize {
        let all = self.audit.all();
        all.iter()
            .filter(|record| record.entry.event == event)
            .count()
    }
}

/// A write that comes after nobody waited for it any more, or after the host said that it doesn't know.
#[tokio::test(start_paused = true)]
async fn a_late_write_leaves_the_step_stuck() {
    for (after, unknown) in [(65, false), (10, true)] {
        let host = Host::new(after, unknown);
        let outcome = host.execute().await.unwrap();
        assert_eq!(outcome.ending, Ending::Stuck, "{outcome:?}");
        assert_eq!(outcome.steps, [StepStatus::Stuck]);
        assert!(!outcome.success);
        assert_eq!(host.events(AuditEvent::StepUnknown), 1);
        assert_eq!(host.events(AuditEvent::StepFailed), 0);
        sleep(Duration::from_secs(30)).await;
        let state = host.cluster.state.lock().unwrap();
        assert_eq!((state.replicas, state.applied, state.undone), (2, 1, 0));
        assert_eq!(step_statuses(&host.audit.all()), [StepStatus::Stuck]);
    }
}

/// Nothing else is written to the object until the late call came to its end.
#[tokio::test(start_paused = true)]
async fn no_write_is_begun_while_one_runs() {
    let host = Host::new(120, false);
    let first = host.execute().await.unwrap();
    assert_eq!(first.ending, Ending::Stuck);
    let second = host.execute().await.unwrap();
    assert_eq!(second.steps, [StepStatus::Untouched], "{second:?}");
    let said = second.output.contains("has not come to its end");
    assert!(said, "{}", second.output);
    assert_eq!(host.cluster.state.lock().unwrap().applied, 1);
    sleep(Duration::from_secs(61)).await;
    // It came, so the object is as a third plan wants it already.
    assert_eq!(host.cluster.state.lock().unwrap().replicas, 2);
}

/// Whoever drops an execution in the middle of a write can take it up when the write came to its end, not before.
#[tokio::test(start_paused = true)]
async fn a_dropped_write_is_waited_for() {
    let host = Host::new(50, false);
    let dropped = timeout(Duration::from_secs(5), host.execute()).await;
    assert!(dropped.is_err());
    let plan_id = host.remediator.unfinished().await.unwrap().remove(0);
    let error = host.remediator.resume(&plan_id).await.unwrap_err();
    assert!(matches!(error, RemediatorError::Scan(_)), "{error}");
    sleep(Duration::from_secs(46)).await;
    let outcome = host.remediator.resume(&plan_id).await.unwrap();
    assert_eq!(outcome.ending, Ending::Succeeded, "{outcome:?}");
    assert_eq!(host.cluster.state.lock().unwrap().applied, 1);
}
