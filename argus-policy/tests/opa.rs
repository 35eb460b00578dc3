//! The real OPA as a second opinion: every pack of this repository says the same in both engines, on plans and results that
//! nobody wrote by hand. `ARGUS_TEST_INPUTS` says on how many, 10,000 by default.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use argus_core::{
    Actor, Completion, IncidentId, ObjectInput, Opinion, Phase, Plan, PolicyEngine, PolicyInput,
    Scope, Settings, Severity, Violation,
};
use argus_policy::RegoEngine;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// The built-in packs first, in their order.
const BUILTIN: usize = 4;
const PACKS: [&str; 7] = [
    "policies/baseline",
    "policies/workload_safety",
    "policies/change_freeze",
    "policies/blast_radius",
    "examples/packs/company_registry",
    "examples/packs/on_call",
    "examples/packs/team_namespaces",
];

fn command() -> impl Strategy<Value = String> {
    let namespace = select(vec![
        "shop",
        "shop-staging",
        "search",
        "payments",
        "kube-system",
    ]);
    let image = select(vec![
        "registry.example.com/web:2",
        "mirror.example.com/a/b",
        "docker.io/miner",
        "web",
    ]);
    let verb = prop_oneof![
        Just("rollout restart deploy/NAME -n NS".to_owned()),
        Just("rollout undo deploy/NAME -n NS".to_owned()),
        (0..4u32).prop_map(|n| format!("scale deploy/NAME -n NS --replicas={n}")),
        image.clone().prop_map(|image| format!("set image deploy/NAME app={image} -n NS")),
        (image.clone(), image).prop_map(|(a, b)| format!("set image deploy/NAME app={a} side={b} -n NS")),
        Just("set resources deploy/NAME -n NS --limits=memory=1Gi".to_owned()),
        Just("delete pod/NAME -n NS".to_owned()),
        Just("patch svc/NAME -n NS -p '{\"spec\":{\"selector\":{\"app\":\"x\"}}}'".to_owned()),
        Just("patch deploy/NAME -n NS -p '{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true}}}}'".to_owned()),
        Just("drain node-1".to_owned()),
        Just("get secret NAME -n NS".to_owned()),
    ];
    (verb, namespace)
        .prop_map(|(verb, namespace)| format!("kubectl {}", verb.replace("NS", namespace)))
}

/// A workload whose pods may do this and that.
fn workload(kind: &'static str, name: String, namespace: String) -> impl Strategy<Value = Value> {
    let container = (
        select(vec![
            "registry.example.com/web:1",
            "docker.io/miner",
            "web:1",
        ]),
        select(vec![
            json!(null),
            json!({}),
            json!({"privileged": true}),
            json!({"privileged": false}),
            json!({"runAsUser": 0}),
            json!({"runAsNonRoot": true}),
            json!({"allowPrivilegeEscalation": true}),
            json!({"capabilities": {"add": ["NET_ADMIN"]}}),
            json!("odd"),
        ]),
        select(vec![
            json!(null),
            json!([]),
            json!([{"hostPort": 80}]),
            json!([{"containerPort": 80}]),
        ]),
        select(vec![
            json!(null),
            json!({}),
            json!({"limits": {"memory": "1Gi"}}),
            json!({"limits": {"memory": "512Gi", "cpu": "500m"}, "requests": {"cpu": "1"}}),
            json!({"limits": {"cpu": "100"}}),
            json!({"limits": {"memory": "much"}}),
            json!({"requests": {"memory": "1073741824"}}),
        ]),
        select(vec![json!(null), json!({"httpGet": {"path": "/"}})]),
    )
        .prop_map(|(image, context, ports, resources, probe)| {
            let mut container = json!({"name": "app", "image": image});
            for (field, value) in [
                ("securityContext", context),
                ("ports", ports),
                ("resources", resources),
                ("livenessProbe", probe),
            ] {
                if !value.is_null() {
                    container[field] = value;
                }
            }
            container
        });
    let spec = (
        prop::collection::vec(container, 0..3),
        select(vec![json!(null), json!(true), json!(false), json!("yes")]),
        select(vec![json!(null), json!("default"), json!("admin")]),
        select(vec![
            json!(null),
            json!([{"name": "v", "hostPath": {"path": "/"}}]),
            json!([{"name": "v", "emptyDir": {}}]),
        ]),
    )
        .prop_map(|(containers, network, account, volumes)| {
            let mut spec = json!({"containers": containers});
            for (field, value) in [
                ("hostNetwork", network),
                ("serviceAccountName", account),
                ("volumes", volumes),
            ] {
                if !value.is_null() {
                    spec[field] = value;
                }
            }
            spec
        });
    let other = prop::bool::weighted(0.05);
    let replicas = select(vec![
        json!(null),
        json!(0),
        json!(1),
        json!(3),
        json!(500),
        json!("3"),
    ]);
    let label = select(vec!["true", "false"]);
    (spec, other, other, replicas, label).prop_map(move |(spec, renamed, moved, replicas, label)| {
        let name = if renamed { "other" } else { &name };
        let namespace = if moved { "kube-system" } else { &namespace };
        let mut object = json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": {"template": {"spec": spec}}});
        if kind != "Service" {
            object["metadata"]["labels"] = json!({"argus.dev/protected": label});
            object["spec"]["selector"] = json!({"matchLabels": {"app": label}});
        }
        if !replicas.is_null() {
            object["spec"]["replicas"] = replicas;
        }
        object
    })
}

