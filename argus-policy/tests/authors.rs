//! The tool for pack authors, as they use it: the program, its output and its exit codes.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use argus_core::PolicyInput;
use serde_json::{Value, json};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_argus-policy"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Made with `openssl genpkey -algorithm ed25519` for this test.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIMGjoTER1M//z/0jvmDtA6H4dVv3c5TGzxzr453t0N1G\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPhRMMjUwMCKoVFLgTmg7Sd3h7RrFoxubj+B9D/s0LQQ=\n-----END PUBLIC KEY-----\n";

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    /// A fresh pack as `new` makes it.
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let (code, out, error) = run(&["new", "acme", &desk.pack()]);
        assert_eq!(code, 0, "{error}");
        assert!(out.contains("argus-policy test"), "{out}");
        desk
    }

    fn pack(&self) -> String {
        self.folder.path().join("acme").display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("acme").join(name)
    }

    fn edit(&self, name: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.file(name)).unwrap();
        assert!(text.contains(old), "{name} has no {old}");
        std::fs::write(self.file(name), text.replace(old, new)).unwrap();
    }

    fn plan(&self, command: &str) -> String {
        let draft = json!({"summary": "s", "risk_level": "low", "risk_reason": "r", "rollback_steps": [],
            "steps": [{"description": "d", "command": command}]});
        let path = self.folder.path().join("plan.json");
        std::fs::write(&path, draft.to_string()).unwrap();
        path.display().to_string()
    }
}

#[test]
fn a_new_pack_is_fine_and_passes_its_tests() {
    let desk = Desk::new();
    let (code, out, _) = run(&["check", &desk.pack()]);
    assert_eq!(code, 0);
    assert!(out.starts_with("acme: fine, revision sha256:"), "{out}");
    let (code, out, _) = run(&["test", &desk.pack()]);
    assert_eq!((code, out.matches("PASS").count()), (0, 3), "{out}");
    // Nothing is written over.
    let (code, _, error) = run(&["new", "acme", &desk.pack()]);
    assert_eq!(code, 2);
    assert!(error.contains("is there already"), "{error}");
}

