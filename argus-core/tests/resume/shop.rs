//! Three healthy apps in memory, and a plan that changes each.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use argus_core::testing::cluster::{Cluster, Fault, WriteSeen};
use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, Approved, AuditEvent, AuditRecord, Digest, Ending, Incident, IncidentId, Kube,
    MemoryPlans, OnFailure, Opinion, Outcome, Phase, PolicyEngine, PolicyError, PolicyInput,
    Remediator, RemediatorError, Scope, Settings, StepStatus, Violation, step_statuses,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::Value;

pub(crate) const NAMES: [&str; 3] = ["api", "web", "job"];
pub(crate) const COMMANDS: [&str; 3] = [
    "kubectl set resources deployment/api -n shop -c app --limits=memory=64Mi",
    "kubectl scale deployment/web -n shop --replicas=2",
    "kubectl rollout restart deployment/job -n shop",
];

pub(crate) struct Shop {
    pub(crate) cluster: Cluster,
    before: Vec<Deployment>,
}

type Observer = Box<dyn Fn(&AuditRecord) + Send + Sync>;

/// The doors of a process.
pub(crate) struct Doors {
    pub(crate) audit: MemoryAudit,
    pub(crate) plans: MemoryPlans,
    pub(crate) policy: &'static [u8],
    pub(crate) says: Says,
    pub(crate) scope: &'static str,
    pub(crate) enabled: bool,
    pub(crate) observer: Option<Observer>,
}

impl Doors {
    pub(crate) fn new(audit: &MemoryAudit, plans: &MemoryPlans) -> Self {
        Self {
            audit: audit.clone(),
            plans: plans.clone(),
            policy: b"policy",
            says: Says::default(),
            scope: "shop",
            enabled: true,
            observer: None,
        }
    }
}

/// What changes about policy while a plan is carried out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// A freeze begins, for plans but not for undoing them.
    Freeze,
    /// The same, seen only on the objects.
    FreezeObjects,
    /// Everything is refused, undoing too.
    RefuseAll,
    /// Everything is left to people, undoing too.
    LeaveToPeople,
    /// Two people have to approve.
    TwoPeople,
    /// The engine gives no answer.
    Fail,
    /// The packs are others.
    Replace,
}

impl Change {
    pub(crate) const ALL: [Self; 7] = [
        Self::Freeze,
        Self::FreezeObjects,
        Self::RefuseAll,
        Self::LeaveToPeople,
        Self::TwoPeople,
        Self::Fail,
        Self::Replace,
    ];

    /// Whether what was applied may still be undone.
    pub(crate) fn lets_undo(self) -> bool {
        !matches!(self, Self::RefuseAll | Self::LeaveToPeople | Self::Fail)
    }
}

/// What policy says from now on, besides yes.
#[derive(Clone, Default)]
pub(crate) struct Says(Arc<Mutex<Option<Change>>>);

impl Says {
    pub(crate) fn begin(&self, change: Change) {
        *self.0.lock().unwrap() = Some(change);
    }

    fn now(&self) -> Option<Change> {
        *self.0.lock().unwrap()
    }
}

struct Policy(Digest, Says);

#[async_trait::async_trait]
impl PolicyEngine for Policy {
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        let mut opinions = PermitAll::dangerous().evaluate(input).await?;
        let opinion = opinions.first_mut().unwrap();
        let violation = |people| Violation {
            pack: "now".into(),
            id: "now".into(),
            message: "not now".into(),
            step: None,
            hint: String::new(),
            people,
        };
        match (self.1.now(), input.phase) {
            (Some(Change::Fail), _) => return Err(PolicyError::new("made to fail")),
            (Some(Change::Freeze), Phase::Plan | Phase::Objects)
            | (Some(Change::FreezeObjects), Phase::Objects)
            | (Some(Change::RefuseAll), _) => opinion.deny.push(violation(None)),
            (Some(Change::LeaveToPeople), _) => opinion.manual.push(violation(None)),
            (Some(Change::TwoPeople), _) => opinion.require_approval.push(violation(Some(2))),
            _ => {}
        }
        Ok(opinions)
    }
    fn revision(&self) -> Digest {
        match self.1.now() {
            Some(Change::Replace) => Digest::of_bytes(b"replaced"),
            _ => self.0,
        }
    }
}

