/* The program of every container on the real node: it behaves as it is told, and otherwise serves 200 at port 8080.
 *
 * Each option is an argument NAME=VALUE, or a variable app/NAME, which ../runc makes of the pod's annotations
 * app/NAME and fake-kubelet/NAME (and NAME.CONTAINER for one container only). Times are in seconds since the start.
 *
 *   log=TEXT              says it at the start
 *   needs-env=NAME        ends where it has no such variable, after needs-env-after=S (0)
 *   needs-file=PATH       ends where it can't read it
 *   needs-service=NAME:PORT  ends where the name leads nowhere or nobody answers
 *   writes=PATH           ends where it can't write it
 *   state=STATE           Completed ends well, CrashLoopBackOff and Error end badly, OOMKilled takes memory until it is
 *                         killed, NotReady never answers
 *   needs-memory=200Mi    takes so much, after needs-memory-after=S (0)
 *   fills-disk=200Mi      writes so much into its root, after fills-disk-after=S (0)
 *   exits-after=S         says last-words=TEXT and ends with exit-code=N (0)
 *   starts-after=S        listens only then; ready-after=S: answers 503 until then
 *   port=N                (8080)
 *   answers=/a=503,/b=404 what it answers, other than 200
 *   takes=S               how long /work takes; one request at a time, so that everybody else waits meanwhile
 *   hangs-at=PATH         once asked for that, it answers nothing any more
 *   asks=NAME:PORT        asks for /work there, askers=N (1) at once, again and again
 *   ignores-term=yes      doesn't end when it is told to
 *   pause                 does nothing at all: the container that holds a pod's network
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char **arguments;
static struct timespec began;

static const char *option(const char *name) {
  size_t length = strlen(name);
  for (char **argument = arguments; *argument; argument++)
    if (!strncmp(*argument, name, length) && (*argument)[length] == '=') return *argument + length + 1;
  char variable[64];
  snprintf(variable, sizeof variable, "app/%s", name);
  return getenv(variable);
}

static double number(const char *name, double otherwise) {
  const char *value = option(name);
  return value ? atof(value) : otherwise;
}

static size_t size(const char *name) {
  const char *value = option(name);
  if (!value) return 0;
  char *unit;
  double amount = strtod(value, &unit);
  return (size_t)(amount * (!strcmp(unit, "Gi") ? 1 << 30 : !strcmp(unit, "Mi") ? 1 << 20 : !strcmp(unit, "Ki") ? 1 << 10 : 1));
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)(time.tv_sec - began.tv_sec) + (double)(time.tv_nsec - began.tv_nsec) / 1e9;
}

static void wait_for(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  while (nanosleep(&time, &time) && errno == EINTR) {}
}

_Noreturn static void fail(const char *what, const char *of, const char *why) {
  printf("%s %s: %s\n", what, of, why);
  exit((int)number("exit-code", 1));
}

static void end(int sent) { (void)sent, _exit(0); }
static void reap(int sent) { (void)sent; while (waitpid(-1, 0, WNOHANG) > 0) {} }

static void take_memory(size_t bytes) {
  for (size_t taken = 0; !bytes || taken < bytes; taken += 1 << 20) {
    char *piece = malloc(1 << 20);
    if (!piece) fail("cannot take", "memory", strerror(errno));
    memset(piece, 1, 1 << 20);
  }
}

static void fill_disk(size_t bytes) {
  static char piece[1 << 20];
  memset(piece, 1, sizeof piece);
  int file = open("/filled", O_WRONLY | O_CREAT, 0644);
  for (size_t written = 0; written < bytes; written += sizeof piece)
    if (write(file, piece, sizeof piece) < 0) fail("cannot write", "/filled", strerror(errno));
  close(file);
}

/* Asks the name server of /etc/resolv.conf for one name. A static program has no resolver of its own. */
static int resolve_exactly(const char *server, const char *name, struct in_addr *address) {
  unsigned char packet[512] = {0, 7, 1, 0, 0, 1};
  unsigned char *at = packet + 12;
  for (const char *label = name; *label;) {
    size_t length = strcspn(label, ".");
    if (length > 63 || at - packet + length > 250) return -1;
    *at++ = (unsigned char)length;
    memcpy(at, label, length);
    at += length;
    label += length + (label[length] == '.');
  }
  memcpy(at, "\0\0\1\0\1", 5);
  at += 5;
  int channel = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = inet_addr(server)};
  sendto(channel, packet, (size_t)(at - packet), 0, (struct sockaddr *)&to, sizeof to);
  struct pollfd ready = {channel, POLLIN, 0};
  ssize_t length = poll(&ready, 1, 3000) == 1 ? recv(channel, packet, sizeof packet, 0) : -1;
  close(channel);
  /* The one answer is at the end. */
  if (length < 28 || (packet[3] & 15) || !(packet[6] | packet[7])) return -1;
  memcpy(address, packet + length - 4, 4);
  return 0;
}

