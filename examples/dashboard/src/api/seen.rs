//! What the last look at the cluster saw: findings, nodes, incidents with their diagnoses, and the trend.

use argus_core::{Diagnosis, Finding, IncidentId, NodeState, Scan, Severity, Workload};
use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::exchange::{Asked, Part, Written};
use super::{Id, known_incident, one_of_few};
use crate::guard::{Caller, Role};
use crate::host::{Host, Known, Seen, TrendPoint};
use crate::problem::Failure;

/// What the last scan found; of each list a part, the gravest findings first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Scanned<'a> {
    findings: &'a [Finding],
    total: usize,
    /// How many of each severity there are; nothing before the first scan.
    by_severity: Option<&'a TrendPoint>,
    /// What is wrong and was asked not to be reported, by an annotation.
    ignored: &'a [Finding],
    ignored_total: usize,
    workloads: &'a [Workload],
    workloads_total: usize,
    /// How many workloads want pods, and how many of those have all that they want.
    workloads_wanted: usize,
    workloads_ready: usize,
    incomplete: &'a [String],
    last_scan: Option<Timestamp>,
    error: Option<&'a str>,
}

impl<'a> Scanned<'a> {
    fn of(seen: &'a Seen, part: Part) -> Self {
        let Scan {
            findings,
            ignored,
            workloads,
            incomplete,
            ..
        } = &seen.scan;
        let wanted = || workloads.iter().filter(|workload| workload.desired > 0);
        Self {
            findings: part.of(findings),
            total: findings.len(),
            by_severity: seen.trend.back(),
            ignored: part.of(ignored),
            ignored_total: ignored.len(),
            workloads: part.of(workloads),
            workloads_total: workloads.len(),
            workloads_wanted: wanted().count(),
            workloads_ready: wanted()
                .filter(|workload| workload.ready >= workload.desired)
                .count(),
            incomplete,
            last_scan: seen.last_scan,
            error: seen.error.as_deref(),
        }
    }
}

pub(super) async fn scan(
    State(host): State<Host>,
    Asked(part): Asked<Part>,
) -> Result<Written<Scanned<'static>>, Failure> {
    let seen = host.seen();
    Ok(Written::of(&Scanned::of(&seen, part)))
}

pub(super) async fn sarif(State(host): State<Host>) -> Json<serde_json::Value> {
    let seen = host.seen();
    Json(seen.scan.to_sarif())
}

pub(super) async fn scan_now(
    State(host): State<Host>,
    caller: Caller,
    part: Asked<Part>,
) -> Result<Written<Scanned<'static>>, Failure> {
    caller.may(Role::Operator)?;
    host.refresh().await?;
    scan(State(host), part).await
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Nodes {
    nodes: Vec<NodeState>,
    total: usize,
    ready: usize,
    /// Why there are none: Argus may have no right to see them.
    error: Option<String>,
    last_scan: Option<Timestamp>,
}

pub(super) async fn nodes(State(host): State<Host>) -> Json<Nodes> {
    let seen = host.seen();
    Json(Nodes {
        nodes: seen.nodes.clone(),
        total: seen.nodes.len(),
        ready: seen.nodes.iter().filter(|node| node.ready).count(),
        error: seen.nodes_error.clone(),
        last_scan: seen.last_scan,
    })
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Diagnosed<'a> {
    incident_id: &'a IncidentId,
    /// `open` or `resolved`.
    status: &'static str,
    max_severity: Severity,
    created_at: Timestamp,
    resolved_at: Option<Timestamp>,
    finding_count: usize,
    findings: &'a [Finding],
    diagnosis: Option<&'a Diagnosis>,
}

impl<'a> From<&'a Known> for Diagnosed<'a> {
    fn from(known: &'a Known) -> Self {
        let findings = known.incident.findings();
        Self {
            incident_id: known.incident.incident_id(),
            status: if known.resolved_at.is_some() {
                "resolved"
            } else {
                "open"
            },
            max_severity: known.max_severity(),
            created_at: known.since,
            resolved_at: known.resolved_at,
            finding_count: findings.len(),
            findings,
            diagnosis: known.incident.diagnosis(),
        }
    }
}

/// Incidents, a part of them: the open ones first, of those the gravest.
#[derive(Serialize, JsonSchema)]
pub(super) struct Diagnoses<'a> {
    incidents: Vec<Diagnosed<'a>>,
    total: usize,
    open: usize,
}

pub(super) async fn diagnoses(
    State(host): State<Host>,
    Asked(part): Asked<Part>,
) -> Result<Written<Diagnoses<'static>>, Failure> {
    let seen = host.seen();
    Ok(Written::of(&Diagnoses {
        incidents: part.of(&seen.incidents).iter().map(Into::into).collect(),
        total: seen.incidents.len(),
        open: seen.open(),
    }))
}

pub(super) async fn diagnose(
    State(host): State<Host>,
    caller: Caller,
    part: Asked<Part>,
) -> Result<Written<Diagnoses<'static>>, Failure> {
    caller.may(Role::Operator)?;
    host.refresh().await?;
    diagnoses(State(host), part).await
}

/// Asks the model what an incident comes from; what it says stays until the findings change.
pub(super) async fn explain(
    State(host): State<Host>,
    caller: Caller,
    Path(id): Path<Id>,
) -> Result<Written<Diagnosed<'static>>, Failure> {
    caller.may(Role::Operator)?;
    let incident = known_incident(&host, &id)?;
    let _one_of_few = one_of_few(&host)?;
    let incident = host.heard(incident).await;
    let diagnosis = host.asked_by(&caller.name).diagnose(&incident).await?;
    let known = host.explained(&id.id, diagnosis);
    let known = known.ok_or_else(|| Failure::not_found("incident: it is over"))?;
    Ok(Written::of(&Diagnosed::from(&known)))
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Trend {
    trend: Vec<TrendPoint>,
}

pub(super) async fn trend(State(host): State<Host>) -> Json<Trend> {
    let seen = host.seen();
    let trend = seen.trend.iter().cloned().collect();
    Json(Trend { trend })
}
