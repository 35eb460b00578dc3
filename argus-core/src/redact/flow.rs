//! What is written with brackets, quotes and `name: value`: JSON, YAML in one line, Go's text, and the like within any text.

use std::borrow::Cow;
use std::ops::Range;

use super::MARK;
use super::rules::{LAST_APPLIED, is_secret_name};
use super::tree::Node;

/// How deep brackets are followed; what is deeper is read as if it stood there.
const DEEPEST: usize = 64;
/// The longest name that is looked for behind a value, in bytes.
const LONGEST_NAME: usize = 64;
/// How far the end of what stands in round brackets is looked for, in bytes.
const LONGEST_ASIDE: usize = 512;

/// What stands behind the size of a value.
const SIZE: &[u8] = b" bytes";

/// A text within a text.
#[derive(Debug)]
pub(super) struct Quoted {
    /// Its place.
    pub(super) at: Range<usize>,
    /// Whether backslashes stand before its quotes.
    pub(super) escaped: bool,
}

/// Reads each line of a text, together with the lines that its brackets reach over; gives the texts in quotes too.
pub(super) fn read(text: &str) -> (Vec<Node<'_>>, Vec<Quoted>) {
    let mut flow = Flow::new(text, 0);
    let mut nodes = Vec::new();
    while flow.at < text.len() {
        let start = flow.at;
        let mut entries = Vec::new();
        while let Some(byte) = flow.token() {
            if byte == b'\n' {
                break;
            }
            if is_closer(byte) {
                flow.at += 1;
                continue;
            }
            // A word that names nothing says nothing either.
            let entry = flow.entry();
            if entry.0.is_some() || entry.1.text().is_none_or(|text| text.contains('=')) {
                entries.push(entry);
            }
        }
        flow.at += 1;
        nodes.push(Node::Group {
            kind: None,
            entries,
            at: start..flow.at,
            cut: false,
        });
    }
    let quoted = flow.quoted;
    (nodes, quoted)
}

/// Reads what begins with a bracket at `from`; says where it ends.
pub(super) fn read_group(text: &str, from: usize) -> (Node<'_>, usize) {
    let mut flow = Flow::new(text, from);
    let node = flow.value("");
    (node, flow.at)
}

