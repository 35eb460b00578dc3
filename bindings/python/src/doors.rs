//! The doors that a Python host opens: who writes plans, who judges them, the cluster, the trail.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use argus_core::testing::cluster::{Cluster, Served};
use argus_core::{
    ActionError, Anonymous, Answer, ApprovalError, Approver, AuditQuery, AuditRecord, AuditSink,
    Completion, CopiedAudit, Fallback, GenAi as CoreGenAi, JsonCluster, JsonDoor, JsonRefusal,
    JsonRefusalKind, Kube as CoreKube, LlmError, LlmProvider, PlanId, PolicyInput,
    PostgresAudit as Postgres, Quantity, RecordCopy, Scope, Settings, Usage, Wire, floor,
};
use argus_policy::{PackKey, RegoEngine};
use async_trait::async_trait;
use futures::FutureExt;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::{
    Bound, Py, PyAny, PyAnyMethods, PyErr, PyModule, PyRef, PyResult, Python, pyclass, pymethods,
};
use pyo3::types::{PyDict, PyList, PyListMethods};
use serde_json::{Map, Value};
use tokio::task::JoinError;

use crate::convert::{from_python, to_python};
use crate::errors;
use crate::runtime::{enter, wait};
use crate::states::{DryRun, Plan};

/// How long pods of the cluster in memory may take to start.
const STARTING: Duration = Duration::from_secs(2);

/// Plans by fixed rules, offline: no model.
#[pyclass(frozen, module = "argus")]
pub(crate) struct Playbook(argus_core::Playbook);

#[pymethods]
impl Playbook {
    /// No app gets more than `most_memory`, such as `2Gi`, or than the largest node has.
    #[new]
    #[pyo3(signature = (*, most_memory=None))]
    fn new(most_memory: Option<String>) -> PyResult<Self> {
        let mut playbook = argus_core::Playbook::new();
        if let Some(most) = most_memory {
            let most = Quantity::new(most);
            let wrong = |error: ActionError| PyValueError::new_err(error.to_string());
            playbook = playbook.most_memory(most.map_err(wrong)?);
        }
        Ok(Self(playbook))
    }
}

/// A language model, hosted or local, over the protocol that it speaks.
#[pyclass(frozen, module = "argus")]
pub(crate) struct GenAi(Arc<dyn LlmProvider>);

#[pymethods]
impl GenAi {
    /// `wire` is `openai` (and whatever is compatible), `openai-responses`, `anthropic`, `gemini`, `bedrock` or `ollama`. With
    /// `anonymous` it doesn't learn the names of namespaces and objects, images and addresses.
    #[new]
    #[pyo3(signature = (model, *, wire="openai", endpoint=None, key=None, timeout=120.0, anonymous=false))]
    fn new(
        py: Python<'_>,
        model: &str,
        wire: &str,
        endpoint: Option<String>,
        key: Option<String>,
        timeout: f64,
        anonymous: bool,
    ) -> PyResult<Self> {
        let wire = wire
            .parse::<Wire>()
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut options = CoreGenAi::model(model)
            .wire(wire)
            .timeout(seconds(timeout)?);
        if let Some(endpoint) = endpoint {
            options = options.endpoint(endpoint);
        }
        if let Some(key) = key {
            options = options.key(key);
        }
        let model = options
            .build()
            .map_err(|error| errors::plain(py, "NoPlan", &error))?;
        Ok(Self(match anonymous {
            true => Arc::new(Anonymous::new(model)),
            false => Arc::new(model),
        }))
    }
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("{seconds} is no number of seconds")))
}

/// What a provider is asked.
#[pyclass(frozen, module = "argus")]
pub(crate) struct Prompt(argus_core::Prompt);

#[pymethods]
impl Prompt {
    /// What is asked for: `plan` or `diagnosis`.
    #[getter]
    fn question<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.question())
    }
    /// The rules.
    #[getter]
    fn system(&self) -> &str {
        self.0.system()
    }
    /// The incident, fenced as untrusted.
    #[getter]
    fn user(&self) -> &str {
        self.0.user()
    }
    /// The JSON Schema of the answer.
    #[getter]
    fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, self.0.schema())
    }
    /// Answers that couldn't be used, oldest first, each with what is wrong with it.
    #[getter]
    fn turns(&self) -> Vec<(String, String)> {
        let turns = self.0.turns().iter();
        turns
            .map(|turn| (turn.answer.to_string(), turn.problem.to_string()))
            .collect()
    }
}

