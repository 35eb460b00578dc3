//! Text from a cluster, a host or a model becomes text that may be kept and shown: bounded, without
//! control characters, and without what looks like a secret.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::letters::is_hidden;

mod redacted;
pub use redacted::Redacted;

mod rules;
use rules::RULES;

mod tree;
use tree::Node;

mod flow;

mod blocks;

mod judge;

mod patterns;

mod commands;

mod find;

/// How what stands where a secret stood begins.
const MARK: &str = "[redacted";
/// The longest text that is kept, in characters.
const LONGEST: usize = 4096;
/// The longest name of an object that is kept, in characters.
const LONGEST_NAME: usize = 253;
/// How many secrets are told apart.
const MAX_SECRETS: usize = 1000;
/// The most entries of a list or a map that are kept.
pub(crate) const MAX_ENTRIES: usize = 200;
/// The deepest nesting that is kept.
const DEEPEST: usize = 8;

/// `text` as it may be kept: redacted, bounded to 4,096 characters, controls replaced by spaces.
///
/// Newlines and tabs stay. Passwords and keys are found by their name, by what their issuers put before them, and by where they
/// stand: in headers, URLs, signed links, flags, JSON web tokens and PEM blocks, in Secrets and in commands about them, as JSON, YAML or
/// Go writes them, also in texts that a text quotes. Where a secret comes from, such as a `secretKeyRef`, is none.
///
/// # Example
/// ```
/// let line = argus_core::redact("DB_PASSWORD=hunter2\u{1b}[31m connecting");
/// assert_eq!(line, "DB_PASSWORD=[redacted] [31m connecting");
/// ```
#[must_use]
pub fn redact(text: &str) -> String {
    redact_to(text, LONGEST)
}

/// JSON as it may be kept: each text as [`redact`] keeps it, a value judged together with its name, and bounded to 200 entries of a list
/// or an object and eight levels.
///
/// # Example
/// ```
/// use serde_json::json;
/// let kept = argus_core::redact_json(json!({ "env": [{ "name": "DB_PASSWORD", "value": "hunter2" }] }));
/// assert_eq!(kept, json!({ "env": [{ "name": "DB_PASSWORD", "value": "[redacted]" }] }));
/// ```
#[must_use]
pub fn redact_json(value: Value) -> Value {
    Redactor::nameless().json(value)
}

/// `text` as it may be kept, bounded to `longest` characters.
pub(crate) fn redact_to(text: &str, longest: usize) -> String {
    cleaned(text, longest, &mut |_| format!("{MARK}]"))
}

/// A text that is redacted already, as long as texts may be.
pub(crate) fn shortened(text: &str) -> String {
    bounded(text, LONGEST)
}

/// Whether a text has the place of a secret in it.
pub(crate) fn is_redacted(text: &str) -> bool {
    text.contains(MARK)
}

/// Redacts texts that belong together: one secret has one placeholder in all of them, `[redacted-1]`, so that a reader can see where
/// the same one stands, and nothing else of it.
#[derive(Default)]
pub(crate) struct Redactor {
    secrets: BTreeMap<String, usize>,
    /// Whether secrets aren't told apart.
    nameless: bool,
}

impl Redactor {
    fn nameless() -> Self {
        Self {
            nameless: true,
            ..Self::default()
        }
    }

    /// A text as it may be kept.
    pub(crate) fn text(&mut self, text: &str) -> String {
        cleaned(text, LONGEST, &mut |secret| self.placeholder(secret))
    }

    /// The name of an object as it may be kept: one line, no longer than Kubernetes' own.
    pub(crate) fn name(&mut self, name: &str) -> String {
        let line = self.text(name).replace(['\n', '\t'], " ");
        bounded(&line, LONGEST_NAME)
    }

    fn placeholder(&mut self, secret: &str) -> String {
        let next = self.secrets.len() + 1;
        let number = match self.secrets.get(secret) {
            Some(number) => *number,
            None if self.nameless || next > MAX_SECRETS => return format!("{MARK}]"),
            None => *self.secrets.entry(secret.to_owned()).or_insert(next),
        };
        format!("{MARK}-{number}]")
    }

    /// Texts as they may be kept, each judged with those beside it: a flag with the value after it, lines with the object that they are.
    pub(crate) fn list(&mut self, texts: &[String]) -> Vec<String> {
        let texts = texts.iter().take(MAX_ENTRIES);
        let texts: Vec<String> = texts.map(|text| bounded(text, LONGEST)).collect();
        let mut start = 0;
        let place = |text: &String| {
            let at = start..start + text.len();
            start = at.end + 1;
            at
        };
        let places: Vec<Range<usize>> = texts.iter().map(place).collect();
        let hidden = find::in_list(&texts.join("\n"), &places);
        let kept = texts.into_iter().zip(&places).map(|(text, place)| {
            let inside = |at: &Range<usize>| {
                let from = at.start.max(place.start);
                let to = at.end.min(place.end);
                (from < to).then(|| from - place.start..to - place.start)
            };
            // Few enough of them are in a list that may hold 200 texts at most.
            let inside = hidden.iter().filter_map(inside).collect();
            let mut placeholder = |secret: &str| self.placeholder(secret);
            patterned(without(text, inside, &mut placeholder), &mut placeholder)
        });
        kept.collect()
    }

