//! What is written with indentation: YAML, and what kubectl describes.

use std::borrow::Cow;
use std::ops::Range;

use super::flow;
use super::tree::Node;

/// How deep indentation is followed; what is deeper is skipped.
const DEEPEST: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Line {
    indent: usize,
    /// Where its content begins and ends.
    from: usize,
    to: usize,
}

/// Reads a text of several lines, by its documents; gives the places of its block scalars too.
pub(super) fn read(text: &str) -> (Vec<Node<'_>>, Vec<Range<usize>>) {
    let mut blocks = Blocks {
        text,
        lines: lines(text),
        next: 0,
        scalars: Vec::new(),
    };
    let mut nodes = Vec::new();
    while blocks.next < blocks.lines.len() {
        nodes.push(blocks.block(0));
        // What ended it: the line between two documents, or one that stands further left.
        if blocks.is_end() {
            blocks.next += 1;
        }
    }
    (nodes, blocks.scalars)
}

fn lines(text: &str) -> Vec<Line> {
    let blanks = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let full = text.lines().filter(|line| !line.trim().is_empty());
    let margin = full.map(blanks).min().unwrap_or(0);
    // In what `diff` writes, the first character says what becomes of the line.
    let sign = |line: &str, signs: &[char]| {
        let content = line.get(margin..);
        content.is_some_and(|content| content.starts_with(signs))
    };
    let is_diff = text.lines().any(|line| sign(line, &['+']));
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let signs = if is_diff && sign(line, &['+', '-']) {
            margin + 1
        } else {
            0
        };
        let content = line.get(signs..).unwrap_or_default();
        let blank = content.trim_start_matches([' ', '\t']);
        let indent = line.len() - blank.len();
        let kept = blank.trim_end();
        if !kept.is_empty() {
            let from = start + indent;
            lines.push(Line {
                indent,
                from,
                to: from + kept.len(),
            });
        }
        start += line.len();
    }
    lines
}

struct Blocks<'a> {
    text: &'a str,
    lines: Vec<Line>,
    next: usize,
    scalars: Vec<Range<usize>>,
}

type Entry<'a> = (Option<Cow<'a, str>>, Node<'a>);

impl<'a> Blocks<'a> {
    fn line(&self) -> Option<Line> {
        self.lines.get(self.next).copied()
    }

