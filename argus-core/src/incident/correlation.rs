//! Findings become groups that have one cause.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, MAX_FINDINGS, ObjectRef};

/// Groups with what each is about, in the order of their first findings.
pub(crate) fn groups(findings: Vec<Finding>) -> Vec<(String, Vec<Finding>)> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<(String, Vec<Finding>)> = Vec::new();
    for finding in findings {
        let about = about(&finding);
        let at = *places.entry(about.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, group)) => group.push(finding),
            None => groups.push((about, vec![finding])),
        }
    }
    // What an object's group may come from, however far away.
    let causes: Vec<Option<usize>> = groups
        .iter()
        .map(|(_, group)| root(group, &places, &groups))
        .collect();
    let top = |mut at: usize| {
        let mut passed = BTreeSet::new();
        while let Some(Some(next)) = causes.get(at).filter(|_| passed.insert(at)) {
            at = *next;
        }
        at
    };
    let mut order: Vec<usize> = Vec::new();
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..groups.len() {
        let of_root = members.entry(top(at)).or_insert_with_key(|root| {
            order.push(*root);
            vec![*root]
        });
        if at != *of_root.first().unwrap_or(&at) {
            of_root.push(at);
        }
    }
    let mut result: Vec<(String, Vec<Finding>)> = Vec::new();
    for root in order {
        let name = groups
            .get(root)
            .map(|(about, _)| about.clone())
            .unwrap_or_default();
        let (mut parts, mut findings) = (0, Vec::new());
        for at in members.remove(&root).unwrap_or_default() {
            let group = groups
                .get_mut(at)
                .map(|(_, group)| std::mem::take(group))
                .unwrap_or_default();
            // What doesn't fit is the next part of it.
            if !findings.is_empty() && findings.len() + group.len() > MAX_FINDINGS {
                result.push((part(&name, parts), std::mem::take(&mut findings)));
                parts += 1;
            }
            findings.extend(group);
        }
        result.push((part(&name, parts), findings));
    }
    for (_, findings) in &mut result {
        findings.sort_by_key(|finding| (finding.cause.is_none(), finding.cause));
    }
    result
}

fn part(name: &str, number: usize) -> String {
    match number {
        0 => name.to_owned(),
        _ => format!("{name} {number}"),
    }
}

fn about(finding: &Finding) -> String {
    let owner = finding.owner.as_ref().map(ToString::to_string);
    owner.unwrap_or_else(|| finding.target.clone())
}

/// The group of an object that all of these findings' gravest may come from: one that is nearer to the cause than they are.
fn root(
    group: &[Finding],
    places: &BTreeMap<String, usize>,
    groups: &[(String, Vec<Finding>)],
) -> Option<usize> {
    let first = group.iter().filter_map(|finding| finding.cause).min()?;
    let related = group.iter().filter(|finding| finding.cause == Some(first));
    let mut related = related
        .flat_map(|finding| &finding.related)
        .map(ObjectRef::to_string);
    related.find_map(|object| {
        let at = *places.get(&object)?;
        let causes = groups.get(at)?.1.iter().filter_map(|finding| finding.cause);
        (causes.min()? < first).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Category, Cause, Severity};
    use jiff::Timestamp;

    fn finding(cause: Cause, name: &str, related: &[&str]) -> Finding {
        let object = |name: &str| ObjectRef {
            kind: "Kind".into(),
            namespace: "shop".into(),
            name: name.into(),
        };
        Finding {
            finding_id: format!("{name}-{cause}"),
            category: Category::PodHealth,
            severity: Severity::High,
            title: String::new(),
            description: String::new(),
            target: String::new(),
            infra_type: "kubernetes".into(),
            evidence: vec![],
            metrics: Default::default(),
            timestamp: Timestamp::UNIX_EPOCH,
            raw_data: Default::default(),
            related: related.iter().map(|name| object(name)).collect(),
            owner: Some(object(name)),
            cause: Some(cause),
        }
    }

    fn shown(findings: Vec<Finding>) -> Vec<Vec<String>> {
        let ids =
            |(_, group): (String, Vec<Finding>)| group.into_iter().map(|f| f.finding_id).collect();
        groups(findings).into_iter().map(ids).collect()
    }

    #[test]
    fn symptoms_stand_with_their_cause_however_far_away() {
        let chain = vec![
            finding(Cause::ScaleInactive, "scaler", &["web"]),
            finding(Cause::Schedule, "other", &[]),
            finding(Cause::Pending, "web", &["claim"]),
            finding(Cause::ClaimPending, "claim", &[]),
        ];
        assert_eq!(
            shown(chain),
            [
                vec![
                    "claim-claim_pending",
                    "web-pending",
                    "scaler-scale_inactive"
                ],
                vec!["other-schedule"],
            ]
        );
    }

    #[test]
    fn what_is_no_cause_stands_alone() {
        // A closed node stops no pod that runs; two that point to each other have no cause outside.
        let closed = vec![
            finding(Cause::PodWedged, "web", &["n1"]),
            finding(Cause::NodeCordoned, "n1", &[]),
        ];
        assert_eq!(shown(closed).len(), 2);
        let round = vec![
            finding(Cause::CrashLoop, "a", &["b"]),
            finding(Cause::CrashLoop, "b", &["a"]),
        ];
        assert_eq!(shown(round).len(), 2);
        assert_eq!(
            shown(vec![finding(Cause::Pending, "web", &["gone"])]).len(),
            1
        );
    }

    #[test]
    fn nothing_is_lost_of_a_node_with_a_thousand_apps() {
        let apps = (0..1000).map(|n| finding(Cause::PodWedged, &format!("app-{n}"), &["n1"]));
        let mut all: Vec<Finding> = apps.collect();
        all.push(finding(Cause::NodeNotReady, "n1", &[]));
        let groups = groups(all);
        assert_eq!(groups.len(), 3);
        assert_eq!(
            groups.iter().map(|(_, group)| group.len()).sum::<usize>(),
            1001
        );
        assert!(groups.iter().all(|(_, group)| group.len() <= MAX_FINDINGS));
        let names: BTreeSet<&String> = groups.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), groups.len(), "each has a name of its own");
    }
}
