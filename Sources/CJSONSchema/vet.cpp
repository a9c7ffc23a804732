// Why this file exists: valijson trusts its schemas; ours come over a socket. Vetting makes sure, before valijson sees a
// schema, that compiling it and checking with it ends, and soon. Invariants of a vetted schema:
// - references point at schemas inside the same text, and no chain of them comes back to the same value of an instance:
//   so every recursion goes into the instance, whose depth is bounded;
// - every keyword is one that is enforced, an annotation, or begins with `x-`: a rule that would be dropped in silence is
//   refused instead;
// - every pattern is compiled by RE2, which matches in time linear in the text and does not recurse;
// - valijson gets it flat: each schema is a definition with a number, and wherever it is used stands a reference. Its parser
//   remembers schemas by paths that are not unique (all of `dependencies` have one, `propertyNames` has its parent's), and
//   would take one for another;
// - no name or pattern holds U+0000, at which valijson would cut it.

#include <cmath>
#include <functional>

#include "internal.hpp"

namespace schemas {

namespace {

using Words = std::unordered_set<std::string>;

const Words annotations = {"title",    "description", "default",         "examples",        "readOnly",
                           "writeOnly", "$comment",    "contentEncoding", "contentMediaType"};
const Words of_one_schema = {"additionalItems", "additionalProperties", "contains", "propertyNames", "not",
                             "if",              "then",                 "else"};
const Words of_schema_lists = {"allOf", "anyOf", "oneOf"};
const Words of_schema_maps = {"definitions", "$defs", "properties", "patternProperties"};
const Words of_counts = {"maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"};
const Words of_numbers = {"maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"};
const Words type_names = {"array", "boolean", "integer", "null", "number", "object", "string"};
// Applied to the same value as the schema they stand in.
const Words in_place = {"not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependencies"};

std::string token(const std::string &name) {
  std::string escaped;
  for (const char c : name) {
    if (c == '~') {
      escaped += "~0";
    } else if (c == '/') {
      escaped += "~1";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

class Vetting {
 public:
  Vetting(Document &schema, Patterns &patterns) : document(schema), patterns(patterns) {}

  Document run() {
    walk(document, "", 0);
    resolve_references();
    measure_chains();
    return flatten();
  }

 private:
  struct Node {
    std::string place;
    std::vector<const Value *> applied_in_place;
    // What a $ref points at.
    const Value *reference = nullptr;
    // Its number among the definitions.
    size_t number = 0;
    // Longest chain from here: 0 not yet known, -1 being measured.
    int chain = 0;
  };

  Document &document;
  Patterns &patterns;
  std::unordered_map<const Value *, Node> nodes;
  std::vector<std::pair<const Value *, std::string>> references;
  // In the order of their numbers.
  std::vector<const Value *> order;

  [[noreturn]] static void refuse(const std::string &place, const std::string &what) {
    throw Refusal("at #" + place + ": " + what);
  }

  static std::string text(const Value &value) { return std::string(value.GetString(), value.GetStringLength()); }

  void walk(Value &schema, const std::string &place, int depth) {
    if (depth > CJSONSCHEMA_DEPTH_MAX) { refuse(place, "more than " + std::to_string(CJSONSCHEMA_DEPTH_MAX) + " schemas inside each other"); }
    if (nodes.size() >= CJSONSCHEMA_SUBSCHEMAS_MAX) { refuse(place, "more than " + std::to_string(CJSONSCHEMA_SUBSCHEMAS_MAX) + " schemas in one"); }
    if (!schema.IsObject() && !schema.IsBool()) { refuse(place, "a schema is an object, true or false"); }
    nodes[&schema].place = place;
    if (schema.IsBool()) { return; }
    prepare(schema, place);
    nodes[&schema].number = order.size();
    order.push_back(&schema);
    const auto reference = schema.FindMember("$ref");
    const bool is_reference = reference != schema.MemberEnd();
    if (is_reference) { references.emplace_back(&schema, reference->value.GetString()); }
    for (auto &member : schema.GetObject()) {
      const std::string name = text(member.name);
      // Beside a reference other keywords mean nothing (draft-07, 8.3), but what it points at may stand there.
      if (is_reference && name != "definitions" && name != "$defs") { continue; }
      descend(schema, name, member.value, place + "/" + token(name), depth + 1);
    }
  }

  void add(Value &parent, const std::string &keyword, Value &child, const std::string &place, int depth) {
    walk(child, place, depth);
    if (in_place.count(keyword) != 0) { nodes[&parent].applied_in_place.push_back(&child); }
  }

  void descend(Value &schema, const std::string &name, Value &value, const std::string &place, int depth) {
    if (of_one_schema.count(name) != 0) {
      add(schema, name, value, place, depth);
    } else if (of_schema_lists.count(name) != 0 || (name == "items" && value.IsArray())) {
      rapidjson::SizeType index = 0;
      for (auto &element : value.GetArray()) { add(schema, name, element, place + "/" + std::to_string(index++), depth); }
    } else if (name == "items") {
      add(schema, name, value, place, depth);
    } else if (of_schema_maps.count(name) != 0 || name == "dependencies") {
      for (auto &member : value.GetObject()) {
        const std::string key = text(member.name);
        if (name == "dependencies" && member.value.IsArray()) {
          check_names(member.value, place + "/" + token(key));
          continue;
        }
        if (name == "patternProperties") { pattern(key, place); }
        add(schema, name, member.value, place + "/" + token(key), depth);
      }
    }
  }

  // Removes annotations and checks the form of every other keyword. Afterwards the members stay where they are.
  void prepare(Value &schema, const std::string &place) {
    const bool is_root = place.empty();
    const bool is_reference = schema.HasMember("$ref");
    for (auto member = schema.MemberBegin(); member != schema.MemberEnd();) {
      const std::string name = text(member->name);
      if (name.find('\0') != std::string::npos) { refuse(place, "a name holds U+0000"); }
      const bool is_identity = is_root && (name == "$schema" || name == "$id");
      if (is_identity) { check_identity(name, member->value); }
      if (is_identity || annotations.count(name) != 0 || name.compare(0, 2, "x-") == 0) {
        member = schema.EraseMember(member);
        continue;
      }
      check_keyword(name, member->value, place, is_reference);
      ++member;
    }
  }

  static void check_identity(const std::string &name, const Value &value) {
    if (!value.IsString()) { refuse("", name + " must be a text"); }
    if (name == "$id") { return; }
    std::string uri = text(value);
    if (!uri.empty() && uri.back() == '#') { uri.pop_back(); }
    if (uri != "http://json-schema.org/draft-07/schema" && uri != "https://json-schema.org/draft-07/schema") {
      refuse("", "$schema must be http://json-schema.org/draft-07/schema#, the one draft that is understood");
    }
  }

  void check_keyword(const std::string &name, Value &value, const std::string &place, bool is_reference) {
    if (name == "$ref") {
      if (!value.IsString()) { refuse(place, "$ref must be a text"); }
      return;
    }
    if (is_reference && name != "definitions" && name != "$defs") { return; }
    if (of_one_schema.count(name) != 0) { return; }
    if (of_schema_lists.count(name) != 0) {
      if (!value.IsArray() || value.Empty()) { refuse(place, name + " must be a list of schemas"); }
    } else if (name == "items") {
      return;
    } else if (of_schema_maps.count(name) != 0 || name == "dependencies") {
      if (!value.IsObject()) { refuse(place, name + " must be an object"); }
      for (const auto &member : value.GetObject()) {
        if (text(member.name).find('\0') != std::string::npos) { refuse(place, "a name in " + name + " holds U+0000"); }
      }
    } else if (of_counts.count(name) != 0) {
      check_count(name, value, place);
    } else if (of_numbers.count(name) != 0) {
      if (!value.IsNumber()) { refuse(place, name + " must be a number"); }
    } else if (name == "multipleOf") {
      if (!value.IsNumber() || !(value.GetDouble() > 0)) { refuse(place, "multipleOf must be a number above 0"); }
      // Beyond 64 bits with sign valijson would read a double anyway.
      if (value.IsUint64() && !value.IsInt64()) { value.SetDouble(value.GetDouble()); }
    } else if (name == "type") {
      check_type(value, place);
    } else if (name == "required") {
      check_names(value, place + "/required");
    } else if (name == "enum") {
      if (!value.IsArray() || value.Empty()) { refuse(place, "enum must be a list of values"); }
    } else if (name == "uniqueItems") {
      if (!value.IsBool()) { refuse(place, "uniqueItems must be true or false"); }
    } else if (name == "format") {
      if (!value.IsString()) { refuse(place, "format must be a text"); }
    } else if (name == "pattern") {
      if (!value.IsString()) { refuse(place, "pattern must be a text"); }
      pattern(text(value), place);
    } else if (name != "const") {
      refuse(place, "the keyword is not understood: " + name.substr(0, 64) + "; this is JSON Schema draft-07 with all rules in one text, and what is "
        "not a rule begins with x-");
    }
  }

  static void check_count(const std::string &name, Value &value, const std::string &place) {
    if (value.IsDouble() && value.GetDouble() >= 0 && value.GetDouble() < 1e15 && std::floor(value.GetDouble()) == value.GetDouble()) {
      value.SetUint64(static_cast<uint64_t>(value.GetDouble()));
    }
    if (!value.IsUint64() || !value.IsInt64()) { refuse(place, name + " must be a whole number of 0 or more"); }
  }

  static void check_type(const Value &value, const std::string &place) {
    const auto check = [&](const Value &name) {
      if (!name.IsString() || type_names.count(text(name)) == 0) {
        refuse(place, "type must be array, boolean, integer, null, number, object or string, or a list of them");
      }
    };
    if (!value.IsArray()) { return check(value); }
    for (const auto &name : value.GetArray()) { check(name); }
  }

  static void check_names(const Value &value, const std::string &place) {
    if (!value.IsArray()) { refuse(place, "a list of names is wanted here"); }
    for (const auto &name : value.GetArray()) {
      if (!name.IsString()) { refuse(place, "a list of names is wanted here"); }
      if (text(name).find('\0') != std::string::npos) { refuse(place, "a name holds U+0000"); }
    }
  }

  void pattern(const std::string &pattern, const std::string &place) {
    if (patterns.count(pattern) != 0) { return; }
    if (patterns.size() >= CJSONSCHEMA_PATTERNS_MAX) {
      refuse(place, "more than " + std::to_string(CJSONSCHEMA_PATTERNS_MAX) + " patterns");
    }
    patterns[pattern] = compile_pattern(pattern, place);
  }

  void resolve_references() {
    for (const auto &[schema, reference] : references) {
      const std::string &place = nodes[schema].place;
      if (reference.empty() || reference[0] != '#') {
        refuse(place, "a $ref must point into the same text, such as #/definitions/name; nothing is fetched");
      }
      // Empty names could be read in two ways.
      if (reference.size() > 1 && (reference.back() == '/' || reference.find("//") != std::string::npos)) {
        refuse(place, "a $ref must not hold empty names");
      }
      const rapidjson::Pointer pointer(reference.c_str(), reference.size());
      const Value *const target = pointer.IsValid() ? rapidjson::GetValueByPointer(document, pointer) : nullptr;
      if (target == nullptr || nodes.count(target) == 0) {
        refuse(place, "the $ref points at no schema of this text");
      }
      nodes[schema].reference = target;
      nodes[schema].applied_in_place.push_back(target);
    }
  }

  // The number of schemas that the longest chain from each schema applies to one value; a chain without end is refused.
  void measure_chains() {
    for (auto &entry : nodes) { measure(entry.second, 1); }
  }

  int measure(Node &node, int above) {
    if (node.chain == -1) { refuse(node.place, "the schema applies itself to the same value, without end"); }
    if (node.chain == 0) {
      // The chain is followed no deeper than it may be: this bounds our own stack.
      if (above > CJSONSCHEMA_SUBSCHEMAS_MAX) { refuse(node.place, "too many schemas apply each other"); }
      node.chain = -1;
      int longest = 0;
      for (const Value *const next : node.applied_in_place) { longest = std::max(longest, measure(nodes[next], above + 1)); }
      node.chain = longest + 1;
    }
    if (node.chain > CJSONSCHEMA_CHAIN_MAX) {
      refuse(node.place, "more than " + std::to_string(CJSONSCHEMA_CHAIN_MAX) + " schemas apply each other to one value");
    }
    return node.chain;
  }

  Document flatten() {
    Document flat(rapidjson::kObjectType);
    auto &memory = flat.GetAllocator();
    if (document.IsBool()) {
      flat.SetBool(document.GetBool());
      return flat;
    }
    Value definitions(rapidjson::kObjectType);
    for (const Value *const schema : order) {
      if (nodes[schema].reference != nullptr) { continue; }
      Value definition(rapidjson::kObjectType);
      for (const auto &member : schema->GetObject()) {
        const std::string name = text(member.name);
        if (name == "definitions" || name == "$defs") { continue; }
        definition.AddMember(Value(member.name, memory), flat_keyword(name, member.value, memory), memory);
      }
      definitions.AddMember(Value(std::to_string(nodes[schema].number).c_str(), memory), definition, memory);
    }
    Value root = use(document, memory);
    if (root.IsBool()) {
      flat.SetBool(root.GetBool());
      return flat;
    }
    flat.AddMember("$ref", root["$ref"], memory);
    flat.AddMember("definitions", definitions, memory);
    return flat;
  }

  // The value of a keyword, with references in the places of schemas.
  Value flat_keyword(const std::string &name, const Value &value, rapidjson::MemoryPoolAllocator<> &memory) {
    if (of_one_schema.count(name) != 0 || (name == "items" && !value.IsArray())) { return use(value, memory); }
    if (of_schema_lists.count(name) != 0 || name == "items") {
      Value list(rapidjson::kArrayType);
      for (const auto &schema : value.GetArray()) { list.PushBack(use(schema, memory), memory); }
      return list;
    }
    if (of_schema_maps.count(name) != 0 || name == "dependencies") {
      Value map(rapidjson::kObjectType);
      for (const auto &member : value.GetObject()) {
        const bool is_names = name == "dependencies" && member.value.IsArray();
        map.AddMember(Value(member.name, memory), is_names ? Value(member.value, memory) : use(member.value, memory), memory);
      }
      return map;
    }
    return Value(value, memory);
  }

  // A reference to a schema, or to what its own reference comes to in the end: the chains were found to end.
  Value use(const Value &schema, rapidjson::MemoryPoolAllocator<> &memory) {
    const Value *target = &schema;
    while (nodes[target].reference != nullptr) { target = nodes[target].reference; }
    if (target->IsBool()) { return Value(target->GetBool()); }
    Value reference(rapidjson::kObjectType);
    const std::string pointer = "#/definitions/" + std::to_string(nodes[target].number);
    reference.AddMember("$ref", Value(pointer.c_str(), memory), memory);
    return reference;
  }
};

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

Document vet(Document &schema, Patterns &patterns) { return Vetting(schema, patterns).run(); }

std::unique_ptr<RE2> compile_pattern(const std::string &pattern, const std::string &place) {
  if (pattern.size() > CJSONSCHEMA_PATTERN_BYTES_MAX) {
    throw Refusal("at #" + place + ": a pattern has more than " + std::to_string(CJSONSCHEMA_PATTERN_BYTES_MAX) + " bytes");
  }
  if (pattern.find('\0') != std::string::npos) { throw Refusal("at #" + place + ": a pattern holds U+0000"); }
  std::string translated;
  for (size_t i = 0; i < pattern.size(); i++) {
    const size_t left = pattern.size() - i;
    if (left >= 6 && pattern[i] == '\\' && pattern[i + 1] == 'u' && is_hex(pattern[i + 2]) && is_hex(pattern[i + 3]) &&
        is_hex(pattern[i + 4]) && is_hex(pattern[i + 5])) {
      translated += "\\x{" + pattern.substr(i + 2, 4) + "}";
      i += 5;
    } else if (left >= 2 && pattern[i] == '\\') {
      translated += pattern.substr(i, 2);
      i += 1;
    } else if (left >= 4 && pattern.compare(i, 3, "(?<") == 0 && pattern[i + 3] != '=' && pattern[i + 3] != '!') {
      translated += "(?P<";
      i += 2;
    } else {
      translated += pattern[i];
    }
  }
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(CJSONSCHEMA_PATTERN_MEMORY_MAX);
  options.set_never_capture(true);
  auto compiled = std::make_unique<RE2>(translated, options);
  if (!compiled->ok()) {
    throw Refusal("at #" + place + ": a pattern is not taken (" + compiled->error() +
                  "); look-around and back references cannot be matched in bounded time");
  }
  return compiled;
}

}  // namespace schemas
