//! The list of what never passes, from the words of issue 23, point 2, as data and comparisons of the object before and
//! after. Nothing of Argus is asked.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pod_security::{containers, items, level};

/// Annotations and labels that nobody but their owners changes.
const KEYS: [&str; 3] = [
    "argus-ops/",
    "deployment.kubernetes.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
];
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Security fields of a pod or container that are weaker by any other value than these, absent included.
const STRONG: [(&str, &[&str]); 3] = [
    ("/allowPrivilegeEscalation", &["false"]),
    ("/readOnlyRootFilesystem", &["true"]),
    ("/supplementalGroupsPolicy", &["\"Strict\""]),
];
/// Security fields that are weaker by one of these values.
const WEAK: [(&str, &[&str]); 3] = [
    ("/privileged", &["true"]),
    ("/procMount", &["\"Unmasked\""]),
    ("/windowsOptions/hostProcess", &["true"]),
];
/// Security fields of which nobody can say that another value is no weaker.
const OPAQUE: [&str; 4] = [
    "/seLinuxOptions",
    "/sysctls",
    "/windowsOptions/gmsaCredentialSpec",
    "/windowsOptions/gmsaCredentialSpecName",
];

/// Why a change must not pass, whatever a host allows; empty where nothing of the list is in it.
pub(crate) fn never(before: &Value, after: &Value) -> Vec<String> {
    let mut why: Vec<String> = Vec::new();
    if after.is_null() {
        return vec!["the object is deleted".into()];
    }
    let (old, new) = (template(before), template(after));
    let mut new_of = |what: &str, of: fn(&Value) -> BTreeSet<String>| {
        for found in of(after).difference(&of(before)) {
            why.push(format!("{what}: {found}"));
        }
    };
    new_of("a Secret or token that was not referenced", credentials);
    new_of("a host path", |object| host_paths(template(object)));
    new_of("a host port", |object| host_ports(template(object)));
    new_of("a host namespace", |object| {
        host_namespaces(template(object))
    });
    for field in [
        "serviceAccountName",
        "serviceAccount",
        "automountServiceAccountToken",
    ] {
        if old["spec"][field] != new["spec"][field] {
            why.push(format!("the service account or its token: {field}"));
        }
    }
    if level(new) < level(old) {
        why.push(format!(
            "the Pod Security level: {:?} after {:?}",
            level(new),
            level(old)
        ));
    }
    weaker(old, new, &mut why);
    storage(before, after, &mut why);
    for (place, before, after) in metadata(before, after) {
        for field in ["finalizers", "ownerReferences"] {
            if before[field] != after[field] {
                why.push(format!("{field} of {place}"));
            }
        }
        for field in ["labels", "annotations"] {
            for key in changed_keys(&before[field], &after[field]) {
                if KEYS.iter().any(|reserved| key.starts_with(reserved)) {
                    why.push(format!("{key} of {place}"));
                }
            }
        }
        for key in changed_keys(&before["annotations"], &after["annotations"]) {
            let value = |annotations: &Value| {
                annotations[key.as_str()]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let confined =
                |value: &str| value == "runtime/default" || value.starts_with("localhost/");
            let (old, new) = (value(&before["annotations"]), value(&after["annotations"]));
            let weaker = (confined(&old) && old != new && new != "runtime/default")
                || (new != old && new == "unconfined");
            if key.starts_with(APPARMOR) && weaker {
                why.push(format!("AppArmor: {key} of {place}"));
            }
        }
    }
    why
}

/// The pod template of an object; null where it has none.
pub(crate) fn template(object: &Value) -> &Value {
    match &object["spec"]["jobTemplate"] {
        Value::Null => &object["spec"]["template"],
        job => &job["spec"]["template"],
    }
}

/// The object's metadata, and those of its templates.
fn metadata<'a>(before: &'a Value, after: &'a Value) -> Vec<(&'static str, &'a Value, &'a Value)> {
    let pairs = [
        ("the object", "/metadata"),
        ("the pod template", "/spec/template/metadata"),
        ("the job template", "/spec/jobTemplate/metadata"),
        (
            "the job's pod template",
            "/spec/jobTemplate/spec/template/metadata",
        ),
    ];
    let find = |object: &'a Value, path: &str| object.pointer(path).unwrap_or(&Value::Null);
    pairs
        .map(|(place, path)| (place, find(before, path), find(after, path)))
        .into()
}

