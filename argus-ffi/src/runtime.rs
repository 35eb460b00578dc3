//! The threads that a host gives to Argus.

use std::ffi::c_char;
use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle as Tokio, Runtime as Threads};

use crate::boundary::{Failure, with_error};
use crate::handles::{Handle, give};

/// Threads.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Runtime(());

impl Handle for Runtime {
    type Value = Shared;
    const NAME: &'static str = "runtime";
}

/// The threads, for as long as somebody needs them.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Owned>);

struct Owned {
    process: u32,
    threads: Option<Threads>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // The last who needed them may be one of these threads, which can't wait for itself.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Shared {
    fn threads(&self) -> Result<&Threads, Failure> {
        if self.0.process != std::process::id() {
            return Err(Failure::argument(
                "the runtime was made before this process was forked, and its threads stayed behind: make one after the fork",
            ));
        }
        let none = || Failure::new("internal", "the runtime is gone");
        self.0.threads.as_ref().ok_or_else(none)
    }

    /// Runs `future` to its end on these threads, and waits for it on the caller's.
    pub(crate) fn wait<T, F>(&self, future: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        if Tokio::try_current().is_ok() {
            return Err(Failure::argument(
                "this function waits, and was called from within a callback: call it from a thread of the host",
            ));
        }
        let threads = self.threads()?;
        let done = threads.block_on(threads.spawn(future));
        done.map_err(|_| Failure::new("internal", "argus failed inside: please report it"))
    }
}

/// Starts `threads` threads, at least one; everything that waits is made with them. They end when the runtime and all that was
/// made with it are freed.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_runtime_new(
    threads: u32,
    out: *mut *mut Runtime,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let started = Builder::new_multi_thread()
                .worker_threads(threads.clamp(1, 64) as usize)
                .thread_name("argus")
                .enable_all()
                .build()
                .map_err(|problem| Failure::of("internal")(&problem))?;
            let owned = Owned {
                process: std::process::id(),
                threads: Some(started),
            };
            give(out, Shared(Arc::new(owned)))
        })
    }
}
