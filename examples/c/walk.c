/* A host in C11 that walks once: a broken app in a cluster in memory, a model of its own, a log of its own. */
#include <argus.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int32_t code, char *error, const char *what) {
  if (code != ARGUS_OK) {
    fprintf(stderr, "%s: code %d: %s\n", what, (int)code, error != NULL ? error : "");
    exit(code);
  }
}

/* The host's own model: it answers from a thread of its own, as one that speaks to a server would. */
static const char ANSWER[] =
    "{\"summary\": \"Give the app more memory.\","
    " \"steps\": [{\"description\": \"Let each copy use up to 256Mi of memory, because it is stopped whenever it uses more than it may.\","
    "              \"command\": \"kubectl set resources deployment/web -n shop -c app --limits=memory=256Mi\"}],"
    " \"risk_level\": \"low\", \"risk_reason\": \"Only one setting of one app changes.\", \"rollback_steps\": []}";

static void *answer(void *reply) {
  argus_reply_text(reply, ANSWER, "own-model", 0, 0, NULL);
  return NULL;
}

static void complete(void *host, const char *prompt, argus_reply *reply) {
  pthread_t thread;
  (void)host;
  printf("The model reads %zu bytes.\n", strlen(prompt));
  if (pthread_create(&thread, NULL, answer, reply) != 0) {
    argus_reply_error(reply, "no thread for the model", true, NULL);
    return;
  }
  pthread_detach(thread);
}

/* The host's own log: a line for each record, on disk before anything relies on it. */
static void append(void *host, const char *record, argus_reply *reply) {
  if (fprintf(host, "%s\n", record) < 0 || fflush(host) != 0) {
    argus_reply_error(reply, "the log can't be written", false, NULL);
    return;
  }
  argus_reply_ok(reply, NULL);
}

static void close_log(void *host) { fclose(host); }

/* The findings of a scan as an incident; 0 while there are none. */
static int incident_of(const char *scan, char *incident, size_t size) {
  const char *start = strstr(scan, "\"findings\":");
  const char *end = start != NULL ? strchr(start, '[') : NULL;
  int depth = 0, quoted = 0;
  if (end == NULL || end[1] == ']') return 0;
  start = end;
  do {
    if (*end == '\\' && quoted) end++;
    else if (*end == '"') quoted = !quoted;
    else if (!quoted) depth += *end == '[' ? 1 : *end == ']' ? -1 : 0;
    end++;
  } while (depth > 0 && *end != '\0');
  return snprintf(incident, size, "{\"incident_id\": \"INC-1\", \"findings\": %.*s}", (int)(end - start), start) < (int)size;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s FOLDER (the audit trail goes there)\n", argv[0]);
    return EXIT_FAILURE;
  }
  char *error = NULL, *json = NULL;
  char path[4096];
  static char incident[1 << 20];

  argus_runtime *runtime = NULL;
  check(argus_runtime_new(2, &runtime, &error), error, "runtime");

  argus_cluster *cluster = NULL;
  check(argus_test_cluster_new(runtime, &cluster, &error), error, "cluster");
  const char *broken = "{\"namespace\": \"shop\", \"name\": \"web\", \"image\": \"registry.example/web:1\","
                       " \"memory_limit\": \"128Mi\", \"needs_memory\": \"200Mi\"}";
  check(argus_test_cluster_deployment(cluster, broken, &error), error, "deployment");

  const argus_provider_table model = {.size = sizeof model, .complete = complete};
  argus_provider *provider = NULL;
  check(argus_provider_new(&model, NULL, &provider, &error), error, "provider");

  argus_policy *policy = NULL;
  check(argus_policy_new(NULL, &policy, &error), error, "policy");

  snprintf(path, sizeof path, "%s.log", argv[1]);
  FILE *log = fopen(path, "w");
  if (log == NULL) {
    perror(path);
    return EXIT_FAILURE;
  }
  const argus_sink_table sink = {.size = sizeof sink, .append = append, .drop = close_log};
  argus_audit *audit = NULL;
  check(argus_audit_file(runtime, argv[1], &sink, log, &audit, &error), error, "audit");

  argus_remediator *remediator = NULL;
  const char *options = "{\"scope\": [\"shop\"], \"enabled\": true, \"hold\": {\"min_seconds\": 1, \"max_seconds\": 5}, \"user\": \"ada\"}";
  check(argus_remediator_new(runtime, options, provider, policy, cluster, audit, &remediator, &error), error, "remediator");

  for (int found = 0; !found;) {
    check(argus_remediator_scan(remediator, &json, &error), error, "scan");
    found = incident_of(json, incident, sizeof incident);
    argus_string_free(json);
  }

  argus_plan *plan = NULL;
  argus_permitted *permitted = NULL;
  argus_dry_run *dry_run = NULL;
  argus_approved *approved = NULL;
  check(argus_remediator_suggest(remediator, incident, &plan, &error), error, "suggest");
  check(argus_remediator_review(remediator, plan, &permitted, &error), error, "review");
  check(argus_remediator_dry_run(remediator, permitted, &dry_run, &error), error, "dry run");
  check(argus_state_json(dry_run, &json, &error), error, "dry run");
  printf("A person reads what would change: %s\n", json);
  argus_string_free(json);

  check(argus_dry_run_approve(dry_run, "{\"users\": [\"ada\"]}", &approved, &error), error, "approve");
  check(argus_remediator_execute(remediator, approved, &json, &error), error, "execute");
  printf("%s\n", json);
  const int fixed = strstr(json, "\"success\":true") != NULL;
  argus_string_free(json);

  const void *handles[] = {approved, dry_run, permitted, plan, remediator, audit, policy, provider, cluster, runtime};
  for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) argus_free(handles[i]);

  uint64_t records = 0, unproven = 0;
  check(argus_audit_verify(argv[1], &records, &unproven, &error), error, "verify");
  printf("The trail is whole: %llu records", (unsigned long long)records);
  if (unproven > 0) printf(", of which the first %llu were removed, unproven", (unsigned long long)unproven);
  printf(".\n");
  return fixed ? EXIT_SUCCESS : EXIT_FAILURE;
}
