//! What the host knows: the last scan, its incidents with their diagnoses, the trend, and the plans that run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use argus_core::{
    APPROVAL_LASTS, Actor, Answer, ApprovalError, Approved, AuditRecord, Diagnosis, Digest, DryRun,
    FileAudit, Finding, Incident, IncidentId, Kube, NodeState, Outcome, Playbook, Remediator, Scan,
    ScanError, Scope, Severity,
};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Semaphore, broadcast};

use crate::problem::Failure;

/// How many points of the trend are kept.
const MAX_TREND: usize = 120;
/// How many incidents that are over are kept.
const MAX_RESOLVED: usize = 50;
/// How many applies are remembered by their idempotency key.
const MAX_KEYS: usize = 1_000;
/// How many exports of the trail are read at a time.
const MAX_EXPORTS: usize = 2;
/// How many plans are written at a time.
const MAX_SUGGESTIONS: usize = 4;

/// What the page says about this host.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct About {
    /// Which cluster.
    pub cluster: String,
    /// The namespaces that Argus may look at and change.
    pub namespaces: Vec<String>,
    /// Who writes plans.
    pub model: String,
    /// Whether that is a language model, which can also be asked what incidents come from.
    pub asks_model: bool,
    /// Whether it is told what a broken container logged last.
    pub reading_logs: bool,
    /// Whether plans may be carried out.
    pub remediation_enabled: bool,
    /// Whether plans of high risk may be.
    pub allow_high_risk: bool,
}

/// How many findings there were of each severity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TrendPoint {
    pub(crate) timestamp: Timestamp,
    pub(crate) critical: usize,
    pub(crate) high: usize,
    pub(crate) medium: usize,
    pub(crate) low: usize,
    pub(crate) info: usize,
}

impl TrendPoint {
    fn of(findings: &[Finding]) -> Self {
        let of = |severity| {
            let same = findings
                .iter()
                .filter(|finding| finding.severity == severity);
            same.count()
        };
        Self {
            timestamp: Timestamp::now(),
            critical: of(Severity::Critical),
            high: of(Severity::High),
            medium: of(Severity::Medium),
            low: of(Severity::Low),
            info: of(Severity::Info),
        }
    }
}

/// An incident as long as somebody may want to see it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) incident: Incident,
    pub(crate) since: Timestamp,
    pub(crate) resolved_at: Option<Timestamp>,
    /// What a model said of it, for as long as the findings are the same.
    pub(crate) asked: Option<Diagnosis>,
}

/// The last look at the cluster.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) last_scan: Option<Timestamp>,
    pub(crate) scan: Scan,
    pub(crate) error: Option<String>,
    pub(crate) nodes: Vec<NodeState>,
    /// Why there are none.
    pub(crate) nodes_error: Option<String>,
    /// The open ones first, of those the gravest.
    pub(crate) incidents: Vec<Known>,
    pub(crate) trend: VecDeque<TrendPoint>,
}

/// The result of a check of the trail.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// Whether the chain is whole.
    pub(crate) ok: bool,
    /// How many records there are.
    pub(crate) records: u64,
    /// How many of those stand before the first that is there, and are said to have been removed: without a key nothing proves it.
    pub(crate) unproven: u64,
    /// What is wrong with the first bad one.
    pub(crate) problem: Option<String>,
    /// When it was checked.
    pub(crate) checked_at: Timestamp,
}

/// What open pages are told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// The cluster was looked at.
    Scanned,
    /// The program ends.
    Ending,
    /// Something was recorded.
    Recorded(Box<AuditRecord>),
}

type Running = Shared<BoxFuture<'static, Result<Outcome, Failure>>>;

