//! Room 3, the door for text: one kubectl command becomes one [`Action`], or an error with its position.
//!
//! Nothing is filtered and nothing is guessed. Words are split as a POSIX shell does it, and whatever a shell would
//! expand, chain or redirect is refused. Flags that change who acts, on which cluster, or how hard are refused for every
//! verb. Clean kubectl for anything but the seven actions becomes [`Action::Manual`]: shown, never run.
//!
//! Source: kubectl's reference documentation; flags as `spf13/pflag` reads them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::action::{Action, ActionError, Amounts, Image, Patch, PatchKind, Quantity, Target};
use crate::names::DnsLabel;

mod flags;
mod kinds;
mod render;
mod words;

use flags::{flag_parts, refuse, taken};
use kinds::{kind_of, manual_reason};
use words::{Word, split};

/// The longest command that is read, in bytes.
pub const MAX_COMMAND_BYTES: usize = 32 * 1024;

/// Why a text is no command that Argus would show or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at character {})", position + 1)]
pub struct CommandError {
    problem: String,
    position: usize,
    hint: String,
}

impl CommandError {
    fn new(position: usize, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            position,
            hint: hint.into(),
        }
    }

    /// Where in the text, in characters from 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What to write instead, in plain English.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// Reads one kubectl command.
///
/// # Errors
/// [`CommandError`] for what isn't exactly one clean kubectl command, with position and hint.
///
/// # Example
/// ```
/// use argus_core::parse_command;
/// let action = parse_command("kubectl -n shop scale deploy/web --replicas 3")?;
/// assert_eq!(action.command(), "kubectl scale deployment/web -n shop --replicas=3");
/// assert!(parse_command("kubectl drain node-1")?.is_manual());
///
/// let error = parse_command("kubectl delete pod/web-1 -n shop --force").unwrap_err();
/// assert_eq!(error.to_string(), "the flag `--force` is not allowed: nothing is ever forced (at character 34)");
/// # Ok::<(), argus_core::CommandError>(())
/// ```
pub fn parse_command(text: &str) -> Result<Action, CommandError> {
    if text.len() > MAX_COMMAND_BYTES {
        let hint = "a step that needs so much text is better done by hand";
        return Err(CommandError::new(
            MAX_COMMAND_BYTES,
            format!(
                "the command has {} bytes, at most {MAX_COMMAND_BYTES} are read",
                text.len()
            ),
            hint,
        ));
    }
    let words = split(text)?;
    let Some((program, rest)) = words.split_first() else {
        return Err(CommandError::new(
            0,
            "the command is empty",
            "write one kubectl command",
        ));
    };
    if program.text != "kubectl" {
        let shown = &program.text;
        return Err(CommandError::new(
            program.position,
            format!("`{shown}` is not kubectl"),
            "write one kubectl command, starting with `kubectl`",
        ));
    }
    let command = Command::read(rest)?;
    command.action(text)
}

/// A command's words by what they are.
struct Command<'a> {
    arguments: Vec<&'a Word>,
    flags: BTreeMap<&'static str, Flag>,
    /// A flag that no action takes; refused unless the verb makes the command manual anyway.
    unknown: Option<&'a Word>,
    end: usize,
}

struct Flag {
    value: String,
    position: usize,
}

