//! Text becomes words, as a POSIX shell splits them; whatever a shell would act on is refused.

use super::CommandError;
use crate::letters::is_hidden;

/// One word and where it stands, in characters.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) position: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// The first letter beyond ASCII and where it stands; only quotes may hold one.
    pub(super) beyond_ascii: Option<(usize, char)>,
}

impl Word {
    fn starting(position: usize) -> Self {
        Self {
            text: String::new(),
            position,
            end: position,
            beyond_ascii: None,
        }
    }

    fn quoted(&mut self, position: usize, c: char) -> Result<(), CommandError> {
        if c.is_ascii() {
            self.text.push(shown(position, c)?);
        } else if c.is_control() || is_hidden(c) {
            return Err(control(position, c));
        } else {
            self.beyond_ascii.get_or_insert((position, c));
            self.text.push(c);
        }
        Ok(())
    }
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
        if c == ' ' || c == '\t' {
            words.extend(current.take());
            continue;
        }
        let word = current.get_or_insert_with(|| Word::starting(position));
        match c {
            '\'' => loop {
                match chars.next() {
                    Some((_, '\'')) => break,
                    Some((at, c)) => word.quoted(at, c)?,
                    None => {
                        return Err(CommandError::new(
                            position,
                            "a single quote is not closed",
                            "close it with another `'`",
                        ));
                    }
                }
            },
            '"' => loop {
                match chars.next() {
                    Some((_, '"')) => break,
                    Some((at, '\\')) => match chars.next() {
                        Some((_, c @ ('"' | '\\' | '$' | '`'))) => word.text.push(c),
                        Some((next, c)) if c != '\n' => {
                            word.text.push('\\');
                            word.quoted(next, c)?;
                        }
                        _ => return Err(line_goes_on(at)),
                    },
                    Some((at, c @ ('$' | '`' | '!'))) => return Err(operator(at, c)),
                    Some((at, c)) => word.quoted(at, c)?,
                    None => {
                        return Err(CommandError::new(
                            position,
                            "a double quote is not closed",
                            "close it with another `\"`",
                        ));
                    }
                }
            },
            '\\' => match chars.next() {
                Some((at, c)) if c != '\n' => word.text.push(shown(at, c)?),
                _ => return Err(line_goes_on(position)),
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | ']' | '{'
            | '}' | '~' | '!' | '#' | '\n' => {
                return Err(operator(position, c));
            }
            c => word.text.push(shown(position, c)?),
        }
        word.end = chars.peek().map_or(position + 1, |(next, _)| *next);
    }
    words.extend(current);
    Ok(words)
}

fn line_goes_on(position: usize) -> CommandError {
    CommandError::new(
        position,
        "the line goes on after a backslash",
        "write the command on one line",
    )
}

fn shown(position: usize, c: char) -> Result<char, CommandError> {
    if c == ' ' || c == '\t' || c == '\n' || c.is_ascii_graphic() {
        Ok(c)
    } else if c.is_ascii() || c.is_control() || is_hidden(c) {
        Err(control(position, c))
    } else {
        Err(CommandError::look_alike(position, c))
    }
}

fn control(position: usize, c: char) -> CommandError {
    CommandError::new(
        position,
        format!("there is a control character, {}", c.escape_unicode()),
        "write plain text",
    )
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
