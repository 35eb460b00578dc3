//! Room 9: findings before and after become a [`Rescan`]: what was fixed, what remains, and whether it is a recovery.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::incident::{Finding, ObjectRef, Scan};

/// What the re-scan says about the plan. Never the model's word, and never "the patch was accepted".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// What was wrong with the plan's objects is gone, and they run.
    Resolved,
    /// Something is still wrong with them.
    Persists,
    /// They run worse than before.
    Regressed,
    /// They are gone, or scaled to zero: not a fix.
    Vanished,
    /// Somebody else put the old state back.
    Reverted,
    /// It can't be told: the scan wasn't whole, or nothing was wrong before.
    Inconclusive,
}

/// Two scans compared, by the stable ids of their findings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rescan {
    /// What it means for the plan.
    pub recovery: Recovery,
    /// Gone since.
    pub fixed: Vec<Finding>,
    /// Still there.
    pub remaining: Vec<Finding>,
    /// New since.
    pub new: Vec<Finding>,
    /// What couldn't be looked at.
    pub incomplete: Vec<String>,
}

impl Rescan {
    /// Compares two scans. `changed` are the objects that the plan changed; `in_force` is whether its changes are still
    /// there.
    #[must_use]
    pub fn compare(before: &Scan, after: &Scan, changed: &[ObjectRef], in_force: bool) -> Self {
        let ids = |scan: &Scan| -> BTreeSet<String> {
            scan.findings
                .iter()
                .map(|finding| finding.finding_id.clone())
                .collect()
        };
        let (old, now) = (ids(before), ids(after));
        let ignored: BTreeSet<&str> = after
            .ignored
            .iter()
            .map(|finding| finding.finding_id.as_str())
            .collect();
        let pick = |scan: &Scan, wanted: &dyn Fn(&str) -> bool| -> Vec<Finding> {
            scan.findings
                .iter()
                .filter(|finding| wanted(&finding.finding_id))
                .cloned()
                .collect()
        };
        Self {
            recovery: recovery(before, after, changed, in_force),
            // What people asked not to hear of any more is still wrong.
            fixed: pick(before, &|id| !now.contains(id) && !ignored.contains(id)),
            remaining: [
                pick(after, &|id| old.contains(id)),
                hushed(before, after).cloned().collect(),
            ]
            .concat(),
            new: pick(after, &|id| !old.contains(id)),
            incomplete: after.incomplete.clone(),
        }
    }

    /// The sentence for people.
    ///
    /// # Example
    /// ```
    /// use argus_core::{Rescan, Scan};
    /// let rescan = Rescan::compare(&Scan::default(), &Scan::default(), &[], true);
    /// assert_eq!(rescan.summary(), "Fixed: 0 issues resolved. Remaining: no issues.");
    /// ```
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |n: usize| {
            if n == 1 {
                "1 issue".to_owned()
            } else {
                format!("{n} issues")
            }
        };
        let mut text = format!("Fixed: {} resolved.", count(self.fixed.len()));
        match self.remaining.len() {
            0 => text.push_str(" Remaining: no issues."),
            n => text.push_str(&format!(" Remaining: {} still present.", count(n))),
        }
        if !self.new.is_empty() {
            text.push_str(&format!(" New: {} appeared.", count(self.new.len())));
        }
        if !self.incomplete.is_empty() {
            text.push_str(" Some of the cluster could not be looked at.");
        }
        text
    }
}

/// Findings that are only ignored since: still wrong.
pub(crate) fn hushed<'a>(before: &'a Scan, after: &'a Scan) -> impl Iterator<Item = &'a Finding> {
    let known = |finding: &&Finding| {
        let id = &finding.finding_id;
        before.findings.iter().any(|old| old.finding_id == *id)
    };
    after.ignored.iter().filter(known)
}

