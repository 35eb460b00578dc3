//! What crosses the boundary: strings in, JSON out, errors as values. Every `unsafe` of the crate that isn't a callback is here.

use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use argus_core::{ApprovalError, CommandError, Problem, RemediatorError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codes::{ARGUS_INTERNAL, ARGUS_OK, number};

/// The longest JSON or text that is taken, in bytes.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// Why a call failed.
pub(crate) struct Failure(Problem);

impl Failure {
    /// By the word of the code, with no more than a text.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(Problem {
            code,
            message: message.into(),
            retryable: false,
            details: serde_json::Map::new(),
        })
    }

    pub(crate) fn of(code: &'static str) -> impl Fn(&(dyn std::error::Error + 'static)) -> Self {
        move |error| Self(Problem::new(code, error))
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new("bad_argument", message)
    }
}

impl From<RemediatorError> for Failure {
    fn from(error: RemediatorError) -> Self {
        Self(Problem::from(&error))
    }
}

impl From<ApprovalError> for Failure {
    fn from(error: ApprovalError) -> Self {
        Self(Problem::from(&error))
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self(Problem::from(&error))
    }
}

/// Runs a call; what it fails with is a code, and JSON in `error`.
///
/// # Safety
/// `error` is null or may be written.
pub(crate) unsafe fn with_error(
    error: *mut *mut c_char,
    call: impl FnOnce() -> Result<(), Failure>,
) -> i32 {
    if !error.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { *error = ptr::null_mut() };
    }
    let result = catch_unwind(AssertUnwindSafe(call));
    let Failure(problem) = match result {
        Ok(Ok(())) => return ARGUS_OK,
        Ok(Err(failure)) => failure,
        Err(_) => Failure::new("internal", "argus failed inside: please report it"),
    };
    if !error.is_null() {
        // SAFETY: the caller vouches for it.
        unsafe { *error = json(&problem).unwrap_or(ptr::null_mut()) };
    }
    number(problem.code)
}

fn json(value: &impl Serialize) -> Result<*mut c_char, Failure> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|error| Failure::new("internal", error.to_string()))?;
    // JSON has no zero byte: it is escaped.
    CString::new(text)
        .map(CString::into_raw)
        .map_err(|error| Failure::new("internal", error.to_string()))
}

/// A string of the caller's.
///
/// # Safety
/// `given` is null or ends in a zero byte, and stays as it is for as long as the answer is used.
pub(crate) unsafe fn text<'a>(given: *const c_char) -> Result<&'a str, Failure> {
    if given.is_null() {
        return Err(Failure::argument("a string is null"));
    }
    // SAFETY: not null, and the caller vouches for the rest.
    let given = unsafe { CStr::from_ptr(given) };
    if given.count_bytes() > MAX_TEXT {
        return Err(Failure::argument(format!(
            "a string is longer than {MAX_TEXT} bytes"
        )));
    }
    given
        .to_str()
        .map_err(|error| Failure::argument(format!("a string is not UTF-8: {error}")))
}

/// The same, read as JSON; null is an empty object.
///
/// # Safety
/// As of [`text`].
pub(crate) unsafe fn options<T: DeserializeOwned>(given: *const c_char) -> Result<T, Failure> {
    let given = if given.is_null() {
        "{}"
    } else {
        // SAFETY: the caller vouches for it.
        unsafe { text(given)? }
    };
    serde_json::from_str(given).map_err(|error| Failure::argument(format!("the options: {error}")))
}

/// Writes JSON to `out`.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn give(out: *mut *mut c_char, value: &impl Serialize) -> Result<(), Failure> {
    if out.is_null() {
        return Err(Failure::argument("`out` is null"));
    }
    let json = json(value)?;
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { *out = json };
    Ok(())
}

/// Writes a text to `out`; what would end a C string stands in it as a blank.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn give_text(out: *mut *mut c_char, text: String) -> Result<(), Failure> {
    if out.is_null() {
        return Err(Failure::argument("`out` is null"));
    }
    let text = CString::new(text.replace('\0', " "));
    let text = text.map_err(|error| Failure::argument(error.to_string()))?;
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { *out = text.into_raw() };
    Ok(())
}

/// # Safety
/// `string` is null or came from [`give`] or [`with_error`].
pub(crate) unsafe fn free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: it came from `CString::into_raw` above.
        drop(unsafe { CString::from_raw(string) });
    }
}

/// For numbers that a panic must not keep from being returned.
pub(crate) fn guarded(call: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(ARGUS_INTERNAL)
}
