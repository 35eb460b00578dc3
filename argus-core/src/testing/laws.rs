//! The laws of the doors: what every implementor must keep, as functions to call in its tests.

use crate::actor::Actor;
use crate::audit::{AuditEntry, AuditEvent, AuditQuery, AuditSink};
use crate::digest::Digest;
use crate::incident::IncidentId;
use crate::plan_id::PlanId;
use crate::store::PlanStore;
use crate::verdict::{PolicyEngine, PolicyInput};

/// A law that doesn't hold, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

fn hold(holds: bool, law: &str) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken(law.to_owned()))
    }
}

/// The laws of an [`AuditSink`] that is empty: sequence, chain, order and queries.
///
/// # Errors
/// [`Broken`] names the law.
pub async fn audit_sink(sink: &dyn AuditSink) -> Result<(), Broken> {
    let failed = |error: crate::audit::AuditError| Broken(format!("the sink failed: {error}"));
    let incident = |name: &str| IncidentId::new(name).map_err(|error| Broken(error.to_string()));
    let plan = |n: usize| {
        PlanId::try_from(format!("PLAN-{n:032x}")).map_err(|error| Broken(error.to_string()))
    };
    let mut previous = Digest::ZERO;
    for n in 1..=5usize {
        let entry = AuditEntry {
            outcome: Some(format!("outcome {n} with a \"quote\" and a\nline").into()),
            ..AuditEntry::new(
                AuditEvent::Suggested,
                incident(if n % 2 == 0 { "INC-even" } else { "INC-odd" })?,
                plan(n)?,
                Actor::argus(),
            )
        };
        let record = sink.append(entry.clone()).await.map_err(failed)?;
        hold(
            record.sequence == n as u64,
            "records are numbered from 1 without gaps",
        )?;
        hold(
            record.previous == previous,
            "every record names the digest of the one before",
        )?;
        hold(
            record.entry == entry,
            "what was appended is what was stored",
        )?;
        previous = Digest::of_bytes(
            &serde_json::to_vec(&record).map_err(|error| Broken(error.to_string()))?,
        );
    }
    let all = sink.records(&AuditQuery::default()).await.map_err(failed)?;
    hold(
        all.iter().map(|record| record.sequence).eq((1..=5).rev()),
        "records are read newest first",
    )?;
    let odd = AuditQuery {
        incident_id: Some(incident("INC-odd")?),
        ..AuditQuery::default()
    };
    hold(
        sink.records(&odd).await.map_err(failed)?.len() == 3,
        "records are found by incident",
    )?;
    let one = AuditQuery {
        plan_id: Some(plan(2)?),
        ..AuditQuery::default()
    };
    hold(
        sink.records(&one).await.map_err(failed)?.len() == 1,
        "records are found by plan",
    )?;
    let newest = AuditQuery {
        limit: Some(2),
        ..AuditQuery::default()
    };
    hold(
        sink.records(&newest)
            .await
            .map_err(failed)?
            .iter()
            .map(|record| record.sequence)
            .eq([5, 4]),
        "the limit keeps the newest",
    )
}

/// The laws of a [`PolicyEngine`]: it is deterministic, and every opinion has evidence.
///
/// # Errors
/// [`Broken`] names the law.
pub async fn policy_engine(engine: &dyn PolicyEngine, input: &PolicyInput) -> Result<(), Broken> {
    let failed = |error: crate::verdict::PolicyError| Broken(format!("the engine failed: {error}"));
    let revision = engine.revision();
    let first = engine.evaluate(input).await.map_err(failed)?;
    let second = engine.evaluate(input).await.map_err(failed)?;
    hold(first == second, "the same input gives the same opinions")?;
    hold(
        engine.revision() == revision,
        "evaluating does not change the revision",
    )?;
    hold(!first.is_empty(), "at least one pack was asked")?;
    hold(
        first.iter().all(|opinion| !opinion.evaluated.is_empty()),
        "every pack evaluated a rule",
    )
}

/// The laws of a [`PlanStore`] that is empty: documents are kept whole, apart, and replaced.
///
/// # Errors
/// [`Broken`] names the law.
pub async fn plan_store(store: &dyn PlanStore) -> Result<(), Broken> {
    let failed = |error: crate::store::StoreError| Broken(format!("the store failed: {error}"));
    let plan = |n: usize| {
        PlanId::try_from(format!("PLAN-{n:032x}")).map_err(|error| Broken(error.to_string()))
    };
    let (one, other) = (plan(1)?, plan(2)?);
    hold(
        store.load(&one).await.map_err(failed)?.is_none(),
        "what was never saved is not there",
    )?;
    let long = "\u{e4}\n\"".repeat(100_000);
    for document in ["{}", long.as_str(), "short again"] {
        store.save(&one, document).await.map_err(failed)?;
        hold(
            store.load(&one).await.map_err(failed)?.as_deref() == Some(document),
            "what was saved last is what is loaded, to the byte",
        )?;
    }
    store.save(&other, "another").await.map_err(failed)?;
    hold(
        store.load(&one).await.map_err(failed)?.as_deref() == Some("short again"),
        "a document is not changed by another plan's",
    )
}
