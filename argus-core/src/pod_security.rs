//! The Pod Security Standards as Kubernetes writes them: what each level has against a pod.
//!
//! Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, as of Kubernetes 1.36.

use std::collections::BTreeSet;

use serde_json::Value;

/// Capabilities that `baseline` lets a container add.
const BASELINE_CAPABILITIES: [&str; 13] = [
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
/// Kernel parameters that `baseline` lets a pod set.
const BASELINE_SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];
const BASELINE_SELINUX: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];
const RESTRICTED_VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Every control of a level (`baseline` or `restricted`) that a pod doesn't meet, in words; `template` has the pod's `metadata` and
/// `spec`.
pub(crate) fn unmet(level: &str, template: &Value) -> BTreeSet<String> {
    match level {
        "baseline" => baseline(template),
        "restricted" => &baseline(template) | &restricted(template),
        _ => BTreeSet::new(),
    }
}

/// The lists of a pod's `spec` that hold containers.
pub(crate) const CONTAINER_LISTS: [&str; 3] =
    ["initContainers", "containers", "ephemeralContainers"];

/// The containers of a pod's `spec`, of every kind.
pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    CONTAINER_LISTS
        .into_iter()
        .flat_map(|field| list(spec, field))
}

/// The elements of a list below an object; none where there is no list.
pub(crate) fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn is(object: &Value, pointer: &str, wanted: bool) -> bool {
    object.pointer(pointer).and_then(Value::as_bool) == Some(wanted)
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

fn baseline(template: &Value) -> BTreeSet<String> {
    let mut unmet = BTreeSet::new();
    let spec = template.get("spec").unwrap_or(&Value::Null);
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if is(spec, &format!("/{field}"), true) {
            unmet.insert(field.to_owned());
        }
    }
    if list(spec, "volumes").any(|volume| volume.get("hostPath").is_some()) {
        unmet.insert("hostPath".into());
    }
    let sysctls = spec
        .get("securityContext")
        .into_iter()
        .flat_map(|context| list(context, "sysctls"));
    for sysctl in sysctls {
        let name = text(sysctl, "/name").unwrap_or_default();
        if !BASELINE_SYSCTLS.contains(&name) {
            unmet.insert(format!("the kernel parameter {name}"));
        }
    }
    let annotations = template
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let confined =
            value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        if key.starts_with(APPARMOR_ANNOTATION) && !confined {
            unmet.insert("AppArmor is off".into());
        }
    }
    for holder in std::iter::once(spec).chain(containers(spec)) {
        of_context(holder, &mut unmet);
    }
    for container in containers(spec) {
        if is(container, "/securityContext/privileged", true) {
            unmet.insert("privileged".into());
        }
        let added = container
            .pointer("/securityContext/capabilities")
            .into_iter()
            .flat_map(|capabilities| list(capabilities, "add"));
        for name in added.filter_map(Value::as_str) {
            if !BASELINE_CAPABILITIES.contains(&name) {
                unmet.insert(format!("the capability {name}"));
            }
        }
        if list(container, "ports").any(|port| port.get("hostPort").is_some_and(|port| *port != 0))
        {
            unmet.insert("hostPort".into());
        }
        let procs = text(container, "/securityContext/procMount").unwrap_or("Default");
        if procs != "Default" {
            unmet.insert("procMount is not Default".into());
        }
        for (asker, what) in [
            ("livenessProbe", "a probe asks another host"),
            ("readinessProbe", "a probe asks another host"),
            ("startupProbe", "a probe asks another host"),
            ("lifecycle/postStart", "a lifecycle hook asks another host"),
            ("lifecycle/preStop", "a lifecycle hook asks another host"),
        ] {
            let asks = |check: &str| {
                let host = text(container, &format!("/{asker}/{check}/host"));
                host.is_some_and(|host| !host.is_empty())
            };
            if asks("httpGet") || asks("tcpSocket") {
                unmet.insert(what.into());
            }
        }
    }
    unmet
}

/// The settings that a pod and a container may both have in their `securityContext`.
fn of_context(holder: &Value, unmet: &mut BTreeSet<String>) {
    if is(holder, "/securityContext/windowsOptions/hostProcess", true) {
        unmet.insert("hostProcess".into());
    }
    if text(holder, "/securityContext/seccompProfile/type") == Some("Unconfined") {
        unmet.insert("seccompProfile is Unconfined".into());
    }
    let profile = text(holder, "/securityContext/appArmorProfile/type");
    if !matches!(profile, None | Some("RuntimeDefault" | "Localhost")) {
        unmet.insert("AppArmor is off".into());
    }
    let selinux = |field: &str| {
        text(holder, &format!("/securityContext/seLinuxOptions/{field}")).unwrap_or_default()
    };
    if !BASELINE_SELINUX.contains(&selinux("type"))
        || !selinux("user").is_empty()
        || !selinux("role").is_empty()
    {
        unmet.insert("seLinuxOptions".into());
    }
}

