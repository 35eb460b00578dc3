//! Room 3, the door for text: one kubectl command becomes one [`Action`], or an error with its position.
//!
//! Nothing is filtered and nothing is guessed. Words are split as a POSIX shell does it, and whatever a shell would
//! expand, chain or redirect is refused. Then they are read by kubectl's own grammar. Flags that change who acts, on
//! which cluster, or how hard are refused for every verb. Clean kubectl for anything but the seven actions becomes
//! [`Action::Manual`]: shown, never run.
//!
//! Source: kubectl's reference documentation and its code; flags as `spf13/pflag` reads them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::action::{
    Action, ActionError, Amounts, Image, Kind, Patch, PatchKind, Quantity, Target,
};
use crate::json::{from_json, from_yaml};
use crate::letters::{mistaken_for, short};
use crate::names::DnsLabel;

mod flags;
mod grammar;
mod kinds;
mod render;
mod words;

use flags::{Flag, Line};
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

    fn look_alike(position: usize, c: char) -> Self {
        let hint = mistaken_for(c).map_or_else(
            || "write plain English letters, digits and punctuation".to_owned(),
            |plain| format!("it looks like `{plain}`, but is another character: type it anew"),
        );
        let problem = format!(
            "the character `{}` is not ASCII and may look like another",
            c.escape_unicode()
        );
        Self::new(position, problem, hint)
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
        let problem = format!(
            "the command has {} bytes, at most {MAX_COMMAND_BYTES} are read",
            text.len()
        );
        let hint = "a step that needs so much text is better done by hand";
        return Err(CommandError::new(MAX_COMMAND_BYTES, problem, hint));
    }
    let words = split(text)?;
    let Some((program, rest)) = words.split_first() else {
        let hint = "write one kubectl command";
        return Err(CommandError::new(0, "the command is empty", hint));
    };
    if program.text != "kubectl" {
        let problem = format!("`{}` is not kubectl", short(&program.text));
        let hint = "write one kubectl command, starting with `kubectl`";
        return Err(CommandError::new(program.position, problem, hint));
    }
    let line = Line::read(rest)?;
    match line.action()? {
        Some(action) => Ok(action),
        None => {
            let arguments = line.arguments.iter().map(|word| word.text.as_str());
            let reason = manual_reason(line.command.path(), arguments.collect());
            let manual = Action::manual(text, reason);
            manual.map_err(|error| line.at(0, error, "write one kubectl command"))
        }
    }
}

/// What the command does; `None` where it is clean, but nothing that Argus does.
impl<'a> Line<'a> {
    fn action(&self) -> Result<Option<Action>, CommandError> {
        match self.command.path() {
            "rollout restart" => {
                self.on_one_object(&[], |target| Ok(Action::rollout_restart(target)))
            }
            "rollout undo" => self.on_one_object(&["to-revision"], |target| {
                // kubectl takes 0 as "the revision before", which is what leaving it out means.
                let revision = self
                    .number("to-revision")?
                    .filter(|revision| *revision != 0);
                Ok(Action::rollout_undo(target, revision))
            }),
            "scale" => self.on_one_object(&["replicas"], |target| {
                let replicas = self.number("replicas")?.ok_or_else(|| {
                    self.missing("--replicas", "the number of copies, such as `--replicas=2`")
                })?;
                Ok(Action::scale(target, replicas))
            }),
            "set resources" => {
                self.on_one_object(&["limits", "requests", "containers"], |target| {
                    let (limits, requests) = (self.amounts("limits")?, self.amounts("requests")?);
                    Ok(Action::set_resources(
                        target,
                        self.container()?,
                        limits,
                        requests,
                    ))
                })
            }
            "set image" => {
                let (objects, images) = self.images()?;
                self.on_one_of(&objects, &[], |target| {
                    Ok(Action::set_image(target, images))
                })
            }
            "patch" => self.on_one_object(&["type", "patch"], |target| {
                Ok(Action::patch(target, self.patch()?))
            }),
            "delete" => self.on_one_object(&[], |target| Ok(Action::delete_pod(target))),
            _ if self.command.acts() && !self.is_bare() => Ok(None),
            _ => Err(self.no_command()),
        }
    }

    /// Whether the words name no command of kubectl.
    fn is_bare(&self) -> bool {
        self.command.path().is_empty()
    }

