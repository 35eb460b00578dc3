//! The routes as programs use them: who may ask for what, what is refused and why, and what stays true whatever is asked.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use argus_core::testing::Scripted;
use argus_core::testing::cluster::Cluster;
use argus_core::{
    Actor, AuditEntry, AuditEvent, AuditQuery, AuditSink, CSV_HEAD, FileAudit, FilePlans,
    IncidentId, Kube, LlmProvider, PlanId, Playbook, Remediator, Scope, Settings, csv,
};
use argus_policy::{Pack, RegoEngine};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use dashboard::guard::{Guard, Role, Transport, User};
use dashboard::{About, Host, Telling, app};
use futures::future::join_all;
use http_body_util::BodyExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tower::ServiceExt;

/// A host of a shop where one app runs out of memory.
struct Shop {
    cluster: Cluster,
    host: Host,
    app: Router,
    audit: FileAudit,
    folder: TempDir,
}

struct Response {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn users() -> Vec<User> {
    let user = |name: &str, role| User {
        name: name.into(),
        role,
        token_sha256: Sha256::digest(name)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    };
    vec![
        user("vera", Role::Viewer),
        user("grace", Role::Operator),
        user("ada", Role::Admin),
    ]
}

impl Shop {
    async fn open(enabled: bool, users: Vec<User>) -> Self {
        Self::open_with(enabled, users, RegoEngine::builtin().unwrap()).await
    }

    async fn open_with(enabled: bool, users: Vec<User>, policy: RegoEngine) -> Self {
        Self::open_asking(enabled, users, policy, Playbook::new()).await
    }

    async fn open_asking(
        enabled: bool,
        users: Vec<User>,
        policy: RegoEngine,
        llm: impl LlmProvider + 'static,
    ) -> Self {
        let cluster = Cluster::start();
        let web = cluster.deployment("shop", "web", "registry.example/web:1");
        let web = web.needs_memory("200Mi").memory_limit("128Mi");
        web.create().await.unwrap();
        let scope = Scope::namespaces(["shop"]).unwrap();
        let kube = Kube::new(cluster.client_as("dashboard"));
        cluster.wait_for_findings(&kube, &scope).await.unwrap();

        let folder = tempfile::tempdir().unwrap();
        let audit = FileAudit::open(folder.path()).await.unwrap();
        let telling = Telling::default();
        let remediator = Remediator::builder()
            .hold(argus_core::testing::SHORT_HOLD)
            .scope(scope)
            .settings(Settings {
                enabled,
                allow_high_risk: false,
            })
            .llm(llm)
            .policy(policy)
            .cluster(kube.clone())
            .audit(audit.clone())
            .plans(FilePlans::open(folder.path().join("plans")).await.unwrap())
            .observe(telling.observer())
            .build()
            .unwrap();
        let about = About {
            cluster: "a test".into(),
            namespaces: vec!["shop".into()],
            model: "fixed rules".into(),
            asks_model: false,
            reading_logs: false,
            remediation_enabled: enabled,
            allow_high_risk: false,
        };
        let path = folder.path().to_owned();
        let host = Host::new(
            about,
            remediator,
            kube,
            audit.clone(),
            path,
            telling,
            Duration::from_secs(30),
        );
        host.refresh().await.unwrap();
        let guard = Guard::new(vec!["localhost".into()], users, Transport::Http);
        Self {
            cluster,
            app: app(host.clone(), guard),
            host,
            audit,
            folder,
        }
    }

    /// The same shop, with browsers that come another way.
    fn behind(mut self, transport: Transport) -> Self {
        let guard = Guard::new(vec!["localhost".into()], users(), transport);
        self.app = app(self.host.clone(), guard);
        self
    }