/// Everything that the routes share.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) about: About,
    remediator: Remediator,
    kube: Kube,
    pub(crate) audit: FileAudit,
    pub(crate) folder: PathBuf,
    pub(crate) seen: RwLock<Seen>,
    pub(crate) told: broadcast::Sender<Told>,
    pub(crate) suggesting: Semaphore,
    pub(crate) exporting: Arc<Semaphore>,
    /// The last check of the trail, and when it was done; locked while one is at work.
    pub(crate) verified: tokio::sync::Mutex<Option<(Instant, Verified)>>,
    running: Mutex<Runs>,
    confirmed: Mutex<Confirmed>,
    scanning: tokio::sync::Mutex<()>,
    pub(crate) watch_interval: AtomicU64,
    pub(crate) counts: Counts,
}

#[derive(Default)]
struct Runs {
    by_key: BTreeMap<String, Running>,
    order: VecDeque<String>,
    alive: usize,
}

/// The yes of people to plans that take more of them, by the digest of what they saw.
pub(crate) type Confirmed = HashMap<Digest, Vec<(Instant, Answer)>>;

/// For the metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) scans: AtomicU64,
    pub(crate) scans_failed: AtomicU64,
    pub(crate) suggested: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) not_succeeded: AtomicU64,
}

/// What tells open pages of records; made before the remediator, which needs it.
#[derive(Debug, Clone)]
pub struct Telling(broadcast::Sender<Told>);

impl Default for Telling {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl Telling {
    /// For [`Builder::observe`](argus_core::Builder::observe).
    pub fn observer(&self) -> impl Fn(&AuditRecord) + Send + Sync + 'static {
        let told = self.0.clone();
        move |record| {
            // Nobody may be listening.
            let _ = told.send(Told::Recorded(Box::new(record.clone())));
        }
    }
}

