//! Values that a field could plausibly be set to, by the schema's type and format; a few by the field's name.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::schema::{Document, Segment, is_list, is_map, is_object, text};

/// What a field is set to.
#[derive(Default)]
pub(crate) struct Values {
    /// Each of them: what they mean differs.
    pub(crate) each: Vec<Value>,
    /// One that the API server accepts: they are tried until then.
    pub(crate) one_of: Vec<Value>,
}

/// Texts for fields that take no other, by the end of the path.
const BY_NAME: [(&str, &[&str]); 45] = [
    (
        "image",
        &[
            "r.example/web:2",
            "r.example/other:1",
            "elsewhere.example/web:1",
        ],
    ),
    ("protocol", &["UDP", "TCP", "SCTP"]),
    ("scheme", &["HTTPS", "HTTP"]),
    ("host", &["169.254.169.254", "sweep.example"]),
    ("stopSignal", &["SIGKILL", "SIGTERM"]),
    ("schedule", &["*/7 * * * *"]),
    ("timeZone", &["America/New_York"]),
    ("whenDeleted", &["Delete", "Retain"]),
    ("whenScaled", &["Delete", "Retain"]),
    ("strategy.type", &["Recreate"]),
    ("updateStrategy.type", &["OnDelete"]),
    (
        "spec.type",
        &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"],
    ),
    ("ip", &["6.6.6.6"]),
    ("nameservers[*]", &["6.6.6.6"]),
    ("hostIP", &["0.0.0.0"]),
    ("clusterIP", &["10.96.7.7", "None"]),
    ("clusterIPs[*]", &["10.96.7.7"]),
    ("externalIPs[*]", &["6.6.6.6"]),
    ("loadBalancerSourceRanges[*]", &["0.0.0.0/0"]),
    ("loadBalancerIP", &["6.6.6.6"]),
    ("podIP", &["6.6.6.6"]),
    ("ipFamilyPolicy", &["PreferDualStack"]),
    (
        "seccompProfile.type",
        &["Unconfined", "Localhost", "RuntimeDefault"],
    ),
    (
        "appArmorProfile.type",
        &["Unconfined", "Localhost", "RuntimeDefault"],
    ),
    ("procMount", &["Unmasked", "Default"]),
    ("seLinuxOptions.type", &["spc_t", "container_init_t"]),
    ("seLinuxOptions.user", &["system_u"]),
    ("capabilities.add[*]", &["SYS_ADMIN"]),
    ("capabilities.drop[*]", &["KILL"]),
    (
        "sysctls[*].name",
        &["kernel.msgmax", "net.ipv4.ip_unprivileged_port_start"],
    ),
    (
        "fieldPath",
        &[
            "metadata.namespace",
            "metadata.labels",
            "spec.nodeName",
            "status.podIP",
        ],
    ),
    (
        "resourceFieldRef.resource",
        &["limits.memory", "requests.cpu"],
    ),
    ("persistentVolumeClaim.claimName", &["data-2"]),
    ("configMapRef.name", &["settings-2"]),
    ("configMapKeyRef.name", &["settings-2"]),
    ("configMapKeyRef.key", &["size"]),
    ("configMap.name", &["settings-2"]),
    ("priorityClassName", &["sweep-high"]),
    ("runtimeClassName", &["sweep"]),
    ("os.name", &["windows", "linux"]),
    ("medium", &["", "HugePages"]),
    ("volumeMode", &["Block", "Filesystem"]),
    ("pathType", &["ImplementationSpecific", "Exact", "Prefix"]),
    ("selectPolicy", &["Disabled", "Min", "Max"]),
    ("accessModes[*]", &["ReadOnlyMany"]),
];

/// Texts for any other field, until one is accepted.
const TEXTS: [&str; 14] = [
    "sweep",
    "/sweep",
    "sweep.example/sweep",
    "10.9.8.7",
    "7",
    "10.0.0.0/8",
    "2030-01-01T00:00:00Z",
    "Exists",
    "SWEEP",
    "https://sweep.example/x",
    "1Gi",
    "sweep-0001",
    "00000000-0000-0000-0000-000000000007",
    "0-2",
];

