//! The doors: who writes plans, who judges them, the cluster, the trail.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use argus_core::testing::cluster::{Cluster as Memory, Served};
use argus_core::{
    Anonymous, AuditQuery, AuditSink, FileAudit, GenAi, JsonCluster, Kube, LlmProvider, Playbook,
    Scope, Wire,
};
use argus_policy::{PackKey, RegoEngine};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::boundary::{Failure, give as give_json, options, text, with_error};
use crate::handles::{Handle, get, give};
use crate::host::{self, ClusterTable, HostCluster, HostSink, ProviderTable, SinkTable, Trail};
use crate::runtime::{Runtime, Shared};

/// How long pods of the cluster in memory may take to start.
const STARTING: Duration = Duration::from_secs(2);

/// Who writes plans.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Provider(());

impl Handle for Provider {
    type Value = Arc<dyn LlmProvider>;
    const NAME: &'static str = "provider";
}

/// The policy packs.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Policy(());

impl Handle for Policy {
    type Value = Arc<RegoEngine>;
    const NAME: &'static str = "policy";
}

/// A Kubernetes cluster.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Cluster(());

impl Handle for Cluster {
    type Value = Connected;
    const NAME: &'static str = "cluster";
}

/// A cluster, and what is behind it if it is in memory.
pub(crate) struct Connected {
    pub(crate) doors: ClusterDoors,
    memory: Option<(Memory, Served)>,
    runtime: Shared,
}

/// What a remediator is built with.
pub(crate) enum ClusterDoors {
    Kube(Kube),
    Host(JsonCluster<HostCluster>),
}

/// The audit trail.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Audit(());

impl Handle for Audit {
    type Value = Kept;
    const NAME: &'static str = "audit trail";
}

/// A trail, and the threads that it is written on.
pub(crate) struct Kept {
    pub(crate) trail: Arc<Trail>,
    runtime: Shared,
}

/// Plans by fixed rules, offline: no model.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_provider_playbook(
    out: *mut *mut Provider,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe { with_error(error, || give(out, Arc::new(Playbook::new()))) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelOptions {
    model: String,
    #[serde(default)]
    wire: Option<String>,
    endpoint: Option<String>,
    key: Option<String>,
    timeout_seconds: Option<f64>,
    #[serde(default)]
    anonymous: bool,
}

fn seconds(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::argument(format!("{seconds} is no number of seconds")))
}

/// A language model, hosted or local.
///
/// `options` is JSON: {"model"}, and optionally "wire" ("openai" and whatever is compatible, "openai-responses", "anthropic", "gemini",
/// "bedrock", "ollama"), "endpoint", "key", "timeout_seconds", "anonymous" (it doesn't learn the names of namespaces and objects, images and
/// addresses).
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_provider_genai(
    options: *const c_char,
    out: *mut *mut Provider,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let given: ModelOptions = self::options(options)?;
            let wire = match &given.wire {
                Some(word) => word
                    .parse()
                    .map_err(|problem| Failure::of("bad_argument")(&problem))?,
                None => Wire::default(),
            };
            let mut model = GenAi::model(given.model).wire(wire);
            if let Some(endpoint) = given.endpoint {
                model = model.endpoint(endpoint);
            }
            if let Some(key) = given.key {
                model = model.key(key);
            }
            if let Some(limit) = given.timeout_seconds {
                model = model.timeout(seconds(limit)?);
            }
            let built = model.build();
            let model = built.map_err(|problem| Failure::of("bad_argument")(&problem))?;
            match given.anonymous {
                true => give(out, Arc::new(Anonymous::new(model))),
                false => give(out, Arc::new(model)),
            }
        })
    }
}

/// A model of the host's own. `host` is handed to its functions; it belongs to Argus if the code is ARGUS_OK.
///
/// # Safety
/// `table` is null or points to a table that is as long as its `size` says, whose functions may be called with `host` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_provider_new(
    table: *const ProviderTable,
    host: *mut c_void,
    out: *mut *mut Provider,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            if out.is_null() {
                return Err(Failure::argument("`out` is null"));
            }
            give(out, host::provider(table, host)?)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyOptions {
    #[serde(default)]
    packs: Vec<PathBuf>,
    trusted_keys: Option<Vec<String>>,
    #[serde(default)]
    parameters: BTreeMap<String, Map<String, Value>>,
}

/// The packs that Argus comes with, and the host's own.
///
/// `options` is null or JSON: "packs", a list of folders, "parameters" by the name of a pack, and "trusted_keys", a list of Ed25519
/// public keys in PEM: with it, also if it is empty, only packs that one of them signed are taken, and their tests don't run.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_policy_new(
    options: *const c_char,
    out: *mut *mut Policy,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let given: PolicyOptions = self::options(options)?;
            let load = || {
                let mut engine = RegoEngine::builtin()?;
                if let Some(keys) = &given.trusted_keys {
                    let keys: Result<Vec<_>, _> =
                        keys.iter().map(|pem| PackKey::from_pem(pem)).collect();
                    engine = engine.trusting(keys?);
                }
                for folder in &given.packs {
                    engine = engine.with_pack(folder)?;
                }
                for (pack, parameters) in &given.parameters {
                    engine = engine.with_parameters(pack, parameters)?;
                }
                Ok(engine)
            };
            let engine = load().map_err(|problem: argus_policy::PackError| {
                Failure::of("pack_refused")(&problem)
            })?;
            give(out, Arc::new(engine))
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterOptions {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    settle_within_seconds: Option<f64>,
    unready_after_seconds: Option<f64>,
    scan_within_seconds: Option<f64>,
    #[serde(default)]
    seeing_cluster: bool,
    #[serde(default)]
    across_namespaces: bool,
}

