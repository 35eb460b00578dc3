//! Tests of what crosses the boundary. `make miri` runs them where every access to memory is checked.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut, without_provenance, without_provenance_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use argus_core::JsonDoor;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::boundary::{Failure, free, give, options, text, with_error};
use crate::codes::{ARGUS_BAD_ARGUMENT, ARGUS_BAD_HANDLE, ARGUS_INTERNAL, ARGUS_OK};
use crate::handles::{Handle, argus_free, get, put};
use crate::host::{ClusterTable, HostCluster, Reply, argus_reply_error, argus_reply_json};
use crate::{argus_parse_command, argus_redact, argus_string_free};

/// Takes what a call gave, and frees it.
fn taken(string: *mut c_char) -> Option<Value> {
    if string.is_null() {
        return None;
    }
    // SAFETY: it is what a call of this library gave.
    let json = unsafe { CStr::from_ptr(string) }
        .to_str()
        .unwrap()
        .to_owned();
    // SAFETY: as above, and it isn't used any more.
    unsafe { argus_string_free(string) };
    Some(serde_json::from_str(&json).unwrap())
}

/// Calls, and takes the error.
fn called(call: impl FnOnce(*mut *mut c_char) -> i32) -> (i32, Option<Value>) {
    // What was there before is written over, never read.
    let mut error: *mut c_char = without_provenance_mut(7);
    let code = call(&raw mut error);
    (code, taken(error))
}

#[test]
fn a_string_goes_in_and_json_comes_out() {
    let command = c"kubectl scale deployment/web -n shop --replicas=2";
    let mut out = null_mut();
    // SAFETY: a string and places to write to.
    let (code, error) =
        called(|error| unsafe { argus_parse_command(command.as_ptr(), &raw mut out, error) });
    assert_eq!((code, error), (ARGUS_OK, None));
    assert_eq!(taken(out).unwrap()["kind"], "scale");
    // SAFETY: null is a string that nobody gave.
    unsafe { argus_string_free(null_mut()) };
}

#[test]
#[cfg_attr(
    miri,
    ignore = "making the patterns of secrets takes it more than an hour"
)]
fn a_text_comes_out_without_its_secrets() {
    let cases = [
        (
            c"DB_PASSWORD=hunter2 is wrong",
            "DB_PASSWORD=[redacted] is wrong",
        ),
        (
            c"{\"kind\":\"Secret\",\"data\":{\"pin\":\"NDgx\"}}",
            "{\"data\":{\"pin\":\"[redacted]\"},\"kind\":\"Secret\"}",
        ),
        (
            c"{ \"name\": \"MODE\",  \"value\": \"fast\" }",
            "{ \"name\": \"MODE\",  \"value\": \"fast\" }",
        ),
        (c"7", "7"),
        (c"", ""),
    ];
    for (given, expected) in cases {
        let mut out = null_mut();
        // SAFETY: a string and places to write to.
        let (code, error) =
            called(|error| unsafe { argus_redact(given.as_ptr(), &raw mut out, error) });
        assert_eq!((code, error), (ARGUS_OK, None));
        // SAFETY: it is what the call gave.
        let kept = unsafe { CStr::from_ptr(out) }.to_str().unwrap().to_owned();
        // In the order of the fields, which another build of JSON may sort.
        let json = |text: &str| serde_json::from_str::<Value>(text).ok();
        assert!(
            kept == expected || json(&kept).is_some() && json(&kept) == json(expected),
            "{kept}"
        );
        // SAFETY: as above, and it isn't used any more.
        unsafe { argus_string_free(out) };
    }
    // SAFETY: nothing to read, and nowhere to write to.
    unsafe {
        assert_eq!(
            argus_redact(null(), null_mut(), null_mut()),
            ARGUS_BAD_ARGUMENT
        );
        assert_eq!(
            argus_redact(c"x".as_ptr(), null_mut(), null_mut()),
            ARGUS_BAD_ARGUMENT
        );
    }
}

#[test]
fn a_bad_string_is_refused_and_nothing_is_written() {
    for (given, said) in [
        (null(), "null"),
        (c"\xff".as_ptr(), "UTF-8"),
        (c"kubectl \xc3(".as_ptr(), "UTF-8"),
    ] {
        let mut out = null_mut();
        // SAFETY: null or a string, and places to write to.
        let (code, error) =
            called(|error| unsafe { argus_parse_command(given, &raw mut out, error) });
        assert_eq!(code, ARGUS_BAD_ARGUMENT);
        let error = error.unwrap();
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
        assert!(out.is_null());
    }
    let command = c"kubectl scale deployment/web -n shop --replicas=2";
    // SAFETY: nowhere to write to.
    let code = unsafe { argus_parse_command(command.as_ptr(), null_mut(), null_mut()) };
    assert_eq!(code, ARGUS_BAD_ARGUMENT);
    // SAFETY: null or a string.
    unsafe {
        assert!(options::<Value>(null()).is_ok());
        assert!(options::<Value>(c"{".as_ptr()).is_err());
        assert_eq!(text(c"".as_ptr()).ok(), Some(""));
    }
}

#[test]
#[cfg_attr(miri, ignore = "sixteen million letters, one by one")]
fn a_string_that_is_too_long_is_refused() {
    let long = CString::new(vec![b'a'; 16 * 1024 * 1024 + 1]).unwrap();
    // SAFETY: a string.
    assert!(unsafe { text(long.as_ptr()) }.is_err());
}

