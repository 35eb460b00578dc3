//! The whole walk, from a fault to the proof that it is gone: once in memory and once on a real API server, with the
//! same assertions. The judge of what was written is the server's own audit log.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod approval;
mod numbered;
mod random;
mod scenarios;
mod undo;
mod world;

use std::time::Duration;

use approval::{
    of_many_hosts_one_wins, two_people_approve_where_policy_wants_two,
    what_the_cluster_warns_of_is_shown,
};
use argus_core::testing::{MemoryAudit, Scripted};
use argus_core::{
    Actor, Answer, ApprovalError, AuditEvent, Cause, Ending, Finding, Incident, IncidentId,
    MemoryPlans, OnFailure, Prompt, Recovery, Remediator, RemediatorError, Roles, Scanner, Scope,
    Settings, Severity, StepStatus, Verdict, step_statuses,
};
use numbered::{
    a_change_that_a_broken_copy_holds_up_says_so,
    a_copy_that_was_replaced_meanwhile_needs_no_delete,
};
use random::random_plans_stay_within_scope_and_policy;
use serde_json::{Value, json};
use world::{World, builtin};

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&super::World::memory().await).await;
            })*
        }
        mod on_a_real_api_server {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(world) = super::World::real().await else { return };
                super::$name(&world).await;
                world.end().await;
            })*
        }
    };
}

scenarios!(
    out_of_memory_is_seen_after_it_runs_again,
    what_was_cut_off_is_finished_by_the_next_start,
    what_policy_refuses_never_reaches_the_cluster,
    what_changed_after_the_approval_is_stale,
    what_only_changed_its_status_is_not_stale,
    a_plan_that_fails_half_way_is_undone,
    a_host_may_stop_instead_of_undoing,
    what_somebody_else_changed_is_not_undone,
    a_plan_that_changes_nothing_is_refused,
    missing_permissions_are_named_before_anything_starts,
    what_can_interrupt_an_app_needs_a_person,
    what_is_low_risk_for_the_incidents_own_app_needs_nobody,
    high_risk_needs_the_switch_and_the_name,
    two_people_approve_where_policy_wants_two,
    what_the_cluster_warns_of_is_shown,
    a_copy_that_was_replaced_meanwhile_needs_no_delete,
    a_change_that_a_broken_copy_holds_up_says_so,
    random_plans_stay_within_scope_and_policy,
);

fn has(cause: Cause) -> impl Fn(&[Finding]) -> bool {
    move |findings| findings.iter().any(|finding| finding.cause == Some(cause))
}

async fn out_of_memory_is_seen_after_it_runs_again(world: &World) {
    let broken = world
        .deployment("web", "r.example/web:1")
        .state("OOMKilledOnce");
    broken.memory_limit("128Mi").create().await.unwrap();
    world.wait_ready("web").await;
    let findings = world.findings(has(Cause::OomKilled)).await;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].severity, Severity::Medium);
    assert_eq!(findings[0].metrics["restart_count"], 1);
}

async fn what_policy_refuses_never_reaches_the_cluster(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    for (command, rule) in [
        (
            "kubectl scale deployment/coredns -n kube-system --replicas=0",
            "floor-scope",
        ),
        ("kubectl delete pod/web-1 -n default", "baseline-scope"),
        (
            "kubectl scale deployment/web -n shop --replicas=0",
            "floor-high-risk",
        ),
    ] {
        let remediator = world.remediator(Scripted::commands(&[
            &command.replace("shop", world.namespace())
        ]));
        let error = world.walk(&remediator, Vec::new()).await.unwrap_err();
        assert!(error.is_denied(), "{error}");
        let RemediatorError::Denied { evaluation, .. } = error else {
            panic!()
        };
        assert!(
            evaluation
                .violations
                .iter()
                .any(|violation| violation.id == rule),
            "{evaluation:?}"
        );
    }
    // Going back is harmless to look at; only the object that would result shows what the old version may do.
    for host_network in [json!(true), json!(null)] {
        world.wait_ready("web").await;
        world
            .merge(
                "web",
                json!({ "spec": { "template": { "spec": { "hostNetwork": host_network } } } }),
            )
            .await;
    }
    world.wait_ready("web").await;
    let undo = format!(
        "kubectl rollout undo deployment/web -n {}",
        world.namespace()
    );
    let error = world
        .walk(&world.remediator(Scripted::commands(&[&undo])), Vec::new())
        .await
        .unwrap_err();
    let RemediatorError::Denied { evaluation, .. } = error else {
        panic!("{error:?}")
    };
    for rule in ["floor-never", "baseline-never", "baseline-no-escalation"] {
        let mut violations = evaluation.violations.iter();
        assert!(violations.any(|violation| violation.id == rule), "{rule}");
    }
    assert!(
        world
            .writes()
            .await
            .iter()
            .all(|(_, _, dry_run, _)| *dry_run),
        "{:?}",
        world.writes().await
    );
    assert!(
        world
            .audit
            .all()
            .iter()
            .any(|record| record.entry.event == AuditEvent::Denied)
    );
}