fn input(runner: &mut TestRunner) -> PolicyInput {
    fn draw<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, runner: &mut TestRunner) -> T {
        strategy.new_tree(runner).unwrap().current()
    }
    let commands = draw(prop::collection::vec(command(), 0..5), runner);
    let rollbacks = draw(prop::collection::vec(command(), 0..2), runner);
    let step = |(index, command): (usize, &String)| json!({"description": "d", "command": command.replace("NAME", &format!("web-{index}"))});
    let steps = |commands: &[String]| commands.iter().enumerate().map(step).collect::<Vec<_>>();
    let risk = draw(select(vec!["low", "medium", "high"]), runner);
    let draft = json!({"summary": "s", "risk_level": risk, "risk_reason": "r", "steps": steps(&commands), "rollback_steps": steps(&rollbacks)});
    let completion = Completion::new(draft.to_string(), "generated");
    let plan = Plan::parse(&completion, &IncidentId::new("INC-1").unwrap()).unwrap();
    let settings = Settings {
        enabled: true,
        allow_high_risk: draw(any::<bool>(), runner),
    };
    let input = PolicyInput::of_plan(
        &plan,
        &Scope::namespaces(["shop", "shop-staging", "search"]).unwrap(),
        settings,
    );
    let mut input =
        input.at(Timestamp::from_second(draw(1_790_000_000..1_800_000_000i64, runner)).unwrap());
    input.incident.severity = draw(
        select(vec![None, Some(Severity::Low), Some(Severity::Critical)]),
        runner,
    );
    if draw(any::<bool>(), runner) {
        input = input.with_actor(Actor::user("ada").unwrap());
    }
    if draw(any::<bool>(), runner) {
        return input;
    }
    let mut objects = Vec::new();
    for (index, step) in plan.steps().iter().enumerate() {
        let Some(target) = step.action().target() else {
            continue;
        };
        let kind = select(vec![
            "Deployment",
            "Deployment",
            "Deployment",
            "Service",
            "Secret",
        ]);
        let kind = draw(kind, runner);
        let mut state = || {
            draw(
                workload(kind, target.name().into(), target.namespace().into()),
                runner,
            )
        };
        let (before, after) = (state(), state());
        let gone = draw(prop::bool::weighted(0.1), runner);
        objects.push(ObjectInput {
            step: index,
            before,
            after: if gone { Value::Null } else { after },
            evidence: None,
        });
    }
    let phase = draw(select(vec![Phase::Objects, Phase::Undo]), runner);
    input.with_objects(phase, objects)
}

/// A set of OPA's, in the order of ours.
fn sorted(set: &Value) -> Vec<Value> {
    let mut list = set.as_array().cloned().unwrap();
    list.iter_mut().for_each(Value::sort_all_objects);
    list.sort_by_key(ToString::to_string);
    list
}

