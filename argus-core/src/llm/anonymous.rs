//! A provider that doesn't learn how things are called: names go out as placeholders and come back as names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use async_trait::async_trait;
use regex::{Captures, Regex};
use serde_json::Value;

use crate::incident::{Incident, ObjectRef, owner_of_pod};
use crate::kubectl::parse_command;
use crate::prompt::{Completion, LlmError, LlmProvider, Prompt};
use crate::scope::Scope;

/// Repositories of images, such as `registry.example:5000/team/web`: what stands before `:tag` or `@sha256:`.
static IMAGES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let host = r"(?:localhost|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)+)(?::\d{1,5})?";
    Regex::new(&format!(r"\b{host}(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+")).ok()
});

/// Addresses of IPv4 and IPv6.
static ADDRESSES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-fA-F]{1,4}:){2,7}(?::?[0-9a-fA-F]{1,4}){1,7}\b|\b(?:[0-9a-fA-F]{1,4}:){1,6}:(?:[0-9a-fA-F]{1,4}\b)?").ok()
});

/// What names nothing: fields whose values are words of Argus' own.
const OWN_WORDS: [&str; 9] = [
    "category",
    "severity",
    "cause",
    "infra_type",
    "timestamp",
    "created_at",
    "resolved_at",
    "kind",
    "incident_id",
];

/// Hides from a provider the names of namespaces and objects, repositories of images and IP addresses, and puts them back into
/// its answer, exactly. A text that can't be a name in Kubernetes isn't put back: it could end the text that it stands in, or become
/// another word of a command.
///
/// The same name has the same placeholder everywhere, also within longer names, so that a model sees what belongs together; kinds,
/// tags of images, amounts and the words of events and logs stay. A name is hidden as it is written in the incident and the scope:
/// what is only spoken of in prose, such as "the shop", isn't known to be one.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use argus_core::{Anonymous, Completion, Incident, LlmError, LlmProvider, Prompt, Scope};
/// struct Hosted;
/// #[async_trait::async_trait]
/// impl LlmProvider for Hosted {
///     async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
///         assert!(!prompt.user().contains("shop"));
///         Ok(Completion::new("kubectl rollout restart deployment/web -n space-h1", "hosted"))
///     }
/// }
/// let incident = Incident::from_json(r#"{"incident_id": "INC-1"}"#)?;
/// let completion = Anonymous::new(Hosted).complete(&Prompt::new(&incident, &Scope::namespaces(["shop"])?)).await?;
/// assert_eq!(completion.text(), "kubectl rollout restart deployment/web -n shop");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Anonymous<L>(L);

impl<L: LlmProvider> Anonymous<L> {
    /// Hides names from this provider.
    #[must_use]
    pub fn new(llm: L) -> Self {
        Self(llm)
    }
}

#[async_trait]
impl<L: LlmProvider> LlmProvider for Anonymous<L> {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let names = Names::of(prompt);
        let hidden = names.hidden(prompt).ok_or_else(|| {
            LlmError::unasked("the incident can't be made anonymous, so it isn't asked")
        })?;
        let completion = self.0.complete(&hidden).await?;
        let text = names.restored(completion.text());
        Ok(completion.saying(text))
    }
}

/// What is hidden, and by which placeholder.
struct Names {
    placeholders: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    find: Option<Regex>,
    find_placeholder: Option<Regex>,
}

