//! The C interface: JSON in and out, errors as values, no panic across the boundary. `include/argus.h` is its header.
//!
//! A handle is a number in a table, never an address: one that was freed, or is of another kind, is refused and not followed.

use std::ffi::c_char;

mod boundary;
mod codes;
#[cfg(test)]
mod crossing;
mod doors;
mod handles;
mod host;
mod runtime;
mod walk;

pub use codes::*;
pub use doors::*;
pub use handles::argus_free;
pub use host::*;
pub use runtime::{Runtime, argus_runtime_new};
pub use walk::*;

use argus_core::{Incident, Scan};
use boundary::{Failure, give, give_text, text, with_error};
use serde_json::Value;

/// The version of the library, such as `0.1.0`; never freed.
#[unsafe(no_mangle)]
pub extern "C" fn argus_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The version of this interface: it grows when something is added, and the library's file name (SONAME) changes when
/// something is taken away.
#[unsafe(no_mangle)]
pub extern "C" fn argus_abi_version() -> u32 {
    1
}

/// Reads one kubectl command and writes the action as JSON to `out`.
///
/// ARGUS_COMMAND_REFUSED for what isn't exactly one clean kubectl command, with its "position" and a "hint".
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_parse_command(
    command: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the three pointers.
    unsafe {
        with_error(error, || {
            let action = argus_core::parse_command(text(command)?)?;
            give(out, &action)
        })
    }
}

/// Writes a text to `out` as it may be kept and shown: without what looks like a secret, bounded to 4,096 characters.
///
/// What reads as a JSON object or list is redacted by its fields, and bounded to 200 entries of each and eight levels; one that holds no
/// secret comes out as it went in.
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_redact(
    given: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the three pointers.
    unsafe {
        with_error(error, || {
            let given = text(given)?;
            match serde_json::from_str::<Value>(given) {
                Ok(json) if json.is_object() || json.is_array() => {
                    let kept = argus_core::redact_json(json.clone());
                    match kept == json {
                        true => give_text(out, given.to_owned()),
                        false => give(out, &kept),
                    }
                }
                _ => give_text(out, argus_core::redact(given)),
            }
        })
    }
}

/// Puts the findings of a scan together that have one cause, and writes the incidents to `out`, a list, worst causes first in each.
///
/// `scan` is what argus_remediator_scan gave.
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_correlate(
    scan: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the three pointers.
    unsafe {
        with_error(error, || {
            let incidents = Incident::correlate(read_scan(scan)?.findings);
            let incidents = incidents.map_err(|error| Failure::argument(error.to_string()))?;
            give(out, &incidents)
        })
    }
}

/// Writes a scan to `out` as SARIF 2.1.0, for tools that show the findings of analyzers.
///
/// `scan` is what argus_remediator_scan gave.
///
/// # Safety
/// As the header says of strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_to_sarif(
    scan: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the three pointers.
    unsafe { with_error(error, || give(out, &read_scan(scan)?.to_sarif())) }
}

/// # Safety
/// As of [`text`].
unsafe fn read_scan(given: *const c_char) -> Result<Scan, Failure> {
    // SAFETY: the caller vouches for it.
    serde_json::from_str(unsafe { text(given)? })
        .map_err(|error| Failure::argument(format!("this is no scan: {error}")))
}

/// Frees a string that this library gave; null is ignored.
///
/// # Safety
/// `string` is null or came from this library and wasn't freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_string_free(string: *mut c_char) {
    // SAFETY: the caller vouches that it came from `boundary::give`.
    unsafe { boundary::free(string) }
}