impl Host {
    /// A host around a walk on the cluster `kube`; `folder` is that of the trail, and `telling` watches the remediator.
    #[must_use]
    pub fn new(
        about: About,
        remediator: Remediator,
        kube: Kube,
        audit: FileAudit,
        folder: PathBuf,
        telling: Telling,
        watch_interval: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            about,
            remediator,
            kube,
            audit,
            folder,
            seen: RwLock::default(),
            told: telling.0,
            suggesting: Semaphore::new(MAX_SUGGESTIONS),
            exporting: Arc::new(Semaphore::new(MAX_EXPORTS)),
            verified: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            confirmed: Mutex::default(),
            scanning: tokio::sync::Mutex::default(),
            watch_interval: AtomicU64::new(watch_interval.as_secs().max(1)),
            counts: Counts::default(),
        }))
    }

    /// The walk, asked for by this user.
    pub(crate) fn asked_by(&self, user: &str) -> Remediator {
        match Actor::user(user) {
            Ok(actor) => self.0.remediator.asked_by(actor),
            // No name of the configuration, which was checked: the host's own name then.
            Err(_) => self.0.remediator.clone(),
        }
    }

    /// The last look at the cluster.
    pub(crate) fn seen(&self) -> RwLockReadGuard<'_, Seen> {
        self.0.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen_mut(&self) -> RwLockWriteGuard<'_, Seen> {
        self.0.seen.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the cluster now.
    ///
    /// # Errors
    /// [`ScanError`] when nothing could be read; what was seen before stays.
    pub async fn refresh(&self) -> Result<(), ScanError> {
        let _one_at_a_time = self.0.scanning.lock().await;
        let (scanned, nodes) = tokio::join!(self.0.remediator.scan(), self.0.kube.node_states());
        let counts = &self.0.counts;
        let result = match scanned {
            Ok(scan) => {
                counts.scans.fetch_add(1, Ordering::Relaxed);
                let incidents = Incident::correlate(scan.findings.clone());
                let mut seen = self.seen_mut();
                seen.last_scan = Some(Timestamp::now());
                seen.error = incidents.as_ref().err().map(ToString::to_string);
                if let Ok(incidents) = incidents {
                    seen.keep(incidents);
                }
                seen.trend.push_back(TrendPoint::of(&scan.findings));
                while seen.trend.len() > MAX_TREND {
                    seen.trend.pop_front();
                }
                seen.scan = scan;
                seen.scan.findings.sort_by(|a, b| {
                    (b.severity.cmp(&a.severity)).then_with(|| a.title.cmp(&b.title))
                });
                Ok(())
            }
            Err(error) => {
                counts.scans_failed.fetch_add(1, Ordering::Relaxed);
                let mut seen = self.seen_mut();
                seen.error = Some(error.to_string());
                Err(error)
            }
        };
        let mut seen = self.seen_mut();
        seen.nodes_error = nodes.as_ref().err().map(|error| error.problem.clone());
        seen.nodes = nodes.unwrap_or_default();
        drop(seen);
        let _ = self.0.told.send(Told::Scanned);
        result
    }

    /// Looks at the cluster again and again, for as long as it is polled.
    pub async fn watch(&self) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the cluster could not be scanned");
            }
            let seconds = self.0.watch_interval.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// With what its containers logged last, where the host may read that. A plan can be made without.
    pub(crate) async fn heard(&self, incident: Incident) -> Incident {
        let scope = Scope::namespaces(self.0.about.namespaces.clone());
        let (true, Ok(scope)) = (self.0.about.reading_logs, scope) else {
            return incident;
        };
        match self.0.kube.with_last_words(incident.clone(), &scope).await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::warn!(%error, "the logs of the broken containers could not be read");
                incident
            }
        }
    }

    /// Finishes or undoes what an earlier process was cut off at.
    pub async fn resume(&self) {
        let unfinished = self.0.remediator.unfinished().await;
        for plan_id in unfinished.unwrap_or_default() {
            match self.0.remediator.resume(&plan_id).await {
                Ok(outcome) => tracing::info!(%plan_id, ending = ?outcome.ending, "resumed"),
                Err(error) => tracing::error!(%plan_id, %error, "could not be resumed"),
            }
        }
    }

    /// Runs a plan to its end, also if whoever asked for it is gone; the same key means the same run.
    pub(crate) fn run(
        &self,
        key: Option<String>,
        run: impl Future<Output = Result<Outcome, Failure>> + Send + 'static,
    ) -> Running {
        let mut runs = self
            .0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = key.as_ref().and_then(|key| runs.by_key.get(key)) {
            return known.clone();
        }
        runs.alive += 1;
        let host = self.clone();
        let task = tokio::spawn(async move {
            let result = run.await;
            let succeeded = matches!(&result, Ok(outcome) if outcome.success);
            let counts = &host.0.counts;
            let count = if succeeded {
                &counts.succeeded
            } else {
                &counts.not_succeeded
            };
            count.fetch_add(1, Ordering::Relaxed);
            host.ended();
            // What the plan changed is seen at once.
            let _ = host.refresh().await;
            result
        });
        let gone = "the execution did not come to its end: see the audit trail";
        let running = task
            .map(move |done| {
                done.unwrap_or_else(|_| {
                    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                    Err(Failure::new(status, "internal", gone))
                })
            })
            .boxed()
            .shared();
        if let Some(key) = key {
            runs.order.push_back(key.clone());
            runs.by_key.insert(key, running.clone());
            if runs.order.len() > MAX_KEYS
                && let Some(oldest) = runs.order.pop_front()
            {
                runs.by_key.remove(&oldest);
            }
        }
        running
    }

    /// Tells open pages that the program ends, so that it doesn't wait for them.
    pub fn close(&self) {
        let _ = self.0.told.send(Told::Ending);
    }

    fn ended(&self) {
        let mut runs = self
            .0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        runs.alive = runs.alive.saturating_sub(1);
    }

    /// How many plans run right now.
    #[must_use]
    pub fn running(&self) -> usize {
        let runs = self
            .0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        runs.alive
    }

    /// Approves in the name of whoever answers, and of those who did before; if that is too few, the answer is kept for as long
    /// as an approval would hold.
    pub(crate) fn approve(
        &self,
        dry_run: DryRun,
        answer: Answer,
    ) -> Result<Approved, ApprovalError> {
        let lasts = APPROVAL_LASTS.unsigned_abs();
        let mut confirmed = self
            .0
            .confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        confirmed.retain(|_, answers| {
            answers.retain(|(when, _)| when.elapsed() < lasts);
            !answers.is_empty()
        });
        let digest = dry_run.digest();
        let before = confirmed.get(&digest).into_iter().flatten();
        let answers = before.map(|(_, answer)| answer.clone());
        let approved = dry_run.approve_together(answers.chain([answer.clone()]));
        match &approved {
            Ok(_) => {
                confirmed.remove(&digest);
            }
            Err(ApprovalError::PeopleNeeded { .. }) if confirmed.len() < MAX_KEYS => {
                confirmed
                    .entry(digest)
                    .or_default()
                    .push((Instant::now(), answer));
            }
            Err(_) => {}
        }
        approved
    }

    /// Keeps what a model said of an incident.
    pub(crate) fn explained(&self, id: &str, diagnosis: Diagnosis) -> Option<Known> {
        let mut seen = self.seen_mut();
        let mut known = seen.incidents.iter_mut();
        let known = known.find(|known| known.incident.incident_id().as_str() == id)?;
        known.asked = Some(diagnosis.clone());
        let (id, findings) = (
            known.incident.incident_id().clone(),
            known.incident.findings().to_vec(),
        );
        known.incident = Incident::new(id, findings, Some(diagnosis)).ok()?;
        Some(known.clone())
    }

    pub(crate) fn incident(&self, id: &str) -> Option<Incident> {
        let seen = self.seen();
        let mut known = seen.incidents.iter();
        let found = known.find(|known| known.incident.incident_id().as_str() == id);
        found.map(|known| known.incident.clone())
    }
}

