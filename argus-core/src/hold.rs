//! How long a fix is watched until it counts as one: until the fault had the time to come back, by what was seen of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deadline::seconds;
use crate::incident::{Runs, Workload};

/// Bounds of the time for which a fix is watched before anybody is told that it holds.
///
/// Between them it is twice as long as a run that failed had lasted, as long as a probe takes to find out, or as long as Kubernetes
/// waits before it starts a container again: whichever is longest.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use argus_core::HoldBounds;
/// let patient = HoldBounds { min: Duration::from_secs(60), ..HoldBounds::default() };
/// assert_eq!(patient.max, Duration::from_secs(600));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HoldBounds {
    /// The shortest time; ten seconds by default. In JSON a number, `min_seconds`.
    #[serde(rename = "min_seconds", deserialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub min: Duration,
    /// The longest time, also where `min` is longer; ten minutes by default. In JSON a number, `max_seconds`. Zero watches nothing: no
    /// plan is ever said to have [resolved](crate::Recovery::Resolved) anything.
    #[serde(rename = "max_seconds", deserialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub max: Duration,
}

impl Default for HoldBounds {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(10),
            max: Duration::from_secs(600),
        }
    }
}

/// A time of watching, as its record in the trail has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// The time until which it is watched.
    pub until: Timestamp,
    /// The plan's apps, as they were when the watching began.
    pub apps: Vec<Workload>,
}

/// A length of time with the reason for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) time: Duration,
    /// Half a sentence.
    pub(crate) why: String,
}

impl HoldBounds {
    /// The time that a fault like this one has to be waited for; none where nothing is to be watched.
    pub(crate) fn length(self, evidence: &Runs) -> Option<Length> {
        if self.max.is_zero() {
            return None;
        }
        let ran = evidence.failed_after_seconds.map(|seconds| {
            let why = format!("before, it failed after {}", in_words(seconds));
            (seconds.saturating_mul(2), why)
        });
        let asked = evidence.probe_seconds.map(|seconds| {
            let why = format!(
                "it is asked for its health, and an answer may be missing for {} before that counts",
                in_words(seconds)
            );
            (seconds, why)
        });
        let waited = evidence.backoff_seconds.map(|seconds| {
            let why = format!(
                "Kubernetes waited {} before it started it again",
                in_words(seconds)
            );
            (seconds, why)
        });
        // Of two that are as long, the first says more.
        let longest = [waited, asked, ran]
            .into_iter()
            .flatten()
            .max_by_key(|(seconds, _)| *seconds);
        let (wanted, mut why) = match longest {
            Some((seconds, why)) => (Duration::from_secs(seconds), why),
            None => (
                Duration::ZERO,
                "nothing says how soon it would fail again, so it is the shortest time".to_owned(),
            ),
        };
        let time = wanted.max(self.min).min(self.max);
        if time < wanted {
            why.push_str(", and no longer is watched");
        }
        Some(Length { time, why })
    }

    /// The same after the host was away for a while: what is left of the time, and the shortest time at least.
    pub(crate) fn rest(self, left: &Hold, now: Timestamp) -> Option<Length> {
        let left = Duration::try_from(left.until.duration_since(now)).unwrap_or_default();
        let time = left.max(self.min).min(self.max);
        let why = "nobody watched while Argus was away".to_owned();
        (!time.is_zero()).then_some(Length { time, why })
    }
}

impl Length {
    /// The time from now on.
    pub(crate) fn until(&self, now: Timestamp) -> Timestamp {
        let time = SignedDuration::try_from(self.time).unwrap_or(SignedDuration::MAX);
        now.checked_add(time).unwrap_or(Timestamp::MAX)
    }

    /// The sentence for people.
    pub(crate) fn sentence(&self, until: Timestamp) -> String {
        format!(
            "It runs. Watching until {} UTC whether it stays so: {}.",
            until.strftime("%H:%M:%S"),
            self.why
        )
    }
}

