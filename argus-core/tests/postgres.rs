//! The trail and the plans in a real PostgreSQL: one chain for several hosts, one host for a plan, nothing acknowledged is lost.
//!
//! `ARGUS_TEST_POSTGRES` names the folder of the server's programs; each test starts an instance of its own on a socket.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{PermitAll, laws};
use argus_core::{
    Actor, Answer, AuditEntry, AuditError, AuditEvent, AuditKey, AuditQuery, AuditSigner,
    AuditSink, Ending, Incident, IncidentId, Kube, PlanId, PlanStore, Playbook, PostgresAudit,
    Remediator, RemediatorError, Scope, Settings,
};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

/// A server that is gone with the test.
struct Server {
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    /// With the tables, the role that made them, and the role `argus` of hosts.
    async fn start() -> Option<Self> {
        let Some(programs) = std::env::var_os("ARGUS_TEST_POSTGRES") else {
            eprintln!("skipped: the trail in PostgreSQL; ARGUS_TEST_POSTGRES names no server");
            return None;
        };
        let server = Self {
            programs: programs.into(),
            folder: tempfile::tempdir().unwrap(),
        };
        if is_root() {
            let path = server.folder.path();
            assert!(
                Command::new("chown")
                    .arg("postgres")
                    .arg(path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let data = server.data();
        server.run(
            "initdb",
            &["-A", "trust", "-U", "owner", "--no-sync", "-D", &data],
        );
        server.up();
        server.sql("CREATE ROLE argus LOGIN").await;
        PostgresAudit::migrate(&server.url("owner"), "argus")
            .await
            .unwrap();
        Some(server)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            // The server refuses to be root.
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--clear-groups",
                    "--",
                ])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        let status = command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    fn up(&self) {
        let folder = self.folder.path().display().to_string();
        let options = format!("-c listen_addresses= -c unix_socket_directories={folder}");
        let log = format!("{folder}/log");
        self.run(
            "pg_ctl",
            &[
                "start",
                "-w",
                "-D",
                &self.data(),
                "-l",
                &log,
                "-o",
                &options,
            ],
        );
    }

    fn url(&self, role: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://{role}@localhost/postgres?host={folder}")
    }

    async fn open(&self) -> PostgresAudit {
        PostgresAudit::open(&self.url("argus")).await.unwrap()
    }

    /// As the owner.
    async fn sql(&self, sql: &str) {
        self.try_sql("owner", sql).await.unwrap();
    }

    async fn try_sql(&self, role: &str, sql: &str) -> Result<(), String> {
        let mut connection = PgConnection::connect(&self.url(role)).await.unwrap();
        let done = raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        done.map(drop).map_err(|error| error.to_string())
    }

    /// Kills the server and whatever it started, at once.
    fn kill(&self) {
        let pid = std::fs::read_to_string(Path::new(&self.data()).join("postmaster.pid"));
        let Ok(pid) = pid else { return };
        let pid = pid.lines().next().unwrap();
        let _ = Command::new("pkill").args(["-KILL", "-P", pid]).status();
        let _ = Command::new("kill").args(["-KILL", pid]).status();
        while Path::new(&format!("/proc/{pid}")).exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

fn plan(number: usize) -> PlanId {
    PlanId::try_from(format!("PLAN-{number:032x}")).unwrap()
}

fn entry(number: usize, event: AuditEvent) -> AuditEntry {
    AuditEntry {
        command: Some("kubectl scale deployment/web -n shop --replicas=3".into()),
        // As another host may have stored it.
        outcome: serde_json::from_value("\u{e4} \"quote\", a \\ and a \u{0} byte".into()).unwrap(),
        ..AuditEntry::new(
            event,
            IncidentId::new("INC-1").unwrap(),
            plan(number),
            Actor::user("operator").unwrap(),
        )
    }
}

#[tokio::test]
async fn the_laws_hold_for_a_role_that_may_only_read_and_insert() {
    let Some(server) = Server::start().await else {
        return;
    };
    let audit = server.open().await;
    laws::audit_sink(&audit).await.unwrap();
    laws::plan_store(&audit.plans()).await.unwrap();
    assert_eq!(
        PostgresAudit::verify(&server.url("argus"))
            .await
            .unwrap()
            .records,
        5
    );
    for table in [
        "argus_records",
        "argus_checkpoints",
        "argus_claims",
        "argus_plans",
    ] {
        for sql in [
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("DROP TABLE {table}"),
        ] {
            let refused = server.try_sql("argus", &sql).await.unwrap_err();
            assert!(
                refused.contains("permission denied") || refused.contains("must be owner"),
                "{sql}: {refused}"
            );
        }
        let refused = server
            .try_sql("owner", &format!("DELETE FROM {table}"))
            .await;
        assert!(refused.unwrap_err().contains("only grows"), "{table}");
    }
    let again = PostgresAudit::migrate(&server.url("owner"), "argus").await;
    assert!(again.is_ok(), "migrating twice changes nothing: {again:?}");
}

#[tokio::test]
async fn queries_give_what_was_asked() {
    let Some(server) = Server::start().await else {
        return;
    };
    let audit = server.open().await;
    let all = (0..1200).map(|number| audit.append(entry(number % 3, AuditEvent::Suggested)));
    for record in join_all(all).await {
        record.unwrap();
    }
    audit.append(entry(7, AuditEvent::Denied)).await.unwrap();
    let count = async |query: AuditQuery| audit.records(&query).await.unwrap().len();
    let any = AuditQuery::default;
    assert_eq!(count(any()).await, 1201);
    let one = AuditQuery {
        plan_id: Some(plan(1)),
        ..any()
    };
    assert_eq!(count(one.clone()).await, 400);
    let page = AuditQuery {
        before: Some(300),
        after: Some(200),
        ..one
    };
    assert_eq!(count(page).await, 33);
    let denied = AuditQuery {
        event: Some(AuditEvent::Denied),
        text: Some("QUOTE".into()),
        action: Some("scale".into()),
        ..any()
    };
    assert_eq!(count(denied).await, 1);
    let nobody = AuditQuery {
        actor: Some("nobody".into()),
        ..any()
    };
    assert_eq!(count(nobody).await, 0);
    let newest = audit
        .records(&AuditQuery {
            limit: Some(3),
            ..any()
        })
        .await
        .unwrap();
    assert!(newest.iter().map(|r| r.sequence).eq([1201, 1200, 1199]));
}

/// Openssl's own text of a key that is for tests alone.
fn keys() -> (AuditSigner, AuditKey) {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    let signer = AuditSigner::from_pem("argus.example/test", pem).unwrap();
    let key = signer.key();
    (signer, key)
}

#[tokio::test]
async fn whatever_the_owner_changes_is_found_and_named() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (signer, key) = keys();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let audit = PostgresAudit::options()
        .signed_by(signer.clone())
        .on_checkpoint(move |head| kept.lock().unwrap().push(head.to_string()))
        .open(&server.url("argus"))
        .await
        .unwrap();
    for number in 1..=5 {
        audit
            .append(entry(number, AuditEvent::Suggested))
            .await
            .unwrap();
    }
    audit.append(entry(5, AuditEvent::Finished)).await.unwrap();
    let head = heads.lock().unwrap().last().cloned().unwrap();
    audit.append(entry(6, AuditEvent::Suggested)).await.unwrap();
    let url = server.url("argus");
    let verify = async || PostgresAudit::verify_signed(&url, &key, Some(&head)).await;
    assert_eq!(verify().await.unwrap().records, 7);
    assert_eq!(
        PostgresAudit::verify_signed(&url, &key, None)
            .await
            .unwrap()
            .records,
        7
    );

    server
        .sql("ALTER TABLE argus_records DISABLE TRIGGER ALL; CREATE TABLE kept AS SELECT sequence, record FROM argus_records")
        .await;
    for (change, bad) in [
        (
            "UPDATE argus_records SET record = replace(record, 'scale', 'scalf') WHERE sequence = 3",
            4,
        ),
        ("DELETE FROM argus_records WHERE sequence = 2", 2),
        ("DELETE FROM argus_records WHERE sequence = 1", 1),
        // The end, which no record follows: the signed head tells.
        ("DELETE FROM argus_records WHERE sequence > 4", 5),
        (
            "UPDATE argus_records SET record = (SELECT record FROM kept WHERE sequence = 4) WHERE sequence = 5",
            5,
        ),
        (
            "INSERT INTO argus_records VALUES (8, (SELECT record FROM kept WHERE sequence = 7))",
            8,
        ),
    ] {
        server.sql(change).await;
        match verify().await {
            Err(AuditError::Damaged { record, .. }) => assert_eq!(record, bad, "{change}"),
            other => panic!("{change}: {other:?}"),
        }
        let opened = PostgresAudit::options().signed_by(signer.clone());
        let opened = opened.open(&url).await.err();
        assert!(
            matches!(opened, Some(AuditError::Damaged { .. })),
            "{change}: {opened:?}"
        );
        // A host that has it open finds it with its next record, unless it lies further back than what it saw.
        if matches!(bad, 5 | 8) && !change.starts_with("UPDATE") {
            let next = audit.append(entry(9, AuditEvent::Suggested)).await;
            assert!(next.is_err(), "{change}");
        }
        server
            .sql("DELETE FROM argus_records; INSERT INTO argus_records SELECT * FROM kept")
            .await;
        verify().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_hosts_write_one_chain() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (signer, key) = keys();
    let mut tasks = Vec::new();
    for host in 0..3 {
        let options = PostgresAudit::options().signed_by(signer.clone());
        let audit = options.open(&server.url("argus")).await.unwrap();
        for writer in 0..20 {
            let audit = audit.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..25 {
                    let number = host * 20 + writer;
                    for event in [
                        AuditEvent::Approved,
                        AuditEvent::StepIntended,
                        AuditEvent::Finished,
                    ] {
                        audit.append(entry(number, event)).await.unwrap();
                    }
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let tail = PostgresAudit::verify_signed(&server.url("argus"), &key, None).await;
    assert_eq!(tail.unwrap().records, 3 * 20 * 25 * 3);
}

#[tokio::test]
async fn a_plan_is_executed_by_one_host_until_it_is_gone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (first, second) = (server.open().await, server.open().await);
    let held = |result: Result<_, AuditError>| match result {
        Err(AuditError::Held(held)) => assert_eq!(held, plan(1)),
        other => panic!("{other:?}"),
    };
    let (plans, theirs) = (first.plans(), second.plans());
    plans.save(&plan(1), "approved by the first").await.unwrap();
    first.append(entry(1, AuditEvent::Approved)).await.unwrap();
    // Both were asked at once: what the second has of it must not stand for what the first was allowed.
    theirs
        .save(&plan(1), "approved by the second")
        .await
        .unwrap();
    for event in [
        AuditEvent::Approved,
        AuditEvent::Resumed,
        AuditEvent::StepIntended,
        AuditEvent::Finished,
    ] {
        held(second.append(entry(1, event)).await);
    }
    assert_eq!(
        theirs.load(&plan(1)).await.unwrap().as_deref(),
        Some("approved by the first")
    );
    // Looking at it is anybody's, and so is another plan.
    second
        .append(entry(1, AuditEvent::Permitted))
        .await
        .unwrap();
    second.append(entry(2, AuditEvent::Approved)).await.unwrap();

    // The first loses its connection, and doesn't know it yet.
    server
        .sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND objsubid = 2")
        .await;
    // The server ends it a moment later.
    let mut taken = second.append(entry(1, AuditEvent::Resumed)).await;
    for _ in 0..100 {
        if taken.is_ok() {
            break;
        }
        held(taken);
        tokio::time::sleep(Duration::from_millis(50)).await;
        taken = second.append(entry(1, AuditEvent::Resumed)).await;
    }
    taken.unwrap();
    assert!(
        first
            .append(entry(1, AuditEvent::StepApplied))
            .await
            .is_err()
    );
    assert!(matches!(
        first.append(entry(3, AuditEvent::Suggested)).await,
        Err(AuditError::Poisoned)
    ));
    // It comes back, as another: what it began is not its own any more.
    let first = server.open().await;
    held(first.append(entry(1, AuditEvent::StepApplied)).await);
    second.append(entry(1, AuditEvent::Finished)).await.unwrap();
    first.append(entry(1, AuditEvent::Approved)).await.unwrap();
    held(second.append(entry(1, AuditEvent::StepIntended)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_nothing_acknowledged() {
    let Some(server) = Server::start().await else {
        return;
    };
    let url = server.url("argus");
    let mut known = 0;
    for round in 0..5 {
        let audit = server.open().await;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let (audit, acknowledged) = (audit.clone(), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    while let Ok(record) = audit.append(entry(number, AuditEvent::Suggested)).await
                    {
                        acknowledged.lock().unwrap().push(record);
                    }
                })
            })
            .collect();
        while acknowledged.lock().unwrap().len() < 200 * (round + 1) {
            assert!(tasks.iter().any(|task| !task.is_finished()), "all stopped");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        for task in tasks {
            task.await.unwrap();
        }
        server.up();
        let more = audit.append(entry(1, AuditEvent::Suggested)).await;
        assert!(matches!(more, Err(AuditError::Poisoned)), "{more:?}");
        let tail = PostgresAudit::verify(&url).await.unwrap();
        let reader = server.open().await;
        let stored = reader.records(&AuditQuery::default()).await.unwrap();
        let acknowledged = acknowledged.lock().unwrap();
        for record in acknowledged.iter() {
            let place = (tail.records - record.sequence) as usize;
            assert_eq!(stored.get(place), Some(record));
        }
        known += acknowledged.len();
        assert!(tail.records >= known as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_finishes_what_a_dead_one_began() {
    let Some(server) = Server::start().await else {
        return;
    };
    let cluster = Cluster::start();
    let web = cluster.deployment("shop", "web", "registry.example/web:1");
    web.needs_memory("256Mi")
        .memory_limit("128Mi")
        .create()
        .await
        .unwrap();
    let kube = Kube::new(cluster.client());
    let scope = Scope::namespaces(["shop"]).unwrap();
    let host = async |audit: PostgresAudit| {
        Remediator::builder()
            .hold(argus_core::testing::SHORT_HOLD)
            .scope(scope.clone())
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(Playbook::new())
            .policy(PermitAll::dangerous())
            .cluster(kube.clone())
            .plans(audit.plans())
            .audit(audit)
    };
    let (stop, mut stopped) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let first = host(server.open().await).await.observe(move |record| {
        if record.entry.event == AuditEvent::StepIntended {
            stop.send(()).unwrap();
            // Until the test is done with it.
            let _ = wait.lock().unwrap().recv();
        }
    });
    let first = first.build().unwrap();
    let second = host(server.open().await).await.build().unwrap();

    let findings = cluster.wait_for_findings(&kube, &scope).await.unwrap();
    let incident = Incident::new(IncidentId::new("INC-1").unwrap(), findings, None).unwrap();
    let plan = first.suggest(&incident).await.unwrap();
    let plan_id = plan.plan_id().clone();
    let permitted = first.review(plan).await.unwrap();
    let dry_run = first.dry_run(permitted).await.unwrap();
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    // The host dies with the intent in the trail.
    let execution = tokio::spawn({
        let first = first.clone();
        async move { first.execute(approved).await.map(drop) }
    });
    stopped.recv().await.unwrap();
    assert_eq!(
        second.unfinished().await.unwrap(),
        std::slice::from_ref(&plan_id)
    );
    let error = second.resume(&plan_id).await.unwrap_err();
    assert!(matches!(error, RemediatorError::Held(_)), "{error:?}");
    assert!(error.is_retryable() && !error.is_stuck());
    execution.abort();
    drop(go_on);
    let _ = execution.await;
    drop(first);

    let mut outcome = second.resume(&plan_id).await;
    for _ in 0..100 {
        if outcome.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        outcome = second.resume(&plan_id).await;
    }
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ending, Ending::Succeeded, "{outcome:?}");
    assert!(second.unfinished().await.unwrap().is_empty());

    // A third undoes it, from what the others stored.
    let third = host(server.open().await).await.build().unwrap();
    let undone = third.undo(&plan_id).await.unwrap();
    assert_eq!(undone.ending, Ending::Undone, "{undone:?}");
    let again = second.undo(&plan_id).await;
    assert!(matches!(again, Err(RemediatorError::NotUndoable(_))));
    PostgresAudit::verify(&server.url("argus")).await.unwrap();
}

#[tokio::test]
async fn what_came_to_its_end_is_not_taken_up_again() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (first, second) = (server.open().await, server.open().await);
    for event in [AuditEvent::Approved, AuditEvent::Finished] {
        first.append(entry(1, event)).await.unwrap();
    }
    // As a host does that read the trail right before the end.
    let error = second.append(entry(1, AuditEvent::Resumed)).await;
    assert!(matches!(error, Err(AuditError::Held(_))), "{error:?}");
    second
        .append(entry(1, AuditEvent::Suggested))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_undo_is_one_hosts_until_its_end() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (first, second) = (server.open().await, server.open().await);
    for event in [AuditEvent::Approved, AuditEvent::Finished] {
        first.append(entry(1, event)).await.unwrap();
    }
    second
        .append(entry(1, AuditEvent::UndoAsked))
        .await
        .unwrap();
    for event in [
        AuditEvent::UndoAsked,
        AuditEvent::UndoIntended,
        AuditEvent::Resumed,
    ] {
        let error = first.append(entry(1, event)).await;
        assert!(
            matches!(error, Err(AuditError::Held(_))),
            "{event:?}: {error:?}"
        );
    }
    for event in [
        AuditEvent::UndoIntended,
        AuditEvent::StepUndone,
        AuditEvent::Finished,
    ] {
        second.append(entry(1, event)).await.unwrap();
    }
    first.append(entry(1, AuditEvent::UndoAsked)).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let Some(server) = Server::start().await else {
        return;
    };
    server.sql("CREATE ROLE stranger LOGIN").await;
    server.sql("CREATE DATABASE empty").await;
    let text = |error: AuditError| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    };
    let stranger = PostgresAudit::open(&server.url("stranger"))
        .await
        .unwrap_err();
    assert!(text(stranger).contains("permission denied"));
    let empty = server.url("argus").replace("/postgres?", "/empty?");
    let empty = text(PostgresAudit::open(&empty).await.unwrap_err());
    assert!(
        empty.contains("PostgresAudit::migrate") && empty.contains("argus_hosts"),
        "{empty}"
    );
    let no_role = PostgresAudit::migrate(&server.url("owner"), "no\"body")
        .await
        .unwrap_err();
    assert!(text(no_role).contains("no\"body"));
    let url = PostgresAudit::open("mysql://x").await.unwrap_err();
    assert!(matches!(url, AuditError::Database { .. }), "{url:?}");
    let password = PostgresAudit::open("postgres://argus:geheim@127.0.0.1:1/x").await;
    let password = format!("{password:?}");
    assert!(!password.contains("geheim"), "{password}");
}
