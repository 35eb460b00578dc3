//! CronJobs become findings: one that was suspended and runs nothing any more.

use k8s_openapi::api::batch::v1::CronJob;
use serde_json::json;

use super::{Seen, map};
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

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
    let owner = ObjectRef {
        kind: "CronJob".into(),
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        name: job.metadata.name.clone().unwrap_or_default(),
    };
    let name = &owner.name;
    Some(Finding {
        finding_id: Finding::stable_id(Cause::Suspended, &owner, ""),
        category: Category::Cronjob,
        severity: Severity::Medium,
        title: format!("{name} is switched off"),
        description: format!(
            "The scheduled job {name} is suspended, so it is not started at its times ({}).",
            spec.schedule
        ),
        target: format!("k8s://{}/{name}", owner.namespace),
        infra_type: "kubernetes".into(),
        evidence: Vec::new(),
        metrics: map(json!({})),
        timestamp: seen.now,
        raw_data: map(json!({ "schedule": spec.schedule })),
        owner: Some(owner),
        cause: Some(Cause::Suspended),
    })
}
