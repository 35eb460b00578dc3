//! What people see and say before anything is written.

use argus_core::testing::{MemoryAudit, PermitAll, Scripted};
use argus_core::{
    Answer, ApprovalError, AuditEvent, Ending, Remediator, RemediatorError, Settings,
};
use argus_policy::Pack;
use futures::future::join_all;

use crate::world::{World, builtin};

const MANIFEST: &str = "name: pairs\nversion: 1.0.0\ndescription: Two people for every change.\nrules:\n  - {id: pairs-two, phases: [plan]}\n";
const REGO: &str = "package argus.packs.pairs\n\nimport rego.v1\n\n# METADATA\n# title: Two people\n# custom:\n#   id: pairs-two\npassed contains \"pairs-two\" if count(input.plan.steps) == 0\n\nrequire_approval contains {\"id\": \"pairs-two\", \"step\": null, \"message\": \"two people have to look at it\", \"hint\": \"ask somebody else too\", \"people\": PEOPLE} if count(input.plan.steps) > 0\n";

fn remediator(world: &World, people: &str) -> Remediator {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pack.yaml"), MANIFEST).unwrap();
    let rego = REGO.replace("PEOPLE", people);
    std::fs::write(folder.path().join("pairs.rego"), rego).unwrap();
    let pack = Pack::load(folder.path()).unwrap();
    let command = format!(
        "kubectl scale deployment/web -n {} --replicas=2",
        world.namespace()
    );
    Remediator::builder()
        .hold(argus_core::testing::SHORT_HOLD)
        .scope(world.scope())
        .settings(Settings {
            enabled: true,
            allow_high_risk: false,
        })
        .llm(Scripted::commands(&[&command]))
        .policy(builtin().with(pack).unwrap())
        .cluster(world.kube())
        .audit(world.audit.clone())
        .build()
        .unwrap()
}

pub(crate) async fn two_people_approve_where_policy_wants_two(world: &World) {
    world.running("web").await;
    let two = remediator(world, "2");
    for answers in [
        vec![],
        vec![Answer::confirm("ada")],
        // The same one again is one.
        vec![Answer::confirm("ada"), Answer::confirm("Ada ")],
        vec![Answer::confirm("ada"), Answer::automatic("the host")],
        vec![Answer::confirm("ada"), Answer::refuse("grace", "not now")],
    ] {
        let dry_run = world.walk(&two, Vec::new()).await.unwrap();
        assert_eq!(dry_run.people(), 2);
        let enough = dry_run.approve_together(answers.clone());
        assert!(enough.is_err(), "{answers:?}");
    }
    let dry_run = world.walk(&two, Vec::new()).await.unwrap();
    let error = dry_run.approve(Answer::confirm("ada")).unwrap_err();
    assert!(
        matches!(
            error,
            ApprovalError::PeopleNeeded {
                people: 2,
                so_far: 1
            }
        ),
        "{error}"
    );
    let dry_run = world.walk(&two, Vec::new()).await.unwrap();
    let approved = dry_run
        .approve_together([Answer::confirm("ada"), Answer::confirm("grace")])
        .unwrap();
    assert_eq!(approved.approver().name(), "ada");
    assert_eq!(approved.others()[0].name(), "grace");
    let outcome = two.execute(approved).await.unwrap();
    assert_eq!(outcome.ending, Ending::Succeeded);
    let records = world.audit.all();
    let approval = records
        .iter()
        .find(|record| record.entry.event == AuditEvent::Approved)
        .unwrap();
    let said = approval.entry.outcome.as_deref().unwrap();
    assert!(said.ends_with(", together with grace"), "{said}");

    // More than can be asked is no approval by fewer.
    for people in ["0", "10", "\"two\""] {
        let walked = world.walk(&remediator(world, people), Vec::new()).await;
        assert!(
            matches!(walked, Err(RemediatorError::Policy(_))),
            "{people}: {walked:?}"
        );
    }
}

pub(crate) async fn what_the_cluster_warns_of_is_shown(world: &World) {
    world.running("web").await;
    let patch = "{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"beta.kubernetes.io/os\":\"linux\"}}}}}";
    for (command, warnings) in [
        (
            format!("patch deployment/web -n {} -p '{patch}'", world.namespace()),
            vec![
                "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            ],
        ),
        (
            format!("scale deployment/web -n {} --replicas=2", world.namespace()),
            vec![],
        ),
    ] {
        let commands = Scripted::commands(&[&format!("kubectl {command}")]);
        let builder = world.builder(commands, world.kube()).settings(Settings {
            enabled: true,
            // No node has the label.
            allow_high_risk: true,
        });
        let remediator = builder.audit(world.audit.clone()).build().unwrap();
        let dry_run = world.walk(&remediator, Vec::new()).await.unwrap();
        assert_eq!(dry_run.previews()[0].warnings, warnings, "{command}");
    }
}

/// Hosts that know nothing of each other, each with a trail of its own: the server's precondition lets one of them write.
pub(crate) async fn of_many_hosts_one_wins(world: &World) {
    world.running("web").await;
    let command = format!(
        "kubectl scale deployment/web -n {} --replicas=2",
        world.namespace()
    );
    let mut all = Vec::new();
    for _ in 0..64 {
        let builder = world.builder(Scripted::commands(&[&command]), world.kube());
        let builder = builder
            .policy(PermitAll::dangerous())
            .audit(MemoryAudit::new());
        let host = builder.build().unwrap();
        let dry_run = world.walk(&host, Vec::new()).await.unwrap();
        let approved = dry_run.approve(Answer::confirm("operator")).unwrap();
        all.push(async move { host.execute(approved).await });
    }
    let results = join_all(all).await;
    let won = results.iter().flatten().filter(|outcome| outcome.success);
    assert_eq!(won.count(), 1);
    let lost = results.iter().filter_map(|result| result.as_ref().err());
    assert!(
        lost.clone().all(RemediatorError::is_stale),
        "{:?}",
        lost.collect::<Vec<_>>()
    );
    let writes = world.writes().await;
    assert_eq!(writes.iter().filter(|write| !write.2).count(), 1);
}
