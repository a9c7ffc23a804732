// Why this file exists: the C face of simdjson 3.0.1 (Debian's libsimdjson-dev), as little as the module `JSON` needs:
// a parser that keeps its own copy of a text, says whether it is RFC 8259 JSON, and indexes its values.
// No exception leaves these functions. A parser is used by one thread at a time; its pointers live until the next
// csimdjson_parse or csimdjson_destroy.

#ifndef CSIMDJSON_H
#define CSIMDJSON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { CSIMDJSON_DEPTH_MAX = 512 };

// The order is that of the Swift enum JSONKind.
enum csimdjson_kind {
  CSIMDJSON_NULL = 0,
  CSIMDJSON_BOOL = 1,
  CSIMDJSON_NUMBER = 2,
  CSIMDJSON_STRING = 3,
  CSIMDJSON_ARRAY = 4,
  CSIMDJSON_OBJECT = 5,
};

// One value or key, in the order of the text, so that a container's descendants follow it. In an object keys and values
// alternate. Strings: offset and length leave the quotes out. Containers: brackets included.
struct csimdjson_node {
  uint32_t offset;
  uint32_t length;
  uint32_t next;  // index of the first node behind this one's subtree
  uint8_t kind;
  uint8_t escaped;  // a string with a backslash in it
  uint16_t reserved;
};

// What the grammar wanted where a text breaks. The order is that of the Swift enum JSONError.Reason.
enum csimdjson_reason {
  CSIMDJSON_VALID = 0,
  CSIMDJSON_EXPECTED_VALUE = 1,
  CSIMDJSON_EXPECTED_KEY = 2,
  CSIMDJSON_EXPECTED_COLON = 3,
  CSIMDJSON_EXPECTED_COMMA_OR_BRACKET = 4,
  CSIMDJSON_EXPECTED_COMMA_OR_BRACE = 5,
  CSIMDJSON_EXPECTED_END = 6,
  CSIMDJSON_EXPECTED_DIGIT = 7,
  CSIMDJSON_EXPECTED_CLOSING_QUOTE = 8,
  CSIMDJSON_EXPECTED_ESCAPE = 9,
  CSIMDJSON_LONE_SURROGATE = 10,
  CSIMDJSON_CONTROL_CHARACTER = 11,
  CSIMDJSON_INVALID_UTF8 = 12,
  CSIMDJSON_TOO_DEEP = 13,
  CSIMDJSON_OUT_OF_MEMORY = 14,
  CSIMDJSON_REFUSED = 15,  // simdjson refuses what csimdjson_locate accepts: a defect, never seen
};

struct csimdjson_parser;

// A parser, or NULL if there is no memory.
struct csimdjson_parser *csimdjson_create(void);
void csimdjson_destroy(struct csimdjson_parser *parser);

// Copies, validates and indexes a text of fewer than 2^32 - 64 bytes. On a refusal error_offset, in bytes, says where.
enum csimdjson_reason csimdjson_parse(
  struct csimdjson_parser *parser, const void *text, size_t length, size_t *error_offset);

const struct csimdjson_node *csimdjson_nodes(const struct csimdjson_parser *parser);
size_t csimdjson_node_count(const struct csimdjson_parser *parser);
const uint8_t *csimdjson_text(const struct csimdjson_parser *parser);

// The slow second opinion: the same grammar byte by byte, independent of simdjson. Tells where a text breaks.
enum csimdjson_reason csimdjson_locate(const void *text, size_t length, size_t *error_offset);

// Unescapes the inside of a validated string. Returns the byte count of the result, at most `length`;
// `destination` holds at least that many bytes, or is NULL to count only.
size_t csimdjson_unescape(const uint8_t *source, size_t length, uint8_t *destination);

#ifdef __cplusplus
}
#endif

#endif
