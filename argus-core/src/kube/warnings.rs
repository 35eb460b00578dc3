//! The API server's warnings about a request, which its answer doesn't hold: they stand in its headers.

use std::sync::{Arc, Mutex, PoisonError};

use ::kube::Client;

use super::Kube;
use crate::redact::redact;

/// The most warnings that are kept of one step.
const MAX_WARNINGS: usize = 10;
/// The longest, in characters.
const MAX_WARNING: usize = 500;

/// What was heard so far.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn add(&self, header: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = warning(&String::from_utf8_lossy(header));
        if heard.len() < MAX_WARNINGS && !heard.contains(&text) {
            heard.push(text);
        }
    }

    pub(super) fn all(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }
}

impl Kube {
    /// The same cluster, whose warnings are heard.
    pub(super) fn heard(&self) -> (Self, Heard) {
        let (heard, client) = (Heard::default(), self.client.clone());
        let ears = heard.clone();
        let service = tower::service_fn(move |request| {
            let (client, ears) = (client.clone(), ears.clone());
            async move {
                let response = client.send(request).await?;
                let headers = response.headers().get_all("warning");
                headers
                    .iter()
                    .for_each(|header| ears.add(header.as_bytes()));
                Ok::<_, ::kube::Error>(response)
            }
        });
        let namespace = self.client.default_namespace().to_owned();
        let kube = Self {
            client: Client::new(service, namespace),
            ..self.clone()
        };
        (kube, heard)
    }
}

/// The text of a header such as `299 - "it is deprecated"`, for people.
fn warning(header: &str) -> String {
    let quoted = header
        .split_once('"')
        .and_then(|(_, rest)| rest.rsplit_once('"'));
    let text = quoted.map_or(header, |(text, _)| text);
    let text = text.replace("\\\"", "\"").replace("\\\\", "\\");
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    redact(&clean.take(MAX_WARNING).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn a_header_is_read_for_people() {
        for (header, text) in [
            ("299 - \"it is deprecated\"", "it is deprecated"),
            ("299 - \"use \\\"b\\\" instead\"", "use \"b\" instead"),
            ("odd", "odd"),
            ("299 - \"a\u{1b}[31m\"", "a [31m"),
        ] {
            assert_eq!(warning(header), text);
        }
        assert_eq!(warning(&"x".repeat(9000)).len(), 500);
    }
}
