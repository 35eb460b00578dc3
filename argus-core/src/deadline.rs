//! Deadlines that no duration can push beyond what an [`Instant`] holds: durations come from hosts' JSON and from providers.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tokio::time::Instant;

/// Thirty years, which is for ever here and fits the clock of every system.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The time `within` from now; thirty years at most.
pub(crate) fn deadline(within: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(within.min(FOR_EVER)).unwrap_or(now)
}

/// Reads a number of seconds.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| serde::de::Error::custom(format!("{seconds} is no number of seconds")))
}
