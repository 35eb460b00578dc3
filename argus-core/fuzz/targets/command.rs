//! Any text as a command: no panic, and what is taken comes back from what is shown.
#![no_main]
#![expect(clippy::panic, reason = "a fuzz target")]

use argus_core::parse_command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(action) = parse_command(text) else {
        return;
    };
    // Never run, whatever they hold.
    if action.is_manual() {
        return;
    }
    let command = action.command();
    assert!(
        command.bytes().all(|b| (b' '..=b'~').contains(&b)),
        "{command:?}"
    );
    match parse_command(&command) {
        Ok(again) => assert_eq!(again, action, "{command}"),
        Err(error) => panic!("{command}: {error}"),
    }
});
