//! A file of Rego becomes its clauses: where each stands, what it could reach, and for which rule of the manifest it
//! speaks.

use std::collections::BTreeSet;
use std::ops::Range;

use regorus::unstable::{Lexer, Module, Ref, Rule as ParsedRule, Source, Span, TokenKind};
use serde::Deserialize;

use crate::hoist::{Edit, edited};
use crate::manifest::Rule;

/// The entry points, as sets; every rule speaks in the first and in one of the others.
const ENTRY_POINTS: [&str; 5] = ["passed", "deny", "manual", "require_approval", "warn"];

/// One clause of a rule, from its head to the next one.
pub(crate) struct Clause {
    /// What it defines.
    pub(crate) name: String,
    /// File and line.
    pub(crate) place: String,
    /// Every word after its head that could name another clause.
    pub(crate) words: Vec<String>,
    /// Every text in it.
    texts: Vec<String>,
    /// The rule of the manifest for which an entry point's clause speaks; none for a helper.
    pub(crate) rule: Option<usize>,
    /// What the engine parsed.
    pub(crate) parsed: Ref<ParsedRule>,
    range: Range<usize>,
}

impl Clause {
    /// The rule of the manifest for which it speaks, and in which entry point.
    pub(crate) fn speaks(&self) -> Option<(usize, &'static str)> {
        let entry_point = ENTRY_POINTS.into_iter().find(|name| self.name == *name)?;
        Some((self.rule?, entry_point))
    }

    /// Whether it speaks against something, rather than for it.
    pub(crate) fn objects(&self) -> bool {
        self.rule.is_some() && self.name != "passed"
    }
}

/// A file with its clauses, and what makes it what OPA understands.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) clauses: Vec<Clause>,
    pub(crate) edits: Vec<Edit>,
}

pub(crate) struct Word {
    pub(crate) kind: Kind,
    span: Span,
}

impl Word {
    pub(crate) fn text(&self) -> &str {
        self.span.text()
    }

    pub(crate) fn line(&self) -> u32 {
        self.span.line
    }
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

/// The clauses of a module, none yet with a rule.
pub(crate) fn clauses(module: &Module, words: &[Word]) -> Vec<Clause> {
    let source = &module.package.refr.span().source;
    let mut policy: Vec<&Ref<ParsedRule>> = module.policy.iter().collect();
    policy.sort_unstable_by_key(|rule| rule.span().start);
    let starts = policy.iter().map(|rule| rule.span().start);
    let ends = starts.clone().skip(1).chain([u32::MAX]);
    let clause = |((parsed, start), end): ((&&Ref<ParsedRule>, u32), u32)| {
        // Words stand in the order of the file.
        let before = |place: u32| words.partition_point(|word| word.span.start < place);
        let inside = words.get(before(start)..before(end)).unwrap_or_default();
        let mut inside = inside.iter().skip_while(|word| word.text() == "default");
        let head = inside.next()?;
        let (mut words, mut texts) = (Vec::new(), Vec::new());
        for word in inside {
            match word.kind {
                Kind::Name => words.push(word.text().to_owned()),
                Kind::Quoted => texts.push(word.text().trim_matches(['"', '`']).to_owned()),
                Kind::Field | Kind::Other => {}
            }
        }
        Some(Clause {
            name: head.text().to_owned(),
            place: format!("{}:{}", source.file(), head.line()),
            words,
            texts,
            rule: None,
            parsed: Ref::clone(parsed),
            range: start as usize..end as usize,
        })
    };
    let clauses = policy.iter().zip(starts).zip(ends);
    clauses.filter_map(clause).collect()
}

impl Clause {
    /// Finds the rule of the manifest for which an entry point's clause speaks, by the id in it.
    pub(crate) fn find_rule(&mut self, rules: &[Rule]) -> Result<(), String> {
        let Self { name, place, .. } = self;
        let read = self.words.iter().find(|word| is_entry_point(word));
        if let Some(answer) = read {
            return Err(format!(
                "{place}: `{answer}` is an answer, no rule may read it: give what they share a rule of its own"
            ));
        }
        if !is_entry_point(name) {
            return Ok(());
        }
        let texts = self.texts.iter();
        let named: BTreeSet<usize> = texts
            .filter_map(|text| rules.iter().position(|rule| rule.id == *text))
            .collect();
        let mut named = named.into_iter();
        self.rule = match (named.next(), named.next()) {
            (Some(one), None) => Some(one),
            (None, _) => {
                return Err(format!(
                    "{place}: this clause of `{name}` names no rule of the manifest: write its id as text"
                ));
            }
            _ => {
                return Err(format!(
                    "{place}: this clause of `{name}` names several rules of the manifest: write one clause for each"
                ));
            }
        };
        Ok(())
    }
}

fn is_entry_point(name: &str) -> bool {
    ENTRY_POINTS.contains(&name)
}

/// The name of an entry point for one rule of the manifest.
pub(crate) fn by_rule(name: &str, rule: usize) -> String {
    format!("{name}__{rule}")
}

impl Text {
    /// The text as OPA understands it, with entry points of their own for each rule of the manifest.
    pub(crate) fn by_rule(&self) -> String {
        self.with(|clause| {
            let start = clause.range.start;
            let end = start + clause.name.len();
            let named = self.text.get(start..end) == Some(&clause.name);
            let rule = clause.rule.filter(|_| named)?;
            Some((start, end, by_rule(&clause.name, rule)))
        })
    }

    /// The text as OPA understands it, with some entry points that never say anything, every line in its place.
    pub(crate) fn without(&self, silent: impl Fn(&Clause) -> bool) -> String {
        self.with(|clause| {
            let (start, end) = (clause.range.start, clause.range.end.min(self.text.len()));
            let inside = self.text.get(start..end).unwrap_or_default();
            let lines = inside.chars().filter(|c| *c == '\n');
            let nothing = format!("{} contains null if false", clause.name);
            silent(clause).then(|| (start, end, nothing.chars().chain(lines).collect()))
        })
    }

    /// What stands in a part that is replaced isn't edited by itself.
    fn with(&self, other: impl Fn(&Clause) -> Option<Edit>) -> String {
        let others = self.clauses.iter().filter_map(other);
        edited(
            &self.text,
            others.chain(self.edits.iter().cloned()).collect(),
        )
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
            TokenKind::Ident if words.last().is_some_and(|before| before.text() == ".") => {
                Kind::Field
            }
            TokenKind::Ident => Kind::Name,
            TokenKind::String | TokenKind::RawString => Kind::Quoted,
            _ => Kind::Other,
        };
        words.push(Word {
            kind,
            span: token.1,
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
pub(crate) fn titles(path: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let mut titles = Vec::new();
    let mut lines = (1..).zip(text.lines()).peekable();
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
            .map_err(|error| format!("{path}:{number}: METADATA: {error}"))?;
        if let Some(id) = metadata.custom.id {
            if metadata.title.is_empty() {
                return Err(format!(
                    "{path}:{number}: the METADATA of `{id}` has no title: say in one line what it refuses"
                ));
            }
            titles.push((id, metadata.title));
        }
    }
    Ok(titles)
}
