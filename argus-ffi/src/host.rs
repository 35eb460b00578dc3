//! Doors that a C host opens itself: tables of functions, and replies from any thread.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use argus_core::{
    Answer, ApprovalError, Approver, AuditRecord, Completion, CopiedAudit, DryRun, FileAudit,
    JsonDoor, JsonRefusal, JsonRefusalKind, LlmError, LlmProvider, Prompt, RecordCopy, Shown,
    Usage,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::boundary::{Failure, text, with_error};
use crate::handles::{Handle, put, take};

/// What a host answers to one call; freed by the answer.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Reply(());

impl Handle for Reply {
    type Value = Mutex<Option<oneshot::Sender<Result<Completion, Refusal>>>>;
    const NAME: &'static str = "reply";
}

/// What a host says instead of an answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    kind: JsonRefusalKind,
    message: String,
    retryable: bool,
}

/// A language model of the host's.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProviderTable {
    /// sizeof(argus_provider_table): fields that are added later are at its end.
    pub size: usize,
    /// Answers a prompt, now or later, from any thread, with argus_reply_text or argus_reply_error. `prompt` is JSON: {"question" ("plan" or
    /// "diagnosis"), "system", "user", "schema", "turns": [{"answer", "problem"}]}; it is gone when the function returns. It may block. It
    /// must not throw.
    pub complete:
        Option<unsafe extern "C" fn(host: *mut c_void, prompt: *const c_char, reply: *mut Reply)>,
    /// Called once, from any thread, when nothing is called with `host` any more; may be null.
    pub drop: Option<unsafe extern "C" fn(host: *mut c_void)>,
}

/// A cluster of the host's own: what tries, applies and undoes steps, and looks.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ClusterTable {
    /// sizeof(argus_cluster_table): fields that are added later are at its end.
    pub size: usize,
    /// Answers with argus_reply_json, or with argus_reply_refuse or argus_reply_error, within 60 seconds but for "settle". It may
    /// block. It must not throw. Both strings are gone when it returns. By `method`, the request and the answer:
    ///
    /// "missing_permissions": {"plan"}; a list of texts, empty when nothing is missing.
    ///
    /// "dry_run": {"action", "command", "generated_at"}; {"uid", "before", "after", "write", "warnings"}: the object, as it would be, null if
    /// it would be gone, and the request.
    ///
    /// "apply": {"plan_id", "index", "action", "command", "preview"}; the object as it was stored, null if it is gone. Nothing else is
    /// sent than the preview's "write", and only to an object that is as the preview's "before".
    ///
    /// "settle", "is_in_force", "undo": the same; anything, when it came to rest; a boolean; "restored" or "nothing_to_restore".
    ///
    /// "scan": {"namespaces"}; {"findings", "workloads", "incomplete"}.
    pub call: Option<
        unsafe extern "C" fn(
            host: *mut c_void,
            method: *const c_char,
            request: *const c_char,
            reply: *mut Reply,
        ),
    >,
    /// Called once, from any thread, when nothing is called with `host` any more; may be null.
    pub drop: Option<unsafe extern "C" fn(host: *mut c_void)>,
}

/// A second place for every record of the trail.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SinkTable {
    /// sizeof(argus_sink_table): fields that are added later are at its end.
    pub size: usize,
    /// Stores a record, JSON, and says so with argus_reply_ok when it is durable, or argus_reply_error; within 30 seconds. The
    /// record is gone when the function returns. It may block. It must not throw.
    pub append:
        Option<unsafe extern "C" fn(host: *mut c_void, record: *const c_char, reply: *mut Reply)>,
    /// Called once, from any thread, when nothing is called with `host` any more; may be null.
    pub drop: Option<unsafe extern "C" fn(host: *mut c_void)>,
}

/// Whoever is asked whether a plan may be carried out.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ApproverTable {
    /// sizeof(argus_approver_table): fields that are added later are at its end.
    pub size: usize,
    /// Answers a dry run, JSON as of argus_state_json, once for each person that policy wants, with argus_reply_json: {"user"}, who says
    /// yes; with "typed_name", what they typed, for a plan of high risk; with "refuse", why they say no; or {"automatic"}, a
    /// component of the host, where policy needs no person. argus_reply_error says that nobody can be asked. The dry run is gone when the
    /// function returns. It may block. It must not throw.
    pub decide:
        Option<unsafe extern "C" fn(host: *mut c_void, dry_run: *const c_char, reply: *mut Reply)>,
    /// Called once, from any thread, when nothing is called with `host` any more; may be null.
    pub drop: Option<unsafe extern "C" fn(host: *mut c_void)>,
}

/// A function of the host's.
#[derive(Clone, Copy)]
enum Call {
    One(unsafe extern "C" fn(*mut c_void, *const c_char, *mut Reply)),
    Named(unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, *mut Reply)),
}

/// A function of the host's, and what it is called with.
pub(crate) struct Host {
    host: *mut c_void,
    call: Call,
    drop: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the header tells hosts that their functions are called from any thread.
unsafe impl Send for Host {}
// SAFETY: as above, several at a time.
unsafe impl Sync for Host {}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the host vouched for it, and nothing calls it after this.
            unsafe { drop(self.host) }
        }
    }
}

