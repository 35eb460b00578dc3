//! `not f(x.y)` becomes what OPA makes of it: `v := x.y; not f(v)`.
//!
//! Where `x.y` is undefined, OPA's rule says nothing. The engine would call `f` undefined, and `not` of that true: a misspelt
//! field would pass silently.

use std::collections::BTreeSet;

use regorus::Engine;
use regorus::unstable::{BoolOp, Expr, Literal, Module, Ref, Rule, RuleHead, Source};

use crate::clauses::{Word, words};
use crate::walk::{Node, walk};

/// How deep one `not` may stand in what another one is about.
const MAX_DEPTH: usize = 8;

/// How deep brackets may stand in each other.
const MAX_BRACKETS: usize = 16;

/// What is to stand in the place of a part of a file: from, to, and the new text.
pub(crate) type Edit = (usize, usize, String);

/// Files of Rego as an engine has parsed them.
pub(crate) struct Parsed {
    pub(crate) engine: Engine,
    /// Of each file.
    pub(crate) words: Vec<Vec<Word>>,
    /// What makes each file what OPA understands.
    pub(crate) edits: Vec<Vec<Edit>>,
}

/// Parses files of Rego, path and text. A `not` inside what another one is about has been dealt with: the texts are those that
/// the engine has.
pub(crate) fn parse(
    fresh: impl Fn() -> Engine,
    files: &mut [(String, String)],
) -> Result<Parsed, String> {
    for _ in 0..MAX_DEPTH {
        let words = files.iter().map(shallow).collect::<Result<_, _>>()?;
        let mut engine = fresh();
        for (path, text) in files.iter() {
            add(&mut engine, path.clone(), text.clone())?;
        }
        let modules = engine.get_modules();
        let rules = modules.iter().flat_map(|module| &module.policy);
        let rules: BTreeSet<&str> = rules.filter_map(|rule| name(rule)).collect();
        let modules = modules.iter().zip(files.iter());
        let edits: Vec<Vec<Edit>> = modules
            .map(|(module, (_, text))| edits(module, text, &rules))
            .collect();
        if edits.iter().all(|edits| apart(edits)) {
            return Ok(Parsed {
                engine,
                words,
                edits,
            });
        }
        for ((_, text), edits) in files.iter_mut().zip(edits) {
            *text = edited(text, edits);
        }
    }
    Err("it has a `not` too deep inside what another one is about".into())
}

impl Parsed {
    /// An engine that has the files as OPA understands them.
    pub(crate) fn understood(
        self,
        fresh: impl Fn() -> Engine,
        files: Vec<(String, String)>,
    ) -> Result<Engine, String> {
        let mut engine = fresh();
        for ((path, text), edits) in files.into_iter().zip(self.edits) {
            add(&mut engine, path, edited(&text, edits))?;
        }
        Ok(engine)
    }
}

/// Parses a file of Rego into an engine.
pub(crate) fn add(engine: &mut Engine, path: String, text: String) -> Result<(), String> {
    let added = engine.add_policy(path, text);
    added.map(drop).map_err(|error| format!("{error:#}"))
}

/// What puts the operands of each `not` of a module in statements of their own, every line in its place.
fn edits(module: &Module, text: &str, rules: &BTreeSet<&str>) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut count = 0;
    walk(module, &mut |node| {
        let Node::Statement(statement) = node else {
            return;
        };
        let Literal::NotExpr { expr, .. } = &statement.literal else {
            return;
        };
        let mut names = Vec::new();
        for operand in operands(expr, rules) {
            let span = operand.span();
            let (start, end) = (span.start as usize, span.end as usize);
            let Some(inside) = text.get(start..end) else {
                return;
            };
            count += 1;
            let name = format!("argus_hoisted_{}_{count}", text.len());
            // On one line: places in the rest of the file stay right.
            let inside = inside.replace('\n', " ");
            names.push(format!("{name} := {inside}; "));
            edits.push((start, end, name));
        }
        let (start, end) = (statement.span.start as usize, statement.span.end as usize);
        let before = text.get(..start).unwrap_or_default().trim_end();
        if names.is_empty() {
            return;
        }
        // A body without braces is one statement.
        let bare = before.ends_with("if");
        let open = if bare { "{ " } else { "" };
        edits.push((start, start, open.to_owned() + &names.concat()));
        if bare {
            edits.push((end, end, " }".into()));
        }
    });
    edits.sort_by_key(|(start, end, _)| (*start, *end));
    edits
}

