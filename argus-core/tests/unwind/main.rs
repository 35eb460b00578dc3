//! The unwind matrix: fail every record and every write in turn. Whatever fails, nothing is written without its intent
//! in the trail, the trail says what the cluster is, and the cluster is the plan's end, its beginning, or known to be stuck.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod policy;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use argus_core::testing::cluster::{Cluster, Fault};
use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, Approved, AuditEvent, Builder, Ending, Incident, IncidentId, Kube, Outcome, Plan,
    Remediator, RemediatorError, Scope, Settings, StepStatus, step_statuses,
};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

const COMMANDS: [&str; 3] = [
    "kubectl set resources deployment/api -n shop -c app --limits=memory=64Mi",
    "kubectl scale deployment/web -n shop --replicas=2",
    "kubectl rollout restart deployment/job -n shop",
];
const NAMES: [&str; 3] = ["api", "web", "job"];

struct Run {
    cluster: Cluster,
    audit: MemoryAudit,
    before: Vec<Deployment>,
    /// None where the execution was dropped before its end.
    result: Option<Result<Outcome, RemediatorError>>,
}

impl Run {
    /// Walks the plan to its end, with these faults; records of the dry run come before the execution's.
    async fn new(audit: MemoryAudit, faults: &[(usize, Fault)]) -> Self {
        Self::cut(audit, faults, usize::MAX).await
    }

    /// The same, dropping the execution when it was polled so many times.
    async fn cut(audit: MemoryAudit, faults: &[(usize, Fault)], polls: usize) -> Self {
        let cluster = Cluster::start();
        for name in NAMES {
            cluster
                .deployment("shop", name, "r.example/app:1")
                .create()
                .await
                .unwrap();
        }
        let mut before = Vec::new();
        for name in NAMES {
            before.push(ready(&cluster, name).await);
        }
        let result = walk(&cluster, &audit, faults, polls).await.transpose();
        Self {
            cluster,
            audit,
            before,
            result,
        }
    }

    /// The invariants that hold whatever happened.
    async fn check(&self, what: &str) {
        let records = self.audit.all();
        let statuses = step_statuses(&records);
        let written: Vec<_> = self
            .cluster
            .writes()
            .into_iter()
            .filter(|write| write.user == "argus" && !write.dry_run)
            .collect();
        for (index, name) in NAMES.iter().enumerate() {
            let of = |event| {
                records
                    .iter()
                    .filter(|r| r.entry.event == event && r.entry.step == Some(index))
                    .count()
            };
            let writes = written
                .iter()
                .filter(|write| write.path.contains(&format!("/deployments/{name}")))
                .count();
            let intents = of(AuditEvent::StepIntended) + of(AuditEvent::UndoIntended);
            // One intent covers the tries of one write; without any there is none.
            assert!(
                writes == 0 || intents > 0,
                "{what}: {name} was written without an intent"
            );
            let now = get(&self.cluster, name).await;
            let untouched = now.spec == self.before[index].spec;
            match statuses
                .get(index)
                .copied()
                .unwrap_or(StepStatus::Untouched)
            {
                StepStatus::Untouched | StepStatus::Undone => {
                    assert!(untouched, "{what}: the trail says that {name} is as it was")
                }
                StepStatus::Applied | StepStatus::Settled => {
                    assert!(!untouched, "{what}: the trail says that {name} was changed")
                }
                StepStatus::Unknown | StepStatus::Stuck => {}
            }
        }
    }
}

async fn get(cluster: &Cluster, name: &str) -> Deployment {
    Api::namespaced(cluster.client(), "shop")
        .get(name)
        .await
        .unwrap()
}