    fn no_command(&self) -> CommandError {
        let below = self.command.below().collect::<Vec<_>>().join(", ");
        match self.arguments.first() {
            Some(word) if self.is_bare() => {
                let problem = format!("kubectl has no command `{}`", short(&word.text));
                let hint = "write one of `rollout restart`, `rollout undo`, `scale`, `set resources`, `set image`, `patch`, `delete pod`";
                CommandError::new(word.position, problem, hint)
            }
            None if self.is_bare() => CommandError::new(
                self.end,
                "kubectl is told nothing to do",
                "write a verb, such as `kubectl scale`",
            ),
            word => CommandError::new(
                word.map_or(self.end, |word| word.position),
                format!("`kubectl {}` needs to know what", self.command.path()),
                format!("go on with one of: {below}"),
            ),
        }
    }

    fn on_one_object(
        &self,
        flags: &[&str],
        make: impl FnOnce(Target) -> Result<Result<Action, ActionError>, CommandError>,
    ) -> Result<Option<Action>, CommandError> {
        self.on_one_of(&self.arguments, flags, make)
    }

    /// The action on the one object that `words` name; `None` where Argus never changes such an object so.
    fn on_one_of(
        &self,
        words: &[&Word],
        flags: &[&str],
        make: impl FnOnce(Target) -> Result<Result<Action, ActionError>, CommandError>,
    ) -> Result<Option<Action>, CommandError> {
        let Some(target) = self.one_object(words)? else {
            return Ok(None);
        };
        if is_left_to_people(self.command.path(), target.kind()) {
            return Ok(None);
        }
        self.only(flags)?;
        let hint = "choose a kind and values that Kubernetes has";
        make(target)?
            .map(Some)
            .map_err(|error| self.at(8, error, hint))
    }

    /// The one object that the words name; `None` if it is of a kind that Argus never changes.
    fn one_object(&self, words: &[&Word]) -> Result<Option<Target>, CommandError> {
        const BY_NAME: &str = "name it as `kind/name`, such as `deployment/web`";
        let missing = |what| Err(CommandError::new(self.end, what, BY_NAME));
        let Some(first) = words.first() else {
            return missing("the object is missing");
        };
        let (word, name, rest) = match (first.text.split_once('/'), words.get(1)) {
            (Some((kind, name)), _) => (kind, name, words.get(1..)),
            (None, Some(name)) => (first.text.as_str(), name.text.as_str(), words.get(2..)),
            (None, None) => return missing("the object's name is missing"),
        };
        if let Some(extra) = rest.unwrap_or_default().first() {
            let problem = format!("`{}` is one word too many", short(&extra.text));
            return Err(self.at(extra.position, problem, "a step names exactly one object"));
        }
        let is_resource = word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        if !is_resource {
            let problem = format!("`{}` is no kind of object", short(word));
            return Err(self.at(first.position, problem, BY_NAME));
        }
        let Some(kind) = kind_of(word) else {
            return Ok(None);
        };
        let namespace = self.flag("namespace").ok_or_else(|| {
            self.missing(
                "the namespace",
                "the namespace, such as `-n shop`: there is no current one",
            )
        })?;
        let hint = "copy the name as `kubectl get` prints it";
        Target::new(kind, namespace.value, name)
            .map(Some)
            .map_err(|error| self.at(first.position, error, hint))
    }

    fn at(&self, position: usize, problem: impl ToString, hint: &str) -> CommandError {
        CommandError::new(position, problem.to_string(), hint)
    }

    fn missing(&self, what: &str, hint: &str) -> CommandError {
        CommandError::new(
            self.end,
            format!("{what} is missing"),
            format!("add {hint}"),
        )
    }

    fn number(&self, name: &str) -> Result<Option<u32>, CommandError> {
        let Some(flag) = self.flag(name) else {
            return Ok(None);
        };
        // kubectl reads `010` as eight.
        let plain = flag.value == "0" || !flag.value.starts_with('0');
        let digits = !flag.value.is_empty() && flag.value.bytes().all(|b| b.is_ascii_digit());
        match flag.value.parse() {
            Ok(number) if digits && plain => Ok(Some(number)),
            _ => {
                let problem = format!("`{}` is no whole number", short(flag.value));
                Err(self.at(flag.position, problem, &format!("write `--{name}=2`")))
            }
        }
    }

