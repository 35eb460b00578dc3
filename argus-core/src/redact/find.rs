//! Where secrets stand in a text, by names, objects and commands, also in the texts that it quotes.

use std::ops::Range;

use super::flow::Quoted;
use super::rules::{RULES, SAYS_SECRET};
use super::tree::Node;
use super::{blocks, commands, flow, judge, patterns};

/// How deep texts in texts are read.
const DEEPEST: usize = 4;

/// The places of the secrets, in their order, none over another.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    find(text, 0, &mut hidden);
    apart(hidden)
}

/// The same in a text that is a list, given the places of its elements.
pub(super) fn in_list(text: &str, places: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    find(text, 0, &mut hidden);
    let element = |at: &Range<usize>| {
        let text = text.get(at.clone()).unwrap_or_default().into();
        let at = at.clone();
        (None, Node::Scalar { text, at })
    };
    let list = Node::Group {
        kind: None,
        entries: places.iter().map(element).collect(),
        at: 0..text.len(),
        cut: false,
    };
    judge::secrets(&list, &mut hidden);
    apart(hidden)
}

fn apart(mut hidden: Vec<Range<usize>>) -> Vec<Range<usize>> {
    hidden.sort_by_key(|at| (at.start, at.end));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for at in hidden {
        match apart.last_mut() {
            Some(last) if at.start < last.end => last.end = last.end.max(at.end),
            _ => apart.push(at),
        }
    }
    apart
}

fn find(text: &str, depth: usize, hidden: &mut Vec<Range<usize>>) {
    if depth > DEEPEST || !SAYS_SECRET.as_ref().is_none_or(|says| says.is_match(text)) {
        return;
    }
    let (nodes, mut quoted) = flow::read(text);
    nodes.iter().for_each(|node| judge::secrets(node, hidden));
    if text.contains('\n') {
        let (nodes, scalars) = blocks::read(text);
        nodes.iter().for_each(|node| judge::secrets(node, hidden));
        quoted.extend(scalars.into_iter().map(|at| Quoted { at, escaped: false }));
    }
    commands::secrets(text, hidden);
    for Quoted { at, escaped } in quoted {
        let inner = text.get(at.clone()).unwrap_or_default();
        let mut found = Vec::new();
        if escaped && inner.contains('\\') {
            let (plain, places) = unescaped(inner);
            find(&plain, depth + 1, &mut found);
            if patterns::may_find(&plain) {
                RULES
                    .iter()
                    .for_each(|rule| found.extend(patterns::found(&plain, rule)));
            }
            let place = |at: usize| places.get(at).copied().unwrap_or(inner.len());
            found
                .iter_mut()
                .for_each(|at| *at = place(at.start)..place(at.end));
        } else {
            find(inner, depth + 1, &mut found);
        }
        let outer = found.into_iter();
        hidden.extend(outer.map(|found| at.start + found.start..at.start + found.end));
    }
}

/// A text without one layer of backslashes, and for each of its bytes the place where it stood.
fn unescaped(text: &str) -> (String, Vec<usize>) {
    let mut plain = String::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len());
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        let letter = match letter {
            '\\' => match letters.next().map(|(_, escaped)| escaped) {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => ' ',
                Some('u') => code(text, at, &mut letters),
                Some(escaped) => escaped,
                None => '\\',
            },
            letter => letter,
        };
        plain.push(letter);
        places.resize(plain.len(), at);
    }
    (plain, places)
}

/// The letter of `\u0026`, as Go writes `&` in JSON.
fn code(text: &str, at: usize, letters: &mut std::str::CharIndices<'_>) -> char {
    let digits = text.get(at + 2..at + 6).unwrap_or_default();
    let letter = u32::from_str_radix(digits, 16)
        .ok()
        .and_then(char::from_u32);
    match letter {
        Some(letter) => {
            letters.nth(3);
            letter
        }
        None => 'u',
    }
}
