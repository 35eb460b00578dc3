//! Services become findings: a selector that no app has, a port that no container has.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::super::lean::{Deployment, Labels};
use super::super::seen::{Seen, object};
use super::super::shapes::{Shape, has_all};
use super::Fault;
use crate::incident::{Category, Cause, Finding, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let services = seen.objects.services.values();
    services
        .flat_map(|service| of_service(seen, service))
        .collect()
}

fn of_service(seen: &Seen, service: &Service) -> Vec<Finding> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let Some(selector) = spec.selector.as_ref().filter(|labels| !labels.is_empty()) else {
        let is_elsewhere = spec.type_.as_deref() == Some("ExternalName");
        let nobody = nobody_answers(seen, service).filter(|_| !is_elsewhere);
        return nobody.into_iter().collect();
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let apps: Vec<&Shape> = seen
        .pods
        .shapes
        .with(selector)
        .map(|(_, shape)| shape)
        .collect();
    if apps.is_empty() {
        return vec![no_app(seen, service, selector)];
    }
    let declared: BTreeSet<_> = apps.iter().flat_map(|app| &app.ports).collect();
    let ports = spec.ports.iter().flatten().enumerate();
    let wrong = ports.filter_map(|(index, port)| wrong_port(seen, service, &declared, index, port));
    wrong.chain(too_broad(seen, service, selector)).collect()
}

/// One for which somebody else has to say who answers, and nobody does.
fn nobody_answers(seen: &Seen, service: &Service) -> Option<Finding> {
    let owner = object("Service", &service.metadata);
    let created = service.metadata.creation_timestamp.as_ref();
    if seen.has_endpoints(&owner.name) || !seen.older_than(created, seen.slow_after()) {
        return None;
    }
    let fault = Fault {
        cause: Cause::NoEndpoints,
        category: Category::Connectivity,
        severity: Severity::Medium,
        title: format!("Nobody answers for {}", owner.name),
        description: format!(
            "The service {} does not say which apps answer for it, and nothing else does either, so requests to it fail.",
            owner.name
        ),
    };
    Some(fault.of(seen, owner, "", json!({})))
}

fn labels(deployment: &Deployment) -> Option<&Labels> {
    deployment.spec.as_ref()?.template.metadata.labels.as_ref()
}

/// A selector that means another app besides the one of the service's name, which doesn't listen where the service asks.
fn too_broad(seen: &Seen, service: &Service, selector: &Labels) -> Option<Finding> {
    let owner = object("Service", &service.metadata);
    let meant = seen.deployment(&owner.name)?;
    let right = meant.spec.as_ref()?.selector.match_labels.as_ref()?;
    if !has_all(labels(meant)?, selector) {
        return None;
    }
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let listens = |app: &Shape| {
        let known = |port: &ServicePort| app.ports.iter().any(|known| is_target(port, known));
        app.ports.is_empty() || ports.iter().any(known)
    };
    let mut strangers = seen.pods.shapes.with(selector);
    let (_, stranger) = strangers.find(|(labels, app)| !has_all(labels, right) && !listens(app))?;
    let other = stranger.owners.first()?.name.clone();
    let reason = format!("some of them go to {other} now, which does not listen there");
    let facts = json!({ "selector": selector, "right_selector": right, "reason": reason });
    let fault = Fault {
        cause: Cause::ServiceSelector,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("{} leads to the wrong app too", owner.name),
        description: format!(
            "The service {} sends some of its requests to {other}, which has the labels that it looks for and does not listen at its port, so they fail.",
            owner.name
        ),
    };
    Some(fault.of(seen, owner, "too broad", facts))
}

/// Whether a container's port is the one that a service's port leads to.
fn is_target(port: &ServicePort, (number, name): &(i32, Option<String>)) -> bool {
    match &port.target_port {
        None => *number == port.port,
        Some(IntOrString::Int(wanted)) => number == wanted,
        Some(IntOrString::String(wanted)) => name.as_ref() == Some(wanted),
    }
}

fn no_app(seen: &Seen, service: &Service, selector: &Labels) -> Finding {
    let owner = object("Service", &service.metadata);
    // The app of the same name is the one that is meant.
    let meant = seen.deployment(&owner.name);
    let right =
        meant.and_then(|deployment| deployment.spec.as_ref()?.selector.match_labels.clone());
    let shown: Vec<String> = selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let reason = "nothing has the labels that it looks for now";
    let facts = json!({ "selector": selector, "right_selector": right, "reason": reason });
    let fault = Fault {
        cause: Cause::ServiceSelector,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("{} leads nowhere", owner.name),
        description: format!(
            "The service {} sends its requests to apps labelled {}, and there is none, so nobody answers.",
            owner.name,
            shown.join(", ")
        ),
    };
    fault.of(seen, owner, "", facts)
}

