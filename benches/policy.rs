//! What policy costs: ours beside the real OPA in the same run, JSON in and out, on one core. `ARGUS_TEST_OPA` names the program
//! that asks OPA; without it only ours is measured.
//!
//! Not criterion: two programs are compared, and what counts are medians, 99th percentiles and how threads scale.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that can't run should stop, and it prints"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use argus_core::{
    Completion, IncidentId, ObjectInput, Phase, Plan, PolicyEngine, PolicyInput, Scope, Settings,
};
use argus_policy::{Pack, RegoEngine};
use futures::executor::block_on;
use serde_json::{Value, json};

const TIMES: usize = 2000;

/// A plan of five steps of three kinds in the namespace `shop`.
fn plan(images: &str, scope: &str) -> PolicyInput {
    let commands = [
        "kubectl scale deployment/web-0 -n shop --replicas=3".to_owned(),
        "kubectl scale deployment/web-1 -n shop --replicas=3".to_owned(),
        format!("kubectl set image deployment/web-2 -n shop app={images}/web:2"),
        "kubectl set resources deployment/web-3 -n shop -c app --limits=memory=512Mi".to_owned(),
        "kubectl scale deployment/web-4 -n shop --replicas=3".to_owned(),
    ];
    let step = |command: &String| json!({"description": "Create more copies of this app so it can handle more load.", "command": command});
    let steps: Vec<Value> = commands.iter().map(step).collect();
    let draft = json!({"summary": "Run more copies.", "steps": steps, "risk_level": "low", "risk_reason": "Only numbers change.", "rollback_steps": []});
    let incident = IncidentId::new("INC-1").unwrap();
    let plan = Plan::parse(&Completion::new(draft.to_string(), "bench"), &incident).unwrap();
    PolicyInput::of_plan(
        &plan,
        &Scope::namespaces([scope]).unwrap(),
        Settings::default(),
    )
}

