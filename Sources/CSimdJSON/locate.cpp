// Why this file exists: simdjson says that a text is refused, not where. This is the same grammar once more, byte by
// byte, without simdjson; it runs on texts that were refused, and in tests as the opinion simdjson is compared with.

#include <cstring>

#include "grammar.hpp"

using csimdjson::Scan;
using csimdjson::scan_escape;
using csimdjson::scan_number;

namespace {

size_t skip_space(const uint8_t *text, size_t length, size_t offset) {
  while (offset < length && (text[offset] == ' ' || text[offset] == '\t' || text[offset] == '\n' || text[offset] == '\r')) {
    offset++;
  }
  return offset;
}

// Byte count of the well-formed UTF-8 sequence at `offset` (Unicode 15, table 3-7), or 0.
size_t utf8_length(const uint8_t *text, size_t length, size_t offset) {
  const uint8_t lead = text[offset];
  size_t count;
  uint8_t low = 0x80, high = 0xBF;
  if (lead < 0x80) { return 1; }
  if (lead >= 0xC2 && lead <= 0xDF) {
    count = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    count = 3;
    if (lead == 0xE0) { low = 0xA0; }
    if (lead == 0xED) { high = 0x9F; }
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    count = 4;
    if (lead == 0xF0) { low = 0x90; }
    if (lead == 0xF4) { high = 0x8F; }
  } else {
    return 0;
  }
  if (offset + count > length || text[offset + 1] < low || text[offset + 1] > high) { return 0; }
  for (size_t i = 2; i < count; i++) {
    if (text[offset + i] < 0x80 || text[offset + i] > 0xBF) { return 0; }
  }
  return count;
}

// The string whose opening quote is at `offset`.
Scan scan_string(const uint8_t *text, size_t length, size_t offset) {
  offset++;
  while (offset < length) {
    const uint8_t c = text[offset];
    if (c == '"') { return {CSIMDJSON_VALID, offset + 1}; }
    if (c < 0x20) { return {CSIMDJSON_CONTROL_CHARACTER, offset}; }
    if (c == '\\') {
      const Scan escape = scan_escape(text, length, offset);
      if (escape.reason != CSIMDJSON_VALID) { return escape; }
      offset = escape.offset;
      continue;
    }
    const size_t count = utf8_length(text, length, offset);
    if (count == 0) { return {CSIMDJSON_INVALID_UTF8, offset}; }
    offset += count;
  }
  return {CSIMDJSON_EXPECTED_CLOSING_QUOTE, offset};
}

Scan scan_scalar(const uint8_t *text, size_t length, size_t offset) {
  if (offset >= length) { return {CSIMDJSON_EXPECTED_VALUE, offset}; }
  const uint8_t c = text[offset];
  if (c == '"') { return scan_string(text, length, offset); }
  if (c == '-' || (c >= '0' && c <= '9')) { return scan_number(text, length, offset); }
  const char *const literal = c == 't' ? "true" : c == 'f' ? "false" : c == 'n' ? "null" : nullptr;
  if (literal == nullptr) { return {CSIMDJSON_EXPECTED_VALUE, offset}; }
  const size_t count = std::strlen(literal);
  if (offset + count > length || std::memcmp(text + offset, literal, count) != 0) { return {CSIMDJSON_EXPECTED_VALUE, offset}; }
  return {CSIMDJSON_VALID, offset + count};
}

// A key and its colon.
Scan scan_key(const uint8_t *text, size_t length, size_t offset) {
  if (offset >= length || text[offset] != '"') { return {CSIMDJSON_EXPECTED_KEY, offset}; }
  const Scan key = scan_string(text, length, offset);
  if (key.reason != CSIMDJSON_VALID) { return key; }
  offset = skip_space(text, length, key.offset);
  if (offset >= length || text[offset] != ':') { return {CSIMDJSON_EXPECTED_COLON, offset}; }
  return {CSIMDJSON_VALID, offset + 1};
}

Scan scan_document(const uint8_t *text, size_t length) {
  bool is_object[CSIMDJSON_DEPTH_MAX];
  size_t depth = 0;
  size_t offset = 0;
  while (true) {
    // A value begins here.
    offset = skip_space(text, length, offset);
    const uint8_t c = offset < length ? text[offset] : 0;
    if (c == '{' || c == '[') {
      if (depth == CSIMDJSON_DEPTH_MAX) { return {CSIMDJSON_TOO_DEEP, offset}; }
      is_object[depth++] = c == '{';
      offset = skip_space(text, length, offset + 1);
      const bool empty = offset < length && text[offset] == (c == '{' ? '}' : ']');
      if (!empty) {
        if (c == '[') { continue; }
        const Scan key = scan_key(text, length, offset);
        if (key.reason != CSIMDJSON_VALID) { return key; }
        offset = key.offset;
        continue;
      }
    } else {
      const Scan scalar = scan_scalar(text, length, offset);
      if (scalar.reason != CSIMDJSON_VALID) { return scalar; }
      offset = scalar.offset;
    }
    // A value ended, or an empty container is about to: close what closes, until a comma or the end.
    while (true) {
      offset = skip_space(text, length, offset);
      if (depth == 0) { return {offset == length ? CSIMDJSON_VALID : CSIMDJSON_EXPECTED_END, offset}; }
      const bool object = is_object[depth - 1];
      const uint8_t d = offset < length ? text[offset] : 0;
      if (d == ',') { break; }
      if (d != (object ? '}' : ']')) {
        return {object ? CSIMDJSON_EXPECTED_COMMA_OR_BRACE : CSIMDJSON_EXPECTED_COMMA_OR_BRACKET, offset};
      }
      depth--;
      offset++;
    }
    offset++;
    if (is_object[depth - 1]) {
      const Scan key = scan_key(text, length, skip_space(text, length, offset));
      if (key.reason != CSIMDJSON_VALID) { return key; }
      offset = key.offset;
    }
  }
}

}  // namespace

csimdjson_reason csimdjson_locate(const void *text, size_t length, size_t *error_offset) {
  const Scan scan = scan_document(static_cast<const uint8_t *>(text), length);
  *error_offset = scan.offset;
  return scan.reason;
}
