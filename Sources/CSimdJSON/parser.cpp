// Why this file exists: simdjson's DOM parser validates, and the structural indexes of its first stage (the offset of
// every bracket, comma, colon, opening quote and first byte of a scalar) are turned into nodes without another pass
// over the bytes of strings. Invariants:
// - nodes describe the caller's text, never the copy in which numbers were replaced;
// - simdjson 3.0.1 accepts some lone surrogates and refuses numbers beyond 64 bits or a double: both are settled here;
// - `structural_indexes` is public but undocumented: another version of simdjson means reading index_nodes() again.

#include <simdjson.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "grammar.hpp"

namespace dom = simdjson::dom;

struct csimdjson_parser {
  dom::parser parser;
  dom::document document;
  uint8_t *text = nullptr;
  size_t text_capacity = 0;  // without the padding
  uint8_t *plain = nullptr;  // the text with every number replaced; made when first needed
  size_t plain_capacity = 0;
  csimdjson_node *nodes = nullptr;
  size_t node_capacity = 0;
  size_t node_count = 0;

  ~csimdjson_parser() {
    std::free(text);
    std::free(plain);
    std::free(nodes);
  }
};

namespace {

constexpr size_t text_capacity_min = 4096;
// Above ours, so that the depth of 512 is judged in one place only.
constexpr size_t simdjson_depth_max = 2 * CSIMDJSON_DEPTH_MAX;

size_t round_up(size_t length) {
  size_t capacity = text_capacity_min;
  while (capacity < length) { capacity *= 2; }
  return capacity;
}

bool grow(uint8_t *&buffer, size_t &capacity, size_t length) {
  if (length <= capacity) { return true; }
  const size_t wanted = round_up(length);
  uint8_t *const bigger = static_cast<uint8_t *>(std::malloc(wanted + simdjson::SIMDJSON_PADDING));
  if (bigger == nullptr) { return false; }
  std::free(buffer);
  buffer = bigger;
  capacity = wanted;
  return true;
}

bool reserve_text(csimdjson_parser &self, size_t length) {
  if (length <= self.text_capacity) { return true; }
  const size_t wanted = round_up(length);
  if (self.document.allocate(wanted) != simdjson::SUCCESS) { return false; }
  if (self.parser.allocate(wanted, simdjson_depth_max) != simdjson::SUCCESS) { return false; }
  return grow(self.text, self.text_capacity, length);
}

bool reserve_nodes(csimdjson_parser &self, size_t count) {
  if (count <= self.node_capacity) { return true; }
  const size_t wanted = count < 2 * self.node_capacity ? 2 * self.node_capacity : count;
  csimdjson_node *const bigger = static_cast<csimdjson_node *>(std::malloc(wanted * sizeof(csimdjson_node)));
  if (bigger == nullptr) { return false; }
  std::free(self.nodes);
  self.nodes = bigger;
  self.node_capacity = wanted;
  return true;
}

simdjson::error_code validate(csimdjson_parser &self, const uint8_t *text, size_t length) {
  return self.parser.parse_into_document(self.document, text, length, false).error();
}

// Numbers are kept as text, so simdjson's limits on them do not bind us: checks each by the grammar, and lets simdjson
// judge a copy that has `0` and spaces in their place. The offsets of all tokens stay the same.
simdjson::error_code validate_without_numbers(csimdjson_parser &self, size_t length) {
  if (!grow(self.plain, self.plain_capacity, length)) { return simdjson::MEMALLOC; }
  std::memcpy(self.plain, self.text, length);
  std::memset(self.plain + length, ' ', simdjson::SIMDJSON_PADDING);
  const auto &stage = *self.parser.implementation;
  for (uint32_t i = 0; i < stage.n_structural_indexes; i++) {
    const size_t start = stage.structural_indexes[i];
    const uint8_t c = self.text[start];
    if (c != '-' && (c < '0' || c > '9')) { continue; }
    const csimdjson::Scan number = csimdjson::scan_number(self.text, length, start);
    const uint8_t after = number.offset < length ? self.text[number.offset] : ' ';
    const bool ends = after != 0 && std::strchr(" \t\n\r,:]}", after) != nullptr;
    if (number.reason != CSIMDJSON_VALID || !ends) { return simdjson::NUMBER_ERROR; }
    std::memset(self.plain + start, ' ', number.offset - start);
    self.plain[start] = '0';
  }
  return validate(self, self.plain, length);
}

bool escapes_are_valid(const uint8_t *text, size_t end, const uint8_t *backslash) {
  while (backslash != nullptr) {
    const csimdjson::Scan escape = csimdjson::scan_escape(text, end, static_cast<size_t>(backslash - text));
    if (escape.reason != CSIMDJSON_VALID) { return false; }
    backslash = static_cast<const uint8_t *>(std::memchr(text + escape.offset, '\\', end - escape.offset));
  }
  return true;
}

// Fills the nodes of a text that simdjson accepted. False if it is deeper than CSIMDJSON_DEPTH_MAX or has a bad escape.
bool index_nodes(csimdjson_parser &self, size_t length) {
  const auto &stage = *self.parser.implementation;
  const uint32_t *const starts = stage.structural_indexes.get();
  const size_t count = stage.n_structural_indexes;
  const uint8_t *const text = self.text;
  csimdjson_node *const nodes = self.nodes;
  uint32_t open[CSIMDJSON_DEPTH_MAX];
  size_t depth = 0;
  uint32_t used = 0;
  const auto *backslash = static_cast<const uint8_t *>(std::memchr(text, '\\', length));
  for (size_t i = 0; i < count; i++) {
    const uint32_t start = starts[i];
    const uint8_t c = text[start];
    switch (c) {
      case ',':
      case ':':
        break;
      case '{':
      case '[':
        if (depth == CSIMDJSON_DEPTH_MAX) { return false; }
        open[depth++] = used;
        nodes[used++] = {start, 0, 0, static_cast<uint8_t>(c == '{' ? CSIMDJSON_OBJECT : CSIMDJSON_ARRAY), 0, 0};
        break;
      case '}':
      case ']': {
        csimdjson_node &node = nodes[open[--depth]];
        node.length = start + 1 - node.offset;
        node.next = used;
        break;
      }
      case '"': {
        // Between the closing quote and the next token there is nothing but white space.
        uint32_t end = (i + 1 < count ? starts[i + 1] : static_cast<uint32_t>(length)) - 1;
        while (text[end] != '"') { end--; }
        bool escaped = false;
        if (backslash != nullptr && backslash < text + end) {
          escaped = true;
          if (!escapes_are_valid(text, end, backslash)) { return false; }
          backslash = static_cast<const uint8_t *>(std::memchr(text + end, '\\', length - end));
        }
        nodes[used] = {start + 1, end - start - 1, used + 1, CSIMDJSON_STRING, escaped, 0};
        used++;
        break;
      }
      default: {
        uint32_t end = i + 1 < count ? starts[i + 1] : static_cast<uint32_t>(length);
        while (text[end - 1] <= ' ') { end--; }
        const uint8_t kind = c == 't' || c == 'f' ? CSIMDJSON_BOOL : c == 'n' ? CSIMDJSON_NULL : CSIMDJSON_NUMBER;
        nodes[used] = {start, end - start, used + 1, kind, 0, 0};
        used++;
        break;
      }
    }
  }
  self.node_count = used;
  return true;
}

csimdjson_reason refusal(const csimdjson_parser &self, size_t length, size_t *error_offset) {
  const csimdjson_reason reason = csimdjson_locate(self.text, length, error_offset);
  return reason == CSIMDJSON_VALID ? CSIMDJSON_REFUSED : reason;
}

}  // namespace

