//! The built-in pack refuses what the mission says, and nothing that fails is an allow.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use argus_core::{
    Completion, IncidentId, ObjectInput, Opinion, Phase, Plan, PolicyEngine, PolicyError,
    PolicyInput, Scope, Settings, floor, testing::laws,
};
use argus_policy::{Pack, PackError, RegoEngine};
use serde_json::{Value, json};

fn plan(commands: &[&str], risk: &str) -> Plan {
    let steps: Vec<Value> = commands
        .iter()
        .map(|command| json!({"description": "d", "command": command}))
        .collect();
    let draft = json!({"summary": "s", "risk_level": risk, "risk_reason": "r", "rollback_steps": [], "steps": steps});
    Plan::parse(
        &Completion::new(draft.to_string(), "test"),
        &IncidentId::new("INC-1").unwrap(),
    )
    .unwrap()
}

fn input(plan: &Plan) -> PolicyInput {
    PolicyInput::of_plan(
        plan,
        &Scope::namespaces(["shop"]).unwrap(),
        Settings::default(),
    )
}

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
    assert_eq!(opinion.evaluated.len(), 8);
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
        assert_eq!(
            objects(deployment(plain()), deployment(power.clone())).await,
            ["baseline-no-escalation"],
            "{power}"
        );
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

const MANIFEST: &str = "name: acme\nversion: 1.0.0\ndescription: A test.\nrules:\n  - {id: acme-rule, phases: [plan]}\n";

fn write(folder: &Path, manifest: &str, rego: &str) {
    let metadata = "\n# METADATA\n# title: A test\n# custom:\n#   id: acme-rule\n";
    let rego = if rego.contains("# METADATA") {
        rego.into()
    } else {
        format!("{rego}{metadata}")
    };
    std::fs::write(folder.join("pack.yaml"), manifest).unwrap();
    std::fs::write(folder.join("acme.rego"), rego).unwrap();
}

/// A pack whose tests nobody asks.
fn load(folder: &Path) -> Result<RegoEngine, PackError> {
    RegoEngine::builtin().unwrap().with(Pack::load(folder)?)
}

fn engine(body: &str) -> Result<RegoEngine, PackError> {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        MANIFEST,
        &format!("package argus.packs.acme\n\nimport rego.v1\n\n{body}\n"),
    );
    load(folder.path())
}

/// What the only custom pack says.
fn last(opinions: &[Opinion]) -> &Opinion {
    opinions.last().unwrap()
}

async fn evaluate(body: &str) -> Result<Vec<Opinion>, PolicyError> {
    let plan = plan(&["kubectl scale deploy/web -n shop --replicas=2"], "low");
    engine(body).unwrap().evaluate(&input(&plan)).await
}

