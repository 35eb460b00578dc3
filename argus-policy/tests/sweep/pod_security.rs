//! Levels of the Pod Security Standards as they are published (v1.36), written down once more: nothing of Argus is asked.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

const CAPABILITIES: [&str; 13] = [
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
const SELINUX_TYPES: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
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
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The strictest level that a pod template fulfils.
pub(crate) fn level(template: &Value) -> Level {
    let spec = &template["spec"];
    if !is_baseline(template, spec) {
        Level::Privileged
    } else if is_restricted(spec) {
        Level::Restricted
    } else {
        Level::Baseline
    }
}

/// All containers of a pod.
pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(|list| items(&spec[list]))
}

pub(crate) fn items(value: &Value) -> std::slice::Iter<'_, Value> {
    value.as_array().map_or([].iter(), |items| items.iter())
}

fn is_baseline(template: &Value, spec: &Value) -> bool {
    let contexts = || {
        let own = containers(spec).map(|container| &container["securityContext"]);
        own.chain([&spec["securityContext"]])
    };
    let is_in =
        |value: &Value, listed: &[&str]| value.as_str().is_some_and(|text| listed.contains(&text));
    let user_namespace = spec["hostUsers"] == false;
    let profile = |profile: &Value| {
        profile.is_null() || is_in(&profile["type"], &["RuntimeDefault", "Localhost"])
    };
    let selinux = |options: &Value| {
        (options["type"].is_null() || is_in(&options["type"], &SELINUX_TYPES))
            && ["user", "role"]
                .iter()
                .all(|field| options[*field].is_null() || options[*field] == "")
    };
    let context = |context: &Value| {
        context["windowsOptions"]["hostProcess"] != true
            && context["privileged"] != true
            && items(&context["capabilities"]["add"])
                .all(|capability| is_in(capability, &CAPABILITIES))
            && (user_namespace
                || context["procMount"].is_null()
                || context["procMount"] == "Default")
            && profile(&context["seccompProfile"])
            && profile(&context["appArmorProfile"])
            && selinux(&context["seLinuxOptions"])
            && items(&context["sysctls"]).all(|sysctl| is_in(&sysctl["name"], &SYSCTLS))
    };
    let no_host = |handler: &Value| {
        let host = |field: &str| handler[field]["host"].as_str().is_none_or(str::is_empty);
        host("httpGet") && host("tcpSocket")
    };
    let container = |container: &Value| {
        let probes =
            ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
        probes.into_iter().chain(hooks).all(no_host)
            && items(&container["ports"])
                .all(|port| port["hostPort"].as_i64().unwrap_or_default() == 0)
    };
    let annotation = |(key, value): (&String, &Value)| {
        let value = value.as_str().unwrap_or_default();
        !key.starts_with(APPARMOR)
            || value.is_empty()
            || value == "runtime/default"
            || value.starts_with("localhost/")
    };
    let annotations = template["metadata"]["annotations"].as_object();
    ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .all(|field| spec[*field] != true)
        && items(&spec["volumes"]).all(|volume| volume["hostPath"].is_null())
        && contexts().all(context)
        && containers(spec).all(container)
        && annotations.into_iter().flatten().all(annotation)
}

fn is_restricted(spec: &Value) -> bool {
    let pod = &spec["securityContext"];
    let windows = spec["os"]["name"] == "windows";
    let user_namespace = spec["hostUsers"] == false;
    let volume = |volume: &Value| {
        let fields = volume.as_object().into_iter().flatten();
        fields
            .filter(|(name, _)| *name != "name")
            .all(|(name, _)| VOLUMES.contains(&name.as_str()))
    };
    let container = |container: &Value| {
        let context = &container["securityContext"];
        let own_or_pods = |field: &str| match &context[field] {
            Value::Null => &pod[field],
            own => own,
        };
        let capabilities = &context["capabilities"];
        let linux = context["allowPrivilegeEscalation"] == false
            && items(&capabilities["drop"]).any(|capability| capability == "ALL")
            && items(&capabilities["add"]).all(|capability| capability == "NET_BIND_SERVICE")
            && !own_or_pods("seccompProfile").is_null();
        let proc = context["procMount"].is_null() || context["procMount"] == "Default";
        (windows || linux) && proc && (user_namespace || own_or_pods("runAsNonRoot") == true)
    };
    let users = containers(spec).map(|container| &container["securityContext"]["runAsUser"]);
    items(&spec["volumes"]).all(volume)
        && containers(spec).all(container)
        && (user_namespace
            || users
                .chain([&pod["runAsUser"]])
                .all(|user| *user != json!(0)))
}
