// Why this file exists: the parts of the JSON grammar that both the fast path (parser.cpp) and the locator (locate.cpp)
// need: numbers and escapes. RFC 8259, nothing more lenient, numbers of any length and exponent.

#pragma once

#include <cstddef>
#include <cstdint>

#include "CSimdJSON.h"

namespace csimdjson {

// Where a scan stopped and why; `offset` is the end of the token if `reason` is CSIMDJSON_VALID.
struct Scan {
  csimdjson_reason reason;
  size_t offset;
};

// A UTF-16 code unit written as four hexadecimal digits, or -1.
int32_t hex4(const uint8_t *digits);

// The number that begins at `offset`, as far as the grammar carries it.
Scan scan_number(const uint8_t *text, size_t length, size_t offset);

// The escape sequence whose backslash is at `offset`, surrogate pairs as one.
Scan scan_escape(const uint8_t *text, size_t length, size_t offset);

}  // namespace csimdjson