csimdjson_parser *csimdjson_create(void) {
  auto *const self = new (std::nothrow) csimdjson_parser();
  if (self != nullptr && !(reserve_text(*self, text_capacity_min) && reserve_nodes(*self, 256))) {
    delete self;
    return nullptr;
  }
  return self;
}

void csimdjson_destroy(csimdjson_parser *self) { delete self; }

csimdjson_reason csimdjson_parse(csimdjson_parser *self, const void *text, size_t length, size_t *error_offset) {
  self->node_count = 0;
  *error_offset = 0;
  if (!reserve_text(*self, length)) { return CSIMDJSON_OUT_OF_MEMORY; }
  if (length > 0) { std::memcpy(self->text, text, length); }
  std::memset(self->text + length, ' ', simdjson::SIMDJSON_PADDING);
  simdjson::error_code error = validate(*self, self->text, length);
  if (error == simdjson::NUMBER_ERROR) { error = validate_without_numbers(*self, length); }
  if (error == simdjson::MEMALLOC) { return CSIMDJSON_OUT_OF_MEMORY; }
  if (error != simdjson::SUCCESS) { return refusal(*self, length, error_offset); }
  if (!reserve_nodes(*self, self->parser.implementation->n_structural_indexes)) { return CSIMDJSON_OUT_OF_MEMORY; }
  if (!index_nodes(*self, length)) { return refusal(*self, length, error_offset); }
  return CSIMDJSON_VALID;
}

const csimdjson_node *csimdjson_nodes(const csimdjson_parser *self) { return self->nodes; }
size_t csimdjson_node_count(const csimdjson_parser *self) { return self->node_count; }
const uint8_t *csimdjson_text(const csimdjson_parser *self) { return self->text; }
