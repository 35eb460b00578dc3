//! A diagnosis without a model: the gravest finding, and what its fault means for people who don't know Kubernetes.

use super::{Playbook, shortened};
use crate::incident::{Cause, Diagnosis, Finding, Incident};
use crate::prompt::DraftDiagnosis;

impl Playbook {
    /// Says in plain English what findings about one object mean; none without findings.
    ///
    /// It is as sure as the scanner is: 0.9 for a fault that it knows, 0.3 for one that it doesn't.
    ///
    /// # Example
    /// ```
    /// use argus_core::{Finding, Playbook};
    /// let finding: Finding = serde_json::from_str(r#"{"finding_id": "F", "category": "pod_health", "severity": "high", "infra_type": "kubernetes",
    ///     "title": "web runs out of memory", "description": "It was stopped.", "target": "k8s://shop/web", "cause": "oom_killed"}"#)?;
    /// let diagnosis = Playbook::diagnose(&[finding]).expect("there is a finding");
    /// assert_eq!(diagnosis.root_cause, "web runs out of memory");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn diagnose(findings: &[Finding]) -> Option<Diagnosis> {
        // That an app isn't available is a symptom of whatever else was found.
        let root = |cause: Cause| cause != Cause::Unavailable;
        let weight = |finding: &&Finding| (finding.cause.is_some_and(root), finding.severity);
        // Of equals the first, as the scanner puts causes before their symptoms.
        let root = findings.iter().rev().max_by_key(weight)?;
        let said = root.cause.map(meaning);
        let (means, advice) = said.unwrap_or((
            "Argus knows no fault that looks like this, so it doesn't guess.",
            "Look at the evidence below, or show it to somebody who knows the app.",
        ));
        Some(Diagnosis {
            root_cause: root.title.clone(),
            explanation: format!("{} {means}", root.description).trim().to_owned(),
            confidence: if said.is_some() { 0.9 } else { 0.3 },
            recommendations: vec![advice.to_owned()],
            model_used: super::NAME.into(),
            ..Diagnosis::about(findings)
        })
    }
}

/// The same as a model would answer it.
pub(super) fn draft(incident: &Incident) -> DraftDiagnosis {
    match Playbook::diagnose(incident.findings()) {
        Some(diagnosis) => DraftDiagnosis {
            root_cause: shortened(diagnosis.root_cause, 300),
            explanation: shortened(diagnosis.explanation, 2000),
            confidence: diagnosis.confidence,
            recommendations: diagnosis.recommendations,
        },
        None => DraftDiagnosis {
            root_cause: "Nothing was found.".into(),
            explanation: "There are no findings, so there is nothing to explain.".into(),
            confidence: 0.9,
            recommendations: Vec::new(),
        },
    }
}

