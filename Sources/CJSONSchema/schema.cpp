// Why this file exists: the C face. A schema is parsed by rapidjson, vetted, and compiled by valijson; a text is parsed
// into a pool that each thread keeps, and evaluated.

#include <cstring>
#include <new>

#include "internal.hpp"

namespace {

// Iterative: the depth of a text costs no stack. Full precision: the nearest double, as everywhere else.
constexpr unsigned parse_flags = rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag;
constexpr size_t pool_bytes = 256 * 1024;

bool is_too_deep(const rapidjson::Value &value, int depth) {
  if (depth > CJSONSCHEMA_DEPTH_MAX) { return true; }
  if (value.IsArray()) {
    for (const auto &element : value.GetArray()) {
      if (is_too_deep(element, depth + 1)) { return true; }
    }
  } else if (value.IsObject()) {
    for (const auto &member : value.GetObject()) {
      if (is_too_deep(member.value, depth + 1)) { return true; }
    }
  }
  return false;
}

}  // namespace

namespace schemas {

void copy_text(char *destination, size_t capacity, const std::string &text) {
  if (capacity == 0) { return; }
  size_t count = text.size() < capacity ? text.size() : capacity - 1;
  // A code point is kept whole or not at all.
  if (count < text.size()) {
    while (count > 0 && (static_cast<unsigned char>(text[count]) & 0xC0) == 0x80) { count--; }
  }
  std::memcpy(destination, text.data(), count);
  destination[count] = 0;
}

}  // namespace schemas

using schemas::copy_text;

extern "C" {

struct cjsonschema *cjsonschema_create(const char *text, size_t length, char *message, size_t capacity) {
  try {
    if (length > CJSONSCHEMA_SCHEMA_BYTES_MAX) {
      throw schemas::Refusal("a schema has at most " + std::to_string(CJSONSCHEMA_SCHEMA_BYTES_MAX) + " bytes");
    }
    rapidjson::Document document;
    document.Parse<parse_flags>(text, length);
    if (document.HasParseError()) {
      throw schemas::Refusal("invalid JSON at byte " + std::to_string(document.GetErrorOffset()));
    }
    if (is_too_deep(document, 0)) {
      throw schemas::Refusal("more than " + std::to_string(CJSONSCHEMA_DEPTH_MAX) + " arrays and objects inside each other");
    }
    auto schema = std::make_unique<struct cjsonschema>();
    const rapidjson::Document vetted = schemas::vet(document, schema->patterns);
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
    parser.populateSchema(schemas::Adapter(vetted), schema->schema);
    return schema.release();
  } catch (const std::exception &error) {
    copy_text(message, capacity, error.what());
  } catch (...) {
    copy_text(message, capacity, "the schema cannot be read");
  }
  return nullptr;
}

void cjsonschema_destroy(struct cjsonschema *schema) { delete schema; }

enum cjsonschema_verdict cjsonschema_check(
  const struct cjsonschema *schema, const char *text, size_t length, size_t steps_max, struct cjsonschema_violation *violation) {
  violation->pointer[0] = 0;
  violation->rule[0] = 0;
  try {
    // One allocation a thread, not several a text. What a large text needs beyond it is given back at once.
    thread_local const std::unique_ptr<char[]> memory(new char[pool_bytes]);
    rapidjson::MemoryPoolAllocator<> pool(memory.get(), pool_bytes);
    rapidjson::Document document(&pool);
    document.Parse<parse_flags>(text, length);
    if (document.HasParseError()) {
      const bool is_number = document.GetParseError() == rapidjson::kParseErrorNumberTooBig;
      copy_text(violation->rule, sizeof violation->rule, is_number ? "number (no double is near one of them)" : "JSON");
      return CJSONSCHEMA_UNREADABLE;
    }
    return schemas::evaluate(*schema, document, steps_max, *violation);
  } catch (const std::bad_alloc &) {
    return CJSONSCHEMA_OUT_OF_MEMORY;
  } catch (...) {
    copy_text(violation->rule, sizeof violation->rule, "internal");
    return CJSONSCHEMA_TOO_COSTLY;
  }
}

}  // extern "C"
