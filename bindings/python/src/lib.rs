//! The native half of `import argus`: no rule of its own.

use std::sync::OnceLock;

use argus_core::{Incident, Scan};
use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::{
    Bound, PyAny, PyAnyMethods, PyModule, PyModuleMethods, PyResult, Python, pyfunction, pymodule,
};
use pyo3::types::PyString;
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

/// A text, or what `json.dumps` takes, as it may be kept and shown: bounded and without what looks like a secret.
///
/// Values are judged together with their names: `{"password": "hunter2"}`, `{"name": "DB_PASSWORD", "value": "hunter2"}`, the data of
/// Secrets. A text has 4,096 characters at most, JSON 200 entries of each list and dict and eight levels.
///
/// :raises ValueError: for what is no JSON.
#[pyfunction]
fn redact<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(text) = value.cast::<PyString>() {
        let text: String = text.extract()?;
        return Ok(PyString::new(py, &argus_core::redact(&text)).into_any());
    }
    let json = serde_json::from_str(&convert::from_python(value)?)
        .map_err(|error| PyValueError::new_err(format!("this is no JSON: {error}")))?;
    convert::to_python(py, &argus_core::redact_json(json))
}

/// Put the findings of a scan together that have one cause: incidents, in each the causes before their symptoms.
///
/// :raises IncidentError: for what is no scan.
#[pyfunction]
fn correlate<'py>(py: Python<'py>, scan: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let scan = read_scan(scan)?;
    let incidents = Incident::correlate(scan.findings);
    let incidents = incidents.map_err(|error| errors::plain(py, "IncidentError", &error))?;
    convert::to_python(py, &incidents)
}

/// A scan as a SARIF 2.1.0 log.
///
/// :raises IncidentError: for what is no scan.
#[pyfunction]
fn to_sarif<'py>(py: Python<'py>, scan: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    convert::to_python(py, &read_scan(scan)?.to_sarif())
}

/// A scan in Prometheus' text format.
///
/// :raises IncidentError: for what is no scan.
#[pyfunction]
fn to_prometheus(scan: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(read_scan(scan)?.to_prometheus())
}

fn read_scan(scan: &Bound<'_, PyAny>) -> PyResult<Scan> {
    let text = convert::from_python(scan)?;
    serde_json::from_str(&text).map_err(|error| errors::plain(scan.py(), "IncidentError", &error))
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
    module.add_function(wrap_pyfunction!(correlate, module)?)?;
    module.add_function(wrap_pyfunction!(redact, module)?)?;
    module.add_function(wrap_pyfunction!(to_prometheus, module)?)?;
    module.add_function(wrap_pyfunction!(to_sarif, module)?)?;
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
