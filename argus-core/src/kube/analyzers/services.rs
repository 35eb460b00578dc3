//! Services become findings: a selector that no app has, a port that no container has.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerPort, PodSpec, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::{Fault, Seen, object};
use crate::incident::{Category, Cause, Finding, Severity};

type Labels = BTreeMap<String, String>;

pub(in crate::kube) fn analyze(seen: &Seen) -> Vec<Finding> {
    let services = seen.services.iter();
    services
        .flat_map(|service| of_service(seen, service))
        .collect()
}

fn of_service(seen: &Seen, service: &Service) -> Vec<Finding> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let Some(selector) = spec.selector.as_ref().filter(|labels| !labels.is_empty()) else {
        // Somebody else says where it leads.
        return Vec::new();
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let apps = apps(seen, selector);
    if apps.is_empty() {
        return vec![no_app(seen, service, selector)];
    }
    let ports = spec.ports.iter().flatten().enumerate();
    let wrong = ports.filter_map(|(index, port)| wrong_port(seen, service, &apps, index, port));
    wrong.chain(too_broad(seen, service, selector)).collect()
}

/// Whether an object with these labels is meant by a selector.
fn selects(selector: &Labels, labels: Option<&Labels>) -> bool {
    let has = |labels: &Labels| {
        selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    };
    labels.is_some_and(has)
}

fn template(deployment: &Deployment) -> Option<(&PodSpec, Option<&Labels>)> {
    let template = &deployment.spec.as_ref()?.template;
    let labels = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.as_ref());
    Some((template.spec.as_ref()?, labels))
}

/// What a selector leads to: pods, and what Deployments would make.
fn apps<'a>(seen: &'a Seen, selector: &Labels) -> Vec<&'a PodSpec> {
    let pods = seen.pods.iter();
    let pods = pods
        .filter(|pod| selects(selector, pod.metadata.labels.as_ref()))
        .filter_map(|pod| pod.spec.as_ref());
    let templates = seen.deployments.iter().filter_map(template);
    let templates = templates.filter(|(_, labels)| selects(selector, *labels));
    templates.map(|(spec, _)| spec).chain(pods).collect()
}

/// A selector that means another app besides the one of the service's name, which doesn't listen where the service asks.
fn too_broad(seen: &Seen, service: &Service, selector: &Labels) -> Option<Finding> {
    let owner = object("Service", &service.metadata);
    let meant = seen.deployment(&owner.name)?;
    let (_, labels) = template(meant)?;
    let right = meant.spec.as_ref()?.selector.match_labels.as_ref()?;
    if !selects(selector, labels) {
        return None;
    }
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let listens = |pod: &PodSpec| {
        let containers = pod.containers.iter();
        let declared = containers.flat_map(|container| container.ports.iter().flatten());
        let declared: Vec<&ContainerPort> = declared.collect();
        let is_known = |port: &ServicePort| declared.iter().any(|known| is_target(port, known));
        declared.is_empty() || ports.iter().any(is_known)
    };
    let is_stranger = |other: &&Deployment| {
        let stranger = template(other)
            .filter(|(_, labels)| selects(selector, *labels) && !selects(right, *labels));
        stranger.is_some_and(|(pod, _)| !listens(pod))
    };
    let other = seen
        .deployments
        .iter()
        .find(is_stranger)?
        .metadata
        .name
        .clone()?;
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
    Some(seen.finding(fault, owner, "too broad", facts))
}

/// Whether a container's port is the one that a service's port leads to.
fn is_target(port: &ServicePort, declared: &ContainerPort) -> bool {
    match &port.target_port {
        None => declared.container_port == port.port,
        Some(IntOrString::Int(number)) => declared.container_port == *number,
        Some(IntOrString::String(name)) => declared.name.as_ref() == Some(name),
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
    seen.finding(fault, owner, "", facts)
}

/// A port whose target no container has. Containers need not say at which ports they listen, so those that say none say nothing.
fn wrong_port(
    seen: &Seen,
    service: &Service,
    apps: &[&PodSpec],
    index: usize,
    port: &ServicePort,
) -> Option<Finding> {
    let target = port
        .target_port
        .clone()
        .unwrap_or(IntOrString::Int(port.port));
    let containers = apps.iter().flat_map(|app| &app.containers);
    let declared = containers.flat_map(|container| container.ports.iter().flatten());
    let (mut any, mut numbers) = (false, Vec::new());
    for declared in declared {
        any = true;
        if is_target(port, declared) {
            return None;
        }
        if !numbers.contains(&declared.container_port) {
            numbers.push(declared.container_port);
        }
    }
    if !any {
        return None;
    }
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
    Some(seen.finding(fault, owner, &port.port.to_string(), facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    fn read<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is found about a service beside a Deployment `web` with these container ports.
    fn found(service: Value, ports: Value) -> Vec<(Option<Cause>, Value)> {
        let labels = json!({ "app": "web", "tier": "front" });
        let pod = json!({ "containers": [{ "name": "app", "ports": ports }] });
        let template = json!({ "metadata": { "labels": labels }, "spec": pod });
        let seen = Seen {
            deployments: vec![read(json!({
                "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "web" } }, "template": template },
            }))],
            services: vec![read(
                json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": service }),
            )],
            ..Seen::default()
        };
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
