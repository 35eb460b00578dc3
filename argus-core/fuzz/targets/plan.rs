//! Any text as a model's answer: no panic, and every step of a plan is what its command says.
#![no_main]

use argus_core::{Completion, IncidentId, MAX_STEPS, Plan, Step, parse_command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(incident) = IncidentId::new("INC-1") else {
        return;
    };
    let Ok(plan) = Plan::parse(&Completion::new(text, "fuzz"), &incident) else {
        return;
    };
    assert!(plan.steps().len() <= MAX_STEPS);
    let runs = |step: &&Step| !step.action().is_manual();
    for step in plan.steps().iter().filter(runs) {
        assert_eq!(parse_command(step.command()).as_ref(), Ok(step.action()));
        assert!(plan.risk_level() >= step.action().risk().0);
    }
});