/// Calls `argus._doors` about a host's object, on a thread where it may block; the outer error is a call that did not come to its
/// end.
async fn asked<T: Send + 'static>(
    object: &Py<PyAny>,
    call: impl FnOnce(&Bound<'_, PyModule>, Py<PyAny>) -> PyResult<T> + Send + 'static,
) -> Result<PyResult<T>, JoinError> {
    let object = Python::attach(|py| object.clone_ref(py));
    let ask = move || Python::attach(|py| call(&py.import("argus._doors")?, object));
    tokio::task::spawn_blocking(ask).await
}

/// A provider that is a Python object with a method `complete(prompt)`.
struct PythonLlm(Py<PyAny>);

#[async_trait]
impl LlmProvider for PythonLlm {
    async fn complete(&self, prompt: &argus_core::Prompt) -> Result<Completion, LlmError> {
        let prompt = Prompt(prompt.clone());
        let answer = asked(
            &self.0,
            |doors, provider| -> PyResult<(String, String, u64, u64)> {
                doors
                    .call_method1("complete", (provider, prompt))?
                    .extract()
            },
        );
        let failed = |problem: &str, source: Box<dyn std::error::Error + Send + Sync>| LlmError {
            source: Some(source),
            ..LlmError::new(problem)
        };
        match answer.await {
            Ok(Ok((text, model, input_tokens, output_tokens))) => Ok(Completion::new(text, model)
                .using(Usage {
                    input_tokens,
                    output_tokens,
                })),
            Ok(Err(raised)) => Err(failed("the provider raised an exception", raised.into())),
            Err(error) => Err(failed("the provider did not come to its end", error.into())),
        }
    }
}

/// Whoever is asked about a plan: a Python callable.
pub(crate) struct PythonApprover(pub(crate) Py<PyAny>);

#[async_trait]
impl Approver for PythonApprover {
    async fn decide(&self, dry_run: &argus_core::DryRun) -> Result<Answer, ApprovalError> {
        let dry_run = DryRun(dry_run.clone());
        let answer = asked(&self.0, |doors, approver| -> PyResult<String> {
            doors.call_method1("decide", (approver, dry_run))?.extract()
        });
        let unreachable =
            |problem: &dyn std::fmt::Display| ApprovalError::Unreachable(problem.to_string());
        let answer = answer.await.map_err(|error| unreachable(&error))?;
        let answer =
            answer.map_err(|raised| unreachable(&format!("the approver raised {raised}")))?;
        serde_json::from_str(&answer)
            .map_err(|error| unreachable(&format!("the answer is none: {error}")))
    }
}

/// Whatever may write plans; of a list, each where the one before gives no answer.
pub(crate) fn provider(object: &Bound<'_, PyAny>) -> PyResult<Arc<dyn LlmProvider>> {
    if let Ok(several) = object.cast::<PyList>() {
        let several: PyResult<Vec<_>> = several.iter().map(|one| provider(&one)).collect();
        let mut several = several?.into_iter();
        let first = several
            .next()
            .ok_or_else(|| PyValueError::new_err("llm is an empty list: name a provider"))?;
        let all = several.fold(Fallback::new(first), |all, next| all.then(next));
        return Ok(Arc::new(all));
    }
    if let Ok(playbook) = object.extract::<PyRef<'_, Playbook>>() {
        return Ok(Arc::new(playbook.0.clone()));
    }
    if let Ok(model) = object.extract::<PyRef<'_, GenAi>>() {
        return Ok(Arc::clone(&model.0));
    }
    if !object.hasattr("complete")? {
        let problem = "llm has to be Playbook(), GenAi(...), an object with a method `complete(prompt)`, or a list of them";
        return Err(pyo3::exceptions::PyTypeError::new_err(problem));
    }
    Ok(Arc::new(PythonLlm(object.clone().unbind())))
}

/// The policy packs: those that Argus comes with, and the host's own.
#[pyclass(frozen, module = "argus")]
pub(crate) struct PolicyEngine(pub(crate) Arc<RegoEngine>);

