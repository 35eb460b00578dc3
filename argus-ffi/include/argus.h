/* The C interface of Argus.

   Functions return one of the ARGUS_ codes. Where one has an `error`, it may be null; else it is set to null, or, if the code
   is not ARGUS_OK, to JSON: {"code", "message", "retryable"} and what else belongs to the error, such as the "violations" of
   "denied".

   Strings are UTF-8 and end in a zero byte. Those that are given out belong to the caller, who gives them to
   argus_string_free. Handles are given out through `out`, never null where the code is ARGUS_OK, and belong to the caller, who
   gives them to argus_free. A handle that is null, of another kind, or was freed already is refused with
   ARGUS_BAD_HANDLE. What was made of a handle doesn't need it any more: it may be freed at once.

   Every function may be called from every thread, also while another thread uses or frees the same handle. Those that
   wait for the cluster or a model block the calling thread, and must not be called from within a callback.

   The states of a plan (argus_plan, argus_permitted, argus_dry_run, argus_approved) are made only from the one before. */

#ifndef ARGUS_H
#define ARGUS_H

/* Made from argus-ffi/src by its test `header`: change it there. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// It worked.
#define ARGUS_OK 0

// An argument is null, not UTF-8, or JSON that isn't as the function says; or the function was called from a callback.
#define ARGUS_BAD_ARGUMENT 1

// The command can't be taken.
#define ARGUS_COMMAND_REFUSED 2

// A fault of Argus itself.
#define ARGUS_INTERNAL 3

// A handle is null, of another kind, freed already, or an approval that was used.
#define ARGUS_BAD_HANDLE 4

// No answer of the model was a plan.
#define ARGUS_NO_PLAN 5

// There is no verdict; never an allow.
#define ARGUS_POLICY_FAILED 6

// Policy refuses the plan: "violations".
#define ARGUS_DENIED 7

// The plan has steps that only a person may do: "steps".
#define ARGUS_MANUAL_STEPS 8

// The cluster doesn't give the host what the plan needs: "missing".
#define ARGUS_MISSING_PERMISSIONS 9

// A step wouldn't work: "step", from 0.
#define ARGUS_DRY_RUN_FAILED 10

// More is needed for an approval: another person, the typed name.
#define ARGUS_NOT_APPROVED 11

// Executing is switched off: "enabled" of the remediator is false.
#define ARGUS_DISABLED 12

// Something changed since the approval; nothing was written: "what".
#define ARGUS_STALE 13

// Another plan changes the same object right now: "target".
#define ARGUS_BUSY 14

// The trail failed, can't be opened or was altered; "standing" steps may stand in the cluster.
#define ARGUS_AUDIT_FAILED 15

// The kill switch was pulled; "standing" steps may stand in the cluster.
#define ARGUS_HALTED 16

// A plan can't be kept or read.
#define ARGUS_STORE_FAILED 17

// There is nothing to go on with: "plan_id".
#define ARGUS_NOT_UNFINISHED 18

// The cluster can't be scanned.
#define ARGUS_SCAN_FAILED 19

// A folder is no policy pack, or a pack that its own tests don't hold.
#define ARGUS_PACK_REFUSED 20

// There is no connection to the cluster.
#define ARGUS_CLUSTER_FAILED 21

// There is no such plan.
#define ARGUS_NOT_FOUND 22

// There is nothing of the plan to undo: "plan_id".
#define ARGUS_NOT_UNDOABLE 23

// No model is asked: the budget is spent, or what is spent can't be known; "what".
#define ARGUS_OVER_BUDGET 24

// A plan that may be executed, once, until the approval expires.
typedef struct argus_approved argus_approved;

// The audit trail.
typedef struct argus_audit argus_audit;

// A Kubernetes cluster.
typedef struct argus_cluster argus_cluster;

// A permitted plan with what it would change: what a person approves.
typedef struct argus_dry_run argus_dry_run;

// A plan that no policy denied.
typedef struct argus_permitted argus_permitted;

// What is to be done, step by step; nothing has been checked by policy yet.
typedef struct argus_plan argus_plan;

// The policy packs.
typedef struct argus_policy argus_policy;

// Who writes plans.
typedef struct argus_provider argus_provider;

// The walk from an incident to proof.
typedef struct argus_remediator argus_remediator;

// What a host answers to one call; freed by the answer.
typedef struct argus_reply argus_reply;

// Threads.
typedef struct argus_runtime argus_runtime;

// A language model of the host's.
typedef struct argus_provider_table {
  // sizeof(argus_provider_table): fields that are added later are at its end.
  size_t size;
  // Answers a prompt, now or later, from any thread, with argus_reply_text or argus_reply_error. `prompt` is JSON: {"question" ("plan" or
  // "diagnosis"), "system", "user", "schema", "turns": [{"answer", "problem"}]}; it is gone when the function returns. It may block. It
  // must not throw.
  void (*complete)(void *host, const char *prompt, struct argus_reply *reply);
  // Called once, from any thread, when nothing is called with `host` any more; may be null.
  void (*drop)(void *host);
} argus_provider_table;

// A cluster of the host's own: what tries, applies and undoes steps, and looks.
typedef struct argus_cluster_table {
  // sizeof(argus_cluster_table): fields that are added later are at its end.
  size_t size;
  // Answers with argus_reply_json, or with argus_reply_refuse or argus_reply_error, within 60 seconds but for "settle". It may
  // block. It must not throw. Both strings are gone when it returns. By `method`, the request and the answer:
  //
  // "missing_permissions": {"plan"}; a list of texts, empty when nothing is missing.
  //
  // "dry_run": {"action", "command", "generated_at"}; {"uid", "before", "after", "write", "warnings"}: the object, as it would be, null if
  // it would be gone, and the request.
  //
  // "apply": {"plan_id", "index", "action", "command", "preview"}; the object as it was stored, null if it is gone. Nothing else is
  // sent than the preview's "write", and only to an object that is as the preview's "before".
  //
  // "settle", "is_in_force", "undo": the same; anything, when it came to rest; a boolean; "restored" or "nothing_to_restore".
  //
  // "scan": {"namespaces"}; {"findings", "workloads", "incomplete"}.
  void (*call)(void *host, const char *method, const char *request, struct argus_reply *reply);
  // Called once, from any thread, when nothing is called with `host` any more; may be null.
  void (*drop)(void *host);
} argus_cluster_table;

// A second place for every record of the trail.
typedef struct argus_sink_table {
  // sizeof(argus_sink_table): fields that are added later are at its end.
  size_t size;
  // Stores a record, JSON, and says so with argus_reply_ok when it is durable, or argus_reply_error; within 30 seconds. The
  // record is gone when the function returns. It may block. It must not throw.
  void (*append)(void *host, const char *record, struct argus_reply *reply);
  // Called once, from any thread, when nothing is called with `host` any more; may be null.
  void (*drop)(void *host);
} argus_sink_table;

// Whoever is asked whether a plan may be carried out.
typedef struct argus_approver_table {
  // sizeof(argus_approver_table): fields that are added later are at its end.
  size_t size;
  // Answers a dry run, JSON as of argus_state_json, once for each person that policy wants, with argus_reply_json: {"user"}, who says
  // yes; with "typed_name", what they typed, for a plan of high risk; with "refuse", why they say no; or {"automatic"}, a
  // component of the host, where policy needs no person. argus_reply_error says that nobody can be asked. The dry run is gone when the
  // function returns. It may block. It must not throw.
  void (*decide)(void *host, const char *dry_run, struct argus_reply *reply);
  // Called once, from any thread, when nothing is called with `host` any more; may be null.
  void (*drop)(void *host);
} argus_approver_table;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library, such as `0.1.0`; never freed.
const char *argus_version(void);

// The version of this interface: it grows when something is added, and the library's file name (SONAME) changes when
// something is taken away.
uint32_t argus_abi_version(void);

// Reads one kubectl command and writes the action as JSON to `out`.
//
// ARGUS_COMMAND_REFUSED for what isn't exactly one clean kubectl command, with its "position" and a "hint".
int32_t argus_parse_command(const char *command, char **out, char **error);

// Writes a text to `out` as it may be kept and shown: without what looks like a secret, bounded to 4,096 characters.
//
// What reads as a JSON object or list is redacted by its fields, and bounded to 200 entries of each and eight levels; one that holds no
// secret comes out as it went in.
int32_t argus_redact(const char *given,
                     char **out,
                     char **error);

// Puts the findings of a scan together that have one cause, and writes the incidents to `out`, a list, worst causes first in each.
//
// `scan` is what argus_remediator_scan gave.
int32_t argus_correlate(const char *scan,
                        char **out,
                        char **error);

// Writes a scan to `out` as SARIF 2.1.0, for tools that show the findings of analyzers.
//
// `scan` is what argus_remediator_scan gave.
int32_t argus_to_sarif(const char *scan, char **out, char **error);

// Frees a string that this library gave; null is ignored.
void argus_string_free(char *string);

// Plans by fixed rules, offline: no model.
int32_t argus_provider_playbook(struct argus_provider **out, char **error);

// A language model, hosted or local.
//
// `options` is JSON: {"model"}, and optionally "wire" ("openai" and whatever is compatible, "openai-responses", "anthropic", "gemini",
// "bedrock", "ollama"), "endpoint", "key", "timeout_seconds", "anonymous" (it doesn't learn the names of namespaces and objects, images and
// addresses).
int32_t argus_provider_genai(const char *options,
                             struct argus_provider **out,
                             char **error);

// A model of the host's own. `host` is handed to its functions; it belongs to Argus if the code is ARGUS_OK.
int32_t argus_provider_new(const struct argus_provider_table *table,
                           void *host,
                           struct argus_provider **out,
                           char **error);

// The packs that Argus comes with, and the host's own.
//
// `options` is null or JSON: "packs", a list of folders, "parameters" by the name of a pack, and "trusted_keys", a list of Ed25519
// public keys in PEM: with it, also if it is empty, only packs that one of them signed are taken, and their tests don't run.
int32_t argus_policy_new(const char *options,
                         struct argus_policy **out,
                         char **error);

// A Kubernetes cluster.
//
// `options` is null or JSON: "kubeconfig", a file, and its "context"; without one, the cluster that this process runs in.
// "settle_within_seconds": how long a step may take to come to rest (300). "unready_after_seconds": how long a pod may be unready
// before it is a finding (30). "scan_within_seconds": how long a scan may take (60). "seeing_cluster": whether to scan also what belongs
// to no namespace, such as nodes (false). "across_namespaces": whether to list each kind once for all namespaces, which takes the
// right to (false).
int32_t argus_cluster_new(const struct argus_runtime *runtime,
                          const char *options,
                          struct argus_cluster **out,
                          char **error);

// A cluster of the host's own. `host` is handed to its functions; it belongs to Argus if the code is ARGUS_OK.
int32_t argus_cluster_host(const struct argus_runtime *runtime,
                           const struct argus_cluster_table *table,
                           void *host,
                           struct argus_cluster **out,
                           char **error);

// Reads what the broken containers of an incident logged last, three at most, and writes the incident with it to `out`: evidence for a
// model, redacted. Logs may hold anything: it takes the right to read them.
//
// `scope` is JSON, the list of namespaces whose containers are asked; of others nothing is read.
//
// ARGUS_BAD_ARGUMENT for a cluster of the host's own.
int32_t argus_cluster_with_last_words(const struct argus_cluster *cluster,
                                      const char *incident,
                                      const char *scope,
                                      char **out,
                                      char **error);

// A Kubernetes cluster in memory, served on a free port of the loopback too: for the first minute and for tests.
int32_t argus_test_cluster_new(const struct argus_runtime *runtime, struct argus_cluster **out, char **error);

// Creates a Deployment with one container, `app`, in a cluster in memory: healthy unless its memory limit is below what it
// needs, it lacks the variable that it needs, or its image has a name like `does-not-exist`.
//
// `deployment` is JSON: "namespace", "name", "image", and optionally "replicas", "memory_limit", "needs_memory", "needs_env", and
// "fails_after", for how many seconds it works after each start.
int32_t argus_test_cluster_deployment(const struct argus_cluster *cluster,
                                      const char *deployment,
                                      char **error);

// What there is to know of a cluster in memory, as JSON: its "url", a "kubeconfig" for it, and the "writes" that it was asked
// for, oldest first: {"user", "verb", "path", "dry_run", "code"}.
int32_t argus_test_cluster_state(const struct argus_cluster *cluster,
                                 char **out,
                                 char **error);

// The audit trail in the files of a folder; one writer at a time. With a `table`, every record goes to the host too, and nothing is
// done that relies on a record that isn't durable in both; `host` belongs to Argus then, if the code is ARGUS_OK.
int32_t argus_audit_file(const struct argus_runtime *runtime,
                         const char *folder,
                         const struct argus_sink_table *table,
                         void *host,
                         struct argus_audit **out,
                         char **error);

// The records, newest first, as a JSON list.
//
// `query` is null or JSON, all of it optional: "incident_id", "plan_id", "actor", "event", "action", "text", "since", "until", "after", "before" (a
// record's number: the next page), "limit".
int32_t argus_audit_records(const struct argus_audit *audit,
                            const char *query,
                            char **out,
                            char **error);

// Checks the trail of a folder, record by record; how many there are goes to `records`, and how many of those stand before the first
// that is there, and are only said to have been removed, to `unproven`: without a key nothing proves it. Both may be null.
//
// ARGUS_AUDIT_FAILED names the first bad record.
int32_t argus_audit_verify(const char *folder,
                           uint64_t *records,
                           uint64_t *unproven,
                           char **error);

// Frees a handle of any kind; null is ignored.
//
// ARGUS_BAD_HANDLE for one that was freed already.
int32_t argus_free(const void *handle);

// Answers a prompt with the model's text, the model's name, and how many tokens it read and wrote (0 if that isn't known).
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_text(struct argus_reply *reply,
                         const char *answer_text,
                         const char *model,
                         uint64_t input_tokens,
                         uint64_t output_tokens,
                         char **error);

// Answers a call of a cluster, with JSON.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_json(struct argus_reply *reply, const char *json, char **error);

// Refuses a call of a cluster, and says that nothing was written: `stale` if the object isn't as it was approved, or as the step
// left it. Where nobody knows whether something was written, it is argus_reply_error.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_refuse(struct argus_reply *reply,
                           const char *message,
                           bool stale,
                           char **error);

// Says that a record is durable.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_ok(struct argus_reply *reply, char **error);

// Says that there is no answer, and why, without payloads. `retryable`: asking again may help.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_error(struct argus_reply *reply, const char *message, bool retryable, char **error);

// Starts `threads` threads, at least one; everything that waits is made with them. They end when the runtime and all that was
// made with it are freed.
int32_t argus_runtime_new(uint32_t threads,
                          struct argus_runtime **out,
                          char **error);

// Collects the doors.
//
// `options` is JSON: "scope", a list of namespaces, and optionally "enabled" (false: everything but executing works),
// "allow_high_risk" (false), "on_failure" ("undo" or "stop"), "user" (who asks), "plans" (a folder where plans are kept for the next
// process), "hold" (how long a fix is watched before it counts as one: {"min_seconds": 10, "max_seconds": 600}; with a maximum of 0 none
// ever does), "tries" (how many plans argus_remediator_fix carries out for one incident: 3), "budget" ({"attempts": 3, "tokens": 50000, "seconds": 180, "cost_usd", "tokens_per_day", "cost_usd_per_day"}), "prices" (what
// models cost, as in LiteLLM's table: {"gpt-5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}}), "language"
// (of plans and diagnoses: "German").
int32_t argus_remediator_new(const struct argus_runtime *runtime,
                             const char *options,
                             const struct argus_provider *provider,
                             const struct argus_policy *policy,
                             const struct argus_cluster *cluster,
                             const struct argus_audit *audit,
                             struct argus_remediator **out,
                             char **error);

// Looks at the cluster; JSON: "findings", "workloads", "ignored" findings, and what is "incomplete".
int32_t argus_remediator_scan(const struct argus_remediator *remediator, char **out, char **error);

// Asks for a plan for an incident, JSON as argus-ops has it. Nothing is executed.
int32_t argus_remediator_suggest(const struct argus_remediator *remediator,
                                 const char *incident,
                                 struct argus_plan **out,
                                 char **error);

// Asks what the findings of an incident come from; JSON, a diagnosis as argus-ops has it. Put it into the incident as "diagnosis"
// before a plan is asked for.
int32_t argus_remediator_diagnose(const struct argus_remediator *remediator,
                                  const char *incident,
                                  char **out,
                                  char **error);

// A plan that was suggested before, by its id, also by another process with the same folder of plans; every door has to be
// passed again.
int32_t argus_remediator_plan(const struct argus_remediator *remediator,
                              const char *plan_id,
                              struct argus_plan **out,
                              char **error);

// Asks policy about the actions.
int32_t argus_remediator_review(const struct argus_remediator *remediator,
                                const struct argus_plan *plan,
                                struct argus_permitted **out,
                                char **error);

// The reasons why a plan would be refused whatever policy and the cluster say, as a JSON list of {"pack", "id", "message", "step",
// "hint"}: steps for people, objects out of scope, changes that are never made, and high risk where it isn't allowed. Nobody
// is asked.
int32_t argus_remediator_refusals(const struct argus_remediator *remediator,
                                  const struct argus_plan *plan,
                                  char **out,
                                  char **error);

// Tries every step on the API server without doing it, and asks policy about the resulting objects.
int32_t argus_remediator_dry_run(const struct argus_remediator *remediator,
                                 const struct argus_permitted *permitted,
                                 struct argus_dry_run **out,
                                 char **error);

// Approves a dry run.
//
// `answer` is JSON: "users", who said yes (several where policy wants them), and "typed_name", what they typed, for a plan of high risk; or
// "automatic", the name of a component of the host, where policy needs no person.
int32_t argus_dry_run_approve(const struct argus_dry_run *dry_run,
                              const char *answer,
                              struct argus_approved **out,
                              char **error);

// Carries an approved plan out, waits until it came to rest, and looks again.
//
// How it ended is in `out`, also where it was undone: "success", "ending", "output", "error", "steps", "rescan", and "summary", the sentence for
// people. An error means that it was not carried out, or that nobody knows how far. The approval is used up.
int32_t argus_remediator_execute(const struct argus_remediator *remediator,
                                 const struct argus_approved *approved,
                                 char **out,
                                 char **error);

// Fixes an incident, JSON as argus-ops has it: asks for a plan, has it approved, carries it out and watches; where that did not help,
// undoes it and tries another one, at most "tries" of the remediator's options.
//
// `approver` is asked about each plan, from any thread. What `host` points to is needed until its `drop` is called, which may be a moment
// after this returns; a table that is refused is never called. `out` is JSON: "resolved", "reason" (why nothing more was done), "outcomes" (as of argus_remediator_execute, one for each plan), and
// "left", the plan that is left to people, or null.
int32_t argus_remediator_fix(const struct argus_remediator *remediator,
                             const char *incident,
                             const struct argus_approver_table *approver,
                             void *host,
                             char **out,
                             char **error);

// What was tried for an incident, JSON as argus-ops has it, oldest first, as a JSON list of {"plan_id", "at", "steps" ([{"command",
// "written"}]), "recovery", "outcome"}.
int32_t argus_remediator_history(const struct argus_remediator *remediator,
                                 const char *incident,
                                 char **out,
                                 char **error);

// The ids of the plans that were approved and cut off before their end, as a JSON list.
int32_t argus_remediator_unfinished(const struct argus_remediator *remediator, char **out, char **error);

// Finishes or undoes a plan that was cut off; `out` is as of argus_remediator_execute.
int32_t argus_remediator_resume(const struct argus_remediator *remediator,
                                const char *plan_id,
                                char **out,
                                char **error);

// Undoes a plan that was carried out and still stands, every step, newest first; `out` is as of argus_remediator_execute.
int32_t argus_remediator_undo(const struct argus_remediator *remediator,
                              const char *plan_id,
                              char **out,
                              char **error);

// Pulls the kill switch, or lets go of it: nothing is written any more, not even an undo.
int32_t argus_remediator_halt(const struct argus_remediator *remediator, bool halt, char **error);

// A state of a plan (argus_plan, argus_permitted, argus_dry_run, argus_approved) as JSON.
//
// A plan has the fields that HTTP clients see; a permitted one has "plan" and what policy said; a dry run has what a person
// needs to know: "plan", "digest", "verdict", "opinions", "people" (how many have to approve), "name_to_type" (for high risk), and "steps", each with its
// "changes" ({"field", "before", "after"}) and "warnings"; an approved one has "plan", "digest", "expires_at".
int32_t argus_state_json(const void *state,
                         char **out,
                         char **error);

// Frees a handle of any kind; null is ignored.
//
// ARGUS_BAD_HANDLE for one that was freed already.
int32_t argus_free(const void *handle);

// Starts `threads` threads, at least one; everything that waits is made with them. They end when the runtime and all that was
// made with it are freed.
int32_t argus_runtime_new(uint32_t threads,
                          struct argus_runtime **out,
                          char **error);

// Answers a prompt with the model's text, the model's name, and how many tokens it read and wrote (0 if that isn't known).
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_text(struct argus_reply *reply,
                         const char *answer_text,
                         const char *model,
                         uint64_t input_tokens,
                         uint64_t output_tokens,
                         char **error);

// Answers a call of a cluster, with JSON.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_json(struct argus_reply *reply, const char *json, char **error);

// Refuses a call of a cluster, and says that nothing was written: `stale` if the object isn't as it was approved, or as the step
// left it. Where nobody knows whether something was written, it is argus_reply_error.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_refuse(struct argus_reply *reply,
                           const char *message,
                           bool stale,
                           char **error);

// Says that a record is durable.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_ok(struct argus_reply *reply, char **error);

// Says that there is no answer, and why, without payloads. `retryable`: asking again may help.
//
// ARGUS_BAD_HANDLE if it was answered already, or nobody waits any more.
int32_t argus_reply_error(struct argus_reply *reply, const char *message, bool retryable, char **error);

// Plans by fixed rules, offline: no model.
int32_t argus_provider_playbook(struct argus_provider **out, char **error);

// A language model, hosted or local.
//
// `options` is JSON: {"model"}, and optionally "wire" ("openai" and whatever is compatible, "openai-responses", "anthropic", "gemini",
// "bedrock", "ollama"), "endpoint", "key", "timeout_seconds", "anonymous" (it doesn't learn the names of namespaces and objects, images and
// addresses).
int32_t argus_provider_genai(const char *options,
                             struct argus_provider **out,
                             char **error);

// A model of the host's own. `host` is handed to its functions; it belongs to Argus if the code is ARGUS_OK.
int32_t argus_provider_new(const struct argus_provider_table *table,
                           void *host,
                           struct argus_provider **out,
                           char **error);

// The packs that Argus comes with, and the host's own.
//
// `options` is null or JSON: "packs", a list of folders, "parameters" by the name of a pack, and "trusted_keys", a list of Ed25519
// public keys in PEM: with it, also if it is empty, only packs that one of them signed are taken, and their tests don't run.
int32_t argus_policy_new(const char *options,
                         struct argus_policy **out,
                         char **error);

// A Kubernetes cluster.
//
// `options` is null or JSON: "kubeconfig", a file, and its "context"; without one, the cluster that this process runs in.
// "settle_within_seconds": how long a step may take to come to rest (300). "unready_after_seconds": how long a pod may be unready
// before it is a finding (30). "scan_within_seconds": how long a scan may take (60). "seeing_cluster": whether to scan also what belongs
// to no namespace, such as nodes (false). "across_namespaces": whether to list each kind once for all namespaces, which takes the
// right to (false).
int32_t argus_cluster_new(const struct argus_runtime *runtime,
                          const char *options,
                          struct argus_cluster **out,
                          char **error);

// A cluster of the host's own. `host` is handed to its functions; it belongs to Argus if the code is ARGUS_OK.
int32_t argus_cluster_host(const struct argus_runtime *runtime,
                           const struct argus_cluster_table *table,
                           void *host,
                           struct argus_cluster **out,
                           char **error);

// Reads what the broken containers of an incident logged last, three at most, and writes the incident with it to `out`: evidence for a
// model, redacted. Logs may hold anything: it takes the right to read them.
//
// `scope` is JSON, the list of namespaces whose containers are asked; of others nothing is read.
//
// ARGUS_BAD_ARGUMENT for a cluster of the host's own.
int32_t argus_cluster_with_last_words(const struct argus_cluster *cluster,
                                      const char *incident,
                                      const char *scope,
                                      char **out,
                                      char **error);

// A Kubernetes cluster in memory, served on a free port of the loopback too: for the first minute and for tests.
int32_t argus_test_cluster_new(const struct argus_runtime *runtime, struct argus_cluster **out, char **error);

// Creates a Deployment with one container, `app`, in a cluster in memory: healthy unless its memory limit is below what it
// needs, it lacks the variable that it needs, or its image has a name like `does-not-exist`.
//
// `deployment` is JSON: "namespace", "name", "image", and optionally "replicas", "memory_limit", "needs_memory", "needs_env", and
// "fails_after", for how many seconds it works after each start.
int32_t argus_test_cluster_deployment(const struct argus_cluster *cluster,
                                      const char *deployment,
                                      char **error);

// What there is to know of a cluster in memory, as JSON: its "url", a "kubeconfig" for it, and the "writes" that it was asked
// for, oldest first: {"user", "verb", "path", "dry_run", "code"}.
int32_t argus_test_cluster_state(const struct argus_cluster *cluster,
                                 char **out,
                                 char **error);

// The audit trail in the files of a folder; one writer at a time. With a `table`, every record goes to the host too, and nothing is
// done that relies on a record that isn't durable in both; `host` belongs to Argus then, if the code is ARGUS_OK.
int32_t argus_audit_file(const struct argus_runtime *runtime,
                         const char *folder,
                         const struct argus_sink_table *table,
                         void *host,
                         struct argus_audit **out,
                         char **error);

// The records, newest first, as a JSON list.
//
// `query` is null or JSON, all of it optional: "incident_id", "plan_id", "actor", "event", "action", "text", "since", "until", "after", "before" (a
// record's number: the next page), "limit".
int32_t argus_audit_records(const struct argus_audit *audit,
                            const char *query,
                            char **out,
                            char **error);

// Checks the trail of a folder, record by record; how many there are goes to `records`, and how many of those stand before the first
// that is there, and are only said to have been removed, to `unproven`: without a key nothing proves it. Both may be null.
//
// ARGUS_AUDIT_FAILED names the first bad record.
int32_t argus_audit_verify(const char *folder,
                           uint64_t *records,
                           uint64_t *unproven,
                           char **error);

// Collects the doors.
//
// `options` is JSON: "scope", a list of namespaces, and optionally "enabled" (false: everything but executing works),
// "allow_high_risk" (false), "on_failure" ("undo" or "stop"), "user" (who asks), "plans" (a folder where plans are kept for the next
// process), "hold" (how long a fix is watched before it counts as one: {"min_seconds": 10, "max_seconds": 600}; with a maximum of 0 none
// ever does), "tries" (how many plans argus_remediator_fix carries out for one incident: 3), "budget" ({"attempts": 3, "tokens": 50000, "seconds": 180, "cost_usd", "tokens_per_day", "cost_usd_per_day"}), "prices" (what
// models cost, as in LiteLLM's table: {"gpt-5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}}), "language"
// (of plans and diagnoses: "German").
int32_t argus_remediator_new(const struct argus_runtime *runtime,
                             const char *options,
                             const struct argus_provider *provider,
                             const struct argus_policy *policy,
                             const struct argus_cluster *cluster,
                             const struct argus_audit *audit,
                             struct argus_remediator **out,
                             char **error);

// Looks at the cluster; JSON: "findings", "workloads", "ignored" findings, and what is "incomplete".
int32_t argus_remediator_scan(const struct argus_remediator *remediator, char **out, char **error);

// Asks for a plan for an incident, JSON as argus-ops has it. Nothing is executed.
int32_t argus_remediator_suggest(const struct argus_remediator *remediator,
                                 const char *incident,
                                 struct argus_plan **out,
                                 char **error);

// Asks what the findings of an incident come from; JSON, a diagnosis as argus-ops has it. Put it into the incident as "diagnosis"
// before a plan is asked for.
int32_t argus_remediator_diagnose(const struct argus_remediator *remediator,
                                  const char *incident,
                                  char **out,
                                  char **error);

// A plan that was suggested before, by its id, also by another process with the same folder of plans; every door has to be
// passed again.
int32_t argus_remediator_plan(const struct argus_remediator *remediator,
                              const char *plan_id,
                              struct argus_plan **out,
                              char **error);

// Asks policy about the actions.
int32_t argus_remediator_review(const struct argus_remediator *remediator,
                                const struct argus_plan *plan,
                                struct argus_permitted **out,
                                char **error);

// The reasons why a plan would be refused whatever policy and the cluster say, as a JSON list of {"pack", "id", "message", "step",
// "hint"}: steps for people, objects out of scope, changes that are never made, and high risk where it isn't allowed. Nobody
// is asked.
int32_t argus_remediator_refusals(const struct argus_remediator *remediator,
                                  const struct argus_plan *plan,
                                  char **out,
                                  char **error);

// Tries every step on the API server without doing it, and asks policy about the resulting objects.
int32_t argus_remediator_dry_run(const struct argus_remediator *remediator,
                                 const struct argus_permitted *permitted,
                                 struct argus_dry_run **out,
                                 char **error);

// Approves a dry run.
//
// `answer` is JSON: "users", who said yes (several where policy wants them), and "typed_name", what they typed, for a plan of high risk; or
// "automatic", the name of a component of the host, where policy needs no person.
int32_t argus_dry_run_approve(const struct argus_dry_run *dry_run,
                              const char *answer,
                              struct argus_approved **out,
                              char **error);

// Carries an approved plan out, waits until it came to rest, and looks again.
//
// How it ended is in `out`, also where it was undone: "success", "ending", "output", "error", "steps", "rescan", and "summary", the sentence for
// people. An error means that it was not carried out, or that nobody knows how far. The approval is used up.
int32_t argus_remediator_execute(const struct argus_remediator *remediator,
                                 const struct argus_approved *approved,
                                 char **out,
                                 char **error);

// Fixes an incident, JSON as argus-ops has it: asks for a plan, has it approved, carries it out and watches; where that did not help,
// undoes it and tries another one, at most "tries" of the remediator's options.
//
// `approver` is asked about each plan, from any thread. What `host` points to is needed until its `drop` is called, which may be a moment
// after this returns; a table that is refused is never called. `out` is JSON: "resolved", "reason" (why nothing more was done), "outcomes" (as of argus_remediator_execute, one for each plan), and
// "left", the plan that is left to people, or null.
int32_t argus_remediator_fix(const struct argus_remediator *remediator,
                             const char *incident,
                             const struct argus_approver_table *approver,
                             void *host,
                             char **out,
                             char **error);

// What was tried for an incident, JSON as argus-ops has it, oldest first, as a JSON list of {"plan_id", "at", "steps" ([{"command",
// "written"}]), "recovery", "outcome"}.
int32_t argus_remediator_history(const struct argus_remediator *remediator,
                                 const char *incident,
                                 char **out,
                                 char **error);

// The ids of the plans that were approved and cut off before their end, as a JSON list.
int32_t argus_remediator_unfinished(const struct argus_remediator *remediator, char **out, char **error);

// Finishes or undoes a plan that was cut off; `out` is as of argus_remediator_execute.
int32_t argus_remediator_resume(const struct argus_remediator *remediator,
                                const char *plan_id,
                                char **out,
                                char **error);

// Undoes a plan that was carried out and still stands, every step, newest first; `out` is as of argus_remediator_execute.
int32_t argus_remediator_undo(const struct argus_remediator *remediator,
                              const char *plan_id,
                              char **out,
                              char **error);

// Pulls the kill switch, or lets go of it: nothing is written any more, not even an undo.
int32_t argus_remediator_halt(const struct argus_remediator *remediator, bool halt, char **error);

// A state of a plan (argus_plan, argus_permitted, argus_dry_run, argus_approved) as JSON.
//
// A plan has the fields that HTTP clients see; a permitted one has "plan" and what policy said; a dry run has what a person
// needs to know: "plan", "digest", "verdict", "opinions", "people" (how many have to approve), "name_to_type" (for high risk), and "steps", each with its
// "changes" ({"field", "before", "after"}) and "warnings"; an approved one has "plan", "digest", "expires_at".
int32_t argus_state_json(const void *state,
                         char **out,
                         char **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ARGUS_H */
