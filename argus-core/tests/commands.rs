//! The table of commands: every spelling of the seven actions, what is left to people, what is refused and why, and the
//! examples of kubectl's reference documentation.

use std::fmt::Write as _;

use argus_core::parse_command;

#[test]
fn each_command_of_the_table_is_taken_left_or_refused_as_it_says() {
    let commands = include_str!("data/commands.txt");
    let mut table = String::new();
    let (mut taken, mut left, mut refused) = (0, 0, 0);
    for line in commands.lines() {
        if line.starts_with('#') {
            writeln!(table, "\n{line}").unwrap();
            continue;
        }
        let outcome = match parse_command(line) {
            Ok(action) if action.is_manual() => {
                left += 1;
                let json = serde_json::to_value(&action).unwrap();
                format!("left to people: {}", json["reason"].as_str().unwrap())
            }
            Ok(action) => {
                taken += 1;
                assert_eq!(
                    parse_command(&action.command()).as_ref(),
                    Ok(&action),
                    "{line}"
                );
                format!("taken: {}", action.command())
            }
            Err(error) => {
                refused += 1;
                assert!(error.position() <= line.chars().count(), "{line}: {error}");
                format!("refused: {error}\n     hint: {}", error.hint())
            }
        };
        writeln!(
            table,
            "{}\n  {outcome}",
            line.escape_debug()
                .to_string()
                .replace("\\'", "'")
                .replace("\\\"", "\"")
        )
        .unwrap();
    }
    assert!(taken + left + refused >= 300, "the table has lost commands");
    writeln!(
        table,
        "\n{taken} taken, {left} left to people, {refused} refused"
    )
    .unwrap();
    insta::assert_snapshot!(table);
}
