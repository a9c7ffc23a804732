// Why this file exists: the C face of valijson 1.0 and rapidjson (Debian's libvalijson-dev, rapidjson-dev), with RE2 for
// `pattern`, as little as the module `JSONSchema` needs: a schema is vetted and compiled once, then checks texts from any
// thread. No exception leaves these functions. Nothing is fetched, ever.

#ifndef CJSONSCHEMA_H
#define CJSONSCHEMA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  // Bytes of a schema's text.
  CJSONSCHEMA_SCHEMA_BYTES_MAX = 64 * 1024,
  // Arrays and objects inside each other in a schema's text.
  CJSONSCHEMA_DEPTH_MAX = 64,
  // Schemas inside one schema.
  CJSONSCHEMA_SUBSCHEMAS_MAX = 2000,
  // Schemas that are applied to one and the same value through references and applicators, one inside the other.
  CJSONSCHEMA_CHAIN_MAX = 64,
  // Regular expressions of one schema, bytes of each, and bytes of memory that each may take.
  CJSONSCHEMA_PATTERNS_MAX = 200,
  CJSONSCHEMA_PATTERN_BYTES_MAX = 1024,
  CJSONSCHEMA_PATTERN_MEMORY_MAX = 1024 * 1024,
  // Evaluations inside each other while a text is checked: bounds the stack (about 1 KiB each).
  CJSONSCHEMA_EVALUATION_DEPTH_MAX = 512,
};

enum cjsonschema_verdict {
  CJSONSCHEMA_VALID = 0,
  CJSONSCHEMA_VIOLATED = 1,
  // More steps than the caller allows, or too deep.
  CJSONSCHEMA_TOO_COSTLY = 2,
  // No JSON, or a number that no double is near.
  CJSONSCHEMA_UNREADABLE = 3,
  CJSONSCHEMA_OUT_OF_MEMORY = 4,
};

// The first rule that is broken, and where. Both end with a zero byte; what is longer is cut.
struct cjsonschema_violation {
  // A JSON Pointer into the text. Names of members that the schema does not know are replaced by `*`: they are data.
  char pointer[256];
  // The keyword with what the schema says, such as `maximum 10`.
  char rule[256];
};

struct cjsonschema;

// Vets and compiles a schema. On refusal returns NULL and explains in `message`, which ends with a zero byte.
struct cjsonschema *cjsonschema_create(const char *text, size_t length, char *message, size_t capacity);
void cjsonschema_destroy(struct cjsonschema *schema);

// Checks a JSON text. `violation` is filled for every verdict but CJSONSCHEMA_VALID. May be called from several threads.
enum cjsonschema_verdict cjsonschema_check(
  const struct cjsonschema *schema, const char *text, size_t length, size_t steps_max,
  struct cjsonschema_violation *violation);

#ifdef __cplusplus
}
#endif

#endif
