/* Every function with what a careless host hands over: null, text that is no UTF-8 or no JSON, handles of another kind, handles that
   were freed; replies that come twice, late or never; and all of it from eight threads. */
#include <argus.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int passed, failed;

static void expect(int32_t code, int32_t expected, const char *what) {
  if (code == expected) {
    atomic_fetch_add(&passed, 1);
  } else {
    atomic_fetch_add(&failed, 1);
    fprintf(stderr, "%s: got code %d, expected %d\n", what, (int)code, (int)expected);
  }
}
#define EXPECT(code, call) expect((call), (code), #call)

/* The same, and a part of the error that stands in `error`. */
static void says(int32_t code, int32_t expected, char *error, const char *part, const char *what) {
  expect(code, expected, what);
  const int found = error != NULL && strstr(error, part) != NULL;
  expect(found, 1, what);
  if (!found) fprintf(stderr, "  %s\n", error != NULL ? error : "no error");
  argus_string_free(error);
}
#define SAYS(expected, part, call)                   \
  do {                                               \
    const int32_t code_ = (call);                    \
    says(code_, (expected), error, (part), #call);   \
  } while (0)

static const char *const NOT_UTF8 = "\xff\xfe";
static const char *folder;

static argus_runtime *runtime;
static argus_cluster *cluster;
static argus_policy *policy;
static argus_audit *audit;

/* --- a model whose manners can be chosen ------------------------------------------------------------------------- */

enum manners { ANSWERS, ANSWERS_TWICE, REFUSES, SAYS_NONSENSE, CALLS_BACK };
struct model {
  enum manners manners;
  atomic_int *dropped;
  argus_remediator *remediator;
};

static const char ANSWER[] = "{\"summary\": \"Restart it.\", \"steps\": [{\"description\": \"Start the app again, because it hangs.\","
                             " \"command\": \"kubectl rollout restart deployment/web -n shop\"}], \"risk_level\": \"low\","
                             " \"risk_reason\": \"One app.\", \"rollback_steps\": []}";

static void complete(void *host, const char *prompt, argus_reply *reply) {
  struct model *model = host;
  char *out = NULL, *error = NULL;
  EXPECT(1, strstr(prompt, "\"system\":") != NULL);
  switch (model->manners) {
  case ANSWERS_TWICE:
    EXPECT(ARGUS_BAD_ARGUMENT, argus_reply_text(reply, NOT_UTF8, "model", 1, 1, NULL)); /* it is still to be answered */
    EXPECT(ARGUS_OK, argus_reply_text(reply, ANSWER, "model", 1, 1, NULL));
    EXPECT(ARGUS_BAD_HANDLE, argus_reply_text(reply, ANSWER, "model", 1, 1, NULL));
    EXPECT(ARGUS_BAD_HANDLE, argus_reply_error(reply, "no", false, NULL));
    break;
  case REFUSES: EXPECT(ARGUS_OK, argus_reply_error(reply, "the model is on holiday", false, NULL)); break;
  case SAYS_NONSENSE: EXPECT(ARGUS_OK, argus_reply_text(reply, "Sure! Here is your plan:", "model", 1, 1, NULL)); break;
  case CALLS_BACK:
    SAYS(ARGUS_BAD_ARGUMENT, "callback", argus_remediator_scan(model->remediator, &out, &error));
    /* fall through */
  case ANSWERS: EXPECT(ARGUS_OK, argus_reply_text(reply, ANSWER, "model", 1, 1, NULL)); break;
  }
}

static void dropped(void *host) {
  struct model *model = host;
  atomic_fetch_add(model->dropped, 1);
  free(model);
}

static void models(void) {
  const enum manners all[] = {ANSWERS, ANSWERS_TWICE, REFUSES, SAYS_NONSENSE, CALLS_BACK};
  atomic_int drops = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    struct model *model = malloc(sizeof *model);
    *model = (struct model){all[i], &drops, NULL};
    const argus_provider_table table = {sizeof table, complete, dropped};
    argus_provider *provider = NULL;
    argus_remediator *remediator = NULL;
    argus_plan *plan = NULL;
    char *error = NULL;
    EXPECT(ARGUS_OK, argus_provider_new(&table, model, &provider, NULL));
    EXPECT(ARGUS_OK, argus_remediator_new(runtime, "{\"scope\": [\"shop\"]}", provider, policy, cluster, audit, &remediator, NULL));
    EXPECT(ARGUS_OK, argus_free(provider));
    model->remediator = remediator;
    int32_t code = argus_remediator_suggest(remediator, "{\"incident_id\": \"INC-1\", \"findings\": []}", &plan, &error);
    if (all[i] == REFUSES) {
      SAYS(ARGUS_NO_PLAN, "the model is on holiday", code);
    } else if (all[i] == SAYS_NONSENSE) {
      SAYS(ARGUS_NO_PLAN, "it was asked", code);
    } else {
      expect(code, ARGUS_OK, "suggest");
      argus_string_free(error);
    }
    EXPECT(ARGUS_OK, argus_free(plan));
    EXPECT((int)i, atomic_load(&drops));
    EXPECT(ARGUS_OK, argus_free(remediator));
    EXPECT((int)i + 1, atomic_load(&drops));
  }
}

