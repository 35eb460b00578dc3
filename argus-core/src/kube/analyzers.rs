//! Pure functions from objects to findings, one file per kind.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::seen::Seen;
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

mod autoscalers;
mod claims;
mod cluster;
mod containers;
mod cron_jobs;
mod deployments;
mod disruption_budgets;
mod gateways;
#[cfg(test)]
mod golden;
mod ingresses;
mod jobs;
mod network_policies;
mod placement;
pub(super) mod pods;
mod quotas;
mod runs;
mod services;
mod stateful_sets;
mod templates;

pub(super) use cluster::analyze as analyze_cluster;
pub(super) use deployments::workloads;
pub(super) use stateful_sets::refused_pods;

/// How many letters may be wrong in a word whose meaning is certain.
const TYPOS: usize = 2;

/// What is wrong with everything but the pods, which come first.
pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let analyzers: [fn(&Seen) -> Vec<Finding>; 13] = [
        templates::analyze,
        deployments::analyze,
        stateful_sets::analyze,
        jobs::analyze,
        cron_jobs::analyze,
        services::analyze,
        ingresses::analyze,
        gateways::analyze,
        network_policies::analyze,
        autoscalers::analyze,
        disruption_budgets::analyze,
        claims::analyze,
        quotas::analyze,
    ];
    let findings = analyzers.iter().flat_map(|analyze| analyze(seen));
    let holds = |finding: &Finding| {
        let cause = finding.cause;
        cause.is_none_or(|cause| seen.saw_all(rests_on(cause)))
    };
    each_once(findings.filter(holds))
}

/// A fault has one id and is one finding; that of several places of an object has the `places` of all in its facts.
fn each_once(findings: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    let mut known = BTreeMap::new();
    for mut finding in findings {
        let index = *known.entry(finding.finding_id.clone()).or_insert(all.len());
        match all.get_mut(index) {
            Some(first) => {
                let places = first.raw_data.get_mut("places");
                let more = finding.raw_data.get_mut("places");
                if let (Some(Value::Array(places)), Some(Value::Array(more))) = (places, more) {
                    places.append(more);
                }
            }
            None => all.push(finding),
        }
    }
    all
}

/// The kinds of which a finding says that something isn't there: without all of them nobody knows.
fn rests_on(cause: Cause) -> &'static [&'static str] {
    match cause {
        Cause::ConfigMapMissing => &["configmaps"],
        Cause::ServiceSelector | Cause::ServicePort | Cause::SelectsNothing => {
            &["pods", "deployments", "statefulsets", "daemonsets"]
        }
        Cause::IngressBackend | Cause::ServiceMissing => &["services"],
        Cause::NoEndpoints => &["endpointslices"],
        Cause::RouteBackend => &["services", "gateways"],
        Cause::IngressClass => &["ingress classes"],
        Cause::GatewayClass => &["gateway classes"],
        Cause::ScaleTarget => &["deployments", "statefulsets"],
        Cause::StorageClass => &["storage classes"],
        _ => &[],
    }
}

/// What is wrong with an object, in words.
struct Fault {
    cause: Cause,
    category: Category,
    severity: Severity,
    title: String,
    description: String,
}

impl Fault {
    /// A finding about an object as a whole; `part` tells two of one cause and object apart.
    fn of(self, seen: &Seen, owner: ObjectRef, part: &str, facts: Value) -> Finding {
        Finding {
            finding_id: Finding::stable_id(self.cause, &owner, part),
            category: self.category,
            severity: self.severity,
            title: self.title,
            description: self.description,
            target: target(&owner),
            infra_type: "kubernetes".into(),
            evidence: Vec::new(),
            metrics: Map::new(),
            timestamp: seen.now,
            raw_data: map(facts),
            related: Vec::new(),
            owner: Some(owner),
            cause: Some(self.cause),
        }
    }
}

/// Where an object is, as argus-ops writes it.
fn target(object: &ObjectRef) -> String {
    if object.namespace.is_empty() {
        let kind = object.kind.to_ascii_lowercase();
        return format!("k8s://{kind}/{}", object.name);
    }
    format!("k8s://{}/{}", object.namespace, object.name)
}

/// The one of `known` that was meant by a word that is none of them; none where two could be.
fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |other: &&str| {
        strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase()) <= TYPOS
    };
    let mut near = known.filter(near);
    let first = near.next()?;
    near.next().is_none().then_some(first)
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
