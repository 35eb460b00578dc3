//! Room 9: findings before and after become a [`Rescan`]: what was fixed, what remains, and whether it is a recovery.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attempt::Recovery;
use crate::incident::{Finding, ObjectRef, Runs, Scan, Severity, Workload, groups};

/// From here on a finding says that something doesn't work as it should.
const BROKEN: Severity = Severity::Medium;
/// How many apps of a plan a record of its hold has at most.
const MAX_APPS: usize = 50;

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
    /// there. Two looks prove no fix, so the best that they say is [`Recovery::Unproven`].
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

    /// What was found as people count it: each app once, with everything that comes of what is wrong with it.
    #[must_use]
    pub fn issues(&self) -> Issues {
        let all = [&self.fixed, &self.remaining, &self.new];
        let mut issues = Issues::default();
        for (_, group) in groups(all.into_iter().flatten().cloned().collect()) {
            let among = |findings: &[Finding], id: &str| {
                let mut findings = findings.iter();
                findings.any(|finding| finding.finding_id == id)
            };
            let is_gone = |finding: &Finding| among(&self.fixed, &finding.finding_id);
            let is_new = |finding: &Finding| among(&self.new, &finding.finding_id);
            if group.iter().all(is_gone) {
                issues.fixed.extend(Issue::of(&group));
            } else if group.iter().all(is_new) {
                issues.new.extend(Issue::of(&group));
            } else {
                let left: Vec<Finding> = group.into_iter().filter(|one| !is_gone(one)).collect();
                issues.remaining.extend(Issue::of(&left));
            }
        }
        issues
    }

    /// The sentence for people; it counts [`issues`](Self::issues).
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
        let issues = self.issues();
        let gone = count(issues.fixed.len());
        let mut text = match self.recovery {
            Recovery::Unproven => {
                format!("Gone for now: {gone}. Nobody watched whether that stays so.")
            }
            Recovery::Relapsed => "It came back while it was watched.".to_owned(),
            _ => format!("Fixed: {gone} resolved."),
        };
        match issues.remaining.len() {
            0 => text.push_str(" Remaining: no issues."),
            n => text.push_str(&format!(" Remaining: {} still present.", count(n))),
        }
        if !issues.new.is_empty() {
            text.push_str(&format!(" New: {} appeared.", count(issues.new.len())));
        }
        if !self.incomplete.is_empty() {
            text.push_str(" Some of the cluster could not be looked at.");
        }
        text
    }
}

/// What is wrong with one app, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Issue {
    /// The title of the finding that is nearest to the cause.
    pub title: String,
    /// The titles of the others.
    pub symptoms: Vec<String>,
}

/// What a [`Rescan`] found, as people count it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Issues {
    /// Nothing of them is left.
    pub fixed: Vec<Issue>,
    /// Something of them is left, or the same app has something new.
    pub remaining: Vec<Issue>,
    /// They were not there before.
    pub new: Vec<Issue>,
}

impl Issue {
    /// Of the findings of one app, the one nearest to the cause first.
    fn of(findings: &[Finding]) -> Option<Self> {
        let (first, others) = findings.split_first()?;
        let titles = others.iter().map(|finding| finding.title.clone());
        Some(Self {
            title: first.title.clone(),
            symptoms: titles.collect(),
        })
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

/// What a plan is about.
struct Concern<'a> {
    /// What the plan changed, and what was wrong with it concerned.
    objects: BTreeSet<ObjectRef>,
    /// What was wrong with them before.
    findings: Vec<&'a Finding>,
}

impl<'a> Concern<'a> {
    fn new(before: &'a Scan, changed: &[ObjectRef]) -> Self {
        let mut concern = Self {
            objects: changed.iter().cloned().collect(),
            findings: Vec::new(),
        };
        let findings = before.findings.iter();
        concern.findings = findings
            .filter(|finding| concern.touches(finding))
            .collect();
        let owners = concern.findings.iter();
        let owners: Vec<_> = owners.filter_map(|finding| finding.owner.clone()).collect();
        concern.objects.extend(owners);
        concern
    }

