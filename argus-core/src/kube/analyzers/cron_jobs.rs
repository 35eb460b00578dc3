//! CronJobs become findings: one that was suspended and runs nothing any more.

use k8s_openapi::api::batch::v1::CronJob;
use serde_json::json;

use super::{Fault, Seen, object};
use crate::incident::{Category, Cause, Finding, Severity};

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    seen.cron_jobs
        .iter()
        .filter_map(|job| suspended(seen, job))
        .collect()
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
    Some(seen.finding(fault, owner, "", json!({ "schedule": spec.schedule })))
}