/// Labels and annotations with a meaning to somebody, and the values that they are set to.
const LABELS: [(&str, &str); 5] = [
    ("access", "db"),
    ("app", "other"),
    ("azure.workload.identity/use", "true"),
    ("argus-ops/ignore", "all"),
    ("argus.dev/protected", "false"),
];
const ANNOTATIONS: [(&str, &str); 17] = [
    ("note-2", "hello"),
    ("argus-ops/ignore", "all"),
    ("argus-ops/anything", "yes"),
    ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
    ("kubectl.kubernetes.io/restartedAt", "2030-01-01T00:00:00Z"),
    ("deployment.kubernetes.io/revision", "77"),
    ("deployment.kubernetes.io/desired-replicas", "77"),
    ("iam.amazonaws.com/role", "admin"),
    ("eks.amazonaws.com/role-arn", "arn:aws:iam::1:role/admin"),
    ("vault.hashicorp.com/agent-inject-secret-x", "prod/root"),
    ("k8s.v1.cni.cncf.io/networks", "host"),
    (
        "container.apparmor.security.beta.kubernetes.io/app",
        "unconfined",
    ),
    ("seccomp.security.alpha.kubernetes.io/pod", "unconfined"),
    ("nginx.ingress.kubernetes.io/server-snippet", "return 200;"),
    ("external-dns.alpha.kubernetes.io/hostname", "bank.example"),
    ("cert-manager.io/cluster-issuer", "prod"),
    (
        "service.beta.kubernetes.io/aws-load-balancer-internal",
        "false",
    ),
];