impl Seen {
    /// How many incidents are open, which stand first.
    pub(crate) fn open(&self) -> usize {
        self.incidents
            .partition_point(|known| known.resolved_at.is_none())
    }

    /// The incidents of a new scan, diagnosed; those that are over stay for a while.
    fn keep(&mut self, incidents: Vec<Incident>) {
        let now = Timestamp::now();
        let known = std::mem::take(&mut self.incidents).into_iter();
        let (mut before, mut over) = (BTreeMap::new(), Vec::new());
        for known in known {
            match known.resolved_at {
                None => {
                    before.insert(known.incident.incident_id().clone(), known);
                }
                Some(_) => over.push(known),
            }
        }
        for incident in incidents {
            let id = incident.incident_id().clone();
            let before = before.remove(&id);
            let since = before.as_ref().map_or(now, |known| known.since);
            let asked = before.and_then(|known| known.asked);
            let asked = asked.filter(|diagnosis| {
                let findings = incident.findings().iter();
                findings
                    .map(|finding| &finding.finding_id)
                    .eq(&diagnosis.finding_ids)
            });
            let fixed = || Playbook::diagnose(incident.findings());
            let diagnosis = asked.clone().or_else(fixed);
            let diagnosed = Incident::new(id, incident.findings().to_vec(), diagnosis);
            self.incidents.push(Known {
                incident: diagnosed.unwrap_or(incident),
                since,
                resolved_at: None,
                asked,
            });
        }
        let now_over = before.into_values().map(|known| Known {
            resolved_at: Some(now),
            ..known
        });
        over.extend(now_over);
        let open: BTreeSet<&IncidentId> = self
            .incidents
            .iter()
            .map(|known| known.incident.incident_id())
            .collect();
        over.retain(|known| !open.contains(known.incident.incident_id()));
        over.sort_by_key(|known| Reverse(known.resolved_at));
        over.truncate(MAX_RESOLVED);
        self.incidents
            .sort_by_cached_key(|known| Reverse(known.max_severity()));
        self.incidents.extend(over);
    }
}

impl Known {
    pub(crate) fn max_severity(&self) -> Severity {
        let findings = self.incident.findings().iter();
        let severities = findings.map(|finding| finding.severity);
        severities.max().unwrap_or(Severity::Info)
    }
}