/// A time as people say it.
pub(crate) fn in_words(seconds: u64) -> String {
    let count = |number: u64, unit: &str| match number {
        1 => format!("1 {unit}"),
        _ => format!("{number} {unit}s"),
    };
    match seconds {
        0 => "less than a second".into(),
        1..=119 => count(seconds, "second"),
        120..=7199 => count(seconds / 60, "minute"),
        _ => count(seconds / 3600, "hour"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(failed_after: Option<u64>, probe: Option<u64>, backoff: Option<u64>) -> Runs {
        Runs {
            failed_after_seconds: failed_after,
            probe_seconds: probe,
            backoff_seconds: backoff,
            ..Runs::default()
        }
    }

    fn length(evidence: &Runs) -> (u64, String) {
        let length = HoldBounds::default().length(evidence).unwrap();
        assert_eq!(length.time.subsec_nanos(), 0);
        (length.time.as_secs(), length.why)
    }

    #[test]
    fn the_longest_evidence_counts() {
        for (evidence, seconds, why) in [
            (
                runs(None, None, None),
                10,
                "nothing says how soon it would fail again, so it is the shortest time",
            ),
            (
                runs(Some(8), None, None),
                16,
                "before, it failed after 8 seconds",
            ),
            (
                runs(Some(0), None, None),
                10,
                "before, it failed after less than a second",
            ),
            (
                runs(Some(8), Some(15), Some(10)),
                16,
                "before, it failed after 8 seconds",
            ),
            (
                runs(Some(8), Some(45), Some(10)),
                45,
                "it is asked for its health, and an answer may be missing for 45 seconds before that counts",
            ),
            (
                runs(Some(3), Some(6), Some(300)),
                300,
                "Kubernetes waited 5 minutes before it started it again",
            ),
            (
                runs(Some(8), Some(16), Some(16)),
                16,
                "before, it failed after 8 seconds",
            ),
            (
                runs(Some(300), None, None),
                600,
                "before, it failed after 5 minutes",
            ),
            (
                runs(Some(301), None, None),
                600,
                "before, it failed after 5 minutes, and no longer is watched",
            ),
            (
                runs(Some(u64::MAX), None, None),
                600,
                "before, it failed after 5124095576030431 hours, and no longer is watched",
            ),
        ] {
            assert_eq!(length(&evidence), (seconds, why.into()), "{evidence:?}");
        }
    }

    #[test]
    fn a_host_sets_both_bounds() {
        let bounds = |min, max| HoldBounds {
            min: Duration::from_millis(min),
            max: Duration::from_millis(max),
        };
        let time = |bounds: HoldBounds| bounds.length(&runs(Some(8), None, None)).map(|it| it.time);
        for (min, max, millis) in [
            (0, 60_000, Some(16_000)),
            (20_000, 60_000, Some(20_000)),
            (0, 50, Some(50)),
            (60_000, 50, Some(50)),
            (0, 0, None),
            (60_000, 0, None),
        ] {
            let wanted = millis.map(Duration::from_millis);
            assert_eq!(time(bounds(min, max)), wanted, "{min} to {max}");
        }
        let read = |text| serde_json::from_str::<HoldBounds>(text);
        let given = read(r#"{"min_seconds": 0.5, "max_seconds": 2}"#).unwrap();
        assert_eq!(given, bounds(500, 2000));
        assert_eq!(read("{}").unwrap(), HoldBounds::default());
        for wrong in [
            r#"{"min": 1}"#,
            r#"{"min_seconds": -1}"#,
            r#"{"max_seconds": 1e300}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_nobody_watched_is_watched_again() {
        let now: Timestamp = "2026-01-01T14:03:00Z".parse().unwrap();
        let bounds = HoldBounds::default();
        let rest = |until: &str| {
            let hold = Hold {
                until: until.parse().unwrap(),
                apps: Vec::new(),
            };
            bounds.rest(&hold, now).unwrap().time.as_secs()
        };
        assert_eq!(rest("2026-01-01T14:03:20Z"), 20);
        assert_eq!(rest("2026-01-01T14:03:02Z"), 10);
        assert_eq!(rest("2026-01-01T13:00:00Z"), 10);
        // A clock that was wrong then keeps nobody waiting for ever.
        assert_eq!(rest("2036-01-01T14:03:20Z"), 600);
        let none = HoldBounds {
            max: Duration::ZERO,
            ..bounds
        };
        let hold = Hold {
            until: now,
            apps: Vec::new(),
        };
        assert_eq!(none.rest(&hold, now), None);
    }

    #[test]
    fn the_sentence_says_until_when_and_why() {
        let now: Timestamp = "2026-01-01T14:03:04.5Z".parse().unwrap();
        let length = HoldBounds::default()
            .length(&runs(Some(8), None, None))
            .unwrap();
        let until = length.until(now);
        assert_eq!(until.to_string(), "2026-01-01T14:03:20.5Z");
        assert_eq!(
            length.sentence(until),
            "It runs. Watching until 14:03:20 UTC whether it stays so: before, it failed after 8 seconds."
        );
    }
}