#[test]
fn a_plan_is_allowed_denied_or_left_to_a_person() {
    let desk = Desk::new();
    for (command, code, verdict) in [
        ("kubectl scale deploy/web -n shop --replicas=2", 0, "allow"),
        ("kubectl scale deploy/web -n shop --replicas=6", 1, "deny"),
        ("kubectl scale deploy/web -n other --replicas=2", 1, "deny"),
        (
            "kubectl rollout undo deploy/web -n shop",
            3,
            "require_approval",
        ),
    ] {
        let plan = desk.plan(command);
        let (found, out, error) = run(&["eval", "--plan", &plan, "-n", "shop", &desk.pack()]);
        assert_eq!(found, code, "{command}: {out}{error}");
        let evaluation: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(evaluation["verdict"], verdict, "{command}");
        let (found, out, _) = run(&["explain", "--plan", &plan, "-n", "shop", &desk.pack()]);
        assert_eq!(found, code);
        assert!(out.contains("acme-copies"), "{out}");
    }
    let plan = desk.plan("rm -rf /");
    let (code, _, error) = run(&["eval", "--plan", &plan, "-n", "shop"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("step 1") && error.contains("is not kubectl"),
        "{error}"
    );
}

#[test]
fn mistakes_are_named_with_file_and_line() {
    for (file, old, new, says) in [
        (
            "acme.rego",
            "input.plan.steps {",
            "input.plan.stepz {",
            "acme.rego:15: `input.plan` has no field `stepz`",
        ),
        (
            "acme.rego",
            "input.plan.steps {",
            "input.stepz {",
            "`input` has no field `stepz`",
        ),
        (
            "acme.rego",
            "step.replicas <= most",
            "step.replicas <= mostt",
            "acme.rego:34",
        ),
        (
            "acme.rego",
            "data.argus_data.acme",
            "data.other",
            "of `data` only `data.argus_data` may be read",
        ),
        (
            "acme.rego",
            "step.replicas <= most",
            "few_copies(step)",
            "rules must not be recursive",
        ),
        (
            "acme.rego",
            "deny contains",
            "denied contains",
            "could never object",
        ),
        (
            "acme.rego",
            "argus.packs.acme",
            "argus.packs.other",
            "it must be `data.argus.packs.acme`",
        ),
        (
            "acme.rego",
            "import rego.v1",
            "import rego.v1 }",
            "acme.rego",
        ),
        (
            "acme.rego",
            "sprintf(\"step",
            "sprintff(\"step",
            "acme.rego:23: there is no function `sprintff`",
        ),
        (
            "acme.rego",
            "few_copies(step) if step.kind != \"scale\"",
            "few_copies(step) if startswith(step.kind)",
            "`startswith` takes 2 values, it is given 1",
        ),
        (
            "acme.rego",
            "few_copies(step) if step.kind != \"scale\"",
            "few_copies(step) if step.index in numbers.range(1, 50000000)",
            "`numbers.range` may not be called",
        ),
        (
            "acme.rego",
            "#   id: acme-copies",
            "#   id: acme-other",
            "METADATA of `acme-other`",
        ),
        ("pack.yaml", "phases:", "phase:", "unknown field"),
        (
            "pack.yaml",
            "[scale]",
            "[scales]",
            "names the action `scales`",
        ),
        (
            "data.json",
            "5",
            "0",
            "at `/most_copies`: 0 is less than the minimum of 1",
        ),
        ("data.json", "5", "5,", "data.json"),
    ] {
        let desk = Desk::new();
        desk.edit(file, old, new);
        let (code, _, error) = run(&["check", &desk.pack()]);
        assert_eq!(code, 2, "{new}");
        assert!(error.contains(says), "{new}: {error}");
    }
}

#[test]
fn a_test_that_can_not_fail_is_refused() {
    let desk = Desk::new();
    desk.edit(
        "acme_test.rego",
        "test_too_many_copies_are_denied",
        "test_a_few_copies_pass",
    );
    let (code, _, error) = run(&["test", &desk.pack()]);
    assert_eq!(code, 2);
    assert!(
        error.contains("stands at") && error.contains("a name of its own"),
        "{error}"
    );

    // A rule that can fall silent, and a pack without tests.
    let desk = Desk::new();
    let idle = "package argus.packs.acme\n\nimport rego.v1\n\ntest_nothing if count(deny) == 0 with input as {\"plan\": {\"steps\": []}}\n";
    std::fs::write(desk.file("acme_test.rego"), idle).unwrap();
    let (code, out, _) = run(&["test", &desk.pack()]);
    assert_eq!(code, 1);
    assert!(
        out.contains("no test goes red if the rule `acme-copies` never objects"),
        "{out}"
    );
    assert!(
        out.contains("no test goes red if the rule `acme-copies` never passes"),
        "{out}"
    );
    std::fs::remove_file(desk.file("acme_test.rego")).unwrap();
    let (code, out, _) = run(&["test", &desk.pack()]);
    assert_eq!(code, 1);
    assert!(out.contains("it has no tests"), "{out}");
}

#[test]
fn a_broken_rule_fails_its_tests_and_junit_says_so() {
    let desk = Desk::new();
    desk.edit("acme.rego", "step.replicas <= most", "step.replicas > most");
    let report = desk.folder.path().join("junit.xml").display().to_string();
    let (code, out, _) = run(&["test", &desk.pack(), "--junit", &report]);
    assert_eq!(code, 1);
    assert!(
        out.contains("acme: test_too_many_copies_are_denied"),
        "{out}"
    );
    let xml = std::fs::read_to_string(report).unwrap();
    assert!(
        xml.contains("<testcase name=\"test_too_many_copies_are_denied\"><failure"),
        "{xml}"
    );
}

#[test]
fn a_case_has_objects_a_time_and_a_configuration() {
    let desk = Desk::new();
    let plan = desk.plan("kubectl scale deploy/web -n shop --replicas=2");
    let write = |name: &str, text: &str| {
        let path = desk.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let config = write(
        "config.yaml",
        "namespaces: [shop]\nparameters:\n  change_freeze:\n    weekly:\n      - {days: [friday], from: '16:00', to: '24:00', reason: the weekend}\n",
    );
    let eval = |more: &[&str]| {
        let mut arguments = vec!["eval", "--plan", &plan, "--config", &config];
        arguments.extend(more);
        let (code, out, error) = run(&arguments);
        (code, out + &error)
    };
    let pack = desk.pack();
    let monday = ["--time", "2026-11-23T17:00:00Z"];
    let friday = ["--time", "2026-11-27T17:00:00Z"];
    assert_eq!(eval(&monday).0, 0);
    let (code, out) = eval(&friday);
    assert!(code == 1 && out.contains("freeze-weekly"), "{out}");
    let one = write(
        "one.yaml",
        "namespaces: [shop]\nparameters:\n  acme: {most_copies: 1}\n",
    );
    let (code, out, _) = run(&["eval", "--plan", &plan, "--config", &one, &pack]);
    assert!(code == 1 && out.contains("acme-copies"), "{out}");
    let (code, _, error) = run(&["eval", "--plan", &plan, "--config", &one]);
    assert_eq!(code, 2);
    assert!(error.contains("no pack named `acme`"), "{error}");

    let object = |replicas| json!({"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": replicas, "template": {"spec": {"containers": []}}}});
    let objects = json!([{"step": 0, "before": object(1), "after": object(500)}]).to_string();
    let objects = write("objects.json", &objects);
    let (code, out) = eval(&["--objects", &objects, monday[0], monday[1]]);
    assert!(code == 1 && out.contains("workload-replicas"), "{out}");

    let config = write("odd.yaml", "namespace: shop\n");
    let (code, _, error) = run(&["eval", "--plan", &plan, "--config", &config]);
    assert_eq!(code, 2);
    assert!(
        error.contains("odd.yaml") && error.contains("namespace"),
        "{error}"
    );
}

#[test]
fn packs_are_signed_and_coverage_is_printed() {
    let desk = Desk::new();
    let pack = desk.pack();
    let key = |name: &str, text: &str| {
        let path = desk.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let private = key("private.pem", PRIVATE);
    let public = key("public.pem", PUBLIC);
    let (code, _, error) = run(&["check", "--key", &public, &pack]);
    assert!(code == 2 && error.contains("argus-policy sign"), "{error}");
    assert_eq!(run(&["sign", "--key", &private, &pack]).0, 0);
    assert_eq!(run(&["check", "--key", &public, &pack]).0, 0);

    desk.edit("acme.rego", "few_copies(step) if step.kind != \"scale\"", "few_copies(step) if step.kind != \"scale\"\n\nfew_copies(step) if {\n\tstep.kind == \"none\"\n\tstep.replicas\n}");
    let (code, out, _) = run(&["test", "--coverage", &pack]);
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("no test reaches") && out.contains("acme.rego:34"),
        "{out}"
    );
}

#[test]
fn the_packs_of_this_repository_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for pack in [
        "policies/baseline",
        "policies/blast_radius",
        "policies/change_freeze",
        "policies/workload_safety",
        "examples/packs/company_registry",
        "examples/packs/on_call",
        "examples/packs/pinned_images",
        "examples/packs/team_namespaces",
    ] {
        let folder = root.join(pack).display().to_string();
        let (code, out, error) = run(&["test", &folder]);
        assert_eq!(code, 0, "{pack}: {out}{error}");
    }
}

#[test]
fn the_schema_of_the_input_is_the_one_that_is_published() {
    let (code, out, _) = run(&["schema"]);
    assert_eq!(code, 0);
    let published = include_str!("../policies/input.schema.json");
    assert_eq!(
        out, published,
        "run `argus-policy schema > policies/input.schema.json`"
    );
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        PolicyInput::schema()
    );
}
