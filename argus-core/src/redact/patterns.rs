//! What the patterns find in a text.

use std::ops::Range;

use regex::{Captures, Regex};

use super::rules::{ANY, is_reference_name};
use super::{flow, judge};

/// Whether any pattern may find something.
pub(super) fn may_find(text: &str) -> bool {
    ANY.as_ref().is_none_or(|any| any.is_match(text))
}

/// The places of what a pattern finds.
pub(super) fn found(text: &str, rule: &Regex) -> Vec<Range<usize>> {
    let mut places: Vec<Range<usize>> = Vec::new();
    for found in rule.captures_iter(text) {
        let groups = ["secret", "double", "single"];
        let secret = groups.iter().find_map(|group| found.name(group));
        let at = match secret {
            Some(secret) => Some(secret.range()),
            None => named(text, &found),
        };
        let after = places.last().map_or(0, |last| last.end);
        let at = at.filter(|at| at.start >= after);
        places
            .extend(at.filter(|at| !judge::is_no_secret(text.get(at.clone()).unwrap_or_default())));
    }
    places
}

/// The value behind a name.
fn named(text: &str, found: &Captures<'_>) -> Option<Range<usize>> {
    let start = found.get(0)?.start();
    let value = found.name("value")?.start();
    let is_name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let begins: usize = text.get(..start)?.chars().rev().take_while(is_name).count();
    let name = text.get(start - begins..value)?;
    // An image and its tag.
    let is_tag = name.ends_with(':') && text.get(..start - begins)?.ends_with('/');
    if is_tag || is_reference_name(name) {
        return None;
    }
    let at = flow::value_end(text, value)?;
    let is_count = text.get(at.clone())?.chars().all(|c| c.is_ascii_digit());
    let is_tally = is_count
        && name
            .trim_end_matches([' ', ':', '='])
            .eq_ignore_ascii_case("pass");
    (!is_tally).then_some(at)
}
