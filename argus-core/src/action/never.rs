//! Changes that no plan makes, also where a host allows high risk: what would let an app do more than before, take storage
//! away, or hide from people what was done.
//!
//! Security settings are compared by what is known to be no weaker; any other change of one is refused.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Kind;
use super::allowed::pod_template;
use super::field::{FieldChange, FieldPath, Segment};
use crate::pod_security::{CONTAINER_LISTS, containers, list, unmet};

/// Beginnings of labels and annotations that belong to Argus, to `kubectl apply` and to controllers, or that give secrets or
/// take confinement.
const RESERVED: [(&str, &str); 6] = [
    ("argus-ops/", "it would hide from people what Argus finds"),
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        "the next `kubectl apply` of a person would take fields away by it",
    ),
    (
        "deployment.kubernetes.io/",
        "it belongs to the Deployment's controller",
    ),
    (
        "vault.hashicorp.com/",
        "it gives the app a secret that was not read before",
    ),
    (
        "container.apparmor.security.beta.kubernetes.io/",
        "it decides how the app is confined",
    ),
    (
        "seccomp.security.alpha.kubernetes.io/",
        "it decides how the app is confined",
    ),
];

/// The reason why no plan writes the field at this path, whatever the value.
pub(super) fn path_never(path: &FieldPath) -> Option<&'static str> {
    let parts: Vec<&str> = path.segments().iter().map(Segment::as_str).collect();
    parts.windows(2).find_map(|pair| match pair {
        ["metadata", "finalizers"] => Some("it decides what is kept of an object that is deleted"),
        ["metadata", "ownerReferences"] => Some("it decides what is deleted with another object"),
        ["annotations", key] if key.to_ascii_lowercase().contains("secret") => {
            Some("it may name a secret that was not read before")
        }
        ["annotations" | "labels", key] => RESERVED
            .iter()
            .find(|(start, _)| key.starts_with(start))
            .map(|(_, why)| *why),
        _ => None,
    })
}

/// The changes of one object that no plan makes, each by its field with the reason.
pub(super) fn never(
    kind: Kind,
    before: &Value,
    after: &Value,
    changes: &[FieldChange<'_>],
) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for change in changes {
        if let Some(why) = path_never(&change.path) {
            found.push((change.path.to_string(), why.into()));
        }
    }
    let nothing = Value::Null;
    let pod = pod_template(kind);
    let [old, new] = [before, after].map(|object| object.pointer(pod).unwrap_or(&nothing));
    if old != new {
        let field = pod.trim_start_matches('/').replace('/', ".");
        let mut note =
            |(place, why): (String, String)| found.push((format!("{field}{place}"), why));
        weaker_level(old, new).into_iter().for_each(&mut note);
        let [old, new] = [old, new].map(|template| template.get("spec").unwrap_or(&nothing));
        new_powers(old, new).into_iter().for_each(&mut note);
        weaker_settings(old, new).into_iter().for_each(&mut note);
    }
    let certificates = |object: &Value| -> BTreeSet<String> {
        let spec = object.get("spec").into_iter();
        let named = spec
            .flat_map(|spec| list(spec, "tls"))
            .map(|tls| text(tls, "secretName"));
        named.map(str::to_owned).collect()
    };
    if let Some(secret) = (&certificates(after) - &certificates(before)).pop_first() {
        let why = format!("the secret {secret} would be read that was not read before");
        found.push(("spec.tls".into(), why));
    }
    found.extend(lost_storage(before, after));
    found
}

/// Controls of the Pod Security Standards that the pod met before.
fn weaker_level(old: &Value, new: &Value) -> Vec<(String, String)> {
    ["baseline", "restricted"]
        .into_iter()
        .flat_map(|level| {
            let lost = &unmet(level, new) - &unmet(level, old);
            lost.into_iter().map(move |control| {
                let why = format!("the Pod Security level `{level}` would refuse it: {control}");
                (".spec".to_owned(), why)
            })
        })
        .collect()
}

/// Volumes of these kinds hold nothing that the app may not see: what they read is of its own namespace and no secret.
const ORDINARY_VOLUMES: [&str; 5] = [
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
];
/// Volumes that hold what the pod was given to read.
const SECRET_VOLUMES: [&str; 2] = ["secret", "projected"];
const ORDINARY_SOURCES: [&str; 2] = ["configMap", "downwardAPI"];

