//! After everything came to rest: watched until the fault had the time to come back, and only then resolved.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

use super::execution::Execution;
use super::{Remediator, RemediatorError};
use crate::attempt::Recovery;
use crate::audit::{AuditEntry, AuditEvent, AuditRecord};
use crate::hold::{Hold, Length, in_words};
use crate::incident::{Scan, Watching, Workload};
use crate::rescan::{apps, broke, broke_elsewhere, evidence, short};

/// How soon a watch is looked at after something changed, at most; a tenth of a short hold.
const PACE: Duration = Duration::from_secs(1);
/// How often a scanner that can't watch is asked while a hold lasts.
const LOOKS: u32 = 4;

/// What became of a plan after it came to rest.
pub(super) enum Stayed {
    /// It stayed so until the fault had the time to come back.
    Held,
    /// Nothing is wrong, and nobody watched, or not to the end.
    Unwatched,
    /// The look says something else than that nothing is wrong.
    Undecided,
    /// The fault came back, or something else broke.
    Broke(Recovery, String),
}

/// What is looked at while a hold lasts.
pub(super) struct Lookout<'a> {
    remediator: &'a Remediator,
    watch: Option<Box<dyn Watching>>,
    pace: Duration,
    every: Duration,
}

impl<'a> Lookout<'a> {
    /// Begins to watch. A watch that doesn't see everything is none.
    pub(super) async fn new(remediator: &'a Remediator, time: Duration) -> Self {
        let (scanner, scope) = (&remediator.doors.scanner, &remediator.doors.scope);
        let mut watch = scanner.begin_watch(scope);
        if let Some(begun) = &watch {
            let first = begun.scan(scope).await;
            if !first.is_ok_and(|scan| scan.incomplete.is_empty()) {
                watch = None;
            }
        }
        Self {
            remediator,
            watch,
            pace: (time / 10).min(PACE),
            every: time / LOOKS,
        }
    }

    /// The next look that may say something else; none where it failed.
    pub(super) async fn next(&self) -> Option<Scan> {
        let scope = &self.remediator.doors.scope;
        match &self.watch {
            Some(watch) => {
                watch.changed().await;
                // What changes all the time is not looked at all the time.
                sleep(self.pace).await;
                watch.scan(scope).await.ok()
            }
            None => {
                sleep(self.every).await;
                self.remediator.scan().await.ok()
            }
        }
    }
}

