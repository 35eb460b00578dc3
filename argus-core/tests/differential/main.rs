//! Argus and a real kubectl do the same: every command that Argus takes is run by kubectl too, as it was written and as
//! Argus renders it, and the API server's own audit log has to show the same requests and the same objects afterwards.
//! What kubectl refuses as a usage error, Argus refuses.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod cases;
mod lab;

use argus_core::{Kind, parse_command};
use cases::{ACCEPTED, generated, mutants};
use futures::stream::{self, StreamExt};
use lab::{Lab, Observed};

/// As many commands run at once.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_command_does_what_kubectl_does() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    let texts: Vec<String> = ACCEPTED
        .iter()
        .map(|text| (*text).to_owned())
        .chain(generated(60))
        .collect();
    let run = |(number, text): (usize, &String)| {
        let (lab, text) = (&lab, text.clone());
        async move { lab.compare(number, &text).await }
    };
    let results: Vec<[Observed; 3]> = stream::iter(texts.iter().enumerate())
        .map(run)
        .buffered(AT_ONCE)
        .collect()
        .await;
    let log = lab.audit_log().await;
    for (number, (text, [written, rendered, argus])) in texts.iter().zip(&results).enumerate() {
        assert_eq!(
            written.object, argus.object,
            "{text}: the object afterwards"
        );
        assert_eq!(
            rendered.object, argus.object,
            "{text}: the object after the rendered command"
        );
        let [written, rendered, argus] =
            [written, rendered, argus].map(|observed| log.requests(&observed.namespace, number));
        assert_eq!(argus.len(), 1, "{text}: {argus:#?}");
        assert_eq!(written, argus, "{text}: the requests");
        assert_eq!(
            rendered, argus,
            "{text}: the requests of the rendered command"
        );
    }
    eprintln!("{} commands: kubectl and Argus sent the same", texts.len());
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_refuses_as_a_usage_error_argus_refuses() {
    let Some(lab) = Lab::start().await else {
        return;
    };
    lab.fixtures(&lab.namespace("u"), 0, &Kind::ALL).await;
    let texts = mutants();
    let run = |text: String| {
        let lab = &lab;
        async move { (lab.usage_error(&text).await, text) }
    };
    let results: Vec<(Option<String>, String)> = stream::iter(texts)
        .map(run)
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut refused = 0;
    let mut wrong = Vec::new();
    for (error, text) in &results {
        if let Some(error) = error {
            refused += 1;
            let text = text.replace("NS", "shop").replace("NAME", "w0");
            if let Ok(action) = parse_command(&text) {
                wrong.push(format!("{text}\n  kubectl: {error}\n  Argus: {action:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        refused > 50,
        "only {refused} of {} are usage errors",
        results.len()
    );
    eprintln!(
        "{refused} of {} mutants are usage errors to kubectl, all refused by Argus",
        results.len()
    );
    lab.end().await;
}

#[tokio::test]
async fn the_grammar_is_that_of_the_kubectl_that_the_tests_run() {
    let Some(program) = std::env::var_os("ARGUS_TEST_KUBECTL_GRAMMAR") else {
        assert!(
            std::env::var_os("ARGUS_TEST_ALL").is_none(),
            "ARGUS_TEST_ALL is set, but there is no grammar"
        );
        eprintln!(
            "skipped: kubectl's grammar; `make control-plane` builds the program that prints it"
        );
        return;
    };
    let printed = tokio::process::Command::new(program)
        .output()
        .await
        .unwrap();
    let ours = include_str!("../../src/kubectl/grammar.txt");
    assert_eq!(
        String::from_utf8(printed.stdout).unwrap(),
        ours,
        "copy its output to src/kubectl/grammar.txt"
    );
}