/// Whether none of these edits, in the order of the file, stands inside another one.
fn apart(edits: &[Edit]) -> bool {
    edits
        .iter()
        .zip(edits.iter().skip(1))
        .all(|((_, end, _), (start, ..))| end <= start)
}

/// The text with other parts in the place of some. One inside another one is left out, the text around it is as it was.
pub(crate) fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(start, end, _)| (*start, *end));
    let mut edited = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end, new) in edits {
        if start < done {
            continue;
        }
        edited.push_str(text.get(done..start).unwrap_or_default());
        edited.push_str(&new);
        done = end;
    }
    edited.push_str(text.get(done..).unwrap_or_default());
    edited
}

/// The words of a file whose brackets don't stand too deep in each other: the engine takes twice as long to parse each level.
fn shallow((path, text): &(String, String)) -> Result<Vec<Word>, String> {
    let source = Source::from_contents(path.clone(), text.clone());
    let source = source.map_err(|error| format!("{error:#}"))?;
    let words = words(&source)?;
    let mut depth = 0usize;
    for word in &words {
        match word.text() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_BRACKETS {
            let line = word.line();
            return Err(format!(
                "{path}:{line}: brackets stand more than {MAX_BRACKETS} deep in each other"
            ));
        }
    }
    Ok(words)
}

fn name(rule: &Ref<Rule>) -> Option<&str> {
    let Rule::Spec { head, .. } = rule.as_ref() else {
        return None;
    };
    let (RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. }) =
        head;
    Some(refr.span().text())
}

/// What OPA evaluates before the negation: all operands that could be undefined; of an equality references stay.
fn operands<'a>(expression: &'a Expr, rules: &BTreeSet<&str>) -> Vec<&'a Ref<Expr>> {
    let (all, equality) = match expression {
        Expr::Call { params, .. } => (params.iter().collect(), false),
        Expr::BoolExpr { op, lhs, rhs, .. } => (vec![lhs, rhs], *op == BoolOp::Eq),
        Expr::Membership {
            key,
            value,
            collection,
            ..
        } => (key.iter().chain([value, collection]).collect(), false),
        _ => (Vec::new(), false),
    };
    let stays = |operand: &Expr| {
        let reference = matches!(
            operand,
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. }
        );
        equality && reference
    };
    let hoisted = |operand: &&Ref<Expr>| !stays(operand) && may_be_undefined(operand, rules);
    all.into_iter().filter(hoisted).collect()
}

