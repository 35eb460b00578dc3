//! Findings that people asked not to hear of, by annotations of the objects that they are about.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::lean::Labels;
use crate::incident::{Finding, ObjectRef};

/// The causes that are not to be reported of an object, with commas between them, or `all`.
pub const IGNORE: &str = "argus-ops/ignore";
/// Until when, as a date or a time (RFC 3339); for ever where it isn't said.
pub const IGNORE_UNTIL: &str = "argus-ops/ignore-until";

/// What is to be ignored, by the object that it is about.
#[derive(Default)]
pub(super) struct Ignored(BTreeMap<ObjectRef, (String, Option<String>)>);

impl Ignored {
    /// Remembers what an object's annotations ask for.
    pub(super) fn note(&mut self, object: ObjectRef, annotations: Option<&Labels>) {
        if let Some(causes) = annotations.and_then(|annotations| annotations.get(IGNORE)) {
            let until = annotations.and_then(|annotations| annotations.get(IGNORE_UNTIL));
            self.0.insert(object, (causes.clone(), until.cloned()));
        }
    }

    /// Whether a finding is to be ignored now. What can't be read ignores nothing.
    pub(super) fn has(&self, finding: &Finding, now: Timestamp) -> bool {
        let Some((causes, until)) = finding.owner.as_ref().and_then(|owner| self.0.get(owner))
        else {
            return false;
        };
        let cause = finding
            .cause
            .map(|cause| cause.to_string())
            .unwrap_or_default();
        let mut causes = causes.split(',').map(str::trim);
        causes.any(|ignored| ignored == "all" || ignored == cause)
            && until
                .as_ref()
                .is_none_or(|until| end(until).is_some_and(|end| now < end))
    }
}

/// The end of a day, or a moment.
fn end(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let day: Date = text.parse().ok()?;
        let next = day
            .tomorrow()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?;
        Some(next.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn a_day_lasts_until_its_end() {
        let shown = |text: &str| end(text).map(|end| end.to_string());
        assert_eq!(shown("2026-12-31").as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(
            shown("2026-12-31T10:00:00+02:00").as_deref(),
            Some("2026-12-31T08:00:00Z")
        );
        assert_eq!(shown("next year"), None);
        assert_eq!(shown(""), None);
    }
}
