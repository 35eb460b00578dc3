//! A scan for other tools: SARIF for code scanning and dashboards, Prometheus' text for alerts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Finding, Scan, Severity};

const SARIF: &str = "https://json.schemastore.org/sarif-2.1.0.json";

impl Scan {
    /// The scan as a SARIF 2.1.0 log: one result for each finding, with its stable id as the fingerprint. What people asked not to
    /// hear of is there as suppressed; what couldn't be looked at is a notification, and then the run isn't successful.
    ///
    /// # Example
    /// ```
    /// let log = argus_core::Scan::default().to_sarif();
    /// assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
    /// ```
    #[must_use]
    pub fn to_sarif(&self) -> Value {
        let rules: BTreeSet<String> = self
            .findings
            .iter()
            .chain(&self.ignored)
            .map(rule)
            .collect();
        let rules: Vec<Value> = rules.iter().map(|id| json!({ "id": id })).collect();
        let results = self
            .findings
            .iter()
            .map(|finding| result(finding, json!([])));
        let accepted = json!([{ "kind": "external", "status": "accepted" }]);
        let ignored = self
            .ignored
            .iter()
            .map(|finding| result(finding, accepted.clone()));
        let missing = self.incomplete.iter();
        let missing: Vec<Value> = missing
            .map(|text| json!({ "level": "warning", "message": { "text": text } }))
            .collect();
        let driver = json!({ "name": "Argus", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules });
        json!({
            "$schema": SARIF,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": driver },
                "invocations": [{ "executionSuccessful": missing.is_empty(), "toolExecutionNotifications": missing }],
                "results": results.chain(ignored).collect::<Vec<Value>>(),
            }],
        })
    }

    /// The scan in Prometheus' text format (0.0.4), as gauges: `argus_findings` by namespace, cause and severity,
    /// `argus_findings_ignored`, `argus_workload_pods_desired` and `argus_workload_pods_ready` by namespace, and
    /// `argus_scan_complete`, which is 0 where something couldn't be looked at.
    ///
    /// # Example
    /// ```
    /// let text = argus_core::Scan::default().to_prometheus();
    /// assert!(text.contains("argus_scan_complete 1\n"));
    /// ```
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, help: &str, values: BTreeMap<String, u64>| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
            for (labels, value) in values {
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        };
        let mut findings = BTreeMap::new();
        for finding in &self.findings {
            let namespace = finding
                .owner
                .as_ref()
                .map_or("", |owner| owner.namespace.as_str());
            let labels = [
                ("namespace", namespace),
                ("cause", &rule(finding)),
                ("severity", &word(&finding.severity)),
            ];
            *findings.entry(labelled(&labels)).or_default() += 1;
        }
        add("argus_findings", "Findings of the last scan.", findings);
        let one = |count: usize| BTreeMap::from([(String::new(), count as u64)]);
        add(
            "argus_findings_ignored",
            "Findings that people asked not to hear of.",
            one(self.ignored.len()),
        );
        let (mut desired, mut ready) = (BTreeMap::new(), BTreeMap::new());
        for workload in &self.workloads {
            let labels = labelled(&[("namespace", &workload.object.namespace)]);
            *desired.entry(labels.clone()).or_default() += u64::from(workload.desired);
            *ready.entry(labels).or_default() += u64::from(workload.ready);
        }
        add(
            "argus_workload_pods_desired",
            "Pods that workloads want.",
            desired,
        );
        add(
            "argus_workload_pods_ready",
            "Pods of workloads that are ready.",
            ready,
        );
        add(
            "argus_scan_complete",
            "Whether everything could be looked at.",
            one(usize::from(self.incomplete.is_empty())),
        );
        text
    }
}

fn rule(finding: &Finding) -> String {
    let cause = finding.cause.map(|cause| cause.to_string());
    cause.unwrap_or_else(|| word(&finding.category))
}

/// The word that JSON has for a value.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn result(finding: &Finding, suppressions: Value) -> Value {
    let level = match finding.severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    };
    let place = match &finding.owner {
        Some(owner) => {
            json!({ "name": owner.name, "fullyQualifiedName": finding.target, "kind": "resource" })
        }
        None => json!({ "fullyQualifiedName": finding.target, "kind": "resource" }),
    };
    json!({
        "ruleId": rule(finding),
        "level": level,
        "message": { "text": format!("{}. {}", finding.title, finding.description) },
        "locations": [{ "logicalLocations": [place] }],
        "suppressions": suppressions,
        "partialFingerprints": { "argusFindingId/v1": finding.finding_id },
        "properties": { "severity": finding.severity, "category": finding.category, "evidence": finding.evidence, "owner": finding.owner },
    })
}

fn labelled(labels: &[(&str, &str)]) -> String {
    let escaped = |value: &str| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    format!("{{{}}}", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{ObjectRef, Runs, Workload};

    fn scan() -> Scan {
        let finding = |cause: &str, name: &str| {
            json!({
                "finding_id": format!("ARGUS-{name}"), "category": "pod_health", "severity": "high", "title": "It \"crashes\"", "description": "Again.",
                "target": format!("k8s://shop/{name}"), "infra_type": "kubernetes", "evidence": ["Exit code: 1"], "cause": cause,
                "owner": { "kind": "Deployment", "namespace": "shop\n\"", "name": name }, "timestamp": "2026-01-01T00:00:00Z",
            })
        };
        let finding = |cause, name| serde_json::from_value(finding(cause, name)).unwrap();
        let web = ObjectRef {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "web".into(),
        };
        Scan {
            findings: vec![
                finding("crash_loop", "web"),
                finding("crash_loop", "api"),
                finding("oom_killed", "web"),
            ],
            ignored: vec![finding("scaled_to_zero", "off")],
            workloads: vec![Workload {
                object: web,
                desired: 3,
                ready: 1,
                runs: Runs::default(),
            }],
            incomplete: vec!["the pods of namespace bank could not be read".into()],
        }
    }

    #[test]
    fn sarif_is_what_its_readers_take() {
        let log = scan().to_sarif();
        let read: serde_sarif::sarif::Sarif = serde_json::from_value(log).unwrap();
        let run = &read.runs[0];
        let results = run.results.as_ref().unwrap();
        assert_eq!(results.len(), 4);
        assert_eq!(results[3].suppressions.as_ref().map(Vec::len), Some(1));
        let invocation = &run.invocations.as_ref().unwrap()[0];
        assert!(!invocation.execution_successful);
        insta::assert_json_snapshot!(results[0]);
    }

    #[test]
    fn the_metrics_are_counted_and_escaped() {
        insta::assert_snapshot!(scan().to_prometheus());
    }
}
