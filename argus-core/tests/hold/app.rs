//! One app of a host's own cluster, whose memory is raised, and what becomes of it so long after. Time is virtual.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, ApplyError, Approved, ApprovedStep, AuditEvent, AuditRecord, DryRunError, DryRunner,
    Executor, HoldBounds, Incident, JsonCluster, JsonDoor, JsonRefusal, MemoryPlans, OnFailure,
    Permitted, PermittedStep, Preview, Remediator, Scan, ScanError, Scanner, Scope, Settings,
    SettleError, UndoError, UndoStep, Undone, Watching,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

/// What the host would have to wait for: twice the eight seconds after which it failed.
pub(crate) const HOLD: Duration = Duration::from_secs(16);

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// The same fault.
    Same,
    /// A container fails once, and runs again.
    Restart,
    /// Another fault of the same app.
    Other,
    /// It answers no more.
    Silent,
    /// It answers no more, for twenty seconds.
    SilentAWhile,
    /// An app beside it crashes.
    Neighbour,
    /// A copy of an app beside it is gone.
    NeighbourSilent,
    /// A service finds no pods any more.
    Service,
    /// An app that was broken before has another fault.
    BrokenBefore,
    /// An app crashes that somebody has just made.
    Newcomer,
    /// Somebody suspends a job: worth a look, and nothing broke.
    Trifle,
}

/// When and what.
pub(crate) type Comes = Option<(Duration, Fault)>;

#[derive(Default)]
struct State {
    applied: Option<Instant>,
    undone: bool,
    looks: usize,
}

#[derive(Clone)]
pub(crate) struct App {
    state: Arc<Mutex<State>>,
    comes: Comes,
}

impl App {
    pub(crate) fn new(comes: Comes) -> Self {
        Self {
            state: Arc::default(),
            comes,
        }
    }

    /// How often it was looked at by a request.
    pub(crate) fn looks(&self) -> usize {
        self.state.lock().unwrap().looks
    }

    /// Whether the plan stands.
    pub(crate) fn stands(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.applied.is_some() && !state.undone
    }

    fn object(&self) -> Value {
        let memory = if self.stands() { "64Mi" } else { "32Mi" };
        let container = json!({ "name": "app", "image": "r.example/app:1", "resources": { "limits": { "memory": memory } } });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "shop", "uid": "u1" },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [container] } } },
        })
    }

    /// When something comes of it, or ends.
    fn events(&self) -> Vec<Instant> {
        let state = self.state.lock().unwrap();
        let (Some(applied), Some((after, fault))) = (state.applied, self.comes) else {
            return Vec::new();
        };
        let begins = applied + after;
        match fault {
            Fault::SilentAWhile => vec![begins, begins + Duration::from_secs(20)],
            _ => vec![begins],
        }
    }

    fn fault(&self) -> Option<Fault> {
        let events = self.events();
        let over = events.iter().filter(|when| **when <= Instant::now());
        match (over.count(), events.len()) {
            (0, _) | (2, 2) => None,
            _ => self.comes.map(|(_, fault)| fault),
        }
    }

    fn scan(&self) -> Value {
        let (fault, stands) = (self.fault(), self.stands());
        let own = match fault {
            _ if !stands => (0, 3),
            Some(Fault::Same) => (0, 1),
            Some(Fault::Restart) => (1, 1),
            Some(Fault::Silent | Fault::SilentAWhile) => (0, 0),
            _ => (1, 0),
        };
        let mut findings = vec![finding("F-old", "Deployment", "old", "crash_loop", "high")];
        findings.extend(match fault {
            _ if !stands => Some(finding("F-oom", "Deployment", "web", "oom_killed", "high")),
            Some(Fault::Same) => Some(finding("F-oom", "Deployment", "web", "oom_killed", "high")),
            Some(Fault::Other) => Some(finding(
                "F-other",
                "Deployment",
                "web",
                "crash_loop",
                "high",
            )),
            Some(Fault::Neighbour) => {
                Some(finding("F-api", "Deployment", "api", "crash_loop", "high"))
            }
            Some(Fault::Service) => Some(finding(
                "F-service",
                "Service",
                "front",
                "service_selector",
                "high",
            )),
            Some(Fault::BrokenBefore) => Some(finding(
                "F-old-2",
                "Deployment",
                "old",
                "oom_killed",
                "high",
            )),
            Some(Fault::Newcomer) => {
                Some(finding("F-new", "Deployment", "new", "crash_loop", "high"))
            }
            Some(Fault::Trifle) => Some(finding("F-job", "CronJob", "nightly", "suspended", "low")),
            _ => None,
        });
        let api = if stands && fault == Some(Fault::NeighbourSilent) {
            1
        } else {
            2
        };
        let mut workloads = vec![
            workload("web", 1, own, (!stands).then_some(8)),
            workload("api", 2, (api, 0), None),
            workload("old", 1, (0, 9), None),
        ];
        if fault == Some(Fault::Newcomer) {
            workloads.push(workload("new", 1, (0, 1), None));
        }
        json!({ "findings": findings, "workloads": workloads, "incomplete": [] })
    }
}

