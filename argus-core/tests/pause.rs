//! A host may be asked between steps: what it doesn't confirm in time isn't done, and what was done is undone or left, as configured.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    APPROVAL_LASTS, Answer, Ending, Incident, Kube, OnFailure, Outcome, Pause, Plan, Remediator,
    Scope, Settings, StepStatus,
};
use async_trait::async_trait;

#[derive(Clone, Copy, PartialEq)]
enum Says {
    Yes,
    No,
    /// Nothing, for as long as an approval lasts.
    Nothing,
    /// Yes, after the host pulled the kill switch.
    YesTooLate,
}

struct Asked {
    says: Says,
    steps: Arc<Mutex<Vec<usize>>>,
    halt: Arc<Mutex<Option<Remediator>>>,
}

#[async_trait]
impl Pause for Asked {
    async fn go_on(&self, plan: &Plan, step: usize) -> Result<(), String> {
        assert_eq!(plan.steps().len(), 3);
        self.steps.lock().unwrap().push(step);
        match self.says {
            Says::Yes => Ok(()),
            Says::No => Err("lunch time".into()),
            Says::Nothing => {
                tokio::time::pause();
                tokio::time::advance(APPROVAL_LASTS.unsigned_abs()).await;
                tokio::time::resume();
                std::future::pending().await
            }
            Says::YesTooLate => {
                if let Some(remediator) = self.halt.lock().unwrap().as_ref() {
                    remediator.halt();
                }
                Ok(())
            }
        }
    }
}

/// Three apps get another copy; the answer, the steps that were asked about, and how often each app was written: a write that
/// the server refused because the status had moved is made again.
async fn run(
    says: Says,
    on_failure: OnFailure,
) -> (
    Result<Outcome, argus_core::RemediatorError>,
    Vec<usize>,
    [usize; 3],
) {
    let cluster = Cluster::start();
    for name in ["a", "b", "c"] {
        let app = cluster.deployment("shop", name, "registry.example/app:1");
        app.create().await.unwrap();
    }
    let commands =
        ["a", "b", "c"].map(|name| format!("kubectl scale deployment/{name} -n shop --replicas=2"));
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let (steps, halt) = (Arc::default(), Arc::default());
    let pause = Asked {
        says,
        steps: Arc::clone(&steps),
        halt: Arc::clone(&halt),
    };
    let remediator = Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(Scope::namespaces(["shop"]).unwrap())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&commands))
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(cluster.client_as("argus")))
        .audit(MemoryAudit::new())
        .on_failure(on_failure)
        .pause(pause)
        .build()
        .unwrap();
    *halt.lock().unwrap() = Some(remediator.clone());
    let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
    let plan = remediator.suggest(&incident).await.unwrap();
    let permitted = remediator.review(plan).await.unwrap();
    let dry_run = remediator.dry_run(permitted).await.unwrap();
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    let outcome = remediator.execute(approved).await;
    let writes = cluster.writes();
    let count = |name: &str| {
        let of_it = |path: &str| path.contains(&format!("/deployments/{name}"));
        let real = writes
            .iter()
            .filter(|write| !write.dry_run && write.user == "argus" && write.code == 200);
        real.filter(|write| of_it(&write.path)).count()
    };
    let counts = [count("a"), count("b"), count("c")];
    let steps = steps.lock().unwrap().clone();
    (outcome, steps, counts)
}

#[tokio::test]
async fn every_step_but_the_first_is_asked_about() {
    let (outcome, steps, writes) = run(Says::Yes, OnFailure::Undo).await;
    assert_eq!(outcome.unwrap().ending, Ending::Succeeded);
    assert_eq!((steps, writes), (vec![1, 2], [1, 1, 1]));
}

#[tokio::test]
async fn a_no_undoes_or_stops() {
    let (outcome, steps, writes) = run(Says::No, OnFailure::Undo).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ending, Ending::Undone);
    assert_eq!(
        outcome.error.as_deref(),
        Some("step 2 was not to be taken: lunch time")
    );
    assert_eq!((steps, writes), (vec![1], [2, 0, 0]));

    let (outcome, _, writes) = run(Says::No, OnFailure::Stop).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ending, Ending::Stopped);
    assert_eq!(outcome.steps[0], StepStatus::Settled);
    assert_eq!(writes, [1, 0, 0]);
}

#[tokio::test]
async fn who_says_nothing_until_the_approval_ends_said_no() {
    let (outcome, steps, writes) = run(Says::Nothing, OnFailure::Undo).await;
    let outcome = outcome.unwrap();
    assert_eq!(
        outcome.error.as_deref(),
        Some("nobody said in time whether to take step 2")
    );
    assert_eq!(outcome.ending, Ending::Undone);
    assert_eq!((steps, writes), (vec![1], [2, 0, 0]));
}

#[tokio::test]
async fn the_kill_switch_works_while_somebody_is_asked() {
    let (outcome, _, writes) = run(Says::YesTooLate, OnFailure::Undo).await;
    assert!(outcome.unwrap_err().is_stuck());
    assert_eq!(writes, [1, 0, 0]);
}
