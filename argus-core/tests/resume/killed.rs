//! A process that is killed at any moment, for real: a child executes the plan against a served cluster, with its trail
//! and its plans in files; the parent kills it and takes it up. `ARGUS_TEST_KILLS` says how often, 25 times by default.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use argus_core::testing::{PermitAll, Scripted};
use argus_core::{
    Answer, AuditQuery, AuditSink, Ending, FileAudit, FilePlans, Kube, Remediator, Scope, Settings,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::process::Command;

use crate::shop::{COMMANDS, Shop};

async fn remediator(folder: &Path, client: Client) -> Remediator {
    Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(Scope::namespaces(["shop"]).unwrap())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&COMMANDS))
        .policy(PermitAll::dangerous())
        .cluster(Kube::new(client).settle_within(Duration::from_secs(30)))
        .audit(FileAudit::open(folder.join("audit")).await.unwrap())
        .plans(FilePlans::open(folder.join("plans")).await.unwrap())
        .build()
        .unwrap()
}

/// What the child does; a test by itself only when the parent starts it.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(folder) = std::env::var_os("ARGUS_TEST_CHILD") else {
        return;
    };
    let folder = Path::new(&folder);
    let kubeconfig = Kubeconfig::read_from(folder.join("kubeconfig")).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    let remediator = remediator(folder, Client::try_from(config).unwrap()).await;
    let incident =
        argus_core::Incident::new(argus_core::IncidentId::new("INC-1").unwrap(), vec![], None)
            .unwrap();
    let plan = remediator.suggest(&incident).await.unwrap();
    let dry_run = remediator
        .dry_run(remediator.review(plan).await.unwrap())
        .await
        .unwrap();
    std::fs::write(folder.join("ready"), "").unwrap();
    let _ = remediator
        .execute(dry_run.approve(Answer::confirm("operator")).unwrap())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    let kills: u32 = std::env::var("ARGUS_TEST_KILLS").map_or(25, |text| text.parse().unwrap());
    let (mut resumed, mut succeeded) = (0, 0);
    let mut cut = 0;
    for kill in 0..kills {
        let shop = Shop::open().await;
        let served = shop.cluster.serve().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), served.kubeconfig()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child"])
            .env("ARGUS_TEST_CHILD", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while !folder.path().join("ready").exists() {
            assert!(child.try_wait().unwrap().is_none(), "the child never began");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Every moment of an execution is hit in the long run: steps of a golden ratio, up to 200 ms.
        let after = (u64::from(kill.wrapping_mul(2_654_435_769) >> 12) * 200_000) >> 20;
        tokio::time::sleep(Duration::from_micros(after)).await;
        child.kill().await.unwrap();
        let what = format!("kill {kill}");
        let remediator = remediator(folder.path(), shop.cluster.client()).await;
        let mut ending = None;
        for plan_id in remediator.unfinished().await.unwrap() {
            let outcome = remediator.resume(&plan_id).await;
            let outcome = outcome.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            ending = Some(outcome.ending);
            resumed += 1;
        }
        assert!(
            ending.is_none_or(|ending| ending == Ending::Succeeded),
            "{what}: {ending:?}"
        );
        drop(remediator);
        let audit = FileAudit::open(folder.path().join("audit")).await.unwrap();
        cut += u32::from(audit.cut().is_some());
        let mut records = audit.records(&AuditQuery::default()).await.unwrap();
        records.reverse();
        shop.check(&records, ending, &what).await;
        succeeded += u32::from(shop.changed().await == [true; 3]);
    }
    eprintln!(
        "killed {kills} times: {resumed} executions resumed, {succeeded} plans at their end, {cut} torn lines"
    );
    // How many are hit while they run depends on the machine; without any this would test nothing.
    assert!(
        resumed > kills / 10,
        "only {resumed} of {kills} were hit while they ran"
    );
}