/// Each of these would be a silent allow if only `deny` were read.
#[tokio::test]
async fn nothing_that_fails_is_an_allow() {
    let deny = "deny contains {\"id\": \"acme-rule\", \"message\": \"m\", \"step\": null, \"hint\": \"h\"} if";
    let never = "passed contains \"acme-rule\" if false\n";
    for (what, body) in [
        ("a misspelt field", format!("passed contains \"acme-rule\" if input.plan.steps[0].kindz != \"scale\"\n{deny} {{ some step in input.plan.steps; step.kindz == \"scale\" }}")),
        ("a misspelt field behind `not`", format!("passed contains \"acme-rule\" if {{ some step in input.plan.steps; not startswith(step.kindz, \"x\") }}\n{deny} false")),
        ("one in a `not` that another `not` is about", format!("passed contains \"acme-rule\" if {{ some step in input.plan.steps; not count([1 | not startswith(step.kindz, \"x\")]) == 0 }}\n{deny} false")),
        ("a rule that says nothing", format!("{never}{deny} false")),
        ("a division by zero", format!("passed contains \"acme-rule\" if 1 / (count(input.plan.steps) - 1) > 0\n{deny} false")),
        ("data that isn't there", format!("passed contains \"acme-rule\" if data.argus_data.acme.most > 1\n{deny} false")),
        ("an invalid regular expression", format!("passed contains \"acme-rule\" if not regex.match(\"(\", input.plan.summary)\n{deny} false")),
        ("texts that aren't texts", format!("passed contains \"acme-rule\" if not startswith(input.plan.steps[0].index, \"1\")\n{deny} false")),
        ("no step to look at", format!("passed contains \"acme-rule\" if some step in input.plan.rollback_steps\n{deny} {{ some step in input.plan.rollback_steps; step.kind != \"scale\" }}")),
        ("a malformed violation", "passed contains \"acme-rule\" if true\ndeny contains \"acme-rule\" if true".into()),
        ("an id that is not in the manifest", "passed contains \"acme-rule\" if true\ndeny contains {\"id\": sprintf(\"%sx\", [\"acme-rule\"]), \"message\": \"\", \"step\": null, \"hint\": \"\"} if true".into()),
        ("an id that is no text", "passed contains x if { x := [\"acme-rule\"] }\ndeny contains \"acme-rule\" if false".into()),
        ("a step that is not in the plan", "passed contains \"acme-rule\" if true\ndeny contains {\"id\": \"acme-rule\", \"message\": \"\", \"step\": 7, \"hint\": \"\"} if true".into()),
        ("a panic of the engine", format!("passed contains \"acme-rule\" if object.subset([1], [])\n{deny} false")),
        ("a rule without end", format!("passed contains \"acme-rule\" if count([1 | some a in many; some b in many; some c in many; some d in many; a == b; c == d]) > 0\nmany := [concat(x, [y, z]) | some x in letters; some y in letters; some z in letters]\nletters := split(\"abcdefghijkl\", \"\")\n{deny} false")),
        ("an entry point that is no set", "passed contains \"acme-rule\" if true\ndeny := \"acme-rule\"".into()),
    ] {
        match evaluate(&body).await {
            Err(error) => assert!(error.to_string().contains("acme"), "{what}: {error}"),
            Ok(opinions) => panic!("{what} gave {opinions:?}"),
        }
    }
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
        empty.deny.is_empty() && empty.evaluated.len() == 8,
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

#[tokio::test]
async fn a_pack_can_tighten_and_never_loosen() {
    let open = evaluate("passed contains \"acme-rule\" if true\ndeny contains {\"id\": \"acme-rule\", \"message\": \"m\", \"step\": null, \"hint\": \"h\"} if false").await;
    assert!(open.unwrap().iter().all(|opinion| opinion.deny.is_empty()));
    let body = "passed contains \"acme-rule\" if false\ndeny contains {\"id\": \"acme-rule\", \"message\": \"no scaling\", \"step\": 0, \"hint\": \"h\"} if input.plan.steps[0].kind == \"scale\"";
    let closed = evaluate(body).await.unwrap();
    assert_eq!(closed.len(), 5);
    assert_eq!(last(&closed).deny[0].message, "no scaling");
    assert_ne!(
        engine(body).unwrap().revision(),
        RegoEngine::builtin().unwrap().revision()
    );
}

#[test]
fn a_folder_that_is_no_pack_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let load = || {
        load(folder.path())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert!(load().contains("pack.yaml"), "{}", load());
    let ok = "package argus.packs.acme\nimport rego.v1\npassed contains \"acme-rule\" if true\ndeny contains \"acme-rule\" if false\n";
    for (manifest, rego, problem) in [
        ("name: [", ok, "malformed"),
        (
            "name: acme\nversion: 1\ndescription: d\nrules: []\n",
            ok,
            "lists no rules",
        ),
        (
            MANIFEST,
            "package argus.packs.baseline\nimport rego.v1\n",
            "must be `data.argus.packs.acme`",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\ndeny contains \"acme-rule\" if false\n",
            "it could never pass",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\npassed contains \"acme-rule\" if true\n",
            "it could never object",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\npassed contains \"acme-rule\" if true\ndeny contains 1 if false\n",
            "acme.rego:4: this clause of `deny` names no rule",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\npassed contains \"acme-rule\" if count(deny) == 0\ndeny contains \"acme-rule\" if false\n",
            "`deny` is an answer",
        ),
        (
            "name: acme\nversion: 1\ndescription: d\nrules: [{id: acme-rule, phases: [plan], actions: [scales]}]\n",
            ok,
            "names the action `scales`",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\n# METADATA\n# title: Another\n# custom:\n#   id: other\npassed contains \"acme-rule\" if true\ndeny contains \"acme-rule\" if false\n",
            "METADATA of `other`",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\n# METADATA\n# title: None\npassed contains \"acme-rule\" if true\ndeny contains \"acme-rule\" if false\n",
            "has no METADATA",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\ndeny contains if {",
            "acme.rego",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\npassed contains \"acme-rule\" if count(input.plan.stepz) < 5\ndeny contains \"acme-rule\" if false\n",
            "acme.rego:3: `input.plan` has no field `stepz`",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\npassed contains \"acme-rule\" if true\ndeny contains \"acme-rule\" if http.send({\"url\": \"x\"}).body\n",
            "there is no function `http.send`",
        ),
        (
            MANIFEST,
            "package argus.packs.acme\nimport rego.v1\ndefault ok := false\ndefault ok := true\npassed contains \"acme-rule\" if ok\ndeny contains \"acme-rule\" if false\n",
            "acme.rego:4: `ok` has a default already",
        ),
        (
            "name: baseline\nversion: 1\ndescription: d\nrules: [{id: acme-rule, phases: [plan]}]\n",
            "package argus.packs.baseline\nimport rego.v1\npassed contains \"acme-rule\" if true\ndeny contains \"acme-rule\" if false\n",
            "already is a pack",
        ),
    ] {
        write(folder.path(), manifest, rego);
        assert!(load().contains(problem), "{problem}: {}", load());
    }
    // Deep enough that the engine would not come to an end.
    let deep = format!("{ok}x := {}1{}\n", "[".repeat(40), "]".repeat(40));
    write(folder.path(), MANIFEST, &deep);
    assert!(
        load().contains("acme.rego:5: brackets stand more than 16 deep"),
        "{}",
        load()
    );
    // So long a chain that the host's stack would not hold it.
    let chain: String = (0..3000)
        .map(|n| format!("f{n}(x) := f{}(x)\n", n + 1))
        .collect();
    write(
        folder.path(),
        MANIFEST,
        &format!("{ok}{chain}f3000(x) := x\n"),
    );
    assert!(
        load().contains("reaches another through more than 50 rules"),
        "{}",
        load()
    );
    // Not text, and too much of it.
    write(folder.path(), MANIFEST, ok);
    std::fs::write(folder.path().join("acme.rego"), [0xff, 0xfe]).unwrap();
    assert!(load().contains("acme.rego` can't be read"), "{}", load());
    write(folder.path(), MANIFEST, ok);
    std::fs::write(folder.path().join("data.json"), " ".repeat((1 << 20) + 1)).unwrap();
    assert!(load().contains("is too large"), "{}", load());
}

/// Each of these would end the host: the engine follows a recursive rule until the stack is used up.
#[test]
fn what_does_not_end_is_refused_at_load() {
    let rest = "passed contains \"acme-rule\" if true\ndeny contains \"acme-rule\" if false\n";
    for (what, body, problem) in [
        (
            "a function",
            "down(n) := down(n - 1)",
            "`down` reaches itself",
        ),
        ("two rules", "ping if pong\npong if ping", "reaches itself"),
        (
            "a detour",
            "a(x) := b(x)\nb(x) := y if {\n\ty := c(x)\n}\nc(x) := a(x) + 1",
            "reaches itself",
        ),
        (
            "a default",
            "default r := false\nr if { not r }",
            "`r` reaches itself",
        ),
        (
            "an entry point",
            "warn contains \"acme-rule\" if some w in warn",
            "`warn` is an answer",
        ),
        (
            "a path",
            "loop if data.argus.packs.acme.loop",
            "may be read",
        ),
        (
            "a path in brackets",
            "loop if data[\"argus\"].packs.acme.loop",
            "may be read",
        ),
        ("all packs", "others := data", "may be read"),
        (
            "an import",
            "import data.argus.packs.baseline\nx := baseline.deny",
            "may be read",
        ),
    ] {
        let problem_found = engine(&format!("{body}\n{rest}"))
            .err()
            .map(|error| error.to_string());
        assert!(
            problem_found
                .as_ref()
                .is_some_and(|text| text.contains(problem)),
            "{what}: {problem_found:?}"
        );
    }
    // Fields and strings with the name of a rule are no calls.
    let fine = "scaled if input.plan.steps[0].scaled == \"scaled\"\nsquare(x) := x * x\nn := square(square(2)) + data.argus_data.n\n";
    assert!(engine(&format!("{fine}{rest}")).is_ok());
}

/// The authors' page shows a pack that works.
#[tokio::test]
async fn the_pack_of_the_authors_page_works() {
    let page = include_str!("../../policies/README.md");
    let rego = page
        .split("```rego\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manifest = MANIFEST.replace("acme-rule", "acme-registry");
    write(folder.path(), &manifest, rego);
    let engine = load(folder.path()).unwrap();
    for (image, denied) in [
        ("registry.acme.example/web:2", false),
        ("evil.example/web:2", true),
    ] {
        let plan = plan(
            &[&format!(
                "kubectl set image deployment/web -n shop app={image}"
            )],
            "low",
        );
        let opinions = engine.evaluate(&input(&plan)).await.unwrap();
        assert_eq!(
            !last(&opinions).deny.is_empty(),
            denied,
            "{image}: {opinions:?}"
        );
    }
}

#[tokio::test]
async fn data_cannot_stand_where_a_rule_stands() {
    let folder = tempfile::tempdir().unwrap();
    let rego = "package argus.packs.acme\nimport rego.v1\npassed contains \"acme-rule\" if false\ndeny contains {\"id\": \"acme-rule\", \"message\": \"m\", \"step\": null, \"hint\": \"h\"} if data.argus_data.acme.closed\n";
    write(folder.path(), MANIFEST, rego);
    std::fs::write(folder.path().join("data.json"), r#"{"closed": true, "argus": {"packs": {"acme": {"deny": []}}}, "packs": {"acme": {"deny": []}}}"#).unwrap();
    let engine = load(folder.path()).unwrap();
    let plan = plan(&["kubectl scale deploy/web -n shop --replicas=2"], "low");
    assert_eq!(
        ids(&last(&engine.evaluate(&input(&plan)).await.unwrap()).deny),
        ["acme-rule"]
    );
}