/* --- who is asked by argus_remediator_fix ------------------------------------------------------------------------- */

enum answers { YES, NO, NOBODY, NO_ANSWER, ANSWERS_COUNT };

struct operator {
  enum answers answers;
  atomic_int asked, dropped;
};

static void decide(void *host, const char *dry_run, argus_reply *reply) {
  struct operator *operator = host;
  atomic_fetch_add(&operator->asked, 1);
  EXPECT(1, strstr(dry_run, "\"changes\":") != NULL && strstr(dry_run, "128Mi") != NULL);
  switch (operator->answers) {
  case YES: EXPECT(ARGUS_OK, argus_reply_json(reply, "{\"user\": \"ada\"}", NULL)); break;
  case NO: EXPECT(ARGUS_OK, argus_reply_json(reply, "{\"user\": \"ada\", \"refuse\": \"not today\"}", NULL)); break;
  case NOBODY: EXPECT(ARGUS_OK, argus_reply_error(reply, "it is night", false, NULL)); break;
  default: EXPECT(ARGUS_OK, argus_reply_json(reply, "{\"users\": [\"ada\"]}", NULL)); break;
  }
}

static void answered(void *host) {
  struct operator *operator = host;
  atomic_fetch_add(&operator->dropped, 1);
}

static void fixes(void) {
  static const char incident[] =
    "{\"incident_id\": \"INC-1\", \"findings\": [{\"finding_id\": \"F-1\", \"category\": \"pod_health\", \"severity\": \"high\", \"title\": "
    "\"OOMKilled: web\", \"description\": \"\", \"target\": \"k8s://shop/web\", \"infra_type\": \"kubernetes\", \"cause\": \"oom_killed\", \"owner\": "
    "{\"kind\": \"Deployment\", \"namespace\": \"shop\", \"name\": \"web\"}, \"raw_data\": {\"container\": \"app\", \"memory_limit\": \"128Mi\"}}]}";
  static const char *const reasons[] = {"It is fixed, and it held.", "ada refused the plan: not today", "it is night", "the answer is none"};
  for (int answers = YES; answers < ANSWERS_COUNT; answers++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/fix-%d", folder, answers);
    struct operator operator = {(enum answers)answers, 0, 0};
    const argus_approver_table table = {sizeof table, decide, answered};
    argus_cluster *memory = NULL;
    argus_audit *trail = NULL;
    argus_provider *playbook = NULL;
    argus_remediator *remediator = NULL;
    char *out = NULL, *error = NULL;
    EXPECT(ARGUS_OK, argus_test_cluster_new(runtime, &memory, NULL));
    EXPECT(ARGUS_OK, argus_test_cluster_deployment(memory, "{\"namespace\": \"shop\", \"name\": \"web\", \"image\": \"r.example/web:1\", "
                                                           "\"memory_limit\": \"128Mi\", \"needs_memory\": \"400Mi\", \"fails_after\": 0.3}", NULL));
    EXPECT(ARGUS_OK, argus_audit_file(runtime, path, NULL, NULL, &trail, NULL));
    EXPECT(ARGUS_OK, argus_provider_playbook(&playbook, NULL));
    EXPECT(ARGUS_OK, argus_remediator_new(runtime, "{\"scope\": [\"shop\"], \"enabled\": true, \"tries\": 2, \"hold\": {\"min_seconds\": 0.9, "
                                                   "\"max_seconds\": 8}}", playbook, policy, memory, trail, &remediator, NULL));
    int found = 0;
    for (int look = 0; look < 2000 && !found; look++) {
      if (argus_remediator_scan(remediator, &out, NULL) != ARGUS_OK) break;
      found = strstr(out, "\"oom_killed\"") != NULL;
      argus_string_free(out);
    }
    EXPECT(1, found);
    out = NULL;
    EXPECT(ARGUS_OK, argus_remediator_fix(remediator, incident, &table, &operator, &out, NULL));
    EXPECT(1, strstr(out, answers == YES ? "\"resolved\":true" : "\"resolved\":false") != NULL);
    EXPECT(1, strstr(out, reasons[answers]) != NULL);
    EXPECT(answers == YES, strstr(out, "\"left\":null") != NULL);
    argus_string_free(out);
    /* 256Mi is not enough: each of two plans was asked about. */
    EXPECT(answers == YES ? 2 : 1, atomic_load(&operator.asked));
    /* The call of `decide` may return a moment after its answer was taken. */
    for (int turn = 0; turn < 10000000 && atomic_load(&operator.dropped) == 0; turn++) sched_yield();
    EXPECT(1, atomic_load(&operator.dropped));
    EXPECT(ARGUS_OK, argus_remediator_history(remediator, incident, &out, NULL));
    EXPECT(answers == YES, strstr(out, "memory=256Mi") != NULL && strstr(out, "memory=512Mi") != NULL);
    argus_string_free(out);
    const argus_approver_table none = {sizeof none, NULL, NULL}, small = {sizeof small - 1, decide, NULL};
    SAYS(ARGUS_BAD_ARGUMENT, "the table is null", argus_remediator_fix(remediator, incident, NULL, NULL, &out, &error));
    SAYS(ARGUS_BAD_ARGUMENT, "null", argus_remediator_fix(remediator, incident, &none, NULL, &out, &error));
    SAYS(ARGUS_BAD_ARGUMENT, "too small", argus_remediator_fix(remediator, incident, &small, NULL, &out, &error));
    const void *handles[] = {remediator, trail, playbook, memory};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) EXPECT(ARGUS_OK, argus_free(handles[i]));
  }
}