/// Takes a reply out of the table, so that an answer that comes too late is refused.
struct Waiting(usize);

fn reply(number: usize) -> *mut Reply {
    std::ptr::without_provenance_mut(number)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        take(reply(self.0).cast_const());
    }
}

impl Host {
    /// # Safety
    /// The host vouches for the functions and for `host`.
    unsafe fn new(
        size: usize,
        expected: usize,
        call: Option<Call>,
        drop: Option<unsafe extern "C" fn(*mut c_void)>,
        host: *mut c_void,
    ) -> Result<Self, Failure> {
        if size < expected {
            let problem = "the table is too small: set its `size` to its sizeof";
            return Err(Failure::argument(problem));
        }
        let call = call.ok_or_else(|| Failure::argument("a function of the table is null"))?;
        Ok(Self { host, call, drop })
    }

    async fn ask(
        self: &Arc<Self>,
        method: &'static str,
        argument: String,
    ) -> Result<Completion, Refusal> {
        let failed = |message: &str| Refusal {
            kind: JsonRefusalKind::Unknown,
            message: message.to_owned(),
            retryable: false,
        };
        let argument = CString::new(argument).map_err(|_| failed("a zero byte in JSON"))?;
        let (send, receive) = oneshot::channel();
        let waiting = Waiting(put::<Reply>(Mutex::new(Some(send))).addr());
        let (host, number) = (Arc::clone(self), waiting.0);
        tokio::task::spawn_blocking(move || {
            let (argument, reply) = (argument.as_ptr(), reply(number));
            match host.call {
                // SAFETY: the host vouched for it; the argument lives until it returns.
                Call::One(call) => unsafe { call(host.host, argument, reply) },
                Call::Named(call) => {
                    let method = CString::new(method).unwrap_or_default();
                    // SAFETY: as above.
                    unsafe { call(host.host, method.as_ptr(), argument, reply) }
                }
            }
        });
        let gone = |_| failed("the host gave no answer");
        receive.await.map_err(gone)?
    }
}

struct HostLlm(Arc<Host>);

#[async_trait]
impl LlmProvider for HostLlm {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let turns = prompt.turns().iter();
        let turns = turns.map(|turn| json!({ "answer": turn.answer, "problem": turn.problem }));
        let asked = json!({
            "question": prompt.question(),
            "system": prompt.system(),
            "user": prompt.user(),
            "schema": prompt.schema(),
            "turns": turns.collect::<Vec<_>>(),
        });
        let answer = self.0.ask("complete", asked.to_string()).await;
        answer.map_err(|refusal| LlmError {
            retryable: refusal.retryable,
            ..LlmError::new(argus_core::redact(&refusal.message))
        })
    }
}

/// A provider of the host's.
///
/// # Safety
/// `table` is null or points to a table that is as long as it says.
pub(crate) unsafe fn provider(
    table: *const ProviderTable,
    host: *mut c_void,
) -> Result<Arc<dyn LlmProvider>, Failure> {
    // SAFETY: the caller vouches for it.
    let table = unsafe { table.as_ref() };
    let table = table.ok_or_else(|| Failure::argument("the table is null"))?;
    let expected = size_of::<ProviderTable>();
    // SAFETY: the caller vouches for what is in the table.
    let host = unsafe {
        Host::new(
            table.size,
            expected,
            table.complete.map(Call::One),
            table.drop,
            host,
        )?
    };
    Ok(Arc::new(HostLlm(Arc::new(host))))
}

/// The host's own place for records.
pub(crate) struct HostSink(Arc<Host>);

/// A trail, and the host's own place for records if there is one.
pub(crate) type Trail = CopiedAudit<FileAudit, Option<HostSink>>;

impl HostSink {
    /// # Safety
    /// `table` is null or points to a table that is as long as it says.
    pub(crate) unsafe fn new(
        table: *const SinkTable,
        host: *mut c_void,
    ) -> Result<Option<Self>, Failure> {
        // SAFETY: the caller vouches for it.
        let Some(table) = (unsafe { table.as_ref() }) else {
            return Ok(None);
        };
        let expected = size_of::<SinkTable>();
        // SAFETY: the caller vouches for what is in the table.
        let host = unsafe {
            Host::new(
                table.size,
                expected,
                table.append.map(Call::One),
                table.drop,
                host,
            )?
        };
        Ok(Some(Self(Arc::new(host))))
    }
}

#[async_trait]
impl RecordCopy for HostSink {
    async fn copy(&self, record: &AuditRecord) -> Result<(), String> {
        let json = serde_json::to_string(record).map_err(|error| error.to_string())?;
        let answer = self.0.ask("append", json).await;
        answer.map(|_| ()).map_err(|refusal| refusal.message)
    }
}

/// Whoever the host asks.
pub(crate) struct HostApprover(Arc<Host>);

