//! What a namespace's Pod Security Standard has against a pod.
//!
//! Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>. Deleting a pod is never refused by it, but making
//! its replacement is.

use serde_json::Value;

/// The label by which a namespace refuses pods.
pub(super) const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Capabilities that `baseline` lets a container have.
const HARMLESS: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The first field of a pod's `spec` that a level (`baseline` or `restricted`) doesn't allow.
pub(super) fn refused(level: &str, spec: &Value) -> Option<String> {
    match level {
        "baseline" => baseline(spec),
        "restricted" => baseline(spec).or_else(|| restricted(spec)),
        _ => None,
    }
}

fn list<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    let items = object.pointer(path).and_then(Value::as_array);
    items.into_iter().flatten()
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["/initContainers", "/containers", "/ephemeralContainers"];
    lists.into_iter().flat_map(|path| list(spec, path))
}

fn is(object: &Value, path: &str, wanted: bool) -> bool {
    object.pointer(path).and_then(Value::as_bool) == Some(wanted)
}

fn baseline(spec: &Value) -> Option<String> {
    let shared = ["/hostNetwork", "/hostPID", "/hostIPC"];
    if let Some(path) = shared.into_iter().find(|path| is(spec, path, true)) {
        return Some(path.trim_start_matches('/').into());
    }
    if list(spec, "/volumes").any(|volume| volume.get("hostPath").is_some()) {
        return Some("hostPath".into());
    }
    containers(spec).find_map(|container| {
        let capability = list(container, "/securityContext/capabilities/add")
            .filter_map(Value::as_str)
            .find(|name| !HARMLESS.contains(name));
        let port = list(container, "/ports")
            .any(|port| port.get("hostPort").is_some_and(|port| *port != 0));
        if is(container, "/securityContext/privileged", true) {
            Some("privileged".into())
        } else if port {
            Some("hostPort".into())
        } else {
            capability.map(|name| format!("the capability {name}"))
        }
    })
}

fn restricted(spec: &Value) -> Option<String> {
    const VOLUMES: [&str; 8] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let allowed = |volume: &&Value| VOLUMES.iter().any(|kind| volume.get(kind).is_some());
    if list(spec, "/volumes").any(|volume| !allowed(&volume)) {
        return Some("a volume of another kind than it allows".into());
    }
    // What a container says goes before what its pod says.
    let said = |container: &Value, field: &str| {
        let path = format!("/securityContext/{field}");
        let own = container.pointer(&path).filter(|value| !value.is_null());
        own.or_else(|| spec.pointer(&path))
            .cloned()
            .unwrap_or_default()
    };
    containers(spec).find_map(|container| {
        let profile = said(container, "seccompProfile");
        let profile = profile.get("type").and_then(Value::as_str);
        let mut dropped = list(container, "/securityContext/capabilities/drop");
        let mut added = list(container, "/securityContext/capabilities/add");
        let problem = if !is(
            container,
            "/securityContext/allowPrivilegeEscalation",
            false,
        ) {
            "allowPrivilegeEscalation is not false"
        } else if said(container, "runAsNonRoot") != Value::Bool(true) {
            "runAsNonRoot is not true"
        } else if said(container, "runAsUser") == 0 {
            "runAsUser is 0"
        } else if !dropped.any(|name| name == "ALL") {
            "not all capabilities are dropped"
        } else if added.any(|name| name != "NET_BIND_SERVICE") {
            "a capability is added"
        } else if !matches!(profile, Some("RuntimeDefault" | "Localhost")) {
            "seccompProfile is not set"
        } else {
            return None;
        };
        Some(problem.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_level_refuses_what_it_says() {
        let good = json!({
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "volumes": [{ "name": "a", "emptyDir": {} }],
            "containers": [{ "name": "app", "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }],
        });
        for level in ["baseline", "restricted", "privileged"] {
            assert_eq!(refused(level, &good), None, "{level}");
        }
        let with = |path: &str, value: Value| {
            let mut spec = good.clone();
            let (parent, field) = path.rsplit_once('/').unwrap_or_default();
            if let Some(parent) = spec.pointer_mut(parent) {
                parent[field] = value;
            }
            spec
        };
        let of = "/containers/0/securityContext";
        for (path, value, baseline) in [
            ("/hostNetwork".to_owned(), json!(true), true),
            ("/volumes/0/hostPath".into(), json!({ "path": "/" }), true),
            (format!("{of}/privileged"), json!(true), true),
            (format!("{of}/capabilities/add"), json!(["SYS_ADMIN"]), true),
            (
                "/containers/0/ports".into(),
                json!([{ "hostPort": 80 }]),
                true,
            ),
            (format!("{of}/allowPrivilegeEscalation"), json!(true), false),
            (format!("{of}/runAsNonRoot"), json!(false), false),
            ("/securityContext/runAsNonRoot".into(), json!(null), false),
            (format!("{of}/runAsUser"), json!(0), false),
            (format!("{of}/capabilities/drop"), json!([]), false),
            (format!("{of}/capabilities/add"), json!(["CHOWN"]), false),
            ("/securityContext/seccompProfile".into(), json!(null), false),
            (
                "/volumes".into(),
                json!([{ "name": "a", "nfs": {} }]),
                false,
            ),
        ] {
            let spec = with(&path, value);
            assert!(refused("restricted", &spec).is_some(), "{path}");
            assert_eq!(refused("baseline", &spec).is_some(), baseline, "{path}");
            assert_eq!(refused("privileged", &spec), None, "{path}");
        }
    }
}
