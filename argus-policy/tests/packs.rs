//! What hosts and authors do with packs: parameters, signatures, replacing them, Gatekeeper templates.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};

use argus_core::{ObjectInput, Opinion, Phase, PolicyEngine, PolicyInput};
use argus_policy::{Pack, PackKey, PolicySwitch, RegoEngine, Suite, sign};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use common::{input, plan};

fn asked(commands: &[&str]) -> PolicyInput {
    input(&plan(commands, "low"))
}

fn scale() -> PolicyInput {
    asked(&["kubectl scale deploy/web -n shop --replicas=3"])
}

async fn denied_by(engine: &RegoEngine, input: &PolicyInput) -> Vec<String> {
    let opinions = engine.evaluate(input).await.unwrap();
    let denied = opinions.iter().flat_map(|opinion| &opinion.deny);
    denied.map(|violation| violation.id.clone()).collect()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A copy of a pack of this repository, to be changed.
fn copy(pack: &str) -> (tempfile::TempDir, PathBuf) {
    fn copy_all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy_all(&path, &target);
            } else {
                std::fs::copy(&path, target).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join(Path::new(pack).file_name().unwrap());
    copy_all(&root().join(pack), &target);
    (folder, target)
}

#[tokio::test]
async fn a_host_sets_parameters_that_fit() {
    let engine = RegoEngine::builtin().unwrap();
    let before = engine.revision();
    let freeze = json!({"windows": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-03T00:00:00Z", "reason": "nobody is here"}]});
    let engine = engine
        .with_parameters("change_freeze", &object(freeze))
        .unwrap();
    assert_ne!(engine.revision(), before, "an approval is bound to them");
    let christmas: Timestamp = "2026-12-24T18:00:00Z".parse().unwrap();
    let spring: Timestamp = "2027-04-01T12:00:00Z".parse().unwrap();
    assert_eq!(
        denied_by(&engine, &scale().at(christmas)).await,
        ["freeze-windows"]
    );
    assert!(denied_by(&engine, &scale().at(spring)).await.is_empty());

    for (pack, parameters, says) in [
        (
            "change_freeze",
            json!({"windows": [{"from": "yesterday"}]}),
            "at `/windows/0`",
        ),
        (
            "blast_radius",
            json!({"most_object": 3}),
            "'most_object' was unexpected",
        ),
        (
            "blast_radius",
            json!({"most_objects": 0}),
            "at `/most_objects`: 0 is less than the minimum of 1",
        ),
        (
            "baseline",
            json!({"max_steps": 1000}),
            "its manifest has no `parameters`",
        ),
        ("nobody", json!({}), "there is no pack named `nobody`"),
    ] {
        let error = RegoEngine::builtin()
            .unwrap()
            .with_parameters(pack, &object(parameters))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_rule_is_asked_only_about_what_it_names() {
    let engine = RegoEngine::builtin()
        .unwrap()
        .with_pack(root().join("examples/packs/company_registry"))
        .unwrap();
    let said = |opinions: Vec<Opinion>| opinions.last().unwrap().evaluated.clone();
    let scaled = said(engine.evaluate(&scale()).await.unwrap());
    assert_eq!(scaled, ["company_registry-has-no-rule-for-this-plan"]);
    let image = asked(&["kubectl set image deploy/web -n shop app=docker.io/miner"]);
    assert_eq!(
        said(engine.evaluate(&image).await.unwrap()),
        ["registry-of-commands"]
    );
    assert_eq!(denied_by(&engine, &image).await, ["registry-of-commands"]);
    // A rollback counts too.
    let mut rollback = scale();
    rollback.plan.rollback_steps = image.plan.steps;
    assert_eq!(
        said(engine.evaluate(&rollback).await.unwrap()),
        ["registry-of-commands"]
    );
}

#[test]
fn a_pack_that_its_tests_do_not_hold_is_not_loaded() {
    let (_keep, folder) = copy("examples/packs/on_call");
    let rego = folder.join("on_call.rego");
    let text = std::fs::read_to_string(&rego).unwrap();
    std::fs::write(
        &rego,
        text.replace("count(restarts) > 1", "count(restarts) > 2"),
    )
    .unwrap();
    let load = || {
        let engine = RegoEngine::builtin().unwrap().with_pack(&folder);
        engine.err().map(|error| error.to_string())
    };
    assert!(
        load().is_some_and(|error| error.contains("test_two_restarts_are_too_many")),
        "{:?}",
        load()
    );
    // Without its tests too.
    std::fs::write(rego, text).unwrap();
    assert_eq!(load(), None);
    std::fs::remove_file(folder.join("on_call_test.rego")).unwrap();
    assert!(
        load().is_some_and(|error| error.contains("it has no tests")),
        "{:?}",
        load()
    );
}

/// Made with `openssl genpkey -algorithm ed25519` for this test; the second pair is somebody else's.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIMGjoTER1M//z/0jvmDtA6H4dVv3c5TGzxzr453t0N1G\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPhRMMjUwMCKoVFLgTmg7Sd3h7RrFoxubj+B9D/s0LQQ=\n-----END PUBLIC KEY-----\n";
const OTHER: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAcTTrSCsipZjnD3y3TYM0LpCqgiWsAyOmEpfTkJKTHHU=\n-----END PUBLIC KEY-----\n";

#[test]
fn a_host_that_names_keys_takes_signed_packs_only() {
    let (_keep, folder) = copy("examples/packs/team_namespaces");
    let load = |keys: &[&str]| {
        let keys = keys.iter().map(|key| PackKey::from_pem(key).unwrap());
        let engine = RegoEngine::builtin().unwrap().trusting(keys);
        engine.with_pack(&folder).map(|engine| engine.packs().len())
    };
    assert!(load(&[PUBLIC]).is_err(), "not signed yet");
    sign(&folder, PRIVATE).unwrap();
    assert_eq!(load(&[OTHER, PUBLIC]).unwrap(), 5);
    let says = |error: argus_policy::PackError| error.to_string();
    assert!(says(load(&[OTHER]).unwrap_err()).contains("is not signed by a key"));
    assert!(load(&[]).is_err(), "no key trusts nothing");

    // Every file that decides is signed.
    for file in ["team_namespaces.rego", "pack.yaml", "data.json"] {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.clone() + "\n").unwrap();
        assert!(load(&[PUBLIC]).is_err(), "{file} was changed");
        std::fs::write(&path, text).unwrap();
        assert!(load(&[PUBLIC]).is_ok());
    }
    std::fs::write(
        folder.join("more.rego"),
        "package argus.packs.team_namespaces\n",
    )
    .unwrap();
    assert!(load(&[PUBLIC]).is_err(), "a file was added");

    let error = PackKey::from_pem(PRIVATE).unwrap_err().to_string();
    assert!(error.contains("no public Ed25519 key"), "{error}");
    assert!(sign(&folder, PUBLIC).is_err());
}

const FOLLOWS_ITSELF: &str = "package argus.packs.team_namespaces\n\nfollow(x) := follow(x)\n\ntest_it_follows if follow(1)\n";

#[test]
fn what_a_signature_is_not_for_does_not_run() {
    let (_keep, folder) = copy("examples/packs/team_namespaces");
    sign(&folder, PRIVATE).unwrap();
    let load = || {
        let engine = RegoEngine::builtin().unwrap();
        let engine = engine.trusting([PackKey::from_pem(PUBLIC).unwrap()]);
        engine.with_pack(&folder).map(|engine| engine.packs().len())
    };
    // Whoever can add a file to a signed pack gets nothing of it evaluated, or even read.
    for (name, text) in [
        ("more_test.rego", FOLLOWS_ITSELF),
        ("more_test.rego", "this is no Rego"),
        ("more_test.json", "{"),
        (
            "suite.yaml",
            "tests: [{name: x, template: /etc/passwd, constraint: /etc/passwd}]",
        ),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        assert_eq!(load().unwrap(), 5, "{name}");
        assert!(
            RegoEngine::builtin().unwrap().with_pack(&folder).is_err(),
            "{name}"
        );
        std::fs::remove_file(&path).unwrap();
    }
    // What isn't held by its tests is not signed.
    let (_keep, folder) = copy("examples/packs/team_namespaces");
    std::fs::remove_file(folder.join("team_namespaces_test.rego")).unwrap();
    let error = sign(&folder, PRIVATE).unwrap_err().to_string();
    assert!(
        error.contains("does not pass its tests: it has no tests"),
        "{error}"
    );
    assert!(!folder.join("pack.sig").exists());
}

#[test]
fn tests_are_held_to_what_packs_are_held_to_before_they_run() {
    for (text, says) in [
        (
            FOLLOWS_ITSELF,
            "more_test.rego:3: the rule `follow` reaches itself: rules must not be recursive",
        ),
        (
            "package argus.packs.team_namespaces\n\na(x) := b(x)\n\nb(x) := a(x)\n\ntest_a if a(1)\n",
            "rules must not be recursive",
        ),
        (
            "package argus.packs.team_namespaces\n\ntest_long if count(numbers.range(1, 100000000000)) > 0\n",
            "`numbers.range` may not be called",
        ),
        (
            "package argus.packs.team_namespaces\n\ntest_x if rand.intn(\"a\", 2) == 1\n",
            "`rand.intn` may not be called",
        ),
        (
            "package argus.packs.team_namespaces\n\ntest_x if data.other.x\n",
            "of `data` only `data.argus_data` and `data.argus_test` may be read",
        ),
        (
            "package argus.packs.other\n\ntest_x if true\n",
            "it must be `data.argus.packs.team_namespaces`",
        ),
        (
            "package argus.packs.team_namespaces\n\ntest_x if [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n",
            "brackets",
        ),
    ] {
        let (_keep, folder) = copy("examples/packs/team_namespaces");
        std::fs::write(folder.join("more_test.rego"), text).unwrap();
        let error = Suite::run(&folder).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
        let error = RegoEngine::builtin()
            .unwrap()
            .with_pack(&folder)
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn only_files_of_a_pack_are_read() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let refused = |folder: &Path, name: &str| {
        let (sender, answer) = std::sync::mpsc::channel();
        let own = folder.to_owned();
        std::thread::spawn(move || {
            let engine = RegoEngine::builtin().unwrap();
            let engine = engine.trusting([PackKey::from_pem(PUBLIC).unwrap()]);
            let refused = (
                Pack::load(&own).err(),
                engine.with_pack(&own).err(),
                Suite::run(&own).err(),
            );
            sender.send(refused).unwrap();
        });
        let patience = std::time::Duration::from_secs(20);
        let (load, with, run) = answer
            .recv_timeout(patience)
            .unwrap_or_else(|_| panic!("{name}: it waits"));
        let says = |error: &argus_policy::PackError| {
            error
                .to_string()
                .contains(&format!("{name}` is no file of the pack"))
        };
        if !name.ends_with("_test.rego") && name != "pack.sig" {
            assert!(load.as_ref().is_some_and(says), "{name}: {load:?}");
        }
        if name != "pack.sig" {
            assert!(run.as_ref().is_some_and(says), "{name}: {run:?}");
        }
        if !name.ends_with("_test.rego") {
            assert!(with.as_ref().is_some_and(says), "{name}: {with:?}");
        }
    };
    let outside = tempfile::tempdir().unwrap();
    for name in [
        "pack.yaml",
        "data.json",
        "team_namespaces.rego",
        "team_namespaces_test.rego",
        "pack.sig",
    ] {
        let (_keep, folder) = copy("examples/packs/team_namespaces");
        sign(&folder, PRIVATE).unwrap();
        let path = folder.join(name);
        let elsewhere = outside.path().join(name);
        std::fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        refused(&folder, name);
        std::fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        refused(&folder, name);
        std::fs::remove_file(&path).unwrap();
        let fifo = std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap();
        assert!(fifo.success());
        refused(&folder, name);
        std::fs::remove_file(&path).unwrap();
        let socket = UnixListener::bind(&path).unwrap();
        refused(&folder, name);
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused(&folder, name);
        std::fs::remove_dir(&path).unwrap();
        // As Kubernetes mounts ConfigMaps: links, but within the folder.
        let version = folder.join("..2026");
        std::fs::create_dir(&version).unwrap();
        std::fs::copy(&elsewhere, version.join(name)).unwrap();
        symlink("..2026", folder.join("..data")).unwrap();
        symlink(Path::new("..data").join(name), &path).unwrap();
        let engine = RegoEngine::builtin().unwrap();
        let engine = engine.trusting([PackKey::from_pem(PUBLIC).unwrap()]);
        assert_eq!(
            engine.with_pack(&folder).unwrap().packs().len(),
            5,
            "{name}"
        );
        assert!(Suite::run(&folder).is_ok(), "{name}");
    }
    // What grows while it is read, or says that it is empty, is read up to its bound.
    let (_keep, folder) = copy("examples/packs/team_namespaces");
    let text = std::fs::read_to_string(folder.join("pack.yaml")).unwrap();
    let at_most = (1 << 20) - text.len();
    std::fs::write(
        folder.join("pack.yaml"),
        format!("{text}{}", "#".repeat(at_most)),
    )
    .unwrap();
    assert!(Pack::load(&folder).is_ok());
    std::fs::write(
        folder.join("pack.yaml"),
        format!("{text}{}", "#".repeat(at_most + 1)),
    )
    .unwrap();
    let error = Pack::load(&folder).err().unwrap().to_string();
    assert!(error.contains("is too large"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_suite_reads_nothing_outside_of_its_pack() {
    let (_keep, folder) = copy("examples/packs/pinned_images");
    assert!(Suite::run(&folder).is_ok());
    let suite = "tests: [{name: x, template: elsewhere.yaml, constraint: constraint.yaml}]";
    std::fs::write(folder.join("suite.yaml"), suite).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    for target in [outside.path(), Path::new("/dev/zero")] {
        let link = folder.join("elsewhere.yaml");
        std::os::unix::fs::symlink(target, &link).unwrap();
        let error = Suite::run(&folder).unwrap_err().to_string();
        assert!(
            error.contains("elsewhere.yaml` is no file of the pack"),
            "{error}"
        );
        std::fs::remove_file(link).unwrap();
    }
}

#[tokio::test]
async fn packs_are_replaced_all_at_once() {
    let policy = PolicySwitch::new(RegoEngine::builtin().unwrap());
    let allowed = policy.evaluate(&scale()).await.unwrap();
    assert!(allowed.iter().all(|opinion| opinion.deny.is_empty()));
    let strict = json!({"most_objects": 1, "most_namespaces": 1});
    let strict = RegoEngine::builtin()
        .unwrap()
        .with_parameters("blast_radius", &object(strict))
        .unwrap();
    let (revision, two) = (
        strict.revision(),
        asked(&[
            "kubectl scale deploy/a -n shop --replicas=3",
            "kubectl scale deploy/b -n shop --replicas=3",
        ]),
    );
    let other = policy.clone();
    policy.replace(strict);
    assert_eq!(other.revision(), revision);
    let denied = other.evaluate(&two).await.unwrap();
    assert!(
        denied
            .iter()
            .any(|opinion| opinion.deny.iter().any(|v| v.id == "blast-objects"))
    );
}

fn deployment(image: &str, namespace: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}}}})
}

fn results(after: Value) -> PolicyInput {
    let before = deployment("web:1", "shop");
    scale().with_objects(
        Phase::Objects,
        vec![ObjectInput {
            step: 0,
            before,
            after,
            evidence: None,
        }],
    )
}

#[tokio::test]
async fn a_gatekeeper_template_judges_the_pods_that_would_come() {
    let template = root().join("examples/packs/pinned_images");
    let engine = RegoEngine::builtin().unwrap().with_pack(&template).unwrap();
    let say = async |input: &PolicyInput| {
        let opinions = engine.evaluate(input).await.unwrap();
        let last = opinions.last().unwrap();
        let messages = last.deny.iter().map(|violation| violation.message.clone());
        (last.evaluated.clone(), messages.collect::<Vec<_>>())
    };
    let nothing = vec!["pinned-images-has-no-rule-for-this-plan".to_owned()];
    let asked = vec!["pinned-images".to_owned()];
    assert_eq!(say(&scale()).await, (nothing.clone(), vec![]));
    assert_eq!(
        say(&results(deployment("web:2", "shop"))).await,
        (asked.clone(), vec![])
    );
    assert_eq!(
        say(&results(deployment("web:latest", "shop"))).await,
        (
            asked.clone(),
            vec!["container app: the version of the image web:latest moves".to_owned()]
        )
    );
    assert_eq!(
        say(&results(deployment("web:latest", "sandbox-1"))).await,
        (nothing.clone(), vec![]),
        "an excluded namespace"
    );
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}});
    assert_eq!(say(&results(service)).await, (nothing.clone(), vec![]));
    assert_eq!(say(&results(Value::Null)).await, (nothing.clone(), vec![]));
    let mut undo = results(deployment("web:latest", "shop"));
    undo.phase = Phase::Undo;
    assert_eq!(
        say(&undo).await,
        (nothing, vec![]),
        "an undo is not stopped"
    );

    // What the template can't judge is no pass.
    let odd = deployment("web:2", "shop");
    let mut odd = results(odd);
    odd.objects[0].after["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "app", "image": 5}]);
    let error = engine.evaluate(&odd).await.unwrap_err().to_string();
    assert!(error.contains("pinned-images"), "{error}");
}

#[tokio::test]
async fn a_constraint_that_only_warns_only_warns_and_takes_parameters() {
    let (_keep, folder) = copy("examples/packs/pinned_images");
    let path = folder.join("constraint.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("spec:\n", "spec:\n  enforcementAction: warn\n"),
    )
    .unwrap();
    let pack = Pack::load(&folder).unwrap();
    let engine = RegoEngine::builtin().unwrap().with(pack).unwrap();
    let opinions = engine
        .evaluate(&results(deployment("web:latest", "shop")))
        .await
        .unwrap();
    let last = opinions.last().unwrap();
    assert_eq!((last.deny.len(), last.warn.len()), (0, 1));
    let engine = engine
        .with_parameters("pinned-images", &object(json!({"moving": ["nightly"]})))
        .unwrap();
    let opinions = engine
        .evaluate(&results(deployment("web:latest", "shop")))
        .await
        .unwrap();
    assert_eq!(opinions.last().unwrap().warn.len(), 0);
}

/// What couldn't be asked as Gatekeeper asks it is refused, not half-run.
#[test]
fn a_template_that_can_not_be_run_faithfully_is_refused() {
    for (file, old, new, says) in [
        (
            "template.yaml",
            "input.review.object.spec.containers[_]",
            "data.inventory.namespace[_][_].Pod[_]",
            "of `data` only `data.lib` may be read",
        ),
        (
            "template.yaml",
            "input.review.object.spec.containers[_]",
            "input.review.userInfo.groups[_]",
            "`input.review` has no field `userInfo`",
        ),
        (
            "template.yaml",
            "input.review.object.spec.containers[_]",
            "external_data({\"provider\": \"p\"}).responses[_]",
            "there is no function `external_data`",
        ),
        (
            "template.yaml",
            "container := containers[_]",
            "containers[container]; violation[_]",
            "must not be recursive",
        ),
        (
            "template.yaml",
            "violation[{\"msg\": msg}]",
            "violations[{\"msg\": msg}]",
            "no rule `violation`",
        ),
        (
            "template.yaml",
            "package pinnedimages\n",
            "package pinnedimages }\n",
            "template.rego:1",
        ),
        (
            "template.yaml",
            "kind: ConstraintTemplate",
            "kind: Pod",
            "is a Pod, not a ConstraintTemplate",
        ),
        (
            "template.yaml",
            "      rego: |\n",
            "      code: []\n      text: |\n",
            "has no Rego",
        ),
        (
            "constraint.yaml",
            "    excludedNamespaces:",
            "    labelSelector: {}\n    excludedNamespaces:",
            "unknown field `labelSelector`",
        ),
        (
            "constraint.yaml",
            "spec:\n",
            "spec:\n  enforcementAction: scoped\n",
            "enforcementAction `scoped`",
        ),
        (
            "constraint.yaml",
            "  match:\n",
            "  match:\n    scope: Cluster\n",
            "without a namespace",
        ),
        (
            "suite.yaml",
            "violations: 2",
            "violations: 1",
            "it has 2 violations",
        ),
        (
            "suite.yaml",
            "object: samples/moving.yaml",
            "object: ../samples/moving.yaml",
            "is outside the pack",
        ),
    ] {
        let (_keep, folder) = copy("examples/packs/pinned_images");
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{file} has no {old}");
        std::fs::write(&path, text.replace(old, new)).unwrap();
        let error = RegoEngine::builtin().unwrap().with_pack(&folder).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(says), "{new}: {error}");
    }
    let (_keep, folder) = copy("examples/packs/pinned_images");
    std::fs::remove_file(folder.join("constraint.yaml")).unwrap();
    let error = Suite::run(&folder).err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("constraint.yaml")));
}
