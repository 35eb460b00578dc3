//! A pack's Rego becomes Rego that ends and that reads what is there: no rule may reach itself, nothing is read but the
//! input and the pack's own data, no field of the input is misspelt, and every function exists, is pure, and takes as many
//! values as it is given. The engine would follow a rule that reaches itself until the host's stack is used up, and it
//! would find a misspelt function only where it is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use argus_core::PolicyInput;
use regorus::unstable::{BUILTINS, Expr, Module, Ref, Rule, RuleHead};
use serde_json::Value;

use crate::clauses::{Clause, Kind, Word};
use crate::walk::{Node, walk};

/// Functions that no pack may call, with why.
const REFUSED: [(&str, &str); 4] = [
    ("numbers.range", "it can take as long as it likes"),
    ("numbers.range_step", "it can take as long as it likes"),
    ("rand.intn", "the same plan has to get the same answer"),
    ("trace", "nobody reads what it says"),
];

/// How many rules may stand one behind the other. Each takes of the host's stack.
const MAX_CHAIN: usize = 50;

/// That the modules read nothing but the input, as the schema has it, and what stands below these names of `data`; that what they do
/// ends, and that everything which they call is there.
pub(crate) fn check<'a>(
    modules: &[Ref<Module>],
    words: &[Vec<Word>],
    clauses: impl Iterator<Item = &'a Clause> + Clone,
    data: &[&str],
    schema: &Value,
) -> Result<(), String> {
    for (module, words) in modules.iter().zip(words) {
        let file = module.package.refr.span().source.file();
        check_data(file, words, data)?;
        check_input(file, words, schema)?;
    }
    check_calls(modules)?;
    check_defaults(modules)?;
    check_recursion(clauses)
}

/// That no clause reaches itself, and that none reaches another through too many.
fn check_recursion<'a>(clauses: impl Iterator<Item = &'a Clause> + Clone) -> Result<(), String> {
    let reaches = reaches(clauses.clone());
    let wrong = |name: &str, problem: &str| {
        let place = clauses.clone().find(|clause| clause.name == name);
        let place = place.map_or("", |clause| &clause.place);
        Err(format!("{place}: the rule `{name}` {problem}"))
    };
    // Layer by layer those that reach nothing but what is settled.
    let mut left: BTreeSet<&str> = reaches.keys().copied().collect();
    for _ in 0..MAX_CHAIN {
        let settled = |name: &&str| {
            let reached = reaches.get(name).into_iter().flatten();
            reached.into_iter().all(|reached| !left.contains(reached))
        };
        let layer: Vec<&str> = left.iter().copied().filter(settled).collect();
        if layer.is_empty() {
            break;
        }
        left.retain(|name| !layer.contains(name));
    }
    let itself = |name: &&&str| all_reached(name, &reaches).contains(**name);
    match (left.iter().find(itself), left.first()) {
        (Some(name), _) => wrong(name, "reaches itself: rules must not be recursive"),
        (None, Some(name)) => {
            let problem = format!("reaches another through more than {MAX_CHAIN} rules");
            wrong(name, &problem)
        }
        (None, None) => Ok(()),
    }
}

/// What each name reaches at once.
fn reaches<'a>(
    clauses: impl Iterator<Item = &'a Clause> + Clone,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let names: BTreeSet<&str> = clauses.clone().map(|clause| clause.name.as_str()).collect();
    let mut reaches: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for clause in clauses {
        let known = clause
            .words
            .iter()
            .filter_map(|word| names.get(word.as_str()).copied());
        reaches.entry(&clause.name).or_default().extend(known);
    }
    reaches
}

/// Everything that a name reaches; itself only if something leads back to it.
fn all_reached<'a>(
    from: &'a str,
    reaches: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(next) = todo.pop() {
        for reached in reaches.get(next).into_iter().flatten() {
            if seen.insert(*reached) {
                todo.push(reached);
            }
        }
    }
    seen
}

