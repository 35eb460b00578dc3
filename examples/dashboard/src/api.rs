//! The routes: the mission's three, those of argus-ops where it has them, and what the page needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use aide::openapi::{Info, OpenApi};
use aide::transform::TransformOperation;
use argus_core::{
    Answer, AuditEvent, AuditQuery, AuditRecord, AuditSink, Digest, DryRun, Incident, Outcome,
    Plan, PlanId, PlanState, Remediator, Shown, Violation,
};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::SemaphorePermit;

use self::exchange::{Answered, Body, Key};
use self::seen::{diagnose, diagnoses, explain, nodes, sarif, scan, scan_now, trend};
use self::trail::{audit, audit_csv, events, verify};
use crate::guard::{Caller, Role};
use crate::host::{About, Host};
use crate::problem::Failure;

mod exchange;
mod seen;
mod trail;

/// How many records of the trail an answer holds at most.
const MAX_RECORDS: usize = 1_000;
/// How many plans a list holds at most.
const MAX_PLANS: usize = 50;

#[derive(Serialize, JsonSchema)]
struct Status {
    ok: bool,
    version: &'static str,
    last_scan: Option<Timestamp>,
    error: Option<String>,
    incomplete: Vec<String>,
    server_time: Timestamp,
    #[serde(flatten)]
    about: About,
}

async fn status(State(host): State<Host>) -> Json<Status> {
    let seen = host.seen();
    Json(Status {
        ok: seen.error.is_none(),
        version: env!("CARGO_PKG_VERSION"),
        last_scan: seen.last_scan,
        error: seen.error.clone(),
        incomplete: seen.scan.incomplete.clone(),
        server_time: Timestamp::now(),
        about: host.0.about.clone(),
    })
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// How many seconds there are between two looks at the cluster.
    #[schemars(range(min = 1, max = 3600))]
    watch_interval: u64,
}

async fn settings(State(host): State<Host>) -> Json<Settings> {
    let watch_interval = host.0.watch_interval.load(Ordering::Relaxed);
    Json(Settings { watch_interval })
}

async fn set_settings(
    State(host): State<Host>,
    caller: Caller,
    Body(wanted): Body<Settings>,
) -> Answered<Settings> {
    caller.may(Role::Admin)?;
    if !(1..=3600).contains(&wanted.watch_interval) {
        let detail = "watch_interval has to be between 1 and 3600 seconds";
        return Err(Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "out_of_bounds",
            detail,
        ));
    }
    host.0
        .watch_interval
        .store(wanted.watch_interval, Ordering::Relaxed);
    Ok(Json(wanted))
}

/// An id in a path, checked by whoever it is for.
#[derive(Deserialize, JsonSchema)]
struct Id {
    /// Of an incident where a plan is suggested, of a plan everywhere else.
    id: String,
}

impl Id {
    fn plan(&self) -> Result<PlanId, Failure> {
        let unknown = |_| Failure::not_found(&format!("plan `{}`", argus_core::redact(&self.id)));
        PlanId::try_from(self.id.clone()).map_err(unknown)
    }
}

fn known_incident(host: &Host, id: &Id) -> Result<Incident, Failure> {
    let unknown = || Failure::not_found(&format!("incident `{}`", argus_core::redact(&id.id)));
    host.incident(&id.id).ok_or_else(unknown)
}

/// The right to ask the model, which only a few have at a time.
fn one_of_few(host: &Host) -> Result<SemaphorePermit<'_>, Failure> {
    host.0.suggesting.try_acquire().map_err(|_| {
        let detail = "the model is being asked by others right now: try again in a moment";
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many", detail)
    })
}

/// A plan that nobody was asked about yet.
#[derive(Serialize, JsonSchema)]
struct Suggested {
    #[serde(flatten)]
    plan: Plan,
    /// Why it would be refused whatever policy and the cluster say.
    refusals: Vec<Violation>,
}

async fn suggest(
    State(host): State<Host>,
    caller: Caller,
    Path(id): Path<Id>,
) -> Answered<Suggested> {
    caller.may(Role::Operator)?;
    let incident = known_incident(&host, &id)?;
    let _one_of_few = one_of_few(&host)?;
    let incident = host.heard(incident).await;
    let remediator = host.asked_by(&caller.name);
    let plan = remediator.suggest(&incident).await?;
    host.0.counts.suggested.fetch_add(1, Ordering::Relaxed);
    let refusals = remediator.refusals(&plan);
    Ok(Json(Suggested { plan, refusals }))
}

/// A plan, and what the trail says became of it.
#[derive(Serialize, JsonSchema)]
struct PlanAndState {
    plan: Plan,
    state: Option<PlanState>,
}

