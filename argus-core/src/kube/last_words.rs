//! What a container said before it ended: a few lines of its log, when a host asks for them.

use ::kube::Error;
use ::kube::api::{Api, LogParams};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::timeout;

use super::{Kube, refusal};
use crate::incident::{Finding, Incident, ScanError};
use crate::names::{DnsLabel, DnsSubdomain};
use crate::redact::redact;
use crate::scope::Scope;

/// How many lines are read, and how many bytes at most.
const LINES: i64 = 20;
const BYTES: i64 = 8 << 10;
/// How many containers of an incident are heard.
const CONTAINERS: usize = 3;
/// The longest line, in characters.
const LONGEST: usize = 300;
/// The status of an answer about a container that did not run before, or doesn't run yet.
const NONE_YET: u16 = 400;

impl Kube {
    /// The last lines that the container of a finding logged before it ended, or logs now, redacted; none for a finding that is about no
    /// container of this scope. Takes [`Roles::reading_logs`](super::Roles::reading_logs). As evidence of the finding they stand in the
    /// prompt, fenced as what they are: text that anybody may have written.
    ///
    /// # Errors
    /// [`ScanError`] when the log may not be read, or the cluster doesn't answer in the time of a scan.
    ///
    /// # Example
    /// ```
    /// # use argus_core::{Finding, Kube, ScanError, Scope};
    /// # async fn look(kube: Kube, scope: &Scope, mut finding: Finding) -> Result<Finding, ScanError> {
    /// finding.evidence.extend(kube.last_words(&finding, scope).await?);
    /// # Ok(finding)
    /// # }
    /// ```
    pub async fn last_words(
        &self,
        finding: &Finding,
        scope: &Scope,
    ) -> Result<Vec<String>, ScanError> {
        let container = Container::of(&finding.target);
        let container = container.filter(|found| scope.contains(found.namespace.as_str()));
        let Some(Container {
            namespace,
            pod,
            name,
        }) = container
        else {
            return Ok(Vec::new());
        };
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace.as_str());
        let read = async |previous| {
            let params = LogParams {
                container: Some(name.to_string()),
                previous,
                tail_lines: Some(LINES),
                limit_bytes: Some(BYTES),
                ..LogParams::default()
            };
            match timeout(self.scan_within, pods.logs(pod.as_str(), &params)).await {
                Ok(Ok(text)) => Ok(Some(text)),
                Ok(Err(error)) if code(&error) == Some(NONE_YET) => Ok(None),
                Ok(Err(error)) => Err(failed(&error)),
                Err(_) => Err(ScanError {
                    problem: format!("the log of {pod} did not come in time"),
                    source: None,
                }),
            }
        };
        let text = match read(true).await? {
            Some(text) => Some(text),
            None => read(false).await?,
        };
        Ok(lines(&text.unwrap_or_default()))
    }

    /// The incident with the [`last_words`](Self::last_words) of its first containers of this scope, three at most, as evidence for a
    /// model.
    ///
    /// # Errors
    /// [`ScanError`] when a log may not be read, or the cluster doesn't answer in the time of a scan.
    pub async fn with_last_words(
        &self,
        incident: Incident,
        scope: &Scope,
    ) -> Result<Incident, ScanError> {
        let mut findings = incident.findings().to_vec();
        let mut heard = 0;
        for finding in &mut findings {
            let words = self.last_words(finding, scope).await?;
            heard += usize::from(!words.is_empty());
            finding.evidence.extend(words);
            if heard == CONTAINERS {
                break;
            }
        }
        Ok(incident.with_findings(findings))
    }
}

/// The address of a container. Its parts become parts of a request's path, as they are: only names can be in it.
struct Container {
    namespace: DnsLabel,
    pod: DnsSubdomain,
    name: DnsLabel,
}

impl Container {
    /// From the target of a finding, `k8s://namespace/pod/container`; none if it is about something else.
    fn of(target: &str) -> Option<Self> {
        let parts: Vec<&str> = target.strip_prefix("k8s://")?.split('/').collect();
        let [namespace, pod, name] = parts.as_slice() else {
            return None;
        };
        Some(Self {
            namespace: DnsLabel::new(*namespace).ok()?,
            pod: DnsSubdomain::new(*pod).ok()?,
            name: DnsLabel::new(*name).ok()?,
        })
    }
}

fn code(error: &Error) -> Option<u16> {
    refusal(error).map(|(code, _)| code)
}

fn failed(error: &Error) -> ScanError {
    ScanError {
        problem: refusal(error)
            .map_or_else(|| "no answer about a log".into(), |(_, message)| message),
        source: None,
    }
}

