//! Text becomes words, as a POSIX shell splits them; whatever a shell would act on is refused.

use super::CommandError;

/// One word and where it starts, in characters.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) position: usize,
}

/// Splits `text`; quotes and backslashes are resolved, everything else that a shell acts on is an error.
pub(super) fn split(text: &str) -> Result<Vec<Word>, CommandError> {
    let mut words = Vec::new();
    let mut current: Option<Word> = None;
    let mut chars = text
        .trim_end_matches([' ', '\n', '\t'])
        .chars()
        .enumerate()
        .peekable();
    while let Some((position, c)) = chars.next() {
        let mut push = |c: Option<char>| {
            current
                .get_or_insert_with(|| Word {
                    text: String::new(),
                    position,
                })
                .text
                .extend(c)
        };
        match c {
            ' ' | '\t' => words.extend(current.take()),
            '\'' => {
                push(None);
                loop {
                    match chars.next() {
                        Some((_, '\'')) => break,
                        Some((at, c)) => push(Some(shown(at, c)?)),
                        None => {
                            return Err(CommandError::new(
                                position,
                                "a single quote is not closed",
                                "close it with another `'`",
                            ));
                        }
                    }
                }
            }
            '"' => {
                push(None);
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((at, '\\')) => match chars.next() {
                            Some((_, c @ ('"' | '\\' | '$' | '`'))) => push(Some(c)),
                            Some((next, c)) => {
                                push(Some('\\'));
                                push(Some(shown(next, c)?));
                            }
                            None => {
                                return Err(CommandError::new(
                                    at,
                                    "the text ends in a backslash",
                                    "write the whole command",
                                ));
                            }
                        },
                        Some((at, c @ ('$' | '`' | '!'))) => return Err(operator(at, c)),
                        Some((at, c)) => push(Some(shown(at, c)?)),
                        None => {
                            return Err(CommandError::new(
                                position,
                                "a double quote is not closed",
                                "close it with another `\"`",
                            ));
                        }
                    }
                }
            }
            '\\' => match chars.next() {
                Some((at, c)) if c != '\n' => push(Some(shown(at, c)?)),
                _ => {
                    return Err(CommandError::new(
                        position,
                        "the line goes on after a backslash",
                        "write the command on one line",
                    ));
                }
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | ']' | '{'
            | '}' | '~' | '!' | '#' | '\n' => {
                return Err(operator(position, c));
            }
            c => push(Some(shown(position, c)?)),
        }
    }
    words.extend(current);
    Ok(words)
}

fn shown(position: usize, c: char) -> Result<char, CommandError> {
    if c == ' ' || c == '\t' || c == '\n' || c.is_ascii_graphic() {
        return Ok(c);
    }
    if c.is_ascii() || c.is_control() {
        return Err(CommandError::new(
            position,
            format!("there is a control character, {}", c.escape_unicode()),
            "write plain text",
        ));
    }
    Err(CommandError::new(
        position,
        format!(
            "the character `{}` is not ASCII and may look like another",
            c.escape_unicode()
        ),
        "write plain English letters, digits and punctuation",
    ))
}

fn operator(position: usize, c: char) -> CommandError {
    let (problem, hint) = match c {
        '|' | '&' | ';' | '\n' => ("chains commands", "write one command per step"),
        '<' | '>' => ("redirects files", "leave it out"),
        '$' | '`' | '(' | ')' => ("runs or inserts something else", "write the value itself"),
        '#' => ("starts a comment", "leave it out"),
        _ => (
            "is expanded by a shell",
            "name the one object, and put JSON into single quotes",
        ),
    };
    CommandError::new(
        position,
        format!("`{}` {problem}", c.escape_default()),
        hint,
    )
}
