#include "grammar.hpp"

namespace csimdjson {

int32_t hex4(const uint8_t *digits) {
  int32_t unit = 0;
  for (int i = 0; i < 4; i++) {
    const uint8_t c = digits[i];
    int32_t digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      return -1;
    }
    unit = unit << 4 | digit;
  }
  return unit;
}

static bool is_digit(const uint8_t *text, size_t length, size_t offset) {
  return offset < length && text[offset] >= '0' && text[offset] <= '9';
}

Scan scan_number(const uint8_t *text, size_t length, size_t offset) {
  if (offset < length && text[offset] == '-') { offset++; }
  if (!is_digit(text, length, offset)) { return {CSIMDJSON_EXPECTED_DIGIT, offset}; }
  if (text[offset] == '0') {
    offset++;
  } else {
    while (is_digit(text, length, offset)) { offset++; }
  }
  if (offset < length && text[offset] == '.') {
    offset++;
    if (!is_digit(text, length, offset)) { return {CSIMDJSON_EXPECTED_DIGIT, offset}; }
    while (is_digit(text, length, offset)) { offset++; }
  }
  if (offset < length && (text[offset] == 'e' || text[offset] == 'E')) {
    offset++;
    if (offset < length && (text[offset] == '+' || text[offset] == '-')) { offset++; }
    if (!is_digit(text, length, offset)) { return {CSIMDJSON_EXPECTED_DIGIT, offset}; }
    while (is_digit(text, length, offset)) { offset++; }
  }
  return {CSIMDJSON_VALID, offset};
}

Scan scan_escape(const uint8_t *text, size_t length, size_t offset) {
  if (offset + 1 >= length) { return {CSIMDJSON_EXPECTED_ESCAPE, offset + 1}; }
  switch (text[offset + 1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
      return {CSIMDJSON_VALID, offset + 2};
    case 'u':
      break;
    default:
      return {CSIMDJSON_EXPECTED_ESCAPE, offset + 1};
  }
  if (offset + 6 > length) { return {CSIMDJSON_EXPECTED_ESCAPE, offset}; }
  const int32_t unit = hex4(text + offset + 2);
  if (unit < 0) { return {CSIMDJSON_EXPECTED_ESCAPE, offset}; }
  if (unit < 0xD800 || unit > 0xDFFF) { return {CSIMDJSON_VALID, offset + 6}; }
  if (unit >= 0xDC00 || offset + 12 > length || text[offset + 6] != '\\' || text[offset + 7] != 'u') {
    return {CSIMDJSON_LONE_SURROGATE, offset};
  }
  const int32_t low = hex4(text + offset + 8);
  if (low < 0xDC00 || low > 0xDFFF) { return {CSIMDJSON_LONE_SURROGATE, offset}; }
  return {CSIMDJSON_VALID, offset + 12};
}

}  // namespace csimdjson

using csimdjson::hex4;

static uint8_t unescaped(uint8_t letter) {
  switch (letter) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return letter;  // quote, backslash, slash
  }
}

size_t csimdjson_unescape(const uint8_t *source, size_t length, uint8_t *destination) {
  size_t count = 0;
  const auto put = [&](uint32_t byte) {
    if (destination != nullptr) { destination[count] = static_cast<uint8_t>(byte); }
    count++;
  };
  size_t i = 0;
  while (i < length) {
    if (source[i] != '\\' || i + 1 >= length) {
      put(source[i++]);
      continue;
    }
    if (source[i + 1] != 'u' || i + 6 > length) {
      put(unescaped(source[i + 1]));
      i += 2;
      continue;
    }
    uint32_t code = static_cast<uint32_t>(hex4(source + i + 2)) & 0xFFFF;
    i += 6;
    if (code >= 0xD800 && code <= 0xDBFF && i + 6 <= length) {
      const uint32_t low = static_cast<uint32_t>(hex4(source + i + 2)) & 0x3FF;
      code = 0x10000 + ((code & 0x3FF) << 10 | low);
      i += 6;
    }
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | code >> 6);
      put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      put(0xE0 | code >> 12);
      put(0x80 | (code >> 6 & 0x3F));
      put(0x80 | (code & 0x3F));
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
      put(0x80 | (code >> 6 & 0x3F));
      put(0x80 | (code & 0x3F));
    }
  }
  return count;
}
