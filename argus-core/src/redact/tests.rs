use proptest::prelude::*;
use serde_json::json;

use super::*;
use regex::Regex;
use rules::{ANY, SAYS_SECRET, SECRET_NAME};

mod samples;
mod shapes;

#[test]
fn every_pattern_compiles() {
    assert_eq!(RULES.len(), 19);
    assert!(ANY.is_some() && SECRET_NAME.is_some() && SAYS_SECRET.is_some());
    assert!(commands::ABOUT.is_some());
}

/// A text with `§` in it, and a secret that may stand there.
const CARRIERS: [(&str, &str); 46] = [
    ("Authorization: Bearer §", "abcdef0123456789"),
    ("authorization: Basic §", "dXNlcjpwYXNz"),
    ("curl -H 'Authorization: token §' https://x", "abc123def"),
    ("X-Api-Key: §", "0a1b2c3d4e"),
    ("Cookie: sid=§; theme=dark", "s3ss10n"),
    ("Set-Cookie: §; HttpOnly", "id=a3fWa"),
    ("postgres://app:§@db:5432/shop", "s3cr3t"),
    ("redis://:§@cache:6379/0", "p@ss"),
    ("AMQP://app:§@queue", "pa:ss"),
    (
        "git clone https://§@example.com/x.git",
        "ab01cd23ef45ab01cd23ef45",
    ),
    ("GET /blob?sv=2020&sig=§&se=x", "aGVsbG8lM0Q"),
    ("token: \"§\"", "a token of some kind"),
    ("key § was refused", "ghp_0123456789abcdefghijklmnop"),
    ("§", "github_pat_11ABCDEFG0abcdefghijkl_mnop"),
    ("§", "glpat-abcdEFGH1234ijklMNOP"),
    ("§", "xoxb-123456789012-abcdefghijkl"),
    ("§", "sk-proj-abcdefghijklmnop0123456789"),
    ("§", "sk-ant-api03-abcdefghijklmnop"),
    ("§", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"),
    ("id §", "AKIAIOSFODNN7EXAMPLE"),
    ("§", "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234"),
    ("§", "GOCSPX-abcdefghijklmnopqrstuv"),
    ("§", "sk_live_abcdefghijklmnop"),
    ("§", "SG.abcdefghijklmnopqrst.abcdefghijklmnopqrst"),
    ("§", "npm_abcdefghijklmnopqrstuvwxyz0123456789"),
    ("§", "dckr_pat_abcdefghijklmnopqrstuvwxyz"),
    ("§", "hvs.CAESIabcdefghijklmnopqrstuv"),
    ("§", "glsa_abcdefghijklmnopqrstuvwxyz012345_abcd"),
    (
        "AWS_SECRET_ACCESS_KEY=§",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=§;",
        "Zm9vYmFyYmF6==",
    ),
    ("Server=db;User=sa;Password=§;Encrypt=true", "Hunter2!"),
    (
        "{\"auths\":{\"r.example\":{\"auth\":\"§\"}}}",
        "dXNlcjpwYXNz",
    ),
    ("{\\\"password\\\":\\\"§\\\"}", "hunter2"),
    ("{\"client_secret\": \"§\"}", "two words"),
    ("password: '§'", "it is a sentence"),
    ("PGPASSWORD=§ psql", "hunter2"),
    ("DB_PASS=§", "hunter2"),
    ("db-pass: §", "hunter2"),
    ("mysql --password § -h db", "hunter2"),
    ("vault login --token=§", "abc123def"),
    ("--client-secret \"§\"", "with a space"),
    ("encryption_key => §", "0123456789abcdef"),
    ("§", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0xx.c2lnbmF0dXJl"),
    ("§", "-----BEGIN RSA PRIVATE KEY-----\nMIIabc"),
    (
        "§\nnext line",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----",
    ),
    (
        "§",
        "AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQQPZRY9X8GF2TVDW0S3JN54KHCE",
    ),
];

#[test]
fn planted_secrets_are_gone_and_the_rest_stays() {
    for (carrier, secret) in CARRIERS {
        let text = carrier.replace('§', secret);
        let redacted = redact(&text);
        assert!(!redacted.contains(secret), "{text} -> {redacted}");
        assert!(redacted.contains("[redacted]"), "{text} -> {redacted}");
        assert_eq!(redact(&redacted), redacted, "once is enough");
        // Not more than that: what stood before it is still there.
        let (before, _) = carrier.split_once('§').unwrap_or_default();
        let kept = before.trim_end_matches("sid=");
        assert!(redacted.starts_with(kept), "{text} -> {redacted}");
    }
}

/// What clusters say all day long, with words that are near to secrets.
const BENIGN: [&str; 46] = [
    "registry.example/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "pod web-6d4b75cb6d-x2v9k restarted 12 times",
    "GET http://web.shop:8080/healthz 503",
    "uid 123e4567-e89b-12d3-a456-426614174000 is gone",
    "Back-off restarting failed container app in pod web-6d4b75cb6d-x2v9k_shop(123e4567-e89b-12d3-a456-426614174000)",
    "Failed to pull image \"registry.example/shop/web:v1.2.3-rc.1+build5\": not found",
    "image quay.io/prometheus/node-exporter:v1.8.2",
    "secret \"db-credentials\" not found",
    "MountVolume.SetUp failed for volume \"creds\" : secret \"db-creds\" not found",
    "couldn't find key password in Secret shop/db",
    "token expired, asking for another",
    "error: token: expired",
    "password: null",
    "Error: password is required",
    "secretName: web-tls",
    "{\"secretKeyRef\":{\"name\":\"db\",\"key\":\"password\"}}",
    "{\"imagePullSecrets\":[{\"name\":\"registry\"}]}",
    "{\"max_tokens\": 4096, \"tokens\": 812}",
    "automountServiceAccountToken: false",
    "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available",
    "Liveness probe failed: HTTP probe failed with statuscode: 500",
    "dial tcp 10.96.0.10:53: connect: connection refused",
    "dial tcp [2001:db8::1]:443: i/o timeout",
    "commit 5f2c1a77d0b1c2e3f4a5b6c7d8e9f0a1b2c3d4e5",
    "etag \"33a64df551425fcc55e4d42a148795d9f25f89d4\"",
    "resourceVersion 182736455 observedGeneration 12",
    "deployment.kubernetes.io/revision: 4",
    "checksum/config: 01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
    "user@example.com could not log in from 192.168.1.17",
    "http://example.com:8080/path?page=2&sort=name",
    "ssh://git@example.com:22/repo.git",
    "java.lang.OutOfMemoryError: Java heap space at com.example.TokenService.authenticate(TokenService.java:42)",
    "level=info ts=2026-11-26T10:00:00.000Z caller=main.go:42 msg=\"started\" version=1.2.3",
    "kubectl set resources deployment/web -n shop -c app --limits=memory=512Mi",
    "kubectl patch deployment/web -n shop --type=strategic -p '{\"spec\":{\"replicas\":2}}'",
    "failed to authenticate: x509: certificate signed by unknown authority",
    "basic health checks passed",
    "the author: somebody; compass: north; bypass: yes",
    "keyboard: us; monkey: see; passenger: 3",
    "a task-queue with 3 asks",
    "kubectl get secret > all.yaml",
    "test -f /run/token || exit 1",
    "{\"resources\":[\"secret\",\"configmap\"]}",
    "pods.v1 gateway.networking.k8s.io/v1 sha256:9f86d081",
    "event web-1.17f3a9c0d2b4e6f8 in shop",
    "eye color: green, keys.example.com is down",
];

#[test]
fn what_is_no_secret_stays_as_it_is() {
    for text in BENIGN {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn one_secret_has_one_name_and_is_judged_with_what_stands_beside_it() {
    let spec = json!({
        "env": [{ "name": "DB_PASSWORD", "value": "hunter2" }, { "name": "OTHER_PASSWORD", "value": "hunter3" }, { "name": "MODE", "value": "fast" }],
        "args": ["--password", "hunter2", "--verbose", "now", "--token=hunter3"],
        "api_key": "hunter3",
        "secret": { "kind": "Secret", "metadata": { "name": "db" }, "data": { "tls.crt": "aHVudGVyNA==", "n": 5 } },
        "note": "password \"hunter2\" of db",
        "url": "postgres://app:hunter2@db/shop",
    });
    let serde_json::Value::Object(spec) = spec else {
        return;
    };
    let mut redactor = Redactor::default();
    let kept = serde_json::Value::Object(redactor.map(spec));
    let expected = json!({
        "env": [{ "name": "DB_PASSWORD", "value": "[redacted-1]" }, { "name": "OTHER_PASSWORD", "value": "[redacted-2]" }, { "name": "MODE", "value": "fast" }],
        "args": ["--password", "[redacted-1]", "--verbose", "now", "--token=[redacted-2]"],
        "api_key": "[redacted-2]",
        "secret": { "kind": "Secret", "metadata": { "name": "db" }, "data": { "tls.crt": "[redacted-3]", "n": "[redacted-4]" } },
        "note": "password \"hunter2\" of db",
        "url": "postgres://app:[redacted-1]@db/shop",
    });
    // In the order of the fields, which the map of another build may sort.
    let numbers = |value: &serde_json::Value| {
        let digits = Regex::new(r"-\d\]")
            .map(|digits| digits.replace_all(&value.to_string(), "]").into_owned());
        digits.unwrap_or_default()
    };
    assert_eq!(
        numbers(&kept).replace("hunter2", ""),
        numbers(&expected).replace("hunter2", "")
    );
    assert_eq!(kept["env"][0]["value"], kept["args"][1]);
    assert_eq!(kept["env"][1]["value"], kept["api_key"]);
    assert_ne!(kept["env"][0]["value"], kept["api_key"]);
}

proptest! {
    /// A secret that is planted in any carrier, in whatever text, is gone.
    #[test]
    fn a_planted_secret_is_gone(
        index in 0..CARRIERS.len(), before in "[ -~\n]{0,60}", after in "[ -~\n]{0,60}", secret in "[A-Za-z0-9]{24,40}",
    ) {
        let (carrier, example) = CARRIERS[index];
        // A key that is found by its own looks keeps them.
        let secret = if redact(example) == example { secret } else { example.to_owned() };
        let text = format!("{before}\n{}\n{after}", carrier.replace('§', &secret));
        let redacted = redact(&text);
        prop_assert!(!redacted.contains(&secret), "{} -> {}", text, redacted);
    }

    /// Whatever comes in, nothing grows without bound and nothing fails.
    #[test]
    fn any_text_is_bounded(text in "\\PC{0,300}") {
        prop_assert!(redact(&text).chars().count() <= 20 * text.chars().count() + 20);
    }
}