fn finding(id: &str, kind: &str, name: &str, cause: &str, severity: &str) -> Value {
    json!({
        "finding_id": id, "category": "pod_health", "severity": severity, "title": format!("{name}: {cause}"), "description": "",
        "target": format!("k8s://shop/{name}"), "infra_type": "kubernetes", "cause": cause,
        "owner": { "kind": kind, "namespace": "shop", "name": name },
    })
}

fn workload(
    name: &str,
    desired: u32,
    (ready, restarts): (u32, u64),
    failed_after: Option<u64>,
) -> Value {
    let failed = (restarts > 0).then_some("2026-01-01T10:00:00Z");
    let runs = json!({ "restarts": restarts, "last_failed_at": failed, "failed_after_seconds": failed_after });
    let object = json!({ "kind": "Deployment", "namespace": "shop", "name": name });
    json!({ "object": object, "desired": desired, "ready": ready, "runs": runs })
}

#[async_trait]
impl JsonDoor for App {
    async fn call(&self, method: &'static str, _: Value) -> Result<Value, JsonRefusal> {
        Ok(match method {
            "missing_permissions" => json!([]),
            "dry_run" => {
                let mut after = self.object();
                *after
                    .pointer_mut("/spec/template/spec/containers/0/resources/limits/memory")
                    .unwrap() = json!("64Mi");
                let write = json!({ "method": "patch", "patch_type": "strategic", "body": {} });
                json!({ "uid": "u1", "before": self.object(), "after": after, "write": write })
            }
            "apply" => {
                self.state.lock().unwrap().applied = Some(Instant::now());
                self.object()
            }
            "is_in_force" => self.stands().into(),
            "undo" => {
                self.state.lock().unwrap().undone = true;
                json!("restored")
            }
            "settle" => Value::Null,
            _ => {
                self.state.lock().unwrap().looks += 1;
                self.scan()
            }
        })
    }
}

/// The same cluster with a scanner that is told of changes.
#[derive(Clone)]
pub(crate) struct Told(JsonCluster<App>, App);

#[async_trait]
impl DryRunner for Told {
    async fn missing_permissions(&self, plan: &Permitted) -> Result<Vec<String>, DryRunError> {
        self.0.missing_permissions(plan).await
    }
    async fn dry_run(&self, step: PermittedStep<'_>) -> Result<Preview, DryRunError> {
        self.0.dry_run(step).await
    }
}

#[async_trait]
impl Executor for Told {
    async fn apply(&self, step: ApprovedStep<'_>) -> Result<Value, ApplyError> {
        self.0.apply(step).await
    }
    async fn settle(&self, step: ApprovedStep<'_>) -> Result<(), SettleError> {
        self.0.settle(step).await
    }
    async fn is_in_force(&self, step: ApprovedStep<'_>) -> Result<bool, ApplyError> {
        self.0.is_in_force(step).await
    }
    async fn undo(&self, undo: UndoStep<'_>) -> Result<Undone, UndoError> {
        self.0.undo(undo).await
    }
}