static int resolve(const char *name, struct in_addr *address) {
  if (inet_aton(name, address)) return 0;
  char line[512], server[64] = "", search[512] = "", full[600];
  FILE *file = fopen("/etc/resolv.conf", "r");
  if (!file) return -1;
  while (fgets(line, sizeof line, file)) {
    sscanf(line, "nameserver %63s", server);
    sscanf(line, "search %511[^\n]", search);
  }
  fclose(file);
  for (char *domain = strtok(search, " "); domain; domain = strtok(0, " ")) {
    snprintf(full, sizeof full, "%s.%s", name, domain);
    if (!resolve_exactly(server, full, address)) return 0;
  }
  return resolve_exactly(server, name, address);
}

/* A connection to NAME:PORT; -1, with the reason printed, where there is none. */
static int reach(const char *whom) {
  char name[256];
  int port = 80;
  if (sscanf(whom, "%255[^:]:%d", name, &port) < 1) return -1;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (resolve(name, &to.sin_addr)) {
    printf("no such host: %s\n", name);
    return -1;
  }
  int channel = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {5, 0};
  setsockopt(channel, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (!connect(channel, (struct sockaddr *)&to, sizeof to)) return channel;
  printf("dial tcp %s: %s\n", whom, errno == EINPROGRESS ? "i/o timeout" : "connection refused");
  close(channel);
  return -1;
}

static void ask_forever(const char *whom) {
  for (;;) {
    int channel = reach(whom);
    if (channel >= 0) {
      char answer[256];
      dprintf(channel, "GET /work HTTP/1.0\r\n\r\n");
      while (read(channel, answer, sizeof answer) > 0) {}
      close(channel);
    } else {
      wait_for(1);
    }
  }
}

static int status_of(const char *path) {
  if (now() < number("ready-after", 0)) return 503;
  const char *answers = option("answers");
  size_t length = strlen(path);
  while (answers && *answers) {
    if (!strncmp(answers, path, length) && answers[length] == '=') return atoi(answers + length + 1);
    answers += strcspn(answers, ",");
    answers += *answers == ',';
  }
  return 200;
}

/* One request; 0 where it was the one to hang at. */
static int serve(int channel) {
  char request[2048] = "", path[256] = "/";
  struct pollfd ready = {channel, POLLIN, 0};
  if (poll(&ready, 1, 1000) == 1 && read(channel, request, sizeof request - 1) > 0) {
    sscanf(request, "%*15s %255[^ ?]", path);
    const char *hangs = option("hangs-at");
    if (hangs && !strcmp(hangs, path)) {
      dprintf(channel, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
      close(channel);
      return 0;
    }
    if (!strcmp(path, "/work")) wait_for(number("takes", 0));
    dprintf(channel, "HTTP/1.0 %d Told So\r\nContent-Length: 0\r\n\r\n", status_of(path));
  }
  close(channel);
  return 1;
}

static int listen_at(int port) {
  int channel = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = INADDR_ANY};
  setsockopt(channel, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  /* Containers of one pod share its ports: whoever comes second does without. */
  if (!bind(channel, (struct sockaddr *)&here, sizeof here) && !listen(channel, 128)) return channel;
  close(channel);
  return -1;
}

int main(int count, char **values) {
  (void)count;
  arguments = values + 1;
  clock_gettime(CLOCK_MONOTONIC, &began);
  setvbuf(stdout, 0, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, reap);
  signal(SIGTERM, option("ignores-term") ? SIG_IGN : end);
  if (*arguments && !strcmp(*arguments, "pause")) for (;;) pause();

  const char *text, *state = option("state");
  if ((text = option("log"))) puts(text);
  wait_for(number("needs-env-after", 0));
  if ((text = option("needs-env")) && !getenv(text)) fail("missing variable", text, "it is not set");
  if ((text = option("needs-file")) && access(text, R_OK)) fail("cannot read", text, strerror(errno));
  if ((text = option("writes")) && open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0) fail("cannot write", text, strerror(errno));
  if ((text = option("needs-service"))) {
    int channel = reach(text);
    if (channel < 0) exit((int)number("exit-code", 1));
    close(channel);
  }
  if (state && !strcmp(state, "Completed")) return 0;
  if (state && (!strcmp(state, "CrashLoopBackOff") || !strcmp(state, "Error"))) return (int)number("exit-code", 1);
  if (state && !strncmp(state, "OOMKilled", 9)) take_memory(0);
  if ((text = option("asks")))
    for (int asker = (int)number("askers", 1); asker; asker--)
      if (!fork()) ask_forever(text);

  size_t memory = size("needs-memory"), disk = size("fills-disk");
  int server = -1, tried = 0, answering = !(state && !strcmp(state, "NotReady"));
  for (;;) {
    double time = now();
    if (memory && time >= number("needs-memory-after", 0)) take_memory(memory), memory = 0;
    if (disk && time >= number("fills-disk-after", 0)) fill_disk(disk), disk = 0;
    if (option("exits-after") && time >= number("exits-after", 0)) {
      if ((text = option("last-words"))) puts(text);
      return (int)number("exit-code", 0);
    }
    if (!tried && time >= number("starts-after", 0)) server = listen_at((int)number("port", 8080)), tried = 1;
    struct pollfd ready = {server, POLLIN, 0};
    if (poll(&ready, answering && server >= 0, 100) == 1) {
      int channel = accept4(server, 0, 0, SOCK_CLOEXEC);
      if (channel >= 0) answering = serve(channel);
    }
  }
}