/// A Kubernetes cluster.
///
/// `options` is null or JSON: "kubeconfig", a file, and its "context"; without one, the cluster that this process runs in.
/// "settle_within_seconds": how long a step may take to come to rest (300). "unready_after_seconds": how long a pod may be unready
/// before it is a finding (30). "scan_within_seconds": how long a scan may take (60). "seeing_cluster": whether to scan also what belongs
/// to no namespace, such as nodes (false). "across_namespaces": whether to list each kind once for all namespaces, which takes the
/// right to (false).
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_cluster_new(
    runtime: *const Runtime,
    options: *const c_char,
    out: *mut *mut Cluster,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let runtime = get(runtime)?;
            let given: ClusterOptions = self::options(options)?;
            let context = given.context;
            let connected = runtime.wait(async move {
                match given.kubeconfig {
                    Some(file) => Kube::from_kubeconfig(file, context).await,
                    None => Kube::in_cluster(),
                }
            })?;
            let mut kube = connected.map_err(|problem| Failure::of("cluster_failed")(&problem))?;
            if let Some(limit) = given.settle_within_seconds {
                kube = kube.settle_within(seconds(limit)?);
            }
            if let Some(limit) = given.unready_after_seconds {
                kube = kube.unready_after(seconds(limit)?);
            }
            if let Some(limit) = given.scan_within_seconds {
                kube = kube.scan_within(seconds(limit)?);
            }
            if given.seeing_cluster {
                kube = kube.seeing_cluster();
            }
            if given.across_namespaces {
                kube = kube.across_namespaces();
            }
            let runtime = Shared::clone(&runtime);
            let memory = None;
            give(
                out,
                Connected {
                    doors: ClusterDoors::Kube(kube),
                    memory,
                    runtime,
                },
            )
        })
    }
}

/// A cluster of the host's own. `host` is handed to its functions; it belongs to Argus if the code is ARGUS_OK.
///
/// # Safety
/// `table` is null or points to a table that is as long as its `size` says, whose functions may be called with `host` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_cluster_host(
    runtime: *const Runtime,
    table: *const ClusterTable,
    host: *mut c_void,
    out: *mut *mut Cluster,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            if out.is_null() {
                return Err(Failure::argument("`out` is null"));
            }
            let runtime = Shared::clone(&*get(runtime)?);
            let connected = Connected {
                doors: ClusterDoors::Host(JsonCluster::new(HostCluster::new(table, host)?)),
                memory: None,
                runtime,
            };
            give(out, connected)
        })
    }
}

/// Reads what the broken containers of an incident logged last, three at most, and writes the incident with it to `out`: evidence for a
/// model, redacted. Logs may hold anything: it takes the right to read them.
///
/// `scope` is JSON, the list of namespaces whose containers are asked; of others nothing is read.
///
/// ARGUS_BAD_ARGUMENT for a cluster of the host's own.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_cluster_with_last_words(
    cluster: *const Cluster,
    incident: *const c_char,
    scope: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let cluster = get(cluster)?;
            let ClusterDoors::Kube(kube) = &cluster.doors else {
                return Err(Failure::argument("a cluster of the host's own has no logs"));
            };
            let (kube, incident) = (kube.clone(), crate::walk::incident(incident)?);
            let scope: Scope = serde_json::from_str(text(scope)?)
                .map_err(|problem| Failure::argument(format!("`scope`: {problem}")))?;
            let heard = async move { kube.with_last_words(incident, &scope).await };
            let incident = cluster.runtime.wait(heard)?;
            let incident = incident.map_err(|problem| Failure::of("scan_failed")(&problem))?;
            give_json(out, &incident)
        })
    }
}

/// A Kubernetes cluster in memory, served on a free port of the loopback too: for the first minute and for tests.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_test_cluster_new(
    runtime: *const Runtime,
    out: *mut *mut Cluster,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let runtime = Shared::clone(&*get(runtime)?);
            let started = runtime.wait(async {
                let cluster = Memory::start();
                let served = cluster.serve().await?;
                let kube = Kube::new(cluster.client_as("argus")).unready_after(STARTING);
                Ok((kube, cluster, served))
            })?;
            let started =
                started.map_err(|problem: std::io::Error| Failure::of("cluster_failed")(&problem));
            let (kube, cluster, served) = started?;
            let memory = Some((cluster, served));
            give(
                out,
                Connected {
                    doors: ClusterDoors::Kube(kube),
                    memory,
                    runtime,
                },
            )
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deployment {
    namespace: String,
    name: String,
    image: String,
    replicas: Option<u32>,
    memory_limit: Option<String>,
    needs_memory: Option<String>,
    needs_env: Option<String>,
    fails_after: Option<f64>,
}