/// A port whose target no container has. Containers need not say at which ports they listen, so those that say none say nothing.
fn wrong_port(
    seen: &Seen,
    service: &Service,
    declared: &BTreeSet<&(i32, Option<String>)>,
    index: usize,
    port: &ServicePort,
) -> Option<Finding> {
    if declared.is_empty() || declared.iter().any(|declared| is_target(port, declared)) {
        return None;
    }
    let target = port
        .target_port
        .clone()
        .unwrap_or(IntOrString::Int(port.port));
    let mut numbers: Vec<i32> = declared.iter().map(|(number, _)| *number).collect();
    numbers.dedup();
    let owner = object("Service", &service.metadata);
    let shown = match &target {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    let only = match numbers.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let facts = json!({
        "index": index, "port": port.port, "target_port": target, "container_port": only,
        "has_target": port.target_port.is_some(),
    });
    let fault = Fault {
        cause: Cause::ServicePort,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("{} asks at a port where nobody listens", owner.name),
        description: format!(
            "The service {} passes requests on to port {shown}, but the app listens at {}.",
            owner.name,
            numbers
                .iter()
                .map(i32::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    // One number may be of several protocols.
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    Some(fault.of(seen, owner, &format!("{}/{protocol}", port.port), facts))
}

#[cfg(test)]
mod tests {
    use super::super::super::seen::{ClusterObjects, Objects};
    use super::super::pods::Crowd;
    use super::*;
    use jiff::Timestamp;
    use serde::de::DeserializeOwned;
    use serde_json::Value;
    use std::time::Duration;

    fn read<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is found about a service beside a Deployment `web` with these container ports.
    fn found(service: Value, ports: Value) -> Vec<(Option<Cause>, Value)> {
        let labels = json!({ "app": "web", "tier": "front" });
        let pod = json!({ "containers": [{ "name": "app", "ports": ports }] });
        let template = json!({ "metadata": { "labels": labels }, "spec": pod });
        let deployment = json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "web" } }, "template": template },
        });
        let service =
            json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": service });
        let objects = Objects {
            deployments: [("web".into(), read(deployment))].into(),
            services: [("web".into(), read(service))].into(),
            ..Objects::default()
        };
        let cluster = ClusterObjects::default();
        let mut seen = Seen::new(
            "shop",
            &objects,
            &cluster,
            Timestamp::UNIX_EPOCH,
            Duration::ZERO,
        );
        (_, seen.pods) = Crowd::new(&seen).finish();
        let findings = analyze(&seen).into_iter();
        findings
            .map(|finding| (finding.cause, Value::Object(finding.raw_data)))
            .collect()
    }

    #[test]
    fn what_leads_to_an_app_is_no_finding() {
        let declared =
            json!([{ "containerPort": 8080, "name": "http" }, { "containerPort": 9090 }]);
        let app = json!({ "app": "web" });
        for service in [
            json!({ "selector": app, "ports": [{ "port": 80, "targetPort": 8080 }, { "port": 81, "targetPort": "http" }] }),
            json!({ "selector": app, "ports": [{ "port": 9090 }] }),
            json!({ "selector": app, "clusterIP": "None" }),
            json!({ "ports": [{ "port": 80 }] }),
            json!({ "selector": {}, "ports": [{ "port": 80 }] }),
            json!({ "type": "ExternalName", "externalName": "db.example", "selector": { "app": "none" } }),
            json!(null),
        ] {
            assert_eq!(found(service.clone(), declared.clone()), [], "{service}");
        }
        // An app need not say where it listens.
        let silent = json!({ "selector": app, "ports": [{ "port": 80, "targetPort": 1234 }] });
        assert_eq!(found(silent, json!([])), []);
    }

    #[test]
    fn a_port_that_no_container_has() {
        let service = |target: Value| json!({ "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": target }] });
        let one = json!([{ "containerPort": 8080, "name": "http" }]);
        for target in [json!(9090), json!("web")] {
            let facts = json!({ "index": 0, "port": 80, "target_port": target, "container_port": 8080, "has_target": true });
            let expected = [(Some(Cause::ServicePort), facts)];
            assert_eq!(found(service(target), one.clone()), expected);
        }
        // Of two ports nobody knows which is meant: a person has to say.
        let two = json!([{ "containerPort": 8080 }, { "containerPort": 8081 }]);
        let found = found(service(json!(9090)), two);
        assert_eq!(found.len(), 1);
        assert!(
            found
                .iter()
                .all(|(_, facts)| facts["container_port"].is_null())
        );
    }

    #[test]
    fn a_selector_that_nothing_has() {
        let service =
            json!({ "selector": { "app": "web", "tier": "back" }, "ports": [{ "port": 80 }] });
        let reason = "nothing has the labels that it looks for now";
        let facts = json!({ "selector": { "app": "web", "tier": "back" }, "right_selector": { "app": "web" }, "reason": reason });
        assert_eq!(
            found(service, json!([])),
            [(Some(Cause::ServiceSelector), facts)]
        );
    }
}
