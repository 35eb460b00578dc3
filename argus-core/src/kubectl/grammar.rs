//! kubectl's own grammar: which words are a command of kubectl, and which flags it takes.
//!
//! `grammar.txt` is printed by kubectl's code (`.ci/kubernetes/grammar`), and compared with it by a test. A line is a
//! command with its aliases (`|`), `*` if it does something itself, and its flags: the name, `/x` for a short one, `=` if it
//! takes a value from the next word. The first line holds the flags that every command takes.

use std::sync::LazyLock;

use super::words::Word;

static KUBECTL: LazyLock<Command> =
    LazyLock::new(|| Command::read(include_str!("grammar.txt")).unwrap_or_default());

/// A command of kubectl, such as `rollout restart`.
#[derive(Debug, Default)]
pub(super) struct Command {
    names: Vec<&'static str>,
    path: String,
    acts: bool,
    flags: Vec<FlagRule>,
    below: Vec<Command>,
}

/// A flag that a command takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlagRule {
    pub(super) name: &'static str,
    short: Option<char>,
    /// Whether the next word is its value, unless one is attached.
    pub(super) takes_value: bool,
}

impl Command {
    fn read(text: &'static str) -> Option<Self> {
        let mut lines = text.lines().map(Self::read_line);
        let mut root = lines.next()??.0;
        for line in lines {
            let (command, above) = line?;
            let mut parent = &mut root;
            for name in above {
                let name = name.split('|').next()?;
                parent = parent.below.iter_mut().find(|c| c.is_named(name))?;
            }
            parent.below.push(command);
        }
        Some(root)
    }

    /// One line: the command, and the names above it.
    fn read_line(line: &'static str) -> Option<(Self, Vec<&'static str>)> {
        let (path, flags) = line.split_once(':')?;
        let acts = path.ends_with('*');
        let mut segments: Vec<&str> = path.trim_end_matches('*').split(' ').skip(1).collect();
        let names: Vec<&str> = segments
            .pop()
            .map_or(vec![], |names| names.split('|').collect());
        let above = segments.iter().filter_map(|names| names.split('|').next());
        let path: Vec<&str> = above.chain(names.first().copied()).collect();
        let command = Self {
            path: path.join(" "),
            names,
            acts,
            flags: flags.split_whitespace().map(FlagRule::read).collect(),
            below: Vec::new(),
        };
        Some((command, segments))
    }

    fn is_named(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Its words after `kubectl`, such as `set image`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it does something itself, not only the commands below it.
    pub(super) fn acts(&self) -> bool {
        self.acts
    }

    /// The names of the commands below it.
    pub(super) fn below(&self) -> impl Iterator<Item = &'static str> {
        self.below
            .iter()
            .filter_map(|command| command.names.first().copied())
    }

    /// The flag of that long name. kubectl reads `_` as `-`.
    pub(super) fn long(&self, name: &str) -> Option<FlagRule> {
        let same = |flag: &&FlagRule| {
            flag.name.len() == name.len()
                && flag
                    .name
                    .bytes()
                    .zip(name.bytes())
                    .all(|(a, b)| a == b || (a == b'-' && b == b'_'))
        };
        self.every_flag().find(same).copied()
    }

    /// The flag of that short name.
    pub(super) fn short(&self, name: char) -> Option<FlagRule> {
        self.every_flag()
            .find(|flag| flag.short == Some(name))
            .copied()
    }

    fn every_flag(&self) -> impl Iterator<Item = &FlagRule> {
        self.flags.iter().chain(KUBECTL.flags.iter())
    }

    /// Whether the word after `word` is its value, as kubectl sees it while it looks for the command: a flag that it doesn't
    /// know yet takes one.
    fn swallows_next(&self, word: &str) -> bool {
        if word.contains('=') || word == "--" {
            return false;
        }
        if let Some(name) = word.strip_prefix("--") {
            return self.long(name).is_none_or(|flag| flag.takes_value);
        }
        let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => self.short(letter).is_none_or(|flag| flag.takes_value),
            _ => false,
        }
    }
}

impl FlagRule {
    fn read(text: &'static str) -> Self {
        let takes_value = text.ends_with('=');
        let text = text.trim_end_matches('=');
        let (name, short) = text.split_once('/').unwrap_or((text, ""));
        Self {
            name,
            short: short.chars().next(),
            takes_value,
        }
    }
}

/// The command that the words name, and the words that are left for it, as cobra finds it.
pub(super) fn find(words: &[Word]) -> (&'static Command, Vec<&Word>) {
    let mut command: &'static Command = &KUBECTL;
    let mut rest: Vec<&Word> = words.iter().collect();
    loop {
        let mut next = None;
        let mut at = 0;
        while let Some(word) = rest.get(at) {
            if word.text == "--" {
                break;
            }
            if command.swallows_next(&word.text) {
                at += 1;
            } else if !word.text.starts_with('-') {
                next = Some(at);
                break;
            }
            at += 1;
        }
        let named = next.and_then(|at| {
            let name = &rest.get(at)?.text;
            Some((at, command.below.iter().find(|below| below.is_named(name))?))
        });
        let Some((at, below)) = named else {
            return (command, rest);
        };
        rest.remove(at);
        command = below;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_grammar_is_read() {
        let text = include_str!("grammar.txt");
        let read = Command::read(text).unwrap();
        fn count(command: &Command) -> usize {
            1 + command.below.iter().map(count).sum::<usize>()
        }
        assert_eq!(count(&read), text.lines().count());
        assert_eq!(KUBECTL.path(), "");
        let rollout = read.below.iter().find(|c| c.is_named("rollout")).unwrap();
        assert!(!rollout.acts());
        assert!(rollout.below().any(|name| name == "undo"));
    }
}