fn restricted(template: &Value) -> BTreeSet<String> {
    let spec = template.get("spec").unwrap_or(&Value::Null);
    let mut unmet = BTreeSet::new();
    let allowed = |volume: &Value| {
        RESTRICTED_VOLUMES
            .iter()
            .any(|kind| volume.get(kind).is_some())
    };
    if list(spec, "volumes").any(|volume| !allowed(volume)) {
        unmet.insert("a volume of another kind than it allows".into());
    }
    // What a container says goes before what its pod says.
    let said = |container: &Value, field: &str| {
        let pointer = format!("/securityContext/{field}");
        let own = container.pointer(&pointer).filter(|value| !value.is_null());
        own.or_else(|| spec.pointer(&pointer))
            .cloned()
            .unwrap_or_default()
    };
    if spec.pointer("/securityContext/runAsUser") == Some(&Value::from(0)) {
        unmet.insert("runAsUser is 0".into());
    }
    for container in containers(spec) {
        let profile = said(container, "seccompProfile");
        let profile = profile.get("type").and_then(Value::as_str);
        let capabilities = container.pointer("/securityContext/capabilities");
        let named = |field: &'static str| {
            capabilities
                .into_iter()
                .flat_map(move |capabilities| list(capabilities, field))
        };
        for (met, problem) in [
            (
                is(
                    container,
                    "/securityContext/allowPrivilegeEscalation",
                    false,
                ),
                "allowPrivilegeEscalation is not false",
            ),
            (
                said(container, "runAsNonRoot") == Value::Bool(true),
                "runAsNonRoot is not true",
            ),
            (said(container, "runAsUser") != 0, "runAsUser is 0"),
            (
                named("drop").any(|name| name == "ALL"),
                "not all capabilities are dropped",
            ),
            (
                named("add").all(|name| name == "NET_BIND_SERVICE"),
                "a capability is added",
            ),
            (
                matches!(profile, Some("RuntimeDefault" | "Localhost")),
                "seccompProfile is not set",
            ),
        ] {
            if !met {
                unmet.insert(problem.into());
            }
        }
    }
    unmet
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_level_refuses_what_it_says() {
        let good = json!({ "metadata": { "annotations": {} }, "spec": {
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "volumes": [{ "name": "a", "emptyDir": {} }],
            "containers": [{ "name": "app", "livenessProbe": { "httpGet": { "port": 80 } }, "lifecycle": { "preStop": { "httpGet": { "port": 80 } } },
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }],
        } });
        for level in ["baseline", "restricted", "privileged"] {
            assert_eq!(unmet(level, &good), BTreeSet::new(), "{level}");
        }
        let with = |path: &str, value: Value| {
            let mut template = good.clone();
            let (parent, field) = path.rsplit_once('/').unwrap_or_default();
            let parent = template.pointer_mut(parent);
            parent.unwrap_or_else(|| panic!("{path}"))[field] = value;
            template
        };
        let of = "/spec/containers/0/securityContext";
        for (path, value, baseline) in [
            ("/spec/hostNetwork".to_owned(), json!(true), true),
            (
                "/spec/volumes/0/hostPath".into(),
                json!({ "path": "/" }),
                true,
            ),
            (format!("{of}/privileged"), json!(true), true),
            (
                format!("{of}/windowsOptions"),
                json!({ "hostProcess": true }),
                true,
            ),
            (format!("{of}/procMount"), json!("Unmasked"), true),
            (
                format!("{of}/seLinuxOptions"),
                json!({ "type": "spc_t" }),
                true,
            ),
            (
                format!("{of}/seLinuxOptions"),
                json!({ "user": "system_u" }),
                true,
            ),
            (
                format!("{of}/appArmorProfile"),
                json!({ "type": "Unconfined" }),
                true,
            ),
            (
                format!("{of}/seccompProfile"),
                json!({ "type": "Unconfined" }),
                true,
            ),
            (format!("{of}/capabilities/add"), json!(["SYS_ADMIN"]), true),
            (
                "/spec/securityContext/sysctls".into(),
                json!([{ "name": "kernel.msgmax", "value": "1" }]),
                true,
            ),
            (
                "/spec/containers/0/ports".into(),
                json!([{ "hostPort": 80 }]),
                true,
            ),
            (
                "/spec/containers/0/livenessProbe/httpGet/host".into(),
                json!("169.254.169.254"),
                true,
            ),
            (
                "/spec/containers/0/lifecycle/preStop/httpGet/host".into(),
                json!("db"),
                true,
            ),
            (
                "/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1app"
                    .replace("~1", "/"),
                json!("unconfined"),
                true,
            ),
            (format!("{of}/allowPrivilegeEscalation"), json!(true), false),
            (format!("{of}/runAsNonRoot"), json!(false), false),
            (
                "/spec/securityContext/runAsNonRoot".into(),
                json!(null),
                false,
            ),
            (format!("{of}/runAsUser"), json!(0), false),
            (format!("{of}/capabilities/drop"), json!([]), false),
            (format!("{of}/capabilities/add"), json!(["CHOWN"]), false),
            (
                "/spec/securityContext/seccompProfile".into(),
                json!(null),
                false,
            ),
            (
                "/spec/volumes".into(),
                json!([{ "name": "a", "nfs": {} }]),
                false,
            ),
        ] {
            let template = match path.strip_prefix("/metadata/annotations/") {
                Some(key) => {
                    let mut template = good.clone();
                    template["metadata"]["annotations"][key] = value;
                    template
                }
                None => with(&path, value),
            };
            assert!(!unmet("restricted", &template).is_empty(), "{path}");
            assert_eq!(!unmet("baseline", &template).is_empty(), baseline, "{path}");
            assert!(unmet("privileged", &template).is_empty(), "{path}");
        }
    }
}