fn may_be_undefined(expression: &Expr, rules: &BTreeSet<&str>) -> bool {
    match expression {
        Expr::Var { span, .. } => rules.contains(span.text()),
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().any(|item| may_be_undefined(item, rules))
        }
        Expr::Object { fields, .. } => fields
            .iter()
            .any(|(_, key, value)| may_be_undefined(key, rules) || may_be_undefined(value, rules)),
        Expr::Call { .. }
        | Expr::RefDot { .. }
        | Expr::RefBrack { .. }
        | Expr::ArithExpr { .. }
        | Expr::BinExpr { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{edited, parse};
    use regorus::{Engine, Value};

    fn hoisted(body: &str) -> String {
        let mut files = [(
            "p.rego".to_owned(),
            format!("package p\n\nimport rego.v1\n\n{body}\n"),
        )];
        let parsed = parse(Engine::new, &mut files);
        assert!(parsed.is_ok(), "{body}: {:?}", parsed.as_ref().err());
        let [(_, text)] = files;
        let edits = parsed.map(|parsed| parsed.edits.concat());
        let text = edited(&text, edits.unwrap_or_default());
        let text = text.split("rego.v1\n\n").nth(1).unwrap_or_default();
        // The number of the file's bytes keeps names of one pass apart from those of another.
        let name = text.split("argus_hoisted_").nth(1);
        let bytes = name
            .and_then(|name| name.split('_').next())
            .unwrap_or_default();
        text.trim().replace(&format!("hoisted_{bytes}_"), "")
    }

    #[test]
    fn operands_of_a_negation_stand_before_it() {
        for (body, wanted) in [
            (
                "a if not startswith(input.x, \"y\")",
                "a if { argus_1 := input.x; not startswith(argus_1, \"y\") }",
            ),
            (
                "a if { not input.x > 3 }",
                "a if { argus_1 := input.x; not argus_1 > 3 }",
            ),
            (
                "a if not input.x in input.list",
                "a if { argus_1 := input.x; argus_2 := input.list; not argus_1 in argus_2 }",
            ),
            (
                "a if {\n\tinput.b\n\tnot contains(input.x[0], input.y)\n}",
                "a if {\n\tinput.b\n\targus_1 := input.x[0]; argus_2 := input.y; not contains(argus_1, argus_2)\n}",
            ),
            ("a if not input.x == 1", "a if not input.x == 1"),
            ("a if not input.x", "a if not input.x"),
            (
                "a if not count(input.x) == 1",
                "a if { argus_1 := count(input.x); not argus_1 == 1 }",
            ),
            (
                "a := [x | some x in input.l; not f(x.y)]\n\nf(y) if y",
                "a := [x | some x in input.l; argus_1 := x.y; not f(argus_1)]\n\nf(y) if y",
            ),
            (
                "a if every x in input.l { not f(x.y) }\n\nf(y) if y",
                "a if every x in input.l { argus_1 := x.y; not f(argus_1) }\n\nf(y) if y",
            ),
        ] {
            assert_eq!(hoisted(body), wanted);
        }
    }

    /// As the real OPA has it; the engine alone would say true.
    #[test]
    fn what_is_missing_is_not_false() {
        for (body, defined) in [
            ("a if not startswith(input.x, \"y\")", false),
            ("a if not input.x > 3", false),
            ("a if not input.x in {1}", false),
            ("a if not startswith(lower(input.x), \"y\")", false),
            (
                "a if count([1 | not count([y | some y in [1]; not startswith(input.x, \"y\")]) == 1]) == 1",
                true,
            ),
            ("a if not input.x != 1", false),
            ("a if not input.x + 1 == 2", false),
            ("a if not [input.x] == [1]", false),
            (
                "a if not startswith(sprintf(\"%s\", [input.x]), \"y\")",
                false,
            ),
            ("a if not f(input.x)\n\nf(x) if x == 1", false),
            ("a if not 1 in [input.x]", false),
            ("a if not startswith(x, \"y\")\n\nx := input.x", false),
            ("a if not x > 3\n\nx := input.x", false),
            ("a if not x == 3\n\nx := input.x", true),
            ("a if not 1 in {2, 3}", true),
            ("a if not input.x == 1", true),
            ("a if not input.x", true),
            ("a if not startswith(input.z, \"y\")", true),
        ] {
            let mut files = [(
                "p.rego".to_owned(),
                format!("package p\n\nimport rego.v1\n\n{body}\n"),
            )];
            let parsed = parse(Engine::new, &mut files);
            let engine = parsed.and_then(|parsed| parsed.understood(Engine::new, files.to_vec()));
            let answer = engine.and_then(|mut engine| {
                engine.set_input(Value::from_json_str("{\"z\": \"z\"}").unwrap_or(Value::Null));
                let answer = engine.eval_rule("data.p.a".into());
                answer.map_err(|error| format!("{error:#}"))
            });
            let wanted = if defined {
                Value::Bool(true)
            } else {
                Value::Undefined
            };
            assert_eq!(answer, Ok(wanted), "{body}");
        }
    }
}
