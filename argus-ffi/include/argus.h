/* The C interface of Argus. JSON in and out; every function may be called from any thread; nothing is global. */
#ifndef ARGUS_H
#define ARGUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Codes never change their number. */
#define ARGUS_OK 0              /* it worked */
#define ARGUS_BAD_ARGUMENT 1    /* an argument is null or not UTF-8 */
#define ARGUS_COMMAND_REFUSED 2 /* the command can't be taken; out holds {"message", "position", "hint"} */
#define ARGUS_INTERNAL 3        /* a fault of Argus itself */

/* The version of the library, such as "0.1.0"; never freed. */
const char *argus_version(void);

/* Reads one kubectl command and writes the action, or the error, as JSON to *out.
   The caller gives *out to argus_string_free. */
int32_t argus_parse_command(const char *command, char **out);

/* Frees a string that this library gave; null is ignored. */
void argus_string_free(char *string);

#ifdef __cplusplus
}
#endif

#endif
