//! The chart, the manifests made of it, and the settings, as Helm, a real API server and the program itself take them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use argus_core::{Roles, Scope};
use dashboard::config::Settings;
use serde_json::{Value, json};

/// What the manifests are made with.
const EXAMPLE: &str = r#"
namespaces: [shop]
hosts: [argus.example]
users:
- {name: ada, role: admin, token_sha256: "0000000000000000000000000000000000000000000000000000000000000000"}
"#;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file)
}

/// What `make test` names, without which there is nothing to test; a failure where everything is required.
fn named(variable: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let everything = std::env::var_os("ARGUS_TEST_ALL").is_some();
    assert!(
        named.is_some() || !everything,
        "{variable}: use `make test`"
    );
    named
}

fn helm(arguments: &[&str]) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let mut helm = Command::new(named("ARGUS_TEST_HELM")?);
    helm.env("HOME", folder.path()).args(arguments);
    Some(helm.output().unwrap())
}

/// The chart with these values, or what Helm says is wrong with them.
fn rendered(values: &str, more: &[&str]) -> Option<Result<String, String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let chart = deploy("chart");
    let arguments = [
        "template",
        "argus",
        chart.to_str().unwrap(),
        "--namespace",
        "argus",
        "--values",
        file.to_str().unwrap(),
    ];
    let output = helm(&[&arguments[..], more].concat())?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some(if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    })
}

fn objects(yaml: &str) -> Vec<Value> {
    let documents = yaml
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str(text).unwrap());
    documents
        .filter(|object: &Value| object.is_object())
        .collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}

/// The settings that the program gets, read as it reads them.
fn settings(objects: &[Value]) -> Settings {
    let text = of_kind(objects, "Secret")[0]["stringData"]["config.yaml"]
        .as_str()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    Settings::read(["dashboard", "--config", file.to_str().unwrap()]).unwrap()
}

fn roles() -> Roles {
    Roles::new(&Scope::namespaces(["shop"]).unwrap())
}

/// The rules of the roles of this kind with this in their name.
fn rules(objects: &[Value], kind: &str, name: &str) -> Vec<Value> {
    let roles = of_kind(objects, kind).into_iter();
    let named = roles.filter(|object| object["metadata"]["name"].as_str().unwrap().contains(name));
    named
        .flat_map(|role| role["rules"].as_array().unwrap().clone())
        .collect()
}

/// `ARGUS_WRITE_DEPLOY=1` writes the file.
fn is_as_it_should_be(file: &str, text: &str) {
    let path = deploy(file);
    if std::env::var_os("ARGUS_WRITE_DEPLOY").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == text,
        "deploy/{file} is not what it is made of: run the tests with ARGUS_WRITE_DEPLOY=1"
    );
}

#[test]
fn the_chart_has_the_rules_of_the_library() {
    let all = roles()
        .seeing_cluster()
        .reading_logs()
        .objects("argus", "argus")
        .unwrap();
    let reader = roles().reader();
    let logs: Vec<Value> = roles().reading_logs().reader().split_off(reader.len());
    let parts = json!({
        "reader": reader, "logs": logs, "remediator": roles().remediator(), "clusterReader": rules(&all, "ClusterRole", "cluster-reader"),
    });
    let yaml = serde_saphyr::to_string(&parts).unwrap();
    is_as_it_should_be(
        "chart/files/rules.yaml",
        &format!("# Made of argus_core::Roles.\n{yaml}"),
    );
}

