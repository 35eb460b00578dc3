//! Jobs become findings: the last one of each kind, if it failed.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::lean::{Condition, Job};
use super::super::seen::{Seen, controller};
use super::Fault;
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    // Of those that one CronJob started, the last that came to an end.
    let mut last: BTreeMap<ObjectRef, &Job> = BTreeMap::new();
    let started = |job: &Job| {
        let status = job.status.as_ref();
        let started = status.and_then(|status| status.start_time.as_ref());
        started
            .or(job.metadata.creation_timestamp.as_ref())
            .map(|time| time.0)
    };
    for (name, job) in &seen.objects.jobs {
        let owner = match controller(&job.metadata) {
            Some(owner) => seen.named(&owner.kind, &owner.name),
            None => seen.named("Job", name),
        };
        if end(job).is_some()
            && last
                .get(&owner)
                .is_none_or(|other| started(other) <= started(job))
        {
            last.insert(owner, job);
        }
    }
    let failed = last
        .into_iter()
        .filter_map(|(owner, job)| failed(seen, owner, job));
    failed.collect()
}

fn end(job: &Job) -> Option<&Condition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })
}

fn failed(seen: &Seen, owner: ObjectRef, job: &Job) -> Option<Finding> {
    let end = end(job).filter(|end| end.type_ == "Failed")?;
    let name = &owner.name;
    let why = match end.reason.as_deref() {
        Some("BackoffLimitExceeded") => {
            "It was tried as often as it may be, and ended with an error each time."
        }
        Some("DeadlineExceeded") => "It took longer than it may.",
        _ => "Its own words say why.",
    };
    let fault = Fault {
        cause: Cause::JobFailed,
        category: if owner.kind == "CronJob" {
            Category::Cronjob
        } else {
            Category::PodHealth
        },
        severity: Severity::Medium,
        title: format!("The job {name} failed"),
        description: format!("The last run of the job {name} did not come to its end. {why}"),
    };
    let tries = job.status.as_ref().and_then(|status| status.failed);
    Some(Finding {
        evidence: end.message.iter().cloned().collect(),
        ..fault.of(
            seen,
            owner,
            "",
            json!({ "job": job.metadata.name, "failed": tries }),
        )
    })
}