#[pymethods]
impl PolicyEngine {
    /// `packs` are folders; `parameters` are those of packs, by the pack's name. With `trusted_keys`, Ed25519 public keys in PEM, only packs
    /// that one of them signed are taken, also if the list is empty, and their tests don't run.
    ///
    /// :raises PackError: for a folder that is no pack, a pack that its own tests don't hold or that isn't signed, or what is no key.
    #[new]
    #[pyo3(signature = (packs=None, *, parameters=None, trusted_keys=None))]
    fn new(
        py: Python<'_>,
        packs: Option<Vec<PathBuf>>,
        parameters: Option<&Bound<'_, PyAny>>,
        trusted_keys: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let parameters: BTreeMap<String, Map<String, Value>> = match parameters {
            Some(given) => read(&from_python(given)?)?,
            None => BTreeMap::new(),
        };
        let load = move || {
            let mut engine = RegoEngine::builtin()?;
            if let Some(keys) = &trusted_keys {
                let keys: Result<Vec<_>, _> =
                    keys.iter().map(|pem| PackKey::from_pem(pem)).collect();
                engine = engine.trusting(keys?);
            }
            for folder in packs.iter().flatten() {
                engine = engine.with_pack(folder)?;
            }
            for (pack, of_pack) in &parameters {
                engine = engine.with_parameters(pack, of_pack)?;
            }
            Ok(engine)
        };
        let engine = py.detach(load);
        engine
            .map(|engine| Self(Arc::new(engine)))
            .map_err(|error: argus_policy::PackError| errors::plain(py, "PackError", &error))
    }

    /// The packs by name, each with its revision.
    #[getter]
    fn packs(&self) -> Vec<(String, String)> {
        let packs = self.0.packs().iter();
        packs
            .map(|pack| (pack.name().to_owned(), pack.revision().to_string()))
            .collect()
    }

    /// What the packs, and the floor that no pack can loosen, say about a plan in these namespaces.
    ///
    /// :raises PolicyFailed: when there is no verdict; never an allow.
    #[pyo3(signature = (plan, namespaces, *, allow_high_risk=false))]
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        plan: PyRef<'_, Plan>,
        namespaces: Vec<String>,
        allow_high_risk: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let scope = scope(py, namespaces)?;
        let settings = Settings {
            enabled: true,
            allow_high_risk,
        };
        let input = PolicyInput::of_plan(&plan.0, &scope, settings);
        let floor = floor(&plan.0, &scope, settings);
        let engine = Arc::clone(&self.0);
        // It waits for nothing, so it needs no other thread.
        let evaluated =
            py.detach(|| argus_core::Evaluation::of(&*engine, &input, floor).now_or_never());
        let unready = || PyRuntimeError::new_err("argus failed inside: please report it");
        let evaluation = evaluated.ok_or_else(unready)?;
        let evaluation = evaluation.map_err(|error| errors::plain(py, "PolicyFailed", &error))?;
        to_python(py, &evaluation)
    }
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The namespaces that Argus may work in.
pub(crate) fn scope(py: Python<'_>, namespaces: Vec<String>) -> PyResult<Scope> {
    Scope::namespaces(namespaces).map_err(|error| errors::plain(py, "ScopeError", &error))
}

/// A Kubernetes cluster.
#[pyclass(frozen, module = "argus")]
pub(crate) struct Kube(pub(crate) CoreKube);

#[pymethods]
impl Kube {
    /// The cluster of a kubeconfig file. A step may take `settle_within` seconds to come to rest; a pod is a finding when it is
    /// not ready for `unready_after` seconds. A scan takes at most `scan_within` seconds and says what it didn't come to; with
    /// `seeing_cluster` it looks also at what belongs to no namespace, such as nodes; with `across_namespaces` it lists each
    /// kind once for all namespaces, which takes the right to.
    ///
    /// :raises ClusterError: for a file that is no kubeconfig, or a context that it hasn't.
    #[new]
    #[pyo3(signature = (kubeconfig, *, context=None, settle_within=300.0, unready_after=30.0, scan_within=60.0, seeing_cluster=false, across_namespaces=false))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        kubeconfig: PathBuf,
        context: Option<String>,
        settle_within: f64,
        unready_after: f64,
        scan_within: f64,
        seeing_cluster: bool,
        across_namespaces: bool,
    ) -> PyResult<Self> {
        let (settle, unready) = (seconds(settle_within)?, seconds(unready_after)?);
        let scan = seconds(scan_within)?;
        let kube = wait(py, CoreKube::from_kubeconfig(kubeconfig, context))?;
        let kube = kube.map_err(|error| errors::plain(py, "ClusterError", &error))?;
        let kube = kube.settle_within(settle).unready_after(unready);
        let mut kube = kube.scan_within(scan);
        if seeing_cluster {
            kube = kube.seeing_cluster();
        }
        if across_namespaces {
            kube = kube.across_namespaces();
        }
        Ok(Self(kube))
    }

    /// The incident with what its broken containers logged last, three at most, as evidence for a model, redacted; of containers outside
    /// the namespaces of `scope` nothing is read. Logs may hold anything: it takes the right to read them.
    ///
    /// :raises IncidentError: for what is no incident.
    /// :raises ScanFailed: when a log may not be read, or the cluster doesn't answer.
    fn with_last_words<'py>(
        &self,
        py: Python<'py>,
        incident: &Bound<'py, PyAny>,
        scope: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (kube, incident) = (self.0.clone(), crate::remediator::incident(py, incident)?);
        let scope = self::scope(py, scope)?;
        let heard = wait(
            py,
            async move { kube.with_last_words(incident, &scope).await },
        )?;
        let incident = heard.map_err(|error| errors::plain(py, "ScanFailed", &error))?;
        to_python(py, &incident)
    }

    /// The cluster that this process runs in, as its service account.
    ///
    /// :raises ClusterError: outside of a cluster.
    #[staticmethod]
    fn in_cluster(py: Python<'_>) -> PyResult<Self> {
        let kube = wait(py, async { CoreKube::in_cluster() })?;
        kube.map(Self)
            .map_err(|error| errors::plain(py, "ClusterError", &error))
    }
}