fn changed_keys(before: &Value, after: &Value) -> BTreeSet<String> {
    let keys = |map: &Value| {
        map.as_object()
            .map(|map| map.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let all: BTreeSet<String> = keys(before).into_iter().chain(keys(after)).collect();
    all.into_iter()
        .filter(|key| before.get(key) != after.get(key))
        .collect()
}

/// Every Secret that an object names, every token that its pods get, every driver that may hand out either.
fn credentials(object: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(&object["spec"], &mut found);
    let annotated = metadata(object, object);
    for (_, metadata, _) in annotated {
        for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
            if key.to_lowercase().contains("secret") {
                found.insert(format!("annotation {key}={value}"));
            }
        }
    }
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let name = match (key.as_str(), inner) {
                    ("secretName", Value::String(name)) => Some(format!("Secret {name}")),
                    (
                        "secretRef" | "secretKeyRef" | "secret" | "nodePublishSecretRef",
                        Value::Object(reference),
                    ) => reference
                        .get("name")
                        .and_then(Value::as_str)
                        .map(|name| format!("Secret {name}")),
                    ("serviceAccountToken", _) => Some(format!("token for {}", inner["audience"])),
                    ("podCertificate", _) => {
                        Some(format!("certificate of {}", inner["signerName"]))
                    }
                    ("csi", _) => Some(format!(
                        "driver {} with {}",
                        inner["driver"], inner["volumeAttributes"]
                    )),
                    _ => None,
                };
                found.extend(name);
                if key == "imagePullSecrets" {
                    for secret in items(inner) {
                        found.extend(secret["name"].as_str().map(|name| format!("Secret {name}")));
                    }
                }
                collect(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// The host paths of a pod, and the containers that may write to them.
fn host_paths(template: &Value) -> BTreeSet<String> {
    let spec = &template["spec"];
    let mut found = BTreeSet::new();
    for volume in items(&spec["volumes"]).filter(|volume| volume["hostPath"].is_object()) {
        found.insert(format!(
            "{} as {}",
            volume["hostPath"]["path"], volume["hostPath"]["type"]
        ));
        for container in containers(spec) {
            for mount in
                items(&container["volumeMounts"]).filter(|mount| mount["name"] == volume["name"])
            {
                let how = format!(
                    "{} of {} in {}",
                    mount["subPath"], volume["hostPath"]["path"], container["name"]
                );
                found.insert(format!("{how}, read"));
                if mount["readOnly"] != true {
                    found.insert(format!("{how}, written"));
                }
                if mount["mountPropagation"] == "Bidirectional" {
                    found.insert(format!("{how}, mounted from inside"));
                }
            }
        }
    }
    found
}

fn host_ports(template: &Value) -> BTreeSet<String> {
    let ports = containers(&template["spec"]).flat_map(|container| items(&container["ports"]));
    let taken = ports.filter(|port| port["hostPort"].as_i64().unwrap_or_default() != 0);
    taken
        .map(|port| {
            format!(
                "{} {} {}",
                port["hostPort"], port["protocol"], port["hostIP"]
            )
        })
        .collect()
}

fn host_namespaces(template: &Value) -> BTreeSet<String> {
    let spec = &template["spec"];
    let mut found: BTreeSet<String> =
        ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"]
            .into_iter()
            .filter(|field| spec[*field] == true)
            .map(str::to_owned)
            .collect();
    if spec.is_object() && spec["hostUsers"] != false {
        found.insert("hostUsers".into());
    }
    found
}

/// Security fields of the pod, and of each container that stays.
fn weaker(old: &Value, new: &Value, why: &mut Vec<String>) {
    let (old_pod, new_pod) = (
        &old["spec"]["securityContext"],
        &new["spec"]["securityContext"],
    );
    context("the pod", old_pod, new_pod, why);
    for container in containers(&old["spec"]) {
        let mut same = containers(&new["spec"]).filter(|other| other["name"] == container["name"]);
        if let Some(other) = same.next() {
            let name = container["name"].as_str().unwrap_or_default();
            let contexts = (&container["securityContext"], &other["securityContext"]);
            context(name, contexts.0, contexts.1, why);
            inherited(name, [(old_pod, contexts.0), (new_pod, contexts.1)], why);
        }
    }
}

fn context(whose: &str, old: &Value, new: &Value, why: &mut Vec<String>) {
    let at = |context: &Value, field: &str| context.pointer(field).cloned().unwrap_or_default();
    let is = |value: &Value, listed: &[&str]| listed.contains(&value.to_string().as_str());
    for (field, strong) in STRONG {
        if is(&at(old, field), strong) && !is(&at(new, field), strong) {
            why.push(format!("{field} of {whose} is weaker"));
        }
    }
    for (field, weak) in WEAK {
        if !is(&at(old, field), weak) && is(&at(new, field), weak) {
            why.push(format!("{field} of {whose} is weaker"));
        }
    }
    for field in OPAQUE {
        if at(old, field) != at(new, field) {
            why.push(format!("{field} of {whose} is another"));
        }
    }
    let all = |context: &Value, list: &str| -> BTreeSet<String> {
        items(&at(context, list)).map(ToString::to_string).collect()
    };
    for list in ["/capabilities/add", "/supplementalGroups"] {
        for added in all(new, list).difference(&all(old, list)) {
            why.push(format!("{list} of {whose} has {added} too"));
        }
    }
    for dropped in all(old, "/capabilities/drop").difference(&all(new, "/capabilities/drop")) {
        if !all(new, "/capabilities/drop").contains("\"ALL\"") {
            why.push(format!(
                "/capabilities/drop of {whose} has {dropped} no more"
            ));
        }
    }
    if at(old, "/fsGroup") != at(new, "/fsGroup") && !at(new, "/fsGroup").is_null() {
        why.push(format!("/fsGroup of {whose} is another group"));
    }
}

/// Fields that a container takes from its pod where it has none of its own.
fn inherited(whose: &str, pairs: [(&Value, &Value); 2], why: &mut Vec<String>) {
    let value = |field: &str| {
        pairs.map(|(pod, own)| match &own[field] {
            Value::Null => pod[field].clone(),
            own => own.clone(),
        })
    };
    let [old, new] = value("runAsNonRoot");
    if old == true && new != true {
        why.push(format!("runAsNonRoot of {whose} is weaker"));
    }
    for field in ["runAsUser", "runAsGroup"] {
        let [old, new] = value(field);
        let is_root = |id: &Value| id.is_null() || *id == json!(0);
        if !is_root(&old) && is_root(&new) || !old.is_null() && old != json!(0) && new == json!(0) {
            why.push(format!("{field} of {whose} may be root"));
        }
    }
    for field in ["seccompProfile", "appArmorProfile"] {
        let [old, new] = value(field);
        let confined =
            |profile: &Value| profile["type"] == "RuntimeDefault" || profile["type"] == "Localhost";
        let unknown = new["type"] == "Localhost" && old != new;
        let unconfined = new["type"] == "Unconfined" && old["type"] != "Unconfined";
        if (confined(&old) && (!confined(&new) || unknown)) || unconfined {
            why.push(format!("{field} of {whose} is weaker"));
        }
    }
}

/// Storage that would be deleted, or kept no longer.
fn storage(before: &Value, after: &Value, why: &mut Vec<String>) {
    let policy = |object: &Value, when: &str| {
        object["spec"]["persistentVolumeClaimRetentionPolicy"][when] == "Delete"
    };
    for when in ["whenDeleted", "whenScaled"] {
        if !policy(before, when) && policy(after, when) {
            why.push(format!("storage is kept no longer: {when}"));
        }
    }
    let claims = |object: &Value| items(&object["spec"]["volumeClaimTemplates"]).len() > 0;
    let copies = |object: &Value| object["spec"]["replicas"].as_i64().unwrap_or(1);
    if claims(before) && policy(after, "whenScaled") && copies(after) < copies(before) {
        why.push("storage is deleted with the copies that are taken away".into());
    }
    let start = |object: &Value| {
        object["spec"]["ordinals"]["start"]
            .as_i64()
            .unwrap_or_default()
    };
    if claims(before) && policy(after, "whenScaled") && start(after) != start(before) {
        why.push("storage is deleted with the copies that get other numbers".into());
    }
}