/// How many writes of Argus were made.
pub(crate) fn made(cluster: &Cluster) -> usize {
    let writes = cluster.writes().into_iter();
    let made = writes.filter(|write| write.user == "argus" && !write.dry_run && write.code == 200);
    made.count()
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let cluster = Cluster::start();
        for name in NAMES {
            cluster
                .deployment("shop", name, "r.example/app:1")
                .create()
                .await
                .unwrap();
        }
        let mut shop = Self {
            cluster,
            before: Vec::new(),
        };
        for name in NAMES {
            let ready = shop.when(name, |deployment| {
                deployment
                    .status
                    .as_ref()
                    .is_some_and(|status| status.available_replicas == Some(1))
            });
            let ready = ready.await;
            shop.before.push(ready);
        }
        shop
    }

    /// The same with an app that needs more memory than it may use.
    pub(crate) async fn broken() -> Self {
        let cluster = Cluster::start();
        for name in NAMES {
            let mut app = cluster.deployment("shop", name, "r.example/app:1");
            if name == "api" {
                app = app.needs_memory("48Mi").memory_limit("32Mi");
            }
            app.create().await.unwrap();
        }
        let kube = Kube::new(cluster.client());
        cluster
            .wait_for_findings(&kube, &Scope::namespaces(["shop"]).unwrap())
            .await
            .unwrap();
        let shop = Self {
            cluster,
            before: Vec::new(),
        };
        for name in ["web", "job"] {
            shop.when(name, |deployment| {
                deployment
                    .status
                    .as_ref()
                    .is_some_and(|status| status.available_replicas == Some(1))
            })
            .await;
        }
        shop
    }

    pub(crate) fn remediator(&self, doors: Doors) -> Remediator {
        self.remediator_that(doors, OnFailure::Undo)
    }

    pub(crate) fn remediator_that(&self, doors: Doors, on_failure: OnFailure) -> Remediator {
        let kube =
            Kube::new(self.cluster.client_as("argus")).settle_within(Duration::from_secs(30));
        let builder = Remediator::builder()
            .hold(argus_core::testing::SHORT_HOLD)
            .scope(Scope::namespaces([doors.scope]).unwrap())
            .settings(Settings {
                enabled: doors.enabled,
                allow_high_risk: false,
            })
            .on_failure(on_failure)
            .llm(Scripted::commands(&COMMANDS))
            .policy(Policy(Digest::of_bytes(doors.policy), doors.says))
            .cluster(kube)
            .audit(doors.audit)
            .plans(doors.plans);
        match doors.observer {
            Some(observer) => builder.observe(observer),
            None => builder,
        }
        .build()
        .unwrap()
    }

    pub(crate) fn incident(&self) -> Incident {
        Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap()
    }

    pub(crate) async fn approved(&self, remediator: &Remediator) -> Approved {
        self.try_approved(remediator).await.unwrap()
    }

    async fn try_approved(&self, remediator: &Remediator) -> Result<Approved, RemediatorError> {
        let plan = remediator.suggest(&self.incident()).await?;
        let dry_run = remediator.dry_run(remediator.review(plan).await?).await?;
        Ok(dry_run.approve(Answer::confirm("operator")).unwrap())
    }

    /// Walks the plan to its end, or drops the execution when it was polled so many times; none then.
    pub(crate) async fn walk(
        &self,
        audit: &MemoryAudit,
        plans: &MemoryPlans,
        faults: &[(usize, Fault)],
        mut polls: usize,
    ) -> Option<Result<Outcome, RemediatorError>> {
        let remediator = self.remediator(Doors::new(audit, plans));
        let approved = match self.try_approved(&remediator).await {
            Ok(approved) => approved,
            Err(error) => return Some(Err(error)),
        };
        for (nth, fault) in faults {
            self.cluster.inject(*nth, *fault);
        }
        let mut execution = pin!(remediator.execute(approved));
        poll_fn(|context| match polls.checked_sub(1) {
            None => Poll::Ready(None),
            Some(left) => {
                polls = left;
                execution.as_mut().poll(context).map(Some)
            }
        })
        .await
    }

    pub(crate) async fn get(&self, name: &str) -> Deployment {
        Api::namespaced(self.cluster.client(), "shop")
            .get(name)
            .await
            .unwrap()
    }

    async fn when(&self, name: &str, condition: impl Fn(&Deployment) -> bool) -> Deployment {
        for _ in 0..3000 {
            let deployment = self.get(name).await;
            if condition(&deployment) {
                return deployment;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} never came to be as wanted");
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let api: Api<Deployment> = Api::namespaced(self.cluster.client(), "shop");
        api.patch(name, &PatchParams::default(), &Patch::Strategic(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn memory(&self, name: &str) -> String {
        let deployment = serde_json::to_value(self.get(name).await).unwrap();
        let limit = deployment.pointer("/spec/template/spec/containers/0/resources/limits/memory");
        limit.unwrap().as_str().unwrap().to_owned()
    }

    /// Which of the three differ from how they were.
    pub(crate) async fn changed(&self) -> Vec<bool> {
        let mut changed = Vec::new();
        for (name, before) in NAMES.iter().zip(&self.before) {
            changed.push(self.get(name).await.spec != before.spec);
        }
        changed
    }

    pub(crate) fn writes(&self) -> Vec<WriteSeen> {
        let mine = self
            .cluster
            .writes()
            .into_iter()
            .filter(|write| write.user == "argus");
        mine.collect()
    }

    /// How many writes of Argus were made.
    pub(crate) fn made(&self) -> usize {
        made(&self.cluster)
    }

    /// What holds whatever happened, once everything is resumed.
    pub(crate) async fn check(&self, records: &[AuditRecord], ending: Option<Ending>, what: &str) {
        let statuses = step_statuses(records);
        let changed = self.changed().await;
        for (index, (name, changed)) in NAMES.iter().zip(&changed).enumerate() {
            let status = statuses
                .get(index)
                .copied()
                .unwrap_or(StepStatus::Untouched);
            match status {
                StepStatus::Untouched | StepStatus::Undone => {
                    assert!(!changed, "{what}: {name} is {status:?}")
                }
                StepStatus::Applied | StepStatus::Settled => {
                    assert!(changed, "{what}: {name} is {status:?}")
                }
                StepStatus::Stuck => {}
                StepStatus::Unknown => panic!("{what}: nobody knows about {name}"),
            }
            // Nothing is repeated blindly: at most one write that was done, and one that undid it.
            let path = format!("/deployments/{name}");
            let done = |write: &&WriteSeen| {
                !write.dry_run && write.code == 200 && write.path.contains(&path)
            };
            assert!(
                self.writes().iter().filter(done).count() <= 2,
                "{what}: {name} was written again"
            );
        }
        match ending {
            Some(Ending::Succeeded) => assert_eq!(changed, [true; 3], "{what}"),
            Some(Ending::Undone) => assert_eq!(changed, [false; 3], "{what}"),
            _ => {}
        }
        let of = |event| {
            records
                .iter()
                .filter(|record| record.entry.event == event)
                .count()
        };
        assert!(
            of(AuditEvent::Finished) <= 1 + of(AuditEvent::UndoAsked),
            "{what}: it came to its end twice"
        );
    }
}
