//! A pack's Rego becomes Rego that ends and that reads what is there: no rule may reach itself, nothing is read but the
//! input and the pack's own data, and no field of the input is misspelt. The engine would follow a rule that reaches itself
//! until the host's stack is used up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use argus_core::PolicyInput;
use serde_json::Value;

use regorus::unstable::{Lexer, Module, Source, TokenKind};

/// The first thing that is wrong, with file and line.
pub(crate) fn check(modules: &[impl std::ops::Deref<Target = Module>]) -> Result<(), String> {
    let mut rules: Vec<RuleText> = Vec::new();
    for module in modules {
        rules.extend(rules_of(module)?);
    }
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let mut reaches: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in &rules {
        let known = rule
            .words
            .iter()
            .filter_map(|word| names.get(word.as_str()).copied());
        reaches.entry(&rule.name).or_default().extend(known);
    }
    match rules
        .iter()
        .find(|rule| reaches_itself(&rule.name, &reaches))
    {
        None => Ok(()),
        Some(rule) => Err(format!(
            "{}: the rule `{}` reaches itself: rules must not be recursive",
            rule.place, rule.name
        )),
    }
}

fn reaches_itself(name: &str, reaches: &BTreeMap<&str, BTreeSet<&str>>) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![name]);
    while let Some(next) = todo.pop() {
        for reached in reaches.get(next).into_iter().flatten() {
            if *reached == name {
                return true;
            }
            if seen.insert(*reached) {
                todo.push(reached);
            }
        }
    }
    false
}

/// One clause of a rule: its name, and every word after it that could name another.
struct RuleText {
    name: String,
    place: String,
    words: Vec<String>,
}

struct Word {
    kind: Kind,
    text: String,
    start: u32,
    line: u32,
}

#[derive(PartialEq)]
enum Kind {
    /// Could name a rule, or the data document.
    Name,
    /// What stands behind a dot.
    Field,
    Other,
}

fn rules_of(module: &Module) -> Result<Vec<RuleText>, String> {
    let source = &module.package.refr.span().source;
    let words = words(source)?;
    let file = source.file();
    for (index, _) in words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.kind == Kind::Name && word.text == "data")
    {
        let path = words.iter().skip(index + 1).map(|word| word.text.as_str());
        if !path.take(2).eq([".", "argus_data"]) {
            let line = words.get(index).map_or(0, |word| word.line);
            return Err(format!(
                "{file}:{line}: only the pack's own data, `data.argus_data`, may be read"
            ));
        }
    }
    check_input(&words).map_err(|(line, problem)| format!("{file}:{line}: {problem}"))?;
    let starts: Vec<u32> = module.policy.iter().map(|rule| rule.span().start).collect();
    let clause = |start: &u32| {
        let end = starts
            .iter()
            .filter(|other| *other > start)
            .min()
            .copied()
            .unwrap_or(u32::MAX);
        let mut inside = words
            .iter()
            .filter(|word| (*start..end).contains(&word.start))
            .skip_while(|word| word.text == "default");
        let head = inside.next()?;
        let words = inside
            .filter(|word| word.kind == Kind::Name)
            .map(|word| word.text.clone())
            .collect();
        Some(RuleText {
            name: head.text.clone(),
            place: format!("{file}:{}", head.line),
            words,
        })
    };
    Ok(starts.iter().filter_map(clause).collect())
}

static INPUT: LazyLock<Value> = LazyLock::new(PolicyInput::schema);

/// That every `input.a.b` names fields which the input has, as far as its schema tells.
fn check_input(words: &[Word]) -> Result<(), (u32, String)> {
    for (index, word) in words.iter().enumerate() {
        if word.kind != Kind::Name || word.text != "input" {
            continue;
        }
        let mut path = "input".to_owned();
        let mut schema = &*INPUT;
        let mut rest = words.get(index + 1..).unwrap_or_default();
        while let [dot, field, after @ ..] = rest
            && dot.text == "."
            && let Some(fields) = fields(schema)
        {
            match fields.get(&field.text) {
                Some(next) => schema = next,
                None => {
                    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                    let problem = format!(
                        "`{path}` has no field `{}`, it has {}",
                        field.text,
                        known.join(", ")
                    );
                    return Err((field.line, problem));
                }
            }
            path = format!("{path}.{}", field.text);
            rest = after;
        }
    }
    Ok(())
}

/// The fields of an object by its schema; none where it says nothing about them.
fn fields(schema: &Value) -> Option<&serde_json::Map<String, Value>> {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(place) => INPUT.pointer(place.strip_prefix('#')?)?,
        None => schema,
    };
    schema.get("properties")?.as_object()
}

fn words(source: &Source) -> Result<Vec<Word>, String> {
    let mut lexer = Lexer::new(source);
    let mut words: Vec<Word> = Vec::new();
    loop {
        let token = lexer.next_token().map_err(|error| format!("{error:#}"))?;
        let kind = match token.0 {
            TokenKind::Eof => return Ok(words),
            TokenKind::Ident if words.last().is_some_and(|before| before.text == ".") => {
                Kind::Field
            }
            TokenKind::Ident => Kind::Name,
            _ => Kind::Other,
        };
        words.push(Word {
            kind,
            text: token.1.text().to_owned(),
            start: token.1.start,
            line: token.1.line,
        });
    }
}