    fn container(&self) -> Result<Option<DnsLabel>, CommandError> {
        let Some(flag) = self.flag("containers").filter(|flag| flag.value != "*") else {
            return Ok(None);
        };
        let hint = "name one container, or leave `-c` out for all";
        DnsLabel::new(flag.value)
            .map(Some)
            .map_err(|error| self.at(flag.position, error, hint))
    }

    fn amounts(&self, name: &str) -> Result<Amounts, CommandError> {
        let mut amounts = Amounts::default();
        let Some(flag) = self.flag(name) else {
            return Ok(amounts);
        };
        let wrong = |problem: String| {
            self.at(
                flag.position,
                problem,
                &format!("write `--{name}=memory=512Mi`"),
            )
        };
        for part in flag.value.split(',') {
            let (resource, amount) = part.split_once('=').unwrap_or((part, ""));
            let amount = Quantity::new(amount).map_err(|error| wrong(error.to_string()))?;
            let Some(slot) = amounts.of(resource) else {
                return Err(wrong(format!(
                    "`{}` is none of `cpu=...`, `memory=...` and `ephemeral-storage=...`",
                    short(part)
                )));
            };
            if slot.replace(amount).is_some() {
                return Err(wrong(format!("`{resource}` is given twice")));
            }
        }
        Ok(amounts)
    }

    /// The words that name objects, and the `container=image` pairs that have to come after them.
    fn images(&self) -> Result<(Vec<&'a Word>, BTreeMap<DnsLabel, Image>), CommandError> {
        let mut images = BTreeMap::new();
        let mut objects = Vec::new();
        for word in &self.arguments {
            let at = |problem: String| {
                self.at(
                    word.position,
                    problem,
                    "write `container=registry/name:tag`",
                )
            };
            let Some((container, image)) = word.text.split_once('=') else {
                if !images.is_empty() {
                    let hint = "name the object first, then `container=image`";
                    let problem = format!("`{}` comes after an image", short(&word.text));
                    return Err(self.at(word.position, problem, hint));
                }
                objects.push(*word);
                continue;
            };
            let container = DnsLabel::new(container).map_err(|error| at(error.to_string()))?;
            let image = Image::new(image).map_err(|error| at(error.to_string()))?;
            if images.insert(container, image).is_some() {
                return Err(at("the container is given twice".into()));
            }
        }
        Ok((objects, images))
    }

    fn patch(&self) -> Result<Patch, CommandError> {
        let kind = match self.flag("type") {
            None => PatchKind::Strategic,
            Some(flag) => patch_kind(flag).ok_or_else(|| {
                let hint = "write `--type=strategic`, `--type=merge` or `--type=json`";
                self.at(
                    flag.position,
                    format!("`{}` is no patch type", short(flag.value)),
                    hint,
                )
            })?,
        };
        let flag = self.flag("patch").ok_or_else(|| {
            self.missing("the patch", "the change, such as `-p '{\"spec\":{...}}'`")
        })?;
        let body = body(flag.value).map_err(|problem| {
            let hint = "write the patch as JSON or YAML in single quotes";
            self.at(
                flag.position,
                format!("the patch can't be read: {problem}"),
                hint,
            )
        })?;
        let hint = "write only the fields that change";
        Patch::new(kind, body).map_err(|error| self.at(flag.position, error, hint))
    }
}

fn patch_kind(flag: &Flag<'_>) -> Option<PatchKind> {
    let kinds = [PatchKind::Strategic, PatchKind::Merge, PatchKind::Json];
    kinds
        .into_iter()
        .find(|kind| kind.as_str().eq_ignore_ascii_case(flag.value))
}

/// The body of a patch. kubectl reads what starts with a brace as JSON, and all else as YAML.
fn body(text: &str) -> Result<Value, String> {
    let read = if text.trim_start().starts_with('{') {
        from_json
    } else {
        from_yaml
    };
    read(text).map_err(|error| error.to_string())
}

/// What kubectl can do to an object of this kind, and Argus leaves to people.
fn is_left_to_people(verb: &str, kind: Kind) -> bool {
    match verb {
        "rollout undo" => matches!(kind, Kind::StatefulSet | Kind::DaemonSet),
        "set image" | "set resources" => matches!(kind, Kind::Pod | Kind::CronJob),
        "patch" => kind == Kind::Pod,
        "delete" => kind != Kind::Pod,
        _ => false,
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
