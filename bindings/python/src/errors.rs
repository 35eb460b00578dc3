//! The core's errors become the exceptions of `argus`, each with what a host has to know as attributes.

use std::error::Error;

use argus_core::{ApprovalError, CommandError, RemediatorError};
use pyo3::PyErr;
use pyo3::prelude::{PyAnyMethods, PyResult, Python};
use pyo3::types::PyDict;
use serde_json::{Value, json};

use crate::convert::to_python;

/// The error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

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
        let message = raised(error).map_or_else(|| chain(error), |_| error.to_string());
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
    let attributes = json!({ "position": error.position(), "hint": error.hint() });
    make(py, "CommandError", error, &attributes)
}

pub(crate) fn approval(py: Python<'_>, error: &ApprovalError) -> PyErr {
    plain(py, "NotApproved", error)
}

pub(crate) fn remediator(py: Python<'_>, error: &RemediatorError) -> PyErr {
    use RemediatorError as E;
    let (class, mut attributes) = match error {
        E::Llm(_) => ("NoPlan", json!({ "attempts": 1 })),
        E::Plan { attempts, .. } => ("NoPlan", json!({ "attempts": attempts })),
        E::Policy(_) => ("PolicyFailed", json!({})),
        E::Denied { plan, evaluation } => (
            "Denied",
            json!({ "plan": plan, "violations": evaluation.violations }),
        ),
        E::Manual { steps } => ("ManualSteps", json!({ "steps": steps })),
        E::Permissions { missing } => ("MissingPermissions", json!({ "missing": missing })),
        E::DryRun { step, .. } => ("DryRunFailed", json!({ "step": step })),
        E::Disabled => ("Disabled", json!({})),
        E::Stale { what } => ("Stale", json!({ "what": what })),
        E::Busy { target } => ("Busy", json!({ "target": target })),
        E::Held(plan_id) => ("Busy", json!({ "target": plan_id })),
        E::Audit { standing, .. } => ("AuditFailed", json!({ "standing": standing })),
        E::Halted { standing } => ("Halted", json!({ "standing": standing })),
        E::Store(_) => ("StoreFailed", json!({})),
        E::NotUnfinished(plan_id) => ("NotUnfinished", json!({ "plan_id": plan_id })),
        E::Scan(_) => ("ScanFailed", json!({})),
        E::Digest(_) => ("ArgusError", json!({})),
    };
    if let Some(attributes) = attributes.as_object_mut() {
        attributes.insert("retryable".into(), error.is_retryable().into());
    }
    make(py, class, error, &attributes)
}
