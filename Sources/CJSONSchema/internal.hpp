// Why this file exists: what the parts of this target share: the library's types under short names, and a compiled schema.

#pragma once

#define VALIJSON_USE_EXCEPTIONS 1

#include <stdexcept>

namespace schemas {

// An assertion of rapidjson's that fails. valijson would define it so that each assertion that holds allocates a string.
[[noreturn]] inline void fail_assertion() { throw std::logic_error("an assertion of rapidjson's failed"); }

}  // namespace schemas

#define RAPIDJSON_ASSERT(x) ((x) ? static_cast<void>(0) : ::schemas::fail_assertion())

// It warns that the assertion is defined already.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-W#warnings"
#include <valijson/adapters/rapidjson_adapter.hpp>
#pragma clang diagnostic pop

#include <rapidjson/document.h>
#include <rapidjson/pointer.h>
#include <re2/re2.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>

#include "CJSONSchema.h"

namespace schemas {

using Value = rapidjson::Value;
using Document = rapidjson::Document;
using Adapter = valijson::adapters::RapidJsonAdapter;

// Copies a text with a zero byte behind it, cut before the code point that does not fit.
void copy_text(char *destination, size_t capacity, const std::string &text);

// A schema that is not taken; the text says where and how to mend it.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Patterns = std::unordered_map<std::string, std::unique_ptr<RE2>>;

// Checks everything that valijson takes for granted, and compiles the patterns. Returns the schema as valijson shall see it;
// the one given is used up.
Document vet(Document &schema, Patterns &patterns);

// Translates ECMA 262 to RE2's syntax and compiles; throws a Refusal that names `place`.
std::unique_ptr<RE2> compile_pattern(const std::string &pattern, const std::string &place);

}  // namespace schemas

struct cjsonschema {
  valijson::Schema schema;
  schemas::Patterns patterns;
};

namespace schemas {

cjsonschema_verdict evaluate(
  const ::cjsonschema &schema, const Value &instance, size_t steps_max, cjsonschema_violation &violation);

}  // namespace schemas
