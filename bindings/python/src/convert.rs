//! What Python hands over becomes JSON text, and what Argus has becomes Python's own dicts and lists.

use pyo3::prelude::{Bound, PyAny, PyAnyMethods, PyResult, Python};
use pyo3::types::PyString;
use serde::Serialize;

/// A dict, a list or a scalar, as `json.loads` makes it.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    value: &impl Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    let text = to_text(value)?;
    py.import("json")?.call_method1("loads", (text,))
}

/// The same as JSON text.
pub(crate) fn to_text(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value)
        .map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))
}

/// JSON text of a `str`, of a pydantic model, or of whatever `json.dumps` takes.
pub(crate) fn from_python(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return text.extract();
    }
    let text = match value.getattr_opt("model_dump_json")? {
        Some(dump) => dump.call0()?,
        None => value.py().import("json")?.call_method1("dumps", (value,))?,
    };
    text.extract()
}