#[test]
fn a_panic_ends_at_the_boundary() {
    // SAFETY: a place to write to.
    let (code, error) = called(|error| unsafe { with_error(error, || panic!("on purpose")) });
    assert_eq!(code, ARGUS_INTERNAL);
    assert_eq!(error.unwrap()["code"], "internal");
    let mut out = null_mut();
    // SAFETY: places to write to; one is written before the call fails.
    let (code, error) = called(|error| unsafe {
        with_error(error, || {
            give(&raw mut out, &json!({ "half": true }))?;
            Err(Failure::argument("and then it failed"))
        })
    });
    assert_eq!((code, error.is_some()), (ARGUS_BAD_ARGUMENT, true));
    // SAFETY: what was given, once.
    unsafe { free(out) };
}

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct One;
impl Handle for One {
    type Value = Counted;
    const NAME: &'static str = "one";
}
struct Other;
impl Handle for Other {
    type Value = u8;
    const NAME: &'static str = "other";
}

#[test]
fn a_handle_is_freed_once_and_is_of_one_kind() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let one = put::<One>(Counted(Arc::clone(&dropped)));
    assert!(get::<One>(one).is_ok());
    assert!(get::<Other>(one.cast()).is_err());
    for never in [
        null(),
        without_provenance(1),
        without_provenance(usize::MAX),
    ] {
        assert!(get::<One>(never).is_err());
    }
    // Eight threads free it at once: one does.
    let number = one.addr();
    let freed: usize = thread::scope(|scope| {
        let free = || usize::from(argus_free(without_provenance(number)) == ARGUS_OK);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(free)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!((freed, dropped.load(Ordering::SeqCst)), (1, 1));
    assert!(get::<One>(one).is_err());
    assert_eq!(argus_free(one.cast()), ARGUS_BAD_HANDLE);
    assert_eq!(argus_free(null()), ARGUS_OK);
}

#[test]
fn what_is_in_use_outlives_its_handle() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let one = put::<One>(Counted(Arc::clone(&dropped)));
    let used = get::<One>(one).ok().unwrap();
    assert_eq!(argus_free(one.cast()), ARGUS_OK);
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    drop(used);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

/// A host's own, as C has it.
struct Own {
    how: How,
    dropped: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
enum How {
    Answers,
    AnswersFromAnotherThread,
    AnswersTwice,
    Refuses,
    SaysNothing,
}

unsafe extern "C" fn call(
    host: *mut c_void,
    method: *const c_char,
    request: *const c_char,
    reply: *mut Reply,
) {
    // SAFETY: what the table was made with, until `gone` is called.
    let own = unsafe { &*host.cast::<Own>() };
    // SAFETY: strings until this function returns.
    let (method, request) = unsafe { (CStr::from_ptr(method), CStr::from_ptr(request)) };
    assert_eq!((method, request), (c"scan", c"{\"namespaces\":[\"shop\"]}"));
    let answer = |reply| {
        let found = c"[]";
        // SAFETY: a string.
        unsafe { argus_reply_json(reply, found.as_ptr(), null_mut()) }
    };
    match own.how {
        How::Answers => assert_eq!(answer(reply), ARGUS_OK),
        How::AnswersFromAnotherThread => {
            let number = reply.addr();
            let other = thread::spawn(move || answer(without_provenance_mut(number)));
            assert_eq!(other.join().unwrap(), ARGUS_OK);
        }
        How::AnswersTwice => {
            assert_eq!(answer(reply), ARGUS_OK);
            assert_eq!(answer(reply), ARGUS_BAD_HANDLE);
        }
        How::Refuses => {
            // SAFETY: a string.
            let code = unsafe { argus_reply_error(reply, c"busy".as_ptr(), true, null_mut()) };
            assert_eq!(code, ARGUS_OK);
        }
        How::SaysNothing => assert_eq!(argus_free(reply.cast()), ARGUS_OK),
    }
}

unsafe extern "C" fn gone(host: *mut c_void) {
    // SAFETY: it came from `Box::into_raw` below, and this is called once.
    let own = unsafe { Box::from_raw(host.cast::<Own>()) };
    own.dropped.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_hosts_own_cluster_answers_in_every_way_and_is_dropped_once() {
    let request = json!({ "namespaces": ["shop"] });
    let table = ClusterTable {
        size: size_of::<ClusterTable>(),
        call: Some(call),
        drop: Some(gone),
    };
    for (how, expected) in [
        (How::Answers, Ok(json!([]))),
        (How::AnswersFromAnotherThread, Ok(json!([]))),
        (How::AnswersTwice, Ok(json!([]))),
        (How::Refuses, Err("busy")),
        (How::SaysNothing, Err("the host gave no answer")),
    ] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let own = Own {
            how,
            dropped: Arc::clone(&dropped),
        };
        let own = Box::into_raw(Box::new(own)).cast();
        let runtime = Builder::new_current_thread().build().unwrap();
        // SAFETY: a table, and what its functions are called with.
        let cluster = unsafe { HostCluster::new(&raw const table, own) };
        let cluster = cluster.ok().unwrap();
        let answer = runtime.block_on(cluster.call("scan", request.clone()));
        let answer = answer.map_err(|refusal| refusal.message);
        assert_eq!(answer, expected.map_err(str::to_owned));
        drop(cluster);
        // The function of the host's may still be on its way back.
        drop(runtime);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_table_that_is_none_is_refused_and_nothing_is_called() {
    let whole = ClusterTable {
        size: size_of::<ClusterTable>(),
        call: Some(call),
        drop: Some(gone),
    };
    let short = ClusterTable {
        size: whole.size - 1,
        ..whole
    };
    let empty = ClusterTable {
        call: None,
        ..whole
    };
    for table in [null(), &raw const short, &raw const empty] {
        // SAFETY: null or a table; `gone` would fail on null.
        assert!(unsafe { HostCluster::new(table, null_mut()) }.is_err());
    }
}
