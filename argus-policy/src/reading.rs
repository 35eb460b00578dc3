//! One input as the rules of a pack read it, by a [`Shortcut`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{
    ArithOp, AssignOp, BUILTINS, BinOp, Expr, Literal, LiteralStmt, Query, Ref, Rule, RuleAssign,
    RuleBody, RuleHead, Span, comparison, must_cache, numbers, sets,
};

use crate::engine::Answers;
use crate::shortcut::Shortcut;

/// How many statements and expressions are read for one input.
const MOST_READ: u32 = 100_000;
/// How deep they may stand in each other. Each level takes of the host's stack.
const DEEPEST: u32 = 100;
/// The longest text that is made, in bytes, and the longest list.
const LONGEST: usize = 1 << 16;

/// What can't be said for sure.
struct Unsure;

type Sure<T> = Result<T, Unsure>;

/// What is known so far of one input.
pub(crate) struct Reading<'a> {
    shortcut: &'a Shortcut,
    input: &'a Value,
    locals: Vec<(&'a str, Cow<'a, Value>)>,
    /// What rules are worth; `None` if no clause of them holds.
    known: BTreeMap<&'a str, Option<Cow<'a, Value>>>,
    left: u32,
    depth: u32,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(shortcut: &'a Shortcut, input: &'a Value) -> Self {
        Self {
            shortcut,
            input,
            locals: Vec::new(),
            known: BTreeMap::new(),
            left: MOST_READ,
            depth: 0,
        }
    }

    /// What a rule of the manifest, by its place in it, surely says; `None` if that isn't sure.
    pub(crate) fn says(&mut self, rule: usize) -> Option<Answers> {
        self.locals.clear();
        self.depth = 0;
        let speakers = self.shortcut.speakers.get(rule)?;
        let mut answers = Answers::new();
        for (entry_point, clauses) in speakers {
            let mut said = BTreeSet::new();
            for clause in clauses {
                said.extend(self.members(clause).ok()?);
            }
            answers.push((entry_point, said.into_iter().collect()));
        }
        Some(answers)
    }

    /// What a clause adds to its set.
    fn members(&mut self, clause: &'a Rule) -> Sure<Vec<Value>> {
        let Rule::Spec {
            head: RuleHead::Set { key: Some(key), .. },
            ..
        } = clause
        else {
            return Err(Unsure);
        };
        let bodies = bodies(clause)?;
        let mut members = Vec::new();
        for body in bodies {
            members.extend(self.found(&body.query, key)?);
        }
        if bodies.is_empty() {
            members.push(self.value(key)?.into_owned());
        }
        Ok(members)
    }

    /// What a term is for each way in which a query holds.
    fn found(&mut self, query: &'a Query, term: &'a Expr) -> Sure<Vec<Value>> {
        let mut found = Vec::new();
        self.solve(&query.stmts, &mut |reading| {
            found.push(reading.value(term)?.into_owned());
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether a query holds in any way.
    fn succeeds(&mut self, query: &'a Query) -> Sure<bool> {
        let mut succeeds = false;
        self.solve(&query.stmts, &mut |_| {
            succeeds = true;
            Ok(())
        })?;
        Ok(succeeds)
    }

    /// Reads something that stands one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Sure<T>) -> Sure<T> {
        if self.depth == DEEPEST {
            return Err(Unsure);
        }
        self.left = self.left.checked_sub(1).ok_or(Unsure)?;
        self.depth += 1;
        let read = read(self)?;
        self.depth -= 1;
        Ok(read)
    }

    /// Does something for each way in which all the statements hold, one after another.
    fn solve(
        &mut self,
        statements: &'a [LiteralStmt],
        then: &mut dyn FnMut(&mut Self) -> Sure<()>,
    ) -> Sure<()> {
        let before = self.locals.len();
        self.deeper(|reading| reading.each(statements, then))?;
        self.locals.truncate(before);
        Ok(())
    }

    fn each(
        &mut self,
        statements: &'a [LiteralStmt],
        then: &mut dyn FnMut(&mut Self) -> Sure<()>,
    ) -> Sure<()> {
        let mut rest = statements;
        while let [statement, after @ ..] = rest {
            rest = after;
            if !statement.with_mods.is_empty() {
                return Err(Unsure);
            }
            let holds = match &statement.literal {
                Literal::Expr { expr, .. } => match expr.as_ref() {
                    Expr::AssignExpr {
                        op: AssignOp::ColEq,
                        lhs,
                        rhs,
                        ..
                    } => {
                        let value = self.value(rhs)?;
                        self.bind(lhs, value)?
                    }
                    expression => self.holds(expression)?,
                },
                Literal::NotExpr { expr, .. } => !self.holds(expr)?,
                Literal::Every {
                    key,
                    value,
                    domain,
                    query,
                    ..
                } => self.every(key.as_ref(), value, domain, query)?,
                Literal::SomeIn {
                    key,
                    value,
                    collection,
                    ..
                } => {
                    let before = self.locals.len();
                    for (at, item) in self.items(collection)? {
                        let fits = match key {
                            Some(key) => self.bind(key, at)?,
                            None => true,
                        };
                        if fits && self.bind(value, item)? {
                            self.solve(rest, then)?;
                        }
                        self.locals.truncate(before);
                    }
                    return Ok(());
                }
                Literal::SomeVars { .. } => return Err(Unsure),
            };
            if !holds {
                return Ok(());
            }
        }
        then(self)
    }

    fn every(
        &mut self,
        key: Option<&'a Span>,
        value: &'a Span,
        domain: &'a Expr,
        query: &'a Query,
    ) -> Sure<bool> {
        let before = self.locals.len();
        for (at, item) in self.items(domain)? {
            if let Some(key) = key {
                self.local(key.text(), at);
            }
            self.local(value.text(), item);
            let holds = self.succeeds(query)?;
            self.locals.truncate(before);
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn local(&mut self, name: &'a str, value: Cow<'a, Value>) {
        if name != "_" {
            self.locals.push((name, value));
        }
    }

    /// Whether a value fits a pattern, whose variables are then bound to its parts.
    fn bind(&mut self, pattern: &'a Expr, value: Cow<'a, Value>) -> Sure<bool> {
        match pattern {
            Expr::Var { span, .. } => {
                self.local(span.text(), value);
                Ok(true)
            }
            Expr::Array { items, .. } => {
                let parts = elements(value)?;
                if parts.len() != items.len() {
                    return Err(Unsure);
                }
                let mut fits = true;
                for (item, part) in items.iter().zip(parts) {
                    fits &= self.bind(item, part)?;
                }
                Ok(fits)
            }
            Expr::String { value: wanted, .. }
            | Expr::RawString { value: wanted, .. }
            | Expr::Number { value: wanted, .. }
            | Expr::Bool { value: wanted, .. }
            | Expr::Null { value: wanted, .. } => Ok(*value == *wanted),
            _ => Err(Unsure),
        }
    }

    /// The places and the items of a collection.
    fn items(&mut self, collection: &'a Expr) -> Sure<Vec<(Cow<'a, Value>, Cow<'a, Value>)>> {
        Ok(match self.value(collection)? {
            Cow::Borrowed(Value::Object(fields)) => fields
                .iter_sorted()
                .map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value)))
                .collect(),
            Cow::Owned(Value::Object(fields)) => fields
                .iter_sorted()
                .map(|(key, value)| (Cow::Owned(key.clone()), Cow::Owned(value.clone())))
                .collect(),
            Cow::Borrowed(Value::Set(set)) => set
                .iter_sorted()
                .map(|item| (Cow::Borrowed(item), Cow::Borrowed(item)))
                .collect(),
            Cow::Owned(Value::Set(set)) => set
                .iter_sorted()
                .map(|item| (Cow::Owned(item.clone()), Cow::Owned(item.clone())))
                .collect(),
            array => {
                let places = (0..).map(|place: usize| Cow::Owned(Value::from(place)));
                places.zip(elements(array)?).collect()
            }
        })
    }

    fn holds(&mut self, expression: &'a Expr) -> Sure<bool> {
        let worth = self.worth(expression)?;
        Ok(worth.is_some_and(|value| *value != Value::Bool(false)))
    }

    /// What an expression is worth that has to have a value.
    fn value(&mut self, expression: &'a Expr) -> Sure<Cow<'a, Value>> {
        self.worth(expression)?.ok_or(Unsure)
    }

    fn values(&mut self, expressions: &'a [Ref<Expr>]) -> Sure<Vec<Value>> {
        let values = expressions.iter();
        let values = values.map(|expression| Ok(self.value(expression)?.into_owned()));
        values.collect()
    }

    /// What an expression is worth; `None` if it is a rule, or a call of one, of which no clause holds.
    fn worth(&mut self, expression: &'a Expr) -> Sure<Option<Cow<'a, Value>>> {
        self.deeper(|reading| reading.weigh(expression))
    }

    fn weigh(&mut self, expression: &'a Expr) -> Sure<Option<Cow<'a, Value>>> {
        let value = match expression {
            Expr::String { value, .. }
            | Expr::RawString { value, .. }
            | Expr::Number { value, .. }
            | Expr::Bool { value, .. }
            | Expr::Null { value, .. } => Cow::Borrowed(value),
            Expr::Var { span, .. } => return self.named(span.text()),
            Expr::RefDot { refr, field, .. } => part(self.value(refr)?, &field.1)?,
            Expr::RefBrack { refr, index, .. } => {
                let whole = self.value(refr)?;
                part(whole, &*self.value(index)?)?
            }
            Expr::Array { items, .. } => made(Value::from(self.values(items)?))?,
            Expr::Set { items, .. } => {
                let items: BTreeSet<Value> = self.values(items)?.into_iter().collect();
                made(Value::from(items))?
            }
            Expr::Object { fields, .. } => {
                let mut object = BTreeMap::new();
                for (_, key, value) in fields {
                    let key = self.value(key)?.into_owned();
                    object.insert(key, self.value(value)?.into_owned());
                }
                made(Value::from(object))?
            }
            Expr::ArrayCompr { term, query, .. } => made(Value::from(self.found(query, term)?))?,
            Expr::SetCompr { term, query, .. } => {
                let found: BTreeSet<Value> = self.found(query, term)?.into_iter().collect();
                made(Value::from(found))?
            }
            Expr::BoolExpr { op, lhs, rhs, .. } => {
                let (left, right) = (self.value(lhs)?, self.value(rhs)?);
                made(comparison::compare(op, &left, &right).map_err(|_| Unsure)?)?
            }
            Expr::BinExpr { op, lhs, rhs, .. } => {
                let left = self.value(lhs)?.into_owned();
                let right = self.value(rhs)?.into_owned();
                let both = match op {
                    BinOp::Union => sets::union(lhs, rhs, left, right),
                    BinOp::Intersection => sets::intersection(lhs, rhs, left, right),
                };
                made(both.map_err(|_| Unsure)?)?
            }
            Expr::ArithExpr {
                span, op, lhs, rhs, ..
            } => {
                let left = self.value(lhs)?.into_owned();
                let right = self.value(rhs)?.into_owned();
                let result = match (op, &left) {
                    (ArithOp::Sub, Value::Set(_)) => sets::difference(lhs, rhs, left, right),
                    _ => numbers::arithmetic_operation(span, op, lhs, rhs, left, right, true),
                };
                made(result.map_err(|_| Unsure)?)?
            }
            Expr::Membership {
                key: None,
                value,
                collection,
                ..
            } => {
                let value = self.value(value)?;
                Cow::Owned(Value::Bool(self.is_in(&value, collection)?))
            }
            Expr::Call {
                span, fcn, params, ..
            } => {
                let name = fcn.span().text();
                if let Some(clauses) = self.shortcut.helpers.get(name) {
                    return self.call(clauses, params);
                }
                let plain = |name: &str| name != "walk" && must_cache(name).is_none();
                let (function, takes) = BUILTINS.get(name).filter(|_| plain(name)).ok_or(Unsure)?;
                let values = self.values(params)?;
                if values.len() != usize::from(*takes) {
                    return Err(Unsure);
                }
                made(function(span, params, &values, true).map_err(|_| Unsure)?)?
            }
            Expr::ObjectCompr { .. }
            | Expr::UnaryExpr { .. }
            | Expr::AssignExpr { .. }
            | Expr::Membership { .. } => return Err(Unsure),
        };
        Ok(Some(value))
    }

    fn is_in(&mut self, value: &Value, collection: &'a Expr) -> Sure<bool> {
        // A list that is written out needn't be made.
        if let Expr::Array { items, .. } | Expr::Set { items, .. } = collection {
            let mut found = false;
            for item in items {
                found |= *self.value(item)? == *value;
            }
            return Ok(found);
        }
        match &*self.value(collection)? {
            Value::Array(array) => Ok(array.contains(value)),
            Value::Set(set) => Ok(set.contains(value)),
            Value::Object(object) => Ok(object.values().any(|item| item == value)),
            _ => Err(Unsure),
        }
    }

    /// What stands behind a name: a local variable, the input, the data, or a rule.
    fn named(&mut self, name: &'a str) -> Sure<Option<Cow<'a, Value>>> {
        let local = self.locals.iter().rev().find(|(local, _)| *local == name);
        if let Some((_, value)) = local {
            return Ok(Some(value.clone()));
        }
        match name {
            "input" => return Ok(Some(Cow::Borrowed(self.input))),
            "data" => return Ok(Some(Cow::Borrowed(&self.shortcut.data))),
            _ => {}
        }
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let clauses = self.shortcut.helpers.get(name).ok_or(Unsure)?;
        let outer = std::mem::take(&mut self.locals);
        let value = self.rule(clauses)?;
        self.locals = outer;
        self.known.insert(name, value.clone());
        Ok(value)
    }

    fn rule(&mut self, clauses: &'a [Ref<Rule>]) -> Sure<Option<Cow<'a, Value>>> {
        let mut set: Option<BTreeSet<Value>> = None;
        let mut value = None;
        for clause in clauses {
            match clause.as_ref() {
                Rule::Spec {
                    head: RuleHead::Set { .. },
                    ..
                } => {
                    let members = self.members(clause)?;
                    set.get_or_insert_default().extend(members);
                }
                Rule::Spec {
                    head: RuleHead::Compr { refr, assign, .. },
                    bodies,
                    ..
                } if is_name(refr) => {
                    let one = self.output(assign.as_ref(), bodies)?;
                    same(&mut value, one)?;
                }
                _ => return Err(Unsure),
            }
        }
        match (set, value) {
            (None, value) => Ok(value),
            (Some(set), None) => Ok(Some(made(Value::from(set))?)),
            (Some(_), Some(_)) => Err(Unsure),
        }
    }

    fn call(
        &mut self,
        clauses: &'a [Ref<Rule>],
        params: &'a [Ref<Expr>],
    ) -> Sure<Option<Cow<'a, Value>>> {
        let given: Vec<Cow<'a, Value>> = params
            .iter()
            .map(|param| self.value(param))
            .collect::<Sure<_>>()?;
        let outer = std::mem::take(&mut self.locals);
        let mut value = None;
        for clause in clauses {
            let Rule::Spec {
                head: RuleHead::Func {
                    refr, args, assign, ..
                },
                bodies,
                ..
            } = clause.as_ref()
            else {
                return Err(Unsure);
            };
            if !is_name(refr) || args.is_empty() || args.len() != given.len() {
                return Err(Unsure);
            }
            let mut fits = true;
            for (arg, given) in args.iter().zip(&given) {
                fits &= self.bind(arg, given.clone())?;
            }
            if fits {
                let one = self.output(assign.as_ref(), bodies)?;
                same(&mut value, one)?;
            }
            self.locals.clear();
        }
        self.locals = outer;
        Ok(value)
    }

    /// What the first body that holds says; the others stand behind `else`.
    fn output(
        &mut self,
        head: Option<&'a RuleAssign>,
        bodies: &'a [RuleBody],
    ) -> Sure<Option<Cow<'a, Value>>> {
        if bodies.is_empty() {
            let head = head.ok_or(Unsure)?;
            return Ok(Some(self.value(&head.value)?));
        }
        for (index, body) in bodies.iter().enumerate() {
            if body.is_else != (index > 0) {
                return Err(Unsure);
            }
            let assign = if index == 0 {
                head
            } else {
                body.assign.as_ref()
            };
            let mut value = None;
            self.solve(&body.query.stmts, &mut |reading| {
                let one = match assign {
                    Some(assign) => reading.value(&assign.value)?,
                    None => Cow::Owned(Value::Bool(true)),
                };
                same(&mut value, Some(one))
            })?;
            if value.is_some() {
                return Ok(value);
            }
        }
        Ok(None)
    }
}

fn is_name(refr: &Expr) -> bool {
    matches!(refr, Expr::Var { .. })
}

/// The bodies of a clause of a set.
fn bodies(clause: &Rule) -> Sure<&[RuleBody]> {
    match clause {
        Rule::Spec {
            head: RuleHead::Set { refr, .. },
            bodies,
            ..
        } if is_name(refr) && !bodies.iter().any(|body| body.is_else) => Ok(bodies),
        _ => Err(Unsure),
    }
}

/// Takes one value more of what may have only one.
fn same<'a>(value: &mut Option<Cow<'a, Value>>, one: Option<Cow<'a, Value>>) -> Sure<()> {
    match (&value, &one) {
        (Some(before), Some(one)) if before != one => Err(Unsure),
        (_, None) => Ok(()),
        _ => {
            *value = one;
            Ok(())
        }
    }
}

/// A part of a value; it has to be there.
fn part<'a>(whole: Cow<'a, Value>, place: &Value) -> Sure<Cow<'a, Value>> {
    let part = match whole {
        Cow::Borrowed(whole) => Cow::Borrowed(&whole[place]),
        Cow::Owned(whole) => Cow::Owned(whole[place].clone()),
    };
    match *part {
        Value::Undefined => Err(Unsure),
        _ => Ok(part),
    }
}

/// The elements of an array.
fn elements(array: Cow<'_, Value>) -> Sure<Vec<Cow<'_, Value>>> {
    match array {
        Cow::Borrowed(Value::Array(array)) => Ok(array.iter().map(Cow::Borrowed).collect()),
        Cow::Owned(Value::Array(array)) => Ok(array.iter().cloned().map(Cow::Owned).collect()),
        _ => Err(Unsure),
    }
}

/// A value that was made: it has to be one, and not too large.
fn made<'a>(value: Value) -> Sure<Cow<'a, Value>> {
    let length = match &value {
        Value::Undefined => return Err(Unsure),
        Value::String(text) => text.len(),
        Value::Array(array) => array.len(),
        Value::Set(set) => set.len(),
        Value::Object(object) => object.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    (length <= LONGEST)
        .then_some(Cow::Owned(value))
        .ok_or(Unsure)
}

#[cfg(test)]
mod tests;
