//! YAML text becomes JSON, where every reader of YAML agrees on what it says.
//!
//! YAML 1.1 and 1.2 disagree about words such as `on` and numbers such as `010`, and kubectl reads 1.1. Whatever could be
//! read in two ways has to be quoted; anchors, aliases, tags, merges and directives are refused.

use std::cell::RefCell;
use std::sync::LazyLock;

use granit_parser::{BorrowedInput, Event, Options, Parser, ScalarStyle};
use regex::Regex;
use serde_json::{Map, Value};

use super::{JsonError, Place};
use crate::letters::short;

/// Reads YAML text of one document.
pub(crate) fn from_yaml(text: &str) -> Result<Value, JsonError> {
    if has_surrogate(text) {
        return Err(JsonError::Syntax(
            "YAML has no `\\u` escape for half a letter: write the letter itself, or `\\U` and eight digits".into(),
        ));
    }
    let mut options = Options::default();
    options.disallow_directives = true;
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
    };
    let failed = RefCell::new(None);
    let root = Place::Root(&failed);
    reader.skip_to_document()?;
    let first = reader.next()?;
    let value = reader.value(first, &root)?;
    match (reader.next()?, reader.next()?) {
        (Event::DocumentEnd, Event::StreamEnd) => Ok(value),
        _ => Err(root.error("there is more than one YAML document")),
    }
}

/// Whether there is an escape of a surrogate, which JSON has and kubectl's YAML refuses.
fn has_surrogate(text: &str) -> bool {
    text.split("\\u").skip(1).any(|rest| {
        let mut digits = rest.chars();
        let first = digits.next().is_some_and(|c| matches!(c, 'd' | 'D'));
        first
            && digits
                .next()
                .and_then(|c| c.to_digit(16))
                .is_some_and(|digit| digit >= 8)
    })
}

struct Reader<'a, T: BorrowedInput<'a>> {
    events: Parser<'a, T>,
}

impl<'a, T: BorrowedInput<'a>> Reader<'a, T> {
    fn next(&mut self) -> Result<Event<'a>, JsonError> {
        match self.events.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(JsonError::Syntax(format!(
                "the YAML is broken at line {} column {}",
                error.marker().line(),
                error.marker().col() + 1
            ))),
            None => Err(JsonError::Syntax("the YAML ends too early".into())),
        }
    }

    fn skip_to_document(&mut self) -> Result<(), JsonError> {
        loop {
            match self.next()? {
                Event::DocumentStart(..) => return Ok(()),
                Event::StreamEnd => return Err(JsonError::Syntax("the YAML is empty".into())),
                _ => {}
            }
        }
    }

    fn value(&mut self, event: Event<'a>, place: &Place<'_>) -> Result<Value, JsonError> {
        match event {
            Event::Scalar(text, style, 0, None) => scalar(&text, style, place),
            Event::SequenceStart(_, 0, None) => {
                place.check_depth()?;
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(list.into()),
                        event => list.push(self.value(event, &Place::Index(place, list.len()))?),
                    }
                }
            }
            Event::MappingStart(_, 0, None) => {
                place.check_depth()?;
                let mut map = Map::new();
                loop {
                    let key = match self.next()? {
                        Event::MappingEnd => return Ok(map.into()),
                        event => key(event, place)?,
                    };
                    place.check_key(&map, &key)?;
                    let event = self.next()?;
                    let value = self.value(event, &Place::Key(place, &key))?;
                    map.insert(key, value);
                }
            }
            _ => {
                Err(place
                    .error("YAML anchors, aliases and tags are not read: write the value itself"))
            }
        }
    }
}

fn key(event: Event<'_>, place: &Place<'_>) -> Result<String, JsonError> {
    let Event::Scalar(text, style, 0, None) = event else {
        return Err(place.error("a YAML key is not plain text"));
    };
    if style == ScalarStyle::Plain && text == "<<" {
        return Err(place.error("YAML merge keys are not read: write the fields themselves"));
    }
    match scalar(&text, style, place)? {
        Value::String(text) => Ok(text),
        _ => Err(place.error(format!(
            "the YAML key `{}` is not text: quote it",
            short(&text)
        ))),
    }
}

