//! A secret in every shape that a cluster, its tools and its programs write it in, and what looks like one and is none.

use serde_json::json;

/// Letters that a secret of a shape may have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Letters {
    /// Any that can be printed; they are escaped as JSON does it.
    Quoted,
    /// Those of one word of YAML, of a shell or of a line.
    Word,
    /// Those that base64 has.
    Base64,
}
use Letters::{Base64, Quoted, Word};

/// Texts with a secret at each `§`.
pub(crate) const SHAPES: [(&str, Letters); 75] = [
    // Names and values
    (r#"{"name":"DB_PASSWORD","value":"§"}"#, Quoted),
    (r#"{"value": "§", "name": "DB_PASSWORD"}"#, Quoted),
    (
        r#"[{"name":"A","value":"b"},{"name":"API_TOKEN","value":"§","x":1}]"#,
        Quoted,
    ),
    (
        "env:\n- name: DB_PASSWORD\n  value: §\n- name: MODE\n  value: fast",
        Word,
    ),
    ("env:\n- value: §\n  name: DB_PASSWORD\n", Word),
    (
        "    - name: AWS_SECRET_ACCESS_KEY\n      value: \"§\"\n",
        Quoted,
    ),
    ("EnvVar{Name:DB_PASSWORD,Value:§,ValueFrom:nil,}", Word),
    (
        "[{Name:DB_PASSWORD Value:§ ValueFrom:<nil>} {Name:A Value:b ValueFrom:<nil>}]",
        Word,
    ),
    (
        r#"v1.EnvVar{Name:"DB_PASSWORD", Value:"§", ValueFrom:(*v1.EnvVarSource)(nil)}"#,
        Quoted,
    ),
    ("map[name:DB_PASSWORD value:§]", Base64),
    (r#"["DB_PASSWORD", "§"]"#, Quoted),
    (r#"setenv("DB_PASSWORD", "§", 1)"#, Quoted),
    (r#"env [["MODE","fast"],["DB_PASSWORD","§"]]"#, Quoted),
    (
        r#"{"op":"replace","path":"/data/password","value":"§"}"#,
        Quoted,
    ),
    (
        r#"[{"op":"replace","path":"/spec/template/spec/containers/0/env/3/value","value":"§"}]"#,
        Quoted,
    ),
    (
        r#"{"field":"spec.template.spec.containers[app].env[DB_PASSWORD].value","before":"§","after":"§"}"#,
        Quoted,
    ),
    // Arguments
    (r#"args: ["--password","§"]"#, Quoted),
    (
        r#"{"command":["mysql","--host","db","--password","§","--verbose"]}"#,
        Quoted,
    ),
    ("args:\n- --verbose\n- --password\n- §\n", Word),
    ("    Args:\n      --password\n      §\n", Base64),
    ("[--password §]", Base64),
    (r#"["--db-password=§"]"#, Quoted),
    // Whole Secrets
    (
        r#"{"kind":"Secret","apiVersion":"v1","data":{"pin":"§"}}"#,
        Base64,
    ),
    (
        r#"{"apiVersion":"v1","data":{"pin":"§"},"kind":"Secret","metadata":{"name":"db"}}"#,
        Base64,
    ),
    (r#"{"kind":"secret","stringData":{"user":"§"}}"#, Quoted),
    (
        r#"{"kind":"SecretList","items":[{"metadata":{"name":"db"},"data":{"host":"§"}}]}"#,
        Base64,
    ),
    (
        r#"{"kind":"List","items":[{"kind":"Secret","data":{"host":"§"}}]}"#,
        Base64,
    ),
    (
        r#"{"kind":"List","items":[{"metadata":{"name":"db"},"data":{"host":"§"}}]}"#,
        Base64,
    ),
    (r#"{"kind":"SECRET","data":["x","§"]}"#, Base64),
    (
        r#"{"kind":"Secret","data":[{"key":"pin","value":"§"}]}"#,
        Base64,
    ),
    (r#"{"type":"Opaque","data":{"host":"§"}}"#, Base64),
    (r#"{"apiVersion":"v1","data":{"host":"§"#, Base64),
    (
        r#"{"kind":"SealedSecret","spec":{"template":{"metadata":{"name":"db"},"data":{"url":"§"},"stringData":{"x":"§"}}}}"#,
        Quoted,
    ),
    (
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  pin: §\n  user: §\n",
        Base64,
    ),
    ("apiVersion: v1\ndata:\n  pin: §\nkind: Secret\n", Base64),
    ("kind: Secret\nstringData:\n  user: §\n", Word),
    (
        "kind: Secret\nstringData:\n  config.yaml: |\n    url: §\n    next: line\n",
        Word,
    ),
    ("kind: Secret\nstringData: {user: §, other: x}\n", Base64),
    (
        "items:\n- data:\n    pin: §\n  metadata:\n    name: db\nkind: SecretList\n",
        Base64,
    ),
    (
        "kind: ConfigMap\ndata:\n  mode: fast\n---\nkind: Secret\ndata:\n  pin: §\n",
        Base64,
    ),
    (
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec:\n  template:\n    data:\n      url: §\n",
        Word,
    ),
    (
        "kubectl apply -f - <<EOF\napiVersion: v1\nkind: Secret\nstringData:\n  user: §\nEOF",
        Word,
    ),
    (
        "&Secret{ObjectMeta:{db shop},Data:map[string][]byte{pin: [§],},Type:Opaque,}",
        Base64,
    ),
    (
        "map[data:map[pin:§] kind:Secret metadata:map[name:db]]",
        Base64,
    ),
    (
        "--- live\n+++ new\n+kind: Secret\n+stringData:\n+  user: §\n",
        Word,
    ),
    (
        "         - name: DB_PASSWORD\n-          value: old\n+          value: §\n",
        Word,
    ),
    // Lists, objects and blocks under a name
    (r#"{"password":["§","§"]}"#, Quoted),
    (r#"{"password":{"value":"§"}}"#, Quoted),
    (
        r#"{"credentials":{"user":"§","hash":{"salt":"§"}}}"#,
        Quoted,
    ),
    ("password: |\n  §\n  §\nnext: line", Word),
    ("password: >-\n  §\nnext: line", Word),
    ("password:\n  - §\n", Word),
    ("password:\n  current: §\n", Word),
    (r#"password: "ab\"§""#, Quoted),
    ("password = {§}", Base64),
    // The copy that kubectl keeps
    (
        r#"{"kubectl.kubernetes.io/last-applied-configuration":"{\"x\":\"§\"}"}"#,
        Base64,
    ),
    (
        "annotations:\n  kubectl.kubernetes.io/last-applied-configuration: |\n    {\"kind\":\"Pod\",\"x\":\"§\"}\n",
        Base64,
    ),
    (
        "Annotations:  kubectl.kubernetes.io/last-applied-configuration: {\"kind\":\"Pod\",\"x\":\"§\"}",
        Base64,
    ),
    (
        "Annotations:  kubectl.kubernetes.io/last-applied-configuration:\n                {\"kind\":\"Pod\",\"x\":\"§\"}",
        Base64,
    ),
    // Commands
    (
        "kubectl create secret generic db --from-literal=user=§",
        Word,
    ),
    (
        "create secret generic db -n shop --from-literal user=§ --from-literal='pin=§'",
        Base64,
    ),
    (
        r#"kubectl patch secret db -n shop -p '{"data":{"x":"§"}}'"#,
        Base64,
    ),
    (
        r#"kubectl -n shop patch secret/db --type=json --patch='[{"op":"add","path":"/data/x","value":"§"}]'"#,
        Base64,
    ),
    (
        "kubectl patch -n shop secret db --patch '{\"stringData\":{\"x\":\"§\"}}'",
        Base64,
    ),
    ("kubectl annotate secret db note=§ --overwrite", Word),
    (
        r#"kubectl set env deployment/web "DB_PASSWORD=a b §""#,
        Base64,
    ),
    (
        "kubectl set env deployment/web 'DB_PASSWORD=a b §' -n shop",
        Base64,
    ),
    (
        "kubectl create secret docker-registry r --docker-username=§ --docker-password=x",
        Base64,
    ),
    // Words without quotes, and URLs
    ("DB_PASSWORD=p,§", Word),
    ("login with password=a&§ failed", Word),
    ("Server=db;Password=a;§;Encrypt=true", Base64),
    ("GET /?password%3D§ 403", Base64),
    ("postgres://u:pa/§@db/shop", Base64),
    (
        "https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:p§@db/",
        Base64,
    ),
    (
        "{\\\"name\\\":\\\"DB_PASSWORD\\\",\\\"value\\\":\\\"§\\\"}",
        Base64,
    ),
];

/// What stays as it is, byte for byte.
pub(crate) const BENIGN: [&str; 44] = [
    "secretKeyRef: {name: db-credentials, key: password}",
    "valueFrom:\n  secretKeyRef:\n    name: db-credentials\n    key: password\n",
    r#"{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db-credentials","key":"password"}}}"#,
    "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      key: password\n      name: db-credentials\n",
    "EnvVar{Name:DB_PASSWORD,Value:,ValueFrom:&EnvVarSource{SecretKeyRef:&SecretKeySelector{Key:password,Optional:nil,},},}",
    "      DB_PASSWORD:  <set to the key 'password' in secret 'db-credentials'>  Optional: false",
    "volumes:\n- name: creds\n  secret:\n    secretName: db-credentials\n    defaultMode: 420\n",
    r#"{"volumes":[{"name":"creds","secret":{"secretName":"db-credentials","items":[{"key":"password","path":"pw"}]}}]}"#,
    r#"{"projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"secret":{"name":"db"}}]}}"#,
    "imagePullSecrets:\n- name: regcred\n",
    r#"{"imagePullSecrets":[{"name":"regcred"}],"existingSecret":"db-credentials"}"#,
    "envFrom:\n- secretRef:\n    name: db-credentials\n",
    "tls:\n- hosts: [shop.example]\n  secretName: web-tls\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  mode: fast\n  pin: \"4\"\n",
    r#"{"kind":"ConfigMapList","items":[{"metadata":{"name":"settings"},"data":{"mode":"fast"}}]}"#,
    r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"settings"},"data":{"mode":"fast"}}"#,
    "kind: ExternalSecret\nspec:\n  secretStoreRef:\n    name: vault\n  data:\n  - secretKey: password\n    remoteRef:\n      key: shop/db\n",
    "involvedObject:\n  kind: Secret\n  name: db-credentials\nmessage: not found\n",
    r#"{"name":"MODE","value":"fast"}"#,
    "- name: LOG_LEVEL\n  value: debug\n- name: POD_IP\n  value: 10.0.0.7\n",
    r#"["--token-ttl","5m","--verbose"]"#,
    r#"["secret","token"]"#,
    r#"{"verbs":["get","list"],"resources":["secrets","pods"]}"#,
    "args: [\"--password=$(DB_PASSWORD)\", \"--token=${TOKEN}\"]",
    "password: {{ .Values.db.password }}",
    "password: $(cat /run/secrets/db)",
    "token: <nil>, password: ****",
    "kubectl get secret db -n shop -o yaml",
    "kubectl delete secret db -n shop",
    "kubectl create configmap settings --from-literal=mode=fast -n shop",
    "kubectl annotate deployment/web note=checked -n shop",
    "kubectl set env deployment/web LOG_LEVEL=debug -n shop",
    "kubectl patch deployment/web -n shop -p '{\"spec\":{\"template\":{\"spec\":{\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"db\"}}]}}}}'",
    "pull shop/auth:v1.2.3 and registry.example/token:latest",
    "tests pass: 120 fail: 3",
    "http://web.shop:8080/users/me@example.com failed",
    "use --token or --password to log in",
    "{\"data\":{\"users\":3},\"status\":\"ok\"}",
    "a (very [odd {text \"with' no end",
    "it's the pod's fault, isn't it: key=value",
    "panic: runtime error\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:12 +0x1d\n",
    "Name:         db\nNamespace:    shop\nType:  Opaque\n\nData\n====\npassword:  8 bytes\nuser:      4 bytes\n",
    "{\"annotations\":{\"kubectl.kubernetes.io/restartedAt\":\"2026-01-01T00:00:00Z\"}}",
    "{\"has_password\":true,\"automountServiceAccountToken\":false,\"token\":null}",
];

/// The secret as a shape has to write it.
pub(crate) fn written(secret: &str, letters: Letters) -> String {
    let quoted = json!(secret).to_string();
    match letters {
        Quoted => quoted.trim_matches('"').to_owned(),
        Word | Base64 => secret.to_owned(),
    }
}

/// Secrets of these letters, as a pattern.
pub(crate) fn secret_of(letters: Letters) -> &'static str {
    match letters {
        // Behind a dollar it may be the name of a variable, behind a dash that of a flag.
        Quoted => "[!-#%-,.-~][ -#%-~]{0,20}[A-Za-z0-9!#%&*+/=?@^_~-]{6}[ -#%-~]{0,20}[A-Za-z0-9]",
        Word => "[A-Za-z0-9][A-Za-z0-9!#%&*+/?@^_~,;()<>.-]{5,30}[A-Za-z0-9]",
        Base64 => "[A-Za-z0-9+/]{8,40}",
    }
}
