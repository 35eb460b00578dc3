//! Every kind of secret that gitleaks knows is redacted, as gitleaks itself judges.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use argus_core::redact;
use serde_json::{Value, json};

/// How many secrets of each kind are made up.
const SAMPLES: &str = "2";

fn gitleaks(arguments: &[&str], input: &str) -> Option<Vec<Value>> {
    let Some(program) = std::env::var_os("ARGUS_TEST_GITLEAKS").map(PathBuf::from) else {
        assert!(
            std::env::var_os("ARGUS_TEST_ALL").is_none(),
            "gitleaks is missing: use `make test`"
        );
        return None;
    };
    let mut command = Command::new(program);
    let command = command.args(arguments);
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = running.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = running.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    Some(
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[test]
fn nothing_that_gitleaks_knows_is_left() {
    let Some(samples) = gitleaks(&["samples", SAMPLES], "") else {
        return;
    };
    let kinds: BTreeSet<&str> = samples
        .iter()
        .filter_map(|sample| sample["rule"].as_str())
        .collect();
    assert!(kinds.len() >= 200, "{}", kinds.len());
    let kept: Vec<String> = samples
        .iter()
        .map(|sample| redact(sample["text"].as_str().unwrap()))
        .collect();
    let lines = kept
        .iter()
        .map(|text| json!({ "text": text }).to_string() + "\n");
    let found = gitleaks(&["check"], &lines.collect::<String>()).unwrap();
    assert_eq!(found.len(), samples.len());
    let mut missed: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
    for ((sample, kept), found) in samples.iter().zip(&kept).zip(&found) {
        let secret = sample["secret"].as_str().unwrap();
        if kept.contains(secret) || !found.as_array().unwrap().is_empty() {
            let of_rule = missed.entry(sample["rule"].as_str().unwrap()).or_insert((
                0,
                sample["text"].as_str().unwrap(),
                kept,
            ));
            of_rule.0 += 1;
        }
    }
    let lines: Vec<String> = missed
        .iter()
        .map(|(rule, (times, text, kept))| {
            format!("{rule}: {times} times, such as {text:?}, of which is kept {kept:?}")
        })
        .collect();
    assert!(
        lines.is_empty(),
        "{} kinds:\n{}",
        lines.len(),
        lines.join("\n")
    );
}
