//! Ingresses become findings: a path that leads to a service, or to a port of it, that isn't there.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressServiceBackend};
use serde_json::{Value, json};

use super::super::seen::{Seen, is_marked, object};
use super::Fault;
use crate::incident::{Category, Cause, Finding, ObjectRef, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let ingresses = seen.objects.ingresses.values();
    ingresses
        .flat_map(|ingress| {
            let backends = backends(ingress).into_iter();
            let backends =
                backends.filter_map(|(place, backend)| of_backend(seen, ingress, &place, backend));
            backends.chain(nobody_serves(seen, ingress))
        })
        .collect()
}

/// The annotation that named the class before there was a field for it.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// The annotation of the class that is taken where none is asked for.
const USUAL: &str = "ingressclass.kubernetes.io/is-default-class";

/// One whose class isn't there, or that has none where none is the default.
fn nobody_serves(seen: &Seen, ingress: &Ingress) -> Option<Finding> {
    let classes = &seen.cluster.ingress_classes;
    let annotations = ingress.metadata.annotations.as_ref();
    if !seen.cluster.whole || annotations.is_some_and(|all| all.contains_key(OLD_CLASS)) {
        return None;
    }
    let is_default = |class: &IngressClass| is_marked(&class.metadata, USUAL);
    let class = ingress
        .spec
        .as_ref()
        .and_then(|spec| spec.ingress_class_name.as_ref());
    let why = match class {
        Some(class) if classes.contains_key(class) => return None,
        Some(class) => {
            format!("It is for a kind of gateway {class}, which the cluster does not have.")
        }
        None if classes.values().any(is_default) => return None,
        None => {
            "It does not say which gateway has to answer, and the cluster has no usual one.".into()
        }
    };
    let owner = object("Ingress", &ingress.metadata);
    let fault = Fault {
        cause: Cause::IngressClass,
        category: Category::Connectivity,
        severity: Severity::Medium,
        title: format!("Nobody answers for {}", owner.name),
        description: format!(
            "No gateway takes the requests for the address {}. {why}",
            owner.name
        ),
    };
    let facts = json!({ "class": class, "classes": classes.keys().collect::<Vec<_>>() });
    Some(fault.of(seen, owner, "", facts))
}

/// The services that an Ingress leads to, with the JSON pointers to where it says so.
fn backends(ingress: &Ingress) -> Vec<(String, &IngressServiceBackend)> {
    let Some(spec) = &ingress.spec else {
        return Vec::new();
    };
    let default = spec.default_backend.iter();
    let mut backends: Vec<_> = default
        .filter_map(|backend| Some(("/spec/defaultBackend".into(), backend.service.as_ref()?)))
        .collect();
    for (rule, of_rule) in spec.rules.iter().flatten().enumerate() {
        let paths = of_rule.http.iter().flat_map(|http| &http.paths).enumerate();
        backends.extend(paths.filter_map(|(path, of_path)| {
            let place = format!("/spec/rules/{rule}/http/paths/{path}/backend");
            Some((place, of_path.backend.service.as_ref()?))
        }));
    }
    backends
}

fn of_backend(
    seen: &Seen,
    ingress: &Ingress,
    place: &str,
    backend: &IngressServiceBackend,
) -> Option<Finding> {
    let owner = object("Ingress", &ingress.metadata);
    let named = |name: &str| seen.objects.services.get(name);
    let Some(service) = named(&backend.name) else {
        // The service of the same name is the one that is meant.
        let right = named(&owner.name).map(|_| owner.name.clone());
        let description = format!(
            "The address that {} answers leads to a service {}, which is not there.",
            owner.name, backend.name
        );
        let facts = json!({ "places": [format!("{place}/service/name")], "wrong": backend.name, "right": right });
        return Some(finding(seen, owner, &backend.name, description, facts));
    };
    let port = backend.port.as_ref()?;
    let ports: Vec<_> = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten())
        .collect();
    let is_there = ports.iter().any(|known| match (&port.name, port.number) {
        (Some(name), _) => known.name.as_ref() == Some(name),
        (None, number) => Some(known.port) == number,
    });
    if is_there || ports.is_empty() {
        return None;
    }
    let only = match ports.as_slice() {
        [only] => Some(only.port),
        _ => None,
    };
    let (field, wrong) = match &port.name {
        Some(name) => ("name", json!(name)),
        None => ("number", json!(port.number)),
    };
    let description = format!(
        "The address that {} answers leads to port {} of the service {}, which has no such port.",
        owner.name,
        wrong
            .as_str()
            .map_or_else(|| wrong.to_string(), str::to_owned),
        backend.name
    );
    // A port by name becomes one by number only as a whole, which a person should do.
    let right = only.filter(|_| field == "number");
    let facts = json!({ "places": [format!("{place}/service/port/{field}")], "wrong": wrong, "right": right });
    Some(finding(
        seen,
        owner,
        &format!("{}:{wrong}", backend.name),
        description,
        facts,
    ))
}