/// The admission policies, with the names that the chart puts in.
#[test]
fn the_chart_has_the_admission_policies_of_the_library() {
    let scope = Scope::namespaces(["argus-scope"]).unwrap();
    let yaml = Roles::new(&scope).admission_yaml("argus-namespace", "argus-account");
    let text = yaml.unwrap().replace("'argus-scope'", "ARGUS_SCOPE");
    is_as_it_should_be("chart/files/admission.yaml", &text);
    let enabled = format!("{EXAMPLE}settings: {{remediation: {{enabled: true}}}}\n");
    let Some(rendered) = rendered(&enabled, &[]) else {
        return;
    };
    let is_policy = |object: &Value| {
        let kind = object["kind"].as_str().unwrap();
        kind.starts_with("ValidatingAdmissionPolicy")
    };
    // Helm sorts what it renders by kind.
    let sorted = |objects: Vec<Value>| {
        let mut texts: Vec<String> = objects.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    let made = objects(&rendered.unwrap()).into_iter().filter(is_policy);
    let wanted = roles().admission("argus", "argus").unwrap();
    assert_eq!(sorted(made.collect()), sorted(wanted));
    let off = rendered_policies(&format!("{enabled}admission: {{create: false}}\n"));
    assert_eq!(off, Some(0));
    assert_eq!(rendered_policies(EXAMPLE), Some(0));
}

fn rendered_policies(values: &str) -> Option<usize> {
    let text = rendered(values, &[])?.unwrap();
    Some(text.matches("kind: ValidatingAdmissionPolicy").count())
}

#[test]
fn the_manifests_are_those_of_the_chart() {
    let Some(rendered) = rendered(EXAMPLE, &[]) else {
        return;
    };
    let header = "# The chart beside this file with its example values: `helm template argus deploy/chart --namespace argus`.\n\
        # The Roles that let plans be carried out are not in it: cargo run -p quickstart -- --print-roles argus/argus -n shop\n\
        apiVersion: v1\nkind: Namespace\nmetadata:\n  name: argus\n  labels:\n    pod-security.kubernetes.io/enforce: restricted\n";
    is_as_it_should_be("argus.yaml", &(header.to_owned() + &rendered.unwrap()));
}

#[test]
fn the_program_takes_the_settings_of_the_manifests() {
    let manifests = std::fs::read_to_string(deploy("argus.yaml")).unwrap();
    let settings = settings(&objects(&manifests));
    assert!(settings.in_cluster && !settings.remediation_enabled && settings.speaks_https());
    assert_eq!(settings.namespaces, ["shop"]);
    let printed = settings.printed();
    assert!(printed.contains("namespaces: [shop] # file"), "{printed}");
    assert!(
        printed.contains("watch_interval: null # default"),
        "{printed}"
    );
    assert!(!printed.contains("0000"), "{printed}");
}

#[test]
fn what_the_chart_grants_is_what_its_settings_need() {
    for switches in 0..16_u8 {
        let on = |switch: u8| switches & (1 << switch) != 0;
        let (changes, across, cluster, logs) = (on(0), on(1), on(2), on(3));
        let more = format!(
            "settings.remediation.enabled={changes},settings.across_namespaces={across},settings.seeing_cluster={cluster},settings.reading_logs={logs}"
        );
        let Some(rendered) = rendered(EXAMPLE, &["--set", &more]) else {
            return;
        };
        let given = objects(&rendered.unwrap());
        let mut wanted = roles();
        if across {
            wanted = wanted.across_namespaces();
        }
        if cluster {
            wanted = wanted.seeing_cluster();
        }
        if logs {
            wanted = wanted.reading_logs();
        }
        let wanted = wanted.objects("argus", "argus").unwrap();
        for name in ["argus-ops-reader", "argus-ops-remediator"] {
            let wanted = if changes || name.ends_with("reader") {
                rules(&wanted, "Role", name)
            } else {
                Vec::new()
            };
            assert_eq!(rules(&given, "Role", name), wanted, "{more}: {name}");
        }
        let of_cluster = rules(&given, "ClusterRole", "");
        assert_eq!(of_cluster, rules(&wanted, "ClusterRole", ""), "{more}");
        let bound = |objects: &[Value]| {
            let bindings = objects
                .iter()
                .filter(|object| object["subjects"].is_array());
            bindings
                .map(|binding| (binding["kind"].clone(), binding["subjects"].clone()))
                .collect::<Vec<_>>()
        };
        let subject = json!([{ "kind": "ServiceAccount", "name": "argus", "namespace": "argus" }]);
        assert!(
            bound(&given)
                .iter()
                .all(|(_, subjects)| *subjects == subject),
            "{more}"
        );
        assert_eq!(
            bound(&given).len(),
            of_kind(&given, "Role").len() + of_kind(&given, "ClusterRole").len()
        );
        let settings = settings(&given);
        assert_eq!(
            (
                settings.remediation_enabled,
                settings.across_namespaces,
                settings.seeing_cluster,
                settings.reading_logs
            ),
            (changes, across, cluster, logs)
        );
    }
}

#[test]
fn every_other_setting_reaches_the_program() {
    let values = format!(
        "{EXAMPLE}\
settings:\n  watch_interval: 7\n  model: small\n  endpoint: http://models.example/v1/\n  budget: {{attempts: 2}}\n  remediation: {{enabled: true}}\n\
packs: [registry]\nmodelKey: {{secret: model}}\nimage: {{tag: \"2\"}}\nstorage: {{className: fast}}\nrbac: {{create: false}}\n"
    );
    let Some(rendered) = rendered(&values, &[]) else {
        return;
    };
    let objects = objects(&rendered.unwrap());
    let settings = settings(&objects);
    assert_eq!(settings.watch_interval, Some(7));
    assert_eq!(settings.packs, [PathBuf::from("/packs/registry")]);
    assert_eq!(settings.model.as_deref(), Some("small"));
    assert!(settings.remediation_enabled && !settings.allow_high_risk);
    assert!(of_kind(&objects, "Role").is_empty());
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.example/argus-dashboard:2");
    assert_eq!(
        container["env"][0]["valueFrom"]["secretKeyRef"]["name"],
        "model"
    );
    assert_eq!(container["volumeMounts"][2]["mountPath"], "/packs/registry");
    assert_eq!(pod["volumes"][2]["configMap"]["name"], "registry");
    assert_eq!(
        of_kind(&objects, "PersistentVolumeClaim")[0]["spec"]["storageClassName"],
        "fast"
    );
}

#[test]
fn helm_says_which_value_is_wrong() {
    let token = "namespaces: [shop]\nhosts: [argus.example]\nusers: [{name: ada, role: admin, token_sha256: secret}]\n";
    for (values, more, problem) in [
        ("", &[][..], "namespaces"),
        (token, &[], "token_sha256"),
        (EXAMPLE, &["--set", "users[0].role=boss"], "role"),
        (EXAMPLE, &["--set", "settings.listen=0.0.0.0:1"], "settings"),
        (EXAMPLE, &["--set", "namespace=shop"], "namespace"),
        (EXAMPLE, &["--set", "packs={a.b}"], "packs"),
    ] {
        let Some(rendered) = rendered(values, more) else {
            return;
        };
        let said = rendered.unwrap_err();
        assert!(said.contains(problem), "{values}{more:?}: {said}");
    }
    let chart = deploy("chart");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, EXAMPLE).unwrap();
    let linted = helm(&[
        "lint",
        "--strict",
        chart.to_str().unwrap(),
        "--values",
        file.to_str().unwrap(),
    ])
    .unwrap();
    assert!(
        linted.status.success(),
        "{}",
        String::from_utf8_lossy(&linted.stdout)
    );
}

