//! What a container said before it ended: a few lines of its log, when a host asks for them.

use ::kube::Error;
use ::kube::api::{Api, LogParams};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::timeout;

use super::{Kube, refusal};
use crate::incident::{Finding, Incident, ScanError};
use crate::redact::redact;

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
    /// container. Takes [`Roles::reading_logs`](super::Roles::reading_logs). As evidence of the finding they stand in the prompt, fenced as
    /// what they are: text that anybody may have written.
    ///
    /// # Errors
    /// [`ScanError`] when the log may not be read, or the cluster doesn't answer in the time of a scan.
    ///
    /// # Example
    /// ```
    /// # async fn look(kube: argus_core::Kube, mut finding: argus_core::Finding) -> Result<argus_core::Finding, argus_core::ScanError> {
    /// finding.evidence.extend(kube.last_words(&finding).await?);
    /// # Ok(finding)
    /// # }
    /// ```
    pub async fn last_words(&self, finding: &Finding) -> Result<Vec<String>, ScanError> {
        let place = finding.target.strip_prefix("k8s://").unwrap_or_default();
        let parts: Vec<&str> = place.split('/').collect();
        let [namespace, pod, container] = parts.as_slice() else {
            return Ok(Vec::new());
        };
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let read = async |previous| {
            let params = LogParams {
                container: Some((*container).to_owned()),
                previous,
                tail_lines: Some(LINES),
                limit_bytes: Some(BYTES),
                ..LogParams::default()
            };
            match timeout(self.scan_within, pods.logs(pod, &params)).await {
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

    /// The incident with the [`last_words`](Self::last_words) of its first containers, three at most, as evidence for a model.
    ///
    /// # Errors
    /// [`ScanError`] when a log may not be read, or the cluster doesn't answer in the time of a scan.
    pub async fn with_last_words(&self, incident: Incident) -> Result<Incident, ScanError> {
        let mut findings = incident.findings().to_vec();
        let mut heard = 0;
        for finding in &mut findings {
            let words = self.last_words(finding).await?;
            heard += usize::from(!words.is_empty());
            finding.evidence.extend(words);
            if heard == CONTAINERS {
                break;
            }
        }
        Ok(incident.with_findings(findings))
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
mod tests {
    use super::lines;

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
