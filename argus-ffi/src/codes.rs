//! The numbers of the errors. They never change.

/// It worked.
pub const ARGUS_OK: i32 = 0;
/// An argument is null, not UTF-8, or JSON that isn't as the function says; or the function was called from a callback.
pub const ARGUS_BAD_ARGUMENT: i32 = 1;
/// The command can't be taken.
pub const ARGUS_COMMAND_REFUSED: i32 = 2;
/// A fault of Argus itself.
pub const ARGUS_INTERNAL: i32 = 3;
/// A handle is null, of another kind, freed already, or an approval that was used.
pub const ARGUS_BAD_HANDLE: i32 = 4;
/// No answer of the model was a plan.
pub const ARGUS_NO_PLAN: i32 = 5;
/// There is no verdict; never an allow.
pub const ARGUS_POLICY_FAILED: i32 = 6;
/// Policy refuses the plan: "violations".
pub const ARGUS_DENIED: i32 = 7;
/// The plan has steps that only a person may do: "steps".
pub const ARGUS_MANUAL_STEPS: i32 = 8;
/// The cluster doesn't give the host what the plan needs: "missing".
pub const ARGUS_MISSING_PERMISSIONS: i32 = 9;
/// A step wouldn't work: "step", from 0.
pub const ARGUS_DRY_RUN_FAILED: i32 = 10;
/// More is needed for an approval: another person, the typed name.
pub const ARGUS_NOT_APPROVED: i32 = 11;
/// Executing is switched off: "enabled" of the remediator is false.
pub const ARGUS_DISABLED: i32 = 12;
/// Something changed since the approval; nothing was written: "what".
pub const ARGUS_STALE: i32 = 13;
/// Another plan changes the same object right now: "target".
pub const ARGUS_BUSY: i32 = 14;
/// The trail failed, can't be opened or was altered; "standing" steps may stand in the cluster.
pub const ARGUS_AUDIT_FAILED: i32 = 15;
/// The kill switch was pulled; "standing" steps may stand in the cluster.
pub const ARGUS_HALTED: i32 = 16;
/// A plan can't be kept or read.
pub const ARGUS_STORE_FAILED: i32 = 17;
/// There is nothing to go on with: "plan_id".
pub const ARGUS_NOT_UNFINISHED: i32 = 18;
/// The cluster can't be scanned.
pub const ARGUS_SCAN_FAILED: i32 = 19;
/// A folder is no policy pack, or a pack that its own tests don't hold.
pub const ARGUS_PACK_REFUSED: i32 = 20;
/// There is no connection to the cluster.
pub const ARGUS_CLUSTER_FAILED: i32 = 21;
/// There is no such plan.
pub const ARGUS_NOT_FOUND: i32 = 22;

/// There is nothing of the plan to undo: "plan_id".
pub const ARGUS_NOT_UNDOABLE: i32 = 23;
/// No model is asked: the budget is spent, or what is spent can't be known; "what".
pub const ARGUS_OVER_BUDGET: i32 = 24;

/// The number of an error by its word.
pub(crate) fn number(code: &str) -> i32 {
    match code {
        "bad_argument" => ARGUS_BAD_ARGUMENT,
        "command_refused" => ARGUS_COMMAND_REFUSED,
        "bad_handle" => ARGUS_BAD_HANDLE,
        "no_plan" => ARGUS_NO_PLAN,
        "over_budget" => ARGUS_OVER_BUDGET,
        "policy_failed" => ARGUS_POLICY_FAILED,
        "denied" => ARGUS_DENIED,
        "manual_steps" => ARGUS_MANUAL_STEPS,
        "missing_permissions" => ARGUS_MISSING_PERMISSIONS,
        "dry_run_failed" => ARGUS_DRY_RUN_FAILED,
        "not_approved" => ARGUS_NOT_APPROVED,
        "disabled" => ARGUS_DISABLED,
        "stale" => ARGUS_STALE,
        "busy" => ARGUS_BUSY,
        "audit_failed" => ARGUS_AUDIT_FAILED,
        "halted" => ARGUS_HALTED,
        "store_failed" => ARGUS_STORE_FAILED,
        "not_unfinished" => ARGUS_NOT_UNFINISHED,
        "not_undoable" => ARGUS_NOT_UNDOABLE,
        "scan_failed" => ARGUS_SCAN_FAILED,
        "pack_refused" => ARGUS_PACK_REFUSED,
        "cluster_failed" => ARGUS_CLUSTER_FAILED,
        "not_found" => ARGUS_NOT_FOUND,
        _ => ARGUS_INTERNAL,
    }
}