impl HostApprover {
    /// # Safety
    /// `table` is null or points to a table that is as long as it says.
    pub(crate) unsafe fn new(
        table: *const ApproverTable,
        host: *mut c_void,
    ) -> Result<Self, Failure> {
        // SAFETY: the caller vouches for it.
        let table = unsafe { table.as_ref() };
        let table = table.ok_or_else(|| Failure::argument("the table is null"))?;
        let (expected, call) = (size_of::<ApproverTable>(), table.decide.map(Call::One));
        // SAFETY: the caller vouches for what is in the table.
        let host = unsafe { Host::new(table.size, expected, call, table.drop, host)? };
        Ok(Self(Arc::new(host)))
    }
}

#[async_trait]
impl Approver for HostApprover {
    async fn decide(&self, dry_run: &DryRun) -> Result<Answer, ApprovalError> {
        let shown = json!(Shown::from(dry_run)).to_string();
        let unreachable = |problem: &str| ApprovalError::Unreachable(argus_core::redact(problem));
        let answer = self.0.ask("decide", shown).await;
        let answer = answer.map_err(|refusal| unreachable(&refusal.message))?;
        serde_json::from_str(answer.text())
            .map_err(|error| unreachable(&format!("the answer is none: {error}")))
    }
}

/// A cluster of the host's own.
pub(crate) struct HostCluster(Arc<Host>);

impl HostCluster {
    /// # Safety
    /// `table` is null or points to a table that is as long as it says.
    pub(crate) unsafe fn new(
        table: *const ClusterTable,
        host: *mut c_void,
    ) -> Result<Self, Failure> {
        // SAFETY: the caller vouches for it.
        let table = unsafe { table.as_ref() };
        let table = table.ok_or_else(|| Failure::argument("the table is null"))?;
        let (expected, call) = (size_of::<ClusterTable>(), table.call.map(Call::Named));
        // SAFETY: the caller vouches for what is in the table.
        let host = unsafe { Host::new(table.size, expected, call, table.drop, host)? };
        Ok(Self(Arc::new(host)))
    }
}

#[async_trait]
impl JsonDoor for HostCluster {
    async fn call(&self, method: &'static str, request: Value) -> Result<Value, JsonRefusal> {
        let refusal = |refusal: Refusal| JsonRefusal {
            kind: refusal.kind,
            message: refusal.message,
        };
        let answer = self.0.ask(method, request.to_string()).await;
        let answer = answer.map_err(refusal)?;
        serde_json::from_str(answer.text()).map_err(|error| JsonRefusal {
            kind: JsonRefusalKind::Unknown,
            message: format!("the answer to `{method}` is no JSON: {error}"),
        })
    }
}

/// Answers, and frees the reply.
fn answer(reply: *mut Reply, said: Result<Completion, Refusal>) -> Result<(), Failure> {
    let late = || {
        Failure::new(
            "bad_handle",
            "the reply was given already, or nobody waits for it any more",
        )
    };
    let waiting = take(reply.cast_const()).ok_or_else(late)?;
    let sender = waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    sender
        .and_then(|sender| sender.send(said).ok())
        .ok_or_else(late)
}

/// Answers a prompt with the model's text, the model's name, and how many tokens it read and wrote (0 if that isn't known).
///
/// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_reply_text(
    reply: *mut Reply,
    answer_text: *const c_char,
    model: *const c_char,
    input_tokens: u64,
    output_tokens: u64,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the strings.
    unsafe {
        with_error(error, || {
            let usage = Usage {
                input_tokens,
                output_tokens,
            };
            let completion = Completion::new(text(answer_text)?, text(model)?).using(usage);
            answer(reply, Ok(completion))
        })
    }
}

/// Answers a call of a cluster, with JSON.
///
/// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_reply_json(
    reply: *mut Reply,
    json: *const c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the strings.
    unsafe {
        with_error(error, || {
            answer(reply, Ok(Completion::new(text(json)?, "")))
        })
    }
}

/// Refuses a call of a cluster, and says that nothing was written: `stale` if the object isn't as it was approved, or as the step
/// left it. Where nobody knows whether something was written, it is argus_reply_error.
///
/// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_reply_refuse(
    reply: *mut Reply,
    message: *const c_char,
    stale: bool,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the strings.
    unsafe {
        with_error(error, || {
            let refusal = Refusal {
                kind: if stale {
                    JsonRefusalKind::Stale
                } else {
                    JsonRefusalKind::NotDone
                },
                message: text(message)?.to_owned(),
                retryable: false,
            };
            answer(reply, Err(refusal))
        })
    }
}

/// Says that a record is durable.
///
/// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
///
/// # Safety
/// As the header says of `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_reply_ok(reply: *mut Reply, error: *mut *mut c_char) -> i32 {
    // SAFETY: the caller vouches for it.
    unsafe { with_error(error, || answer(reply, Ok(Completion::new("", "")))) }
}

/// Says that there is no answer, and why, without payloads. `retryable`: asking again may help.
///
/// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_reply_error(
    reply: *mut Reply,
    message: *const c_char,
    retryable: bool,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the strings.
    unsafe {
        with_error(error, || {
            let message = text(message)?.to_owned();
            let kind = JsonRefusalKind::Unknown;
            answer(
                reply,
                Err(Refusal {
                    kind,
                    message,
                    retryable,
                }),
            )
        })
    }
}