/// Where the content of the text in quotes ends whose opening quote stands at `from`; none if it doesn't end in its line.
pub(super) fn string_end(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = *bytes.get(from)?;
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => return None,
            b'\\' if quote == b'"' => at += 1,
            byte if *byte == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the secret that begins at `from` ends, if one begins there: what is in quotes, or what reads as one word.
pub(super) fn value_end(text: &str, from: usize) -> Option<Range<usize>> {
    let rest = text.get(from..)?;
    let bytes = text.as_bytes();
    if rest.starts_with(MARK) {
        return None;
    }
    match bytes.get(from)? {
        b'"' | b'\'' | b'`' => {
            let start = from + 1;
            let line = || rest.find('\n').map_or(text.len(), |end| from + end);
            Some(start..string_end(text, from).unwrap_or_else(line))
        }
        // Brackets are read as a group, and a text in an escaped quote is read once more without its backslashes.
        b'{' | b'[' | b'(' => None,
        _ if reference_end(text, from).is_some() => None,
        b'\\' if is_escape(text, from) => None,
        _ => {
            let end = bare_end(text, from, false);
            Some(from..end).filter(|at| !at.is_empty())
        }
    }
}

/// Where what stands for a value that comes from elsewhere ends: `$(NAME)`, `${NAME}`, `{{ .Values.x }}`, `<none>`.
fn reference_end(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let kinds = [("$(", ")"), ("${", "}"), ("{{", "}}"), ("<", ">")];
    let (_, close) = kinds.iter().find(|(open, _)| rest.starts_with(open))?;
    let near = rest.as_bytes().get(..LONGEST_ASIDE.min(rest.len()))?;
    let line = near
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(near.len());
    let end = rest.get(..line)?.find(close)? + close.len();
    // Nothing of a value stands behind it.
    let after = rest.as_bytes().get(end);
    let ends = after.is_none_or(|next| {
        next.is_ascii_whitespace()
            || is_quote(*next)
            || is_closer(*next)
            || matches!(next, b',' | b';' | b'<')
    });
    ends.then_some(from + end)
}

/// Whether what a bracket opens at `from` is read as a group: a round one has to be closed soon, in its line.
fn opens(text: &str, from: usize) -> Option<u8> {
    let bytes = text.as_bytes();
    let closer = closer_of(*bytes.get(from)?)?;
    let mut line = bytes.iter().skip(from).take(LONGEST_ASIDE);
    let mut closed = || line.find(|byte| matches!(byte, b')' | b'\n')) == Some(&b')');
    (closer != b')' || closed()).then_some(closer)
}

/// Whether the bracket at `from` is a letter of a word that goes on behind it, such as a password's, and opens no group.
fn is_word(text: &str, from: usize) -> bool {
    let bytes = text.as_bytes();
    let Some(first) = bytes.get(from) else {
        return false;
    };
    let mut open = 0_usize;
    let near = bytes.iter().skip(from).take(LONGEST_ASIDE);
    for (byte, next) in near.clone().zip(near.skip(1)) {
        open += usize::from(byte == first);
        open -= usize::from(closer_of(*first) == Some(*byte) && open > 0);
        if open == 0 {
            return next.is_ascii_graphic() && !is_end(*next);
        }
        if byte.is_ascii_whitespace() || is_quote(*byte) {
            return false;
        }
    }
    false
}

/// Where the quote is that backslashes at `from` stand before.
fn escaped_quote(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes().get(from..)?;
    let slashes = bytes.iter().take_while(|byte| **byte == b'\\').count();
    (slashes > 0 && bytes.get(slashes) == Some(&b'"')).then_some(from + slashes)
}

/// Whether a quote or a blank is escaped here, as in a text that is quoted.
fn is_escape(text: &str, from: usize) -> bool {
    let blank = matches!(text.as_bytes().get(from + 1), Some(b'n' | b'r' | b't'));
    blank || escaped_quote(text, from).is_some()
}

/// Where a value without quotes ends: at a blank, unless it stands in brackets; at what separates it from the next name, and at what
/// closes what is around it.
fn bare_end(text: &str, from: usize, within: bool) -> usize {
    let bytes = text.as_bytes();
    let mut open: usize = 0;
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        let after = bytes.get(at + 1);
        let ends = match byte {
            b'\n' => true,
            b' ' | b'\t' if !within => true,
            b' ' | b'\t' => is_named(bytes, at + 1),
            b',' | b';' => {
                after.is_none_or(|next| {
                    next.is_ascii_whitespace()
                        || is_quote(*next)
                        || is_closer(*next)
                        || *next == b'\\'
                }) || is_named(bytes, at + 1)
            }
            b'&' => is_named(bytes, at + 1),
            b'<' => after == Some(&b'/'),
            b'{' | b'[' | b'(' => {
                open += 1;
                false
            }
            b'}' | b']' | b')' if open > 0 => {
                open -= 1;
                false
            }
            b'}' | b']' | b')' | b'>' | b'"' | b'\'' | b'`' => {
                after.is_none_or(|next| next.is_ascii_whitespace() || is_end(*next))
            }
            b'\\' => is_escape(text, at),
            _ => false,
        };
        if ends {
            break;
        }
        at += 1;
    }
    // As kubectl describes what a Secret holds.
    let is_size = bytes
        .get(from..at)
        .is_some_and(|value| value.iter().all(u8::is_ascii_digit));
    let bytes = bytes.get(at..).unwrap_or_default();
    at + if is_size && bytes.starts_with(SIZE) {
        SIZE.len()
    } else {
        0
    }
}

