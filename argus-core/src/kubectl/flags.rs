//! Words become arguments and flags, as spf13/pflag reads them; flags that change who, where or how hard are refused.

use super::CommandError;
use super::grammar::{Command, FlagRule, find};
use super::words::Word;

/// Flags that change who acts, on which cluster, on how many objects or how hard.
const REFUSED: &[(&str, &str)] = &[
    ("force", "nothing is ever forced"),
    ("force-conflicts", "nothing is ever forced"),
    ("grace-period", "an app always gets its time to stop"),
    ("now", "an app always gets its time to stop"),
    ("cascade", "what belongs to an object stays with it"),
    ("as", NOBODY_ELSE),
    ("as-group", NOBODY_ELSE),
    ("as-uid", NOBODY_ELSE),
    ("as-user-extra", NOBODY_ELSE),
    ("server", CLUSTER),
    ("kubeconfig", CLUSTER),
    ("kuberc", CLUSTER),
    ("context", CLUSTER),
    ("cluster", CLUSTER),
    ("certificate-authority", CLUSTER),
    ("tls-server-name", CLUSTER),
    ("user", IDENTITY),
    ("username", IDENTITY),
    ("password", IDENTITY),
    ("token", IDENTITY),
    ("client-certificate", IDENTITY),
    ("client-key", IDENTITY),
    (
        "insecure-skip-tls-verify",
        "the cluster's certificate is always checked",
    ),
    ("all", ONE_OBJECT),
    ("all-namespaces", ONE_OBJECT),
    ("selector", ONE_OBJECT),
    ("field-selector", ONE_OBJECT),
    ("prune", ONE_OBJECT),
    ("filename", CARRIES),
    ("kustomize", CARRIES),
    ("patch-file", CARRIES),
    ("recursive", CARRIES),
    ("overrides", CARRIES),
    ("raw", "a step names its object, not a path"),
    ("dry-run", "every step is dry-run by Argus anyway"),
    ("subresource", "a step changes the object itself"),
    ("local", "a step changes the cluster, not a file"),
    ("validate", "every change is validated"),
    ("field-manager", "the field manager is Argus'"),
    ("help", "a step is a command, not a question"),
];
const NOBODY_ELSE: &str = "Argus acts as the host that embeds it, never as somebody else";
const CLUSTER: &str = "the cluster is the host's choice";
const IDENTITY: &str = "the identity is the host's choice";
const ONE_OBJECT: &str = "a step names exactly one object";
const CARRIES: &str = "a step carries its change itself";

/// What short flags mean on the commands that have them.
const SHORT: [(char, &str); 6] = [
    ('A', "all-namespaces"),
    ('f', "filename"),
    ('k', "kustomize"),
    ('l', "selector"),
    ('R', "recursive"),
    ('s', "server"),
];

/// A command with its words by what they are.
pub(super) struct Line<'a> {
    pub(super) command: &'static Command,
    pub(super) arguments: Vec<&'a Word>,
    flags: Vec<Flag<'a>>,
    /// Where the text ends.
    pub(super) end: usize,
}

/// A flag that was given, with its value.
pub(super) struct Flag<'a> {
    pub(super) name: &'static str,
    pub(super) value: &'a str,
    pub(super) position: usize,
}

impl<'a> Line<'a> {
    pub(super) fn read(words: &'a [Word]) -> Result<Self, CommandError> {
        let end = words.last().map_or(7, |word| word.end);
        let (command, rest) = find(words);
        let mut line = Self {
            command,
            arguments: Vec::new(),
            flags: Vec::new(),
            end,
        };
        let mut rest = rest.into_iter();
        while let Some(word) = rest.next() {
            match word.text.strip_prefix('-') {
                Some("-") => {
                    let hint = "write the arguments without it";
                    return Err(CommandError::new(
                        word.position,
                        "`--` is not allowed",
                        hint,
                    ));
                }
                Some(flag) if !flag.is_empty() => line.read_flags(word, flag, &mut rest)?,
                _ => line.arguments.push(word),
            }
        }
        line.check_letters(words)?;
        Ok(line)
    }

