//! What doesn't come about is asked about: the events say why, and stand with the finding.

use ::kube::Error;
use ::kube::api::{Api, ListParams};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Event;
use serde_json::json;

use super::Kube;
use super::analyzers::refused_pods;
use super::seen::Seen;
use crate::incident::{Cause, ObjectRef, Scan};
use crate::redact::redact;

/// How many objects of a namespace are asked about in one scan.
const ASKED: usize = 10;
/// How many events are read of one object.
const EVENTS: u32 = 50;
/// How many of them stand with a finding.
const SHOWN: usize = 3;

impl Kube {
    /// Adds what events say to findings about pods that don't start, and findings about workloads whose pods are not even made.
    pub(super) async fn ask_why(&self, seen: &Seen<'_>, scan: &mut Scan) -> Result<(), Error> {
        let slow = scan
            .findings
            .iter_mut()
            .filter(|finding| finding.cause == Some(Cause::NotStarting));
        let slow = slow.take(ASKED).map(async |finding| {
            let pods = finding.raw_data.get("pods").and_then(|pods| pods.get(0));
            let Some(pod) = pods.and_then(|pod| pod.as_str()) else {
                return Ok::<(), Error>(());
            };
            let said = self.warnings(&seen.named("Pod", pod)).await?;
            finding.raw_data.insert("events".into(), json!(said));
            finding.evidence.extend(said);
            Ok(())
        });
        try_join_all(slow).await?;
        let short = seen.short().into_iter().take(ASKED).map(async |owner| {
            let said = self.warnings(&owner).await?;
            let refused = said
                .into_iter()
                .find(|text| text.starts_with("FailedCreate"));
            Ok::<_, Error>(refused.map(|message| refused_pods(seen, owner, message)))
        });
        let refused = try_join_all(short).await?;
        scan.findings.extend(refused.into_iter().flatten());
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
