//! The built-in pack refuses what the mission says.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use argus_core::{
    ObjectInput, Opinion, Phase, PolicyEngine, PolicyInput, Scope, Settings, floor, testing::laws,
};
use argus_policy::RegoEngine;
use serde_json::{Value, json};

use common::{input, plan};

async fn baseline(input: &PolicyInput) -> Opinion {
    RegoEngine::builtin()
        .unwrap()
        .evaluate(input)
        .await
        .unwrap()
        .remove(0)
}

fn ids(violations: &[argus_core::Violation]) -> Vec<&str> {
    violations
        .iter()
        .map(|violation| violation.id.as_str())
        .collect()
}

#[tokio::test]
async fn a_low_risk_plan_in_scope_needs_nobody() {
    let plan = plan(&["kubectl scale deploy/web -n shop --replicas=2"], "low");
    let opinion = baseline(&input(&plan)).await;
    assert!(
        opinion.deny.is_empty() && opinion.require_approval.is_empty() && opinion.manual.is_empty(),
        "{opinion:?}"
    );
    assert_eq!(opinion.evaluated.len(), 11);
}

#[tokio::test]
async fn each_rule_of_the_plan_phase_speaks_up() {
    for (commands, risk, rule) in [
        (
            vec!["kubectl scale deploy/web -n billing --replicas=2"],
            "low",
            "baseline-scope",
        ),
        (
            vec![
                "kubectl scale deploy/web -n shop --replicas=2",
                "kubectl delete pod/x -n kube-system",
            ],
            "low",
            "baseline-scope",
        ),
        (
            vec!["kubectl scale deploy/web -n shop --replicas=0"],
            "low",
            "baseline-high-risk",
        ),
        (
            vec!["kubectl rollout restart deploy/web -n shop"],
            "high",
            "baseline-high-risk",
        ),
    ] {
        let opinion = baseline(&input(&plan(&commands, risk))).await;
        assert!(
            ids(&opinion.deny).contains(&rule),
            "{commands:?}: {opinion:?}"
        );
    }
    let approval = baseline(&input(&plan(
        &["kubectl rollout undo deploy/web -n shop"],
        "low",
    )))
    .await;
    assert_eq!(ids(&approval.require_approval), ["baseline-approval"]);
    let manual = baseline(&input(&plan(&["kubectl drain node-1"], "low"))).await;
    assert_eq!(ids(&manual.manual), ["baseline-manual"]);
    assert!(manual.manual[0].message.contains("nodes are never changed"));
}

/// What the typed actions can't say is refused by the rules too: a second lock on the same door.
#[tokio::test]
async fn what_a_forged_input_says_is_refused() {
    let plan = plan(&["kubectl scale deploy/web -n shop --replicas=2"], "low");
    let forge = |change: &dyn Fn(&mut PolicyInput)| {
        let mut input = input(&plan);
        change(&mut input);
        input
    };
    for (forged, rule) in [
        (
            forge(&|input| input.plan.steps[0].kind = "drain".into()),
            "baseline-actions",
        ),
        (
            forge(&|input| input.plan.steps[0].target = None),
            "baseline-kinds",
        ),
        (
            forge(&|input| input.plan.steps[0].command.push_str(" --force=false")),
            "baseline-no-force",
        ),
        (
            forge(&|input| input.plan.steps = vec![input.plan.steps[0].clone(); 11]),
            "baseline-size",
        ),
        (
            forge(&|input| input.plan.rollback_steps = vec![input.plan.steps[0].clone()]),
            "",
        ),
        (
            forge(&|input| {
                let mut step = input.plan.steps[0].clone();
                step.target.as_mut().unwrap().namespace = "kube-system".into();
                input.plan.rollback_steps = vec![step];
            }),
            "baseline-scope",
        ),
        (
            forge(&|input| input.scope.namespaces.clear()),
            "baseline-scope",
        ),
    ] {
        let opinion = baseline(&forged).await;
        assert_eq!(
            ids(&opinion.deny).contains(&rule),
            !rule.is_empty(),
            "{rule}: {opinion:?}"
        );
    }
}

fn deployment(pod_spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": {"spec": pod_spec}}})
}

async fn objects(before: Value, after: Value) -> Vec<String> {
    let plan = plan(&["kubectl rollout undo deploy/web -n shop"], "low");
    let input = input(&plan).with_objects(
        Phase::Objects,
        vec![ObjectInput {
            step: 0,
            before,
            after,
            evidence: None,
        }],
    );
    ids(&baseline(&input).await.deny)
        .into_iter()
        .map(ToOwned::to_owned)
        .collect()
}