/// The image of `web`.
async fn image(world: &World) -> String {
    let spec = world.get("web").await.spec.unwrap().template.spec.unwrap();
    spec.containers[0].image.clone().unwrap()
}

async fn scale_to_two(world: &World) -> (Remediator, argus_core::DryRun) {
    world.running("web").await;
    let command = format!(
        "kubectl scale deployment/web -n {} --replicas=2",
        world.namespace()
    );
    let remediator = world.remediator(Scripted::commands(&[&command]));
    let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
    (remediator, dry_run)
}

async fn what_changed_after_the_approval_is_stale(world: &World) {
    let (remediator, dry_run) = scale_to_two(world).await;
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    world
        .merge("web", json!({ "spec": { "revisionHistoryLimit": 3 } }))
        .await;
    let error = remediator.execute(approved).await.unwrap_err();
    assert!(error.is_stale(), "{error}");
    assert!(
        world
            .writes()
            .await
            .iter()
            .all(|(_, _, dry_run, _)| *dry_run)
    );
    assert_eq!(world.get("web").await.spec.unwrap().replicas, Some(1));
}

async fn what_only_changed_its_status_is_not_stale(world: &World) {
    let (remediator, dry_run) = scale_to_two(world).await;
    // Twice as many copies are for a person to approve.
    assert_eq!(dry_run.verdict(), Verdict::RequireApproval);
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    // The annotation is the controllers', and moves the resource version.
    world.merge("web", json!({ "metadata": { "annotations": { "deployment.kubernetes.io/desired-replicas": "1" } } })).await;
    let outcome = remediator.execute(approved).await.unwrap();
    assert!(outcome.success, "{outcome:?}");
    assert_eq!(world.get("web").await.spec.unwrap().replicas, Some(2));
    let actors: Vec<_> = world
        .audit
        .all()
        .into_iter()
        .filter(|record| record.entry.event == AuditEvent::StepApplied)
        .map(|record| record.entry.requested_by)
        .collect();
    assert_eq!(actors, [Actor::user("operator").unwrap()]);
}

/// Two apps; the second step starts an image that can't be loaded.
async fn half_way(world: &World) -> [String; 2] {
    for name in ["api", "web"] {
        world
            .deployment(name, "r.example/web:1")
            .create()
            .await
            .unwrap();
        world.wait_ready(name).await;
    }
    let namespace = world.namespace();
    [
        format!("kubectl set resources deployment/api -n {namespace} -c app --limits=memory=64Mi"),
        format!("kubectl set image deployment/web -n {namespace} app=r.example/web:does-not-exist"),
    ]
}

fn impatient(world: &World) -> argus_core::Kube {
    world.kube().settle_within(Duration::from_secs(40))
}

