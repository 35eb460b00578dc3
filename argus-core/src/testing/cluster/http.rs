//! The cluster over HTTP: responses, and the handle of a server on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;

use ::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::task::AbortHandle;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A served cluster; dropped, it no longer takes connections.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    task: AbortHandle,
}

impl Served {
    pub(super) fn new(address: SocketAddr, task: AbortHandle) -> Self {
        Self { address, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for it, as YAML.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: memory\n  cluster: {{server: \"http://{}\"}}\nusers:\n- name: memory\n  user: {{}}\n\
             contexts:\n- name: memory\n  context: {{cluster: memory, user: memory}}\ncurrent-context: memory\n",
            self.address
        )
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The value of a query parameter.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| {
                    byte.and_then(|byte| char::from(byte).to_digit(16))
                        .and_then(|digit| u8::try_from(digit).ok())
                        .unwrap_or(0)
                };
                digit(rest.next()) * 16 + digit(rest.next())
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn json_response(code: u16, object: &Value) -> Response<Body> {
    response(
        code,
        "application/json",
        Full::new(Bytes::from(object.to_string())).boxed_unsync(),
    )
}

pub(super) fn response(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The answer with what the API server warns of in an object that is written: labels of nodes that have other names today.
pub(super) fn warned(method: &str, code: u16, object: &Value) -> Response<Body> {
    const OLD: [(&str, &str); 2] = [
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ];
    let mut response = json_response(code, object);
    let place = "/spec/template/spec/nodeSelector";
    let selector = object
        .pointer(place)
        .filter(|_| method != "GET" && code < 300);
    for (old, new) in OLD {
        if selector.is_some_and(|selector| selector.get(old).is_some()) {
            let text = format!(
                "299 - \"spec.template.spec.nodeSelector[{old}]: deprecated since v1.14; use \\\"{new}\\\" instead\""
            );
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
    }
    response
}