impl Names {
    fn of(prompt: &Prompt) -> Self {
        let incident = prompt.incident();
        let mut whole = serde_json::to_string(incident).unwrap_or_default();
        whole.push_str(&serde_json::to_string(prompt.history()).unwrap_or_default());
        let mut spaces: BTreeSet<String> = prompt.scope().iter().map(str::to_owned).collect();
        let mut objects = BTreeSet::new();
        for finding in incident.findings() {
            for ObjectRef {
                namespace, name, ..
            } in finding.owner.iter().chain(&finding.related)
            {
                spaces.insert(namespace.clone());
                objects.insert(name.clone());
            }
            let path = finding.target.strip_prefix("k8s://").unwrap_or_default();
            let mut path = path.split('/');
            spaces.extend(path.next().map(str::to_owned));
            // The ends that Kubernetes gives to a pod's name say nothing, and show which pods belong together.
            let without_ends = |name: &str| owner_of_pod(name).unwrap_or(name).to_owned();
            objects.extend(path.map(without_ends));
        }
        let tried = prompt.history().iter().flat_map(|attempt| &attempt.steps);
        for action in tried.filter_map(|step| parse_command(&step.command).ok()) {
            if let Some(target) = action.target() {
                spaces.insert(target.namespace().to_owned());
                objects.insert(target.name().to_owned());
            }
        }
        let matches = |regex: &LazyLock<Option<Regex>>| -> BTreeSet<String> {
            let found = regex.iter().flat_map(|regex| regex.find_iter(&whole));
            found.map(|found| found.as_str().to_owned()).collect()
        };
        let groups = [
            ("space", spaces),
            ("object", objects),
            ("registry.example/image", matches(&IMAGES)),
            ("address", matches(&ADDRESSES)),
        ];
        // A mark that stands nowhere yet, so that a placeholder can't be taken for a name.
        let is_free = |mark: &str| {
            let mut placeholders = groups.iter().map(|(what, _)| format!("{what}-{mark}"));
            !placeholders.any(|placeholder| whole.contains(&placeholder))
        };
        let mut marks = std::iter::once("h".to_owned()).chain((1..).map(|n| format!("h{n}h")));
        let mark = marks.find(|mark| is_free(mark)).unwrap_or_default();
        let mut placeholders = BTreeMap::new();
        for (what, names) in groups {
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                let number = placeholders.len() + 1;
                placeholders
                    .entry(name)
                    .or_insert_with(|| format!("{what}-{mark}{number}"));
            }
        }
        let names: BTreeMap<String, String> = placeholders
            .iter()
            .filter(|(name, _)| is_plain(name))
            .map(|(name, placeholder)| (placeholder.clone(), name.clone()))
            .collect();
        // The longest first: a pod's name has that of its owner in it.
        let mut longest: Vec<&String> = placeholders.keys().collect();
        longest.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let escaped: Vec<String> = longest
            .into_iter()
            .map(|name| regex::escape(&name.replace('_', BETWEEN)))
            .collect();
        let find = Regex::new(&format!(r"\b(?:{})\b", escaped.join("|"))).ok();
        let find_placeholder = Regex::new(&format!(
            r"\b(?:space|object|registry\.example/image|address)-{mark}\d+\b"
        ));
        Self {
            find: find.filter(|_| !placeholders.is_empty()),
            placeholders,
            names,
            find_placeholder: find_placeholder.ok(),
        }
    }

    /// The prompt without names; none if it can't be made.
    fn hidden(&self, prompt: &Prompt) -> Option<Prompt> {
        let mut incident = serde_json::to_value(prompt.incident()).ok()?;
        self.hide(&mut incident, false);
        let incident = Incident::from_json(&incident.to_string()).ok()?;
        let spaces = prompt.scope().iter().map(|space| self.without(space));
        let scope = Scope::namespaces(spaces).ok()?;
        Some(prompt.about_others(&incident, &scope, |text| self.without(text)))
    }

    /// Fields of an incident keep their names; those of what an analyzer added may be names themselves, such as a container's.
    fn hide(&self, value: &mut Value, added: bool) {
        match value {
            Value::String(text) => *text = self.without(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item, added)),
            Value::Object(fields) => {
                for (name, mut value) in std::mem::take(fields) {
                    if added || !OWN_WORDS.contains(&name.as_str()) {
                        self.hide(&mut value, added || name == "raw_data" || name == "metrics");
                    }
                    let name = if added { self.without(&name) } else { name };
                    fields.insert(name, value);
                }
            }
            _ => {}
        }
    }

    fn without(&self, text: &str) -> String {
        let placeholder = |name: &str| self.placeholders.get(name).cloned();
        replaced(text, self.find.as_ref(), placeholder)
    }

    /// A placeholder that the model made up, or that stands for what is no name, stays, and is refused like any name that doesn't exist.
    fn restored(&self, text: &str) -> String {
        let name = |placeholder: &str| self.names.get(placeholder).cloned();
        replaced(text, self.find_placeholder.as_ref(), name)
    }
}

/// Whether a name can be put into a text without changing what stands around it, however deep in quotes that is.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

/// A letter that no text has, in the place of `_`: that is no part of a name, but regular expressions take it for a letter of a word.
const BETWEEN: &str = "\u{1}";

/// Replaces what is found, where there is something to put in its place.
fn replaced(text: &str, find: Option<&Regex>, by: impl Fn(&str) -> Option<String>) -> String {
    let Some(find) = find else {
        return text.to_owned();
    };
    let put = |found: &Captures<'_>| {
        let found = found.get(0).map_or("", |found| found.as_str());
        by(&found.replace(BETWEEN, "_")).unwrap_or_else(|| found.to_owned())
    };
    let text = text.replace('_', BETWEEN);
    find.replace_all(&text, put).replace(BETWEEN, "_")
}