#[test]
fn a_flag_wins_over_the_file_and_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let read = |text: &str, flags: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let arguments = ["dashboard", "--config", file.to_str().unwrap()];
        Settings::read(arguments.iter().chain(flags))
    };
    let settings = read(
        "watch_interval: 5\nmodel: small\n",
        &["--watch-interval", "7"],
    )
    .unwrap();
    assert_eq!(settings.watch_interval, Some(7));
    let spending = read(
        "budget: {attempts: 2, cost_usd_per_day: 2.5}\nacross_namespaces: true\n",
        &["--prices", "prices.json"],
    )
    .unwrap();
    assert!(spending.across_namespaces);
    let printed = spending.printed();
    for line in [
        "budget: {attempts: 2, tokens: 50000, seconds: 180, cost_usd: null, tokens_per_day: null, cost_usd_per_day: 2.5} # file",
        "prices: prices.json # flag",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    let printed = settings.printed();
    assert!(
        printed.contains("watch_interval: 7 # flag") && printed.contains("model: small # file")
    );
    let token = "0".repeat(64);
    for (text, flags, problem) in [
        ("listn: 127.0.0.1:1\n", &[][..], "listn"),
        ("listen: here\n", &[], "listen"),
        ("watch_interval: 0\n", &[], "between 1 and 3600"),
        ("", &["--kubeconfig", "x", "--data", "y"], "--namespace"),
        ("", &["--kubeconfig", "x", "-n", "shop"], "--data"),
        ("", &["--listen", "0.0.0.0:1"], "can be reached by others"),
        (
            "users: [{name: a, role: admin, token_sha256: abc}]\n",
            &[],
            "64 hexadecimal digits",
        ),
        (
            "users: [{name: a, role: boss, token_sha256: abc}]\n",
            &[],
            "boss",
        ),
        ("tls_cert: x\n", &[], "takes both"),
        (
            "budget: {cost_usd_per_day: 2}\nmodel: small\n",
            &[],
            "--prices",
        ),
        ("budget: {cost: 2}\n", &[], "cost_usd_per_day"),
        (
            &format!("users: [{{name: \"\", role: admin, token_sha256: {token}}}]\n"),
            &[],
            "the name has no letter and no digit",
        ),
        (
            &format!("users: [{{name: \"a\\nb\", role: admin, token_sha256: {token}}}]\n"),
            &[],
            "a control character",
        ),
    ] {
        let error = read(text, flags).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}{flags:?}: {error}");
    }
}