/// Lines for people and prompts, redacted.
fn lines(text: &str) -> Vec<String> {
    let clean = redact(text);
    let printed = clean
        .lines()
        .map(|line| line.trim().chars().take(LONGEST).collect());
    let lines = printed.filter(|line: &String| !line.is_empty());
    let mut lines: Vec<String> = lines.map(|line| format!("log: {line}")).collect();
    let from = lines
        .len()
        .saturating_sub(usize::try_from(LINES).unwrap_or(0));
    lines.split_off(from)
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use ::kube::Client;
    use ::kube::client::Body;
    use http::{Request, Response};
    use proptest::prelude::*;
    use tower::service_fn;

    use super::lines;
    use crate::incident::Incident;
    use crate::kube::Kube;
    use crate::scope::Scope;

    /// What is asked of the API server for the last words of an incident with these targets, in scope `shop`: paths with their queries.
    fn asked(targets: &[&str]) -> (Vec<String>, Incident) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Body>| {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(request.uri().to_string());
            async {
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(b"fatal".to_vec())))
            }
        });
        let findings: Vec<_> = targets
            .iter()
            .enumerate()
            .map(|(number, target)| {
                serde_json::json!({ "finding_id": format!("F{number}"), "category": "pod_health", "severity": "high",
                    "infra_type": "kubernetes", "title": "t", "description": "d", "target": target })
            })
            .collect();
        let incident = serde_json::json!({ "incident_id": "INC-1", "findings": findings });
        let incident = Incident::from_json(&incident.to_string());
        let incident = incident.unwrap();
        let scope = Scope::namespaces(["shop"]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let heard = runtime.block_on(async {
            let kube = Kube::new(Client::new(service, "default"));
            kube.with_last_words(incident, &scope).await
        });
        let heard = heard.unwrap();
        let asked = std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner));
        (asked, heard)
    }

    const QUERY: &str = "?&container=app&limitBytes=8192&previous=true&tailLines=20";

    #[test]
    fn the_log_of_a_container_in_scope_is_asked_for() {
        let (paths, heard) = asked(&["k8s://shop/web-1.a/app"]);
        let path = format!("/api/v1/namespaces/shop/pods/web-1.a/log{QUERY}");
        assert_eq!(paths, [path]);
        assert_eq!(heard.findings()[0].evidence, ["log: fatal"]);
    }

    #[test]
    fn nothing_else_is_asked_for_whatever_an_incident_says() {
        for target in [
            "k8s://kube-system/coredns-x/coredns",
            "k8s://shop/web-1?x=/app",
            "k8s://shop/web-1?pretty=true&x=/app",
            "k8s://shop%2Fsecrets%2Fdb?pretty=true&x=/p/c",
            "k8s://shop/../app",
            "k8s://shop/./app",
            "k8s://../secrets/app",
            "k8s://shop/web-1#/app",
            "k8s://shop/web-1%2F..%2F..%2Fsecrets%2Fdb/app",
            "k8s://shop/Web/app",
            "k8s://shop/web-1/app&x=1",
            "k8s://shop/web-1/",
            "k8s://shop//app",
            "k8s:///web-1/app",
            "k8s://shop/web-1",
            "k8s://shop/web-1/app/more",
            "https://shop/web-1/app",
            "shop/web-1/app",
            "",
        ] {
            let (paths, heard) = asked(&[target]);
            assert_eq!(paths, [] as [&str; 0], "{target}");
            assert_eq!(heard.findings()[0].evidence, [] as [&str; 0], "{target}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_target_leads_to_another_path(
            targets in prop::collection::vec(
                prop_oneof![
                    "k8s://(shop|other|SHOP|shop[%?#./]{1,2})/[a-z.%?#&=/-]{0,12}/[a-z%?&/-]{0,6}",
                    "k8s://(shop|other|shop%2Fsecrets)/[a-z0-9]([a-z0-9.%?#-]{0,8}[a-z0-9])?/[a-z]{1,3}",
                    "\\PC{0,40}",
                ],
                1..4,
            )
        ) {
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            let (paths, _) = asked(&targets);
            let is_label = |text: &str| {
                let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                !text.is_empty() && text.chars().all(letter)
            };
            for path in paths {
                let (path, query) = path.split_once('?').unwrap_or((&path, ""));
                let pod = path
                    .strip_prefix("/api/v1/namespaces/shop/pods/")
                    .and_then(|rest| rest.strip_suffix("/log"));
                prop_assert!(pod.is_some_and(|pod| pod.split('.').all(is_label)), "{path}");
                let container = query.strip_prefix("&container=").and_then(|rest| rest.split('&').next());
                prop_assert!(container.is_some_and(is_label), "{query}");
                prop_assert!(query.ends_with("&limitBytes=8192&previous=true&tailLines=20"), "{query}");
            }
        }
    }

    #[test]
    fn lines_are_few_short_and_without_secrets() {
        let text = format!(
            "{}\n\n\u{1b}[31mred\npassword=hunter2\n{}\n",
            "old\n".repeat(30),
            "x".repeat(1000)
        );
        let lines = lines(&text);
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[17], "log: [31mred");
        assert_eq!(lines[18], "log: password=[redacted]");
        assert_eq!(lines[19].len(), 305);
    }
}
