//! The manifests as a real API server and the program itself take them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use dashboard::config::Settings;

fn manifests() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argus.yaml");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_program_takes_the_settings_of_the_manifests() {
    let text = manifests();
    let inside = text.split("config.yaml: |\n").nth(1).unwrap();
    let inside: Vec<&str> = inside.lines().take_while(|line| *line != "---").collect();
    let config: Vec<&str> = inside
        .iter()
        .map(|line| line.strip_prefix("    ").unwrap())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, config.join("\n")).unwrap();
    let settings = Settings::read(["dashboard", "--config", file.to_str().unwrap()]).unwrap();
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
    ] {
        let error = read(text, flags).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}{flags:?}: {error}");
    }
}

#[test]
fn a_real_api_server_takes_the_manifests_and_lets_the_pod_in() {
    let variable = |name| std::env::var_os(name);
    let (Some(config), Some(kubectl)) = (
        variable("ARGUS_TEST_KUBECONFIG"),
        variable("ARGUS_TEST_KUBECTL"),
    ) else {
        assert!(
            variable("ARGUS_TEST_ALL").is_none(),
            "no control plane is running: use `make test`"
        );
        return;
    };
    // Under a name of its own, so that it can run beside others.
    let namespace = format!("argus-{}", std::process::id());
    let text = manifests()
        .replace("namespace: argus\n", &format!("namespace: {namespace}\n"))
        .replace(
            "kind: Namespace\nmetadata:\n  name: argus\n",
            &format!("kind: Namespace\nmetadata:\n  name: {namespace}\n"),
        );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("argus.yaml");
    std::fs::write(&file, text).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(&kubectl)
            .arg("--kubeconfig")
            .arg(&config)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        // The server's warnings would stand there, such as of Pod Security.
        assert_eq!(errors, "", "{arguments:?}");
        said
    };
    run(&["apply", "--validate=strict", "-f", file.to_str().unwrap()]);
    let mut pods = String::new();
    for _ in 0..100 {
        pods = run(&[
            "get",
            "pods",
            "-n",
            &namespace,
            "-l",
            "app=argus",
            "-o",
            "name",
        ]);
        if !pods.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(pods.starts_with("pod/argus-"), "{pods}");
    run(&["delete", "namespace", &namespace, "--wait=false"]);
}