#[test]
fn where_others_may_ask_there_are_users() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let read = |text: &str, flags: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let arguments = ["dashboard", "--config", file.to_str().unwrap()];
        Settings::read(arguments.iter().chain(flags)).map_err(|error| error.to_string())
    };
    let users = format!(
        "users: [{{name: ada, role: admin, token_sha256: \"{}\"}}]\n",
        "0".repeat(64)
    );
    for (text, flags, setting) in [
        ("", &["--behind-https"][..], "--behind-https"),
        ("behind_https: true\n", &[], "--behind-https"),
        ("", &["--host", "argus.example"], "--host argus.example"),
        (
            "hosts: [localhost, argus.example]\n",
            &[],
            "--host argus.example",
        ),
        ("", &["--host", "192.0.2.1"], "--host 192.0.2.1"),
        (
            "",
            &["--host", "localhost.example"],
            "--host localhost.example",
        ),
        (
            "",
            &["--host", "argus.example", "--behind-https"],
            "--host argus.example",
        ),
        (
            "",
            &["--listen", "0.0.0.0:1", "--behind-https"],
            "0.0.0.0:1 can be reached by others",
        ),
        (
            "",
            &["--listen", "[::]:1", "--behind-https"],
            "[::]:1 can be reached by others",
        ),
    ] {
        let error = read(text, flags).unwrap_err();
        assert!(
            error.contains(setting) && error.contains("list `users`"),
            "{text}{flags:?}: {error}"
        );
        read(&format!("{text}{users}"), flags).unwrap();
    }
    // Under the names of the loopback only this machine asks.
    for flags in [
        &[][..],
        &["--host", "localhost"],
        &["--host", "127.0.0.2"],
        &["--host", "::1"],
    ] {
        assert!(read("", flags).unwrap().users.is_empty(), "{flags:?}");
    }
}

/// The real API server.
struct Server {
    config: String,
    kubectl: PathBuf,
}

impl Server {
    fn named() -> Option<Self> {
        Some(Self {
            config: named("ARGUS_TEST_KUBECONFIG")?.display().to_string(),
            kubectl: named("ARGUS_TEST_KUBECTL")?,
        })
    }

    /// kubectl or Helm with these words: what it printed, without one of warning.
    fn run(&self, program: &Path, words: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        let command = command.env("HOME", folder.path());
        let command = command.args(["--kubeconfig", &self.config]);
        let output = command.args(words.split_whitespace()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words}: {errors}");
        // The server's warnings would stand there, such as of Pod Security.
        assert_eq!(errors, "", "{words}");
        said
    }

    fn kubectl(&self, words: &str) -> String {
        self.run(&self.kubectl, words)
    }