/// Whether a name and what gives it its value stand here, maybe after blanks.
fn is_named(bytes: &[u8], from: usize) -> bool {
    let rest = bytes.get(from..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let rest = rest.get(blanks..).unwrap_or_default();
    let name = rest.iter().take(LONGEST_NAME);
    let name = name.take_while(|byte| is_name(**byte)).count();
    name > 0 && matches!(rest.get(name), Some(b':' | b'='))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

fn is_closer(byte: u8) -> bool {
    matches!(byte, b'}' | b']' | b')')
}

fn is_end(byte: u8) -> bool {
    is_quote(byte) || is_closer(byte) || matches!(byte, b',' | b';' | b'<' | b'\\')
}

fn closer_of(byte: u8) -> Option<u8> {
    match byte {
        b'{' => Some(b'}'),
        b'[' => Some(b']'),
        b'(' => Some(b')'),
        _ => None,
    }
}

type Entry<'a> = (Option<Cow<'a, str>>, Node<'a>);

struct Flow<'a> {
    text: &'a str,
    at: usize,
    /// What closes the groups that are open.
    closers: Vec<u8>,
    /// How many names stand before the next value.
    chained: usize,
    quoted: Vec<Quoted>,
}

impl<'a> Flow<'a> {
    fn new(text: &'a str, at: usize) -> Self {
        Self {
            text,
            at,
            closers: Vec::new(),
            chained: 0,
            quoted: Vec::new(),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn scalar(&self, at: Range<usize>) -> Node<'a> {
        let text = self.text.get(at.clone()).unwrap_or_default();
        Node::Scalar {
            text: text.into(),
            at,
        }
    }

    fn blanks(&mut self, lines: bool) {
        let within = lines || !self.closers.is_empty();
        while self
            .byte()
            .is_some_and(|byte| matches!(byte, b' ' | b'\t') || (within && byte == b'\n'))
        {
            self.at += 1;
        }
    }

    /// The byte that the next token begins with.
    fn token(&mut self) -> Option<u8> {
        let within = !self.closers.is_empty();
        while let Some(byte) = self.byte() {
            let is_between = matches!(byte, b' ' | b'\t' | b',' | b';');
            if !is_between && (byte != b'\n' || !within) {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// One token, or a name with its value. It gets on by one byte at least.
    fn entry(&mut self) -> Entry<'a> {
        let start = self.at;
        let byte = self.byte().unwrap_or_default();
        if self.is_mark() {
            return (None, self.value(""));
        }
        if let Some(end) = escaped_quote(self.text, start) {
            self.escaped(end);
            return (None, self.scalar(start..start));
        }
        if let Some(closer) = opens(self.text, start) {
            return (None, self.group(None, closer));
        }
        if is_quote(byte) {
            let Some(at) = self.string() else {
                self.at = start + 1;
                return (None, self.scalar(start..start));
            };
            let node = self.scalar(at.clone());
            return match self.assigns() {
                true => {
                    let name = self.text.get(at).unwrap_or_default();
                    (Some(name.into()), self.value(name))
                }
                false => (None, node),
            };
        }
        let word = self.word();
        if word.is_empty() {
            self.at += self
                .text
                .get(start..)
                .and_then(|rest| rest.chars().next())
                .map_or(1, char::len_utf8);
            return (None, self.scalar(start..start));
        }
        if let Some(node) = self.typed(start..self.at) {
            return (None, node);
        }
        // An image and its tag, or a path.
        let is_path = word.contains('/') && !word.ends_with(LAST_APPLIED);
        let is_near = self.byte() == Some(b':')
            && !matches!(
                self.text.as_bytes().get(self.at + 1),
                None | Some(b' ' | b'\t' | b'\n')
            );
        if !(is_path && is_near) && self.assigns() {
            return (Some(word.into()), self.value(word));
        }
        (None, self.scalar(start..start + word.len()))
    }

    /// A run of what names and words are made of.
    fn word(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |c: char| c.is_whitespace() || ",;:={}[]()\"'`\\<>&|".contains(c);
        let word = rest.get(..rest.find(ends).unwrap_or(rest.len()));
        let word = word.unwrap_or_default();
        self.at += word.len();
        word
    }

    /// A group whose type stands right before it, as Go writes it.
    fn typed(&mut self, word: Range<usize>) -> Option<Node<'a>> {
        let kind = self.text.get(word)?;
        let closer = opens(self.text, self.at)?;
        if kind == "map" && closer == b']' {
            // `map[a:b]` is the map; `map[string][]byte{a: b}` says its type first.
            let rest = self.text.get(self.at..)?;
            let ends = |c: char| !(c.is_ascii_alphanumeric() || "[]*._".contains(c));
            let end = rest.find(ends).unwrap_or(rest.len());
            if rest.get(..end)?.contains(']') && rest.get(end..)?.starts_with('{') {
                self.at += end;
                return Some(self.group(None, b'}'));
            }
        }
        let kind = kind.rsplit('.').next();
        let kind = kind.filter(|kind| kind.starts_with(|c: char| c.is_ascii_uppercase()));
        Some(self.group(kind, closer))
    }

    /// Whether what stands here gives a value to the name before it; goes behind it.
    fn assigns(&mut self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t']);
        let signs = ["=>", ":=", "=", ":"];
        let Some(sign) = signs.iter().find(|sign| trimmed.starts_with(**sign)) else {
            return false;
        };
        let after = trimmed.get(sign.len()..).unwrap_or_default();
        if *sign == ":" && (after.starts_with("//") || after.starts_with(':')) {
            return false;
        }
        self.at = self.text.len() - after.len();
        true
    }

    fn is_mark(&self) -> bool {
        self.text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(MARK))
    }

    fn value(&mut self, name: &str) -> Node<'a> {
        self.blanks(name.ends_with(LAST_APPLIED));
        let start = self.at;
        let Some(byte) = self.byte() else {
            return self.scalar(start..start);
        };
        if self.is_mark() {
            let rest = self.text.get(start..).unwrap_or_default();
            self.at += rest.find(']').map_or(rest.len(), |end| end + 1);
            return self.scalar(start..self.at);
        }
        if let Some(end) = escaped_quote(self.text, start) {
            self.escaped(end);
            return self.scalar(start..start);
        }
        if let Some(end) = reference_end(self.text, start) {
            self.at = end;
            return self.scalar(start..end);
        }
        if let Some(closer) = opens(self.text, start)
            && !is_word(self.text, start)
        {
            return self.group(None, closer);
        }
        if is_quote(byte) {
            return match self.string() {
                Some(at) => self.scalar(at),
                None => {
                    let at = value_end(self.text, start).unwrap_or(start..start + 1);
                    self.at = at.end;
                    self.scalar(at)
                }
            };
        }
        if is_closer(byte) || matches!(byte, b',' | b';' | b'\n') {
            return self.scalar(start..start);
        }
        // A pointer to a type, in Go.
        self.at += usize::from(byte == b'&');
        let from = self.at;
        let word = self.word();
        if !word.is_empty() {
            if !is_word(self.text, self.at)
                && let Some(node) = self.typed(from..self.at)
            {
                return node;
            }
            // A name behind a name, such as what a log writes before it.
            if !is_secret_name(name) && self.chained < DEEPEST && self.assigns() {
                self.chained += 1;
                let entry = (Some(word.into()), self.value(word));
                self.chained -= 1;
                return self.made(None, vec![entry], start, false);
            }
        }
        let within = self.closers.last().is_some_and(|closer| *closer != b')');
        self.at = bare_end(self.text, start, within);
        self.at = self.at.max(start);
        self.scalar(start..self.at)
    }

    fn group(&mut self, kind: Option<&'a str>, closer: u8) -> Node<'a> {
        let start = self.at;
        self.at += 1;
        let mut entries = Vec::new();
        if self.closers.len() >= DEEPEST {
            return self.scalar(start..start);
        }
        self.closers.push(closer);
        let mut cut = true;
        while let Some(byte) = self.token() {
            if byte == closer {
                self.at += 1;
                cut = false;
                break;
            }
            if is_closer(byte) {
                if self.closers.contains(&byte) {
                    cut = false;
                    break;
                }
                self.at += 1;
                continue;
            }
            entries.push(self.entry());
        }
        self.closers.pop();
        self.made(kind, entries, start, cut)
    }

    fn made(
        &self,
        kind: Option<&'a str>,
        entries: Vec<Entry<'a>>,
        start: usize,
        cut: bool,
    ) -> Node<'a> {
        Node::Group {
            kind,
            entries,
            at: start..self.at,
            cut,
        }
    }

    /// The place of what is in the quotes that begin here; goes behind them.
    fn string(&mut self) -> Option<Range<usize>> {
        let before = self.at.checked_sub(1);
        let before = before.and_then(|at| self.text.as_bytes().get(at));
        let quote = self.byte()?;
        // An apostrophe.
        if quote == b'\'' && before.is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        let end = string_end(self.text, self.at)?;
        let at = self.at + 1..end;
        self.at = end + 1;
        self.quoted.push(Quoted {
            at: at.clone(),
            escaped: quote == b'"',
        });
        Some(at)
    }

    /// A text whose quotes have backslashes before them, though it is in no quotes itself: to the next quote without, or to the end.
    fn escaped(&mut self, quote: usize) {
        let bytes = self.text.as_bytes();
        let mut end = quote + 1;
        let mut slashes = 0;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'\\' => slashes += 1,
                b'"' if slashes % 2 == 0 => break,
                _ => slashes = 0,
            }
            end += 1;
        }
        self.quoted.push(Quoted {
            at: self.at..end,
            escaped: true,
        });
        self.at = end;
    }
}