/// The powers that a volume gives to its containers, beyond the ordinary.
fn volume_powers(volume: &Value) -> Vec<String> {
    let sources = volume.as_object().into_iter().flatten();
    let mut powers = Vec::new();
    for (kind, source) in sources.filter(|(kind, _)| *kind != "name") {
        if kind == "projected" {
            let parts = list(source, "sources")
                .filter_map(Value::as_object)
                .flatten();
            let parts = parts.filter(|(kind, _)| !ORDINARY_SOURCES.contains(&kind.as_str()));
            powers.extend(parts.map(|(kind, part)| format!("{kind} {part}")));
        } else if !ORDINARY_VOLUMES.contains(&kind.as_str()) {
            powers.push(format!("{kind} {source}"));
        }
    }
    powers
}

/// Secrets, tokens, and parts of the node that a pod, or one of its containers, has.
fn powers(spec: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for secret in list(spec, "imagePullSecrets") {
        found.insert((".spec.imagePullSecrets".to_owned(), secret.to_string()));
    }
    for field in ["serviceAccountName", "serviceAccount"] {
        if let Some(account) = spec.get(field) {
            found.insert((format!(".spec.{field}"), account.to_string()));
        }
    }
    for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        if spec.get(field) == Some(&Value::Bool(true)) {
            found.insert((format!(".spec.{field}"), "true".into()));
        }
    }
    for volume in list(spec, "volumes") {
        let name = text(volume, "name");
        let powers = volume_powers(volume).into_iter();
        found.extend(powers.map(|power| (format!(".spec.volumes[{name}]"), power)));
    }
    for field in CONTAINER_LISTS {
        for container in list(spec, field) {
            let place = format!(".spec.{field}[{}]", text(container, "name"));
            for variable in list(container, "env") {
                let from = variable.get("valueFrom").and_then(Value::as_object);
                let from = from.into_iter().flatten();
                let ordinary = ["configMapKeyRef", "fieldRef", "resourceFieldRef"];
                let secret = from.filter(|(kind, _)| !ordinary.contains(&kind.as_str()));
                found
                    .extend(secret.map(|(kind, source)| {
                        (format!("{place}.env"), format!("{kind} {source}"))
                    }));
            }
            for source in list(container, "envFrom").filter_map(Value::as_object) {
                let ordinary = ["configMapRef", "prefix"];
                let secret = source
                    .iter()
                    .filter(|(kind, _)| !ordinary.contains(&kind.as_str()));
                found.extend(secret.map(|(kind, source)| {
                    (format!("{place}.envFrom"), format!("{kind} {source}"))
                }));
            }
            // A secret of the pod in another of its containers is high risk; a part of the node is never given further.
            for mount in list(container, "volumeMounts") {
                let volume =
                    list(spec, "volumes").find(|volume| volume.get("name") == mount.get("name"));
                let is_secret =
                    |volume: &&Value| SECRET_VOLUMES.iter().any(|kind| volume.get(kind).is_some());
                let volume = volume.filter(|volume| !is_secret(volume));
                let powers = volume.into_iter().flat_map(volume_powers);
                found
                    .extend(powers.map(|power| {
                        (format!("{place}.volumeMounts"), format!("{power} {mount}"))
                    }));
            }
            for device in list(container, "volumeDevices") {
                found.insert((format!("{place}.volumeDevices"), device.to_string()));
            }
            for port in list(container, "ports") {
                let address = text(port, "hostIP");
                let port = port.get("hostPort").filter(|port| **port != 0);
                found.extend(
                    port.map(|port| (format!("{place}.ports"), format!("{address}:{port}"))),
                );
            }
        }
    }
    found
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn new_powers(old: &Value, new: &Value) -> Vec<(String, String)> {
    let gained = &powers(new) - &powers(old);
    // The account that a pod gets where none is named.
    let account = |spec: &Value| {
        let named = spec.get("serviceAccountName").and_then(Value::as_str);
        named
            .filter(|name| !name.is_empty())
            .unwrap_or("default")
            .to_owned()
    };
    let mut found: Vec<(String, String)> = gained
        .into_iter()
        .map(|(place, _)| {
            let why = match place.rsplit('.').next().unwrap_or_default() {
                "hostNetwork" | "hostPID" | "hostIPC" | "ports" => {
                    "it would use the node's own network or processes"
                }
                "shareProcessNamespace" => "containers would see each other's processes",
                "serviceAccountName" | "serviceAccount" => "the app would act as another account",
                _ => {
                    "a secret, a token or a part of the node would be read that was not read before"
                }
            };
            (place, why.to_owned())
        })
        .collect();
    if account(old) != account(new) {
        let why = "the app would act as another account".to_owned();
        found.push((".spec.serviceAccountName".into(), why));
    }
    let mounts = |spec: &Value| spec.get("automountServiceAccountToken").cloned();
    if mounts(old) != mounts(new) && mounts(new) != Some(Value::Bool(false)) {
        let why = "the app would get the token of its account".to_owned();
        found.push((".spec.automountServiceAccountToken".into(), why));
    }
    let users = |spec: &Value| spec.get("hostUsers").cloned();
    if users(old) != users(new) && users(new) != Some(Value::Bool(false)) {
        let why = "the app would have the users of the node".to_owned();
        found.push((".spec.hostUsers".into(), why));
    }
    found
}

