//! A pack's Rego becomes Rego that ends and that reads what is there: no rule may reach itself, nothing is read but the
//! input and the pack's own data, no field of the input is misspelt, and every function exists, is pure, and takes as many
//! values as it is given. The engine would follow a rule that reaches itself until the host's stack is used up, and it
//! would find a misspelt function only where it is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use argus_core::PolicyInput;
use regorus::unstable::{BUILTINS, Expr, Literal, Module, Query, Ref, Rule, RuleHead};
use serde_json::Value;

use crate::clauses::{Clause, Kind, Word};

/// Functions that no pack may call, with why.
const REFUSED: [(&str, &str); 4] = [
    ("numbers.range", "it can take as long as it likes"),
    ("numbers.range_step", "it can take as long as it likes"),
    ("rand.intn", "the same plan has to get the same answer"),
    ("trace", "nobody reads what it says"),
];

/// That no clause reaches itself.
pub(crate) fn check_recursion<'a>(
    clauses: impl Iterator<Item = &'a Clause> + Clone,
) -> Result<(), String> {
    let reaches = reaches(clauses.clone());
    match clauses
        .into_iter()
        .find(|clause| all_reached([clause.name.as_str()], &reaches).contains(clause.name.as_str()))
    {
        None => Ok(()),
        Some(clause) => Err(format!(
            "{}: the rule `{}` reaches itself: rules must not be recursive",
            clause.place, clause.name
        )),
    }
}

/// What each name reaches at once.
pub(crate) fn reaches<'a>(
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

/// Everything that is reached from these names; a name itself only if something reaches it.
pub(crate) fn all_reached<'a>(
    from: impl IntoIterator<Item = &'a str>,
    reaches: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> BTreeSet<&'a str> {
    let (mut seen, mut todo) = (BTreeSet::new(), from.into_iter().collect::<Vec<_>>());
    while let Some(next) = todo.pop() {
        for reached in reaches.get(next).into_iter().flatten() {
            if seen.insert(*reached) {
                todo.push(reached);
            }
        }
    }
    seen
}

/// That of `data` a file reads nothing but what stands below this name.
pub(crate) fn check_data(file: &str, words: &[Word], allowed: &str) -> Result<(), String> {
    for (index, word) in words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.kind == Kind::Name && word.text == "data")
    {
        let path = words.iter().skip(index + 1).map(|word| word.text.as_str());
        if !path.take(2).eq([".", allowed]) {
            return Err(format!(
                "{file}:{}: of `data` only `data.{allowed}` may be read",
                word.line
            ));
        }
    }
    Ok(())
}

pub(crate) static INPUT: LazyLock<Value> = LazyLock::new(PolicyInput::schema);

/// That every `input.a.b` names fields which the schema has, as far as it tells.
pub(crate) fn check_input(file: &str, words: &[Word], schema: &Value) -> Result<(), String> {
    let root = schema;
    for (index, word) in words.iter().enumerate() {
        if word.kind != Kind::Name || word.text != "input" {
            continue;
        }
        let mut path = "input".to_owned();
        let mut schema = root;
        let mut rest = words.get(index + 1..).unwrap_or_default();
        while let [dot, field, after @ ..] = rest
            && dot.text == "."
            && let Some(fields) = fields(schema, root)
        {
            match fields.get(&field.text) {
                Some(next) => schema = next,
                None => {
                    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                    let problem = format!(
                        "{file}:{}: `{path}` has no field `{}`, it has {}",
                        field.line,
                        field.text,
                        known.join(", ")
                    );
                    return Err(problem);
                }
            }
            path = format!("{path}.{}", field.text);
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

/// That every function which the modules call is theirs or built in, may be called, and gets the values that it takes.
pub(crate) fn check_calls(modules: &[Ref<Module>]) -> Result<(), String> {
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
    let mut calls = Calls { own, wrong: None };
    for rule in modules.iter().flat_map(|module| &module.policy) {
        calls.rule(rule);
    }
    calls.wrong.map_or(Ok(()), Err)
}

/// A walk through every expression, to the first call that can't work.
struct Calls<'a> {
    own: BTreeMap<&'a str, usize>,
    wrong: Option<String>,
}

impl Calls<'_> {
    fn rule(&mut self, rule: &Rule) {
        let Rule::Spec { head, bodies, .. } = rule else {
            return;
        };
        match head {
            RuleHead::Set { key, .. } => key.iter().for_each(|key| self.expression(key)),
            RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                assign
                    .iter()
                    .for_each(|assign| self.expression(&assign.value));
            }
        }
        for body in bodies {
            body.assign
                .iter()
                .for_each(|assign| self.expression(&assign.value));
            self.query(&body.query);
        }
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn {
                    key,
                    value,
                    collection,
                    ..
                } => key
                    .iter()
                    .chain([value, collection])
                    .for_each(|part| self.expression(part)),
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expression(expr),
                Literal::Every { domain, query, .. } => {
                    self.expression(domain);
                    self.query(query);
                }
            }
            for with in &statement.with_mods {
                self.expression(&with.r#as);
            }
        }
    }

    fn expression(&mut self, expression: &Expr) {
        match expression {
            Expr::Call {
                span, fcn, params, ..
            } => {
                let name: String = fcn.span().text().split_whitespace().collect();
                if self.wrong.is_none() {
                    self.wrong = self
                        .problem(&name, params.len())
                        .map(|problem| format!("{}:{}: {problem}", span.source.file(), span.line));
                }
                params.iter().for_each(|part| self.expression(part));
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                items.iter().for_each(|part| self.expression(part));
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expression(key);
                    self.expression(value);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expression(term);
                self.query(query);
            }
            Expr::ObjectCompr {
                key, value, query, ..
            } => {
                self.expression(key);
                self.expression(value);
                self.query(query);
            }
            Expr::UnaryExpr { expr, .. } => self.expression(expr),
            Expr::RefDot { refr, .. } => self.expression(refr),
            Expr::RefBrack { refr, index, .. } => {
                self.expression(refr);
                self.expression(index);
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => {
                self.expression(lhs);
                self.expression(rhs);
            }
            Expr::Membership {
                key,
                value,
                collection,
                ..
            } => key
                .iter()
                .chain([value, collection])
                .for_each(|part| self.expression(part)),
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
            | Expr::Var { .. } => {}
        }
    }

    fn problem(&self, name: &str, given: usize) -> Option<String> {
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Some(format!("`{name}` may not be called: {why}"));
        }
        let takes = match self.own.get(name) {
            Some(takes) => *takes,
            None => match (BUILTINS.get(name), name.rsplit_once('.')) {
                (Some((_, takes)), _) => usize::from(*takes),
                // Of another module of the same pack.
                (None, Some((_, last))) if self.own.contains_key(last) => return None,
                _ => return Some(format!("there is no function `{name}`")),
            },
        };
        // The last one may take up the result.
        (given != takes && given != takes + 1)
            .then(|| format!("`{name}` takes {takes} values, it is given {given}"))
    }
}
