//! A file of Rego becomes its clauses: where each stands, what it could reach, and for which rule of the manifest it
//! speaks.

use std::collections::BTreeSet;
use std::ops::Range;

use regorus::unstable::{Lexer, Module, Source, TokenKind};
use serde::Deserialize;

use crate::manifest::Rule;
use crate::pack::ENTRY_POINTS;

/// One clause of a rule, from its head to the next one.
pub(crate) struct Clause {
    /// What it defines.
    pub(crate) name: String,
    /// File and line.
    pub(crate) place: String,
    /// Every word after its head that could name another clause.
    pub(crate) words: Vec<String>,
    /// The rule of the manifest for which an entry point's clause speaks; none for a helper.
    pub(crate) rule: Option<usize>,
    range: Range<usize>,
}

impl Clause {
    /// Whether it speaks against something, rather than for it.
    pub(crate) fn objects(&self) -> bool {
        self.rule.is_some() && self.name != "passed"
    }
}

/// A file with its clauses.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) clauses: Vec<Clause>,
}

pub(crate) struct Word {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) start: u32,
    pub(crate) line: u32,
}

#[derive(PartialEq)]
pub(crate) enum Kind {
    /// Could name a clause, or the data document.
    Name,
    /// What stands behind a dot.
    Field,
    /// A string, with its quotes.
    Quoted,
    Other,
}

/// The clauses of a module, with the rules of the manifest for which they speak.
pub(crate) fn clauses(
    module: &Module,
    words: &[Word],
    rules: &[Rule],
) -> Result<Vec<Clause>, String> {
    let source = &module.package.refr.span().source;
    let mut starts: Vec<u32> = module.policy.iter().map(|rule| rule.span().start).collect();
    starts.sort_unstable();
    let ends = starts.iter().skip(1).copied().chain([u32::MAX]);
    let mut clauses = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let inside = words
            .iter()
            .filter(|word| (*start..end).contains(&word.start))
            .skip_while(|word| word.text == "default");
        let inside: Vec<&Word> = inside.collect();
        let Some((head, rest)) = inside.split_first() else {
            continue;
        };
        let place = format!("{}:{}", source.file(), head.line);
        let names = rest.iter().filter(|word| word.kind == Kind::Name);
        let quoted = rest.iter().filter(|word| word.kind == Kind::Quoted);
        let named: BTreeSet<usize> = quoted
            .filter_map(|word| {
                let text = word.text.trim_matches(['"', '`']);
                rules.iter().position(|rule| rule.id == text)
            })
            .collect();
        let entry_point = ENTRY_POINTS.contains(&head.text.as_str());
        let rule = match named.iter().collect::<Vec<_>>()[..] {
            _ if !entry_point => None,
            [one] => Some(*one),
            [] => {
                return Err(format!(
                    "{place}: this clause of `{}` names no rule of the manifest: write its id as text",
                    head.text
                ));
            }
            _ => {
                return Err(format!(
                    "{place}: this clause of `{}` names several rules of the manifest: write one clause for each",
                    head.text
                ));
            }
        };
        let names: Vec<String> = names.map(|word| word.text.clone()).collect();
        if let Some(answer) = names
            .iter()
            .find(|name| ENTRY_POINTS.contains(&name.as_str()))
        {
            return Err(format!(
                "{place}: `{answer}` is an answer, no rule may read it: give what they share a rule of its own"
            ));
        }
        clauses.push(Clause {
            name: head.text.clone(),
            place,
            words: names,
            rule,
            range: *start as usize..end as usize,
        });
    }
    Ok(clauses)
}

/// The name of an entry point for the rules of one group; that of the first is its own.
pub(crate) fn grouped(name: &str, group: usize) -> String {
    match group {
        0 => name.to_owned(),
        _ => format!("{name}__{group}"),
    }
}

impl Text {
    /// The text with entry points of their own for each group of rules.
    pub(crate) fn in_groups(&self, group: impl Fn(&Clause) -> Option<usize>) -> String {
        self.with(|clause, text| {
            let rest = text.strip_prefix(&clause.name)?;
            Some(grouped(&clause.name, group(clause)?) + rest)
        })
    }

    /// The text with some entry points that never say anything, every line in its place.
    pub(crate) fn without(&self, silent: impl Fn(&Clause) -> bool) -> String {
        self.with(|clause, text| {
            let lines = || text.chars().filter(|c| *c == '\n');
            silent(clause).then(|| {
                let start = format!("{} contains null if false", clause.name);
                start.chars().chain(lines()).collect()
            })
        })
    }

    /// The text with another text in the place of some clauses.
    fn with(&self, other: impl Fn(&Clause, &str) -> Option<String>) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut done = 0;
        for clause in &self.clauses {
            let end = clause.range.end.min(self.text.len());
            let before = self.text.get(done..clause.range.start);
            let inside = self.text.get(clause.range.start..end).unwrap_or_default();
            text.push_str(before.unwrap_or_default());
            match other(clause, inside) {
                Some(other) => text.push_str(&other),
                None => text.push_str(inside),
            }
            done = end;
        }
        text.push_str(self.text.get(done..).unwrap_or_default());
        text
    }
}

/// The words of a file.
pub(crate) fn words(source: &Source) -> Result<Vec<Word>, String> {
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
            TokenKind::String | TokenKind::RawString => Kind::Quoted,
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

/// What stands in a rule's METADATA, OPA's annotations.
#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    title: String,
    #[serde(default)]
    custom: Custom,
}

#[derive(Default, Deserialize)]
struct Custom {
    id: Option<String>,
}

/// The titles of the rules, by the ids in the METADATA blocks of a file.
pub(crate) fn titles(text: &Text) -> Result<Vec<(String, String)>, String> {
    let mut titles = Vec::new();
    let mut lines = (1..).zip(text.text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        if line.trim_end() != "# METADATA" {
            continue;
        }
        let mut yaml = String::new();
        while let Some((_, comment)) = lines.next_if(|(_, line)| line.starts_with('#')) {
            yaml.push_str(comment.trim_start_matches('#'));
            yaml.push('\n');
        }
        let metadata: Metadata = serde_saphyr::from_str(&yaml)
            .map_err(|error| format!("{}:{number}: METADATA: {error}", text.path))?;
        if let Some(id) = metadata.custom.id {
            if metadata.title.is_empty() {
                return Err(format!(
                    "{}:{number}: the METADATA of `{id}` has no title: say in one line what it refuses",
                    text.path
                ));
            }
            titles.push((id, metadata.title));
        }
    }
    Ok(titles)
}