async fn ready(cluster: &Cluster, name: &str) -> Deployment {
    for _ in 0..3000 {
        let deployment = get(cluster, name).await;
        if deployment
            .status
            .as_ref()
            .is_some_and(|status| status.available_replicas == Some(1))
        {
            return deployment;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} never became ready");
}

async fn walk(
    cluster: &Cluster,
    audit: &MemoryAudit,
    faults: &[(usize, Fault)],
    mut polls: usize,
) -> Result<Option<Outcome>, RemediatorError> {
    let remediator = Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(Scope::namespaces(["shop"]).unwrap())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&COMMANDS))
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(cluster.client_as("argus")).settle_within(Duration::from_secs(30)))
        .audit(audit.clone())
        .build()
        .unwrap();
    let incident = Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap();
    let plan = remediator.suggest(&incident).await?;
    let dry_run = remediator.dry_run(remediator.review(plan).await?).await?;
    for (nth, fault) in faults {
        cluster.inject(*nth, *fault);
    }
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    let mut execution = pin!(remediator.execute(approved));
    let outcome = poll_fn(|context| match polls.checked_sub(1) {
        None => Poll::Ready(None),
        Some(left) => {
            polls = left;
            execution.as_mut().poll(context).map(Some)
        }
    });
    outcome.await.transpose()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_in_turn() {
    let mut failed = 0;
    loop {
        let run = Run::new(MemoryAudit::failing_from(failed + 1), &[]).await;
        run.check(&format!("record {}", failed + 1)).await;
        let Err(error) = run.result.unwrap() else {
            break;
        };
        let RemediatorError::Audit { standing, .. } = &error else {
            panic!("record {}: {error}", failed + 1)
        };
        // What the error says was left is what is there.
        let mut changed = 0;
        for (index, name) in NAMES.iter().enumerate() {
            changed += usize::from(get(&run.cluster, name).await.spec != run.before[index].spec);
        }
        assert_eq!(*standing, changed, "record {}", failed + 1);
        assert_eq!(error.is_stuck(), changed > 0);
        failed += 1;
    }
    // Asked, suggested, permitted, dry run, approved; three steps of three; rescanned, finished.
    assert_eq!(failed, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_in_turn_in_every_way() {
    for nth in 0..3 {
        for fault in [
            Fault::RefuseWrite(400),
            Fault::RefuseWrite(403),
            Fault::RefuseWrite(404),
            Fault::RefuseWrite(409),
            Fault::RefuseWrite(422),
            Fault::RefuseWrite(429),
            Fault::RefuseWrite(500),
            Fault::RefuseWrite(503),
            Fault::CutBeforeWrite,
            Fault::CutAfterWrite,
        ] {
            let what = format!("write {nth}, {fault:?}");
            let run = Run::new(MemoryAudit::new(), &[(nth, fault)]).await;
            run.check(&what).await;
            let ending = match run.result.as_ref().unwrap() {
                Ok(outcome) => Some(outcome.ending),
                Err(error) => {
                    assert!(error.is_stale() && nth == 0, "{what}: {error}");
                    None
                }
            };
            // A write whose answer was lost is found to be there, and one that surely wasn't made is tried again; everything
            // else goes back to the beginning.
            let refused = matches!(fault, Fault::RefuseWrite(400..=428 | 430..=499));
            let wanted = if refused {
                Some(Ending::Undone)
            } else {
                Some(Ending::Succeeded)
            };
            assert!(ending == wanted || ending.is_none(), "{what}: {ending:?}");
            for (index, name) in NAMES
                .iter()
                .enumerate()
                .filter(|_| ending != Some(Ending::Succeeded))
            {
                assert_eq!(
                    get(&run.cluster, name).await.spec,
                    run.before[index].spec,
                    "{what}: {name}"
                );
            }
        }
    }
}

/// A server that doesn't come back within the tries: the plan goes back to its beginning. Of a write that was surely not looked
/// at it is known that it wasn't made; any other may still be, also when nothing of it is there yet, so a person must look.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_down_for_a_write() {
    for fault in [
        Fault::RefuseWrite(429),
        Fault::RefuseWrite(500),
        Fault::RefuseWrite(503),
        Fault::CutBeforeWrite,
    ] {
        for nth in 0..3 {
            let what = format!("writes from {nth} on, {fault:?}");
            // Five tries, then the undos go through.
            let faults: Vec<_> = (nth..nth + 5).map(|n| (n, fault)).collect();
            let run = Run::new(MemoryAudit::new(), &faults).await;
            run.check(&what).await;
            let outcome = run.result.unwrap().unwrap();
            let (ending, status) = match fault {
                Fault::RefuseWrite(429) => (Ending::Undone, StepStatus::Untouched),
                _ => (Ending::Stuck, StepStatus::Stuck),
            };
            assert_eq!(outcome.ending, ending, "{what}: {outcome:?}");
            assert_eq!(outcome.steps[nth], status, "{what}");
            for (index, name) in NAMES.iter().enumerate() {
                let now = get(&run.cluster, name).await;
                assert_eq!(now.spec, run.before[index].spec, "{what}: {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_undo_in_turn() {
    // The third write fails, so that the fourth and the fifth are undos.
    for nth in [3, 4] {
        for (fault, ending) in [
            (Fault::RefuseWrite(403), Ending::Stuck),
            (Fault::RefuseWrite(422), Ending::Stuck),
            (Fault::RefuseWrite(500), Ending::Undone),
            (Fault::CutBeforeWrite, Ending::Undone),
            (Fault::CutAfterWrite, Ending::Undone),
        ] {
            let what = format!("undo {nth}, {fault:?}");
            let run = Run::new(
                MemoryAudit::new(),
                &[(2, Fault::RefuseWrite(422)), (nth, fault)],
            )
            .await;
            run.check(&what).await;
            let outcome = run.result.unwrap().unwrap();
            assert_eq!(outcome.ending, ending, "{what}: {outcome:?}");
            // One that is stuck doesn't keep the others from being undone.
            let stuck = outcome
                .steps
                .iter()
                .filter(|status| **status == StepStatus::Stuck)
                .count();
            assert_eq!(stuck, usize::from(ending == Ending::Stuck), "{what}");
            assert_eq!(step_statuses(&run.audit.all()), outcome.steps, "{what}");
        }
    }
}

/// Whoever drops the execution at any await: the trail says how far it came.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_at_every_await() {
    let mut polls = 0;
    loop {
        let run = Run::cut(MemoryAudit::new(), &[], polls).await;
        // A write that was under way may still arrive.
        tokio::time::sleep(Duration::from_millis(20)).await;
        run.check(&format!("dropped after {polls} polls")).await;
        if run.result.is_some() {
            break;
        }
        polls += 1;
    }
    assert!(polls > 5, "it ended after {polls} polls");
}

fn builder(cluster: &Cluster) -> Builder {
    Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(Scope::namespaces(["shop"]).unwrap())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&[COMMANDS[1]]))
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(cluster.client_as("argus")))
        .audit(MemoryAudit::new())
}

async fn suggested(remediator: &Remediator) -> Plan {
    let incident = Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap();
    remediator.suggest(&incident).await.unwrap()
}

async fn approved(remediator: &Remediator) -> Approved {
    let plan = suggested(remediator).await;
    let dry_run = remediator
        .dry_run(remediator.review(plan).await.unwrap())
        .await
        .unwrap();
    dry_run.approve(Answer::confirm("operator")).unwrap()
}

async fn add_app(cluster: &Cluster, name: &str) {
    cluster
        .deployment("shop", name, "r.example/app:1")
        .create()
        .await
        .unwrap();
    ready(cluster, name).await;
}

async fn one_app() -> Cluster {
    let cluster = Cluster::start();
    add_app(&cluster, "web").await;
    cluster
}

fn real_writes(cluster: &Cluster) -> Vec<u16> {
    let mine = cluster
        .writes()
        .into_iter()
        .filter(|write| write.user == "argus" && !write.dry_run);
    mine.map(|write| write.code).collect()
}

fn successes(results: &[Result<Outcome, RemediatorError>]) -> usize {
    let successes = results.iter().flatten().filter(|outcome| outcome.success);
    successes.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_plan_of_a_host_at_a_time_changes_an_object() {
    let cluster = one_app().await;
    let remediator = builder(&cluster).build().unwrap();
    let mut all = Vec::new();
    for _ in 0..64 {
        all.push(approved(&remediator).await);
    }
    let results = join_all(all.into_iter().map(|approved| remediator.execute(approved))).await;
    assert_eq!(successes(&results), 1);
    assert!(
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .all(|error| error.is_retryable() || error.is_stale())
    );
    assert_eq!(real_writes(&cluster), [200]);
}

/// Hosts that know nothing of each other: the server's own precondition lets one of them win.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_hosts_one_wins() {
    let cluster = one_app().await;
    let mut all = Vec::new();
    for _ in 0..64 {
        let remediator = builder(&cluster).build().unwrap();
        let approved = approved(&remediator).await;
        all.push(async move { remediator.execute(approved).await });
    }
    let results = join_all(all).await;
    assert_eq!(successes(&results), 1);
    assert!(
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .all(RemediatorError::is_stale)
    );
    assert_eq!(
        real_writes(&cluster)
            .into_iter()
            .filter(|code| *code == 200)
            .count(),
        1
    );
}

/// Somebody changes the object between Argus' last look and its write: the server refuses the write.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_last_moment_is_stale() {
    let cluster = one_app().await;
    let remediator = builder(&cluster).build().unwrap();
    let approved = approved(&remediator).await;
    cluster.inject(0, Fault::ChangeBeforeWrite);
    let error = remediator.execute(approved).await.unwrap_err();
    assert!(error.is_stale(), "{error}");
    assert_eq!(real_writes(&cluster), [409]);
    assert_eq!(get(&cluster, "web").await.spec.unwrap().replicas, Some(1));
}