    /// Whether a finding is about one of the objects: one about a pod counts for the workload that owns it, and the other way round.
    fn touches(&self, finding: &Finding) -> bool {
        let about_pod = |object: &ObjectRef| {
            let address = format!("k8s://{}/{}", object.namespace, object.name);
            object.kind == "Pod"
                && finding
                    .target
                    .strip_prefix(&address)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let owner = finding.owner.as_ref();
        owner.is_some_and(|owner| self.objects.contains(owner))
            || self.objects.iter().any(about_pod)
    }

    /// The workloads among the objects, as a scan saw them.
    fn workloads<'s>(&self, scan: &'s Scan) -> impl Iterator<Item = &'s Workload> {
        let workloads = scan.workloads.iter();
        workloads.filter(|workload| self.objects.contains(&workload.object))
    }

    fn runs(&self, scan: &Scan) -> Runs {
        let mut runs = Runs::default();
        self.workloads(scan).for_each(|one| runs.add(&one.runs));
        runs
    }

    /// Whether a fault of the plan's apps is one that they had before.
    fn had(&self, finding: &Finding) -> bool {
        let mut known = self.findings.iter();
        known.any(|old| {
            old.finding_id == finding.finding_id
                || old.cause.is_some() && (old.cause, &old.owner) == (finding.cause, &finding.owner)
        })
    }
}

/// How soon the fault that a plan is about came, by a scan of before it and one of after it.
pub(crate) fn evidence(before: &Scan, after: &Scan, changed: &[ObjectRef]) -> Runs {
    let concern = Concern::new(before, changed);
    let mut evidence = concern.runs(before);
    let now = concern.runs(after);
    evidence.probe_seconds = evidence.probe_seconds.max(now.probe_seconds);
    evidence
}

/// The workloads that a plan is about, as a scan saw them.
pub(crate) fn apps(before: &Scan, now: &Scan, changed: &[ObjectRef]) -> Vec<Workload> {
    let concern = Concern::new(before, changed);
    concern.workloads(now).take(MAX_APPS).cloned().collect()
}

/// What a look during a hold has against it; `apps` is how the plan's apps were when the hold began.
pub(crate) fn broke(
    before: &Scan,
    now: &Scan,
    changed: &[ObjectRef],
    apps: &[Workload],
) -> Option<(Recovery, String)> {
    let concern = Concern::new(before, changed);
    let all = now.findings.iter().chain(&now.ignored);
    let wrong: Vec<&Finding> = all.filter(|finding| concern.touches(finding)).collect();
    if let Some(finding) = wrong.iter().find(|finding| concern.had(finding)) {
        let what = format!(
            "the fault came back while it was watched: {}",
            finding.title
        );
        return Some((Recovery::Relapsed, what));
    }
    if let Some(finding) = wrong.iter().find(|finding| finding.severity >= BROKEN) {
        let what = format!("something else went wrong with it: {}", finding.title);
        return Some((Recovery::Regressed, what));
    }
    let failed = apps.iter().find(|then| {
        let found = state(now, &then.object);
        found.is_some_and(|found| found.runs.failed_since(&then.runs))
    });
    failed.map(|then| {
        let what = format!(
            "a container of {} failed while it was watched, and was started again",
            then.object
        );
        (Recovery::Relapsed, what)
    })
}

/// What worked before the plan and does so no more, of apps that it is not about.
pub(crate) fn broke_elsewhere(
    before: &Scan,
    now: &Scan,
    changed: &[ObjectRef],
) -> Option<(Recovery, String)> {
    // What couldn't be looked at may have been broken before.
    if !before.incomplete.is_empty() {
        return None;
    }
    let concern = Concern::new(before, changed);
    let known = || before.findings.iter().chain(&before.ignored);
    let is_new = |finding: &&Finding| {
        let Some(owner) = &finding.owner else {
            return false;
        };
        let was_well = !known().any(|old| old.owner.as_ref() == Some(owner));
        let is_workload = now.workloads.iter().any(|one| one.object == *owner);
        // An app that somebody has just made did not work before.
        let was_there = !is_workload || state(before, owner).is_some_and(runs_whole);
        !owner.namespace.is_empty() && was_well && was_there
    };
    let mut wrong = now.findings.iter().filter(|finding| {
        finding.severity >= BROKEN && !concern.touches(finding) && is_new(finding)
    });
    let finding = wrong.next()?;
    let what = format!("something that worked before broke: {}", finding.title);
    Some((Recovery::Regressed, what))
}

