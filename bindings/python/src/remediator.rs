//! The corridor, for Python: every call waits with the GIL released and runs to its end once it began.

use std::path::PathBuf;

use argus_core::{
    Actor, AuditRecord, Budget, FilePlans, HoldBounds, Incident, OnFailure, Prices,
    Remediator as Core, RemediatorError, Settings,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::{Bound, Py, PyAny, PyAnyMethods, PyRef, PyResult, Python, pyclass, pymethods};

use crate::convert::{from_python, to_python};
use crate::doors::{self, AnyCluster, PolicyEngine};
use crate::errors;
use crate::runtime::wait;
use crate::states::{Approved, DryRun, Permitted, Plan};

/// The walk from an incident to proof: suggest, review, dry_run, approve, execute.
///
/// Nothing is written to the cluster but the steps of an approved plan, each after its intent is durable in the trail.
/// `enabled` is false by default: everything but `execute` works without it.
#[pyclass(frozen, module = "argus")]
pub(crate) struct Remediator(Core);

fn answer<T>(py: Python<'_>, result: Result<T, RemediatorError>) -> PyResult<T> {
    result.map_err(|error| errors::remediator(py, &error))
}

pub(crate) fn incident(py: Python<'_>, given: &Bound<'_, PyAny>) -> PyResult<Incident> {
    Incident::from_json(&from_python(given)?)
        .map_err(|error| errors::plain(py, "IncidentError", &error))
}

#[pymethods]
impl Remediator {
    /// `plans` is a folder where plans are kept for the next process; a trail in PostgreSQL keeps them itself. `observe` is called with each record of the trail as soon as
    /// it is durable, and must return quickly. `on_failure` is `undo` or `stop`.
    /// `hold` is a dict of `min_seconds` and `max_seconds`: how long a fix is watched before it counts as one, 10 and 600 by default; with a
    /// maximum of 0 none ever does. `tries` is how many plans `fix` carries out for one incident, 3 by default.
    /// `budget` is a dict of `attempts`, `tokens` and `seconds` for one plan, `cost_usd`, `tokens_per_day` and `cost_usd_per_day`; money
    /// takes `prices`, by model `input_cost_per_token` and `output_cost_per_token`, as in LiteLLM's table. `language` is what a model
    /// writes plans and diagnoses in, such as `German`.
    #[new]
    #[pyo3(signature = (*, scope, llm, policy, cluster, audit, plans=None, enabled=false, allow_high_risk=false, on_failure="undo", user=None, observe=None, budget=None, prices=None, language=None, hold=None, tries=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        py: Python<'_>,
        scope: Vec<String>,
        llm: &Bound<'_, PyAny>,
        policy: PyRef<'_, PolicyEngine>,
        cluster: &Bound<'_, PyAny>,
        audit: &Bound<'_, PyAny>,
        plans: Option<PathBuf>,
        enabled: bool,
        allow_high_risk: bool,
        on_failure: &str,
        user: Option<String>,
        observe: Option<Py<PyAny>>,
        budget: Option<&Bound<'_, PyAny>>,
        prices: Option<&Bound<'_, PyAny>>,
        language: Option<String>,
        hold: Option<&Bound<'_, PyAny>>,
        tries: Option<u32>,
    ) -> PyResult<Self> {
        let on_failure = match on_failure {
            "undo" => OnFailure::Undo,
            "stop" => OnFailure::Stop,
            other => {
                let problem = format!("on_failure is `undo` or `stop`, not `{other}`");
                return Err(PyValueError::new_err(problem));
            }
        };
        let (audit, kept) = doors::audit(audit)?;
        let mut builder = Core::builder()
            .scope(doors::scope(py, scope)?)
            .settings(Settings {
                enabled,
                allow_high_risk,
            })
            .on_failure(on_failure)
            .llm(doors::provider(llm)?)
            .policy(std::sync::Arc::clone(&policy.0))
            .audit(audit);
        builder = match doors::cluster(cluster)? {
            AnyCluster::Kube(kube) => builder.cluster(kube),
            AnyCluster::Python(door) => builder.cluster(door),
        };
        if let Some(kept) = kept {
            builder = builder.plans(kept);
        }
        if let Some(folder) = plans {
            let opened = wait(py, async move { FilePlans::open(folder).await })?;
            builder =
                builder.plans(opened.map_err(|error| errors::plain(py, "StoreFailed", &error))?);
        }
        if let Some(hold) = hold {
            let bounds = serde_json::from_str::<HoldBounds>(&from_python(hold)?);
            let wrong = |error| PyValueError::new_err(format!("the hold is malformed: {error}"));
            builder = builder.hold(bounds.map_err(wrong)?);
        }
        if let Some(tries) = tries {
            builder = builder.tries(tries);
        }
        if let Some(budget) = budget {
            let budget = serde_json::from_str::<Budget>(&from_python(budget)?);
            let wrong = |error| PyValueError::new_err(format!("the budget is malformed: {error}"));
            builder = builder.budget(budget.map_err(wrong)?);
        }
        if let Some(prices) = prices {
            let prices = Prices::from_json(&from_python(prices)?);
            builder =
                builder.prices(prices.map_err(|error| PyValueError::new_err(error.to_string()))?);
        }
        if let Some(language) = language {
            builder = builder.language(language);
        }
        if let Some(user) = user {
            let actor = Actor::user(user);
            builder = builder
                .actor(actor.map_err(|error| PyValueError::new_err(format!("`user`: {error}")))?);
        }
        if let Some(observe) = observe {
            builder = builder.observe(move |record: &AuditRecord| {
                Python::attach(|py| {
                    let told =
                        to_python(py, record).and_then(|record| observe.call1(py, (record,)));
                    if let Err(raised) = told {
                        raised.write_unraisable(py, Some(observe.bind(py)));
                    }
                });
            });
        }
        let built = builder.build();
        built
            .map(Self)
            .map_err(|error| errors::plain(py, "ArgusError", &error))
    }

    /// Look at the cluster: `findings`, `workloads`, and what is `incomplete`.
    ///
    /// :raises ScanFailed: when nothing could be read.
    fn scan<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.0.clone();
        let scan = wait(py, async move { core.scan().await })?;
        let scan = scan.map_err(|error| errors::plain(py, "ScanFailed", &error))?;
        to_python(py, &scan)
    }

    /// Ask for a plan. The incident is a dict, JSON text or a pydantic model, as argus-ops has them. Nothing is executed.
    ///
    /// :raises NoPlan: when no answer of the model was a plan.
    /// :raises OverBudget: when no model may be asked.
    /// :raises IncidentError: names the field that is wrong.
    fn suggest(&self, py: Python<'_>, incident: &Bound<'_, PyAny>) -> PyResult<Plan> {
        let incident = self::incident(py, incident)?;
        let core = self.0.clone();
        answer(py, wait(py, async move { core.suggest(&incident).await })?).map(Plan)
    }

    /// Ask what the findings of an incident come from. Put the answer into the incident as `diagnosis` before a plan is asked for.
    ///
    /// :raises NoPlan: when no answer of the model was a diagnosis.
    /// :raises OverBudget: when no model may be asked.
    fn diagnose<'py>(
        &self,
        py: Python<'py>,
        incident: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let incident = self::incident(py, incident)?;
        let core = self.0.clone();
        let diagnosis = answer(py, wait(py, async move { core.diagnose(&incident).await })?)?;
        to_python(py, &diagnosis)
    }

    /// Why a plan would be refused whatever policy and the cluster say; nobody is asked.
    ///
    /// Steps for people, objects out of scope, changes that are never made, and high risk where it isn't allowed: each a dict of
    /// `pack`, `id`, `message`, `step` (its index, or `None`) and `hint`.
    fn refusals<'py>(
        &self,
        py: Python<'py>,
        plan: PyRef<'py, Plan>,
    ) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.refusals(&plan.0))
    }

    /// Ask policy about the actions.
    ///
    /// :raises Denied: with every violation.
    fn review(&self, py: Python<'_>, plan: PyRef<'_, Plan>) -> PyResult<Permitted> {
        let (core, plan) = (self.0.clone(), plan.0.clone());
        answer(py, wait(py, async move { core.review(plan).await })?).map(Permitted)
    }

    /// Try every step on the API server without doing it, and ask policy about the resulting objects.
    ///
    /// :raises ManualSteps: for a plan with steps that only a person may do.
    /// :raises MissingPermissions: names what the host may not do.
    /// :raises DryRunFailed: names the step that wouldn't work.
    /// :raises Denied: with every violation.
    fn dry_run(&self, py: Python<'_>, permitted: PyRef<'_, Permitted>) -> PyResult<DryRun> {
        let (core, permitted) = (self.0.clone(), permitted.0.clone());
        answer(py, wait(py, async move { core.dry_run(permitted).await })?).map(DryRun)
    }

    /// Carry an approved plan out, wait until it came to rest, and look again.
    ///
    /// It goes on to its end even if the wait for it is interrupted. `success`, `ending`, `output`, `error`, `steps`, `rescan`.
    ///
    /// :raises Stale: when something changed since the approval; nothing was written.
    /// :raises Disabled: unless the remediator is `enabled`.
    fn execute<'py>(
        &self,
        py: Python<'py>,
        approved: PyRef<'_, Approved>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let core = self.0.clone();
        let approved = approved.take().ok_or_else(doors::used)?;
        let outcome = answer(py, wait(py, async move { core.execute(approved).await })?)?;
        shown(py, &outcome)
    }

    /// Fix an incident: ask for a plan, have it approved, carry it out and watch; where that did not help, undo it and try another one.
    ///
    /// `approver` is asked about each plan by itself: called with a `DryRun`, once for each person that policy wants, it answers with the
    /// name of who says yes, or with a dict: `user`, with `typed_name` for a plan of high risk, or with `refuse`, why they say no;
    /// `automatic`, a component of the host, where policy needs no person. `None` is a no. `resolved`, `reason` (why nothing more was
    /// done), `outcomes` (as of `execute`), and `left`, the plan that is left to people.
    ///
    /// :raises Disabled: unless the remediator is `enabled`.
    /// :raises IncidentError: names the field that is wrong.
    fn fix<'py>(
        &self,
        py: Python<'py>,
        incident: &Bound<'py, PyAny>,
        approver: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (core, incident) = (self.0.clone(), self::incident(py, incident)?);
        let approver = doors::PythonApprover(approver);
        let fixed = wait(py, async move { core.fix(&incident, &approver).await })?;
        let fixed = answer(py, fixed)?;
        let given = to_python(py, &fixed)?;
        let outcomes = fixed.outcomes.iter().map(|outcome| shown(py, outcome));
        given.set_item("outcomes", outcomes.collect::<PyResult<Vec<_>>>()?)?;
        Ok(given)
    }

    /// What was tried for an incident, oldest first: `plan_id`, `at`, `steps` (each `command` and whether it was `written`), `recovery`
    /// and `outcome`.
    fn history<'py>(
        &self,
        py: Python<'py>,
        incident: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (core, incident) = (self.0.clone(), self::incident(py, incident)?);
        let history = answer(py, wait(py, async move { core.history(&incident).await })?)?;
        to_python(py, &history)
    }

    /// The plans that were approved and cut off before their end.
    fn unfinished(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let core = self.0.clone();
        let plans = answer(py, wait(py, async move { core.unfinished().await })?)?;
        Ok(plans.into_iter().map(String::from).collect())
    }

    /// Finish or undo a plan that was cut off.
    ///
    /// :raises NotUnfinished: when there is nothing to go on with.
    fn resume<'py>(&self, py: Python<'py>, plan_id: &str) -> PyResult<Bound<'py, PyAny>> {
        let (core, plan_id) = (self.0.clone(), doors::plan_id(py, plan_id)?);
        let outcome = answer(py, wait(py, async move { core.resume(&plan_id).await })?)?;
        shown(py, &outcome)
    }

    /// Undo a plan that was carried out and still stands: every step, newest first.
    ///
    /// :raises NotUndoable: when there is nothing to undo.
    fn undo<'py>(&self, py: Python<'py>, plan_id: &str) -> PyResult<Bound<'py, PyAny>> {
        let (core, plan_id) = (self.0.clone(), doors::plan_id(py, plan_id)?);
        let outcome = answer(py, wait(py, async move { core.undo(&plan_id).await })?)?;
        shown(py, &outcome)
    }

    /// A plan that was suggested before, by its id; every door has to be passed again.
    fn plan(&self, py: Python<'_>, plan_id: &str) -> PyResult<Option<Plan>> {
        let (core, plan_id) = (self.0.clone(), doors::plan_id(py, plan_id)?);
        let plan = answer(py, wait(py, async move { core.plan(&plan_id).await })?)?;
        Ok(plan.map(Plan))
    }

    /// The kill switch: nothing is written any more, not even an undo.
    fn halt(&self) {
        self.0.halt();
    }

    /// Lets go of the kill switch.
    fn lift_halt(&self) {
        self.0.lift_halt();
    }
}

/// An outcome with the sentence for people.
fn shown<'py>(py: Python<'py>, outcome: &argus_core::Outcome) -> PyResult<Bound<'py, PyAny>> {
    let shown = to_python(py, outcome)?;
    shown.set_item("summary", outcome.summary())?;
    Ok(shown)
}
