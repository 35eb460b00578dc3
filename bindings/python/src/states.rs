//! The states of a plan as Python objects: each made only from the one before, none from outside.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use argus_core::{Answer, Shown, ShownChange};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::{Bound, PyAny, PyAnyMethods, PyResult, Python, pyclass, pymethods};

use crate::convert::{to_python, to_text};
use crate::errors;

/// What is to be done, step by step; nothing has been checked by policy yet.
#[pyclass(frozen, module = "argus")]
pub(crate) struct Plan(pub(crate) argus_core::Plan);

#[pymethods]
impl Plan {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("summary", "steps", "risk_level")
    }
    /// A plan from its JSON text, as `to_json` writes it. It passes every door again.
    ///
    /// :raises ValueError: for what isn't a plan.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| PyValueError::new_err(format!("this is no plan: {error}")))
    }
    /// Pickled as JSON.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        let from_json = py.get_type::<Self>().getattr("from_json")?;
        Ok((from_json, (self.to_json()?,)))
    }
    /// The plan's id.
    #[getter]
    fn plan_id(&self) -> &str {
        self.0.plan_id().as_str()
    }
    /// The incident that it is for.
    #[getter]
    fn incident_id(&self) -> &str {
        self.0.incident_id().as_str()
    }
    /// One sentence.
    #[getter]
    fn summary(&self) -> &str {
        self.0.summary()
    }
    /// In order: each with `description`, `command`, `is_destructive` and `action`.
    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.steps())
    }
    /// `low`, `medium` or `high`: computed from the actions, never below them.
    #[getter]
    fn risk_level(&self) -> String {
        self.0.risk_level().to_string()
    }
    /// Why.
    #[getter]
    fn risk_reason(&self) -> &str {
        self.0.risk_reason()
    }
    /// What the model suggests to people for going back; the undo of Argus doesn't use it.
    #[getter]
    fn rollback_steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.rollback_steps())
    }
    /// Who wrote it.
    #[getter]
    fn model_used(&self) -> &str {
        self.0.model_used()
    }
    /// When, in RFC 3339.
    #[getter]
    fn generated_at(&self) -> String {
        self.0.generated_at().to_string()
    }
    /// As a dict, with the fields that HTTP clients see.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0)
    }
    /// As JSON text.
    fn to_json(&self) -> PyResult<String> {
        to_text(&self.0)
    }
    fn __repr__(&self) -> String {
        let steps = self.0.steps().len();
        format!(
            "<Plan {}: {} step(s), {} risk>",
            self.0.plan_id(),
            steps,
            self.0.risk_level()
        )
    }
    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }
    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.plan_id().hash(&mut hasher);
        hasher.finish()
    }
}

/// A plan that no policy denied.
#[pyclass(frozen, module = "argus")]
pub(crate) struct Permitted(pub(crate) argus_core::Permitted);

#[pymethods]
impl Permitted {
    /// The plan.
    #[getter]
    fn plan(&self) -> Plan {
        Plan(self.0.plan().clone())
    }
    /// What policy said: `verdict`, `violations` and the `opinions` of the packs.
    #[getter]
    fn evaluation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, self.0.evaluation())
    }
    fn __repr__(&self) -> String {
        format!("<Permitted {}>", self.0.plan().plan_id())
    }
}

/// A permitted plan with what it would change: what a person approves.
#[pyclass(frozen, module = "argus")]
pub(crate) struct DryRun(pub(crate) argus_core::DryRun);

#[pymethods]
impl DryRun {
    /// The plan.
    #[getter]
    fn plan(&self) -> Plan {
        Plan(self.0.plan().clone())
    }
    /// `allow` or `require_approval`.
    #[getter]
    fn verdict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.verdict())
    }
    /// What an approval binds: SHA-256 over plan, policy, verdict, and each object before and after.
    #[getter]
    fn digest(&self) -> String {
        self.0.digest().to_string()
    }
    /// How many people have to approve it.
    #[getter]
    fn people(&self) -> u8 {
        self.0.people()
    }
    /// The name that a person has to type, for a plan of high risk.
    #[getter]
    fn name_to_type(&self) -> Option<&str> {
        self.0.name_to_type()
    }
    /// Per step, the fields that would change: a list of `field`, `before` and `after` as people read them.
    #[getter]
    fn changes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let steps = Shown::from(&self.0).steps.into_iter();
        let changes: Vec<Vec<ShownChange>> = steps.map(|step| step.changes).collect();
        to_python(py, &changes)
    }
    /// Per step, what the cluster warned of.
    #[getter]
    fn warnings(&self) -> Vec<Vec<String>> {
        let previews = self.0.previews().iter();
        previews.map(|preview| preview.warnings.clone()).collect()
    }
    /// Approve it in the name of one person, or of several where policy wants them.
    ///
    /// For a plan of high risk `typed_name` is what they typed: it has to be `name_to_type`.
    ///
    /// :raises NotApproved: when more is needed: another person, the typed name.
    #[pyo3(signature = (*users, typed_name=None))]
    fn approve(
        &self,
        py: Python<'_>,
        users: Vec<String>,
        typed_name: Option<&str>,
    ) -> PyResult<Approved> {
        let answers = users.into_iter().map(|user| match typed_name {
            Some(typed) => Answer::confirm_by_name(user, typed),
            None => Answer::confirm(user),
        });
        let approved = self.0.clone().approve_together(answers);
        approved
            .map(Approved::new)
            .map_err(|error| errors::approval(py, &error))
    }
    /// Approve it without a person, in the name of a component of the host: only where the verdict is `allow`.
    ///
    /// :raises NotApproved: where a person has to approve it.
    fn approve_automatically(&self, py: Python<'_>, component: &str) -> PyResult<Approved> {
        let approved = self.0.clone().approve(Answer::automatic(component));
        approved
            .map(Approved::new)
            .map_err(|error| errors::approval(py, &error))
    }
    fn __repr__(&self) -> String {
        format!("<DryRun {} {}>", self.0.plan().plan_id(), self.0.digest())
    }
}

/// A plan that may be executed, once, until the approval expires.
#[pyclass(frozen, module = "argus")]
pub(crate) struct Approved {
    approved: Mutex<Option<argus_core::Approved>>,
    plan: argus_core::Plan,
    digest: String,
    expires_at: String,
}

impl Approved {
    fn new(approved: argus_core::Approved) -> Self {
        Self {
            plan: approved.plan().clone(),
            digest: approved.digest().to_string(),
            expires_at: approved.expires_at().to_string(),
            approved: Mutex::new(Some(approved)),
        }
    }

    /// The approval itself; none when it was used.
    pub(crate) fn take(&self) -> Option<argus_core::Approved> {
        let mut approved = self.approved.lock().unwrap_or_else(PoisonError::into_inner);
        approved.take()
    }
}

#[pymethods]
impl Approved {
    /// The plan.
    #[getter]
    fn plan(&self) -> Plan {
        Plan(self.plan.clone())
    }
    /// What was approved.
    #[getter]
    fn digest(&self) -> &str {
        &self.digest
    }
    /// Until when, in RFC 3339.
    #[getter]
    fn expires_at(&self) -> &str {
        &self.expires_at
    }
    fn __repr__(&self) -> String {
        format!(
            "<Approved {} until {}>",
            self.plan.plan_id(),
            self.expires_at
        )
    }
}