    /// Whether a service account may do this, by the server's own word.
    fn may(&self, account: &str, what: &str) -> bool {
        let mut command = Command::new(&self.kubectl);
        let command = command.args(["--kubeconfig", &self.config, "auth", "can-i"]);
        let words = format!("{what} --as=system:serviceaccount:{account}");
        let output = command.args(words.split_whitespace()).output().unwrap();
        output.status.success()
    }

    fn lets_a_pod_in(&self, namespace: &str) {
        let label = "app.kubernetes.io/name=argus";
        let pods = || self.kubectl(&format!("get pods -n {namespace} -l {label} -o name"));
        let tries = (0..100).map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            pods()
        });
        let pod = { tries }.find(|pods| !pods.is_empty());
        assert!(pod.unwrap().starts_with("pod/argus-"));
    }
}

#[test]
fn a_real_api_server_takes_the_manifests_and_lets_the_pod_in() {
    let Some(server) = Server::named() else {
        return;
    };
    // Under names of its own, so that it can run beside others.
    let namespace = format!("argus-{}", std::process::id());
    let shop = format!("{namespace}-shop");
    server.kubectl(&format!("create namespace {shop}"));
    let manifests = std::fs::read_to_string(deploy("argus.yaml")).unwrap();
    let own = "kind: Namespace\nmetadata:\n  name: ";
    let text = manifests
        .replace("namespace: argus\n", &format!("namespace: {namespace}\n"))
        .replace("namespace: shop\n", &format!("namespace: {shop}\n"))
        .replace(&format!("{own}argus\n"), &format!("{own}{namespace}\n"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("argus.yaml");
    std::fs::write(&file, text).unwrap();
    server.kubectl(&format!("apply --validate=strict -f {}", file.display()));
    server.lets_a_pod_in(&namespace);
    server.kubectl(&format!("delete namespace {namespace} {shop} --wait=false"));
}

#[test]
fn helm_installs_changes_and_removes_it_on_a_real_api_server() {
    let (Some(server), Some(helm)) = (Server::named(), named("ARGUS_TEST_HELM")) else {
        return;
    };
    let namespace = format!("argus-helm-{}", std::process::id());
    let shop = format!("{namespace}-shop");
    for name in [&namespace, &shop] {
        server.kubectl(&format!("create namespace {name}"));
    }
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    server.kubectl(&format!("label namespace {namespace} {restricted}"));
    let folder = tempfile::tempdir().unwrap();
    let values = folder.path().join("values.yaml");
    std::fs::write(&values, EXAMPLE.replace("shop", &shop)).unwrap();
    let release = format!("argus --namespace {namespace}");
    let chart = deploy("chart");
    let with_chart = format!("{} --values {}", chart.display(), values.display());
    let said = server.run(&helm, &format!("install {release} {with_chart}"));
    assert!(
        said.contains("Plans are suggested and never carried out"),
        "{said}"
    );
    server.lets_a_pod_in(&namespace);

    // What its service account may do follows its settings.
    let account = format!("{namespace}:argus");
    let may = |what: &str| server.may(&account, &format!("{what} -n {shop}"));
    assert!(may("list pods") && !may("patch deployments") && !may("list secrets"));
    let enabled = "--set settings.remediation.enabled=true,settings.seeing_cluster=true";
    let said = server.run(&helm, &format!("upgrade {release} {with_chart} {enabled}"));
    assert!(said.contains("each after somebody confirmed it"), "{said}");
    assert!(may("patch deployments") && may("delete pods") && !may("list secrets"));
    let as_account = format!("--as=system:serviceaccount:{account}");
    server.kubectl(&format!("get storageclasses -o name {as_account}"));

    server.run(&helm, &format!("uninstall {release}"));
    assert!(!may("list pods") && !may("patch deployments"));
    let kept = server.kubectl(&format!("get pvc -n {namespace} -o name"));
    assert_eq!(
        kept.trim(),
        "persistentvolumeclaim/argus",
        "the audit trail outlives the release"
    );
    server.kubectl(&format!("delete namespace {namespace} {shop} --wait=false"));
}
