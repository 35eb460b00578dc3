//! The program as its users run it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use argus_core::testing::Scripted;
use argus_core::testing::cluster::Cluster;
use argus_core::{
    Answer, AuditEvent, FileAudit, FilePlans, Incident, IncidentId, Kube, Remediator, Scope,
    Settings,
};
use argus_policy::RegoEngine;
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
fn the_demo_fixes_an_app_and_refuses_an_order() {
    let folder = tempfile::tempdir().unwrap();
    let output = with_trail(folder.path(), &[]);
    let screen = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in [
        "kubectl set resources deployment/shopify-rpa -n shop -c app --limits=memory=256Mi",
        "+ 256Mi",
        "Fixed: 1 issue resolved. Remaining: 1 issue still present.",
        "refused, nothing was done",
        "kube-system",
        "16 records, chained and whole",
    ] {
        assert!(screen.contains(line), "{line} is missing:\n{screen}");
    }
    assert!(!screen.contains('\u{1b}'), "colours went into a pipe");
    assert_eq!(
        argus_core::FileAudit::verify(folder.path())
            .unwrap()
            .records,
        16
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

#[test]
fn the_roles_are_printed_for_kubectl() {
    let output = quickstart(&["--print-roles", "tools/argus", "-n", "shop", "-n", "search"]);
    assert!(output.status.success());
    let yaml = text(&output.stdout);
    assert_eq!(yaml.matches("kind: RoleBinding\n").count(), 4, "{yaml}");
    assert_eq!(yaml.matches("kind: Role\n").count(), 2 * 4, "{yaml}");
    for output in [
        quickstart(&["--print-roles", "argus", "-n", "shop"]),
        quickstart(&["--print-roles", "tools/Argus!", "-n", "shop"]),
    ] {
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr).lines().count(), 1);
    }
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

/// A host halts between two steps and goes away; the program says so, and finishes the plan when it may change things.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_finished_first() {
    let cluster = Cluster::start();
    let served = cluster.serve().await.unwrap();
    for name in ["api", "web"] {
        let app = cluster.deployment("shop", name, "r.example/app:1");
        app.create().await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, served.kubeconfig()).unwrap();
    {
        let remediator: Arc<OnceLock<Remediator>> = Arc::default();
        let handle = Arc::clone(&remediator);
        let built = Remediator::builder()
            .hold(argus_core::testing::SHORT_HOLD)
            .scope(Scope::namespaces(["shop"]).unwrap())
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(Scripted::commands(&[
                "kubectl scale deployment/api -n shop --replicas=2",
                "kubectl scale deployment/web -n shop --replicas=2",
            ]))
            .policy(RegoEngine::builtin().unwrap())
            .cluster(Kube::new(cluster.client()))
            .audit(FileAudit::open(folder.path()).await.unwrap())
            .plans(FilePlans::open(folder.path().join("plans")).await.unwrap())
            .observe(move |record| {
                if record.entry.event == AuditEvent::StepSettled {
                    handle.get().unwrap().halt();
                }
            })
            .build()
            .unwrap();
        let remediator = remediator.get_or_init(|| built);
        let incident = Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap();
        let plan = remediator.suggest(&incident).await.unwrap();
        let permitted = remediator.review(plan).await.unwrap();
        let dry_run = remediator.dry_run(permitted).await.unwrap();
        let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
        assert!(remediator.execute(approved).await.unwrap_err().is_stuck());
    }
    // The observer held the remediator, and so the trail's lock; a process that ended holds nothing.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(
        folder.path().join("records-00000000000000000001.jsonl"),
        copy.path().join("records-00000000000000000001.jsonl"),
    )
    .unwrap();
    std::fs::create_dir(copy.path().join("plans")).unwrap();
    for plan in std::fs::read_dir(folder.path().join("plans")).unwrap() {
        let plan = plan.unwrap();
        std::fs::copy(
            plan.path(),
            copy.path().join("plans").join(plan.file_name()),
        )
        .unwrap();
    }
    let replicas = async |name: &str| {
        let api: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
            kube::Api::namespaced(cluster.client(), "shop");
        api.get(name).await.unwrap().spec.unwrap().replicas
    };
    assert_eq!(
        (replicas("api").await, replicas("web").await),
        (Some(2), Some(1))
    );
    for (apply, says, web) in [
        (None, "run again with --apply", Some(1)),
        (
            Some("--apply"),
            "it is finished, or undone, before anything else",
            Some(2),
        ),
    ] {
        let (folder, kubeconfig) = (
            copy.path().to_owned(),
            kubeconfig.to_str().unwrap().to_owned(),
        );
        let run = move || {
            let arguments = ["--kubeconfig", &kubeconfig, "-n", "shop"];
            with_trail(
                &folder,
                &arguments.into_iter().chain(apply).collect::<Vec<_>>(),
            )
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let screen = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(
            screen.contains("A plan of an earlier run was cut off"),
            "{screen}"
        );
        assert!(screen.contains(says), "{screen}");
        assert_eq!(replicas("web").await, web);
    }
}