/* --- a sink that fails ------------------------------------------------------------------------------------------- */

struct sink {
  atomic_int records, fails_at;
};

static void append(void *host, const char *record, argus_reply *reply) {
  struct sink *sink = host;
  EXPECT(1, strstr(record, "\"sequence\":") != NULL);
  if (atomic_fetch_add(&sink->records, 1) + 1 == atomic_load(&sink->fails_at)) {
    EXPECT(ARGUS_OK, argus_reply_error(reply, "the disk of the host is full", false, NULL));
  } else {
    EXPECT(ARGUS_OK, argus_reply_ok(reply, NULL));
  }
}

/* The walk with a sink that fails at one record: how far it came. */
static int32_t walk(struct sink *sink, int number, char **error) {
  char path[4096];
  snprintf(path, sizeof path, "%s/sink-%d", folder, number);
  const argus_sink_table table = {sizeof table, append, NULL};
  argus_cluster *memory = NULL;
  argus_audit *trail = NULL;
  argus_provider *playbook = NULL;
  argus_remediator *remediator = NULL;
  argus_plan *plan = NULL;
  argus_permitted *permitted = NULL;
  argus_dry_run *dry_run = NULL;
  argus_approved *approved = NULL;
  char *out = NULL;
  static char incident[1 << 16];
  snprintf(incident, sizeof incident,
           "{\"incident_id\": \"INC-1\", \"findings\": [{\"finding_id\": \"F-1\", \"category\": \"pod\", \"severity\": \"high\", \"title\": \"web runs "
           "out of memory\", \"description\": \"\", \"target\": \"shop/web\"}]}");
  EXPECT(ARGUS_OK, argus_test_cluster_new(runtime, &memory, NULL));
  EXPECT(ARGUS_OK, argus_test_cluster_deployment(memory, "{\"namespace\": \"shop\", \"name\": \"web\", \"image\": \"r.example/web:1\"}", NULL));
  EXPECT(ARGUS_OK, argus_audit_file(runtime, path, &table, sink, &trail, NULL));
  struct model *model = malloc(sizeof *model);
  atomic_int drops = 0;
  *model = (struct model){ANSWERS, &drops, NULL};
  const argus_provider_table models = {sizeof models, complete, dropped};
  EXPECT(ARGUS_OK, argus_provider_new(&models, model, &playbook, NULL));
  EXPECT(ARGUS_OK, argus_remediator_new(runtime, "{\"scope\": [\"shop\"], \"enabled\": true}", playbook, policy, memory, trail, &remediator, NULL));
  int32_t code = argus_remediator_suggest(remediator, "{\"incident_id\": \"INC-1\", \"findings\": []}", &plan, error);
  if (code == ARGUS_OK) code = argus_remediator_review(remediator, plan, &permitted, error);
  if (code == ARGUS_OK) code = argus_remediator_dry_run(remediator, permitted, &dry_run, error);
  if (code == ARGUS_OK) code = argus_dry_run_approve(dry_run, "{\"users\": [\"ada\"]}", &approved, error);
  if (code == ARGUS_OK) {
    code = argus_remediator_execute(remediator, approved, &out, error);
    EXPECT(ARGUS_BAD_HANDLE, argus_remediator_execute(remediator, approved, &out, NULL)); /* once */
  }
  /* Nothing was written that isn't in the host's sink: a restart's write has its intent before it. */
  char *state = NULL;
  EXPECT(ARGUS_OK, argus_test_cluster_state(memory, &state, NULL));
  int writes = 0;
  for (const char *at = state; (at = strstr(at, "\"dry_run\":false")) != NULL; at++) {
    const char *end = strchr(at, '}'), *begin = at;
    while (*begin != '{') begin--;
    /* A write that met another one of the cluster's own is made again, and was none. */
    const char *user = strstr(begin, "\"user\":\"argus\""), *done = strstr(begin, "\"code\":200");
    writes += user != NULL && user < end && done != NULL && done < end;
  }
  if (code != ARGUS_OK && strstr(*error, "\"standing\":0") != NULL) EXPECT(0, writes);
  if (code == ARGUS_OK) EXPECT(1, writes);
  argus_string_free(state);
  argus_string_free(out);
  const void *handles[] = {approved, dry_run, permitted, plan, remediator, trail, playbook, memory};
  for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) EXPECT(ARGUS_OK, argus_free(handles[i]));
  EXPECT(1, atomic_load(&drops));
  return code;
}