/// Security settings, of the pod and of each container that was there before, that aren't known to be as strict as before.
fn weaker_settings(old: &Value, new: &Value) -> Vec<(String, String)> {
    let nothing = Value::Null;
    let context = |holder: &Value| holder.get("securityContext").cloned().unwrap_or_default();
    let mut pairs = vec![(".spec".to_owned(), context(old), context(new))];
    for field in CONTAINER_LISTS {
        for container in list(new, field) {
            let name = container.get("name");
            let before = containers(old).find(|old| old.get("name") == name);
            let place = format!(".spec.{field}[{}]", text(container, "name"));
            match before {
                Some(before) => pairs.push((place, context(before), context(container))),
                // A new container is judged by the level of its pod; its settings may only be strict.
                None => pairs.push((place, nothing.clone(), context(container))),
            }
        }
    }
    let mut found = Vec::new();
    for (place, old, new) in &pairs {
        let fields: BTreeSet<&String> = [old, new]
            .into_iter()
            .filter_map(Value::as_object)
            .flat_map(|context| context.keys())
            .collect();
        for field in fields {
            let values = [old.get(field), new.get(field)];
            if values[0] != values[1] && !is_no_weaker(field, values[0], values[1]) {
                let why = "a security setting would be weaker, or another one".to_owned();
                found.push((format!("{place}.securityContext.{field}"), why));
            }
        }
    }
    found
}

/// True for a changed security setting that is known to be at least as strict as the one before.
fn is_no_weaker(field: &str, old: Option<&Value>, new: Option<&Value>) -> bool {
    let is = |value: bool| new == Some(&Value::Bool(value));
    match field {
        "privileged" => is(false) || new.is_none(),
        "allowPrivilegeEscalation" => is(false),
        "readOnlyRootFilesystem" | "runAsNonRoot" => is(true),
        // Another user that isn't root, where root was or nobody was named.
        "runAsUser" | "runAsGroup" => {
            let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
            number(old) == 0 && number(new) > 0
        }
        "procMount" => new.is_none() || new == Some(&Value::from("Default")),
        "capabilities" => {
            let named = |value: Option<&Value>, field: &str| -> BTreeSet<String> {
                let names = value.into_iter().flat_map(|value| list(value, field));
                names.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            named(new, "add").is_subset(&named(old, "add"))
                && named(old, "drop").is_subset(&named(new, "drop"))
        }
        "seccompProfile" | "appArmorProfile" => {
            let kind = |value: Option<&Value>| {
                let kind = value.and_then(|value| value.get("type")?.as_str());
                kind.map(str::to_owned)
            };
            let unset = matches!(kind(old).as_deref(), None | Some("Unconfined"));
            unset && kind(new).as_deref() == Some("RuntimeDefault")
        }
        _ => false,
    }
}

/// Storage that would be deleted, or kept no longer.
fn lost_storage(before: &Value, after: &Value) -> Option<(String, String)> {
    const POLICY: &str = "/spec/persistentVolumeClaimRetentionPolicy";
    let says = |object: &Value, when: &str| {
        let policy = object.pointer(&format!("{POLICY}/{when}"));
        policy.and_then(Value::as_str) == Some("Delete")
    };
    let when = ["whenDeleted", "whenScaled"]
        .into_iter()
        .find(|when| says(after, when) && !says(before, when));
    if let Some(when) = when {
        let field = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
        return Some((field, "storage would be deleted with its copy".into()));
    }
    let copies = |object: &Value| {
        object
            .pointer("/spec/replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1)
    };
    (says(after, "whenScaled") && copies(after) < copies(before)).then(|| {
        let why = "storage would be deleted with its copy, as the retention policy says".to_owned();
        ("spec.replicas".to_owned(), why)
    })
}
