//! Which records are meant, what they say about one plan, and how they are handed on.

use std::fmt::Write as _;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AuditEvent, AuditRecord, StepStatus, step_statuses, unfinished_plans};
use crate::actor::Actor;
use crate::incident::IncidentId;
use crate::kubectl::parse_command;
use crate::plan_id::PlanId;
use crate::redact::Redacted;

/// Which records to read: all conditions hold. Answers are newest first.
///
/// # Example
/// ```
/// use argus_core::{AuditEvent, AuditQuery};
/// let page = AuditQuery { event: Some(AuditEvent::Finished), limit: Some(20), ..AuditQuery::default() };
/// // The next page begins before the last record of this one.
/// let next = AuditQuery { before: Some(81), ..page };
/// # let _ = next;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditQuery {
    /// Only of this incident.
    pub incident_id: Option<IncidentId>,
    /// Only of this plan.
    pub plan_id: Option<PlanId>,
    /// Only what this user or component asked for, by name.
    pub actor: Option<String>,
    /// Only what happened so.
    pub event: Option<AuditEvent>,
    /// Only steps of this kind of action, such as `set_image`.
    pub action: Option<String>,
    /// Only records with this text in their command or outcome, whatever its case.
    pub text: Option<String>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// Only records with a larger number.
    pub after: Option<u64>,
    /// Only records with a smaller number: the next page.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl AuditQuery {
    /// Whether a record is meant, whatever the limit.
    #[must_use]
    pub fn matches(&self, record: &AuditRecord) -> bool {
        let entry = &record.entry;
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.incident_id
            .as_ref()
            .is_none_or(|id| *id == entry.incident_id)
            && self.plan_id.as_ref().is_none_or(|id| *id == entry.plan_id)
            && same(&self.actor, entry.requested_by.name())
            && self.event.is_none_or(|event| event == entry.event)
            && self.since.is_none_or(|since| record.timestamp >= since)
            && self.until.is_none_or(|until| record.timestamp < until)
            && self.after.is_none_or(|after| record.sequence > after)
            && self.before.is_none_or(|before| record.sequence < before)
            && self.action.as_ref().is_none_or(|action| {
                let command = entry.command.as_deref().map(parse_command);
                command.is_some_and(|found| found.is_ok_and(|found| found.kind() == action))
            })
            && self.text.as_ref().is_none_or(|text| {
                let text = text.to_lowercase();
                let has = |field: &Option<Redacted>| {
                    let field = field.as_ref().map(|field| field.to_lowercase());
                    field.is_some_and(|field| field.contains(&text))
                };
                has(&entry.command) || has(&entry.outcome)
            })
    }

    /// Whether every record before this one is too old to be meant.
    fn ends_at(&self, record: &AuditRecord) -> bool {
        let after = self.after.is_some_and(|after| record.sequence <= after);
        let since = self.since.is_some_and(|since| record.timestamp < since);
        after || since
    }
}

/// Hands on the records that a query means, as they are found.
pub(super) struct Found<'a, F> {
    query: &'a AuditQuery,
    count: usize,
    each: F,
}

impl<'a, F: FnMut(AuditRecord) -> bool> Found<'a, F> {
    /// `each` says whether it wants more.
    pub(super) fn new(query: &'a AuditQuery, each: F) -> Self {
        Self {
            query,
            count: 0,
            each,
        }
    }

    /// Takes a record, newest first, if it is meant; the answer is whether older ones could be.
    pub(super) fn add(&mut self, record: AuditRecord) -> bool {
        let limit = self.query.limit.unwrap_or(usize::MAX);
        if self.count >= limit || self.query.ends_at(&record) {
            return false;
        }
        let mut more = true;
        if self.query.matches(&record) {
            self.count += 1;
            more = (self.each)(record);
        }
        more && self.count < limit
    }
}

/// What the trail says about one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanState {
    /// Whose plan.
    pub plan_id: PlanId,
    /// Whose incident.
    pub incident_id: IncidentId,
    /// What happened last.
    pub last: AuditEvent,
    /// When.
    pub at: Timestamp,
    /// Who approved it; absent if nobody did.
    #[serde(default, deserialize_with = "crate::actor::stored_if_any")]
    pub approved_by: Option<Actor>,
    /// Whether it was approved and came to its end, and no undo of it is at work.
    pub is_finished: bool,
    /// How it ended, in words; absent until then.
    pub outcome: Option<Redacted>,
    /// Each step that was begun, in order.
    pub steps: Vec<StepStatus>,
    /// How many findings there were before, and how many there are now; absent without a re-scan.
    pub findings: Option<(usize, usize)>,
}

impl PlanState {
    /// From the records of one plan, oldest first; `None` without any.
    #[must_use]
    pub fn of(records: &[AuditRecord]) -> Option<Self> {
        let last = records.last()?;
        let find = |event: AuditEvent| {
            records
                .iter()
                .rev()
                .find(|record| record.entry.event == event)
        };
        let finished = find(AuditEvent::Finished);
        let open = unfinished_plans(records).contains(&last.entry.plan_id);
        let findings = records.iter().rev().find_map(|record| {
            let entry = &record.entry;
            Some((entry.findings_before?, entry.findings_after?))
        });
        Some(Self {
            plan_id: last.entry.plan_id.clone(),
            incident_id: last.entry.incident_id.clone(),
            last: last.entry.event,
            at: last.timestamp,
            approved_by: find(AuditEvent::Approved).map(|record| record.entry.requested_by.clone()),
            is_finished: finished.is_some() && !open,
            outcome: finished.and_then(|record| record.entry.outcome.clone()),
            steps: step_statuses(records),
            findings,
        })
    }
}

/// The head of [`csv`]'s table.
pub const CSV_HEAD: &str = "sequence,timestamp,event,incident_id,plan_id,step,requested_by,command,outcome,findings_before,findings_after,model,input_tokens,output_tokens,cost_usd\r\n";

/// One record as a line of CSV (RFC 4180). What a spreadsheet would take for a formula begins with `'`.
#[must_use]
pub fn csv(record: &AuditRecord) -> String {
    let entry = &record.entry;
    let call = entry.call.as_ref();
    let number = |number: Option<usize>| number.map(|number| number.to_string());
    let event = serde_json::to_value(entry.event).unwrap_or_default();
    let fields = [
        Some(record.sequence.to_string()),
        Some(record.timestamp.to_string()),
        event.as_str().map(str::to_owned),
        Some(entry.incident_id.to_string()),
        Some(entry.plan_id.to_string()),
        number(entry.step),
        Some(entry.requested_by.name().to_owned()),
        entry.command.as_ref().map(Redacted::to_string),
        entry.outcome.as_ref().map(Redacted::to_string),
        number(entry.findings_before),
        number(entry.findings_after),
        call.map(|call| call.model.clone()),
        call.map(|call| call.input_tokens.to_string()),
        call.map(|call| call.output_tokens.to_string()),
        call.and_then(|call| Some(call.cost_usd?.as_dollars().to_string())),
    ];
    let mut line = String::new();
    for (index, field) in fields.into_iter().enumerate() {
        let mut field = field.unwrap_or_default();
        if field.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            field.insert(0, '\'');
        }
        let comma = if index == 0 { "" } else { "," };
        // Writing to a String can't fail.
        let _ = if field.contains([',', '"', '\n', '\r']) {
            write!(line, "{comma}\"{}\"", field.replace('"', "\"\""))
        } else {
            write!(line, "{comma}{field}")
        };
    }
    line + "\r\n"
}
