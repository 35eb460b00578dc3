//! Argus lets an AI fix a Kubernetes cluster without letting it break it.
//!
//! An incident walks through nine rooms, one file each, and can only walk forward: nothing reaches the cluster that
//! was not parsed, permitted, dry-run, approved, logged and is still true. The modules below stand in walking order; a
//! room imports only rooms above it.
#![forbid(unsafe_code)]

mod names;
pub use names::{DnsLabel, DnsSubdomain, NameError};

mod digest;
pub use digest::{Digest, DigestError};

mod letters;

mod json;

#[cfg_attr(
    not(any(feature = "kube", test)),
    expect(
        dead_code,
        reason = "only the executor that speaks to Kubernetes undoes"
    )
)]
mod identity;

mod pod_security;

mod deadline;

mod redact;
pub use redact::{Redacted, redact, redact_json};

mod scope;
pub use scope::{Scope, ScopeError, Settings};

mod actor;
pub use actor::{Actor, ActorError, ActorName};

mod incident;
pub use incident::{
    Category, Cause, Diagnosis, Finding, FindingSummary, Incident, IncidentError, IncidentId,
    MAX_INCIDENT_BYTES, ObjectRef, Runs, Scan, ScanError, Scanner, Severity, Watching, Workload,
};

mod action;
pub use action::{
    Action, ActionError, AllowedChange, AllowedValues, Amounts, Evidence, Image, JudgedField, Kind,
    MAX_REPLICAS, Patch, PatchKind, Quantity, Reversibility, Risk, Target,
};

mod kubectl;
pub use kubectl::{CommandError, MAX_COMMAND_BYTES, parse_command};

mod cost;
pub use cost::{Prices, PricesError, Usage, Usd};

mod plan_id;
pub use plan_id::{PlanId, PlanIdError};

mod attempt;
pub use attempt::{Attempt, AttemptStep, Recovery};

mod prompt;
pub use prompt::{
    Completion, Draft, DraftDiagnosis, DraftStep, LlmError, LlmProvider, MAX_STEPS, Prompt,
    Question, Turn,
};

mod answer;
pub use answer::{AnswerError, MAX_COMPLETION_BYTES};

mod diagnosis;

mod plan;
pub use plan::{Plan, PlanError, Step};

mod verdict;
pub use verdict::{
    AmountsInput, AttemptInput, Evaluation, IncidentInput, ObjectInput, Opinion,
    POLICY_INPUT_VERSION, Permitted, PermittedStep, Phase, PlanInput, PolicyEngine, PolicyError,
    PolicyInput, ScopeInput, StepInput, TargetInput, Verdict, Violation, floor, floor_of_results,
};

mod dry_run;
pub use dry_run::{Change, DryRun, DryRunError, DryRunner, Preview, Write, desired_state};

mod approval;
pub use approval::{
    APPROVAL_LASTS, Answer, ApprovalError, Approved, ApprovedStep, Approver, DRY_RUN_LASTS, Pause,
    Shown, ShownChange, ShownStep, Withdrawn,
};

mod executor;
pub use executor::{ApplyError, Executor, SettleError, UndoError, UndoStep, Undone};

mod json_door;
pub use json_door::{JsonCluster, JsonDoor, JsonRefusal, JsonRefusalKind};

mod disk;

mod hold;
pub use hold::{Hold, HoldBounds};

mod audit;
pub use audit::{
    AUDIT_SCHEMA, AuditEntry, AuditError, AuditEvent, AuditKey, AuditQuery, AuditRecord,
    AuditSigner, AuditSink, AuditTee, CSV_HEAD, Checkpoint, CheckpointError, CopiedAudit,
    FileAudit, FileAuditOptions, InclusionProof, ModelCall, PlanState, RecordCopy, StepStatus,
    Tail, csv, step_statuses, unfinished_plans,
};
#[cfg(feature = "postgres")]
pub use audit::{PostgresAudit, PostgresAuditOptions};

mod store;
#[cfg(feature = "postgres")]
pub use store::PostgresPlans;
pub use store::{FilePlans, MAX_DOCUMENT_BYTES, MemoryPlans, PlanStore, StoreError};

mod rescan;
pub use rescan::{Issue, Issues, Rescan};

mod remediator;
pub use remediator::{
    Budget, BuildError, Builder, Ending, FixOutcome, OnFailure, Outcome, Problem, Remediator,
    RemediatorError,
};

mod llm;
pub use llm::{Anonymous, Cache, Fallback, Playbook, Recorder, Replay, Throttle};
#[cfg(feature = "genai")]
pub use llm::{GenAi, GenAiOptions, NoWire, Wire};

#[cfg(feature = "kube")]
mod kube;
#[cfg(feature = "kube")]
pub use kube::{
    ConnectError, FIELD_MANAGER, IGNORE, IGNORE_UNTIL, Kube, NodeCondition, NodeState, Roles, Watch,
};

#[cfg(feature = "testing")]
pub mod testing;
