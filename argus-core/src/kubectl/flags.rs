//! Which flags are taken, which are refused, and how pflag reads them.

use super::{CommandError, words::Word};

/// Flags that change who acts, on which cluster, on how many objects or how hard.
const REFUSED: &[(&str, &str)] = &[
    ("force", "nothing is ever forced"),
    ("grace-period", "an app always gets its time to stop"),
    ("now", "an app always gets its time to stop"),
    ("cascade", "what belongs to an object stays with it"),
    (
        "as",
        "Argus acts as the host that embeds it, never as somebody else",
    ),
    (
        "as-group",
        "Argus acts as the host that embeds it, never as somebody else",
    ),
    (
        "as-uid",
        "Argus acts as the host that embeds it, never as somebody else",
    ),
    ("server", "the cluster is the host's choice"),
    ("s", "the cluster is the host's choice"),
    ("kubeconfig", "the cluster is the host's choice"),
    ("context", "the cluster is the host's choice"),
    ("cluster", "the cluster is the host's choice"),
    ("user", "the identity is the host's choice"),
    ("username", "the identity is the host's choice"),
    ("password", "the identity is the host's choice"),
    ("token", "the identity is the host's choice"),
    ("client-certificate", "the identity is the host's choice"),
    ("client-key", "the identity is the host's choice"),
    ("certificate-authority", "the cluster is the host's choice"),
    ("tls-server-name", "the cluster is the host's choice"),
    (
        "insecure-skip-tls-verify",
        "the cluster's certificate is always checked",
    ),
    ("all", "a step names exactly one object"),
    ("all-namespaces", "a step names exactly one object"),
    ("A", "a step names exactly one object"),
    ("selector", "a step names exactly one object"),
    ("l", "a step names exactly one object"),
    ("field-selector", "a step names exactly one object"),
    ("filename", "a step carries its change itself"),
    ("f", "a step carries its change itself"),
    ("kustomize", "a step carries its change itself"),
    ("k", "a step carries its change itself"),
    ("patch-file", "a step carries its change itself"),
    ("recursive", "a step carries its change itself"),
    ("R", "a step carries its change itself"),
    ("raw", "a step names its object, not a path"),
    ("dry-run", "every step is dry-run by Argus anyway"),
    ("subresource", "a step changes the object itself"),
    ("local", "a step changes the cluster, not a file"),
    ("validate", "every change is validated"),
    ("field-manager", "the field manager is Argus'"),
    ("overrides", "a step carries its change itself"),
];

/// The flags that the seven actions take: long name, short name.
const TAKEN: &[(&str, Option<char>)] = &[
    ("namespace", Some('n')),
    ("replicas", None),
    ("limits", None),
    ("requests", None),
    ("containers", Some('c')),
    ("type", None),
    ("patch", Some('p')),
    ("to-revision", None),
];

/// The long name of a flag that an action takes; `flag` is the word without its first dash, `name` without any.
pub(super) fn taken(flag: &str, name: &str) -> Option<&'static str> {
    let long = flag.starts_with('-');
    let named = |(full, short): &&(&str, Option<char>)| {
        if long {
            *full == name
        } else {
            short.is_some_and(|short| name.chars().eq([short]))
        }
    };
    TAKEN.iter().find(named).map(|(full, _)| *full)
}

/// A flag's name and the value that is attached to it, as pflag reads them: `-nshop`, `-n=shop`, `--namespace=shop`.
pub(super) fn flag_parts(flag: &str) -> (&str, Option<&str>) {
    if let Some(long) = flag.strip_prefix('-') {
        return long
            .split_once('=')
            .map_or((long, None), |(name, value)| (name, Some(value)));
    }
    let rest_at = flag.chars().next().map_or(0, char::len_utf8);
    let (name, rest) = flag.split_at_checked(rest_at).unwrap_or((flag, ""));
    let value = rest.strip_prefix('=').unwrap_or(rest);
    (name, (!rest.is_empty()).then_some(value))
}

pub(super) fn refuse(word: &Word, flag: &str, name: &str) -> Result<(), CommandError> {
    let long = flag.starts_with('-');
    // A cluster of short flags, `-Rf`, counts as each of them until one takes a value.
    let short = |refused: &str| {
        let mut letters = flag
            .chars()
            .take_while(|c| *c != '=' && !TAKEN.iter().any(|(_, short)| *short == Some(*c)));
        !long && refused.chars().count() == 1 && letters.any(|c| refused.starts_with(c))
    };
    let hit = REFUSED.iter().find(|(refused, _)| {
        (long && (*refused == name || is_abbreviation(name, refused))) || short(refused)
    });
    match hit {
        Some((refused, why)) => {
            let dashes = if long { "--" } else { "-" };
            Err(CommandError::new(
                word.position,
                format!("the flag `{dashes}{refused}` is not allowed: {why}"),
                "leave it out",
            ))
        }
        None => Ok(()),
    }
}

/// Whether `name` could be meant as the refused flag: a prefix of three letters or more, unless it is a flag itself.
fn is_abbreviation(name: &str, refused: &str) -> bool {
    name.len() >= 3 && refused.starts_with(name) && !TAKEN.iter().any(|(taken, _)| *taken == name)
}
