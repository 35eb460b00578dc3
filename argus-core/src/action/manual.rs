//! The risk of a step for people, by what it says, and whether it removes something.

use super::Risk;

/// The verbs of kubectl that only read.
const READING: [&str; 11] = [
    "api-resources",
    "api-versions",
    "cluster-info",
    "describe",
    "events",
    "explain",
    "get",
    "logs",
    "top",
    "version",
    "wait",
];
/// The verbs of kubectl that change something and remove nothing.
const KEEPING: [&str; 8] = [
    "annotate",
    "autoscale",
    "create",
    "expose",
    "label",
    "rollout",
    "set",
    "uncordon",
];

/// The kind of text that a manual step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManualText {
    /// A command that only reads.
    Reads,
    /// Words for a person.
    Words,
    /// A command that changes something, and removes nothing.
    Changes,
    /// Any other command.
    Unknown,
}

impl ManualText {
    pub(super) fn of(command: &str) -> Self {
        let mut words = command.split_whitespace();
        if words.next() != Some("kubectl") {
            let is_sentence =
                command.starts_with(|first: char| first.is_uppercase()) && command.contains(' ');
            return if is_sentence {
                Self::Words
            } else {
                Self::Unknown
            };
        }
        let plain = |c: char| c.is_alphanumeric() || " -_=./:,@%+~'\"".contains(c);
        if !command.chars().all(plain) {
            return Self::Unknown;
        }
        // The verb, behind the flags that say where.
        let verb = loop {
            match words.next() {
                Some("-n" | "--namespace" | "--context") => {
                    words.next();
                }
                Some(flag) if flag.starts_with('-') => {}
                verb => break verb.unwrap_or_default(),
            }
        };
        let reads_rollout = verb == "rollout" && matches!(words.next(), Some("status" | "history"));
        if READING.contains(&verb) || reads_rollout {
            Self::Reads
        } else if KEEPING.contains(&verb) {
            Self::Changes
        } else {
            Self::Unknown
        }
    }

    pub(super) fn risk(self) -> Risk {
        match self {
            Self::Reads => Risk::Low,
            Self::Words => Risk::Medium,
            Self::Changes | Self::Unknown => Risk::High,
        }
    }

    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Reads => "it only looks, and Argus does not run it",
            Self::Words => "a person does it by hand",
            Self::Changes | Self::Unknown => {
                "it changes something that Argus never changes: only a person may do it"
            }
        }
    }

    pub(super) fn is_destructive(self) -> bool {
        self == Self::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::ManualText::{self, Changes, Reads, Unknown, Words};

    #[test]
    fn a_step_for_people_has_the_risk_of_what_it_says() {
        for (command, is) in [
            ("kubectl describe pod/web-1 -n shop", Reads),
            ("kubectl -n shop get events", Reads),
            ("kubectl rollout history deployment/web -n shop", Reads),
            (
                "Ask the team that runs the platform for a larger quota.",
                Words,
            ),
            ("kubectl create secret generic db -n shop", Changes),
            ("kubectl label node/n1 disk=ssd", Changes),
            ("kubectl delete namespace shop", Unknown),
            ("kubectl -n shop delete pvc data", Unknown),
            ("kubectl drain n1", Unknown),
            ("kubectl get pods | xargs kubectl delete", Unknown),
            ("kubectl get pods; kubectl delete ns shop", Unknown),
            ("kubectl exec web -- rm -rf /data", Unknown),
            ("helm uninstall shop", Unknown),
            ("rm -rf /", Unknown),
            ("Delete", Unknown),
        ] {
            assert_eq!(ManualText::of(command), is, "{command}");
        }
    }
}