/// A Kubernetes cluster in memory, with a node whose pods crash when they should: for the first minute and for tests.
#[pyclass(frozen, module = "argus")]
pub(crate) struct TestCluster {
    cluster: Cluster,
    served: Served,
}

#[pymethods]
impl TestCluster {
    /// Starts it, and serves its API on a free port of the loopback.
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let started = wait(py, async {
            let cluster = Cluster::start();
            let served = cluster.serve().await?;
            Ok((cluster, served))
        })?;
        let (cluster, served) = started.map_err(|error: std::io::Error| PyErr::from(error))?;
        Ok(Self { cluster, served })
    }

    /// Creates a Deployment with one container, `app`: healthy unless its memory limit is below what it needs, it lacks the
    /// variable that it needs, or its image has a name like `does-not-exist`. It works for `fails_after` seconds after each start.
    #[pyo3(signature = (namespace, name, image, *, replicas=1, memory_limit=None, needs_memory=None, needs_env=None, fails_after=0.0))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn deployment(
        &self,
        py: Python<'_>,
        namespace: &str,
        name: &str,
        image: &str,
        replicas: u32,
        memory_limit: Option<&str>,
        needs_memory: Option<&str>,
        needs_env: Option<&str>,
        fails_after: f64,
    ) -> PyResult<()> {
        let within = enter()?;
        let mut app = self
            .cluster
            .deployment(namespace, name, image)
            .replicas(replicas);
        if let Some(limit) = memory_limit {
            app = app.memory_limit(limit);
        }
        if let Some(amount) = needs_memory {
            app = app.needs_memory(amount);
        }
        if let Some(variable) = needs_env {
            app = app.needs_env(variable);
        }
        if fails_after > 0.0 {
            app = app.fails_after(seconds(fails_after)?);
        }
        drop(within);
        let created = wait(py, app.create())?;
        created
            .map(|_| ())
            .map_err(|error| errors::plain(py, "ClusterError", &error))
    }

    /// Its address, such as `http://127.0.0.1:40123`.
    #[getter]
    fn url(&self) -> String {
        format!("http://{}", self.served.address())
    }

    /// A kubeconfig for it, as YAML.
    #[getter]
    fn kubeconfig(&self) -> String {
        self.served.kubeconfig()
    }

    /// The writes that it was asked for, oldest first: `user`, `verb`, `path`, `dry_run`, `code`.
    #[getter]
    fn writes(&self) -> Vec<(String, String, String, bool, u16)> {
        let writes = self.cluster.writes().into_iter();
        writes
            .map(|write| {
                (
                    write.user,
                    write.verb,
                    write.path,
                    write.dry_run,
                    write.code,
                )
            })
            .collect()
    }
}

/// A cluster that is a Python object, see `argus.Cluster`.
pub(crate) struct PythonCluster(Py<PyAny>);

