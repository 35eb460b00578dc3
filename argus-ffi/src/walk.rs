//! The corridor, and the states of a plan.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use argus_core::{
    Actor, Answer, Budget, FilePlans, HoldBounds, Incident, OnFailure, Outcome, PlanId, Prices,
    Remediator as Core, RemediatorError, Scope, Settings, Shown,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::boundary::{Failure, give as give_json, options, text, with_error};
use crate::doors::{Audit, Cluster, ClusterDoors, Policy, Provider};
use crate::handles::{Handle, any, get, give};
use crate::host::{ApproverTable, HostApprover};
use crate::runtime::{Runtime, Shared};

/// The walk from an incident to proof.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Remediator(());

impl Handle for Remediator {
    type Value = Walk;
    const NAME: &'static str = "remediator";
}

/// A remediator, and the threads that it runs on.
pub(crate) struct Walk {
    core: Core,
    runtime: Shared,
}

/// What is to be done, step by step; nothing has been checked by policy yet.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Plan(());

impl Handle for Plan {
    type Value = argus_core::Plan;
    const NAME: &'static str = "plan";
}

/// A plan that no policy denied.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Permitted(());

impl Handle for Permitted {
    type Value = argus_core::Permitted;
    const NAME: &'static str = "permitted plan";
}

/// A permitted plan with what it would change: what a person approves.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct DryRun(());

impl Handle for DryRun {
    type Value = argus_core::DryRun;
    const NAME: &'static str = "dry run";
}

/// A plan that may be executed, once, until the approval expires.
#[allow(
    missing_debug_implementations,
    reason = "never made: it names a handle"
)]
pub struct Approved(());

impl Handle for Approved {
    type Value = Approval;
    const NAME: &'static str = "approved plan";
}

/// An approval until it is used, and what may be shown of it.
pub(crate) struct Approval {
    approved: Mutex<Option<argus_core::Approved>>,
    shown: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemediatorOptions {
    scope: Vec<String>,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    allow_high_risk: bool,
    on_failure: Option<Failed>,
    user: Option<String>,
    plans: Option<PathBuf>,
    #[serde(default)]
    hold: HoldBounds,
    tries: Option<u32>,
    #[serde(default)]
    budget: Budget,
    prices: Option<Value>,
    language: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Failed {
    Undo,
    Stop,
}

/// Collects the doors.
///
/// `options` is JSON: "scope", a list of namespaces, and optionally "enabled" (false: everything but executing works),
/// "allow_high_risk" (false), "on_failure" ("undo" or "stop"), "user" (who asks), "plans" (a folder where plans are kept for the next
/// process), "hold" (how long a fix is watched before it counts as one: {"min_seconds": 10, "max_seconds": 600}; with a maximum of 0 none
/// ever does), "tries" (how many plans argus_remediator_fix carries out for one incident: 3), "budget" ({"attempts": 3, "tokens": 50000, "seconds": 180, "cost_usd", "tokens_per_day", "cost_usd_per_day"}), "prices" (what
/// models cost, as in LiteLLM's table: {"gpt-5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}}), "language"
/// (of plans and diagnoses: "German").
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_new(
    runtime: *const Runtime,
    options: *const c_char,
    provider: *const Provider,
    policy: *const Policy,
    cluster: *const Cluster,
    audit: *const Audit,
    out: *mut *mut Remediator,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let runtime = Shared::clone(&*get(runtime)?);
            let given: RemediatorOptions = self::options(options)?;
            let scope = Scope::namespaces(given.scope);
            let scope = scope.map_err(|problem| Failure::of("bad_argument")(&problem))?;
            let mut builder = Core::builder()
                .scope(scope)
                .settings(Settings {
                    enabled: given.enabled,
                    allow_high_risk: given.allow_high_risk,
                })
                .on_failure(match given.on_failure {
                    Some(Failed::Stop) => OnFailure::Stop,
                    Some(Failed::Undo) | None => OnFailure::Undo,
                })
                .hold(given.hold)
                .budget(given.budget)
                .llm(Arc::clone(&get(provider)?))
                .policy(Arc::clone(&get(policy)?))
                .audit(Arc::clone(&get(audit)?.trail));
            builder = match &get(cluster)?.doors {
                ClusterDoors::Kube(kube) => builder.cluster(kube.clone()),
                ClusterDoors::Host(door) => builder.cluster(door.clone()),
            };
            if let Some(folder) = given.plans {
                let plans = runtime.wait(async move { FilePlans::open(folder).await })?;
                builder =
                    builder.plans(plans.map_err(|problem| Failure::of("store_failed")(&problem))?);
            }
            if let Some(tries) = given.tries {
                builder = builder.tries(tries);
            }
            if let Some(prices) = given.prices {
                let prices = Prices::from_json(&prices.to_string());
                builder = builder
                    .prices(prices.map_err(|problem| Failure::of("bad_argument")(&problem))?);
            }
            if let Some(language) = given.language {
                builder = builder.language(language);
            }
            if let Some(user) = given.user {
                let actor = Actor::user(user);
                builder =
                    builder.actor(actor.map_err(|problem| Failure::of("bad_argument")(&problem))?);
            }
            let built = builder.build();
            let core = built.map_err(|problem| Failure::of("internal")(&problem))?;
            give(out, Walk { core, runtime })
        })
    }
}

