//! What of a tree is a secret: by the names that stand over it and beside it.

use std::ops::Range;

use super::MARK;
use super::rules::{LAST_APPLIED, NO_SECRETS, is_secret_name};
use super::tree::Node;

/// Fields that name what stands beside them.
const NAMING: [&str; 4] = ["name", "key", "path", "field"];
/// Fields with a value whose name stands beside them.
const VALUES: [&str; 6] = ["value", "values", "val", "default", "before", "after"];
/// All that an object has that says where a secret is, and doesn't hold it.
const REFERENCE: [&str; 24] = [
    "name",
    "namespace",
    "key",
    "optional",
    "kind",
    "apiversion",
    "apigroup",
    "uid",
    "items",
    "path",
    "mode",
    "defaultmode",
    "secretname",
    "secretkeyref",
    "configmapkeyref",
    "secretref",
    "configmapref",
    "fieldref",
    "valuefrom",
    "remoteref",
    "property",
    "version",
    "expirationseconds",
    "audience",
];

/// Whose an object without a kind may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Unknown,
    /// A Secret, or a list of them.
    Secret,
    /// Something that a Secret is made of, by its template.
    Maker,
    Other,
}

/// The places of what is secret.
pub(super) fn secrets(node: &Node<'_>, hidden: &mut Vec<Range<usize>>) {
    judge(node, false, Owner::Unknown, hidden);
}

fn judge(node: &Node<'_>, whole: bool, owner: Owner, hidden: &mut Vec<Range<usize>>) {
    match node {
        Node::Scalar { text, at } => {
            let is_nothing = matches!(&**text, "" | "null" | "~") || text.starts_with(MARK);
            if whole && !is_nothing {
                hidden.push(at.clone());
            }
        }
        Node::Group {
            kind, entries, cut, ..
        } => {
            let fields = Fields(entries);
            let kinds = kind.iter().copied().chain(fields.kinds());
            let owner = owner_of(kinds, owner);
            let is_secret =
                owner == Owner::Secret || owner == Owner::Unknown && fields.may_be_secret(*cut);
            let naming = fields.names_secret();
            let is_pair = fields.is_pair();
            let mut after_flag = false;
            for (number, (name, value)) in entries.iter().enumerate() {
                let Some(name) = name else {
                    let text = value.text().unwrap_or_default();
                    let beside = (after_flag && !is_option(text)) || (is_pair && number == 1);
                    after_flag = is_flag(text);
                    judge(value, whole || beside && !is_no_secret(text), owner, hidden);
                    if let (false, Some(secret)) = (whole, assigned(value)) {
                        hidden.push(secret);
                    }
                    continue;
                };
                let lower = name.to_ascii_lowercase();
                if lower.ends_with(LAST_APPLIED) {
                    copied(value, hidden);
                    continue;
                }
                let data = is_secret && matches!(lower.as_str(), "data" | "stringdata");
                let named = is_secret_name(name) || naming && VALUES.contains(&lower.as_str());
                let owner = match owner {
                    Owner::Maker if lower == "template" => Owner::Secret,
                    owner => owner,
                };
                let whole = match value {
                    Node::Scalar { text, .. } => whole || data || named && !is_nothing(name, text),
                    Node::Group { entries, .. } => {
                        let below = Fields(entries);
                        let hides =
                            whole || named && !lower.ends_with("auth") && !below.is_object();
                        data || hides && !below.is_reference()
                    }
                };
                judge(value, whole, owner, hidden);
            }
        }
    }
}

/// The copy of an object: as a whole in a text, value by value in JSON.
fn copied(value: &Node<'_>, hidden: &mut Vec<Range<usize>>) {
    match value {
        Node::Group { at, .. } if !at.is_empty() => hidden.push(at.clone()),
        value => judge(value, true, Owner::Unknown, hidden),
    }
}

fn owner_of<'a>(kinds: impl Iterator<Item = &'a str>, owner: Owner) -> Owner {
    let of_kind = |kind: &str| match kind.to_ascii_lowercase().as_str() {
        "secret" | "secrets" | "secretlist" => Owner::Secret,
        "list" => owner,
        kind if kind.contains("secret") => Owner::Maker,
        _ => Owner::Other,
    };
    // Of several objects that read as one, any may be the Secret.
    let mut all = kinds.map(of_kind);
    let first = all.next().unwrap_or(owner);
    all.find(|owner| *owner == Owner::Secret).unwrap_or(first)
}

