//! Text from a cluster, a host or a model becomes text that may be kept and shown: bounded, without
//! control characters, and without what looks like a secret.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use crate::letters::is_hidden;

mod redacted;
pub use redacted::Redacted;

mod rules;
use rules::{ANY, NO_SECRETS, RULES};

/// How what stands where a secret stood begins.
const MARK: &str = "[redacted";
/// The longest text that is kept, in characters.
const LONGEST: usize = 4096;
/// How many secrets are told apart.
const MAX_SECRETS: usize = 1000;
/// The most entries of a list or a map that are kept.
pub(crate) const MAX_ENTRIES: usize = 200;
/// The deepest nesting that is kept.
const DEEPEST: usize = 8;

/// `text` as it may be kept: redacted, bounded to 4,096 characters, controls replaced by spaces.
///
/// Newlines and tabs stay. Passwords and keys are found by their name, by what their issuers put before them, and by where they
/// stand: in headers, URLs, signed links, flags, JSON web tokens and PEM blocks.
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

/// `text` as it may be kept, bounded to `longest` characters.
pub(crate) fn redact_to(text: &str, longest: usize) -> String {
    cleaned(text, longest, &mut |_| format!("{MARK}]"))
}

/// Whether a text has the place of a secret in it.
pub(crate) fn is_redacted(text: &str) -> bool {
    text.contains(MARK)
}

/// Redacts texts that belong together: one secret has one placeholder in all of them, `[redacted-1]`, so that a reader can see where
/// the same one stands, and nothing else of it.
#[derive(Default)]
pub(crate) struct Redactor(BTreeMap<String, usize>);

impl Redactor {
    /// A text as it may be kept.
    pub(crate) fn text(&mut self, text: &str) -> String {
        cleaned(text, LONGEST, &mut |secret| self.placeholder(secret))
    }

    fn placeholder(&mut self, secret: &str) -> String {
        let next = self.0.len() + 1;
        let number = match self.0.get(secret) {
            Some(number) => *number,
            None if next > MAX_SECRETS => return format!("{MARK}]"),
            None => *self.0.entry(secret.to_owned()).or_insert(next),
        };
        format!("{MARK}-{number}]")
    }

    /// Texts as they may be kept, a flag together with the value after it.
    pub(crate) fn list(&mut self, texts: &[String]) -> Vec<String> {
        let mut flag = None;
        let texts = texts.iter().take(MAX_ENTRIES);
        texts.map(|text| self.item(&mut flag, text)).collect()
    }

    /// JSON as it may be kept. A value is judged together with its name: `password: hunter2` is a secret, `hunter2` alone is a word.
    pub(crate) fn map(&mut self, map: Map<String, Value>) -> Map<String, Value> {
        self.fields(map, 0)
    }

    fn fields(&mut self, map: Map<String, Value>, depth: usize) -> Map<String, Value> {
        let is_secret_object = map.get("kind").and_then(Value::as_str) == Some("Secret");
        let name = ["name", "key", "Name"];
        let name = name
            .iter()
            .find_map(|name| map.get(*name)?.as_str().map(str::to_owned));
        let kept = map.into_iter().take(MAX_ENTRIES).map(|(key, value)| {
            // A variable of a container is `{"name": ..., "value": ...}`.
            let named = match (&name, key.as_str()) {
                (Some(name), "value" | "Value") => name,
                _ => &key,
            };
            let value = match value {
                Value::String(text) => Value::String(self.named(named, &text)),
                Value::Object(data)
                    if is_secret_object && matches!(key.as_str(), "data" | "stringData") =>
                {
                    let hidden = data.into_iter().take(MAX_ENTRIES).map(|(key, value)| {
                        let text = value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned);
                        (self.text(&key), Value::String(self.placeholder(&text)))
                    });
                    Value::Object(hidden.collect())
                }
                value => self.value(value, depth),
            };
            (self.text(&key), value)
        });
        kept.collect()
    }

    /// A value as it may be kept, given its name.
    fn named(&mut self, name: &str, value: &str) -> String {
        let quoted: String = value
            .chars()
            .filter(|c| !matches!(c, '"' | '\\' | '\n'))
            .collect();
        let together = redact(&format!("{name}=\"{quoted}\""));
        if quoted.len() >= 3 && together.ends_with("=\"[redacted]\"") && !value.starts_with(MARK) {
            return self.placeholder(value);
        }
        self.text(value)
    }

    fn items(&mut self, items: Vec<Value>, depth: usize) -> Vec<Value> {
        let mut flag = None;
        let kept = items.into_iter().take(MAX_ENTRIES).map(|item| match item {
            Value::String(text) => Value::String(self.item(&mut flag, &text)),
            item => {
                flag = None;
                self.value(item, depth)
            }
        });
        kept.collect()
    }

    /// A text of a list as it may be kept; `flag` is the name of the flag before it, and then of this one, if it is one.
    fn item(&mut self, flag: &mut Option<String>, text: &str) -> String {
        let before = flag.take();
        if text.starts_with('-') && !text.contains(['=', ' ']) {
            *flag = Some(text.trim_start_matches('-').to_owned());
        }
        match before {
            Some(before) if flag.is_none() => self.named(&before, text),
            _ => self.text(text),
        }
    }

    fn value(&mut self, value: Value, depth: usize) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(_) | Value::Object(_) if depth >= DEEPEST => Value::Null,
            Value::Array(items) => self.items(items, depth + 1).into(),
            Value::Object(map) => Value::Object(self.fields(map, depth + 1)),
            other => other,
        }
    }
}

fn cleaned(text: &str, longest: usize, placeholder: &mut dyn FnMut(&str) -> String) -> String {
    // The patterns, which take a while to make, have nothing to say of it.
    if text.is_empty() {
        return String::new();
    }
    // Bounded before the patterns run, so that they can't be made to work on megabytes.
    let mut bounded: String = text
        .chars()
        .take(longest)
        .map(|c| if is_shown(c) { c } else { ' ' })
        .collect();
    if text.chars().nth(longest).is_some() {
        bounded.push_str(" [cut]");
    }
    match ANY.as_ref() {
        Some(any) if !any.is_match(&bounded) => bounded,
        _ => RULES
            .iter()
            .fold(bounded, |text, rule| replaced(text, rule, placeholder)),
    }
}

fn replaced(text: String, rule: &Regex, placeholder: &mut dyn FnMut(&str) -> String) -> String {
    let mut kept = String::new();
    let mut last = 0;
    for found in rule.captures_iter(&text) {
        let groups = ["secret", "double", "single"];
        let Some(secret) = groups.iter().find_map(|group| found.name(group)) else {
            continue;
        };
        let word = secret.as_str();
        let is_none = word.starts_with(MARK) || NO_SECRETS.contains(&word.to_lowercase().as_str());
        let (Some(before), false) = (text.get(last..secret.start()), is_none) else {
            continue;
        };
        kept.push_str(before);
        kept.push_str(&placeholder(word));
        last = secret.end();
    }
    match text.get(last..) {
        Some(rest) if last > 0 => kept + rest,
        _ => text,
    }
}

/// Whether a character may be shown: no controls, and nothing that reorders or hides text.
fn is_shown(c: char) -> bool {
    matches!(c, '\n' | '\t') || !(c.is_control() || is_hidden(c))
}

#[cfg(test)]
mod tests;