impl Walk {
    fn wait<T, F>(&self, walk: impl FnOnce(Core) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RemediatorError>> + Send + 'static,
    {
        Ok(self.runtime.wait(walk(self.core.clone()))??)
    }
}

/// Looks at the cluster; JSON: "findings", "workloads", "ignored" findings, and what is "incomplete".
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_scan(
    remediator: *const Remediator,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let walk = get(remediator)?;
            let scan = walk.wait(|core| async move { Ok(core.scan().await?) })?;
            give_json(out, &scan)
        })
    }
}

/// Asks for a plan for an incident, JSON as argus-ops has it. Nothing is executed.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_suggest(
    remediator: *const Remediator,
    incident: *const c_char,
    out: *mut *mut Plan,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let walk = get(remediator)?;
            let incident = self::incident(incident)?;
            give(
                out,
                walk.wait(|core| async move { core.suggest(&incident).await })?,
            )
        })
    }
}

/// Asks what the findings of an incident come from; JSON, a diagnosis as argus-ops has it. Put it into the incident as "diagnosis"
/// before a plan is asked for.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_diagnose(
    remediator: *const Remediator,
    incident: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let walk = get(remediator)?;
            let incident = self::incident(incident)?;
            let diagnosis = walk.wait(|core| async move { core.diagnose(&incident).await })?;
            give_json(out, &diagnosis)
        })
    }
}

/// A plan that was suggested before, by its id, also by another process with the same folder of plans; every door has to be
/// passed again.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_plan(
    remediator: *const Remediator,
    plan_id: *const c_char,
    out: *mut *mut Plan,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let walk = get(remediator)?;
            let id = self::plan_id(plan_id)?;
            let none = format!("there is no plan {id}");
            let plan = walk.wait(|core| async move { core.plan(&id).await })?;
            give(out, plan.ok_or_else(|| Failure::new("not_found", none))?)
        })
    }
}

/// # Safety
/// As of [`text`].
pub(crate) unsafe fn incident(given: *const c_char) -> Result<Incident, Failure> {
    // SAFETY: the caller vouches for it.
    let incident = Incident::from_json(unsafe { text(given)? });
    incident.map_err(|problem| Failure::of("bad_argument")(&problem))
}

/// # Safety
/// As of [`text`].
unsafe fn plan_id(given: *const c_char) -> Result<PlanId, Failure> {
    // SAFETY: the caller vouches for it.
    let id = unsafe { text(given)? };
    PlanId::try_from(id.to_owned()).map_err(|problem| Failure::of("bad_argument")(&problem))
}

/// Asks policy about the actions.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_review(
    remediator: *const Remediator,
    plan: *const Plan,
    out: *mut *mut Permitted,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let (walk, plan) = (get(remediator)?, get(plan)?);
            let plan = argus_core::Plan::clone(&plan);
            give(
                out,
                walk.wait(|core| async move { core.review(plan).await })?,
            )
        })
    }
}

