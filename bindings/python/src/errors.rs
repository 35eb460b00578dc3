//! The core's errors become the exceptions of `argus`, each with what a host has to know as attributes.

use std::error::Error;

use argus_core::{ApprovalError, CommandError, Problem, RemediatorError};
use pyo3::PyErr;
use pyo3::prelude::{PyAnyMethods, PyResult, Python};
use pyo3::types::PyDict;
use serde_json::{Value, json};

use crate::convert::to_python;

/// What a door that is a Python object raised.
fn raised<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e PyErr> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(raised) = error.downcast_ref::<PyErr>() {
            return Some(raised);
        }
        next = error.source();
    }
    None
}

/// An exception of `argus` by its name.
fn make(py: Python<'_>, class: &str, error: &(dyn Error + 'static), attributes: &Value) -> PyErr {
    let built = || -> PyResult<PyErr> {
        let class = py.import("argus")?.getattr(class)?;
        let attributes = to_python(py, attributes)?;
        let named = attributes.cast_into::<PyDict>()?;
        let message = raised(error).map_or_else(|| Problem::causes(error), |_| error.to_string());
        let made = PyErr::from_value(class.call((message,), Some(&named))?);
        if let Some(cause) = raised(error) {
            made.set_cause(py, Some(cause.clone_ref(py)));
        }
        Ok(made)
    };
    built().unwrap_or_else(|failed| failed)
}

/// An error without attributes of its own.
pub(crate) fn plain(py: Python<'_>, class: &str, error: &(dyn Error + 'static)) -> PyErr {
    make(py, class, error, &json!({}))
}

pub(crate) fn command(py: Python<'_>, error: &CommandError) -> PyErr {
    let details = Problem::from(error).details;
    make(py, "CommandError", error, &details.into())
}

pub(crate) fn approval(py: Python<'_>, error: &ApprovalError) -> PyErr {
    plain(py, "NotApproved", error)
}

pub(crate) fn remediator(py: Python<'_>, error: &RemediatorError) -> PyErr {
    let problem = Problem::from(error);
    let class = match problem.code {
        "internal" => "ArgusError".to_owned(),
        code => code.split('_').map(capitalised).collect(),
    };
    let mut attributes = problem.details;
    attributes.insert("retryable".into(), problem.retryable.into());
    make(py, &class, error, &attributes.into())
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
