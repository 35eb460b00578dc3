//! Deadlines that no duration can push beyond what an [`Instant`] holds: durations come from hosts' JSON and from providers.

use std::time::Duration;

use tokio::time::Instant;

/// Thirty years, which is for ever here and fits the clock of every system.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The time `within` from now; thirty years at most.
pub(crate) fn deadline(within: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(within.min(FOR_EVER)).unwrap_or(now)
}