fn recovery(before: &Scan, after: &Scan, changed: &[ObjectRef], in_force: bool) -> Recovery {
    if !before.incomplete.is_empty() || !after.incomplete.is_empty() {
        return Recovery::Inconclusive;
    }
    // A finding about a pod counts for the workload that owns it, and the other way round.
    let touches = |finding: &Finding, objects: &BTreeSet<ObjectRef>| {
        let about_pod = |object: &ObjectRef| {
            let address = format!("k8s://{}/{}", object.namespace, object.name);
            object.kind == "Pod"
                && finding
                    .target
                    .strip_prefix(&address)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        finding
            .owner
            .as_ref()
            .is_some_and(|owner| objects.contains(owner))
            || objects.iter().any(about_pod)
    };
    let mut objects: BTreeSet<ObjectRef> = changed.iter().cloned().collect();
    let concerned: Vec<&Finding> = before
        .findings
        .iter()
        .filter(|finding| touches(finding, &objects))
        .collect();
    objects.extend(concerned.iter().filter_map(|finding| finding.owner.clone()));

    let state = |scan: &Scan, object: &ObjectRef| {
        scan.workloads
            .iter()
            .find(|workload| workload.object == *object)
            .map(|w| (w.desired, w.ready))
    };
    for object in &objects {
        let Some((desired, ready)) = state(before, object) else {
            continue;
        };
        // Pods that nobody wants any more are on their way out.
        let ready_before = ready.min(desired);
        match state(after, object) {
            // As it was before the plan, and not by the plan.
            Some((0, _)) if !in_force && desired == 0 => return Recovery::Reverted,
            None | Some((0, _)) => return Recovery::Vanished,
            Some(_) if !in_force => return Recovery::Reverted,
            Some((_, ready)) if ready < ready_before => return Recovery::Regressed,
            Some(_) => {}
        }
    }
    if !in_force {
        return Recovery::Reverted;
    }
    let mut wrong = after.findings.iter().chain(&after.ignored);
    if wrong.any(|finding| touches(finding, &objects)) {
        return Recovery::Persists;
    }
    if concerned.is_empty() {
        Recovery::Inconclusive
    } else {
        Recovery::Resolved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Category, Cause, Severity, Workload};
    use jiff::Timestamp;

    fn web() -> ObjectRef {
        ObjectRef {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "web".into(),
        }
    }

    fn scan(findings: &[Cause], desired: u32, ready: u32) -> Scan {
        let finding = |cause: &Cause| Finding {
            finding_id: Finding::stable_id(*cause, &web(), "app"),
            category: Category::PodHealth,
            severity: Severity::High,
            title: String::new(),
            description: String::new(),
            target: "k8s://shop/web-1/app".into(),
            infra_type: "kubernetes".into(),
            evidence: vec![],
            metrics: Default::default(),
            timestamp: Timestamp::UNIX_EPOCH,
            raw_data: Default::default(),
            related: vec![],
            owner: Some(web()),
            cause: Some(*cause),
        };
        Scan {
            findings: findings.iter().map(finding).collect(),
            workloads: vec![Workload {
                object: web(),
                desired,
                ready,
            }],
            ..Scan::default()
        }
    }

    #[test]
    fn each_recovery_is_told_apart() {
        let broken = scan(&[Cause::OomKilled], 2, 1);
        let healthy = scan(&[], 2, 2);
        let gone = Scan {
            workloads: vec![],
            ..scan(&[], 0, 0)
        };
        // Not to hear of it is no cure.
        let mut hushed = broken.clone();
        hushed.ignored.append(&mut hushed.findings);
        let rescan = Rescan::compare(&broken, &hushed, &[web()], true);
        assert_eq!(rescan.fixed, []);
        let sentence = "Fixed: 0 issues resolved. Remaining: 1 issue still present.";
        assert_eq!(rescan.summary(), sentence);
        let partial = Scan {
            incomplete: vec!["pods".into()],
            ..healthy.clone()
        };
        for (after, in_force, recovery) in [
            (healthy.clone(), true, Recovery::Resolved),
            (healthy, false, Recovery::Reverted),
            (scan(&[Cause::OomKilled], 2, 1), true, Recovery::Persists),
            (scan(&[Cause::CrashLoop], 2, 1), true, Recovery::Persists),
            (scan(&[Cause::CrashLoop], 2, 0), true, Recovery::Regressed),
            (scan(&[], 0, 0), true, Recovery::Vanished),
            (gone, true, Recovery::Vanished),
            (partial, true, Recovery::Inconclusive),
            (hushed, true, Recovery::Persists),
        ] {
            assert_eq!(
                Rescan::compare(&broken, &after, &[web()], in_force).recovery,
                recovery,
                "{after:?}"
            );
        }
    }

    #[test]
    fn an_app_that_was_off_and_is_off_again_was_put_back() {
        let off = scan(&[Cause::ScaledToZero], 0, 0);
        let again = |in_force| Rescan::compare(&off, &off, &[web()], in_force).recovery;
        assert_eq!(
            (again(false), again(true)),
            (Recovery::Reverted, Recovery::Vanished)
        );
    }

    #[test]
    fn pods_that_nobody_wanted_are_not_missed() {
        let leaving = scan(&[Cause::ScaledToZero], 0, 1);
        let started = Rescan::compare(&leaving, &scan(&[], 1, 0), &[web()], true);
        assert_eq!(started.recovery, Recovery::Resolved);
    }

    #[test]
    fn the_sentence_is_the_missions() {
        let before = scan(
            &[Cause::OomKilled, Cause::CrashLoop, Cause::ImagePull],
            1,
            0,
        );
        let after = scan(&[Cause::ImagePull], 1, 1);
        let rescan = Rescan::compare(&before, &after, &[web()], true);
        assert_eq!(
            rescan.summary(),
            "Fixed: 2 issues resolved. Remaining: 1 issue still present."
        );
    }
}