async fn a_plan_that_fails_half_way_is_undone(world: &World) {
    let commands = half_way(world).await;
    let remediator = world.remediator_on(
        Scripted::commands(&[&commands[0], &commands[1]]),
        impatient(world),
    );
    let before = [world.get("api").await.spec, world.get("web").await.spec];
    let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
    let outcome = world.execute(&remediator, dry_run).await;
    assert_eq!(
        (outcome.success, outcome.ending),
        (false, Ending::Undone),
        "{outcome:#?}"
    );
    assert_eq!(outcome.steps, [StepStatus::Undone, StepStatus::Undone]);
    assert_eq!(step_statuses(&world.audit.all()), outcome.steps);
    assert_eq!(
        [world.get("api").await.spec, world.get("web").await.spec],
        before
    );
    let real: Vec<String> = world
        .writes()
        .await
        .into_iter()
        .filter(|(_, _, dry_run, _)| !dry_run)
        .map(|(_, path, _, _)| path)
        .collect();
    assert_eq!(
        real,
        [
            "deployments/api",
            "deployments/web",
            "deployments/web",
            "deployments/api"
        ],
        "undo is newest first"
    );
}

async fn a_host_may_stop_instead_of_undoing(world: &World) {
    let commands = half_way(world).await;
    let remediator = Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(world.scope())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&[&commands[0], &commands[1]]))
        .policy(builtin())
        .cluster(impatient(world))
        .audit(world.audit.clone())
        .on_failure(OnFailure::Stop)
        .build()
        .unwrap();
    let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
    let outcome = world.execute(&remediator, dry_run).await;
    assert_eq!(outcome.ending, Ending::Stopped);
    assert_eq!(outcome.steps, [StepStatus::Settled, StepStatus::Applied]);
    assert_eq!(image(world).await, "r.example/web:does-not-exist");
}

async fn what_somebody_else_changed_is_not_undone(world: &World) {
    let commands = half_way(world).await;
    let remediator = world.remediator_on(
        Scripted::commands(&[&commands[0], &commands[1]]),
        impatient(world),
    );
    let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
    let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
    let meddle = async {
        // Once the first step is at rest and the second is there, somebody else changes what the first did.
        while image(world).await != "r.example/web:does-not-exist" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.merge("api", json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "image": "r.example/web:1", "resources": { "limits": { "memory": "96Mi" } } }] } } } })).await;
    };
    let meddle = tokio::time::timeout(Duration::from_secs(120), meddle);
    let (outcome, meddled) = tokio::join!(remediator.execute(approved), meddle);
    let outcome = outcome.unwrap();
    assert!(meddled.is_ok(), "the second step never came: {outcome:#?}");
    assert_eq!(outcome.ending, Ending::Stuck, "{outcome:#?}");
    assert_eq!(outcome.steps, [StepStatus::Stuck, StepStatus::Undone]);
    let limits = world
        .get("api")
        .await
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers[0]
        .resources
        .clone()
        .unwrap()
        .limits
        .unwrap();
    assert_eq!(limits["memory"].0, "96Mi", "what somebody else wrote stays");
}

async fn a_plan_that_changes_nothing_is_refused(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    for command in [
        "kubectl scale deployment/web -n shop --replicas=1",
        r#"kubectl patch deployment/web -n shop -p '{"spec":{"strategy":{"type":"RollingUpdate"}}}'"#,
        "kubectl rollout undo deployment/web -n shop",
        "kubectl set image deployment/web -n shop sidecar=r.example/x:1",
        "kubectl scale deployment/nope -n shop --replicas=1",
    ] {
        let remediator = world.remediator(Scripted::commands(&[
            &command.replace("shop", world.namespace())
        ]));
        match world.walk(&remediator, Vec::new()).await {
            Err(RemediatorError::DryRun { step: 0, .. }) => {}
            other => panic!("{command}: {other:?}"),
        }
    }
}

