//! What tests and rules say, for people and for CI.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argus_core::{Evaluation, Verdict};
use argus_policy::{RegoEngine, Suite};

use crate::Failure;

pub(crate) fn test(
    packs: &[PathBuf],
    junit: Option<&Path>,
    coverage: bool,
) -> Result<ExitCode, Failure> {
    let mut suites = Vec::new();
    for folder in packs {
        let suite = Suite::run(folder)?;
        for test in suite.tests.iter().filter(|test| test.failure.is_none()) {
            println!("PASS {} ({})", test.name, test.place);
        }
        for problem in suite.problems() {
            println!("FAIL {}: {problem}", folder.display());
        }
        if coverage {
            for line in Suite::unreached(folder)? {
                println!("no test reaches {line}");
            }
        }
        suites.push((folder, suite));
    }
    if let Some(file) = junit {
        std::fs::write(file, xml(&suites))?;
    }
    let passed = suites
        .iter()
        .all(|(_, suite)| suite.problems().next().is_none());
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn xml(suites: &[(&PathBuf, Suite)]) -> String {
    let escape = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        text.replace('>', "&gt;").replace('"', "&quot;")
    };
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (folder, suite) in suites {
        let named = suite
            .tests
            .iter()
            .map(|test| (test.name.clone(), test.failure.clone()));
        let cases: Vec<(String, Option<String>)> = named
            .chain(
                suite
                    .shortcomings()
                    .map(|problem| ("the tests hold the pack".into(), Some(problem))),
            )
            .collect();
        let failures = cases.iter().filter(|(_, failure)| failure.is_some());
        text.push_str(&format!(
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">\n",
            escape(&folder.display().to_string()),
            cases.len(),
            failures.count(),
        ));
        for (name, failure) in cases {
            let failure = failure.map(|why| format!("<failure message=\"{}\"/>", escape(&why)));
            text.push_str(&format!(
                "<testcase name=\"{}\">{}</testcase>\n",
                escape(&name),
                failure.unwrap_or_default()
            ));
        }
        text.push_str("</testsuite>\n");
    }
    text + "</testsuites>\n"
}

pub(crate) fn explain(evaluation: &Evaluation, engine: &RegoEngine) {
    println!(
        "{}, in {} us",
        match evaluation.verdict {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
            Verdict::RequireApproval => "allowed, if a person approves",
        },
        evaluation.took_us.unwrap_or_default(),
    );
    let floor = evaluation
        .violations
        .iter()
        .filter(|violation| violation.pack == "floor");
    for violation in floor {
        println!(
            "\nfloor (the checks that no pack can loosen)\n  {}: {}",
            violation.id, violation.message
        );
    }
    for (opinion, pack) in evaluation.opinions.iter().zip(engine.packs()) {
        println!("\n{} ({})", opinion.pack, opinion.revision);
        for (rule, title) in pack.rules() {
            println!("  {rule}: {title}");
            if !opinion.evaluated.iter().any(|asked| asked == rule) {
                println!("    not asked: it has no say in this plan");
                continue;
            }
            let said = [
                ("denies", &opinion.deny),
                ("leaves to people", &opinion.manual),
                ("asks for approval", &opinion.require_approval),
                ("warns", &opinion.warn),
            ];
            let mut silent = true;
            for (what, violation) in said
                .iter()
                .flat_map(|(what, set)| set.iter().map(move |v| (what, v)))
            {
                if violation.id == rule {
                    silent = false;
                    println!(
                        "    {what}: {}\n      hint: {}",
                        violation.message, violation.hint
                    );
                }
            }
            if silent {
                println!("    has nothing against it");
            }
        }
    }
}