static void sinks(void) {
  struct sink whole = {0, 0};
  char *error = NULL;
  expect(walk(&whole, 0, &error), ARGUS_OK, "the walk with a sink");
  argus_string_free(error);
  const int records = atomic_load(&whole.records);
  EXPECT(1, records >= 7);
  for (int at = 1; at <= records; at++) {
    struct sink sink = {0, at};
    error = NULL;
    int32_t code = walk(&sink, at, &error);
    if (code != ARGUS_OK) {
      SAYS(ARGUS_AUDIT_FAILED, "the disk of the host is full", code);
    } else {
      expect(at > 7, 1, "only what follows the end of the plan may fail unseen");
      argus_string_free(error);
    }
    EXPECT(at, atomic_load(&sink.records));
  }
}

/* --- a cluster of the host's own ------------------------------------------------------------------------------------ */

/* One object, and what its functions are to do. */
struct object {
  atomic_int replicas;
  enum { WORKS, REFUSES_TO_APPLY, IS_STALE, TALKS, NEVER_RESTS, UNKNOWN } manners;
  atomic_int calls;
};

static void object(char *out, size_t size, int replicas) {
  snprintf(out, size, "{\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\", \"metadata\": {\"name\": \"web\", \"namespace\": \"shop\", \"uid\": \"u\"}, "
           "\"spec\": {\"replicas\": %d, \"selector\": {\"matchLabels\": {\"app\": \"web\"}}, \"template\": {\"metadata\": {\"labels\": {\"app\": \"web\"}}, "
           "\"spec\": {\"containers\": [{\"name\": \"app\", \"image\": \"r.example/web:1\"}]}}}}", replicas);
}

static void serve(void *host, const char *method, const char *request, argus_reply *reply) {
  struct object *web = host;
  char now[512], then[512], json[2048];
  atomic_fetch_add(&web->calls, 1);
  object(now, sizeof now, atomic_load(&web->replicas));
  object(then, sizeof then, 3);
  EXPECT(1, request[0] == '{');
  if (strcmp(method, "missing_permissions") == 0) {
    EXPECT(ARGUS_OK, argus_reply_json(reply, "[]", NULL));
  } else if (strcmp(method, "dry_run") == 0) {
    snprintf(json, sizeof json, "{\"uid\": \"u\", \"before\": %s, \"after\": %s, \"write\": {\"method\": \"patch\", \"subresource\": \"scale\", "
             "\"patch_type\": \"merge\", \"body\": {\"spec\": {\"replicas\": 3}}}}", now, then);
    EXPECT(ARGUS_OK, argus_reply_json(reply, json, NULL));
  } else if (strcmp(method, "apply") == 0) {
    switch (web->manners) {
    case REFUSES_TO_APPLY: EXPECT(ARGUS_OK, argus_reply_refuse(reply, "the branch is protected", false, NULL)); return;
    case IS_STALE: EXPECT(ARGUS_OK, argus_reply_refuse(reply, "web", true, NULL)); return;
    case TALKS: EXPECT(ARGUS_OK, argus_reply_json(reply, "done!", NULL)); return;
    case UNKNOWN: EXPECT(ARGUS_OK, argus_reply_error(reply, "no connection", true, NULL)); return;
    default: break;
    }
    atomic_store(&web->replicas, 3);
    EXPECT(ARGUS_OK, argus_reply_json(reply, then, NULL));
  } else if (strcmp(method, "settle") == 0) {
    if (web->manners == NEVER_RESTS) EXPECT(ARGUS_OK, argus_reply_error(reply, "it never came to rest", false, NULL));
    else EXPECT(ARGUS_OK, argus_reply_json(reply, "null", NULL));
  } else if (strcmp(method, "is_in_force") == 0) {
    EXPECT(ARGUS_OK, argus_reply_json(reply, atomic_load(&web->replicas) == 3 ? "true" : "false", NULL));
  } else if (strcmp(method, "undo") == 0) {
    atomic_store(&web->replicas, 1);
    EXPECT(ARGUS_OK, argus_reply_json(reply, "\"restored\"", NULL));
  } else if (strcmp(method, "scan") == 0) {
    snprintf(json, sizeof json, "{\"findings\": [], \"incomplete\": [], \"workloads\": [{\"object\": {\"kind\": \"Deployment\", \"namespace\": \"shop\", \"name\": "
             "\"web\"}, \"desired\": %d, \"ready\": %d}]}", atomic_load(&web->replicas), atomic_load(&web->replicas));
    EXPECT(ARGUS_OK, argus_reply_json(reply, json, NULL));
  } else {
    expect(0, 1, method);
  }
}