/// The reasons why a plan would be refused whatever policy and the cluster say, as a JSON list of {"pack", "id", "message", "step",
/// "hint"}: steps for people, objects out of scope, changes that are never made, and high risk where it isn't allowed. Nobody
/// is asked.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_refusals(
    remediator: *const Remediator,
    plan: *const Plan,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let (walk, plan) = (get(remediator)?, get(plan)?);
            give_json(out, &walk.core.refusals(&plan))
        })
    }
}

/// Tries every step on the API server without doing it, and asks policy about the resulting objects.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_dry_run(
    remediator: *const Remediator,
    permitted: *const Permitted,
    out: *mut *mut DryRun,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let (walk, permitted) = (get(remediator)?, get(permitted)?);
            let permitted = argus_core::Permitted::clone(&permitted);
            give(
                out,
                walk.wait(|core| async move { core.dry_run(permitted).await })?,
            )
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    users: Vec<String>,
    typed_name: Option<String>,
    automatic: Option<String>,
}

/// Approves a dry run.
///
/// `answer` is JSON: "users", who said yes (several where policy wants them), and "typed_name", what they typed, for a plan of high risk; or
/// "automatic", the name of a component of the host, where policy needs no person.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_dry_run_approve(
    dry_run: *const DryRun,
    answer: *const c_char,
    out: *mut *mut Approved,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let dry_run = get(dry_run)?;
            let said: Said = options(answer)?;
            let person = |user| match &said.typed_name {
                Some(typed) => Answer::confirm_by_name(user, typed),
                None => Answer::confirm(user),
            };
            let mut answers: Vec<Answer> = said.users.into_iter().map(person).collect();
            answers.extend(said.automatic.map(Answer::automatic));
            let approved = argus_core::DryRun::clone(&dry_run).approve_together(answers)?;
            let shown = json!({
                "plan": approved.plan(),
                "digest": approved.digest(),
                "expires_at": approved.expires_at(),
            });
            let approved = Mutex::new(Some(approved));
            give(out, Approval { approved, shown })
        })
    }
}

/// Carries an approved plan out, waits until it came to rest, and looks again.
///
/// How it ended is in `out`, also where it was undone: "success", "ending", "output", "error", "steps", "rescan", and "summary", the sentence for
/// people. An error means that it was not carried out, or that nobody knows how far. The approval is used up.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_execute(
    remediator: *const Remediator,
    approved: *const Approved,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            if out.is_null() {
                return Err(Failure::argument("`out` is null"));
            }
            let (walk, approval) = (get(remediator)?, get(approved)?);
            let mut held = approval
                .approved
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let approved = held.take();
            drop(held);
            let used = || {
                Failure::new(
                    "bad_handle",
                    "this approval was used already: it is good for one execution",
                )
            };
            let approved = approved.ok_or_else(used)?;
            let outcome = walk.wait(|core| async move { core.execute(approved).await })?;
            give_json(out, &shown(&outcome)?)
        })
    }
}

/// An outcome with the sentence for people.
fn shown(outcome: &Outcome) -> Result<Value, Failure> {
    let mut shown =
        serde_json::to_value(outcome).map_err(|problem| Failure::of("internal")(&problem))?;
    if let Value::Object(fields) = &mut shown {
        fields.insert("summary".into(), json!(outcome.summary()));
    }
    Ok(shown)
}

/// Fixes an incident, JSON as argus-ops has it: asks for a plan, has it approved, carries it out and watches; where that did not help,
/// undoes it and tries another one, at most "tries" of the remediator's options.
///
/// `approver` is asked about each plan, from any thread. What `host` points to is needed until its `drop` is called, which may be a moment
/// after this returns; a table that is refused is never called. `out` is JSON: "resolved", "reason" (why nothing more was done), "outcomes" (as of argus_remediator_execute, one for each plan), and
/// "left", the plan that is left to people, or null.
///
/// # Safety
/// As the header says of strings, tables, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_fix(
    remediator: *const Remediator,
    incident: *const c_char,
    approver: *const ApproverTable,
    host: *mut c_void,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            if out.is_null() {
                return Err(Failure::argument("`out` is null"));
            }
            let walk = get(remediator)?;
            let incident = self::incident(incident)?;
            let approver = HostApprover::new(approver, host)?;
            let fixed = walk.wait(|core| async move { core.fix(&incident, &approver).await })?;
            let outcomes: Result<Vec<Value>, Failure> = fixed.outcomes.iter().map(shown).collect();
            let mut given = serde_json::to_value(&fixed)
                .map_err(|problem| Failure::of("internal")(&problem))?;
            if let Value::Object(fields) = &mut given {
                fields.insert("outcomes".into(), outcomes?.into());
            }
            give_json(out, &given)
        })
    }
}