fn ours(violations: &[Violation]) -> Vec<Value> {
    let bare =
        |v: &Violation| json!({"id": v.id, "message": v.message, "step": v.step, "hint": v.hint});
    sorted(&violations.iter().map(bare).collect())
}

/// The rules that OPA heard of a pack.
fn answered(sets: &Value) -> BTreeSet<String> {
    let list = |name: &str| sets[name].as_array().cloned().unwrap_or_default();
    let said = ["deny", "manual", "require_approval", "warn"]
        .into_iter()
        .flat_map(list);
    let said = said.map(|violation| violation["id"].clone());
    let ids = list("passed").into_iter().chain(said);
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_say_the_same() {
    let Some(program) = std::env::var_os("ARGUS_TEST_OPA") else {
        assert!(
            std::env::var_os("ARGUS_TEST_ALL").is_none(),
            "ARGUS_TEST_ALL is set, but there is no OPA: use `make test`"
        );
        eprintln!(
            "skipped: the comparison with the real OPA; `make test` builds it where Go is installed"
        );
        return;
    };
    let count = std::env::var("ARGUS_TEST_INPUTS").map_or(10_000, |text| text.parse().unwrap());
    let mut runner = TestRunner::deterministic();
    let inputs: Vec<PolicyInput> = (0..count).map(|_| input(&mut runner)).collect();

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut opa = Command::new(program)
        .args(PACKS.map(|pack| root.join(pack)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<String> = inputs
        .iter()
        .map(|input| serde_json::to_string(input).unwrap())
        .collect();
    let mut stdin = opa.stdin.take().unwrap();
    let writer =
        std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(stdin, "{line}")));
    let output = opa.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "the packs don't pass `opa check --strict`"
    );
    let theirs: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(theirs.len(), inputs.len());

    let mut engine = RegoEngine::builtin().unwrap();
    for pack in PACKS.iter().skip(BUILTIN) {
        engine = engine.with_pack(root.join(pack)).unwrap();
    }
    let (mut denied, mut failed, mut allowed) = (0, 0, 0);
    for (input, theirs) in inputs.iter().zip(&theirs) {
        let opinions = match engine.evaluate(input).await {
            Ok(opinions) => opinions,
            Err(error) => {
                // The rule that gave no answer here gave none there.
                let quoted: Vec<&str> = error.problem.split('`').collect();
                let theirs = &theirs[quoted[1]];
                let same = if error.problem.contains("gave no answer") {
                    !answered(theirs).contains(quoted[3])
                } else {
                    theirs["error"].is_string()
                };
                assert!(same, "{}, OPA says {theirs}: {input:?}", error.problem);
                failed += 1;
                continue;
            }
        };
        for opinion in &opinions {
            let Opinion {
                pack,
                deny,
                manual,
                require_approval,
                warn,
                ..
            } = opinion;
            let sets = &theirs[pack];
            if opinion.evaluated == [format!("{pack}-has-no-rule-for-this-plan")] {
                continue;
            }
            assert_eq!(sets["error"], Value::Null, "{pack}: {input:?}");
            // Rules that don't apply to this plan are not asked here, OPA is asked for all of them.
            let asked = |id: &str| opinion.evaluated.iter().any(|rule| rule == id);
            let heard = answered(sets);
            assert!(
                opinion.evaluated.iter().all(|rule| heard.contains(rule)),
                "{pack}: {input:?}"
            );
            for (name, set) in [
                ("deny", deny),
                ("manual", manual),
                ("require_approval", require_approval),
                ("warn", warn),
            ] {
                let theirs = sorted(&sets[name]).into_iter();
                let theirs: Vec<Value> = theirs
                    .filter(|violation| asked(violation["id"].as_str().unwrap()))
                    .collect();
                assert_eq!(ours(set), theirs, "{pack}, {name}: {input:?}");
            }
        }
        if opinions.iter().all(|opinion| opinion.deny.is_empty()) {
            allowed += 1;
        } else {
            denied += 1;
        }
    }
    eprintln!(
        "{count} inputs, the same in both engines: {allowed} allowed, {denied} denied, {failed} not judged"
    );
    assert!(
        allowed > count / 50 && denied > count / 50,
        "{allowed} allowed, {denied} denied"
    );
}
