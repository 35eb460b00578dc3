//! The native half of `import argus`: no rule of its own.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::{
    Bound, PyAnyMethods, PyModule, PyModuleMethods, PyResult, Python, pyfunction, pymodule,
};
use pyo3::{PyErr, wrap_pyfunction};

/// Reads one kubectl command; the action as JSON text, or `argus.CommandError`.
#[pyfunction]
fn parse_command(py: Python<'_>, text: &str) -> PyResult<String> {
    match argus_core::parse_command(text) {
        Ok(action) => serde_json::to_string(&action)
            .map_err(|error| PyRuntimeError::new_err(error.to_string())),
        Err(error) => {
            let class = py.import("argus")?.getattr("CommandError")?;
            Err(PyErr::from_value(class.call1((
                error.to_string(),
                error.position(),
                error.hint(),
            ))?))
        }
    }
}

#[pymodule]
fn _argus(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(parse_command, module)?)
}
