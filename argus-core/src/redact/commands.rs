//! Commands about Secrets: what they say is the secret, whatever it is called.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// How many words of one command are read.
const MAX_WORDS: usize = 200;

/// A verb and the Secret that it is about, flags between them.
pub(super) static ABOUT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let flags = r#"(?:-[^\s"']+[ \t]+(?:[^\s"'-][^\s"']*[ \t]+)??)*"#;
    Regex::new(&format!(
        r"\b(?P<verb>create|patch|annotate|label)[ \t]+{flags}secrets?(?:\.v1\.?)?(?:[ \t/]|$)"
    ))
    .ok()
});

/// The places of what commands about Secrets say.
pub(super) fn secrets(text: &str, hidden: &mut Vec<Range<usize>>) {
    let Some(about) = ABOUT.as_ref() else {
        return;
    };
    let mut last = 0;
    for found in about.captures_iter(text) {
        let (Some(whole), Some(verb)) = (found.get(0), found.name("verb")) else {
            continue;
        };
        if whole.start() < last {
            continue;
        }
        let is_note = matches!(verb.as_str(), "annotate" | "label");
        // Flags may stand before the object.
        let mut at = verb.end();
        let mut is_value = false;
        for _ in 0..MAX_WORDS {
            let Some(word) = word(text, at) else { break };
            at = word.end;
            let shown = text.get(word.clone()).unwrap_or_default();
            let plain = shown.trim_start_matches(['"', '\'']);
            let flag = plain.split_once('=').map_or(plain, |(flag, _)| flag);
            if is_value {
                hidden.push(value(text, word, flag.contains("literal")));
                is_value = false;
                continue;
            }
            let holds = [
                "--from-literal",
                "--docker-username",
                "--docker-email",
                "--patch",
                "-p",
            ];
            if holds.contains(&flag) {
                match shown.len() == flag.len() {
                    true => is_value = true,
                    false => hidden.push(value(text, word, true)),
                }
            } else if is_note && !plain.starts_with('-') && plain.contains('=') {
                hidden.push(value(text, word, true));
            }
        }
        last = at;
    }
}

/// What of a word is the value: after its last sign, if it has a name, without the quotes around it.
fn value(text: &str, word: Range<usize>, named: bool) -> Range<usize> {
    let shown = text.get(word.clone()).unwrap_or_default();
    let is_literal = shown
        .trim_start_matches(['"', '\''])
        .starts_with("--from-literal=");
    let signs = 1 + usize::from(is_literal);
    let name = shown
        .match_indices('=')
        .nth(signs - 1)
        .map_or(0, |(sign, _)| sign + 1);
    let name = if named { name } else { 0 };
    let rest = shown.get(name..).unwrap_or_default();
    let inside = rest.trim_start_matches(['"', '\'']);
    let start = word.start + name + rest.len() - inside.len();
    let end = start + inside.trim_end_matches(['"', '\'']).len();
    start..end
}

/// The next word of a shell's command: what is in quotes belongs to it, a line that goes on too.
fn word(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    while matches!(bytes.get(at), Some(b' ' | b'\t')) || text.get(at..)?.starts_with("\\\n") {
        at += if bytes.get(at) == Some(&b'\\') { 2 } else { 1 };
    }
    let start = at;
    let mut quote = None;
    while let Some(byte) = bytes.get(at) {
        match (quote, *byte) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(b'\''), _) => {}
            (_, b'\\') => at += 1,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, byte) if byte.is_ascii_whitespace() || matches!(byte, b';' | b'|' | b'&') => {
                break;
            }
            _ => {}
        }
        at += 1;
    }
    let end = at.min(text.len());
    (start < end).then_some(start..end)
}
