//! The table of handles. A handle looks like a pointer to C, and is a number that is never given out twice.

use std::any::Any;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::boundary::{Failure, guarded};
use crate::codes::{ARGUS_BAD_HANDLE, ARGUS_OK};

type Held = Arc<dyn Any + Send + Sync>;

static TABLE: LazyLock<RwLock<HashMap<usize, Held>>> = LazyLock::new(RwLock::default);
/// Even numbers that don't look like small arguments.
static NEXT: AtomicUsize = AtomicUsize::new(0x1000);

/// What a handle of this C type stands for.
pub(crate) trait Handle {
    /// The value in the table.
    type Value: Send + Sync + 'static;
    /// Its name in messages.
    const NAME: &'static str;
}

/// Puts a value into the table; the pointer is a number and may never be followed.
pub(crate) fn put<H: Handle>(value: H::Value) -> *mut H {
    let number = NEXT.fetch_add(2, Ordering::Relaxed);
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(number, Arc::new(value));
    ptr::without_provenance_mut(number)
}

/// Puts a value into the table and writes its handle to `out`.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn give<H: Handle>(out: *mut *mut H, value: H::Value) -> Result<(), Failure> {
    if out.is_null() {
        return Err(Failure::argument("`out` is null"));
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { *out = put(value) };
    Ok(())
}

/// What a handle stands for.
pub(crate) fn get<H: Handle>(handle: *const H) -> Result<Arc<H::Value>, Failure> {
    let refused = |why: &str| Failure::new("bad_handle", format!("the {} {why}", H::NAME));
    if handle.is_null() {
        return Err(refused("is null"));
    }
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let held = table.get(&handle.addr()).map(Arc::clone);
    let held = held.ok_or_else(|| refused("was freed, or never was a handle"))?;
    held.downcast()
        .map_err(|_| refused("is a handle of another kind"))
}

/// Takes a value out of the table; none if it isn't there.
pub(crate) fn take<H: Handle>(handle: *const H) -> Option<Arc<H::Value>> {
    get(handle).ok()?;
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    table.remove(&handle.addr())?.downcast().ok()
}

/// What may be shown of a handle of any kind.
pub(crate) fn any(handle: *const c_void) -> Option<Held> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    table.get(&handle.addr()).map(Arc::clone)
}

/// Frees a handle of any kind; null is ignored.
///
/// ARGUS_BAD_HANDLE for one that was freed already.
#[unsafe(no_mangle)]
pub extern "C" fn argus_free(handle: *const c_void) -> i32 {
    if handle.is_null() {
        return ARGUS_OK;
    }
    guarded(|| {
        let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
        let held = table.remove(&handle.addr());
        // What it holds may run code of the host when it is dropped: not while the table is locked.
        drop(table);
        if held.is_some() {
            ARGUS_OK
        } else {
            ARGUS_BAD_HANDLE
        }
    })
}
