//! Text from a cluster, a host or a model becomes text that may be kept and shown: bounded, without
//! control characters, and without what looks like a secret.

use std::sync::LazyLock;

use regex::Regex;

use crate::letters::is_hidden;

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// The longest text that is kept, in characters.
const LONGEST: usize = 4096;

/// Carriers of secrets; the first group, where there is one, is kept.
static SECRETS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // PEM blocks, whole or cut
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        // JSON web tokens
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        // Authorization headers
        r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}",
        // user:password in a URL
        r"([a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,64}:)[^\s@/]{1,256}@",
        // well-known prefixes: GitHub, Slack, OpenAI, AWS, Google, GitLab
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|xox[baprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{30,}|glpat-[0-9A-Za-z_-]{16,})",
        // name = value where the name says that it is a secret
        r#"(?i)((?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|cookie)["']?\s*[:=]\s*["']?)[^\s"',;&}]{3,}"#,
    ]
    .into_iter()
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// `text` as it may be kept: redacted, bounded to 4,096 characters, controls replaced by spaces.
///
/// Newlines and tabs stay.
///
/// # Example
/// ```
/// let line = argus_core::redact("DB_PASSWORD=hunter2\u{1b}[31m connecting");
/// assert_eq!(line, "DB_PASSWORD=[redacted] [31m connecting");
/// ```
#[must_use]
pub fn redact(text: &str) -> String {
    redact_to(text, LONGEST)
}

/// `text` as it may be kept, bounded to `longest` characters.
pub(crate) fn redact_to(text: &str, longest: usize) -> String {
    // Bounded before the patterns run, so that they can't be made to work on megabytes.
    let mut bounded: String = text
        .chars()
        .take(longest)
        .map(|c| if is_shown(c) { c } else { ' ' })
        .collect();
    if text.chars().nth(longest).is_some() {
        bounded.push_str(" [cut]");
    }
    SECRETS.iter().fold(bounded, |text, pattern| {
        let kept = if pattern.captures_len() > 1 {
            "${1}"
        } else {
            ""
        };
        pattern
            .replace_all(&text, format!("{kept}{REDACTED}"))
            .into_owned()
    })
}

/// Whether a character may be shown: no controls, and nothing that reorders or hides text.
fn is_shown(c: char) -> bool {
    matches!(c, '\n' | '\t') || !(c.is_control() || is_hidden(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(SECRETS.len(), 6);
    }

    #[test]
    fn planted_secrets_are_gone_and_the_rest_stays() {
        for (text, secret) in [
            ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
            ("postgres://app:s3cr3t@db:5432/shop", "s3cr3t"),
            (
                "token: \"ghp_0123456789abcdefghijklmnop\"",
                "ghp_0123456789",
            ),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0xx.sig", "eyJzdWIi"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc", "MIIabc"),
            ("api_key=AAAABBBB&x=1", "AAAABBBB"),
        ] {
            assert!(!redact(text).contains(secret), "{text}");
        }
        for benign in [
            "registry.example/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "pod web-6d4b75cb6d-x2v9k restarted 12 times",
            "GET http://web.shop:8080/healthz 503",
        ] {
            assert_eq!(redact(benign), benign);
        }
    }
}