/// What was tried for an incident, JSON as argus-ops has it, oldest first, as a JSON list of {"plan_id", "at", "steps" ([{"command",
/// "written"}]), "recovery", "outcome"}.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_history(
    remediator: *const Remediator,
    incident: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let walk = get(remediator)?;
            let incident = self::incident(incident)?;
            let history = walk.wait(|core| async move { core.history(&incident).await })?;
            give_json(out, &history)
        })
    }
}

/// The ids of the plans that were approved and cut off before their end, as a JSON list.
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_unfinished(
    remediator: *const Remediator,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let walk = get(remediator)?;
            let plans = walk.wait(|core| async move { core.unfinished().await })?;
            give_json(out, &plans)
        })
    }
}

/// Finishes or undoes a plan that was cut off; `out` is as of argus_remediator_execute.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_resume(
    remediator: *const Remediator,
    plan_id: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            if out.is_null() {
                return Err(Failure::argument("`out` is null"));
            }
            let walk = get(remediator)?;
            let id = self::plan_id(plan_id)?;
            let outcome = walk.wait(|core| async move { core.resume(&id).await })?;
            give_json(out, &shown(&outcome)?)
        })
    }
}

/// Undoes a plan that was carried out and still stands, every step, newest first; `out` is as of argus_remediator_execute.
///
/// # Safety
/// As the header says of strings, `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_undo(
    remediator: *const Remediator,
    plan_id: *const c_char,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            if out.is_null() {
                return Err(Failure::argument("`out` is null"));
            }
            let walk = get(remediator)?;
            let id = self::plan_id(plan_id)?;
            let outcome = walk.wait(|core| async move { core.undo(&id).await })?;
            give_json(out, &shown(&outcome)?)
        })
    }
}

/// Pulls the kill switch, or lets go of it: nothing is written any more, not even an undo.
///
/// # Safety
/// As the header says of `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_remediator_halt(
    remediator: *const Remediator,
    halt: bool,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let walk = get(remediator)?;
            if halt {
                walk.core.halt();
            } else {
                walk.core.lift_halt();
            }
            Ok(())
        })
    }
}

/// A state of a plan (argus_plan, argus_permitted, argus_dry_run, argus_approved) as JSON.
///
/// A plan has the fields that HTTP clients see; a permitted one has "plan" and what policy said; a dry run has what a person
/// needs to know: "plan", "digest", "verdict", "opinions", "people" (how many have to approve), "name_to_type" (for high risk), and "steps", each with its
/// "changes" ({"field", "before", "after"}) and "warnings"; an approved one has "plan", "digest", "expires_at".
///
/// # Safety
/// As the header says of `out` and `error`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn argus_state_json(
    state: *const c_void,
    out: *mut *mut c_char,
    error: *mut *mut c_char,
) -> i32 {
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        with_error(error, || {
            let none = || {
                Failure::new(
                    "bad_handle",
                    "the handle is null, was freed, or is no state of a plan",
                )
            };
            let held = any(state).ok_or_else(none)?;
            if let Some(plan) = held.downcast_ref::<argus_core::Plan>() {
                give_json(out, plan)
            } else if let Some(permitted) = held.downcast_ref::<argus_core::Permitted>() {
                let said =
                    json!({ "plan": permitted.plan(), "evaluation": permitted.evaluation() });
                give_json(out, &said)
            } else if let Some(dry_run) = held.downcast_ref::<argus_core::DryRun>() {
                give_json(out, &Shown::from(dry_run))
            } else if let Some(approval) = held.downcast_ref::<Approval>() {
                give_json(out, &approval.shown)
            } else {
                Err(none())
            }
        })
    }
}
