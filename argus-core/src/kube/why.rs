//! What doesn't come about is asked about: the events say why, and stand with the finding.

use ::kube::Error;
use ::kube::api::{Api, ListParams};
use k8s_openapi::api::core::v1::Event;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::analyzers::refused_pods;
use super::seen::Seen;
use super::{Kube, refusal};
use crate::incident::{Cause, Finding, ObjectRef, Scan};
use crate::redact::redact;

/// How many objects of a namespace are asked about in one scan.
const ASKED: usize = 10;
/// How many events are read of one object.
const EVENTS: u32 = 50;
/// How many of them stand with a finding.
const SHOWN: usize = 3;
/// The reason of an event about a pod that could not even be made.
const NOT_MADE: &str = "FailedCreate";

impl Kube {
    /// Adds what events say to findings about pods that don't start, and findings about workloads whose pods are not even made. What
    /// could not be asked is returned.
    pub(super) async fn ask_why(
        &self,
        seen: &Seen<'_>,
        scan: &mut Scan,
        deadline: Instant,
    ) -> Option<String> {
        if self.is_quiet {
            return None;
        }
        let of = format!("the events of namespace {}", seen.namespace);
        match timeout_at(deadline, self.ask(seen, scan)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(match refusal(&error) {
                Some((_, message)) => format!("{of} could not be read: {message}"),
                None => format!("{of} could not be read"),
            }),
            Err(_) => Some(format!("{of} did not come in time")),
        }
    }

    async fn ask(&self, seen: &Seen<'_>, scan: &mut Scan) -> Result<(), Error> {
        let is_slow = |finding: &&mut Finding| finding.cause == Some(Cause::NotStarting);
        for finding in scan.findings.iter_mut().filter(is_slow).take(ASKED) {
            let pods = finding.raw_data.get("pods").and_then(|pods| pods.get(0));
            if let Some(pod) = pods.and_then(|pod| pod.as_str()) {
                let said = self.warnings(&seen.named("Pod", pod)).await?;
                finding.raw_data.insert("events".into(), json!(said));
                finding.evidence.extend(said);
            }
        }
        for owner in short(seen, scan).into_iter().take(ASKED) {
            let said = self.warnings(&owner).await?.into_iter();
            if let Some(message) = said.into_iter().find(|text| text.starts_with(NOT_MADE)) {
                scan.findings.push(refused_pods(seen, owner, message));
            }
        }
        Ok(())
    }

    /// The latest warnings about an object: reason and message, each once.
    async fn warnings(&self, object: &ObjectRef) -> Result<Vec<String>, Error> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &object.namespace);
        let fields = format!(
            "involvedObject.kind={},involvedObject.name={},type=Warning",
            object.kind, object.name
        );
        let params = ListParams::default().fields(&fields).limit(EVENTS);
        let mut events = events.list(&params).await?.items;
        events.sort_by_key(|event| {
            let last = event.last_timestamp.as_ref().map(|time| time.0);
            std::cmp::Reverse(last.or(event.event_time.as_ref().map(|time| time.0)))
        });
        let mut said = Vec::new();
        for event in events {
            let text = redact(&format!(
                "{}: {}",
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default()
            ));
            if said.len() < SHOWN && !said.contains(&text) {
                said.push(text);
            }
        }
        Ok(said)
    }
}

/// Workloads without a word about their pods that have fewer than they want; a Deployment says itself why.
fn short(seen: &Seen, scan: &Scan) -> Vec<ObjectRef> {
    if seen.pods.unseen {
        return Vec::new();
    }
    let workloads = scan.workloads.iter();
    let short = workloads.filter(|workload| {
        let is_silent =
            workload.object.kind != "Deployment" && !seen.pods.troubled.contains(&workload.object);
        is_silent && workload.ready < workload.desired
    });
    short.map(|workload| workload.object.clone()).collect()
}
