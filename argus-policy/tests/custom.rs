//! Packs of hosts: what they may say, what is refused, and that nothing which fails is an allow.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use argus_core::{Opinion, PolicyEngine, PolicyError};
use argus_policy::{Pack, PackError, RegoEngine};

use common::{input, plan};

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
        ("a step that is not in the plan", "passed contains \"acme-rule\" if true\ndeny contains {\"id\": \"acme-rule\", \"message\": \"\", \"step\": 1, \"hint\": \"\"} if true".into()),
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

/// What a rule may say in each of its entry points, and how many people it may ask for.
#[tokio::test]
async fn a_rule_speaks_where_it_may() {
    let says = async |entry_point: &str, people: &str| {
        let body = format!(
            "passed contains \"acme-rule\" if false\n{entry_point} contains {{\"id\": \"acme-rule\", \"message\": \"m\", \"step\": 0, \"hint\": \"h\"{people}}} if true"
        );
        evaluate(&body).await.map(|opinions| {
            let last = last(&opinions);
            let said = [&last.deny, &last.manual, &last.require_approval, &last.warn];
            said.map(|set| {
                set.iter()
                    .map(|violation| violation.people)
                    .collect::<Vec<_>>()
            })
        })
    };
    for (place, entry_point) in ["deny", "manual", "require_approval", "warn"]
        .into_iter()
        .enumerate()
    {
        let mut wanted = [const { Vec::new() }; 4];
        wanted[place].push(None);
        assert_eq!(
            says(entry_point, "").await.unwrap(),
            wanted,
            "{entry_point}"
        );
        let people = says(entry_point, ", \"people\": 2").await;
        if entry_point == "require_approval" {
            wanted[place] = vec![Some(2)];
            assert_eq!(people.unwrap(), wanted);
        } else {
            let problem = people.unwrap_err().to_string();
            assert!(problem.contains("only `require_approval` can"), "{problem}");
        }
    }
    for (people, fine) in [(0, false), (1, true), (9, true), (10, false)] {
        let asked = says("require_approval", &format!(", \"people\": {people}")).await;
        assert_eq!(asked.is_ok(), fine, "{people}");
    }
}

/// Rules are asked in groups; one of another phase or of other actions must not decide when a rule is asked.
#[tokio::test]
async fn each_rule_is_asked_when_it_has_to_answer() {
    let rules = |names: &str| {
        let clauses = names.split(' ').map(|name| {
            format!(
                "\n# METADATA\n# title: A test\n# custom:\n#   id: {name}\npassed contains \"{name}\" if true\ndeny contains \"{name}\" if false\n"
            )
        });
        format!(
            "package argus.packs.acme\nimport rego.v1\n{}",
            clauses.collect::<String>()
        )
    };
    let head = "name: acme\nversion: 1.0.0\ndescription: A test.\nrules:\n";
    for (manifest, asked) in [
        (
            "  - {id: a, phases: [objects]}\n  - {id: b, phases: [plan]}\n",
            &["b"] as &[_],
        ),
        (
            "  - {id: a, phases: [plan, objects]}\n  - {id: b, phases: [plan]}\n",
            &["a", "b"],
        ),
        (
            "  - {id: a, phases: [plan], actions: [patch]}\n  - {id: b, phases: [plan]}\n",
            &["b"],
        ),
        (
            "  - {id: a, phases: [plan], actions: [patch]}\n  - {id: b, phases: [plan], actions: [scale]}\n",
            &["b"],
        ),
        (
            "  - {id: a, phases: [plan], actions: [scale, patch]}\n  - {id: b, phases: [plan], actions: [patch]}\n",
            &["a"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &format!("{head}{manifest}"), &rules("a b"));
        let plan = plan(&["kubectl scale deploy/web -n shop --replicas=2"], "low");
        let opinions = load(folder.path()).unwrap().evaluate(&input(&plan)).await;
        assert_eq!(last(&opinions.unwrap()).evaluated, asked, "{manifest}");
    }
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
            "name: acme\nversion: 1\ndescription: d\nrules: [{id: acme-rule, phases: [plan]}, {id: acme-rule, phases: [objects]}]\n",
            ok,
            "lists a rule twice",
        ),
        (
            "name: 9acme\nversion: 1\ndescription: d\nrules: []\n",
            ok,
            "the name `9acme` must be",
        ),
        (
            "name: acme.b\nversion: 1\ndescription: d\nrules: []\n",
            ok,
            "the name `acme.b` must be",
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
    let opinions = engine.evaluate(&input(&plan)).await.unwrap();
    assert_eq!(last(&opinions).deny[0].id, "acme-rule");
}