static const char SCALE[] = "{\"summary\": \"More copies.\", \"steps\": [{\"description\": \"More copies, because of the load.\","
                            " \"command\": \"kubectl scale deployment/web -n shop --replicas=3\"}], \"risk_level\": \"low\","
                            " \"risk_reason\": \"One app.\", \"rollback_steps\": []}";

static void scale(void *host, const char *prompt, argus_reply *reply) {
  (void)host;
  (void)prompt;
  EXPECT(ARGUS_OK, argus_reply_text(reply, SCALE, "model", 1, 1, NULL));
}

static void clusters(void) {
  const struct {
    int manners, code, replicas;
    const char *part;
  } cases[] = {{WORKS, ARGUS_OK, 3, "\"ending\":\"succeeded\""},
               {REFUSES_TO_APPLY, ARGUS_OK, 1, "the branch is protected"},
               {IS_STALE, ARGUS_STALE, 1, "web changed after the approval"},
               {TALKS, ARGUS_OK, 1, "\"success\":false"},
               {UNKNOWN, ARGUS_OK, 1, "no connection"},
               {NEVER_RESTS, ARGUS_OK, 1, "\"ending\":\"undone\""}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct object web = {1, cases[i].manners, 0};
    const argus_cluster_table table = {sizeof table, serve, NULL};
    const argus_provider_table model = {sizeof model, scale, NULL};
    argus_cluster *own = NULL;
    argus_provider *provider = NULL;
    argus_remediator *remediator = NULL;
    argus_plan *plan = NULL;
    argus_permitted *permitted = NULL;
    argus_dry_run *dry_run = NULL;
    argus_approved *approved = NULL;
    char *out = NULL, *error = NULL;
    EXPECT(ARGUS_OK, argus_cluster_host(runtime, &table, &web, &own, NULL));
    EXPECT(ARGUS_OK, argus_provider_new(&model, NULL, &provider, NULL));
    EXPECT(ARGUS_OK, argus_remediator_new(runtime, "{\"scope\": [\"shop\"], \"enabled\": true}", provider, policy, own, audit, &remediator, NULL));
    /* Each its own: what did not help is not done again for the same incident. */
    char incident[64];
    snprintf(incident, sizeof incident, "{\"incident_id\": \"INC-C%zu\", \"findings\": []}", i);
    EXPECT(ARGUS_OK, argus_remediator_suggest(remediator, incident, &plan, NULL));
    EXPECT(ARGUS_OK, argus_remediator_review(remediator, plan, &permitted, NULL));
    EXPECT(ARGUS_OK, argus_remediator_dry_run(remediator, permitted, &dry_run, NULL));
    EXPECT(1, atomic_load(&web.replicas));
    EXPECT(ARGUS_OK, argus_dry_run_approve(dry_run, "{\"users\": [\"ada\"]}", &approved, NULL));
    EXPECT(cases[i].code, argus_remediator_execute(remediator, approved, &out, &error));
    EXPECT(1, strstr(out != NULL ? out : error, cases[i].part) != NULL);
    EXPECT(cases[i].replicas, atomic_load(&web.replicas));
    argus_string_free(out);
    argus_string_free(error);
    const void *handles[] = {approved, dry_run, permitted, plan, remediator, provider, own};
    for (size_t j = 0; j < sizeof handles / sizeof *handles; j++) EXPECT(ARGUS_OK, argus_free(handles[j]));
  }
  argus_cluster *own = NULL;
  argus_cluster_table table = {0, serve, NULL};
  EXPECT(ARGUS_BAD_ARGUMENT, argus_cluster_host(runtime, &table, NULL, &own, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_cluster_host(runtime, NULL, NULL, &own, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_reply_json(NULL, "1", NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_reply_refuse(NULL, "no", true, NULL));
}

/* --- bad arguments ----------------------------------------------------------------------------------------------- */

static void arguments(void) {
  char *out = NULL, *error = NULL;
  argus_runtime *r = NULL;
  argus_provider *p = NULL;
  argus_policy *o = NULL;
  argus_cluster *c = NULL;
  argus_audit *a = NULL;
  argus_remediator *m = NULL;
  argus_plan *plan = NULL;
  argus_permitted *permitted = NULL;
  argus_dry_run *dry_run = NULL;
  argus_approved *approved = NULL;

  EXPECT(1, argus_version()[0] >= '0');
  EXPECT(1, (int32_t)argus_abi_version());
  argus_string_free(NULL);
  EXPECT(ARGUS_OK, argus_free(NULL));

  EXPECT(ARGUS_OK, argus_parse_command("kubectl scale deploy/web -n shop --replicas=2", &out, &error));
  EXPECT(1, strstr(out, "\"kind\":\"scale\"") != NULL);
  EXPECT(1, error == NULL);
  argus_string_free(out);
  out = NULL;
  SAYS(ARGUS_COMMAND_REFUSED, "\"position\":33", argus_parse_command("kubectl delete pod/web-1 -n shop --force", &out, &error));
  EXPECT(1, out == NULL);
  EXPECT(ARGUS_BAD_ARGUMENT, argus_parse_command(NULL, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_parse_command("kubectl drain n", NULL, NULL));
  SAYS(ARGUS_BAD_ARGUMENT, "not UTF-8", argus_parse_command(NOT_UTF8, &out, &error));

  EXPECT(ARGUS_OK, argus_redact("DB_PASSWORD=hunter2 is wrong", &out, &error));
  EXPECT(0, strcmp(out, "DB_PASSWORD=[redacted] is wrong"));
  argus_string_free(out);
  out = NULL;
  EXPECT(ARGUS_OK, argus_redact("{\"kind\":\"Secret\",\"data\":{\"pin\":\"NDgx\"}}", &out, &error));
  EXPECT(1, strstr(out, "NDgx") == NULL && strstr(out, "[redacted]") != NULL);
  argus_string_free(out);
  out = NULL;
  EXPECT(ARGUS_BAD_ARGUMENT, argus_redact(NULL, &out, NULL));

  EXPECT(ARGUS_OK, argus_correlate("{\"findings\": [], \"workloads\": [], \"incomplete\": []}", &out, &error));
  EXPECT(0, strcmp(out, "[]"));
  argus_string_free(out);
  out = NULL;
  SAYS(ARGUS_BAD_ARGUMENT, "no scan", argus_correlate("{\"findings\": 1}", &out, &error));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_correlate(NULL, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_correlate("{}", NULL, NULL));

  EXPECT(ARGUS_OK, argus_to_sarif("{\"findings\": [], \"workloads\": [], \"incomplete\": []}", &out, &error));
  EXPECT(1, strstr(out, "\"version\":\"2.1.0\"") != NULL);
  argus_string_free(out);
  out = NULL;
  SAYS(ARGUS_BAD_ARGUMENT, "no scan", argus_to_sarif("[]", &out, &error));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_to_sarif(NULL, NULL, NULL));

  EXPECT(ARGUS_BAD_ARGUMENT, argus_runtime_new(1, NULL, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_provider_playbook(NULL, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_provider_genai(NULL, &p, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_provider_genai("{", &p, NULL));
  SAYS(ARGUS_BAD_ARGUMENT, "telex", argus_provider_genai("{\"model\": \"m\", \"wire\": \"telex\"}", &p, &error));
  SAYS(ARGUS_BAD_ARGUMENT, "modle", argus_provider_genai("{\"model\": \"m\", \"modle\": 1}", &p, &error));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_provider_new(NULL, NULL, &p, NULL));
  argus_provider_table table = {0, complete, NULL};
  SAYS(ARGUS_BAD_ARGUMENT, "size", argus_provider_new(&table, NULL, &p, &error));
  table = (argus_provider_table){sizeof table, NULL, NULL};
  EXPECT(ARGUS_BAD_ARGUMENT, argus_provider_new(&table, NULL, &p, NULL));
  SAYS(ARGUS_PACK_REFUSED, "/does/not/exist", argus_policy_new("{\"packs\": [\"/does/not/exist\"]}", &o, &error));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_policy_new("{\"parameters\": {\"pack\": 3}}", &o, NULL));
  SAYS(ARGUS_PACK_REFUSED, "no public Ed25519 key", argus_policy_new("{\"trusted_keys\": [\"x\"]}", &o, &error));
  SAYS(ARGUS_CLUSTER_FAILED, "kubeconfig", argus_cluster_new(runtime, "{\"kubeconfig\": \"/does/not/exist\"}", &c, &error));
  EXPECT(ARGUS_CLUSTER_FAILED, argus_cluster_new(runtime, NULL, &c, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_cluster_new(NULL, NULL, &c, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_test_cluster_new(NULL, &c, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_test_cluster_deployment(cluster, "{\"namespace\": 1}", NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_test_cluster_deployment(NULL, "{}", NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_test_cluster_state(NULL, &out, NULL));
  EXPECT(ARGUS_OK, argus_cluster_with_last_words(cluster, "{\"incident_id\": \"INC-1\", \"findings\": []}", "[\"shop\"]", &out, &error));
  EXPECT(1, strstr(out, "\"INC-1\"") != NULL);
  argus_string_free(out);
  out = NULL;
  EXPECT(ARGUS_BAD_ARGUMENT, argus_cluster_with_last_words(cluster, "{", "[\"shop\"]", &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_cluster_with_last_words(cluster, "{\"incident_id\": \"INC-1\"}", "[\"shop\"]", NULL, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_cluster_with_last_words(cluster, "{\"incident_id\": \"INC-1\"}", NULL, &out, NULL));
  SAYS(ARGUS_BAD_ARGUMENT, "scope", argus_cluster_with_last_words(cluster, "{\"incident_id\": \"INC-1\"}", "[]", &out, &error));
  SAYS(ARGUS_BAD_ARGUMENT, "scope", argus_cluster_with_last_words(cluster, "{\"incident_id\": \"INC-1\"}", "[\"a/b\"]", &out, &error));
  EXPECT(ARGUS_BAD_HANDLE, argus_cluster_with_last_words(NULL, "{}", "[\"shop\"]", &out, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_audit_file(NULL, folder, NULL, NULL, &a, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_audit_file(runtime, NULL, NULL, NULL, &a, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_audit_file(runtime, folder, NULL, NULL, NULL, NULL));
  SAYS(ARGUS_AUDIT_FAILED, "/proc/none", argus_audit_file(runtime, "/proc/none", NULL, NULL, &a, &error));
  EXPECT(ARGUS_BAD_HANDLE, argus_audit_records(NULL, NULL, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_audit_records(audit, "{\"plan\": \"1\"}", &out, NULL));
  EXPECT(ARGUS_OK, argus_audit_records(audit, "{\"limit\": 1}", &out, NULL));
  argus_string_free(out);
  EXPECT(ARGUS_AUDIT_FAILED, argus_audit_verify("/does/not/exist", NULL, NULL, NULL));

  EXPECT(ARGUS_OK, argus_provider_playbook(&p, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_new(runtime, NULL, p, policy, cluster, audit, &m, NULL));
  SAYS(ARGUS_BAD_ARGUMENT, "*", argus_remediator_new(runtime, "{\"scope\": [\"*\"]}", p, policy, cluster, audit, &m, &error));
  const char *shop = "{\"scope\": [\"shop\"]}";
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_new(NULL, shop, p, policy, cluster, audit, &m, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_new(runtime, shop, NULL, policy, cluster, audit, &m, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_new(runtime, shop, p, NULL, cluster, audit, &m, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_new(runtime, shop, p, policy, NULL, audit, &m, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_new(runtime, shop, p, policy, cluster, NULL, &m, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_new(runtime, shop, p, policy, cluster, audit, NULL, NULL));
  SAYS(ARGUS_BAD_HANDLE, "another kind", argus_remediator_new(runtime, shop, (const void *)policy, policy, cluster, audit, &m, &error));
  SAYS(ARGUS_BAD_ARGUMENT, "seconds",
       argus_remediator_new(runtime, "{\"scope\": [\"shop\"], \"budget\": {\"seconds\": -1}}", p, policy, cluster, audit, &m, &error));
  SAYS(ARGUS_BAD_ARGUMENT, "`m`",
       argus_remediator_new(runtime, "{\"scope\": [\"shop\"], \"prices\": {\"m\": {\"input_cost_per_token\": -1, \"output_cost_per_token\": 1}}}",
                            p, policy, cluster, audit, &m, &error));
  EXPECT(ARGUS_OK, argus_remediator_new(runtime, shop, p, policy, cluster, audit, &m, NULL));

  const char *incident = "{\"incident_id\": \"INC-1\", \"findings\": []}";
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_scan(NULL, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_scan(m, NULL, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_suggest(NULL, incident, &plan, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_suggest(m, NULL, &plan, NULL));
  SAYS(ARGUS_BAD_ARGUMENT, "incident_id", argus_remediator_suggest(m, "{\"incident_id\": 3}", &plan, &error));
  EXPECT(ARGUS_OK, argus_remediator_suggest(m, incident, &plan, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_diagnose(NULL, incident, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_diagnose(m, NULL, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_diagnose(m, incident, NULL, NULL));
  EXPECT(ARGUS_OK, argus_remediator_diagnose(m, incident, &out, NULL));
  expect(strstr(out, "\"root_cause\"") != NULL, 1, "a diagnosis has its cause");
  argus_string_free(out);
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_review(m, (const void *)m, &permitted, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_dry_run(m, (const void *)plan, &dry_run, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_dry_run_approve((const void *)plan, "{\"users\": [\"ada\"]}", &approved, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_execute(m, (const void *)plan, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_execute(m, NULL, NULL, NULL));
  EXPECT(ARGUS_OK, argus_remediator_review(m, plan, &permitted, NULL));
  EXPECT(ARGUS_OK, argus_remediator_dry_run(m, permitted, &dry_run, NULL));
  EXPECT(ARGUS_NOT_APPROVED, argus_dry_run_approve(dry_run, "{}", &approved, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_dry_run_approve(dry_run, "{\"user\": \"ada\"}", &approved, NULL));
  EXPECT(ARGUS_OK, argus_dry_run_approve(dry_run, "{\"users\": [\"ada\"]}", &approved, NULL));
  EXPECT(ARGUS_DISABLED, argus_remediator_execute(m, approved, &out, NULL));
  const void *states[] = {plan, permitted, dry_run, approved};
  for (size_t i = 0; i < 4; i++) {
    EXPECT(ARGUS_OK, argus_state_json(states[i], &out, NULL));
    argus_string_free(out);
  }
  EXPECT(ARGUS_BAD_HANDLE, argus_state_json(policy, &out, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_state_json(NULL, &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_state_json(plan, NULL, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_plan(m, "not an id", &plan, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_plan(NULL, "x", &plan, NULL));
  EXPECT(ARGUS_OK, argus_remediator_refusals(m, plan, &out, NULL));
  EXPECT(1, strcmp(out, "[]") == 0);
  argus_string_free(out);
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_refusals(m, NULL, &out, NULL));
  EXPECT(ARGUS_OK, argus_remediator_unfinished(m, &out, NULL));
  EXPECT(1, strcmp(out, "[]") == 0);
  argus_string_free(out);
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_resume(m, "not an id", &out, NULL));
  EXPECT(ARGUS_BAD_ARGUMENT, argus_remediator_undo(m, "not an id", &out, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_undo(NULL, "not an id", &out, NULL));
  EXPECT(ARGUS_OK, argus_remediator_halt(m, true, NULL));
  EXPECT(ARGUS_OK, argus_remediator_halt(m, false, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_remediator_halt(NULL, true, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_reply_ok(NULL, NULL));
  EXPECT(ARGUS_BAD_HANDLE, argus_reply_ok((void *)plan, NULL));

  for (size_t i = 0; i < 4; i++) {
    EXPECT(ARGUS_OK, argus_free(states[i]));
    EXPECT(ARGUS_BAD_HANDLE, argus_free(states[i]));
    EXPECT(ARGUS_BAD_HANDLE, argus_state_json(states[i], &out, NULL));
  }
  EXPECT(ARGUS_OK, argus_free(m));
  SAYS(ARGUS_BAD_HANDLE, "was freed", argus_remediator_scan(m, &out, &error));
  EXPECT(ARGUS_OK, argus_free(p));
  EXPECT(ARGUS_OK, argus_runtime_new(0, &r, NULL));
  EXPECT(ARGUS_OK, argus_free(r));
}

/* --- eight threads ----------------------------------------------------------------------------------------------- */

static argus_remediator *shared;
static atomic_uintptr_t rotating;

static void *busy(void *unused) {
  (void)unused;
  for (int i = 0; i < 20; i++) {
    argus_plan *plan = NULL;
    argus_permitted *permitted = NULL;
    char *out = NULL;
    EXPECT(ARGUS_OK, argus_remediator_suggest(shared, "{\"incident_id\": \"INC-1\", \"findings\": []}", &plan, NULL));
    EXPECT(ARGUS_OK, argus_remediator_review(shared, plan, &permitted, NULL));
    /* One handle that everybody uses and frees. */
    const void *old = (const void *)atomic_exchange(&rotating, (uintptr_t)plan);
    const int32_t code = argus_state_json(old, &out, NULL);
    if (code != ARGUS_OK && code != ARGUS_BAD_HANDLE) expect(code, ARGUS_OK, "a handle that others free");
    argus_string_free(out);
    argus_free(old);
    argus_free((const void *)atomic_load(&rotating));
    EXPECT(ARGUS_OK, argus_free(permitted));
  }
  return NULL;
}

static void threads(void) {
  argus_provider *playbook = NULL;
  pthread_t all[8];
  EXPECT(ARGUS_OK, argus_provider_playbook(&playbook, NULL));
  EXPECT(ARGUS_OK, argus_remediator_new(runtime, "{\"scope\": [\"shop\"]}", playbook, policy, cluster, audit, &shared, NULL));
  for (size_t i = 0; i < 8; i++) pthread_create(&all[i], NULL, busy, NULL);
  for (size_t i = 0; i < 8; i++) pthread_join(all[i], NULL);
  argus_free((const void *)atomic_load(&rotating));
  EXPECT(ARGUS_OK, argus_free(shared));
  EXPECT(ARGUS_OK, argus_free(playbook));
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return EXIT_FAILURE;
  }
  folder = argv[1];
  char path[4096];
  snprintf(path, sizeof path, "%s/trail", folder);
  EXPECT(ARGUS_OK, argus_runtime_new(2, &runtime, NULL));
  EXPECT(ARGUS_OK, argus_policy_new(NULL, &policy, NULL));
  EXPECT(ARGUS_OK, argus_test_cluster_new(runtime, &cluster, NULL));
  EXPECT(ARGUS_OK, argus_audit_file(runtime, path, NULL, NULL, &audit, NULL));
  arguments();
  models();
  fixes();
  sinks();
  clusters();
  threads();
  const void *handles[] = {audit, cluster, policy, runtime};
  for (size_t i = 0; i < 4; i++) EXPECT(ARGUS_OK, argus_free(handles[i]));
  uint64_t records = 0, unproven = 1;
  EXPECT(ARGUS_OK, argus_audit_verify(path, &records, &unproven, NULL));
  EXPECT(1, records > 300);
  EXPECT(0, unproven);
  printf("%d passed, %d failed\n", atomic_load(&passed), atomic_load(&failed));
  return atomic_load(&failed) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