/// What a fault means, and what helps.
fn meaning(cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::NodeNotReady => (
            "A machine of the cluster has stopped answering, so the apps on it may have too. They are started elsewhere after a few minutes where there is room.",
            "Whoever runs the cluster has to bring the machine back or take it out.",
        ),
        Cause::NodePressure => (
            "A machine of the cluster runs out of something that all apps on it share, and may stop some of them.",
            "Whoever runs the cluster has to make room on the machine.",
        ),
        Cause::NodeCordoned => (
            "A machine of the cluster was closed on purpose, most likely for its maintenance.",
            "If the maintenance is over, whoever runs the cluster can open it again.",
        ),
        Cause::WebhookDead => (
            "The cluster asks another program before each change, and that program doesn't answer.",
            "Bring that program back first: until then changes may all be refused.",
        ),
        Cause::ClaimLost | Cause::VolumeFailed => (
            "Storage of the cluster is gone or broken. What was kept there may only be in a backup.",
            "Whoever runs the cluster has to look at the storage. Don't delete anything before.",
        ),
        Cause::StorageClass => (
            "A kind of storage is asked for that the cluster doesn't have, or it isn't clear which one is meant.",
            "Ask for one that the cluster has, or let whoever runs the cluster add it.",
        ),
        Cause::ClaimPending => (
            "The app waits for storage that the cluster hasn't given it.",
            "Whoever runs the cluster can see why no storage is made.",
        ),
        Cause::ClaimMissing => (
            "The app wants storage by a name that doesn't exist, often because of a misspelt name.",
            "Correct the name, or make the storage.",
        ),
        Cause::SharedVolume => (
            "Several copies of the app want the same storage, which only one machine can use at a time.",
            "Run one copy, or use storage that can be shared.",
        ),
        Cause::QuotaFull => (
            "All that this namespace may use is in use. What runs goes on, but nothing can be added, and updates may get stuck.",
            "Make room, or ask whoever runs the cluster for more.",
        ),
        Cause::LivenessProbe => (
            "The cluster asks the app whether it is alive before it has finished starting, takes the silence for an accident, and starts it over.",
            "Give the app more time before it is asked.",
        ),
        Cause::ConfigMapMissing => (
            "The app reads settings that don't exist, often because of a misspelt name.",
            "Make the settings, or correct the name by which the app looks for them.",
        ),
        Cause::NotStarting => (
            "The app has its place on a machine, and something that it needs before it starts isn't ready.",
            "See in the evidence what it waits for.",
        ),
        Cause::Terminating => (
            "A copy of the app was told to end and can't. Often its machine is gone, or something insists on cleaning up first.",
            "Look at what holds it. Forcing it away can lose data.",
        ),
        Cause::PodFailed => (
            "A single program ended with an error, and nothing is there to start it again.",
            "Look at its last words, and start it again by hand if it is still wanted.",
        ),
        Cause::JobFailed => (
            "A job that should come to an end was tried and failed.",
            "Look at its last words. It has to be started again by hand, or waits for its next time.",
        ),
        Cause::ServiceMissing => (
            "The copies of the app get their addresses from a service that doesn't exist.",
            "Make that service, or correct its name.",
        ),
        Cause::NoEndpoints => (
            "Other programs have to say who answers for this service, and nobody is named, so requests to it fail.",
            "Look at the program that should name somebody, or give the service a selector.",
        ),
        Cause::GatewayClass => (
            "The gateway is meant for a program that the cluster doesn't have, so requests from outside reach nobody.",
            "Name a kind of gateway that the cluster has, or let whoever runs the cluster add the program.",
        ),
        Cause::GatewayInactive => (
            "The door through which requests come into the cluster isn't open, or not as it should be.",
            "See in the evidence what the gateway says. Often an address, a port or a certificate is missing.",
        ),
        Cause::RouteBackend => (
            "Requests for an address are sent to something that doesn't exist, so nobody answers them.",
            "Correct the name or the port that the route leads to, or make what is missing.",
        ),
        Cause::RouteRefused => (
            "The gateway knows the address and doesn't pass its requests on.",
            "See in the evidence what the gateway says.",
        ),
        Cause::IngressClass => (
            "The address is meant for a gateway that the cluster doesn't have, so requests from outside reach nobody.",
            "Name a gateway that the cluster has.",
        ),
        Cause::ScaleInactive => (
            "The rule that adds and removes copies can't measure how busy the app is.",
            "See in the evidence what it can't get. Often nothing measures the apps of the cluster.",
        ),
        Cause::ScaleLimited => (
            "The app is busier than its rule for adding copies allows for.",
            "Allow more copies, if the cluster has room for them.",
        ),
        Cause::SelectsNothing => (
            "A rule is there for an app that can't be found, often because of a misspelt label, so it protects nobody.",
            "Correct the labels that it looks for, or remove it.",
        ),
        Cause::OomKilled => (
            "The app needs more memory than it may use, so the cluster stops it whenever it reaches its limit. Starting it again doesn't help for long.",
            "Let the app use more memory. If it grows without end, its authors have to look for a leak.",
        ),
        Cause::CrashLoop => (
            "The app starts, fails, and is started again after longer and longer pauses. Nobody is served meanwhile.",
            "Go back to the version that worked, or give the app the setting that it misses.",
        ),
        Cause::ImagePull => (
            "The program of the app can't be downloaded: its name or version is wrong, or the cluster may not fetch it. The new version never starts.",
            "Use a name and version that exist, or go back to the version before.",
        ),
        Cause::ConfigKey => (
            "The app reads a setting that isn't in the place where it looks for it, often because of a misspelt name.",
            "Correct the name of the setting in the app, or add the setting.",
        ),
        Cause::ContainerConfig => (
            "The app refers to settings or secrets that don't exist, so it can't even be put together.",
            "Make what is missing, or correct the name by which the app looks for it.",
        ),
        Cause::PodsRefused => (
            "The cluster has a rule that refuses to run the app as it is described: a limit is used up, or something is asked for that isn't allowed here.",
            "Ask for less, or let whoever owns the rule change it.",
        ),
        Cause::NodeSelector => (
            "The app wants to run on a kind of machine that the cluster doesn't have.",
            "Correct the wish, or add such a machine.",
        ),
        Cause::RequestTooLarge => (
            "The app reserves more than the largest machine of the cluster has, so there is no place for it.",
            "Reserve less.",
        ),
        Cause::Taint => (
            "Every machine that the app could run on is set aside for something else.",
            "Let the app run on such a machine if that is meant, or add another machine.",
        ),
        Cause::AntiAffinity => (
            "Copies of the app must not share a machine, and there are more copies than machines.",
            "Run fewer copies, or let them share a machine.",
        ),
        Cause::Pending => (
            "No machine of the cluster takes the app, so it waits.",
            "See in the evidence what the cluster says about each machine.",
        ),
        Cause::ProbePort => (
            "The cluster asks the app at the wrong door whether it is ready, never gets an answer, and sends nobody to it.",
            "Let the cluster ask at the port where the app listens.",
        ),
        Cause::PodWedged => (
            "One copy of the app hangs: it runs but doesn't do its work.",
            "Replace this one copy.",
        ),
        Cause::StuckRollout => (
            "An update of the app didn't get anywhere in the time that it has. The old version may still serve people.",
            "Go back to the version before.",
        ),
        Cause::ScaledToZero => (
            "The app is switched off: no copy of it is wanted. That may be meant.",
            "If it isn't meant, run one copy again.",
        ),
        Cause::StaleConfig => (
            "The app's settings were changed after it started, and it reads them only at its start, so it still works with the old ones.",
            "Start its copies again, one after another.",
        ),
        Cause::ServiceSelector => (
            "Requests to the app lead nowhere: the description of which copies should get them fits none.",
            "Correct the description.",
        ),
        Cause::ServicePort => (
            "Requests to the app are passed on to a port where nothing listens.",
            "Pass them on to the port that the app has.",
        ),
        Cause::IngressBackend => (
            "Requests from outside are led to something that isn't there.",
            "Lead them to the app that was meant.",
        ),
        Cause::ScaleTarget => (
            "The rule that adds and removes copies points to an app that doesn't exist, so it does nothing.",
            "Let it point to the app that was meant.",
        ),
        Cause::ScaleMetric => (
            "The rule that adds and removes copies needs to know what the app reserves, and the app reserves nothing, so the rule does nothing.",
            "Say what a copy of the app usually needs.",
        ),
        Cause::RolloutStrategy => (
            "When the app is updated, all its copies may go away at once, and nobody is served meanwhile.",
            "Update one copy after another.",
        ),
        Cause::DisruptionBudget => (
            "The rule that protects the app never lets a single copy go, so machines can't be taken out of service for updates.",
            "Let one copy go at a time.",
        ),
        Cause::Schedule => (
            "The job's time never comes, such as the 30th of February, so it never runs.",
            "Give it a time that exists.",
        ),
        Cause::Suspended => (
            "The job is switched off and doesn't run. That may be meant.",
            "If it isn't meant, switch it on again.",
        ),
        Cause::Unavailable => (
            "Fewer copies of the app can be reached than there should be, so it may be slow or down.",
            "See what the other findings about this app say.",
        ),
    }
}
