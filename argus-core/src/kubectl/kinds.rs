//! The words that name a kind, and why the other kinds and verbs are left to people.

use crate::action::Kind;

/// The kind that a word names: singular, plural, short, with or without version and group, in any case.
pub(super) fn kind_of(word: &str) -> Option<Kind> {
    let word = word.to_ascii_lowercase();
    let (resource, group) = word.split_once('.').unwrap_or((&word, ""));
    Kind::ALL.into_iter().find(|kind| {
        let named = resource == kind.singular()
            || resource == kind.plural()
            || kind.short_names().contains(&resource);
        let versioned = format!("{}.{}", kind.version(), kind.group());
        named
            && (group.is_empty()
                || group == kind.group()
                || group == versioned.trim_end_matches('.'))
    })
}

const LOOKS: &str = "it only looks: run it yourself if you want to know more";

/// Why Argus leaves a clean command to a person.
pub(super) fn manual_reason(verb: &str, arguments: Vec<&str>) -> &'static str {
    let object = arguments.first().copied().unwrap_or_default();
    let resource = object
        .split(['/', '.'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    // Of `create secret`, the second word is a command too.
    let (verb, below) = verb.split_once(' ').unwrap_or((verb, &resource));
    let resource = if verb == "create" {
        below.split(' ').next().unwrap_or_default()
    } else {
        &resource
    };
    if verb == "rollout" && matches!(below, "status" | "history") {
        return LOOKS;
    }
    match (verb, resource) {
        (
            "get" | "describe" | "logs" | "top" | "explain" | "events" | "diff" | "version"
            | "wait" | "api-resources" | "api-versions" | "cluster-info",
            _,
        ) => LOOKS,
        ("cordon" | "uncordon" | "drain" | "taint", _) | (_, "node" | "nodes" | "no") => {
            "nodes are never changed by Argus"
        }
        (_, "secret" | "secrets") => "secrets are never read or written by Argus",
        (
            _,
            "role"
            | "roles"
            | "rolebinding"
            | "rolebindings"
            | "clusterrole"
            | "clusterroles"
            | "clusterrolebinding"
            | "clusterrolebindings"
            | "serviceaccount"
            | "serviceaccounts"
            | "sa",
        )
        | ("auth" | "certificate", _) => "permissions are never changed by Argus",
        (
            _,
            "pvc"
            | "persistentvolumeclaim"
            | "persistentvolumeclaims"
            | "pv"
            | "persistentvolume"
            | "persistentvolumes",
        ) => "storage is never changed by Argus",
        ("delete", _) => "only single pods are ever deleted by Argus",
        ("exec" | "cp" | "port-forward" | "attach" | "debug" | "run" | "proxy", _) => {
            "Argus never runs anything inside the cluster"
        }
        ("apply" | "create" | "replace" | "edit", _) => {
            "Argus changes fields of objects, it does not write whole objects"
        }
        ("patch", "pod" | "pods" | "po") => {
            "the fields of a running pod can't change: change the workload that makes it"
        }
        _ => "it is not one of the changes that Argus knows how to check and undo",
    }
}
