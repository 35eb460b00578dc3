/* Reads one kubectl command and prints the action, or the error. Exits with the code of the library. */
#include <argus.h>
#include <stdio.h>

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s COMMAND\n", argv[0]);
    return ARGUS_BAD_ARGUMENT;
  }
  char *json = NULL;
  int32_t code = argus_parse_command(argv[1], &json);
  if (json != NULL) {
    printf("%s\n", json);
  }
  argus_string_free(json);
  return code;
}