async fn missing_permissions_are_named_before_anything_starts(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    world.take_patch_away().await;
    let command = format!(
        "kubectl rollout restart deployment/web -n {}",
        world.namespace()
    );
    let remediator = world.remediator(Scripted::commands(&[&command]));
    match world.walk(&remediator, Vec::new()).await {
        Err(RemediatorError::Permissions { missing }) => assert_eq!(
            missing,
            [format!(
                "patch deployments.apps in namespace {}, which the role argus-ops-remediator gives",
                world.namespace()
            )]
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.writes().await, []);
}

async fn what_can_interrupt_an_app_needs_a_person(world: &World) {
    world
        .deployment("web", "r.example/web:1")
        .create()
        .await
        .unwrap();
    let namespace = world.namespace();
    let command =
        format!("kubectl set resources deployment/web -n {namespace} --limits=memory=64Mi");
    let remediator = world.remediator(Scripted::commands(&[&command]));
    let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
    assert_eq!(dry_run.verdict(), Verdict::RequireApproval);
    let approved = dry_run.approve(Answer::automatic("the host"));
    assert!(
        matches!(approved, Err(ApprovalError::PersonNeeded)),
        "{approved:?}"
    );
}

/// One copy more, of two, for an app that has a fault; for another app, or one more of one, a person is asked.
async fn what_is_low_risk_for_the_incidents_own_app_needs_nobody(world: &World) {
    for name in ["web", "api"] {
        let app = world
            .deployment(name, "r.example/web:1")
            .replicas(2)
            .state("OOMKilledOnce");
        app.memory_limit("128Mi").create().await.unwrap();
        world.wait_ready(name).await;
    }
    let findings = world
        .findings(|findings| {
            let web = |finding: &&Finding| finding.target.contains("/web");
            findings.iter().any(|finding| web(&finding)) && findings.iter().any(|one| !web(&one))
        })
        .await;
    let of_web = findings.into_iter();
    let of_web: Vec<Finding> = of_web
        .filter(|finding| finding.target.contains("/web"))
        .collect();
    let namespace = world.namespace();
    for (name, replicas, verdict) in [
        ("web", 3, Verdict::Allow),
        ("web", 4, Verdict::RequireApproval),
        ("api", 3, Verdict::RequireApproval),
    ] {
        let command =
            format!("kubectl scale deployment/{name} -n {namespace} --replicas={replicas}");
        let remediator = world.remediator(Scripted::commands(&[&command]));
        let dry_run = world.walk(&remediator, of_web.clone()).await.unwrap();
        assert_eq!(dry_run.verdict(), verdict, "{command}");
        let approved = dry_run.approve(Answer::automatic("the host"));
        assert_eq!(approved.is_ok(), verdict == Verdict::Allow, "{command}");
        if let Ok(approved) = approved {
            let outcome = remediator.execute(approved).await.unwrap();
            assert!(outcome.success, "{outcome:?}");
            let back = json!({ "spec": { "replicas": 2 } });
            world.merge(name, back).await;
            world.wait_ready(name).await;
        }
    }
}

async fn high_risk_needs_the_switch_and_the_name(world: &World) {
    world.running("web").await;
    let command = format!(
        "kubectl scale deployment/web -n {} --replicas=0",
        world.namespace()
    );
    let remediator = Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(world.scope())
        .settings(Settings {
            enabled: true,
            allow_high_risk: true,
        })
        .llm(Scripted::commands(&[&command]))
        .policy(builtin())
        .cluster(world.kube())
        .audit(world.audit.clone())
        .build()
        .unwrap();
    for (answer, enough) in [
        (Answer::automatic("the host"), false),
        (Answer::confirm("operator"), false),
        (Answer::confirm_by_name("operator", "wab"), false),
        (Answer::refuse("operator", "no"), false),
        (Answer::confirm_by_name("operator", "web"), true),
    ] {
        let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
        let approved: Result<_, ApprovalError> = dry_run.approve(answer.clone());
        assert_eq!(approved.is_ok(), enough, "{answer:?}");
        if let Ok(approved) = approved {
            let outcome = remediator.execute(approved).await.unwrap();
            // It did what it was told; that isn't a fix.
            assert_eq!(outcome.rescan.unwrap().recovery, Recovery::Vanished);
        }
    }
}

/// The trail breaks after each of the first records of an execution; a new process takes it up, with the old one's files.
async fn what_was_cut_off_is_finished_by_the_next_start(world: &World) {
    let namespace = world.namespace();
    for (number, whole) in (5..=11).enumerate() {
        let names = [format!("api-{number}"), format!("web-{number}")];
        for name in &names {
            let app = world.deployment(name, "r.example/web:1");
            app.memory_limit("128Mi").create().await.unwrap();
            world.wait_ready(name).await;
        }
        let commands = [
            format!(
                "kubectl set resources deployment/{} -n {namespace} -c app --limits=memory=256Mi",
                names[0]
            ),
            format!(
                "kubectl rollout restart deployment/{} -n {namespace}",
                names[1]
            ),
        ];
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        let plans = MemoryPlans::default();
        let first = MemoryAudit::failing_from(whole + 1);
        let remediator = world.remediator_with(Scripted::commands(&commands), &first, &plans);
        let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
        let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
        let error = remediator.execute(approved).await.unwrap_err();
        assert!(matches!(error, RemediatorError::Audit { .. }), "{error:?}");
        drop(remediator);

        let second = first.restarted();
        let remediator = world.remediator_with(Scripted::commands(&commands), &second, &plans);
        let unfinished = remediator.unfinished().await.unwrap();
        let outcome = remediator.resume(&unfinished[0]).await.unwrap();
        assert_eq!(
            outcome.ending,
            Ending::Succeeded,
            "cut after {whole}: {outcome:?}"
        );
        let statuses = step_statuses(&second.all());
        assert_eq!(statuses, [StepStatus::Settled, StepStatus::Settled]);
        // One write for each step, whatever was cut off.
        for name in &names {
            let path = format!("deployments/{name}");
            let writes = world.writes().await;
            let of_it = writes
                .iter()
                .filter(|(_, at, dry_run, code)| *at == path && !dry_run && *code == 200);
            assert_eq!(of_it.count(), 1, "cut after {whole}, {name}: {writes:?}");
        }
    }
}

fn about_a_container(namespace: &str, pod: &str) -> Finding {
    let finding = json!({ "finding_id": "F", "category": "pod_health", "severity": "high", "infra_type": "kubernetes", "title": "", "description": "",
        "target": format!("k8s://{namespace}/{pod}/app") });
    serde_json::from_value(finding).unwrap()
}

/// The last words of a container are read, in memory and on a real API server, and stand in the prompt as what they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_last_words() {
    let mut worlds = vec![World::memory().await];
    worlds.extend(World::real().await);
    for world in worlds {
        let words = "starting\npassword=hunter2\nfatal: no database";
        let template = json!({ "metadata": { "labels": { "app": "web" }, "annotations": { "fake-kubelet/state": "CrashLoopBackOff", "fake-kubelet/log": words } },
            "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": "r.example/web:1" }] } });
        world.create_any(&json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": template } })).await;
        let crashes = |findings: &[Finding]| {
            findings
                .iter()
                .any(|finding| finding.cause == Some(Cause::CrashLoop))
        };
        let findings = world.findings(crashes).await;
        let finding = findings
            .iter()
            .find(|finding| finding.cause == Some(Cause::CrashLoop))
            .unwrap();
        let said = world
            .kube()
            .last_words(finding, &world.scope())
            .await
            .unwrap();
        assert_eq!(
            said,
            [
                "log: starting",
                "log: password=[redacted]",
                "log: fatal: no database"
            ]
        );
        let incident = Incident::new(IncidentId::new("INC-1").unwrap(), findings, None).unwrap();
        let incident = world
            .kube()
            .with_last_words(incident, &world.scope())
            .await
            .unwrap();
        let prompt = Prompt::new(&incident, &world.scope());
        assert!(
            prompt.user().contains("fatal: no database"),
            "{}",
            prompt.user()
        );
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_hosts_one_wins_in_memory() {
    of_many_hosts_one_wins(&World::memory().await).await;
}

/// Nobody else asks the server meanwhile: it has enough to do.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_hosts_one_wins_on_a_real_api_server() {
    let Some(world) = World::real_alone().await else {
        return;
    };
    of_many_hosts_one_wins(&world).await;
    world.end().await;
}