#[tokio::test]
async fn a_patch_cannot_smuggle_in_power() {
    let plain = || json!({"containers": [{"name": "app", "image": "r/web:1"}]});
    assert!(
        objects(deployment(plain()), deployment(plain()))
            .await
            .is_empty()
    );
    for power in [
        json!({"containers": [{"name": "app", "securityContext": {"privileged": true}}]}),
        json!({"containers": [{"name": "app", "securityContext": {"allowPrivilegeEscalation": true}}]}),
        json!({"containers": [{"name": "app", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]}),
        json!({"containers": [{"name": "app", "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
        json!({"containers": [{"name": "app"}], "initContainers": [{"name": "init", "securityContext": {"privileged": true}}]}),
        json!({"containers": [{"name": "app"}], "hostNetwork": true}),
        json!({"containers": [{"name": "app"}], "hostPID": true}),
        json!({"containers": [{"name": "app"}], "volumes": [{"name": "root", "hostPath": {"path": "/"}}]}),
        json!({"containers": [{"name": "app"}], "serviceAccountName": "admin"}),
    ] {
        let refused = objects(deployment(plain()), deployment(power.clone())).await;
        for rule in ["baseline-no-escalation", "baseline-never"] {
            assert!(refused.contains(&rule.to_owned()), "{power}: {refused:?}");
        }
        // What was there before may stay.
        assert!(
            objects(deployment(power.clone()), deployment(power.clone()))
                .await
                .is_empty(),
            "{power}"
        );
    }
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "other", "namespace": "shop"}, "spec": {"template": {"spec": plain()}}});
    assert!(
        objects(deployment(plain()), other)
            .await
            .contains(&"baseline-same-object".to_owned())
    );
    // An object of another shape is no pass.
    assert!(
        objects(deployment(plain()), json!({"kind": "Deployment"}))
            .await
            .contains(&"baseline-same-object".to_owned())
    );
}

#[tokio::test]
async fn the_laws_of_engines_hold() {
    let plan = plan(&["kubectl rollout undo deploy/web -n shop"], "low");
    laws::policy_engine(&RegoEngine::builtin().unwrap(), &input(&plan))
        .await
        .unwrap();
}

/// One bad step among good ones is found, wherever it stands; a plan without steps changes nothing and passes.
#[tokio::test]
async fn every_step_is_looked_at() {
    let good = "kubectl scale deploy/web-N -n shop --replicas=2";
    for bad in 0..4 {
        let commands: Vec<String> = (0..4)
            .map(|n| {
                let good = good.replace('N', &n.to_string());
                if n == bad {
                    good.replace("shop", "billing")
                } else {
                    good
                }
            })
            .collect();
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        let opinion = baseline(&input(&plan(&commands, "low"))).await;
        assert_eq!(opinion.deny.len(), 1);
        assert_eq!(opinion.deny[0].step, Some(bad));
    }
    let empty = baseline(&input(&plan(&[], "low"))).await;
    assert!(
        empty.deny.is_empty() && empty.evaluated.len() == 11,
        "{empty:?}"
    );
}

/// The floor in Rust and the baseline in Rego refuse the same for scope and risk, whatever the plan.
#[tokio::test]
async fn the_floor_and_the_baseline_agree() {
    let scope = Scope::namespaces(["shop"]).unwrap();
    let (mut refused, mut taken) = (0, 0);
    for risk in ["low", "medium", "high"] {
        for allow_high_risk in [false, true] {
            for command in [
                "scale deploy/web -n NS --replicas=2",
                "scale deploy/web -n NS --replicas=0",
                "rollout undo deploy/web -n NS",
                "delete pod/web-1 -n NS",
                "set image deploy/web app=web:2 -n NS",
                "patch deploy/web -n NS -p '{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true}}}}'",
                "patch svc/web -n NS -p '{\"spec\":{\"selector\":{\"app\":\"x\"}}}'",
                "drain node-1",
            ] {
                for namespaces in [["shop", "shop"], ["shop", "billing"], ["billing", "shop"]] {
                    let commands = namespaces.map(|namespace| {
                        let command = command.replace("NS", namespace);
                        format!("kubectl {command}")
                    });
                    let commands =
                        commands.map(|one| one.replacen("web", &format!("web{}", one.len()), 1));
                    let texts: Vec<&str> = commands
                        .iter()
                        .take(1 + usize::from(commands[0] != commands[1]))
                        .map(String::as_str)
                        .collect();
                    let plan = plan(&texts, risk);
                    let settings = Settings {
                        enabled: true,
                        allow_high_risk,
                    };
                    let input = PolicyInput::of_plan(&plan, &scope, settings);
                    let opinion = baseline(&input).await;
                    let floor = floor(&plan, &scope, settings);
                    for (ours, theirs) in [
                        ("floor-scope", "baseline-scope"),
                        ("floor-high-risk", "baseline-high-risk"),
                    ] {
                        let said =
                            |set: &[argus_core::Violation], id: &str| -> Vec<Option<usize>> {
                                set.iter()
                                    .filter(|one| one.id == id)
                                    .map(|one| one.step)
                                    .collect()
                            };
                        assert_eq!(said(&floor, ours), said(&opinion.deny, theirs), "{texts:?}");
                    }
                    if floor.is_empty() {
                        taken += 1
                    } else {
                        refused += 1
                    }
                }
            }
        }
    }
    assert!(
        refused > 50 && taken > 30,
        "{refused} refused, {taken} taken"
    );
}
