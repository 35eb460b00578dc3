//! The program as its users run it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use argus_core::testing::cluster::Cluster;
use serde_json::Value;

fn quickstart(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn with_trail(folder: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["--audit", folder.to_str().unwrap()];
    all.extend(arguments);
    quickstart(&all)
}

#[test]
fn the_demo_fixes_two_issues_and_refuses_an_order() {
    let folder = tempfile::tempdir().unwrap();
    let output = with_trail(folder.path(), &[]);
    let screen = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in [
        "kubectl set resources deployment/shopify-rpa -n shop -c app --limits=memory=256Mi",
        "+ 256Mi",
        "Fixed: 2 issues resolved. Remaining: 1 issue still present.",
        "refused, nothing was done",
        "kube-system",
        "11 records, chained and whole",
    ] {
        assert!(screen.contains(line), "{line} is missing:\n{screen}");
    }
    assert!(!screen.contains('\u{1b}'), "colours went into a pipe");
    assert_eq!(
        argus_core::FileAudit::verify(folder.path())
            .unwrap()
            .records,
        11
    );
}

#[test]
fn programs_get_one_json_object_per_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = with_trail(folder.path(), &["--json"]);
    let events: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |name: &str| {
        events
            .iter()
            .filter(|event| event.get("event") == Some(&name.into()))
            .count()
    };
    assert_eq!(
        (
            of("scan"),
            of("plan"),
            of("outcome"),
            of("denied"),
            of("audit")
        ),
        (1, 2, 1, 1, 1)
    );
}

#[test]
fn what_cannot_be_used_is_one_clear_sentence_and_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "secret: hunter2\n- [").unwrap();
    let nobody = folder.path().join("nobody");
    let config = "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n";
    std::fs::write(&nobody, config).unwrap();
    let (file, nobody) = (file.to_str().unwrap(), nobody.to_str().unwrap());
    let trail = folder.path().join("trail");
    for (arguments, sentence) in [
        (
            vec!["--kubeconfig", "/nope", "-n", "shop"],
            "the kubeconfig `/nope` can't be used",
        ),
        (vec!["--kubeconfig", file, "-n", "shop"], "can't be used"),
        (
            vec!["--kubeconfig", nobody, "-n", "shop", "--context", "b"],
            "can't be used",
        ),
        (
            vec!["--kubeconfig", nobody, "-n", "shop"],
            "the cluster could not be scanned: no connection",
        ),
        (
            vec!["--kubeconfig", nobody, "-n", "Shop!"],
            "is not a valid DNS label",
        ),
    ] {
        let output = with_trail(&trail, &arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(error.contains(sentence), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let unwritable = format!("{file}/audit");
    let output = quickstart(&["--audit", &unwritable]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("check that the folder exists, is writable and has space")
    );
    assert_eq!(quickstart(&["--apply"]).status.code(), Some(2));
}

/// On a cluster of somebody's own nothing is changed unless it is asked for, and nobody at the terminal is a no.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_kubeconfig_it_only_suggests() {
    let cluster = Cluster::start();
    let served = cluster.serve().await.unwrap();
    cluster
        .deployment("shop", "web", "r.example/web:1")
        .replicas(0)
        .create()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, served.kubeconfig()).unwrap();
    let before = cluster.writes().len();
    for apply in [None, Some("--apply")] {
        let (folder, kubeconfig) = (
            folder.path().to_owned(),
            kubeconfig.to_str().unwrap().to_owned(),
        );
        let run = move || {
            with_trail(
                &folder,
                &["--kubeconfig", &kubeconfig, "-n", "shop"]
                    .into_iter()
                    .chain(apply)
                    .collect::<Vec<_>>(),
            )
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let screen = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(
            screen.contains("kubectl scale deployment/web -n shop --replicas=1"),
            "{screen}"
        );
        assert!(screen.contains("nothing was changed"), "{screen}");
    }
    assert!(
        cluster
            .writes()
            .iter()
            .skip(before)
            .all(|write| write.dry_run),
        "{:?}",
        cluster.writes()
    );
}