/// The least that an element of a type has beyond its required fields: what always, and what where none of the
/// alternatives is meant (`*`: anything that isn't there always).
const BASES: [(&str, &str, &str, &[&str]); 28] = [
    (
        "Container",
        r#"{"name":"sweep","image":"r.example/sweep:1"}"#,
        "{}",
        &[],
    ),
    (
        "EphemeralContainer",
        r#"{"name":"sweep","image":"r.example/sweep:1"}"#,
        "{}",
        &[],
    ),
    (
        "Volume",
        r#"{"name":"sweep"}"#,
        r#"{"emptyDir":{}}"#,
        &["*"],
    ),
    (
        "VolumeMount",
        r#"{"name":"sweep","mountPath":"/sweep"}"#,
        "{}",
        &[],
    ),
    (
        "EnvVar",
        r#"{"name":"SWEEP"}"#,
        r#"{"value":"sweep"}"#,
        &["*"],
    ),
    (
        "EnvVarSource",
        "{}",
        r#"{"configMapKeyRef":{"name":"settings","key":"color"}}"#,
        &["*"],
    ),
    (
        "EnvFromSource",
        "{}",
        r#"{"configMapRef":{"name":"settings"}}"#,
        &["secretRef", "configMapRef"],
    ),
    (
        "ConfigMapKeySelector",
        r#"{"name":"settings","key":"color"}"#,
        "{}",
        &[],
    ),
    (
        "SecretKeySelector",
        r#"{"name":"sweep","key":"sweep"}"#,
        "{}",
        &[],
    ),
    (
        "Probe",
        "{}",
        r#"{"tcpSocket":{"port":8080}}"#,
        &["exec", "grpc", "httpGet", "tcpSocket"],
    ),
    (
        "LifecycleHandler",
        "{}",
        r#"{"sleep":{"seconds":1}}"#,
        &["*"],
    ),
    ("ExecAction", r#"{"command":["sweep"]}"#, "{}", &[]),
    (
        "HTTPGetAction",
        r#"{"path":"/sweep","port":8080}"#,
        "{}",
        &[],
    ),
    (
        "VolumeProjection",
        "{}",
        r#"{"configMap":{"name":"settings"}}"#,
        &["*"],
    ),
    (
        "ClusterTrustBundleProjection",
        r#"{"path":"sweep"}"#,
        r#"{"name":"sweep"}"#,
        &["signerName", "labelSelector"],
    ),
    (
        "PodCertificateProjection",
        r#"{"signerName":"sweep.example/sweep","keyType":"ED25519","credentialBundlePath":"sweep"}"#,
        "{}",
        &[],
    ),
    (
        "DownwardAPIVolumeFile",
        r#"{"path":"sweep"}"#,
        r#"{"fieldRef":{"fieldPath":"metadata.name"}}"#,
        &["resourceFieldRef"],
    ),
    (
        "Toleration",
        r#"{"key":"sweep"}"#,
        r#"{"operator":"Exists"}"#,
        &["value"],
    ),
    (
        "NodeSelectorTerm",
        "{}",
        r#"{"matchExpressions":[{"key":"sweep","operator":"Exists"}]}"#,
        &["matchFields"],
    ),
    (
        "EphemeralVolumeSource",
        r#"{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}"#,
        "{}",
        &[],
    ),
    (
        "PersistentVolumeClaim",
        r#"{"metadata":{"name":"sweep"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}"#,
        "{}",
        &[],
    ),
    (
        "OwnerReference",
        r#"{"apiVersion":"v1","kind":"ConfigMap","name":"sweep","uid":"00000000-0000-0000-0000-000000000007"}"#,
        "{}",
        &[],
    ),
    ("ServicePort", r#"{"name":"sweep","port":8099}"#, "{}", &[]),
    (
        "MetricSpec",
        "{}",
        r#"{"type":"Resource","resource":{"name":"memory","target":{"type":"Utilization","averageUtilization":50}}}"#,
        &["*"],
    ),
    ("IngressTLS", r#"{"hosts":["sweep.example"]}"#, "{}", &[]),
    ("IngressRule", r#"{"host":"sweep.example"}"#, "{}", &[]),
    (
        "IngressBackend",
        "{}",
        r#"{"service":{"name":"sweep","port":{"number":80}}}"#,
        &["*"],
    ),
    ("ServiceBackendPort", "{}", r#"{"number":80}"#, &["name"]),
];

/// Values for a leaf at a path.
pub(crate) fn of_leaf(path: &[Segment], schema: &Value, current: Option<&Value>) -> Values {
    let mut values = of_type(path, schema, current);
    let other = |value: &Value| Some(value) != current;
    values.each.retain(other);
    let each = values.each.clone();
    values
        .one_of
        .retain(|value| other(value) && !each.contains(value));
    values
}

fn of_type(path: &[Segment], schema: &Value, current: Option<&Value>) -> Values {
    let ints = |each: &[i64]| each.iter().map(|number| json!(number)).collect();
    let texts = |texts: &[&str]| texts.iter().map(|text| json!(text)).collect();
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("boolean"), _) => Values {
            each: vec![json!(true), json!(false)],
            ..Values::default()
        },
        (Some("integer" | "number"), _) => {
            let now = current.and_then(Value::as_i64);
            let each = now.map_or(vec![3, 0], |now| vec![now + 1, now - 1, 0]);
            Values {
                each: ints(&each),
                one_of: ints(&[1, 2, 30, 50, 100, 8081]),
            }
        }
        (_, Some("int-or-string")) => Values {
            each: vec![json!(8081), json!("sweep")],
            one_of: vec![json!(0), json!("50%"), json!(1)],
        },
        (Some("string"), Some("date-time")) => Values {
            one_of: texts(&["2030-01-01T00:00:00Z"]),
            ..Values::default()
        },
        (Some("string"), _) => {
            let path = text(path);
            let is_named = |end: &&str| {
                path.strip_suffix(*end)
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let listed = schema["enum"].as_array().cloned().unwrap_or_default();
            let each = match BY_NAME.iter().find(|(end, _)| is_named(end)) {
                Some((_, named)) => texts(named),
                None if !listed.is_empty() => listed,
                None => schema["description"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            };
            Values {
                each,
                one_of: texts(&TEXTS),
            }
        }
        (_, None) if schema["oneOf"].is_array() => Values {
            each: texts(&["3Gi", "3"]),
            one_of: texts(&["1500m", "64Mi"]),
        },
        _ => Values {
            one_of: vec![json!({}), json!("sweep")],
            ..Values::default()
        },
    }
}

/// Keys that a map at a path is given, each with a value.
pub(crate) fn keys(path: &[Segment], value: &Value) -> Vec<(String, Value)> {
    let pairs = |pairs: &[(&str, &str)]| {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), json!(value));
        pairs.iter().map(pair).collect()
    };
    match text(path).rsplit(['.', '[']).next().unwrap_or_default() {
        "labels" | "selector" | "matchLabels" => pairs(&LABELS),
        "annotations" => pairs(&ANNOTATIONS),
        "limits" | "requests" => pairs(&[
            ("memory", "300Mi"),
            ("cpu", "300m"),
            ("sweep.example/gpu", "1"),
            ("storage", "3Gi"),
        ]),
        _ => vec![("sweep".to_owned(), value.clone())],
    }
}

/// The least value of a schema that the API server could accept.
pub(crate) fn least(document: &Document, path: &[Segment], schema: &Value) -> Value {
    built(document, path, schema, &[], &Value::Null)
}

/// The value of a schema in which the leaf below `rest` has a value, with what is required beside it.
pub(crate) fn built(
    document: &Document,
    path: &[Segment],
    schema: &Value,
    rest: &[Segment],
    leaf: &Value,
) -> Value {
    let deeper =
        |segment: &Segment| -> Vec<Segment> { path.iter().chain([segment]).cloned().collect() };
    let below = |segment: &Segment, rest: &[Segment]| {
        built(
            document,
            &deeper(segment),
            &document.below(schema, segment),
            rest,
            leaf,
        )
    };
    match rest.split_first() {
        Some((Segment::Element, rest)) => json!([below(&Segment::Element, rest)]),
        Some((Segment::Value, rest)) => {
            let value = below(&Segment::Value, rest);
            let key = keys(path, &value).remove(0).0;
            json!({ key: value })
        }
        Some((Segment::Field(_), _)) | None if is_object(schema) => {
            let next = match rest.first() {
                Some(Segment::Field(name)) => Some(name.as_str()),
                _ => None,
            };
            let mut object = base(schema, next);
            let required = schema["required"]
                .as_array()
                .map_or(Cow::default(), Cow::Borrowed);
            for name in required.iter().filter_map(Value::as_str) {
                if Some(name) != next && object.get(name).is_none() {
                    object[name] = below(&Segment::Field(name.to_owned()), &[]);
                }
            }
            if let Some((segment, rest)) = rest.split_first() {
                object[next.unwrap()] = below(segment, rest);
            }
            object
        }
        None if leaf.is_null() && is_list(schema) => json!([below(&Segment::Element, &[])]),
        None if leaf.is_null() && is_map(schema) => json!({}),
        None if leaf.is_null() => {
            let values = of_leaf(path, schema, None);
            let mut values = values.each.into_iter().chain(values.one_of);
            values.next().unwrap_or_default()
        }
        _ => leaf.clone(),
    }
}

fn base(schema: &Value, next: Option<&str>) -> Value {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let Some((_, always, else_, alternatives)) =
        BASES.iter().find(|(name, ..)| schema["type_name"] == *name)
    else {
        return json!({});
    };
    let mut object = read(always);
    let meant = |next: &str| {
        let any = alternatives.contains(&"*") && object.get(next).is_none();
        any || alternatives.contains(&next)
    };
    if !next.is_some_and(meant) {
        let fields = object.as_object_mut().unwrap();
        fields.extend(
            read(else_)
                .as_object_mut()
                .map(std::mem::take)
                .unwrap_or_default(),
        );
    }
    object
}