    fn content(&self, line: Line) -> &'a str {
        self.text.get(line.from..line.to).unwrap_or_default()
    }

    fn is_end(&self) -> bool {
        self.line()
            .is_some_and(|line| line.indent == 0 && matches!(self.content(line), "---" | "..."))
    }

    fn scalar(&self, at: Range<usize>) -> Node<'a> {
        let text = self.text.get(at.clone()).unwrap_or_default();
        Node::Scalar {
            text: text.into(),
            at,
        }
    }

    /// The lines from here on that stand as far right as the first, with what belongs to them.
    fn block(&mut self, depth: usize) -> Node<'a> {
        let indent = self.line().map_or(0, |line| line.indent);
        let mut entries = Vec::new();
        while let Some(line) = self.line().filter(|line| line.indent >= indent) {
            if self.is_end() {
                break;
            }
            if depth >= DEEPEST {
                self.next += 1;
            } else if line.indent > indent {
                entries.push((None, self.block(depth + 1)));
            } else if self.is_item(line) {
                entries.push((None, self.item(line, depth)));
            } else {
                entries.push(self.entry(line, depth));
            }
        }
        self.group(entries)
    }

    fn group(&self, mut entries: Vec<Entry<'a>>) -> Node<'a> {
        if let [(None, _)] = entries.as_slice()
            && let Some((_, node)) = entries.pop()
        {
            return node;
        }
        Node::Group {
            kind: None,
            entries,
            at: 0..0,
            cut: false,
        }
    }

    fn is_item(&self, line: Line) -> bool {
        let content = self.content(line);
        content == "-" || content.starts_with("- ")
    }

    /// An element of a list: what stands behind its dash is a block of its own.
    fn item(&mut self, line: Line, depth: usize) -> Node<'a> {
        let content = self.content(line);
        let rest = content.trim_start_matches('-').trim_start();
        let dash = content.len() - rest.len();
        if rest.is_empty() {
            self.next += 1;
            return match self.line() {
                Some(next) if next.indent > line.indent => self.block(depth + 1),
                _ => self.scalar(line.to..line.to),
            };
        }
        if let Some(line) = self.lines.get_mut(self.next) {
            line.indent += dash;
            line.from += dash;
        }
        self.block(depth + 1)
    }

    fn entry(&mut self, line: Line, depth: usize) -> Entry<'a> {
        self.next += 1;
        match self.named(line) {
            Some((name, value)) => (Some(name.into()), self.value(value, line.indent, depth)),
            None => (None, self.value(line.from..line.to, line.indent, depth)),
        }
    }

    /// The name at the start of a line, and where its value stands.
    fn named(&self, line: Line) -> Option<(&'a str, Range<usize>)> {
        let content = self.content(line);
        let (name, rest) = if content.starts_with(['"', '\'']) {
            let end = flow::string_end(content, 0)?;
            (content.get(1..end)?, content.get(end + 1..)?.trim_start())
        } else {
            let colons = content.match_indices(':');
            let is_sign = |at: &usize| {
                let after = content.get(at + 1..).unwrap_or_default();
                after.is_empty() || after.starts_with([' ', '\t'])
            };
            let sign = colons.map(|(at, _)| at).find(is_sign)?;
            (content.get(..sign)?, content.get(sign..)?)
        };
        let value = rest.strip_prefix(':')?.trim_start();
        let is_name = !name.is_empty() && !name.contains([' ', '\t', '{', '[', '(']);
        is_name.then_some((name, line.to - value.len()..line.to))
    }

    fn value(&mut self, at: Range<usize>, indent: usize, depth: usize) -> Node<'a> {
        let text = self.text.get(at.clone()).unwrap_or_default();
        let deeper = |line: Line| line.indent > indent;
        if text.starts_with(['|', '>']) && text.len() <= 4 {
            let start = self.line().map_or(at.end, |line| line.from);
            let mut end = start;
            while let Some(line) = self.line().filter(|line| deeper(*line)) {
                end = line.to;
                self.next += 1;
            }
            let end = end.max(start);
            // Read once more with the blanks before its first line.
            let line = self.text.get(..start).and_then(|before| before.rfind('\n'));
            self.scalars.push(line.map_or(0, |line| line + 1)..end);
            return self.scalar(start..end);
        }
        if text.starts_with(['{', '[']) && !text.starts_with(super::MARK) {
            let (node, end) = flow::read_group(self.text, at.start);
            self.skip(end);
            return node;
        }
        if text.starts_with(['"', '\'']) {
            let inside = at.start + 1;
            let end = flow::string_end(self.text, at.start).or_else(|| {
                let quote = text.chars().next()?;
                let rest = self.text.get(inside..)?;
                rest.find(quote).map(|end| inside + end)
            });
            let end = end.unwrap_or(at.end);
            self.skip(end);
            return self.scalar(inside..end);
        }
        if let Some(node) = self.nested(at.clone(), indent, depth) {
            return node;
        }
        let scalar = self.scalar(at.clone());
        match self.line() {
            // What is below a name, or goes on below a value.
            Some(line) if deeper(line) => {
                let below = self.block(depth + 1);
                match text {
                    "" => below,
                    _ => self.group(vec![(None, scalar), (None, below)]),
                }
            }
            // A list may stand as far left as its name.
            Some(line) if text.is_empty() && line.indent == indent && self.is_item(line) => {
                let mut items = Vec::new();
                while let Some(line) = self.line()
                    && line.indent == indent
                    && self.is_item(line)
                    && depth < DEEPEST
                {
                    items.push((None, self.item(line, depth)));
                }
                self.group(items)
            }
            _ => scalar,
        }
    }

    /// A name and its value, or an element of a list, behind something else in its line, such as what a log writes before it.
    fn nested(&mut self, at: Range<usize>, indent: usize, depth: usize) -> Option<Node<'a>> {
        let line = Line {
            indent,
            from: at.start,
            to: at.end,
        };
        let text = self.content(line);
        let dash = if text.starts_with("- ") { 2 } else { 0 };
        if depth >= DEEPEST || (dash == 0 && self.named(line).is_none()) {
            return None;
        }
        let opens = text.ends_with([':', '|', '>']) || text.ends_with("|-") || text.ends_with(">-");
        let below = self.line().filter(|line| line.indent > indent && !opens);
        self.next -= 1;
        if let Some(below) = below
            && let Some(this) = self.lines.get_mut(self.next)
        {
            let indent = below.indent.saturating_sub(dash);
            *this = Line { indent, ..line };
            return Some(self.block(depth + 1));
        }
        if dash > 0 {
            self.next += 1;
            return None;
        }
        let entry = self.entry(line, depth + 1);
        Some(self.group(vec![entry]))
    }

    /// Goes behind the lines that begin before `end`.
    fn skip(&mut self, end: usize) {
        while self.line().is_some_and(|line| line.from < end) {
            self.next += 1;
        }
    }
}