impl<'a> Command<'a> {
    fn read(words: &'a [Word]) -> Result<Self, CommandError> {
        let end = words
            .last()
            .map_or(7, |word| word.position + word.text.chars().count());
        let mut command = Self {
            arguments: Vec::new(),
            flags: BTreeMap::new(),
            unknown: None,
            end,
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let text = word.text.as_str();
            if text == "--" {
                return Err(CommandError::new(
                    word.position,
                    "`--` is not allowed",
                    "write the arguments without it",
                ));
            }
            let Some(flag) = text.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                command.arguments.push(word);
                continue;
            };
            let (name, attached) = flag_parts(flag);
            refuse(word, flag, name)?;
            let Some(long) = taken(flag, name) else {
                command.unknown.get_or_insert(word);
                continue;
            };
            let value = match attached {
                Some(value) => value.to_owned(),
                // A flag is no value: it must not hide behind another one.
                None => match rest.next().filter(|next| !next.text.starts_with('-')) {
                    Some(next) => next.text.clone(),
                    None => {
                        return Err(CommandError::new(
                            word.position,
                            format!("the flag `{text}` has no value"),
                            "write its value after it",
                        ));
                    }
                },
            };
            if command
                .flags
                .insert(
                    long,
                    Flag {
                        value,
                        position: word.position,
                    },
                )
                .is_some()
            {
                let problem = format!("the flag `--{long}` is given twice");
                return Err(CommandError::new(
                    word.position,
                    problem,
                    "give every flag once",
                ));
            }
        }
        Ok(command)
    }

    fn action(mut self, text: &str) -> Result<Action, CommandError> {
        let verbs: Vec<&str> = self
            .arguments
            .iter()
            .map(|word| word.text.as_str())
            .collect();
        let taken = match verbs.as_slice() {
            ["rollout", "restart", ..] => self.one_object(2, &[]).and_then(|target| {
                target
                    .map(|t| self.made(Action::rollout_restart(t)))
                    .transpose()
            })?,
            ["rollout", "undo", ..] => match self.one_object(2, &["to-revision"])? {
                Some(target) => {
                    // kubectl takes 0 as "the revision before", which is what leaving it out means.
                    let revision = self
                        .number("to-revision")?
                        .filter(|revision| *revision != 0);
                    Some(self.made(Action::rollout_undo(target, revision))?)
                }
                None => None,
            },
            ["scale", ..] => match self.one_object(1, &["replicas"])? {
                Some(target) => {
                    let replicas = self.number("replicas")?.ok_or_else(|| {
                        self.missing("--replicas", "the number of copies, such as `--replicas=2`")
                    })?;
                    Some(self.made(Action::scale(target, replicas))?)
                }
                None => None,
            },
            ["set", "resources", ..] => match self
                .one_object(2, &["limits", "requests", "containers"])?
            {
                Some(target) => {
                    let container = self.container()?;
                    let (limits, requests) = (self.amounts("limits")?, self.amounts("requests")?);
                    Some(self.made(Action::set_resources(target, container, limits, requests))?)
                }
                None => None,
            },
            ["set", "image", ..] => {
                let images = self.images()?;
                match self.one_object(2, &[])? {
                    Some(target) => Some(self.made(Action::set_image(target, images))?),
                    None => None,
                }
            }
            ["patch", ..] => match self.one_object(1, &["type", "patch"])? {
                Some(target) => Some(self.patch(target)?),
                None => None,
            },
            ["delete", "pod" | "pods" | "po", ..] => self
                .one_object(1, &[])?
                .map(|target| self.made(Action::delete_pod(target)))
                .transpose()?,
            ["delete", object, ..]
                if object.starts_with("pod/")
                    || object.starts_with("pods/")
                    || object.starts_with("po/") =>
            {
                self.one_object(1, &[])?
                    .map(|target| self.made(Action::delete_pod(target)))
                    .transpose()?
            }
            [] => {
                return Err(CommandError::new(
                    self.end,
                    "kubectl is told nothing to do",
                    "write a verb, such as `kubectl scale`",
                ));
            }
            _ => None,
        };
        match taken {
            Some(action) => Ok(action),
            None => Action::manual(text, manual_reason(&verbs)).map_err(|error| {
                CommandError::new(0, error.to_string(), "write one kubectl command")
            }),
        }
    }

    /// The one object that the arguments after the verb name; `None` where Argus never changes such an object.
    fn one_object(&self, verbs: usize, flags: &[&str]) -> Result<Option<Target>, CommandError> {
        let words = self.arguments.get(verbs..).unwrap_or_default();
        let Some(first) = words.first() else {
            return Err(CommandError::new(
                self.end,
                "the object is missing",
                "name it as `kind/name`, such as `deployment/web`",
            ));
        };
        let (kind, name, rest) = match first.text.split_once('/') {
            Some((kind, name)) => (kind, name, words.get(1..)),
            None => match words.get(1) {
                Some(name) => (first.text.as_str(), name.text.as_str(), words.get(2..)),
                None => {
                    return Err(CommandError::new(
                        self.end,
                        "the object's name is missing",
                        "name it as `kind/name`, such as `deployment/web`",
                    ));
                }
            },
        };
        if let Some(extra) = rest.unwrap_or_default().first() {
            return Err(CommandError::new(
                extra.position,
                format!("`{}` is one word too many", extra.text),
                "a step names exactly one object",
            ));
        }
        let Some(kind) = kind_of(kind) else {
            return Ok(None);
        };
        if let Some(unknown) = self.unknown {
            return Err(CommandError::new(
                unknown.position,
                format!("the flag `{}` is not known here", unknown.text),
                "leave it out",
            ));
        }
        if let Some((name, flag)) = self
            .flags
            .iter()
            .find(|(name, _)| **name != "namespace" && !flags.contains(name))
        {
            return Err(CommandError::new(
                flag.position,
                format!("the flag `--{name}` does not belong to this verb"),
                "leave it out",
            ));
        }
        let namespace = self.flags.get("namespace").ok_or_else(|| {
            self.missing(
                "the namespace",
                "the namespace, such as `-n shop`: there is no current one",
            )
        })?;
        let target = Target::new(kind, namespace.value.clone(), name).map_err(|error| {
            CommandError::new(
                first.position,
                error.to_string(),
                "copy the name as `kubectl get` prints it",
            )
        })?;
        Ok(Some(target))
    }

    fn made(&self, action: Result<Action, ActionError>) -> Result<Action, CommandError> {
        action.map_err(|error| {
            CommandError::new(
                8,
                error.to_string(),
                "choose a kind and values that Kubernetes has",
            )
        })
    }

    fn missing(&self, what: &str, hint: &str) -> CommandError {
        CommandError::new(
            self.end,
            format!("{what} is missing"),
            format!("add {hint}"),
        )
    }

    fn number(&self, name: &str) -> Result<Option<u32>, CommandError> {
        let Some(flag) = self.flags.get(name) else {
            return Ok(None);
        };
        let digits = !flag.value.is_empty() && flag.value.chars().all(|c| c.is_ascii_digit());
        match flag.value.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => Err(CommandError::new(
                flag.position,
                format!("`{}` is no whole number", flag.value),
                format!("write `--{name}=2`"),
            )),
        }
    }

    fn container(&self) -> Result<Option<DnsLabel>, CommandError> {
        let Some(flag) = self.flags.get("containers") else {
            return Ok(None);
        };
        if flag.value == "*" {
            return Ok(None);
        }
        DnsLabel::new(flag.value.clone())
            .map(Some)
            .map_err(|error| {
                CommandError::new(
                    flag.position,
                    error.to_string(),
                    "name one container, or leave `-c` out for all",
                )
            })
    }

    fn amounts(&self, name: &str) -> Result<Amounts, CommandError> {
        let mut amounts = Amounts::default();
        let Some(flag) = self.flags.get(name) else {
            return Ok(amounts);
        };
        for part in flag.value.split(',') {
            let (resource, amount) = part.split_once('=').unwrap_or((part, ""));
            let slot = match resource {
                "cpu" => &mut amounts.cpu,
                "memory" => &mut amounts.memory,
                _ => {
                    let problem = format!("`{part}` is neither `cpu=...` nor `memory=...`");
                    return Err(CommandError::new(
                        flag.position,
                        problem,
                        format!("write `--{name}=memory=512Mi`"),
                    ));
                }
            };
            let amount = Quantity::new(amount).map_err(|error| {
                CommandError::new(
                    flag.position,
                    error.to_string(),
                    format!("write `--{name}=memory=512Mi`"),
                )
            })?;
            if slot.replace(amount).is_some() {
                return Err(CommandError::new(
                    flag.position,
                    format!("`{resource}` is given twice"),
                    "give every amount once",
                ));
            }
        }
        Ok(amounts)
    }

    /// Takes the `container=image` words out of the arguments.
    fn images(&mut self) -> Result<BTreeMap<DnsLabel, Image>, CommandError> {
        let mut images = BTreeMap::new();
        let (pairs, rest): (Vec<&Word>, Vec<&Word>) = self
            .arguments
            .iter()
            .partition(|word| word.text.contains('='));
        self.arguments = rest;
        for word in pairs {
            let (container, image) = word.text.split_once('=').unwrap_or_default();
            let at = |error: String| {
                CommandError::new(word.position, error, "write `container=registry/name:tag`")
            };
            let container = DnsLabel::new(container).map_err(|error| at(error.to_string()))?;
            let image = Image::new(image).map_err(|error| at(error.to_string()))?;
            if images.insert(container, image).is_some() {
                return Err(at("the container is given twice".into()));
            }
        }
        Ok(images)
    }

    fn patch(&self, target: Target) -> Result<Action, CommandError> {
        let kind = match self
            .flags
            .get("type")
            .map(|flag| (flag.value.as_str(), flag.position))
        {
            None | Some(("strategic", _)) => PatchKind::Strategic,
            Some(("merge", _)) => PatchKind::Merge,
            Some(("json", _)) => PatchKind::Json,
            Some((other, position)) => {
                return Err(CommandError::new(
                    position,
                    format!("`{other}` is no patch type"),
                    "write `--type=strategic`, `--type=merge` or `--type=json`",
                ));
            }
        };
        let flag = self.flags.get("patch").ok_or_else(|| {
            self.missing("the patch", "the change, such as `-p '{\"spec\":{...}}'`")
        })?;
        let at = |problem: String| {
            CommandError::new(
                flag.position,
                problem,
                "write the patch as JSON in single quotes",
            )
        };
        let body: Value = serde_json::from_str(&flag.value)
            .map_err(|error| at(format!("the patch is not valid JSON: {error}")))?;
        let patch = Patch::new(kind, body).map_err(|error| at(error.to_string()))?;
        self.made(Action::patch(target, patch))
    }
}

impl Action {
    /// The kubectl command that does the same: what a person reads, and can paste into a shell.
    #[must_use]
    pub fn command(&self) -> String {
        render::command(self)
    }
}

#[cfg(test)]
mod tests;