/// The answer to a delete is lost while the pod still takes its time to stop: it is found to be done.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_whose_answer_was_lost_is_done() {
    let cluster = one_app().await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "shop");
    let name = pods
        .list(&Default::default())
        .await
        .unwrap()
        .items
        .remove(0);
    let name = name.metadata.name.unwrap();
    // A finalizer keeps it terminating for as long as it stands.
    let keep = serde_json::json!({ "metadata": { "finalizers": ["example.com/keep"] } });
    let keep = kube::api::Patch::Merge(keep);
    pods.patch(&name, &Default::default(), &keep).await.unwrap();
    let command = format!("kubectl delete pod/{name} -n shop");
    let remediator = builder(&cluster)
        .llm(Scripted::commands(&[&command]))
        .build()
        .unwrap();
    let approved = approved(&remediator).await;
    cluster.inject(0, Fault::CutAfterWrite);
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let none = serde_json::json!({ "metadata": { "finalizers": null } });
        let none = kube::api::Patch::Merge(none);
        pods.patch(&name, &Default::default(), &none).await.unwrap();
    };
    let (outcome, ()) = futures::join!(remediator.execute(approved), release);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ending, Ending::Succeeded, "{outcome:?}");
    assert_eq!(real_writes(&cluster).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_executed_unless_it_is_switched_on() {
    let cluster = one_app().await;
    let remediator = builder(&cluster)
        .settings(Settings::default())
        .build()
        .unwrap();
    let error = remediator
        .execute(approved(&remediator).await)
        .await
        .unwrap_err();
    assert!(matches!(error, RemediatorError::Disabled), "{error}");
    assert!(real_writes(&cluster).is_empty());
}

/// A dry run that is taken again has to write the same, and two restarts must not.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_as_old_as_its_plan() {
    let cluster = one_app().await;
    let restart = Scripted::commands(&["kubectl rollout restart deployment/web -n shop"]);
    let remediator = builder(&cluster).llm(restart).build().unwrap();
    let approved = approved(&remediator).await;
    let written = approved.plan().generated_at();
    remediator.execute(approved).await.unwrap();
    let template = get(&cluster, "web").await.spec.unwrap().template;
    let annotations = template.metadata.unwrap().annotations.unwrap();
    let restarted = &annotations["kubectl.kubernetes.io/restartedAt"];
    assert_eq!(
        restarted.parse::<Timestamp>().unwrap().as_second(),
        written.as_second()
    );
}
