//! Gateways and HTTPRoutes of the Gateway API become findings: nobody takes the requests, or they lead nowhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::super::lean::{BackendRef, Condition, Gateway, HttpRoute, ParentRef};
use super::super::seen::{Seen, object};
use super::Fault;
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

/// What a gateway says of itself when it works.
const WORKS: [&str; 2] = ["Accepted", "Programmed"];
/// What whoever carries out a route says of it when it works.
const LEADS: [&str; 2] = ["Accepted", "ResolvedRefs"];

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let gateways = seen.objects.gateways.values();
    let gateways =
        gateways.filter_map(|gateway| no_class(seen, gateway).or_else(|| inactive(seen, gateway)));
    let routes = seen.objects.routes.values();
    gateways
        .chain(routes.flat_map(|route| of_route(seen, route)))
        .collect()
}

/// One whose class isn't there.
fn no_class(seen: &Seen, gateway: &Gateway) -> Option<Finding> {
    let class = gateway.spec.as_ref()?.gateway_class_name.as_ref()?;
    let classes = &seen.cluster.gateway_classes;
    if !seen.cluster.whole || classes.contains_key(class) {
        return None;
    }
    let owner = object("Gateway", &gateway.metadata);
    let fault = Fault {
        cause: Cause::GatewayClass,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("Nobody answers for {}", owner.name),
        description: format!(
            "No program takes the requests for the gateway {}. It is for a kind of gateway {class}, which the cluster does not have.",
            owner.name
        ),
    };
    let facts = json!({ "class": class, "classes": classes.keys().collect::<Vec<_>>() });
    Some(fault.of(seen, owner, "", facts))
}

/// One that says that it doesn't work, or that nobody has taken up.
fn inactive(seen: &Seen, gateway: &Gateway) -> Option<Finding> {
    let status = gateway.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let created = gateway.metadata.creation_timestamp.as_ref();
    let condition = wrong(seen, conditions.unwrap_or_default(), &WORKS, created)?;
    let owner = object("Gateway", &gateway.metadata);
    let fault = Fault {
        cause: Cause::GatewayInactive,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("The gateway {} does not work", owner.name),
        description: format!(
            "The gateway {} takes no requests, or not as it is set up: what it says itself is below.",
            owner.name
        ),
    };
    Some(with_words(
        fault.of(seen, owner, "", reason(condition)),
        condition,
    ))
}

fn of_route(seen: &Seen, route: &HttpRoute) -> Vec<Finding> {
    let owner = object("HTTPRoute", &route.metadata);
    let Some(spec) = &route.spec else {
        return Vec::new();
    };
    let parents = spec.parent_refs.iter().flatten().enumerate();
    let parents = parents.filter_map(|(index, parent)| no_gateway(seen, &owner, index, parent));
    let rules = spec.rules.iter().flatten().enumerate();
    let backends = rules.flat_map(|(rule, of_rule)| {
        let backends = of_rule.backend_refs.iter().flatten().enumerate();
        backends.map(move |(index, backend)| {
            (format!("/spec/rules/{rule}/backendRefs/{index}"), backend)
        })
    });
    let backends = backends.filter_map(|(place, backend)| nowhere(seen, &owner, &place, backend));
    let found: Vec<Finding> = parents.chain(backends).collect();
    if found.is_empty() {
        return refused(seen, route, owner).into_iter().collect();
    }
    found
}

/// A route of a gateway that isn't there. One of another namespace may be out of sight.
fn no_gateway(seen: &Seen, owner: &ObjectRef, index: usize, parent: &ParentRef) -> Option<Finding> {
    let is_gateway = parent.kind.as_deref().is_none_or(|kind| kind == "Gateway");
    let here = is_here(parent.namespace.as_deref(), owner);
    if !is_gateway || !here || seen.objects.gateways.contains_key(&parent.name) {
        return None;
    }
    let description = format!(
        "The address that {} answers is for a gateway {}, which is not there, so no request comes in.",
        owner.name, parent.name
    );
    let gateways: Vec<_> = seen.objects.gateways.keys().collect();
    let place = format!("/spec/parentRefs/{index}/name");
    let facts = json!({ "places": [place], "wrong": parent.name, "gateways": gateways });
    let part = format!("gateway {}", parent.name);
    Some(leads_nowhere(seen, owner, &part, description, facts))
}

