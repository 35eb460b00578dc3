//! What the rules of a pack say where that is sure: nearly always, and the engine takes five times as long to say so.
//!
//! A second reader of the same Rego that gives up on everything which isn't plain: on a missing field, a failing function, a
//! `with`, a variable that is only bound later. On what it gives up the engine is asked. So it need not know what Rego makes of an
//! undefined value or of an error, where engines differ; values are compared, and functions called, by the engine's own code.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{AssignOp, Expr, Literal, Module, Ref, Rule, RuleHead};

use crate::clauses::Clause;
use crate::walk::{Node, walk};

/// The rules of a pack as this reader needs them.
pub(crate) struct Shortcut {
    /// The clauses of each name that rules may read.
    pub(crate) helpers: BTreeMap<String, Vec<Ref<Rule>>>,
    /// Of each rule of the manifest, in its order.
    pub(crate) speakers: Vec<Speakers>,
    pub(crate) data: Value,
}

/// The clauses in which one rule of the manifest speaks, by entry point.
pub(crate) type Speakers = BTreeMap<&'static str, Vec<Ref<Rule>>>;

impl Shortcut {
    /// Of modules, their clauses, and what they read as `data`. `None` if a local variable has the name of a rule, or something is
    /// imported: a name then means one thing here and another there.
    pub(crate) fn new<'a>(
        modules: &[Ref<Module>],
        clauses: impl Iterator<Item = &'a Clause> + Clone,
        rules: usize,
        data: Value,
    ) -> Option<Self> {
        let plain = |path: &str| path == "rego.v1" || path.starts_with("future.keywords");
        let mut imports = modules.iter().flat_map(|module| &module.imports);
        if !imports.all(|import| plain(import.refr.span().text())) {
            return None;
        }
        let policy = modules.iter().flat_map(|module| &module.policy);
        if policy.count() != clauses.clone().count() {
            return None;
        }
        let mut helpers: BTreeMap<String, Vec<Ref<Rule>>> = BTreeMap::new();
        let mut speakers: Vec<Speakers> = Vec::new();
        speakers.resize_with(rules, Speakers::new);
        for clause in clauses {
            let clauses = match clause.speaks() {
                Some((rule, name)) => speakers.get_mut(rule)?.entry(name).or_default(),
                None => helpers.entry(clause.name.clone()).or_default(),
            };
            clauses.push(clause.parsed.clone());
        }
        let mut locals = modules.iter().flat_map(|module| local_names(module));
        let twice = |name: &str| ["input", "data"].contains(&name) || helpers.contains_key(name);
        let clear = !locals.any(twice);
        clear.then_some(Self {
            helpers,
            speakers,
            data,
        })
    }
}

/// Every variable that something in a module binds.
fn local_names(module: &Module) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for rule in &module.policy {
        if let Rule::Spec {
            head: RuleHead::Func { args, .. },
            ..
        } = rule.as_ref()
        {
            args.iter().for_each(|arg| bound(arg, &mut names));
        }
    }
    walk(module, &mut |node| match node {
        Node::Statement(statement) => match &statement.literal {
            Literal::SomeVars { vars, .. } => names.extend(vars.iter().map(|var| var.text())),
            Literal::SomeIn { key, value, .. } => {
                let parts = key.iter().chain([value]);
                parts.for_each(|part| bound(part, &mut names));
            }
            Literal::Every { key, value, .. } => {
                names.extend(key.iter().chain([value]).map(|var| var.text()));
            }
            Literal::Expr { .. } | Literal::NotExpr { .. } => {}
        },
        Node::Expression(Expr::AssignExpr { op, lhs, rhs, .. }) => {
            bound(lhs, &mut names);
            if *op == AssignOp::Eq {
                bound(rhs, &mut names);
            }
        }
        Node::Expression(_) => {}
    });
    names
}

/// The variables of a pattern.
fn bound<'a>(pattern: &'a Expr, names: &mut BTreeSet<&'a str>) {
    match pattern {
        Expr::Var { span, .. } => {
            names.insert(span.text());
        }
        Expr::Array { items, .. } => items.iter().for_each(|item| bound(item, names)),
        Expr::Object { fields, .. } => {
            fields.iter().for_each(|(_, _, value)| bound(value, names));
        }
        _ => {}
    }
}