async fn plan_of(walk: &Remediator, id: &Id) -> Result<Plan, Failure> {
    let plan_id = id.plan()?;
    let plan = walk.plan(&plan_id).await?;
    plan.ok_or_else(|| Failure::not_found(&format!("plan {plan_id}")))
}

async fn plan(
    State(host): State<Host>,
    caller: Caller,
    Path(id): Path<Id>,
) -> Answered<PlanAndState> {
    let plan = plan_of(&host.asked_by(&caller.name), &id).await?;
    let query = AuditQuery {
        plan_id: Some(plan.plan_id().clone()),
        ..AuditQuery::default()
    };
    let mut records = host.0.audit.records(&query).await?;
    records.reverse();
    let state = PlanState::of(&records);
    Ok(Json(PlanAndState { plan, state }))
}

/// What became of a plan, and what it was to do.
#[derive(Serialize, JsonSchema)]
struct Became {
    /// What it was to do; null if the plan is no longer kept.
    summary: Option<String>,
    #[serde(flatten)]
    state: PlanState,
}

#[derive(Serialize, JsonSchema)]
struct Plans {
    plans: Vec<Became>,
}

async fn plans(State(host): State<Host>, caller: Caller) -> Answered<Plans> {
    let query = AuditQuery {
        limit: Some(MAX_RECORDS),
        ..AuditQuery::default()
    };
    let mut by_plan: BTreeMap<PlanId, Vec<AuditRecord>> = BTreeMap::new();
    for record in host.0.audit.records(&query).await?.into_iter().rev() {
        by_plan
            .entry(record.entry.plan_id.clone())
            .or_default()
            .push(record);
    }
    let states = by_plan
        .values()
        .filter_map(|records| PlanState::of(records))
        // No plan came of what was only asked.
        .filter(|state| state.last != AuditEvent::Asked);
    let mut states: Vec<PlanState> = states.collect();
    states.sort_by_key(|plan| std::cmp::Reverse(plan.at));
    states.truncate(MAX_PLANS);
    let walk = host.asked_by(&caller.name);
    let mut plans = Vec::new();
    for state in states {
        let plan = walk.plan(&state.plan_id).await?;
        let summary = plan.map(|plan| plan.summary().to_owned());
        plans.push(Became { summary, state });
    }
    Ok(Json(Plans { plans }))
}

/// Every door again: an id is worth nothing by itself.
async fn tried(walk: &Remediator, id: &Id) -> Result<DryRun, Failure> {
    let plan = plan_of(walk, id).await?;
    let permitted = walk.review(plan).await?;
    Ok(walk.dry_run(permitted).await?)
}

async fn dry_run(State(host): State<Host>, caller: Caller, Path(id): Path<Id>) -> Answered<Shown> {
    caller.may(Role::Operator)?;
    let dry_run = tried(&host.asked_by(&caller.name), &id).await?;
    Ok(Json(Shown::from(&dry_run)))
}

/// What a person says to a dry run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    /// The digest of the dry run that they saw.
    digest: Digest,
    /// "I understand this will change my cluster."
    confirmed: bool,
    /// For a plan of high risk: the name that they typed.
    typed_name: Option<String>,
}

/// `RemediationResult`, and the sentence for people.
#[derive(Serialize, JsonSchema)]
struct Applied {
    #[serde(flatten)]
    outcome: Outcome,
    /// Such as `Fixed: 2 issues resolved. Remaining: 1 issue still present.`
    summary: Option<String>,
}

impl From<Outcome> for Applied {
    fn from(outcome: Outcome) -> Self {
        let summary = outcome.summary();
        Self { outcome, summary }
    }
}

async fn apply(
    State(host): State<Host>,
    caller: Caller,
    Path(id): Path<Id>,
    Key(key): Key,
    Body(said): Body<Confirmation>,
) -> Answered<Applied> {
    caller.may(Role::Operator)?;
    if !said.confirmed {
        let detail = "nothing was done: `confirmed` has to be true, which says \"I understand this will change my cluster\"";
        return Err(Failure::new(StatusCode::FORBIDDEN, "not_approved", detail));
    }
    let key = key.map(|key| format!("{}/{}/{}/{key}", caller.name, id.id, said.digest));
    let (walk, asked) = (host.asked_by(&caller.name), host.clone());
    let run = async move {
        let dry_run = tried(&walk, &id).await?;
        if dry_run.digest() != said.digest {
            return Err(Failure::stale(
                "something changed since the dry run that was confirmed; nothing was done: look at it again",
            ));
        }
        let answer = match said.typed_name {
            Some(name) => Answer::confirm_by_name(caller.name, name),
            None => Answer::confirm(caller.name),
        };
        let approved = asked.approve(dry_run, answer)?;
        Ok(walk.execute(approved).await?)
    };
    let outcome = host.run(key, run).await?;
    Ok(Json(outcome.into()))
}