/// A route to a service, or to a port of it, that isn't there.
fn nowhere(seen: &Seen, owner: &ObjectRef, place: &str, backend: &BackendRef) -> Option<Finding> {
    let is_service = backend.kind.as_deref().is_none_or(|kind| kind == "Service")
        && backend.group.as_deref().is_none_or(str::is_empty);
    if !is_service || !is_here(backend.namespace.as_deref(), owner) {
        return None;
    }
    let name = &backend.name;
    let Some(service) = seen.objects.services.get(name) else {
        let description = format!(
            "The address that {} answers leads to a service {name}, which is not there.",
            owner.name
        );
        let facts = json!({ "places": [format!("{place}/name")], "wrong": name });
        return Some(leads_nowhere(seen, owner, name, description, facts));
    };
    let wanted = backend.port?;
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let ports: Vec<i32> = ports.map(|port| port.port).collect();
    if ports.is_empty() || ports.contains(&wanted) {
        return None;
    }
    let description = format!(
        "The address that {} answers leads to port {wanted} of the service {name}, which has no such port.",
        owner.name
    );
    let facts = json!({ "places": [format!("{place}/port")], "wrong": wanted, "ports": ports });
    let part = format!("{name}:{wanted}");
    Some(leads_nowhere(seen, owner, &part, description, facts))
}

fn is_here(namespace: Option<&str>, owner: &ObjectRef) -> bool {
    namespace.is_none_or(|namespace| namespace == owner.namespace)
}

fn leads_nowhere(
    seen: &Seen,
    owner: &ObjectRef,
    part: &str,
    description: String,
    facts: Value,
) -> Finding {
    let fault = Fault {
        cause: Cause::RouteBackend,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("{} leads nowhere", owner.name),
        description,
    };
    fault.of(seen, owner.clone(), part, facts)
}

/// One that its gateway doesn't carry out, for a reason that can't be seen from here.
fn refused(seen: &Seen, route: &HttpRoute, owner: ObjectRef) -> Option<Finding> {
    let parents = route.status.as_ref()?.parents.iter().flatten();
    let mut conditions = parents.filter_map(|parent| parent.conditions.as_deref());
    let created = route.metadata.creation_timestamp.as_ref();
    let condition = conditions.find_map(|conditions| wrong(seen, conditions, &LEADS, created))?;
    let fault = Fault {
        cause: Cause::RouteRefused,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("{} is not carried out", owner.name),
        description: format!(
            "The gateway does not pass the requests for {} on, or not all of them: what it says is below.",
            owner.name
        ),
    };
    Some(with_words(
        fault.of(seen, owner, "", reason(condition)),
        condition,
    ))
}

/// The first of these conditions that doesn't hold; one that nobody has spoken of counts once it is late. That has the date of
/// 1970 by default.
fn wrong<'a>(
    seen: &Seen,
    conditions: &'a [Condition],
    wanted: &[&str],
    created: Option<&Time>,
) -> Option<&'a Condition> {
    let is_late = |since| seen.older_than(since, seen.slow_after());
    let mut known = conditions
        .iter()
        .filter(|condition| wanted.contains(&condition.type_.as_str()));
    known.find(|condition| match condition.status.as_str() {
        "True" => false,
        "False" => true,
        _ => is_late(created) && is_late(condition.last_transition_time.as_ref()),
    })
}

fn reason(condition: &Condition) -> Value {
    json!({ "condition": condition.type_, "reason": condition.reason })
}

fn with_words(finding: Finding, condition: &Condition) -> Finding {
    Finding {
        evidence: condition.message.iter().cloned().collect(),
        ..finding
    }
}
