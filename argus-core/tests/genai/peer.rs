//! A server that answers as it is told, and what it was sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that gives one answer to everything, and keeps what it was sent.
pub(crate) struct Peer {
    pub(crate) url: String,
    pub(crate) sent: Arc<Mutex<Vec<(String, Value)>>>,
    /// How many bytes of an endless answer were taken.
    pub(crate) written: Arc<AtomicUsize>,
}

impl Peer {
    /// Answers with these bytes, or nothing.
    pub(crate) async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                let (head, body) = loop {
                    if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                        return;
                    }
                    let text = String::from_utf8_lossy(&bytes);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    if let Ok(body) = serde_json::from_str(body) {
                        break (head.to_owned(), body);
                    }
                };
                kept.lock().unwrap().push((head, body));
                if answer.is_empty() {
                    // It never answers, and keeps the line open.
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        drop(stream);
                    });
                    continue;
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let written = Arc::default();
        Self { url, sent, written }
    }

    /// Answers without an end.
    pub(crate) async fn endless() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            stream.read_buf(&mut request).await.unwrap();
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {
                count.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        });
        let sent = Arc::default();
        Self { url, sent, written }
    }

    pub(crate) async fn says(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::start(format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}")).await
    }
}