#[async_trait]
impl Scanner for Told {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        self.0.scan(scope).await
    }
    fn begin_watch(&self, _: &Scope) -> Option<Box<dyn Watching>> {
        Some(Box::new(Watcher(self.1.clone())))
    }
}

struct Watcher(App);

#[async_trait]
impl Scanner for Watcher {
    async fn scan(&self, _: &Scope) -> Result<Scan, ScanError> {
        Ok(serde_json::from_value(self.0.scan()).unwrap())
    }
}

#[async_trait]
impl Watching for Watcher {
    async fn changed(&self) {
        let now = Instant::now();
        match self.0.events().into_iter().find(|when| *when > now) {
            Some(when) => sleep_until(when).await,
            None => std::future::pending().await,
        }
    }
}

type Observer = Box<dyn Fn(&AuditRecord) + Send + Sync>;

/// A host of the app.
pub(crate) struct Host {
    pub(crate) app: App,
    pub(crate) audit: MemoryAudit,
    pub(crate) plans: MemoryPlans,
    pub(crate) hold: HoldBounds,
    pub(crate) on_failure: OnFailure,
    pub(crate) is_told: bool,
}

impl Host {
    pub(crate) fn new(comes: Comes) -> Self {
        Self {
            app: App::new(comes),
            audit: MemoryAudit::new(),
            plans: MemoryPlans::default(),
            hold: HoldBounds::default(),
            on_failure: OnFailure::Undo,
            is_told: true,
        }
    }

    pub(crate) fn remediator(&self) -> Remediator {
        self.observed(Box::new(|_| ()))
    }

    pub(crate) fn observed(&self, observer: Observer) -> Remediator {
        let cluster = JsonCluster::new(self.app.clone());
        let command = "kubectl set resources deployment/web -n shop -c app --limits=memory=64Mi";
        let builder = Remediator::builder()
            .scope(Scope::namespaces(["shop"]).unwrap())
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(Scripted::commands(&[command]))
            .policy(PermitAll::dangerous())
            .audit(self.audit.clone())
            .plans(self.plans.clone())
            .hold(self.hold)
            .on_failure(self.on_failure)
            .observe(observer);
        let builder = match self.is_told {
            true => builder.cluster(Told(cluster, self.app.clone())),
            false => builder.cluster(cluster),
        };
        builder.build().unwrap()
    }

    pub(crate) async fn approved(&self, remediator: &Remediator) -> Approved {
        let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#).unwrap();
        let plan = remediator.suggest(&incident).await.unwrap();
        let permitted = remediator.review(plan).await.unwrap();
        let dry_run = remediator.dry_run(permitted).await.unwrap();
        dry_run.approve(Answer::confirm("operator")).unwrap()
    }

    /// What is recorded from the approval on.
    pub(crate) fn events(&self) -> Vec<AuditEvent> {
        let all = self.audit.all();
        let events = all.iter().map(|record| record.entry.event);
        events
            .skip_while(|event| *event != AuditEvent::Approved)
            .collect()
    }

    pub(crate) fn record(&self, event: AuditEvent) -> Option<AuditRecord> {
        let mut all = self.audit.all().into_iter().rev();
        all.find(|record| record.entry.event == event)
    }

    /// Until when it was to be watched, from the time of the record.
    pub(crate) fn held_for(&self) -> Duration {
        let record = self.record(AuditEvent::Holding).unwrap();
        let until: Timestamp = record.entry.hold.unwrap().until;
        until.duration_since(record.timestamp).unsigned_abs()
    }
}

/// Lets so much time pass.
pub(crate) async fn pass(time: Duration) {
    sleep(time).await;
}
