//! The one Tokio runtime of the process, and waiting for it without holding the GIL.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::{PyResult, Python};
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// How often a wait looks for signals.
const SIGNALS: Duration = Duration::from_millis(50);

struct Started {
    process: u32,
    runtime: Runtime,
}

static STARTED: OnceLock<Result<Started, String>> = OnceLock::new();

fn runtime() -> PyResult<&'static Runtime> {
    let start = || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("argus")
            .enable_all()
            .build();
        let process = std::process::id();
        runtime
            .map(|runtime| Started { process, runtime })
            .map_err(|error| format!("argus can't start its threads: {error}"))
    };
    match STARTED.get_or_init(start) {
        Ok(started) if started.process == std::process::id() => Ok(&started.runtime),
        Ok(_) => Err(PyRuntimeError::new_err(
            "argus was used before this process was forked, and its threads stayed behind: use it after the fork only, or start processes with `multiprocessing.set_start_method(\"spawn\")`",
        )),
        Err(problem) => Err(PyRuntimeError::new_err(problem.clone())),
    }
}

/// For calls that need the runtime around them, without waiting.
pub(crate) fn enter() -> PyResult<EnterGuard<'static>> {
    runtime().map(Runtime::enter)
}

/// Waits for `future` with the GIL released. It runs to its end even if the wait is given up for a signal.
pub(crate) fn wait<T, F>(py: Python<'_>, future: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (send, mut receive) = channel();
    runtime()?.spawn(async move {
        // Nobody listens any more after a signal.
        let _ = send.send(future.await);
    });
    loop {
        let answer;
        (receive, answer) = py.detach(move || {
            let answer = receive.recv_timeout(SIGNALS);
            (receive, answer)
        });
        match answer {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err(
                    "argus failed inside: please report it with what was printed above",
                ));
            }
        }
    }
}
