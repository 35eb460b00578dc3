//! Every statement and every expression of a module, one after another.

use regorus::unstable::{Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleHead};

/// What a walk meets.
pub(crate) enum Node<'a> {
    Statement(&'a LiteralStmt),
    Expression(&'a Expr),
}

pub(crate) fn walk<'a>(module: &'a Module, meet: &mut impl FnMut(Node<'a>)) {
    for rule in &module.policy {
        let Rule::Spec { head, bodies, .. } = rule.as_ref() else {
            continue;
        };
        match head {
            RuleHead::Set { key, .. } => key.iter().for_each(|key| expression(key, meet)),
            RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                assign
                    .iter()
                    .for_each(|assign| expression(&assign.value, meet));
            }
        }
        for body in bodies {
            body.assign
                .iter()
                .for_each(|assign| expression(&assign.value, meet));
            query(&body.query, meet);
        }
    }
}

fn query<'a>(query_: &'a Query, meet: &mut impl FnMut(Node<'a>)) {
    for statement in &query_.stmts {
        meet(Node::Statement(statement));
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn {
                key,
                value,
                collection,
                ..
            } => membership(key.as_ref(), value, collection, meet),
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => expression(expr, meet),
            Literal::Every {
                domain, query: all, ..
            } => {
                expression(domain, meet);
                query(all, meet);
            }
        }
        for with in &statement.with_mods {
            expression(&with.r#as, meet);
        }
    }
}

/// What stands around an `in`.
fn membership<'a>(
    key: Option<&'a Ref<Expr>>,
    value: &'a Ref<Expr>,
    collection: &'a Ref<Expr>,
    meet: &mut impl FnMut(Node<'a>),
) {
    let parts = key.into_iter().chain([value, collection]);
    parts.for_each(|part| expression(part, meet));
}

fn expression<'a>(node: &'a Expr, meet: &mut impl FnMut(Node<'a>)) {
    meet(Node::Expression(node));
    match node {
        Expr::Call { params: parts, .. }
        | Expr::Array { items: parts, .. }
        | Expr::Set { items: parts, .. } => {
            parts.iter().for_each(|part| expression(part, meet));
        }
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                expression(key, meet);
                expression(value, meet);
            }
        }
        Expr::ArrayCompr {
            term, query: body, ..
        }
        | Expr::SetCompr {
            term, query: body, ..
        } => {
            expression(term, meet);
            query(body, meet);
        }
        Expr::ObjectCompr {
            key,
            value,
            query: body,
            ..
        } => {
            expression(key, meet);
            expression(value, meet);
            query(body, meet);
        }
        Expr::UnaryExpr { expr: part, .. } | Expr::RefDot { refr: part, .. } => {
            expression(part, meet);
        }
        Expr::RefBrack { refr, index, .. } => {
            expression(refr, meet);
            expression(index, meet);
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            expression(lhs, meet);
            expression(rhs, meet);
        }
        Expr::Membership {
            key,
            value,
            collection,
            ..
        } => membership(key.as_ref(), value, collection, meet),
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => {}
    }
}
