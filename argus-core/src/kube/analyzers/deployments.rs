//! Deployments become findings: stuck rollouts, missing copies, none wanted.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::super::lean::Deployment;
use super::super::seen::{Seen, object};
use super::runs::probe_seconds;
use super::{map, target};
use crate::incident::{Category, Cause, Finding, ObjectRef, Runs, Severity, Workload};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let deployments = seen.objects.deployments.values();
    deployments
        .filter_map(|deployment| of_deployment(seen, deployment))
        .collect()
}

/// The workloads as they are. Ready pods are counted: the status of a workload lags behind them.
pub(in crate::kube) fn workloads(seen: &Seen) -> Vec<Workload> {
    let templates = seen.objects.templates(seen.namespace);
    let probes: BTreeMap<ObjectRef, u64> = templates
        .filter_map(|(object, template)| Some((object, probe_seconds(template.spec.as_ref()?)?)))
        .collect();
    let workload = |object: ObjectRef, desired: i32| Workload {
        desired: u32::try_from(desired).unwrap_or(0),
        ready: seen.pods.ready.get(&object).copied().unwrap_or(0),
        runs: Runs {
            probe_seconds: probes.get(&object).copied(),
            ..seen.pods.runs.get(&object).copied().unwrap_or_default()
        },
        object,
    };
    let deployments = seen.objects.deployments.iter().map(|(name, deployment)| {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        workload(seen.named("Deployment", name), wanted.unwrap_or(1))
    });
    let sets = seen.objects.stateful_sets.iter().map(|(name, set)| {
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
        workload(seen.named("StatefulSet", name), wanted.unwrap_or(1))
    });
    let daemons = seen.objects.daemon_sets.iter().map(|(name, set)| {
        let wanted = set
            .status
            .as_ref()
            .and_then(|status| status.desired_number_scheduled);
        workload(seen.named("DaemonSet", name), wanted.unwrap_or(0))
    });
    deployments.chain(sets).chain(daemons).collect()
}

/// Why the cluster makes no pods, for people: what changes it belongs to whoever runs the cluster.
pub(super) fn why_refused(message: &str) -> &'static str {
    let reasons = [
        (
            "exceeded quota",
            "The quota of its namespace is used up, or too small for it; quotas belong to whoever runs the cluster.",
        ),
        (
            "usage per",
            "It asks for more, or less, than one app may have in its namespace; these limits belong to whoever runs the cluster.",
        ),
        (
            "violates PodSecurity",
            "It does not keep the security rules of its namespace, which Argus never loosens.",
        ),
        (
            "service account",
            "The service account that it runs as is not there; Argus never changes permissions.",
        ),
        (
            "failed calling webhook",
            "A check that the cluster makes before each change does not answer, so nothing can be changed until it does.",
        ),
    ];
    let found = reasons.iter().find(|(words, _)| message.contains(words));
    found.map_or("The cluster's own words say why.", |(_, reason)| reason)
}

/// What the cluster names as the reason for refusing pods.
pub(super) fn refused_by(seen: &Seen, message: &str) -> Vec<ObjectRef> {
    let word = |after: &str, end: char| {
        let (_, rest) = message.split_once(after)?;
        rest.split(end).next().map(str::to_owned)
    };
    let quota = word("exceeded quota: ", ',').map(|name| seen.named("ResourceQuota", &name));
    let hook = word("failed calling webhook \"", '"');
    let hook = hook.and_then(|name| {
        let mut hooks = seen.cluster.webhooks();
        Some(hooks.find(|hook| hook.name == name)?.owner())
    });
    quota.into_iter().chain(hook).collect()
}

/// What an update may take away, where that is everything.
fn all_at_once(most: &IntOrString, wanted: i32) -> Option<String> {
    let (count, shown) = match most {
        IntOrString::Int(count) => (*count, count.to_string()),
        IntOrString::String(share) => {
            let percent: i32 = share.strip_suffix('%')?.parse().ok()?;
            (wanted.checked_mul(percent)? / 100, share.clone())
        }
    };
    (wanted > 1 && count >= wanted).then_some(shown)
}

fn of_deployment(seen: &Seen, deployment: &Deployment) -> Option<Finding> {
    let owner = object("Deployment", &deployment.metadata);
    let app = &owner.name;
    let status = deployment.status.as_ref();
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let available = status
        .and_then(|status| status.available_replicas)
        .unwrap_or(0);
    let condition = |kind: &str| {
        status.and_then(|status| {
            status
                .conditions
                .iter()
                .flatten()
                .find(|condition| condition.type_ == kind)
        })
    };
    let exceeded = condition("Progressing")
        .filter(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    let refused = condition("ReplicaFailure").filter(|condition| condition.status == "True");
    let short =
        seen.pods.ready.get(&owner).copied().unwrap_or(0) < u32::try_from(wanted).unwrap_or(0);
    let unavailable = condition("Available").filter(|condition| {
        condition.status == "False"
            && short
            && seen.older_than(condition.last_transition_time.as_ref(), seen.unready_after)
    });
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let most = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let (cause, severity, title, description, evidence) = if wanted == 0 {
        let title = format!("{app} has no copies");
        (
            Cause::ScaledToZero,
            Severity::Medium,
            title,
            format!("{app} is set to run no copies at all, so nothing answers."),
            None,
        )
    } else if let Some(condition) = refused {
        let message = condition.message.clone().unwrap_or_default();
        (
            Cause::PodsRefused,
            Severity::High,
            format!("The cluster does not let {app} start its copies"),
            format!(
                "{available} of {wanted} copies of {app} are available. {}",
                why_refused(&message)
            ),
            Some(message),
        )
    } else if let Some(condition) = exceeded {
        let description = format!(
            "The last update of {app} does not get anywhere: {available} of {wanted} copies are available."
        );
        (
            Cause::StuckRollout,
            Severity::High,
            format!("The update of {app} is stuck"),
            description,
            condition.message.clone(),
        )
    } else if let Some(condition) = unavailable {
        let description = format!("Only {available} of {wanted} copies of {app} are available.");
        (
            Cause::Unavailable,
            Severity::High,
            format!("{app} is not available"),
            description,
            condition.message.clone(),
        )
    } else if let Some(all) = most.and_then(|most| all_at_once(most, wanted)) {
        (
            Cause::RolloutStrategy,
            Severity::Low,
            format!("An update of {app} may stop all its copies at once"),
            format!(
                "{app} lets an update take {all} of its {wanted} copies away at once, so nothing answers until the new ones run."
            ),
            Some(format!("maxUnavailable: {all}")),
        )
    } else {
        return None;
    };
    let related = match (cause, &evidence) {
        (Cause::PodsRefused, Some(message)) => refused_by(seen, message),
        _ => Vec::new(),
    };
    let mut facts = map(json!({ "replicas": wanted, "max_unavailable": most }));
    if let Some(working) = seen.working_revision(&owner) {
        facts.insert("working_revision".into(), working);
    }
    Some(Finding {
        finding_id: Finding::stable_id(cause, &owner, ""),
        category: Category::PodHealth,
        severity,
        title,
        description,
        target: target(&owner),
        infra_type: "kubernetes".into(),
        evidence: evidence.into_iter().collect(),
        metrics: map(json!({ "wanted": wanted, "available": available })),
        timestamp: seen.now,
        raw_data: facts,
        related,
        owner: Some(owner),
        cause: Some(cause),
    })
}