struct Fields<'a, 'b>(&'a [(Option<std::borrow::Cow<'b, str>>, Node<'b>)]);

impl<'a, 'b> Fields<'a, 'b> {
    fn all(&self) -> impl Iterator<Item = (&'a str, &'a Node<'b>)> {
        let named = self.0.iter();
        named.filter_map(|(name, value)| Some((name.as_deref()?, value)))
    }

    fn get(&self, wanted: &str) -> Option<&'a Node<'b>> {
        let mut all = self.all();
        all.find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    }

    fn text(&self, wanted: &str) -> Option<&'a str> {
        self.get(wanted)?.text()
    }

    fn kinds(&self) -> impl Iterator<Item = &'a str> {
        let kinds = self
            .all()
            .filter(|(name, _)| name.eq_ignore_ascii_case("kind"));
        kinds.filter_map(|(_, kind)| kind.text())
    }

    /// Whether an object that doesn't say what it is may be a Secret: those of a list don't.
    fn may_be_secret(&self, cut: bool) -> bool {
        let metadata = match self.get("metadata") {
            Some(Node::Group { entries, .. }) => Fields(entries).get("name").is_some(),
            _ => false,
        };
        let kind = self.text("type").is_some_and(|kind| {
            kind == "Opaque"
                || ["kubernetes.io/", "helm.sh/", "bootstrap."]
                    .iter()
                    .any(|start| kind.starts_with(start))
        });
        self.get("stringData").is_some()
            || metadata
            || kind
            || cut
            || self.get("apiVersion").is_some()
    }

    /// Whether a name of a secret stands beside its value.
    fn names_secret(&self) -> bool {
        let is_secret = |naming: &&str| {
            self.text(naming).is_some_and(|name| {
                let is_path = *naming == "path" || *naming == "field";
                match is_path {
                    true => is_secret_path(name),
                    false => is_secret_name(name),
                }
            })
        };
        NAMING.iter().any(is_secret)
    }

    /// Whether it is a name of a secret and its value: `["DB_PASSWORD", "x"]`.
    fn is_pair(&self) -> bool {
        let [(None, name), (None, value)] = self.0 else {
            return false;
        };
        let (Some(name), Some(value)) = (name.text(), value.text()) else {
            return false;
        };
        let is_word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let is_list_of_words = is_word(name) && is_word(value);
        let starts_word = name.starts_with(|c: char| c.is_ascii_alphabetic());
        is_secret_name(name) && !name.contains([' ', '=', ':']) && starts_word && !is_list_of_words
    }

    /// Whether it is an object that says what it is.
    fn is_object(&self) -> bool {
        let parts = ["metadata", "apiVersion", "data", "stringData", "spec"];
        self.get("kind").is_some() && parts.iter().any(|part| self.get(part).is_some())
    }

    /// Whether it says where a secret is, and doesn't hold it.
    fn is_reference(&self) -> bool {
        let known = |name: &str| REFERENCE.contains(&name.to_ascii_lowercase().as_str());
        !self.0.is_empty()
            && self.all().count() == self.0.len()
            && self.all().all(|(name, _)| known(name))
    }
}

/// Whether the path of a field says so: by its last name, or by that of the element that it is in. A variable that the path knows by its
/// number only may be any.
pub(super) fn is_secret_path(path: &str) -> bool {
    if path.ends_with(LAST_APPLIED) || path.ends_with(&LAST_APPLIED.replace('/', "~1")) {
        return true;
    }
    let value = path.strip_suffix(".value").or(path.strip_suffix("/value"));
    let Some(element) = value else {
        // An element of a list says its name itself.
        let last = path.rsplit(['/', '.']).next().unwrap_or(path);
        return !last.ends_with(']') && is_secret_name(last);
    };
    let number = element.trim_end_matches(|c: char| c.is_ascii_digit());
    if number.ends_with("/env/") {
        return true;
    }
    // Of two elements with one name, a number says which.
    let name = element.trim_end_matches(|c: char| c.is_ascii_digit() || "[]()# ".contains(c));
    is_secret_name(name.rsplit(['[', '/', '.']).next().unwrap_or(name))
}

/// Whether a text reads as a flag, with its value or without.
fn is_option(text: &str) -> bool {
    let name = text.trim_start_matches('-');
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    text.starts_with('-')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(is_name)
}

/// Whether a text is the name of a flag whose value comes next.
fn is_flag(text: &str) -> bool {
    text.starts_with('-') && !text.contains(['=', ' ', '\n']) && is_secret_name(text)
}

/// The value in a text that is `NAME=value` as a whole.
fn assigned(node: &Node<'_>) -> Option<Range<usize>> {
    let Node::Scalar { text, at } = node else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    // What is in quotes is read once more without them.
    let quotes = ["\"", "'", "\\\""];
    let quoted = quotes.iter().any(|quote| {
        value.len() > quote.len() && value.starts_with(quote) && value.ends_with(quote)
    });
    // In JSON a scalar has a number, no place.
    let is_placed = at.len() == text.len();
    (is_name && !quoted && is_placed && is_secret_name(name) && !is_no_secret(value))
        .then(|| at.end - value.len()..at.end)
}

/// Whether a value is none for its name.
fn is_nothing(name: &str, value: &str) -> bool {
    let is_count = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit());
    is_no_secret(value) || is_count && name.eq_ignore_ascii_case("pass")
}

/// Whether a value says that there is none, where it comes from, or that somebody has hidden it.
pub(super) fn is_no_secret(value: &str) -> bool {
    let value = value.trim();
    let is_variable = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let is_reference = value.strip_prefix('$').is_some_and(|rest| {
        let closed = rest.starts_with('(') && rest.ends_with(')')
            || rest.starts_with('{') && rest.ends_with('}');
        closed || is_variable(rest)
    });
    let is_template = value.starts_with("{{") && value.ends_with("}}")
        || value.starts_with('<') && value.ends_with('>');
    let is_masked = value.chars().all(|c| matches!(c, '*' | '.' | '-'));
    let size = value.strip_suffix(" bytes");
    let is_size = size.is_some_and(|size| size.chars().all(|c| c.is_ascii_digit()));
    is_reference
        || is_size
        || is_template
        || is_masked
        || value.starts_with(MARK)
        || value.starts_with("<set to ")
        || NO_SECRETS
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word))
}