#[async_trait]
impl JsonDoor for PythonCluster {
    async fn call(&self, method: &'static str, request: Value) -> Result<Value, JsonRefusal> {
        let unknown = |message: String| JsonRefusal {
            kind: JsonRefusalKind::Unknown,
            message,
        };
        let said = asked(
            &self.0,
            move |doors, cluster| -> PyResult<(String, String)> {
                let request = to_python(doors.py(), &request)?;
                let said = doors.call_method1("cluster", (cluster, method, request))?;
                said.extract()
            },
        );
        let (kind, text) = said
            .await
            .map_err(|_| unknown(format!("`{method}` did not come to its end")))?
            .map_err(|raised| unknown(format!("`{method}` raised {raised}")))?;
        let kind = match kind.as_str() {
            "answer" => {
                return serde_json::from_str(&text).map_err(|error| unknown(error.to_string()));
            }
            "not_done" => JsonRefusalKind::NotDone,
            _ => JsonRefusalKind::Stale,
        };
        Err(JsonRefusal {
            kind,
            message: text,
        })
    }
}

/// The cluster that Argus acts on.
pub(crate) enum AnyCluster {
    Kube(CoreKube),
    Python(JsonCluster<PythonCluster>),
}

pub(crate) fn cluster(object: &Bound<'_, PyAny>) -> PyResult<AnyCluster> {
    if let Ok(kube) = object.extract::<PyRef<'_, Kube>>() {
        return Ok(AnyCluster::Kube(kube.0.clone()));
    }
    if let Ok(memory) = object.extract::<PyRef<'_, TestCluster>>() {
        let _within = enter()?;
        let client = memory.cluster.client_as("argus");
        return Ok(AnyCluster::Kube(
            CoreKube::new(client).unready_after(STARTING),
        ));
    }
    for method in [
        "missing_permissions",
        "dry_run",
        "apply",
        "settle",
        "is_in_force",
        "undo",
        "scan",
    ] {
        if !object.hasattr(method)? {
            return Err(pyo3::exceptions::PyTypeError::new_err(format!(
                "cluster has to be a Kube, a TestCluster, or an object with the methods of argus.Cluster: `{method}` is missing"
            )));
        }
    }
    let door = PythonCluster(object.clone().unbind());
    Ok(AnyCluster::Python(JsonCluster::new(door)))
}

/// A Python object with a method `append(record)` that keeps records too.
struct PythonCopy(Py<PyAny>);

#[async_trait]
impl RecordCopy for PythonCopy {
    async fn copy(&self, record: &AuditRecord) -> Result<(), String> {
        let record = record.clone();
        let kept = asked(&self.0, move |doors, sink| {
            let record = to_python(doors.py(), &record)?;
            doors.call_method1("append", (sink, record)).map(|_| ())
        });
        match kept.await {
            Ok(kept) => kept.map_err(|raised| format!("the sink raised {raised}")),
            Err(_) => Err("the sink did not come to its end".into()),
        }
    }
}

fn copied<A: AuditSink + 'static>(trail: A, also: Option<Py<PyAny>>) -> Arc<dyn AuditSink> {
    match also {
        Some(sink) => Arc::new(CopiedAudit::new(trail, PythonCopy(sink))),
        None => Arc::new(trail),
    }
}

/// The records of a trail that a caller wants.
fn wanted<'py>(
    py: Python<'py>,
    audit: &Arc<dyn AuditSink>,
    query: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let query: AuditQuery = match query {
        Some(given) => read(&from_python(given)?)?,
        None => AuditQuery::default(),
    };
    let audit = Arc::clone(audit);
    let records = wait(py, async move { audit.records(&query).await })?;
    let records = records.map_err(|error| errors::plain(py, "AuditFailed", &error))?;
    to_python(py, &records)
}

/// What a check of a trail found.
fn verified(
    py: Python<'_>,
    tail: Result<argus_core::Tail, argus_core::AuditError>,
) -> PyResult<Bound<'_, PyAny>> {
    let tail = tail.map_err(|error| errors::plain(py, "AuditFailed", &error))?;
    let found = serde_json::json!({ "records": tail.records, "unproven": tail.unproven });
    to_python(py, &found)
}

/// The audit trail in the files of a folder; one writer at a time.
///
/// `also` is one more place for every record: an object with a method `append(record)`, which may be async. Nothing is done that
/// relies on a record that isn't in both; it has 30 seconds, and what it raises is a failure of the trail.
#[pyclass(frozen, module = "argus")]
pub(crate) struct FileAudit(Arc<dyn AuditSink>);