/// That of `data` a file reads nothing but what stands below these names.
fn check_data(file: &str, words: &[Word], allowed: &[&str]) -> Result<(), String> {
    for (index, word) in words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.kind == Kind::Name && word.text() == "data")
    {
        let path = || words.iter().skip(index + 1).map(Word::text);
        if !allowed.iter().any(|name| path().take(2).eq([".", *name])) {
            return Err(format!(
                "{file}:{}: of `data` only `data.{}` may be read",
                word.line(),
                allowed.join("` and `data.")
            ));
        }
    }
    Ok(())
}

pub(crate) static INPUT: LazyLock<Value> = LazyLock::new(PolicyInput::schema);

/// That every `input.a.b` names fields which the schema has, as far as it tells.
fn check_input(file: &str, words: &[Word], schema: &Value) -> Result<(), String> {
    let root = schema;
    for (index, word) in words.iter().enumerate() {
        if word.kind != Kind::Name || word.text() != "input" {
            continue;
        }
        let mut path = "input".to_owned();
        let mut schema = root;
        let mut rest = words.get(index + 1..).unwrap_or_default();
        while let [dot, field, after @ ..] = rest
            && dot.text() == "."
            && let Some(fields) = fields(schema, root)
        {
            match fields.get(field.text()) {
                Some(next) => schema = next,
                None => {
                    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                    let problem = format!(
                        "{file}:{}: `{path}` has no field `{}`, it has {}",
                        field.line(),
                        field.text(),
                        known.join(", ")
                    );
                    return Err(problem);
                }
            }
            path = format!("{path}.{}", field.text());
            rest = after;
        }
    }
    Ok(())
}

/// The fields of an object by its schema; none where it says nothing about them.
fn fields<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a serde_json::Map<String, Value>> {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(place) => root.pointer(place.strip_prefix('#')?)?,
        None => schema,
    };
    schema.get("properties")?.as_object()
}

/// That no name has two defaults: the engine would take either.
fn check_defaults(modules: &[Ref<Module>]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for module in modules {
        let package = module.package.refr.span().text();
        for rule in &module.policy {
            if let Rule::Default { refr, .. } = rule.as_ref() {
                let (span, name) = (refr.span(), refr.span().text());
                if !seen.insert((package, name)) {
                    let (file, line) = (span.source.file(), span.line);
                    return Err(format!("{file}:{line}: `{name}` has a default already"));
                }
            }
        }
    }
    Ok(())
}

/// That every function which the modules call is theirs or built in, may be called, and gets the values that it takes.
fn check_calls(modules: &[Ref<Module>]) -> Result<(), String> {
    let mut own: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in modules.iter().flat_map(|module| &module.policy) {
        if let Rule::Spec {
            head: RuleHead::Func { refr, args, .. },
            ..
        } = rule.as_ref()
        {
            own.insert(refr.span().text(), args.len());
        }
    }
    let mut wrong = None;
    for module in modules {
        walk(module, &mut |node| {
            let Node::Expression(Expr::Call {
                span, fcn, params, ..
            }) = node
            else {
                return;
            };
            let name: String = fcn.span().text().split_whitespace().collect();
            if name == "numbers.range" && params.iter().all(|param| is_small(param)) {
                return;
            }
            if let Some(problem) = problem(&own, &name, params.len()) {
                let place = format!("{}:{}", span.source.file(), span.line);
                wrong.get_or_insert(format!("{place}: {problem}"));
            }
        });
    }
    wrong.map_or(Ok(()), Err)
}

/// Whether an expression is a number that is written there and small.
fn is_small(expression: &Expr) -> bool {
    let number = match expression {
        Expr::Number { span, .. } => span.text().parse::<u8>(),
        _ => return false,
    };
    number.is_ok()
}

fn problem(own: &BTreeMap<&str, usize>, name: &str, given: usize) -> Option<String> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Some(format!("`{name}` may not be called: {why}"));
    }
    let takes = match own.get(name) {
        Some(takes) => *takes,
        None => match (BUILTINS.get(name), name.rsplit_once('.')) {
            (Some((_, takes)), _) => usize::from(*takes),
            // Of another module of the same pack.
            (None, Some((_, last))) if own.contains_key(last) => return None,
            _ => return Some(format!("there is no function `{name}`")),
        },
    };
    // The last one may take up the result.
    (given != takes && given != takes + 1)
        .then(|| format!("`{name}` takes {takes} values, it is given {given}"))
}