impl Execution<'_> {
    /// What the trail of an execution that was cut off says of its hold.
    pub(super) fn take_up_hold(&mut self, records: &[AuditRecord]) {
        for entry in records.iter().map(|record| &record.entry) {
            match entry.event {
                AuditEvent::Holding => self.cut_off = entry.hold.clone(),
                AuditEvent::Held => self.verdict = Some(Recovery::Resolved),
                AuditEvent::Relapsed => self.verdict = Some(Recovery::Relapsed),
                AuditEvent::Regressed => self.verdict = Some(Recovery::Regressed),
                // Whatever held before is put back.
                AuditEvent::UndoAsked => (self.cut_off, self.verdict) = (None, None),
                _ => {}
            }
        }
    }

    /// Watches whether it stays as `after` shows it. The last look at the cluster is given back.
    pub(super) async fn stays(
        &mut self,
        before: &Scan,
        after: Scan,
    ) -> Result<(Option<Scan>, Stayed), RemediatorError> {
        let changed = self.changed();
        // It was gone when the hold began that was cut off.
        let left = self.cut_off.as_ref();
        let back = left.and_then(|left| broke(before, &after, &changed, &left.apps));
        let back = back.or_else(|| broke_elsewhere(before, &after, &changed));
        if let Some((recovery, what)) = back {
            return self.broken(recovery, what, after).await;
        }
        match self.compare(before, &after).await.recovery {
            Recovery::Regressed => {
                let what = "the app runs worse than before".to_owned();
                return self.broken(Recovery::Regressed, what, after).await;
            }
            Recovery::Unproven => {}
            _ => return Ok((Some(after), Stayed::Undecided)),
        }
        // The trail says that it held, and it is still so.
        if self.verdict == Some(Recovery::Resolved) {
            return Ok((Some(after), Stayed::Held));
        }
        let (bounds, now) = (self.remediator.doors.hold, Timestamp::now());
        let length = match &self.cut_off {
            Some(left) => bounds.rest(left, now),
            None => bounds.length(&evidence(before, &after, &changed)),
        };
        let apps = match &self.cut_off {
            Some(left) => left.apps.clone(),
            None => apps(before, &after, &changed),
        };
        let Some(length) = length.filter(|_| !self.remediator.is_halted()) else {
            return Ok((Some(after), Stayed::Unwatched));
        };
        let lookout = Lookout::new(self.remediator, length.time).await;
        let began = Instant::now();
        self.holding(&length, apps.clone()).await?;
        let mut end = began + length.time;
        let mut is_longer = false;
        loop {
            let look = tokio::select! {
                biased;
                () = self.remediator.until_halted() => return Ok((Some(after), Stayed::Unwatched)),
                () = sleep_until(end) => None,
                look = lookout.next() => look,
            };
            let is_over = Instant::now() >= end;
            // The last look asks the cluster itself.
            let look = match look {
                Some(look) if !is_over => look,
                _ if !is_over => continue,
                _ => match self.remediator.scan().await {
                    Ok(look) => look,
                    Err(_) => return Ok((None, Stayed::Undecided)),
                },
            };
            let back = broke(before, &look, &changed, &apps);
            let back = back.or_else(|| broke_elsewhere(before, &look, &changed));
            if let Some((recovery, what)) = back {
                return self.broken(recovery, what, look).await;
            }
            let short = short(before, &look, &changed, &apps);
            if !is_over {
                if is_longer && short.is_none() {
                    end = Instant::now();
                }
                continue;
            }
            if let Some((_, app)) = &short
                && !is_longer
                && length.time < bounds.max
            {
                // It can't be told yet: a copy may be on its way back, or down.
                is_longer = true;
                end = began + bounds.max;
                let longer = Length {
                    time: bounds.max.saturating_sub(length.time),
                    why: format!("not all copies of {app} answer at the moment"),
                };
                self.holding(&longer, apps.clone()).await?;
                continue;
            }
            let recovery = self.compare(before, &look).await.recovery;
            let worse = match (recovery, short) {
                (Recovery::Unproven | Recovery::Regressed, Some((worse, app))) => {
                    let what = format!("fewer copies of {app} answer than before");
                    let recovery = if recovery == Recovery::Regressed {
                        recovery
                    } else {
                        worse
                    };
                    Some((recovery, what))
                }
                (Recovery::Regressed, None) => {
                    Some((recovery, "the app runs worse than before".to_owned()))
                }
                (Recovery::Unproven, None) => None,
                _ => return Ok((Some(look), Stayed::Undecided)),
            };
            if let Some((recovery, what)) = worse {
                return self.broken(recovery, what, look).await;
            }
            let held = format!("It stayed so for {}.", in_words(began.elapsed().as_secs()));
            self.record(AuditEvent::Held, None, Some(held.clone()))
                .await?;
            self.lines.push(held);
            return Ok((Some(look), Stayed::Held));
        }
    }

    /// Puts down that it is watched from now on.
    async fn holding(
        &mut self,
        length: &Length,
        apps: Vec<Workload>,
    ) -> Result<(), RemediatorError> {
        let until = length.until(Timestamp::now());
        let sentence = length.sentence(until);
        let hold = Some(Hold { until, apps });
        let entry = self.entry(AuditEvent::Holding, None, Some(sentence.clone()));
        self.append(AuditEntry { hold, ..entry }).await?;
        self.lines.push(sentence);
        Ok(())
    }

    /// Puts down that it didn't stay so, as this look shows.
    async fn broken(
        &self,
        recovery: Recovery,
        what: String,
        look: Scan,
    ) -> Result<(Option<Scan>, Stayed), RemediatorError> {
        let event = match recovery {
            Recovery::Relapsed => AuditEvent::Relapsed,
            _ => AuditEvent::Regressed,
        };
        self.record(event, None, Some(what.clone())).await?;
        Ok((Some(look), Stayed::Broke(recovery, what)))
    }
}