fn memory(cluster: &Connected) -> Result<&(Memory, Served), Failure> {
    let real = || Failure::argument("this is no cluster in memory");
    cluster.memory.as_ref().ok_or_else(real)
}

/// Creates a Deployment with one container, `app`, in a cluster in memory: healthy unless its memory limit is below what it
/// needs, it lacks the variable that it needs, or its image has a name like `does-not-exist`.
///
/// `deployment` is JSON: "namespace", "name", "image", and optionally "replicas", "memory_limit", "needs_memory", "needs_env", and
/// "fails_after", for how many seconds it works after each start.
///
/// # Safety
/// As the header says of strings and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_test_cluster_deployment(
    cluster: *const Cluster,
    deployment: *const c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let cluster = get(cluster)?;
            let given: Deployment = options(deployment)?;
            let works = given.fails_after.map(Duration::try_from_secs_f64);
            let works = works.transpose();
            let works =
                works.map_err(|_| Failure::argument("`fails_after` is no number of seconds"))?;
            let memory = memory(&cluster)?.0.clone();
            let created = cluster.runtime.wait(async move {
                let mut app = memory
                    .deployment(&given.namespace, &given.name, &given.image)
                    .replicas(given.replicas.unwrap_or(1));
                if let Some(limit) = &given.memory_limit {
                    app = app.memory_limit(limit);
                }
                if let Some(amount) = &given.needs_memory {
                    app = app.needs_memory(amount);
                }
                if let Some(variable) = &given.needs_env {
                    app = app.needs_env(variable);
                }
                if let Some(time) = works {
                    app = app.fails_after(time);
                }
                app.create().await
            })?;
            created
                .map(|_| ())
                .map_err(|problem| Failure::of("cluster_failed")(&problem))
        })
    }
}

/// What there is to know of a cluster in memory, as JSON: its "url", a "kubeconfig" for it, and the "writes" that it was asked
/// for, oldest first: {"user", "verb", "path", "dry_run", "code"}.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_test_cluster_state(
    cluster: *const Cluster,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let cluster = get(cluster)?;
            let (memory, served) = memory(&cluster)?;
            let writes = memory.writes().into_iter().map(|write| {
                json!({ "user": write.user, "verb": write.verb, "path": write.path, "dry_run": write.dry_run, "code": write.code })
            });
            let state = json!({
                "url": format!("http://{}", served.address()),
                "kubeconfig": served.kubeconfig(),
                "writes": writes.collect::<Vec<_>>(),
            });
            give_json(out, &state)
        })
    }
}

/// The audit trail in the files of a folder; one writer at a time. With a `table`, every record goes to the host too, and nothing is
/// done that relies on a record that isn't durable in both; `host` belongs to Argus then, if the code is ARGUS_OK.
///
/// # Safety
/// As the header says of strings, `out` and `error`; `table` is null or points to a table that is as long as its `size` says, whose
/// functions may be called with `host` from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_audit_file(
    runtime: *const Runtime,
    folder: *const c_char,
    table: *const SinkTable,
    host: *mut c_void,
    out: *mut *mut Audit,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            if out.is_null() {
                return Err(Failure::argument("`out` is null"));
            }
            let runtime = Shared::clone(&*get(runtime)?);
            let folder = PathBuf::from(text(folder)?);
            let opened = runtime.wait(async move { FileAudit::open(folder).await })?;
            let file = opened.map_err(|problem| Failure::of("audit_failed")(&problem))?;
            let trail = Arc::new(Trail::new(file, HostSink::new(table, host)?));
            give(out, Kept { trail, runtime })
        })
    }
}

/// The records, newest first, as a JSON list.
///
/// `query` is null or JSON, all of it optional: "incident_id", "plan_id", "actor", "event", "action", "text", "since", "until", "after", "before" (a
/// record's number: the next page), "limit".
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_audit_records(
    audit: *const Audit,
    query: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let audit = get(audit)?;
            let query: AuditQuery = options(query)?;
            let trail = Arc::clone(&audit.trail);
            let records = audit
                .runtime
                .wait(async move { trail.records(&query).await })?;
            let records = records.map_err(|problem| Failure::of("audit_failed")(&problem))?;
            give_json(out, &records)
        })
    }
}

/// Checks the trail of a folder, record by record; how many there are goes to `records`, and how many of those stand before the first
/// that is there, and are only said to have been removed, to `unproven`: without a key nothing proves it. Both may be null.
///
/// ARGUS_AUDIT_FAILED names the first bad record.
///
/// # Safety
/// As the header says of strings and `error`; `records` and `unproven` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_audit_verify(
    folder: *const c_char,
    records: *mut u64,
    unproven: *mut u64,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let tail = FileAudit::verify(PathBuf::from(text(folder)?));
            let tail = tail.map_err(|problem| Failure::of("audit_failed")(&problem))?;
            if !records.is_null() {
                *records = tail.records;
            }
            if !unproven.is_null() {
                *unproven = tail.unproven;
            }
            Ok(())
        })
    }
}
