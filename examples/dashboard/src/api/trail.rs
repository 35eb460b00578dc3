//! The audit trail: its records, as a table, whether its chain is whole, and as they come.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aide::axum::IntoApiResponse;
use argus_core::{AuditError, AuditQuery, AuditRecord, AuditSink, CSV_HEAD, FileAudit, csv};
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Extension, Json};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;

use super::MAX_RECORDS;
use super::exchange::{Answered, Asked};
use crate::guard::{Caller, Lease};
use crate::host::{Host, Told, Verified};
use crate::problem::Failure;

/// How many lines of a table wait for a client at most.
const LINES: usize = 256;
/// How long a client of a table may take nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the result of a check is given to others.
const CHECK_HOLDS: Duration = Duration::from_secs(5);

type Line = Result<String, AuditError>;

pub(super) async fn audit(
    State(host): State<Host>,
    Asked(query): Asked<AuditQuery>,
) -> Answered<Vec<AuditRecord>> {
    let limit = query.limit.unwrap_or(100).min(MAX_RECORDS);
    let query = AuditQuery {
        limit: Some(limit),
        ..query
    };
    Ok(Json(host.0.audit.records(&query).await?))
}

/// Reads the trail while the client takes it, never more than a few lines ahead.
pub(super) async fn audit_csv(
    State(host): State<Host>,
    Asked(query): Asked<AuditQuery>,
) -> Result<impl IntoApiResponse, Failure> {
    let turn = Arc::clone(&host.0.exporting).try_acquire_owned();
    let turn = turn.map_err(|_| {
        let detail = "the trail is being exported by others right now: try again in a moment";
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many", detail)
    })?;
    let (lines, mut taken) = channel::<Line>(LINES);
    tokio::spawn(async move {
        let left = Arc::new(AtomicBool::new(false));
        let result = {
            let (lines, left) = (lines.clone(), Arc::clone(&left));
            let runtime = Handle::current();
            let each = move |record: AuditRecord| {
                let sent = send(&runtime, &lines, csv(&record));
                left.store(!sent, Ordering::Relaxed);
                sent
            };
            host.0.audit.for_each(&query, each).await
        };
        // Whoever takes nothing doesn't keep others from theirs.
        drop(turn);
        let slow = || AuditError::Sink("the client took nothing for too long".into());
        let cut = left.load(Ordering::Relaxed).then(slow);
        if let Some(error) = result.err().or(cut) {
            // A table that isn't whole must not look like one.
            let _ = lines.send(Err(error)).await;
        }
    });
    let head = stream::iter([Ok(CSV_HEAD.to_owned())]);
    let table = stream::poll_fn(move |context| taken.poll_recv(context)).ready_chunks(LINES);
    let table = table.map(|lines| lines.into_iter().collect::<Line>());
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"argus-audit.csv\"",
        ),
    ];
    Ok((headers, Body::from_stream(head.chain(table))))
}

/// Hands a line to the client; whether it may still want more.
fn send(runtime: &Handle, lines: &Sender<Line>, line: String) -> bool {
    match lines.try_send(Ok(line)) {
        Ok(()) => true,
        Err(TrySendError::Closed(_)) => false,
        Err(TrySendError::Full(line)) => {
            let sent = runtime.block_on(timeout(PATIENCE, lines.send(line)));
            matches!(sent, Ok(Ok(())))
        }
    }
}

/// Checks the whole chain, one check at a time; whoever asks meanwhile or right after gets the same result.
pub(super) async fn verify(State(host): State<Host>) -> Answered<Verified> {
    // By itself: a client that leaves doesn't let the next one begin another.
    let check = tokio::spawn(async move {
        let mut last = host.0.verified.lock().await;
        if let Some((when, verified)) = &*last
            && when.elapsed() < CHECK_HOLDS
        {
            return Ok(verified.clone());
        }
        let folder = host.0.folder.clone();
        let checked = tokio::task::spawn_blocking(move || FileAudit::verify(folder)).await?;
        let (records, unproven, problem) = match checked {
            Ok(tail) => (tail.records, tail.unproven, None),
            Err(error) => (0, 0, Some(error.to_string())),
        };
        let verified = Verified {
            ok: problem.is_none(),
            records,
            unproven,
            problem,
            checked_at: Timestamp::now(),
        };
        *last = Some((Instant::now(), verified.clone()));
        Ok(verified)
    });
    let checked = check.await.unwrap_or_else(Err);
    let failed = |error: tokio::task::JoinError| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Failure::new(status, "internal", error.to_string())
    };
    Ok(Json(checked.map_err(failed)?))
}

/// Records and scans as they come, until the login ends that asked for them.
pub(super) async fn events(
    State(host): State<Host>,
    _: Caller,
    Extension(lease): Extension<Lease>,
) -> impl IntoResponse {
    let told = host.0.told.subscribe();
    let events = stream::unfold(told, |mut told| async move {
        let event = match told.recv().await {
            Ok(Told::Scanned) => Event::default().event("scan").data("{}"),
            Ok(Told::Recorded(record)) => {
                let event = Event::default().event("record");
                event.json_data(record).unwrap_or_default()
            }
            // The page reads everything again.
            Err(RecvError::Lagged(_)) => Event::default().event("scan").data("{}"),
            Ok(Told::Ending) | Err(RecvError::Closed) => return None,
        };
        Some((Ok::<_, Infallible>(event), told))
    });
    let events = events.take_until(lease.ends());
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