    /// JSON as it may be kept. A value is judged together with its name: `password: hunter2` is a secret, `hunter2` alone is a word.
    pub(crate) fn map(&mut self, map: Map<String, Value>) -> Map<String, Value> {
        match self.json(map.into()) {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn json(&mut self, value: Value) -> Value {
        let value = bounded_json(value, 0);
        let mut scalars = 0;
        let tree = Node::of(&value, &mut scalars);
        let mut places = Vec::new();
        judge::secrets(&tree, &mut places);
        drop(tree);
        let mut hidden = vec![false; scalars];
        for place in places {
            hidden
                .get_mut(place)
                .into_iter()
                .flatten()
                .for_each(|is| *is = true);
        }
        self.kept(value, &mut hidden.into_iter())
    }

    /// A value as it may be kept, given which of its scalars are secrets.
    fn kept(&mut self, value: Value, hidden: &mut impl Iterator<Item = bool>) -> Value {
        match value {
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let text = |item: &Value| item.as_str().unwrap_or_default().to_owned();
                let texts: Vec<String> = items.iter().map(text).collect();
                let kept = self.list(&texts);
                let kept = texts.iter().zip(kept).map(|(text, kept)| {
                    if hidden.next() == Some(true) {
                        return self.placeholder(text);
                    }
                    kept
                });
                kept.map(Value::String).collect()
            }
            Value::Array(items) => {
                let items = items.into_iter();
                items.map(|item| self.kept(item, hidden)).collect()
            }
            Value::Object(map) => {
                let fields = map.into_iter().map(|(key, value)| {
                    let value = self.kept(value, hidden);
                    (self.text(&key), value)
                });
                Value::Object(fields.collect())
            }
            scalar => match (hidden.next(), scalar) {
                (Some(true), Value::String(text)) => Value::String(self.placeholder(&text)),
                (Some(true), scalar) => Value::String(self.placeholder(&scalar.to_string())),
                (_, Value::String(text)) => Value::String(self.text(&text)),
                (_, scalar) => scalar,
            },
        }
    }
}

/// JSON with as many entries and levels as are kept.
fn bounded_json(value: Value, depth: usize) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) if depth > DEEPEST => Value::Null,
        Value::Array(items) => {
            let items = items.into_iter().take(MAX_ENTRIES);
            items.map(|item| bounded_json(item, depth + 1)).collect()
        }
        Value::Object(map) => {
            let fields = map.into_iter().take(MAX_ENTRIES);
            let fields = fields.map(|(key, value)| (key, bounded_json(value, depth + 1)));
            Value::Object(fields.collect())
        }
        scalar => scalar,
    }
}

fn cleaned(text: &str, longest: usize, placeholder: &mut dyn FnMut(&str) -> String) -> String {
    // The patterns, which take a while to make, have nothing to say of it.
    if text.is_empty() {
        return String::new();
    }
    let bounded = bounded(text, longest);
    let hidden = find::secrets(&bounded);
    patterned(without(bounded, hidden, placeholder), placeholder)
}

/// Bounded before anything is looked for in it, so that nothing can be made to work on megabytes.
fn bounded(text: &str, longest: usize) -> String {
    let shown = text.chars().take(longest);
    let mut bounded: String = shown.map(|c| if is_shown(c) { c } else { ' ' }).collect();
    if text.chars().nth(longest).is_some() {
        bounded.push_str(" [cut]");
    }
    bounded
}

/// A text without what stands at these places.
fn without(
    text: String,
    hidden: Vec<Range<usize>>,
    placeholder: &mut dyn FnMut(&str) -> String,
) -> String {
    if hidden.is_empty() {
        return text;
    }
    let mut kept = String::new();
    let mut last = 0;
    for at in hidden {
        let (Some(before), Some(secret)) = (text.get(last..at.start), text.get(at.clone())) else {
            continue;
        };
        if !secret.starts_with(MARK) {
            kept.push_str(before);
            kept.push_str(&placeholder(secret));
            last = at.end;
        }
    }
    kept + text.get(last..).unwrap_or_default()
}

/// A text without what the patterns find.
fn patterned(text: String, placeholder: &mut dyn FnMut(&str) -> String) -> String {
    if !patterns::may_find(&text) {
        return text;
    }
    RULES.iter().fold(text, |text, rule| {
        let hidden = patterns::found(&text, rule);
        without(text, hidden, placeholder)
    })
}

/// Whether a character may be shown: no controls, and nothing that reorders or hides text.
fn is_shown(c: char) -> bool {
    matches!(c, '\n' | '\t') || !(c.is_control() || is_hidden(c))
}

#[cfg(test)]
mod tests;