    /// The flags of one word: a long one, or a cluster of short ones of which the last may take a value.
    fn read_flags(
        &mut self,
        word: &'a Word,
        flag: &'a str,
        rest: &mut impl Iterator<Item = &'a Word>,
    ) -> Result<(), CommandError> {
        if let Some(long) = flag.strip_prefix('-') {
            let (name, value) = long
                .split_once('=')
                .map_or((long, None), |(name, value)| (name, Some(value)));
            let rule = self.command.long(name);
            let rule = rule.ok_or_else(|| self.unknown(word, &format!("--{name}"), name))?;
            return self.take(word, rule, value, rest);
        }
        for (at, letter) in flag.char_indices() {
            let rule = self.command.short(letter);
            let rule = rule.ok_or_else(|| {
                let meant = SHORT.iter().find(|(short, _)| *short == letter);
                self.unknown(
                    word,
                    &format!("-{letter}"),
                    meant.map_or("", |(_, name)| name),
                )
            })?;
            let tail = flag.get(at + letter.len_utf8()..).unwrap_or_default();
            if let Some(value) = tail.strip_prefix('=') {
                return self.take(word, rule, Some(value), rest);
            }
            if rule.takes_value {
                return self.take(word, rule, (!tail.is_empty()).then_some(tail), rest);
            }
            self.take(word, rule, None, rest)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        word: &Word,
        rule: FlagRule,
        attached: Option<&'a str>,
        rest: &mut impl Iterator<Item = &'a Word>,
    ) -> Result<(), CommandError> {
        refuse(word, rule.name, &format!("--{}", rule.name))?;
        let error = |problem, hint| CommandError::new(word.position, problem, hint);
        let value = match attached {
            Some(value) => value,
            None if !rule.takes_value => "true",
            // A flag is no value: it must not hide behind another one. `- ` starts a list in YAML.
            None => match rest.next().filter(|next| {
                let text = &next.text;
                !text.starts_with('-') || text.starts_with("- ") || text.starts_with("-\n")
            }) {
                Some(next) => &next.text,
                None => {
                    let problem = format!("the flag `{}` has no value", word.text);
                    return Err(error(problem, "write its value after it"));
                }
            },
        };
        if self.flag(rule.name).is_some() {
            let problem = format!("the flag `--{}` is given twice", rule.name);
            return Err(error(problem, "give every flag once"));
        }
        self.flags.push(Flag {
            name: rule.name,
            value,
            position: word.position,
        });
        Ok(())
    }

    fn unknown(&self, word: &Word, shown: &str, name: &str) -> CommandError {
        // kubectl takes no abbreviations, but whoever writes one means the flag.
        let meant = REFUSED
            .iter()
            .find(|(refused, _)| name.len() >= 3 && refused.starts_with(name));
        if let Some((refused, _)) = meant
            && let Err(error) = refuse(word, refused, shown)
        {
            return error;
        }
        let command = format!("kubectl {}", self.command.path());
        CommandError::new(
            word.position,
            format!("`{}` has no flag `{shown}`", command.trim_end()),
            "leave it out",
        )
    }

    /// Letters beyond ASCII stand only in a patch, where they are data.
    fn check_letters(&self, words: &[Word]) -> Result<(), CommandError> {
        let patch = self.flag("patch").map(|flag| flag.value);
        let odd = words.iter().find_map(|word| {
            let (position, letter) = word.beyond_ascii?;
            let is_patch = patch.is_some_and(|value| word.text.ends_with(value));
            (!is_patch).then_some((position, letter))
        });
        odd.map_or(Ok(()), |(position, letter)| {
            Err(CommandError::look_alike(position, letter))
        })
    }

    /// The flag of that name, if it was given.
    pub(super) fn flag(&self, name: &str) -> Option<&Flag<'a>> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    /// That no flag was given but the namespace and these.
    pub(super) fn only(&self, allowed: &[&str]) -> Result<(), CommandError> {
        let extra = self
            .flags
            .iter()
            .find(|flag| flag.name != "namespace" && !allowed.contains(&flag.name));
        extra.map_or(Ok(()), |flag| {
            let problem = format!("Argus does not take the flag `--{}` here", flag.name);
            Err(CommandError::new(flag.position, problem, "leave it out"))
        })
    }
}

fn refuse(word: &Word, name: &str, shown: &str) -> Result<(), CommandError> {
    match REFUSED.iter().find(|(refused, _)| *refused == name) {
        Some((_, why)) => Err(CommandError::new(
            word.position,
            format!("the flag `{shown}` is not allowed: {why}"),
            "leave it out",
        )),
        None => Ok(()),
    }
}