fn with_objects(input: &PolicyInput) -> PolicyInput {
    let object = |step: usize, image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("web-{step}"), "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": image, "ports": [{"containerPort": 8080}], "resources": {"limits": {"memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}, "securityContext": {"runAsNonRoot": true}}]}}}})
    };
    let objects = (0..5).map(|step| ObjectInput {
        step,
        evidence: None,
        before: object(step, "registry.example.com/web:1"),
        after: object(
            step,
            if step == 2 {
                "registry.example.com/web:2"
            } else {
                "registry.example.com/web:1"
            },
        ),
    });
    input
        .clone()
        .with_objects(Phase::Objects, objects.collect())
}

/// A pack of `count` rules: nine of them look at every step, the others at actions that the plan may not have.
fn pack(folder: &Path, name: &str, count: usize) -> PathBuf {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let conditions = [
        "step.target.namespace in input.scope.namespaces",
        "step.target.kind in {\"Deployment\", \"StatefulSet\"}",
        "startswith(step.target.name, \"web-\")",
        "step.risk in {\"low\", \"medium\"}",
        "count(step.fields_touched) <= 4",
        "step.is_destructive == false",
        "not contains(step.description, \"production\")",
        "every image in step.images { startswith(image, \"registry.example.com/\") }",
        "step.reversibility != \"irreversible\"",
    ];
    let actions = ["patch", "delete_pod", "rollout_undo", "rollout_restart"];
    let mut manifest = format!("name: {name}\nversion: 1.0.0\ndescription: A bench.\nrules:\n");
    let mut rego = format!("package argus.packs.{name}\n\nimport rego.v1\n");
    for (index, condition) in conditions.iter().cycle().take(count).enumerate() {
        let id = format!("{name}-{index}");
        let action = actions.iter().cycle().nth(index).unwrap();
        let (applies, only) = if index < 9 {
            (String::new(), String::new())
        } else {
            (
                format!(", actions: [{action}]"),
                format!("ok_{index}(step) if step.kind != \"{action}\"\n\n"),
            )
        };
        manifest.push_str(&format!("  - {{id: {id}, phases: [plan]{applies}}}\n"));
        rego.push_str(&format!(
            "\n# METADATA\n# title: Rule {index}\n# custom:\n#   id: {id}\npassed contains \"{id}\" if all_{index}\n\n\
             deny contains {{\"id\": \"{id}\", \"step\": step.index, \"message\": sprintf(\"step %d\", [step.index + 1]), \"hint\": \"h\"}} if {{\n\
             \tnot all_{index}\n\tsome step in input.plan.steps\n\tnot ok_{index}(step)\n}}\n\n\
             all_{index} if {{\n\tevery step in input.plan.steps {{\n\t\tok_{index}(step)\n\t}}\n}}\n\n\
             {only}ok_{index}(step) if {{\n\t{condition}\n}}\n"
        ));
    }
    std::fs::write(folder.join("pack.yaml"), manifest).unwrap();
    std::fs::write(folder.join(format!("{name}.rego")), rego).unwrap();
    folder
}

/// Median and 99th percentile, in microseconds. What is made is dropped off the clock.
fn measure<T>(mut ask: impl FnMut() -> T) -> (f64, f64) {
    let mut took: Vec<f64> = (0..TIMES)
        .map(|_| {
            let start = Instant::now();
            let made = std::hint::black_box(ask());
            let took = start.elapsed().as_secs_f64() * 1e6;
            drop(made);
            took
        })
        .collect();
    took.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| took.get(TIMES * part / 100).copied().unwrap();
    (at(50), at(99))
}

/// What OPA takes to answer, and to prepare the packs: each its median and 99th percentile.
fn opa(packs: &[PathBuf], input: &PolicyInput) -> Option<[(f64, f64); 2]> {
    let program = std::env::var_os("ARGUS_TEST_OPA")?;
    let mut opa = Command::new(program)
        .args(packs)
        .env("TIMES", TIMES.to_string())
        .env("GOMAXPROCS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = opa.stdin.take().unwrap();
    stdin
        .write_all(&serde_json::to_vec(input).unwrap())
        .unwrap();
    drop(stdin);
    let output = opa.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text
        .split_whitespace()
        .map(|number| number.parse().unwrap());
    let mut pair = || Some((numbers.next()?, numbers.next()?));
    Some([pair()?, pair()?])
}

fn ask(engine: &RegoEngine, input: &PolicyInput) {
    let opinions = block_on(engine.evaluate(input)).unwrap();
    std::hint::black_box(serde_json::to_vec(&opinions).unwrap());
}

fn compare(what: &str, ours: (f64, f64), theirs: Option<(f64, f64)>) {
    let (median, p99) = ours;
    let beside = theirs.map_or(String::new(), |(theirs, _)| {
        format!(
            " | OPA {theirs:7.1} us | {:4.2} times as fast",
            theirs / median
        )
    });
    println!(
        "{what:44} | {median:7.1} us | p99 {:4.2} times the median{beside}",
        p99 / median
    );
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let builtin = [
        "baseline",
        "workload_safety",
        "change_freeze",
        "blast_radius",
    ];
    let builtin = builtin.map(|name| root.join("policies").join(name));
    let engine = RegoEngine::builtin().unwrap();
    let (allowed, denied) = (
        plan("registry.example.com", "shop"),
        plan("docker.io", "shop"),
    );
    let objects = with_objects(&allowed);
    let mut prepared = None;
    for (what, input) in [
        ("built-in packs, a plan of 5 steps", &allowed),
        ("built-in packs, its 5 objects", &objects),
    ] {
        let theirs = opa(&builtin, input);
        compare(
            what,
            measure(|| ask(&engine, input)),
            theirs.map(|[asked, _]| asked),
        );
        prepared = theirs.map(|[_, prepared]| prepared);
    }
    let nine = pack(folder.path(), "nine", 9);
    let hundred = pack(folder.path(), "hundred", 100);
    for (what, folder, input) in [
        ("a pack of 9 rules, allowed", &nine, &allowed),
        ("a pack of 9 rules, denied", &nine, &denied),
        ("100 rules of which 9 apply, allowed", &hundred, &allowed),
        ("100 rules of which 9 apply, denied", &hundred, &denied),
    ] {
        let pack = Pack::load(folder).unwrap();
        let alone = || {
            let opinion = pack.evaluate(input).unwrap();
            std::hint::black_box(serde_json::to_vec(&opinion).unwrap());
        };
        let theirs = opa(std::slice::from_ref(folder), input).map(|[asked, _]| asked);
        compare(what, measure(alone), theirs);
    }
    let start = measure(|| RegoEngine::builtin().unwrap());
    compare("start with all built-in packs", start, prepared);
    let outside = plan("registry.example.com", "other");
    let first = measure(|| {
        let engine = RegoEngine::builtin().unwrap();
        ask(&engine, &outside);
        engine
    });
    compare("start, and deny a plan outside the scope", first, None);
    println!("memory of an engine with them: {} KiB", memory());
    let one = rate(1, &engine, &allowed);
    for threads in [2, 8] {
        let many = rate(threads, &engine, &allowed);
        println!(
            "{threads} threads: {:4.2} times the evaluations of one",
            many / one
        );
    }
}

/// What one engine adds to the memory of the process, in KiB, where the system tells.
fn memory() -> usize {
    const ENGINES: usize = 50;
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = text.split_whitespace().nth(1);
        pages
            .and_then(|pages| pages.parse::<usize>().ok())
            .unwrap_or(0)
            * 4
    };
    let before = resident();
    let engines: Vec<RegoEngine> = (0..ENGINES)
        .map(|_| RegoEngine::builtin().unwrap())
        .collect();
    let after = resident();
    drop(std::hint::black_box(engines));
    after.saturating_sub(before) / ENGINES
}

/// Evaluations in a second by so many threads at once.
fn rate(threads: usize, engine: &RegoEngine, input: &PolicyInput) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..TIMES).for_each(|_| ask(engine, input)));
        }
    });
    (threads * TIMES) as f64 / start.elapsed().as_secs_f64()
}
