//! CronJobs become findings: one that is suspended, or whose time never comes.

use k8s_openapi::api::batch::v1::CronJob;
use serde_json::json;

use super::super::seen::{Seen, object};
use super::Fault;
use crate::incident::{Category, Cause, Finding, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let jobs = seen.objects.cron_jobs.values();
    jobs.filter_map(|job| suspended(seen, job).or_else(|| never(seen, job)))
        .collect()
}

/// A day that no month of the schedule has.
fn never(seen: &Seen, job: &CronJob) -> Option<Finding> {
    let schedule = &job.spec.schedule;
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let [minute, hour, day, month, "*"] = fields.as_slice() else {
        return None;
    };
    let (number, month_number) = (day.parse::<u8>().ok()?, month.parse::<u8>().ok()?);
    let last = match month_number {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if number <= last {
        return None;
    }
    // The last day that the month has every year.
    let last = last.min(if month_number == 2 { 28 } else { 30 });
    let right = format!("{minute} {hour} {last} {month} *");
    let owner = object("CronJob", &job.metadata);
    let name = &owner.name;
    let fault = Fault {
        cause: Cause::Schedule,
        category: Category::Cronjob,
        severity: Severity::Medium,
        title: format!("The time of {name} never comes"),
        description: format!(
            "The scheduled job {name} is to start on day {day} of month {month} ({schedule}), and that month has no such day."
        ),
    };
    let facts = json!({ "wrong": schedule, "right": right });
    Some(fault.of(seen, owner, "", facts))
}

fn suspended(seen: &Seen, job: &CronJob) -> Option<Finding> {
    let spec = &job.spec;
    if spec.suspend != Some(true) {
        return None;
    }
    let owner = object("CronJob", &job.metadata);
    let name = &owner.name;
    let fault = Fault {
        cause: Cause::Suspended,
        category: Category::Cronjob,
        severity: Severity::Medium,
        title: format!("{name} is switched off"),
        description: format!(
            "The scheduled job {name} is suspended, so it is not started at its times ({}).",
            spec.schedule
        ),
    };
    let facts = json!({ "schedule": spec.schedule });
    Some(fault.of(seen, owner, "", facts))
}