/// Looking across namespaces takes the role that is printed for it, and nothing less.
#[tokio::test(flavor = "multi_thread")]
async fn across_namespaces_takes_its_role() {
    let Some(world) = World::real().await else {
        return;
    };
    let wide = Scope::namespaces([world.namespace(), "kube-node-lease"]).unwrap();
    let kube = world.kube().across_namespaces();
    let refused = kube.scan(&wide).await.unwrap().incomplete;
    // Two of them where the cluster has the Gateway API.
    assert_eq!(refused.len(), 18, "{refused:?}");
    assert!(
        refused
            .iter()
            .all(|text| text.contains("of all namespaces could not be read"))
    );
    let roles = world.roles().across_namespaces();
    world.give(&roles).await;
    assert_eq!(kube.scan(&wide).await.unwrap().incomplete, [] as [&str; 0]);
    // It reads more, and changes no more.
    let changes = |roles: &Roles| {
        let objects = roles.objects(world.namespace(), "argus").unwrap();
        let is_remediator = |object: &Value| object["metadata"]["name"] == "argus-ops-remediator";
        objects
            .into_iter()
            .filter(is_remediator)
            .collect::<Vec<_>>()
    };
    assert_eq!(changes(&roles), changes(&world.roles()));
    world.end().await;
}