#[pymethods]
impl FileAudit {
    /// Opens the trail of a folder, or begins one.
    ///
    /// :raises AuditFailed: for a trail that was altered, or that another process writes.
    #[new]
    #[pyo3(signature = (folder, *, also=None))]
    fn new(py: Python<'_>, folder: PathBuf, also: Option<Py<PyAny>>) -> PyResult<Self> {
        let opened = wait(py, async move { argus_core::FileAudit::open(folder).await })?;
        opened
            .map(|trail| Self(copied(trail, also)))
            .map_err(|error| errors::plain(py, "AuditFailed", &error))
    }

    /// The records, newest first. All conditions are optional: `incident_id`, `plan_id`, `actor`, `event`, `action`, `text` (in the
    /// command or the outcome), `since`, `until`, `after` and `before` (a record's number), and at most `limit`.
    #[pyo3(signature = (**query))]
    fn records<'py>(
        &self,
        py: Python<'py>,
        query: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        wanted(py, &self.0, query)
    }

    /// Checks the trail of a folder, record by record: how many `records` there are, and how many of those are `unproven`: they stand
    /// before the first that is there, and are only said to have been removed.
    ///
    /// :raises AuditFailed: names the first bad record.
    #[staticmethod]
    fn verify(py: Python<'_>, folder: PathBuf) -> PyResult<Bound<'_, PyAny>> {
        let tail = py.detach(move || argus_core::FileAudit::verify(folder));
        verified(py, tail)
    }
}

/// The audit trail in PostgreSQL, for several hosts, with their plans; `also` as of `FileAudit`.
#[pyclass(frozen, module = "argus")]
pub(crate) struct PostgresAudit {
    audit: Arc<dyn AuditSink>,
    plans: argus_core::PostgresPlans,
}

#[pymethods]
impl PostgresAudit {
    /// Opens the trail; its tables are made by `migrate`.
    ///
    /// :raises AuditFailed: when the server can't be reached, or the trail was altered.
    #[new]
    #[pyo3(signature = (url, *, also=None))]
    fn new(py: Python<'_>, url: String, also: Option<Py<PyAny>>) -> PyResult<Self> {
        let opened = wait(py, async move { Postgres::open(&url).await })?;
        let trail = opened.map_err(|error| errors::plain(py, "AuditFailed", &error))?;
        let plans = trail.plans();
        let audit = copied(trail, also);
        Ok(Self { audit, plans })
    }

    /// The records, newest first; see `FileAudit.records`.
    #[pyo3(signature = (**query))]
    fn records<'py>(
        &self,
        py: Python<'py>,
        query: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        wanted(py, &self.audit, query)
    }

    /// Makes the tables, or brings them up to date, as their owner, and gives `role` what hosts need and no more.
    ///
    /// :raises AuditFailed: when the server can't be reached, or doesn't permit it.
    #[staticmethod]
    fn migrate(py: Python<'_>, owner_url: String, role: String) -> PyResult<()> {
        let made = wait(
            py,
            async move { Postgres::migrate(&owner_url, &role).await },
        )?;
        made.map_err(|error| errors::plain(py, "AuditFailed", &error))
    }

    /// Checks the trail, record by record; see `FileAudit.verify`.
    ///
    /// :raises AuditFailed: names the first bad record.
    #[staticmethod]
    fn verify(py: Python<'_>, url: String) -> PyResult<Bound<'_, PyAny>> {
        let tail = wait(py, async move { Postgres::verify(&url).await })?;
        verified(py, tail)
    }
}

/// A trail of either kind, with the plans that go with it.
pub(crate) fn audit(
    object: &Bound<'_, PyAny>,
) -> PyResult<(Arc<dyn AuditSink>, Option<argus_core::PostgresPlans>)> {
    if let Ok(file) = object.extract::<PyRef<'_, FileAudit>>() {
        return Ok((Arc::clone(&file.0), None));
    }
    if let Ok(postgres) = object.extract::<PyRef<'_, PostgresAudit>>() {
        let plans = postgres.plans.clone();
        return Ok((Arc::clone(&postgres.audit), Some(plans)));
    }
    let problem = "audit has to be a FileAudit or a PostgresAudit";
    Err(pyo3::exceptions::PyTypeError::new_err(problem))
}

/// A plan's id, read.
pub(crate) fn plan_id(py: Python<'_>, text: &str) -> PyResult<PlanId> {
    PlanId::try_from(text.to_owned()).map_err(|error| errors::plain(py, "PlanIdError", &error))
}

/// Something that a caller may not do twice.
pub(crate) fn used() -> PyErr {
    PyRuntimeError::new_err("this approval was used already: an approval is good for one execution")
}
