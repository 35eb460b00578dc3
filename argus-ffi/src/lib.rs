//! The C interface: JSON in and out, errors as values, no panic across the boundary. `include/argus.h` is its header.

use std::ffi::{CStr, CString, c_char};
use std::panic::catch_unwind;
use std::ptr;

/// It worked.
pub const ARGUS_OK: i32 = 0;
/// An argument is null or not UTF-8.
pub const ARGUS_BAD_ARGUMENT: i32 = 1;
/// The command can't be taken; `out` holds `{"message", "position", "hint"}`.
pub const ARGUS_COMMAND_REFUSED: i32 = 2;
/// A fault of Argus itself.
pub const ARGUS_INTERNAL: i32 = 3;

/// The version of the library, such as `0.1.0`; never freed.
#[unsafe(no_mangle)]
pub extern "C" fn argus_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Reads one kubectl command and writes the action as JSON, or the error as JSON, to `out`.
///
/// Returns one of the `ARGUS_` codes. What was written to `out` belongs to the caller, who gives it to
/// `argus_string_free`. May be called from any thread.
///
/// # Safety
/// `command` is null or a string that ends in a zero byte; `out` is null or points to a pointer that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_parse_command(command: *const c_char, out: *mut *mut c_char) -> i32 {
    if command.is_null() || out.is_null() {
        return ARGUS_BAD_ARGUMENT;
    }
    // SAFETY: neither is null, and the caller vouches for the rest.
    let command = unsafe {
        *out = ptr::null_mut();
        CStr::from_ptr(command)
    };
    let Ok(command) = command.to_str() else {
        return ARGUS_BAD_ARGUMENT;
    };
    let answer = catch_unwind(|| match argus_core::parse_command(command) {
        Ok(action) => (ARGUS_OK, serde_json::to_string(&action).ok()),
        Err(error) => {
            let json = serde_json::json!({ "message": error.to_string(), "position": error.position(), "hint": error.hint() });
            (ARGUS_COMMAND_REFUSED, Some(json.to_string()))
        }
    });
    let Ok((code, Some(json))) = answer else {
        return ARGUS_INTERNAL;
    };
    let Ok(json) = CString::new(json) else {
        return ARGUS_INTERNAL;
    };
    // SAFETY: as above.
    unsafe { *out = json.into_raw() };
    code
}

/// Frees a string that this library gave; null is ignored.
///
/// # Safety
/// `string` is null or came from this library and wasn't freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_string_free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: the caller vouches that it came from `CString::into_raw` above.
        drop(unsafe { CString::from_raw(string) });
    }
}