/// With any rule taken out of the printed roles, the scan or the preflight says what is missing, before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_roles_is_needed() {
    let Some(probe) = World::real().await else {
        return;
    };
    let roles = probe.roles();
    let both = [
        ("argus-ops-reader", roles.reader()),
        ("argus-ops-remediator", roles.remediator()),
    ];
    probe.end().await;
    for (role, rules) in both {
        for (index, rule) in rules.iter().enumerate() {
            let world = World::real().await.unwrap();
            let app = world.deployment("web", "r.example/web:1");
            app.create().await.unwrap();
            world.wait_ready("web").await;
            let pod = world.pods().await.remove(0).metadata.name.unwrap();
            // Without a service account its pods are not even made, and the events are asked why.
            let template = json!({ "metadata": { "labels": { "app": "db" } }, "spec": { "serviceAccountName": "nobody", "containers": [{ "name": "app", "image": "r.example/db:1" }] } });
            world.create_any(&json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" },
                "spec": { "selector": { "matchLabels": { "app": "db" } }, "template": template } })).await;
            world.take_rule_away(role, index).await;
            let namespace = world.namespace();
            let scan = world.kube().scan(&world.scope()).await.unwrap();
            let mut said = scan.incomplete.join("; ");
            if let Err(error) = world
                .kube()
                .last_words(&about_a_container(namespace, &pod), &world.scope())
                .await
            {
                said.push_str(&error.problem);
            }
            for command in [
                format!("kubectl rollout undo deployment/web -n {namespace}"),
                format!("kubectl scale deployment/web -n {namespace} --replicas=2"),
                format!("kubectl scale statefulset/web -n {namespace} --replicas=2"),
                format!("kubectl delete pod/{pod} -n {namespace}"),
            ]
            .into_iter()
            .chain(["service", "statefulset", "cronjob", "ingress", "hpa", "pdb"].map(|kind| {
                format!("kubectl patch {kind}/web -n {namespace} --type=merge -p '{{\"spec\":{{\"a\":1}}}}'")
            })) {
                // No table has the field of the patches: only permissions are asked about here.
                let builder = world.builder(Scripted::commands(&[&command]), world.kube());
                let builder = builder.settings(Settings {
                    enabled: true,
                    allow_high_risk: true,
                });
                let remediator = builder.audit(world.audit.clone()).build().unwrap();
                if let Err(RemediatorError::Permissions { missing }) =
                    world.walk(&remediator, Vec::new()).await
                {
                    assert!(
                        missing.iter().all(|what| what.contains(role)),
                        "{missing:?}"
                    );
                    said.push_str(&missing.join("; "));
                }
            }
            for resource in rule["resources"].as_array().unwrap() {
                let resource = resource.as_str().unwrap();
                assert!(said.contains(resource), "{role}, {rule}: {said}");
            }
            let real = |write: &&world::Write| !write.2;
            assert_eq!(world.writes().await.iter().filter(real).count(), 0);
            world.end().await;
        }
    }
}