/// The first of the apps that has fewer ready copies than it had, of those that are still wanted: one of the plan's since the hold
/// began, or another one that was whole before the plan.
pub(crate) fn short(
    before: &Scan,
    now: &Scan,
    changed: &[ObjectRef],
    apps: &[Workload],
) -> Option<(Recovery, ObjectRef)> {
    let is_short = |then: &&Workload| {
        let found = state(now, &then.object);
        found.is_some_and(|found| found.ready < then.ready.min(then.desired).min(found.desired))
    };
    let own = apps
        .iter()
        .find(is_short)
        .map(|then| (Recovery::Relapsed, then.object.clone()));
    let concern = Concern::new(before, changed);
    own.or_else(|| {
        let others = before.workloads.iter();
        let mut others = others.filter(|then| !concern.objects.contains(&then.object));
        let then = others.find(|then| runs_whole(then) && is_short(then))?;
        Some((Recovery::Regressed, then.object.clone()))
    })
}

fn state<'s>(scan: &'s Scan, object: &ObjectRef) -> Option<&'s Workload> {
    let mut workloads = scan.workloads.iter();
    workloads.find(|workload| workload.object == *object)
}

/// Whether all copies are ready that are wanted.
fn runs_whole(workload: &Workload) -> bool {
    workload.desired > 0 && workload.ready >= workload.desired
}

fn recovery(before: &Scan, after: &Scan, changed: &[ObjectRef], in_force: bool) -> Recovery {
    if !before.incomplete.is_empty() || !after.incomplete.is_empty() {
        return Recovery::Inconclusive;
    }
    let concern = Concern::new(before, changed);
    let state = |scan, object| state(scan, object).map(|found| (found.desired, found.ready));
    for object in &concern.objects {
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
    if wrong.any(|finding| concern.touches(finding)) {
        return Recovery::Persists;
    }
    if concern.findings.is_empty() {
        Recovery::Inconclusive
    } else {
        Recovery::Unproven
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Category, Cause};
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
                runs: Runs::default(),
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
            (healthy.clone(), true, Recovery::Unproven),
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
        assert_eq!(started.recovery, Recovery::Unproven);
    }

    /// A finding of an app, which may come from another one.
    fn of(app: &str, cause: Cause, from: Option<&str>) -> Finding {
        let object = |name: &str| ObjectRef {
            name: name.into(),
            ..web()
        };
        let [finding]: [Finding; 1] = scan(&[cause], 1, 0).findings.try_into().unwrap();
        Finding {
            finding_id: Finding::stable_id(cause, &object(app), "app"),
            title: format!("{app}: {cause}"),
            owner: Some(object(app)),
            related: from.map(object).into_iter().collect(),
            ..finding
        }
    }

    #[test]
    fn the_sentence_counts_apps_with_their_symptoms() {
        let found = |findings: Vec<Finding>| Scan {
            findings,
            ..Scan::default()
        };
        let before = found(vec![
            of("front", Cause::NoEndpoints, Some("web")),
            of("web", Cause::OomKilled, None),
            of("web", Cause::CrashLoop, None),
            of("api", Cause::ImagePull, None),
            of("db", Cause::ClaimMissing, None),
            of("job", Cause::OomKilled, None),
        ]);
        let after = found(vec![
            of("db", Cause::ClaimMissing, None),
            of("job", Cause::CrashLoop, None),
            of("mail", Cause::CrashLoop, None),
        ]);
        let changed = ObjectRef {
            name: "db".into(),
            ..web()
        };
        let rescan = Rescan::compare(&before, &after, &[changed], true);
        let issues = rescan.issues();
        let titles = |issues: &[Issue]| -> Vec<String> {
            issues.iter().map(|issue| issue.title.clone()).collect()
        };
        assert_eq!(
            titles(&issues.fixed),
            ["web: oom_killed", "api: image_pull"]
        );
        let symptoms = issues.fixed.first().unwrap().symptoms.clone();
        assert_eq!(symptoms, ["web: crash_loop", "front: no_endpoints"]);
        // What an app has instead is no fix of it.
        let left = ["job: crash_loop", "db: claim_missing"];
        assert_eq!(titles(&issues.remaining), left);
        assert_eq!(titles(&issues.new), ["mail: crash_loop"]);
        assert_eq!(
            rescan.summary(),
            "Fixed: 2 issues resolved. Remaining: 2 issues still present. New: 1 issue appeared."
        );
    }
}
