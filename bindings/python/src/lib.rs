//! The native half of `import argus`: no rule of its own.

use std::sync::OnceLock;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::{
    Bound, PyAny, PyModule, PyModuleMethods, PyResult, Python, pyfunction, pymodule,
};
use pyo3::wrap_pyfunction;

mod convert;
mod doors;
mod errors;
mod remediator;
mod runtime;
mod states;

/// Read one kubectl command.
///
/// :raises CommandError: for what isn't exactly one clean kubectl command.
#[pyfunction]
fn parse_command<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    match argus_core::parse_command(text) {
        Ok(action) => convert::to_python(py, &action),
        Err(error) => Err(errors::command(py, &error)),
    }
}

/// The interpreter that imported the module, by its own `sys`.
static INTERPRETER: OnceLock<usize> = OnceLock::new();

#[pymodule]
fn _argus(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let sys = module.py().import("sys")?.as_ptr() as usize;
    if *INTERPRETER.get_or_init(|| sys) != sys {
        return Err(PyImportError::new_err(
            "argus is in another interpreter of this process already, and supports one: use processes instead of subinterpreters",
        ));
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(parse_command, module)?)?;
    module.add_class::<doors::FileAudit>()?;
    module.add_class::<doors::GenAi>()?;
    module.add_class::<doors::Kube>()?;
    module.add_class::<doors::Playbook>()?;
    module.add_class::<doors::PolicyEngine>()?;
    module.add_class::<doors::PostgresAudit>()?;
    module.add_class::<doors::Prompt>()?;
    module.add_class::<doors::TestCluster>()?;
    module.add_class::<remediator::Remediator>()?;
    module.add_class::<states::Approved>()?;
    module.add_class::<states::DryRun>()?;
    module.add_class::<states::Permitted>()?;
    module.add_class::<states::Plan>()?;
    Ok(())
}