fn finding(
    seen: &Seen,
    owner: ObjectRef,
    part: &str,
    description: String,
    facts: Value,
) -> Finding {
    let fault = Fault {
        cause: Cause::IngressBackend,
        category: Category::Connectivity,
        severity: Severity::High,
        title: format!("{} leads nowhere", owner.name),
        description,
    };
    fault.of(seen, owner, part, facts)
}

#[cfg(test)]
mod tests {
    use super::super::super::seen::{ClusterObjects, Objects};
    use super::*;
    use jiff::Timestamp;
    use std::time::Duration;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is found about an Ingress beside services `web` (80, `http`) and `two` (80 and 81).
    fn found(spec: Value) -> Vec<Value> {
        let object = |name: &str, spec: Value| json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": spec });
        let ports = json!({ "ports": [{ "name": "http", "port": 80 }] });
        let both = json!({ "ports": [{ "port": 80 }, { "port": 81 }] });
        let mut objects = Objects::default();
        objects
            .services
            .insert("web".into(), read(object("web", ports)));
        objects
            .services
            .insert("two".into(), read(object("two", both)));
        objects
            .ingresses
            .insert("web".into(), read(object("web", spec)));
        let cluster = ClusterObjects::default();
        let seen = Seen::new(
            "shop",
            &objects,
            &cluster,
            Timestamp::UNIX_EPOCH,
            Duration::ZERO,
        );
        let findings = super::super::analyze(&seen).into_iter();
        findings
            .map(|finding| Value::Object(finding.raw_data))
            .collect()
    }

    fn default(service: &str, port: Value) -> Value {
        json!({ "defaultBackend": { "service": { "name": service, "port": port } } })
    }

    #[test]
    fn what_leads_to_a_port_is_no_finding() {
        for spec in [
            json!(null),
            json!({}),
            default("web", json!({ "number": 80 })),
            default("web", json!({ "name": "http" })),
            json!({ "defaultBackend": { "resource": { "kind": "Bucket", "name": "b" } } }),
            json!({ "rules": [{ "host": "shop.example" }] }),
        ] {
            assert_eq!(found(spec.clone()), [] as [Value; 0], "{spec}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_named_with_what_is_meant_if_that_is_certain() {
        let place = "/spec/defaultBackend/service";
        for (spec, field, wrong, right) in [
            (
                default("wep", json!({ "number": 80 })),
                "name",
                json!("wep"),
                json!("web"),
            ),
            (
                default("web", json!({ "number": 81 })),
                "port/number",
                json!(81),
                json!(80),
            ),
            (
                default("web", json!({ "name": "web" })),
                "port/name",
                json!("web"),
                json!(null),
            ),
            (
                default("two", json!({ "number": 82 })),
                "port/number",
                json!(82),
                json!(null),
            ),
        ] {
            let facts =
                json!({ "places": [format!("{place}/{field}")], "wrong": wrong, "right": right });
            assert_eq!(found(spec), [facts]);
        }
    }

    #[test]
    fn what_is_wrong_in_several_places_is_one_finding() {
        let to = |name: &str, number: u16| json!({ "path": "/", "pathType": "Prefix", "backend": { "service": { "name": name, "port": { "number": number } } } });
        let paths = json!([to("wep", 80), to("web", 80), to("wep", 443), to("web", 81)]);
        let mut spec = default("wep", json!({ "number": 80 }));
        spec["rules"] = json!([{ "http": { "paths": paths } }]);
        let of_path = |path: u8| format!("/spec/rules/0/http/paths/{path}/backend/service");
        let names = json!({
            "places": ["/spec/defaultBackend/service/name", of_path(0) + "/name", of_path(2) + "/name"],
            "wrong": "wep", "right": "web",
        });
        let port = json!({ "places": [of_path(3) + "/port/number"], "wrong": 81, "right": 80 });
        assert_eq!(found(spec), [names, port]);
    }
}