fn scalar(text: &str, style: ScalarStyle, place: &Place<'_>) -> Result<Value, JsonError> {
    if style != ScalarStyle::Plain {
        return Ok(text.into());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(true.into()),
        "false" | "False" | "FALSE" => return Ok(false.into()),
        _ => {}
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned
        .split_once('.')
        .map_or((unsigned, None), |(whole, fraction)| {
            (whole, Some(fraction))
        });
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(whole) && (whole == "0" || !whole.starts_with('0')) && text != "-0" {
        match fraction {
            None => {
                if let Ok(number) = text.parse::<i64>() {
                    return Ok(number.into());
                }
            }
            Some(fraction) if digits(fraction) => {
                if let Ok(number) = text.parse() {
                    return place.float(number);
                }
            }
            Some(_) => {}
        }
    }
    if is_ambiguous(text) {
        return Err(place.error(format!(
            "`{}` could be read as a number, a date or a yes: put it into quotes, or write the plain value",
            short(text)
        )));
    }
    Ok(text.into())
}

/// Numbers of YAML 1.1 and 1.2 beyond the plain ones: other bases, underscores, exponents, base 60, infinity, dates.
static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = concat!(
        r"^[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+",
        r"|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9_]+(?:[eE][-+]?[0-9]+)?",
        r"|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|\.(?i:inf|nan)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*)$"
    );
    Regex::new(pattern).ok()
});

/// Whether some reader of YAML would take a plain text for something else than text.
fn is_ambiguous(text: &str) -> bool {
    const WORDS: [&str; 7] = ["y", "n", "yes", "no", "on", "off", "="];
    let word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    word || NUMBER.as_ref().is_none_or(|number| number.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn plain_yaml_is_read_as_kubectl_reads_it() {
        let text = "
# a comment
spec:
  replicas: 2
  paused: false
  template:
    spec:
      containers:
      - name: app
        image: registry.example/web:1.2
        resources: {limits: {memory: 512Mi, cpu: 500m}}
        args: [\"on\", '010', -5, 0.5, ~]
  note: |
    two
    lines
";
        assert_eq!(
            from_yaml(text).unwrap(),
            json!({"spec": {"replicas": 2, "paused": false, "note": "two\nlines\n", "template": {"spec": {"containers": [{
                "name": "app", "image": "registry.example/web:1.2", "resources": {"limits": {"memory": "512Mi", "cpu": "500m"}},
                "args": ["on", "010", -5, 0.5, null]}]}}}})
        );
        assert_eq!(
            from_yaml(r#"[{"op":"replace","path":"/spec/suspend","value":false}]"#).unwrap(),
            json!([{"op": "replace", "path": "/spec/suspend", "value": false}])
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for value in [
            "on",
            "Yes",
            "n",
            "010",
            "0x1f",
            "0o17",
            "0b11",
            "1_000",
            "1e3",
            "+1",
            "-0",
            "12:30",
            "2026-01-01",
            ".inf",
            "-.INF",
            ".nan",
            ".5",
            "5.",
            "=",
            "99999999999999999999",
            "*x",
            "&x 1",
            "!!str 1",
            "!x 1",
        ] {
            let text = format!("spec:\n  a: {value}\n");
            assert!(from_yaml(&text).is_err(), "{value}: {:?}", from_yaml(&text));
        }
        for text in [
            "",
            "a: 1\n---\nb: 2",
            "a: 1\na: 2",
            "a: &x {b: 1}\nc: *x",
            "<<: {a: 1}",
            "on: 1",
            "1: a",
            "? [a]\n: b",
            "%YAML 1.1\n---\na: 1",
            "a: [1",
            "a:\n\t- b",
            "{\"a\": \"\\ud83d\\ude00\"}",
        ] {
            assert!(from_yaml(text).is_err(), "{text}: {:?}", from_yaml(text));
        }
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        assert!(
            from_yaml(&deep)
                .unwrap_err()
                .to_string()
                .contains("nesting is deeper")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = from_yaml(&text);
        }

        #[test]
        fn yaml_like_text_is_read_or_refused(text in "[a0-9:{}\\[\\]\",\n '|>&*!%#-]{0,40}") {
            let _ = from_yaml(&text);
        }

        /// JSON is YAML; where both readers take a text they agree.
        #[test]
        fn json_means_the_same_to_both_readers(text in "[\\[\\]{}:,\"ab0-9eE+. -]{0,24}") {
            if let (Ok(json), Ok(yaml)) = (super::super::from_json(&text), from_yaml(&text)) {
                prop_assert_eq!(json, yaml);
            }
        }
    }
}