async fn undo(State(host): State<Host>, caller: Caller, Path(id): Path<Id>) -> Answered<Applied> {
    caller.may(Role::Operator)?;
    let plan_id = id.plan()?;
    let walk = host.asked_by(&caller.name);
    let run = async move { Ok(walk.undo(&plan_id).await?) };
    Ok(Json(host.run(None, run).await?.into()))
}

async fn healthy() -> &'static str {
    "ok\n"
}

async fn ready(State(host): State<Host>) -> impl IntoResponse {
    let seen = host.seen();
    if seen.last_scan.is_some() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the cluster was not scanned yet\n",
        )
    }
}

async fn metrics(State(host): State<Host>) -> impl IntoResponse {
    let counts = &host.0.counts;
    let seen = host.seen();
    let mut text = match seen.last_scan {
        Some(_) => seen.scan.to_prometheus(),
        None => String::new(),
    };
    let mut add = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in values {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
    };
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let one = |count| [(String::new(), count)];
    add(
        "argus_scans_total",
        "counter",
        "Scans of the cluster.",
        &one(read(&counts.scans)),
    );
    add(
        "argus_scans_failed_total",
        "counter",
        "Scans that saw nothing.",
        &one(read(&counts.scans_failed)),
    );
    add(
        "argus_plans_suggested_total",
        "counter",
        "Plans that were suggested.",
        &one(read(&counts.suggested)),
    );
    add(
        "argus_plans_running",
        "gauge",
        "Plans that run right now.",
        &one(host.running() as u64),
    );
    let ended = |ending: &str, count| (format!("{{succeeded=\"{ending}\"}}"), count);
    let ended = [
        ended("true", read(&counts.succeeded)),
        ended("false", read(&counts.not_succeeded)),
    ];
    add(
        "argus_plans_executed_total",
        "counter",
        "Plans that were carried out, or were to be.",
        &ended,
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn about(summary: &'static str) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |operation| operation.summary(summary)
}

pub(crate) fn routes() -> Router<Host> {
    let mut document_of = OpenApi {
        info: Info {
            title: "Argus dashboard".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Info::default()
        },
        ..OpenApi::default()
    };
    let api = ApiRouter::new()
        .api_route("/api/status", get_with(status, about("How the host is")))
        .api_route(
            "/api/scan",
            get_with(scan, about("What the last scan found"))
                .post_with(scan_now, about("Look at the cluster now")),
        )
        .api_route(
            "/api/scan/sarif",
            get_with(sarif, about("What the last scan found, as a SARIF log")),
        )
        .api_route(
            "/api/nodes",
            get_with(
                nodes,
                about("The nodes of the cluster, if Argus may see them"),
            ),
        )
        .api_route(
            "/api/diagnoses",
            get_with(
                diagnoses,
                about("Incidents with their diagnoses, the gravest first"),
            ),
        )
        .api_route(
            "/api/diagnose",
            post_with(diagnose, about("Scan and diagnose now")),
        )
        .api_route(
            "/api/diagnose/{id}",
            post_with(
                explain,
                about("Ask the model what an incident comes from; nothing is changed"),
            ),
        )
        .api_route(
            "/api/trend",
            get_with(trend, about("Findings by severity, scan by scan")),
        )
        .api_route(
            "/api/settings",
            get_with(settings, about("The settings"))
                .post_with(set_settings, about("Change the settings")),
        )
        .api_route(
            "/api/remediate/{id}",
            post_with(
                suggest,
                about("Ask for a plan for an incident; nothing is executed"),
            ),
        )
        .api_route(
            "/api/remediate/{id}/dry-run",
            post_with(dry_run, about("Try a plan without doing it")),
        )
        .api_route(
            "/api/remediate/{id}/apply",
            post_with(apply, about("Carry out a plan whose dry run was confirmed")),
        )
        .api_route(
            "/api/remediate/{id}/undo",
            post_with(undo, about("Undo a plan that was carried out")),
        )
        .api_route(
            "/api/plans",
            get_with(plans, about("What became of the latest plans")),
        )
        .api_route(
            "/api/plans/{id}",
            get_with(plan, about("A plan, and what became of it")),
        )
        .api_route(
            "/api/audit",
            get_with(audit, about("The audit trail, newest first")),
        )
        .api_route(
            "/api/audit/verify",
            get_with(verify, about("Check the chain of the audit trail")),
        )
        .finish_api(&mut document_of);
    let text: Arc<str> = serde_json::to_string(&document_of)
        .unwrap_or_default()
        .into();
    let json = [(header::CONTENT_TYPE, "application/json")];
    api.route("/api/audit.csv", get(audit_csv))
        .route("/api/events", get(events))
        .route("/openapi.json", get(async move || (json, text.to_string())))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}