    /// The cookie of a new login.
    async fn log_in(&self, user: &str) -> String {
        let login = self
            .post("/api/login", Some(json!({ "token": user })))
            .await;
        assert_eq!(login.status, StatusCode::OK, "{}", login.text);
        let cookie = login.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// The status of a login with this token, from this address, with what a proxy would say.
    async fn try_token(&self, token: &str, from: &str, forwarded: &[&str]) -> StatusCode {
        let body = Body::from(json!({ "token": token }).to_string());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/api/login")
            .header("host", "localhost")
            .header("content-type", "application/json");
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        let mut request = request.body(body).unwrap();
        let peer = ConnectInfo(SocketAddr::new(from.parse().unwrap(), 4711));
        request.extensions_mut().insert(peer);
        self.send(request).await.status
    }

    /// What answers a request, before its body was read.
    async fn begin(&self, path: &str, headers: &[(&str, &str)]) -> axum::response::Response {
        let mut request = Request::builder().uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Response {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Response {
            status,
            headers,
            text,
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, None, &[]).await
    }

    async fn post(&self, path: &str, body: Option<Value>) -> Response {
        self.ask(Method::POST, path, body, &[]).await
    }

    /// A plan for the broken app.
    async fn plan(&self) -> String {
        let incidents = self.get("/api/diagnoses").await.json();
        let incident = incidents["incidents"][0]["incident_id"].as_str().unwrap();
        let plan = self.post(&format!("/api/remediate/{incident}"), None).await;
        assert_eq!(plan.status, StatusCode::OK, "{}", plan.text);
        plan.json()["plan_id"].as_str().unwrap().to_owned()
    }

    /// The digest of what it would change.
    async fn tried(&self, plan: &str) -> String {
        let tried = self
            .post(&format!("/api/remediate/{plan}/dry-run"), None)
            .await;
        assert_eq!(tried.status, StatusCode::OK, "{}", tried.text);
        tried.json()["digest"].as_str().unwrap().to_owned()
    }

    /// How often the dashboard changed something.
    fn writes(&self) -> usize {
        let writes = self.cluster.writes();
        let real = writes
            .iter()
            .filter(|write| write.user == "dashboard" && !write.dry_run && write.code == 200);
        real.count()
    }
}

fn yes(digest: &str) -> Value {
    json!({ "digest": digest, "confirmed": true })
}

/// A page that only suggests shows already what will never be run.
#[tokio::test(flavor = "multi_thread")]
async fn a_suggested_plan_says_what_is_never_run() {
    let llm = Scripted::commands(&["kubectl delete namespace shop"]);
    let policy = RegoEngine::builtin().unwrap();
    for (shop, refused) in [
        (
            Shop::open_asking(false, Vec::new(), policy, llm).await,
            vec!["floor-manual"],
        ),
        (Shop::open(false, Vec::new()).await, vec![]),
    ] {
        let incidents = shop.get("/api/diagnoses").await.json();
        let incident = incidents["incidents"][0]["incident_id"].as_str().unwrap();
        let path = format!("/api/remediate/{incident}");
        let plan = shop.post(&path, None).await.json();
        let refusals = plan["refusals"].as_array().unwrap().iter();
        let refusals: Vec<&str> = refusals
            .map(|refusal| refusal["id"].as_str().unwrap())
            .collect();
        assert_eq!(refusals, refused, "{plan}");
        let is_by_hand = !refused.is_empty();
        assert_eq!(plan["steps"][0]["is_destructive"], is_by_hand);
        assert_eq!(plan["risk_level"] == "high", is_by_hand);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_missions_routes_from_incident_to_proof() {
    let shop = Shop::open(true, Vec::new()).await;
    let plan = shop.plan().await;
    let digest = shop.tried(&plan).await;
    assert_eq!(shop.writes(), 0);
    let applied = shop
        .post(&format!("/api/remediate/{plan}/apply"), Some(yes(&digest)))
        .await;
    assert_eq!(applied.status, StatusCode::OK, "{}", applied.text);
    let applied = applied.json();
    assert_eq!(applied["plan_id"], *plan);
    assert_eq!(applied["success"], true);
    assert_eq!(applied["error"], Value::Null);
    assert!(applied["summary"].as_str().unwrap().starts_with("Fixed: "));
    for field in ["executed_at", "output"] {
        assert!(applied[field].is_string(), "{field}");
    }
    assert_eq!(shop.writes(), 1);

    let audit = shop
        .get(&format!("/api/audit?plan_id={plan}&limit=2"))
        .await
        .json();
    assert_eq!(audit[0]["event"], "finished");
    assert_eq!(audit.as_array().unwrap().len(), 2);
    let older = shop.get("/api/audit?before=2").await.json();
    assert_eq!(older[0]["event"], "asked");
    let csv = shop.get("/api/audit.csv").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert!(csv.text.contains("kubectl set resources deployment/web"));
    assert_eq!(shop.get("/api/audit/verify").await.json()["ok"], true);
    let state = shop.get(&format!("/api/plans/{plan}")).await.json();
    assert_eq!(state["state"]["is_finished"], true);
    assert_eq!(
        shop.get("/api/plans").await.json()["plans"][0]["plan_id"],
        *plan
    );

    let undone = shop
        .post(&format!("/api/remediate/{plan}/undo"), None)
        .await;
    assert_eq!(undone.json()["ending"], "undone", "{}", undone.text);
    assert_eq!(shop.writes(), 2);
    let again = shop
        .post(&format!("/api/remediate/{plan}/undo"), None)
        .await;
    assert_eq!(
        (again.status, again.code().as_str()),
        (StatusCode::CONFLICT, "not_undoable")
    );
    assert!(
        shop.get("/metrics")
            .await
            .text
            .contains("argus_plans_executed_total{succeeded=\"true\"} 2")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_asked_not_to_hear_of_is_shown_as_such() {
    let shop = Shop::open(false, Vec::new()).await;
    let deployments: Api<Deployment> = Api::namespaced(shop.cluster.client(), "shop");
    let ignore = json!({ "metadata": { "annotations": { "argus-ops/ignore": "all" } } });
    let ignore = Patch::Merge(ignore);
    let params = PatchParams::default();
    deployments.patch("web", &params, &ignore).await.unwrap();
    shop.host.refresh().await.unwrap();
    let scan = shop.get("/api/scan").await.json();
    assert_eq!((&scan["total"], &scan["findings"]), (&json!(0), &json!([])));
    let ignored = scan["ignored"].as_array().unwrap().len();
    assert!(ignored > 0);
    let metrics = shop.get("/metrics").await.text;
    assert!(
        metrics.contains(&format!("argus_findings_ignored {ignored}\n")),
        "{metrics}"
    );
    assert!(!metrics.contains("argus_findings{"), "{metrics}");
    let log = shop.get("/api/scan/sarif").await.json();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "oom_killed");
    assert_eq!(result["suppressions"][0]["status"], "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_come_in_parts() {
    let shop = Shop::open(false, Vec::new()).await;
    for number in 0..70 {
        let image = "registry.example/web:does-not-exist";
        let app = shop
            .cluster
            .deployment("shop", &format!("web-{number}"), image);
        app.create().await.unwrap();
    }
    let total = async || {
        shop.host.refresh().await.unwrap();
        shop.get("/api/scan").await.json()["total"]
            .as_u64()
            .unwrap()
    };
    for _ in 0..100 {
        if total().await > 70 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let total = total().await;
    assert!(total > 70);
    let (mut ids, mut worst) = (BTreeSet::new(), Vec::new());
    for offset in (0..total).step_by(30) {
        let part = shop
            .get(&format!("/api/scan?limit=30&offset={offset}"))
            .await
            .json();
        assert_eq!(part["total"], total);
        for finding in part["findings"].as_array().unwrap() {
            ids.insert(finding["finding_id"].as_str().unwrap().to_owned());
            worst.push(finding["severity"] == "high");
        }
    }
    assert_eq!(ids.len() as u64, total, "every finding in one part");
    assert!(worst.is_sorted_by(|a, b| a >= b), "the gravest first");
    let count = async |path: &str, list: &str| {
        let answer = shop.get(path).await.json();
        answer[list].as_array().unwrap().len()
    };
    assert_eq!(count("/api/scan", "findings").await, 50);
    assert_eq!(count("/api/scan", "workloads").await, 50);
    assert_eq!(count("/api/scan?limit=1000000", "workloads").await, 71);
    assert_eq!(count("/api/scan?offset=1000000", "findings").await, 0);
    assert_eq!(count("/api/diagnoses", "incidents").await, 50);
    let diagnoses = shop.get("/api/diagnoses?offset=70").await.json();
    assert_eq!(
        (&diagnoses["total"], &diagnoses["open"]),
        (&json!(71), &json!(71))
    );
    assert_eq!(diagnoses["incidents"].as_array().unwrap().len(), 1);
    for query in ["limit=-1", "limit=many", "page=2"] {
        let answer = shop.get(&format!("/api/scan?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    let shop = Shop::open(true, Vec::new()).await;
    let plan = shop.plan().await;
    let digest = shop.tried(&plan).await;
    let apply = format!("/api/remediate/{plan}/apply");
    let refused = async |body: Value, status: StatusCode, code: &str| {
        let response = shop.post(&apply, Some(body)).await;
        assert_eq!(response.status, status, "{}", response.text);
        assert_eq!(response.headers["content-type"], "application/problem+json");
        assert_eq!(response.code(), code);
        assert!(response.json()["detail"].as_str().unwrap().len() > 20);
    };
    let other = format!("sha256:{}", "0".repeat(64));
    refused(yes(&other), StatusCode::CONFLICT, "stale").await;
    let unconfirmed = json!({ "digest": digest, "confirmed": false });
    refused(unconfirmed, StatusCode::FORBIDDEN, "not_approved").await;
    let misspelt = json!({ "digest": digest, "confirmed": true, "typed": "web" });
    refused(misspelt, StatusCode::UNPROCESSABLE_ENTITY, "bad_request").await;
    let no_digest = json!({ "digest": "x", "confirmed": true });
    refused(no_digest, StatusCode::UNPROCESSABLE_ENTITY, "bad_request").await;
    let query = shop.get("/api/audit?limt=3").await;
    assert_eq!(
        (query.status, query.code().as_str()),
        (StatusCode::BAD_REQUEST, "bad_request")
    );
    assert!(query.text.contains("limt"), "{}", query.text);
    for unknown in [
        "PLAN-00000000000000000000000000000000",
        "x",
        "..%2F..%2Fetc",
    ] {
        let path = format!("/api/remediate/{unknown}/apply");
        let response = shop.post(&path, Some(yes(&digest))).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{}", response.text);
    }
    assert_eq!(
        shop.post("/api/remediate/INC-none", None).await.status,
        StatusCode::NOT_FOUND
    );
    let huge = json!({ "digest": "x".repeat(100_000), "confirmed": true });
    assert_eq!(
        shop.post(&apply, Some(huge)).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(shop.writes(), 0);

    // Somebody changes the app after the dry run.
    let changed = shop
        .cluster
        .deployment("shop", "web", "registry.example/web:2");
    changed
        .needs_memory("200Mi")
        .memory_limit("128Mi")
        .update()
        .await
        .unwrap();
    refused(yes(&digest), StatusCode::CONFLICT, "stale").await;
    assert_eq!(shop.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_means_that_nothing_is_carried_out() {
    let shop = Shop::open(false, Vec::new()).await;
    let plan = shop.plan().await;
    let digest = shop.tried(&plan).await;
    let response = shop
        .post(&format!("/api/remediate/{plan}/apply"), Some(yes(&digest)))
        .await;
    assert_eq!(
        (response.status, response.code().as_str()),
        (StatusCode::FORBIDDEN, "disabled")
    );
    let response = shop
        .post(&format!("/api/remediate/{plan}/undo"), None)
        .await;
    assert_eq!(
        (response.status, response.code().as_str()),
        (StatusCode::FORBIDDEN, "disabled")
    );
    assert_eq!(shop.writes(), 0);
}

/// A pack that wants two people for every plan.
fn pairs() -> RegoEngine {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "name: pairs\nversion: 1.0.0\ndescription: Two people.\nrules:\n  - {id: pairs-two, phases: [plan]}\n";
    let rego = r#"package argus.packs.pairs

import rego.v1

# METADATA
# title: Two people
# custom:
#   id: pairs-two
passed contains "pairs-two" if count(input.plan.steps) == 0

require_approval contains {"id": "pairs-two", "step": null, "message": "two people have to look at it", "hint": "ask somebody else too", "people": 2} if count(input.plan.steps) > 0
"#;
    std::fs::write(folder.path().join("pack.yaml"), manifest).unwrap();
    std::fs::write(folder.path().join("pairs.rego"), rego).unwrap();
    let pack = Pack::load(folder.path()).unwrap();
    RegoEngine::builtin().unwrap().with(pack).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_where_policy_wants_two() {
    let shop = Shop::open_with(true, users(), pairs()).await;
    let as_user = async |user: &str, path: &str, body: Option<Value>| {
        let token = format!("Bearer {user}");
        shop.ask(Method::POST, path, body, &[("authorization", &token)])
            .await
    };
    let token = [("authorization", "Bearer grace")];
    let incidents = shop
        .ask(Method::GET, "/api/diagnoses", None, &token)
        .await
        .json();
    let incident = incidents["incidents"][0]["incident_id"].as_str().unwrap();
    let plan = as_user("grace", &format!("/api/remediate/{incident}"), None)
        .await
        .json();
    let path = format!("/api/remediate/{}", plan["plan_id"].as_str().unwrap());
    let tried = as_user("grace", &format!("{path}/dry-run"), None)
        .await
        .json();
    assert_eq!(tried["people"], 2);
    let digest = tried["digest"].as_str().unwrap();
    let apply = format!("{path}/apply");
    // The same one again is one; another digest is another plan.
    for _ in 0..2 {
        let alone = as_user("grace", &apply, Some(yes(digest))).await;
        assert_eq!(
            (alone.status, alone.code().as_str()),
            (StatusCode::FORBIDDEN, "not_approved")
        );
        assert_eq!(alone.json()["so_far"], 1);
    }
    let viewer = as_user("vera", &apply, Some(yes(digest))).await;
    assert_eq!(viewer.code(), "role");
    assert_eq!(shop.writes(), 0);
    let both = as_user("ada", &apply, Some(yes(digest))).await;
    assert_eq!(both.json()["success"], true, "{}", both.text);
    assert_eq!(shop.writes(), 1);
    let audit = shop
        .ask(Method::GET, "/api/audit?event=approved", None, &token)
        .await
        .json();
    assert_eq!(audit.as_array().unwrap().len(), 1);
    let said = audit[0]["outcome"].as_str().unwrap();
    assert!(said.ends_with(", together with ada"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_execution() {
    let shop = Shop::open(true, Vec::new()).await;
    let plan = shop.plan().await;
    let digest = shop.tried(&plan).await;
    let path = format!("/api/remediate/{plan}/apply");
    let key = [("idempotency-key", "one")];
    let requests = (0..16).map(|_| shop.ask(Method::POST, &path, Some(yes(&digest)), &key));
    let answers = join_all(requests).await;
    let first = answers[0].text.clone();
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.text, first);
    }
    assert_eq!(shop.writes(), 1);
    // Without a key each is asked for anew, and there is nothing left to change.
    let without = shop.post(&path, Some(yes(&digest))).await;
    assert_eq!(without.code(), "dry_run_failed", "{}", without.text);
    assert_eq!(shop.writes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_without_a_key_change_one_object_once() {
    let shop = Shop::open(true, Vec::new()).await;
    let plan = shop.plan().await;
    let digest = shop.tried(&plan).await;
    let path = format!("/api/remediate/{plan}/apply");
    let requests = (0..32).map(|_| shop.post(&path, Some(yes(&digest))));
    let answers = join_all(requests).await;
    let done = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::OK);
    assert_eq!(done.count(), 1);
    for answer in answers
        .iter()
        .filter(|answer| answer.status != StatusCode::OK)
    {
        let code = answer.code();
        assert!(
            ["busy", "stale", "dry_run_failed"].contains(&code.as_str()),
            "{}",
            answer.text
        );
    }
    assert_eq!(shop.writes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_stop_the_plan() {
    let shop = Shop::open(true, Vec::new()).await;
    let plan = shop.plan().await;
    let digest = shop.tried(&plan).await;
    let path = format!("/api/remediate/{plan}/apply");
    let request = shop.post(&path, Some(yes(&digest)));
    let left = tokio::time::timeout(Duration::from_millis(15), request).await;
    assert!(left.is_err(), "it was done before the client could leave");
    let ended = async {
        while shop.host.running() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, ended).await.expect("it ends");
    assert_eq!(shop.writes(), 1);
    let state = shop.get(&format!("/api/plans/{plan}")).await.json();
    assert_eq!(state["state"]["is_finished"], true, "{state}");
}

/// Every route that changes something, or costs something.
fn acting(plan: &str, digest: &str) -> Vec<(Role, String, Option<Value>)> {
    vec![
        (Role::Operator, "/api/scan".into(), None),
        (Role::Operator, "/api/diagnose".into(), None),
        (Role::Operator, "/api/remediate/INC-none".into(), None),
        (
            Role::Operator,
            format!("/api/remediate/{plan}/dry-run"),
            None,
        ),
        (
            Role::Operator,
            format!("/api/remediate/{plan}/apply"),
            Some(yes(digest)),
        ),
        (Role::Operator, format!("/api/remediate/{plan}/undo"), None),
        (
            Role::Admin,
            "/api/settings".into(),
            Some(json!({ "watch_interval": 7 })),
        ),
    ]
}

const READING: [&str; 10] = [
    "/api/status",
    "/api/scan",
    "/api/scan/sarif",
    "/api/diagnoses",
    "/api/trend",
    "/api/settings",
    "/api/plans",
    "/api/audit",
    "/api/audit.csv",
    "/metrics",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_it_may_and_nothing_more() {
    let shop = Shop::open(false, users()).await;
    let (plan, digest) = (
        "PLAN-00000000000000000000000000000000",
        format!("sha256:{}", "0".repeat(64)),
    );
    for path in READING {
        assert_eq!(
            shop.get(path).await.status,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
        for user in ["vera", "grace", "ada"] {
            let token = format!("Bearer {user}");
            let response = shop
                .ask(Method::GET, path, None, &[("authorization", &token)])
                .await;
            assert_eq!(response.status, StatusCode::OK, "{user} {path}");
        }
    }
    for (needed, path, body) in acting(plan, &digest) {
        let response = shop.post(&path, body.clone()).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED, "{path}");
        for user in users() {
            let token = format!("Bearer {}", user.name);
            let response = shop
                .ask(
                    Method::POST,
                    &path,
                    body.clone(),
                    &[("authorization", &token)],
                )
                .await;
            let may = user.role >= needed;
            assert_eq!(
                response.code() != "role",
                may,
                "{} {path}: {}",
                user.name,
                response.text
            );
        }
    }
    // Without a login there is the page, and nothing behind it.
    for path in [
        "/",
        "/app.js",
        "/app.css",
        "/icon.svg",
        "/healthz",
        "/readyz",
    ] {
        assert_eq!(shop.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in_and_out_and_guessing() {
    let shop = Shop::open(false, users()).await;
    let login = shop
        .post("/api/login", Some(json!({ "token": "grace" })))
        .await;
    assert_eq!(login.status, StatusCode::OK);
    let cookie = login.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with_cookie = [("cookie", cookie.as_str())];
    let me = shop.ask(Method::GET, "/api/me", None, &with_cookie).await;
    assert_eq!(me.json(), json!({ "name": "grace", "role": "operator" }));
    shop.ask(Method::POST, "/api/logout", None, &with_cookie)
        .await;
    let me = shop.ask(Method::GET, "/api/me", None, &with_cookie).await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);

    let wrong = async || {
        let answer = shop
            .post("/api/login", Some(json!({ "token": "guess" })))
            .await;
        answer.status
    };
    for _ in 0..10 {
        assert_eq!(wrong().await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(wrong().await, StatusCode::TOO_MANY_REQUESTS);
    // Nobody who has a token is kept out by those who guess.
    shop.log_in("grace").await;
    let bearer = async |token: &str| {
        let token = format!("Bearer {token}");
        let answer = shop
            .ask(
                Method::GET,
                "/api/status",
                None,
                &[("authorization", &token)],
            )
            .await;
        answer.status
    };
    assert_eq!(bearer("grace").await, StatusCode::OK);
    assert_eq!(bearer("guess").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(bearer("grace").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_counted_by_the_address_that_can_be_trusted() {
    let (first, later) = (StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS);
    let shop = Shop::open(false, users()).await;
    for _ in 0..10 {
        assert_eq!(shop.try_token("guess", "192.0.2.1", &[]).await, first);
    }
    // What a client says of itself changes nothing, where no proxy stands in front.
    let said = shop.try_token("guess", "192.0.2.1", &["198.51.100.7"]);
    assert_eq!(said.await, later);
    let mapped = shop.try_token("guess", "::ffff:192.0.2.1", &[]);
    assert_eq!(mapped.await, later);
    assert_eq!(shop.try_token("guess", "192.0.2.2", &[]).await, first);
    assert_eq!(
        shop.try_token("grace", "192.0.2.1", &[]).await,
        StatusCode::OK
    );
    // One client has all addresses of its network.
    for last in 0..10 {
        let from = format!("2001:db8:1:2::{last}");
        assert_eq!(shop.try_token("guess", &from, &[]).await, first);
    }
    assert_eq!(
        shop.try_token("guess", "2001:db8:1:2:ff::", &[]).await,
        later
    );
    assert_eq!(shop.try_token("guess", "2001:db8:1:3::", &[]).await, first);

    // Behind a proxy the last address is the proxy's word, and those before it the client's.
    let shop = shop.behind(Transport::Proxy);
    for number in 0..10 {
        let lie = format!("203.0.113.{number}");
        let both = format!("{lie}, 198.51.100.7");
        let forwarded: &[&str] = if number % 2 == 0 {
            &[&both]
        } else {
            &[&lie, "198.51.100.7"]
        };
        assert_eq!(shop.try_token("guess", "10.0.0.1", forwarded).await, first);
    }
    assert_eq!(
        shop.try_token("guess", "10.0.0.1", &["198.51.100.7"]).await,
        later
    );
    assert_eq!(
        shop.try_token("guess", "10.0.0.1", &["198.51.100.8"]).await,
        first
    );
    assert_eq!(
        shop.try_token("guess", "10.0.0.1", &["nonsense"]).await,
        first
    );
    assert_eq!(
        shop.try_token("grace", "10.0.0.1", &["198.51.100.7"]).await,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_logins_end_nobody_elses() {
    let shop = Shop::open(false, users()).await;
    let is_in = async |cookie: &str| {
        let me = shop
            .ask(Method::GET, "/api/me", None, &[("cookie", cookie)])
            .await;
        me.status == StatusCode::OK
    };
    let ada = shop.log_in("ada").await;
    let mut veras = Vec::new();
    for _ in 0..1_100 {
        veras.push(shop.log_in("vera").await);
    }
    assert!(is_in(&ada).await);
    // Of her own the latest twenty are left.
    for (number, vera) in veras.iter().enumerate().skip(1_060) {
        assert_eq!(is_in(vera).await, number >= 1_080, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_passes_on_is_nobodys_without_users() {
    let shop = Shop::open(true, Vec::new()).await;
    for header in ["forwarded", "via", "x-forwarded-for", "x-real-ip"] {
        let answer = shop
            .ask(Method::POST, "/api/scan", None, &[(header, "192.0.2.1")])
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::FORBIDDEN, "no_users"),
            "{header}"
        );
        let me = shop
            .ask(Method::GET, "/api/me", None, &[(header, "192.0.2.1")])
            .await;
        assert_eq!(me.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(shop.post("/api/scan", None).await.status, StatusCode::OK);
}

/// The next part of a stream; none if it ended.
async fn next(body: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(20), body.frame());
    let frame = frame.await.unwrap()?;
    let data = frame.unwrap().into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_end_with_the_login_that_asked_for_them() {
    let shop = Shop::open(false, users()).await;
    let (vera, ada) = (shop.log_in("vera").await, shop.log_in("ada").await);
    let mut of_vera = shop
        .begin("/api/events", &[("cookie", &vera)])
        .await
        .into_body();
    let mut of_ada = shop
        .begin("/api/events", &[("cookie", &ada)])
        .await
        .into_body();
    shop.host.refresh().await.unwrap();
    let scan = "event: scan\ndata: {}\n\n";
    assert_eq!(next(&mut of_vera).await.as_deref(), Some(scan));
    assert_eq!(next(&mut of_ada).await.as_deref(), Some(scan));
    let out = shop
        .ask(Method::POST, "/api/logout", None, &[("cookie", &vera)])
        .await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(next(&mut of_vera).await, None);
    shop.host.refresh().await.unwrap();
    assert_eq!(next(&mut of_ada).await.as_deref(), Some(scan));
    // A login that makes way for newer ones ends the same.
    for _ in 0..20 {
        shop.log_in("ada").await;
    }
    assert_eq!(next(&mut of_ada).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_while_it_is_taken_and_only_two_at_a_time() {
    let shop = Shop::open(false, Vec::new()).await;
    let entry = |number: usize| AuditEntry {
        outcome: Some(format!("{number} {}", "x".repeat(500)).into()),
        ..AuditEntry::new(
            AuditEvent::Suggested,
            IncidentId::new("INC-1").unwrap(),
            PlanId::try_from(format!("PLAN-{:032x}", 1)).unwrap(),
            Actor::user("ada").unwrap(),
        )
    };
    let appends = (0..3_000).map(|number| shop.audit.append(entry(number)));
    for appended in join_all(appends).await {
        appended.unwrap();
    }
    let records = shop.audit.records(&AuditQuery::default()).await.unwrap();
    let whole: String = [CSV_HEAD.to_owned()]
        .into_iter()
        .chain(records.iter().map(csv))
        .collect();
    // Two that are begun and not taken; what isn't taken isn't read.
    let mut begun = shop.begin("/api/audit.csv", &[]).await.into_body();
    let other = shop.begin("/api/audit.csv", &[]).await.into_body();
    assert_eq!(next(&mut begun).await.as_deref(), Some(CSV_HEAD));
    let third = shop.get("/api/audit.csv").await;
    assert_eq!(
        (third.status, third.code().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "too_many")
    );
    assert!(third.text.contains("exported by others"), "{}", third.text);
    let mut taken = CSV_HEAD.to_owned();
    while let Some(part) = next(&mut begun).await {
        assert!(part.len() < 300 * 1_000, "{}", part.len());
        taken.push_str(&part);
    }
    assert!(taken == whole, "{} bytes of {}", taken.len(), whole.len());
    // Whoever leaves makes way.
    drop(other);
    for _ in 0..200 {
        let answer = shop.get("/api/audit.csv?event=suggested&limit=2").await;
        if answer.status == StatusCode::OK {
            assert_eq!(answer.text.lines().count(), 3);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a table that nobody takes any more keeps others out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_is_checked_once_for_all_who_ask() {
    let shop = Shop::open(false, Vec::new()).await;
    let answers = join_all((0..20).map(|_| shop.get("/api/audit/verify"))).await;
    let first = answers[0].json();
    assert_eq!(
        (&first["ok"], &first["unproven"]),
        (&json!(true), &json!(0))
    );
    for answer in &answers {
        assert_eq!(answer.json(), first, "one check, one result");
    }
    // After a moment it is checked again, and what is missing before the first record is said.
    let records = shop
        .folder
        .path()
        .join("records-00000000000000000001.jsonl");
    let base = json!({ "records": 3, "digest": format!("sha256:{}", "0".repeat(64)),
        "peaks": vec![format!("sha256:{}", "1".repeat(64)); 2], "checkpoint": "" });
    std::fs::remove_file(records).unwrap();
    std::fs::write(shop.folder.path().join("base.json"), base.to_string()).unwrap();
    assert_eq!(shop.get("/api/audit/verify").await.json(), first);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let again = shop.get("/api/audit/verify").await.json();
    assert_eq!(
        (&again["records"], &again["unproven"]),
        (&json!(3), &json!(3)),
        "{again}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pages_and_other_names_are_kept_out() {
    let shop = Shop::open(true, Vec::new()).await;
    let with = async |method: Method, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri("/api/scan");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        shop.send(request.body(Body::empty()).unwrap()).await
    };
    let ok = StatusCode::OK;
    let own = ("host", "localhost:8080");
    assert_eq!(with(Method::POST, &[own]).await.status, ok);
    assert_eq!(
        with(Method::POST, &[own, ("origin", "http://localhost:8080")])
            .await
            .status,
        ok
    );
    for origin in [
        "http://evil.example",
        "http://localhost:8081",
        "null",
        "http://localhost:8080.evil.example",
        "https://localhost",
    ] {
        let response = with(Method::POST, &[own, ("origin", origin)]).await;
        assert_eq!(response.code(), "origin", "{origin}");
    }
    for site in ["cross-site", "same-site", "none"] {
        let response = with(Method::POST, &[own, ("sec-fetch-site", site)]).await;
        assert_eq!(response.code(), "origin", "{site}");
    }
    // A name that leads here by somebody else's DNS.
    for host in ["evil.example", "localhost.evil.example:8080", ""] {
        let response = with(Method::GET, &[("host", host)]).await;
        assert_eq!(response.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let page = shop.get("/").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe")
    );
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(page.headers[name], value);
    }
    assert_eq!(
        shop.get("/api/status").await.headers["cache-control"],
        "no-store"
    );
    assert!(
        !page.text.contains("<script>")
            && !page.text.contains("style=")
            && !page.text.contains("//")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_there_is() {
    let shop = Shop::open(false, Vec::new()).await;
    let document = shop.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/api/remediate/{id}",
        "/api/remediate/{id}/apply",
        "/api/audit",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        }
    }
    let result = &document["components"]["schemas"]["Applied"]["properties"];
    for field in [
        "plan_id",
        "executed_at",
        "success",
        "output",
        "error",
        "summary",
    ] {
        assert!(result[field].is_object(), "{field}: {result}");
    }
}

#[tokio::test]
async fn what_a_model_says_of_an_incident_stays_until_its_findings_change() {
    let answer = json!({ "root_cause": "The new report needs more memory", "explanation": "It reads a whole year at once.",
        "confidence": 0.8, "recommendations": ["Read a month at a time."] });
    let llm = Scripted::new(answer.to_string());
    let policy = RegoEngine::builtin().unwrap();
    let shop = Shop::open_asking(false, users(), policy, llm).await;
    let ask = async |method: Method, path: &str, user: &str| {
        let token = format!("Bearer {user}");
        shop.ask(method, path, None, &[("authorization", &token)])
            .await
    };
    let of = |response: &Response| response.json()["incidents"][0].clone();
    let before = ask(Method::GET, "/api/diagnoses", "vera").await;
    let id = of(&before)["incident_id"].as_str().unwrap().to_owned();
    let path = format!("/api/diagnose/{id}");
    let viewer = ask(Method::POST, &path, "vera").await;
    assert_eq!(viewer.status, StatusCode::FORBIDDEN);
    let unknown = ask(Method::POST, "/api/diagnose/INC-0", "grace").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);

    let asked = ask(Method::POST, &path, "grace").await;
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.text);
    assert_eq!(
        asked.json()["diagnosis"]["root_cause"],
        answer["root_cause"]
    );
    shop.host.refresh().await.unwrap();
    let after = of(&ask(Method::GET, "/api/diagnoses", "vera").await);
    assert_eq!(after["diagnosis"]["model_used"], "scripted");
    // Something else is wrong with it now, of which the model knows nothing.
    let web: Api<Deployment> = Api::namespaced(shop.cluster.client(), "shop");
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    web.patch("web", &PatchParams::default(), &none)
        .await
        .unwrap();
    for _ in 0..200 {
        shop.host.refresh().await.unwrap();
        let now = of(&ask(Method::GET, "/api/diagnoses", "vera").await);
        if now["diagnosis"]["model_used"] != "scripted" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("an answer outlived what it was about");
}
