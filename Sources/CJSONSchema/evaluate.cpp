// Why this file exists: a visitor of valijson's constraints with what its own visitor lacks. Invariants:
// - every evaluation takes from a budget of steps, and is as deep as the budget of depth allows: a hostile pair of schema
//   and text costs milliseconds, not hours, and no stack;
// - patterns are RE2's; uniqueItems compares only what has the same hash;
// - the first broken rule is reported by pointer and keyword, without any value of the text; the names in the pointer are
//   the schema's, or `*`;
// - lengths are counted in code points over the whole string, U+0000 included.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <valijson/constraints/concrete_constraints.hpp>
#include <valijson/constraints/constraint_visitor.hpp>

#include "internal.hpp"

namespace schemas {

namespace {

namespace vc = valijson::constraints;
using valijson::Subschema;

struct OutOfBudget {};

bool is_integer(const Value &value) {
  if (value.IsInt64() || value.IsUint64()) { return true; }
  return value.IsDouble() && std::isfinite(value.GetDouble()) && std::floor(value.GetDouble()) == value.GetDouble();
}

size_t code_points(const Value &text) {
  size_t count = 0;
  for (rapidjson::SizeType i = 0; i < text.GetStringLength(); i++) {
    if ((static_cast<unsigned char>(text.GetString()[i]) & 0xC0) != 0x80) { count++; }
  }
  return count;
}

template <typename String>
bool is_named(const Value &name, const String &expected) {
  return name.GetStringLength() == expected.size() && std::memcmp(name.GetString(), expected.data(), expected.size()) == 0;
}

bool is_known_type(const Value &value, vc::TypeConstraint::JsonType type) {
  switch (type) {
    case vc::TypeConstraint::kAny: return true;
    case vc::TypeConstraint::kArray: return value.IsArray();
    case vc::TypeConstraint::kBoolean: return value.IsBool();
    case vc::TypeConstraint::kInteger: return is_integer(value);
    case vc::TypeConstraint::kNull: return value.IsNull();
    case vc::TypeConstraint::kNumber: return value.IsNumber();
    case vc::TypeConstraint::kObject: return value.IsObject();
    case vc::TypeConstraint::kString: return value.IsString();
  }
  return false;
}

const char *type_name(vc::TypeConstraint::JsonType type) {
  switch (type) {
    case vc::TypeConstraint::kAny: return "any";
    case vc::TypeConstraint::kArray: return "array";
    case vc::TypeConstraint::kBoolean: return "boolean";
    case vc::TypeConstraint::kInteger: return "integer";
    case vc::TypeConstraint::kNull: return "null";
    case vc::TypeConstraint::kNumber: return "number";
    case vc::TypeConstraint::kObject: return "object";
    case vc::TypeConstraint::kString: return "string";
  }
  return "";
}

std::string number_text(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", number);
  return text;
}

// Two digits at `at`, or -1.
int two_digits(const std::string &text, size_t at) {
  if (at + 2 > text.size()) { return -1; }
  const char a = text[at];
  const char b = text[at + 1];
  if (a < '0' || a > '9' || b < '0' || b > '9') { return -1; }
  return (a - '0') * 10 + (b - '0');
}

// RFC 3339, full-date.
bool is_date(const std::string &text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') { return false; }
  const int century = two_digits(text, 0);
  const int years = two_digits(text, 2);
  const int month = two_digits(text, 5);
  const int day = two_digits(text, 8);
  if (century < 0 || years < 0 || month < 1 || month > 12 || day < 1) { return false; }
  const int year = century * 100 + years;
  const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return day <= days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

// RFC 3339, full-time. A leap second is taken where one can be: at 23:59:60 UTC.
bool is_time(const std::string &text) {
  const int hour = two_digits(text, 0);
  const int minute = two_digits(text, 3);
  const int second = two_digits(text, 6);
  if (text.size() < 9 || text[2] != ':' || text[5] != ':') { return false; }
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) { return false; }
  size_t at = 8;
  if (text[at] == '.') {
    const size_t first = ++at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') { at++; }
    if (at == first) { return false; }
  }
  if (at >= text.size()) { return false; }
  int offset = 0;
  if (text[at] == '+' || text[at] == '-') {
    const int hours = two_digits(text, at + 1);
    const int minutes = two_digits(text, at + 4);
    if (text.size() != at + 6 || text[at + 3] != ':' || hours < 0 || hours > 23 || minutes < 0 || minutes > 59) { return false; }
    offset = (hours * 60 + minutes) * (text[at] == '+' ? 1 : -1);
  } else if ((text[at] != 'Z' && text[at] != 'z') || text.size() != at + 1) {
    return false;
  }
  const int utc = ((hour * 60 + minute - offset) % 1440 + 1440) % 1440;
  return second < 60 || utc == 1439;
}

bool is_format(const std::string &format, const std::string &text) {
  if (format == "date") { return is_date(text); }
  if (format == "time") { return is_time(text); }
  if (format == "date-time") {
    return text.size() > 11 && (text[10] == 'T' || text[10] == 't') && is_date(text.substr(0, 10)) && is_time(text.substr(11));
  }
  // The others are annotations, as draft-07 allows.
  return true;
}

class Evaluator final : public vc::ConstraintVisitor {
 public:
  Evaluator(const Patterns &patterns, size_t steps_max) : patterns(patterns), steps(steps_max) {}
  ~Evaluator() override = default;

  bool check(const Subschema &schema, const Value &value) {
    spend(1);
    if (++depth > CJSONSCHEMA_EVALUATION_DEPTH_MAX) { throw OutOfBudget(); }
    const Value *const outer = target;
    target = &value;
    bool is_valid;
    if (schema.getAlwaysInvalid()) {
      is_valid = fail("false");
    } else {
      is_valid = schema.applyStrict(apply);
    }
    target = outer;
    depth--;
    return is_valid;
  }

  // What is known of the broken rule; the path is that of the moment it broke.
  std::string rule;
  std::string pointer;

  void describe_place() { pointer = current_pointer(); }

  // MARK: Applied to the same value

  bool visit(const AllOfConstraint &constraint) override {
    bool is_valid = true;
    constraint.applyToSubschemas([&](unsigned, const Subschema *schema) { return is_valid = here(*schema); });
    return is_valid;
  }

  bool visit(const AnyOfConstraint &constraint) override {
    bool is_valid = false;
    constraint.applyToSubschemas([&](unsigned, const Subschema *schema) { return !(is_valid = quietly(*schema)); });
    return is_valid || fail("anyOf");
  }

  bool visit(const OneOfConstraint &constraint) override {
    unsigned count = 0;
    constraint.applyToSubschemas([&](unsigned, const Subschema *schema) {
      if (quietly(*schema)) { count++; }
      return count < 2;
    });
    return count == 1 || fail(count == 0 ? "oneOf (none holds)" : "oneOf (more than one holds)");
  }

  bool visit(const NotConstraint &constraint) override {
    return !quietly(*constraint.getSubschema()) || fail("not");
  }

  bool visit(const ConditionalConstraint &constraint) override {
    const Subschema *const branch = quietly(*constraint.getIfSubschema()) ? constraint.getThenSubschema() : constraint.getElseSubschema();
    return branch == nullptr || here(*branch);
  }

  bool visit(const DependenciesConstraint &constraint) override {
    if (!target->IsObject()) { return true; }
    bool is_valid = true;
    constraint.applyToPropertyDependencies([&](const auto &name, const auto &others) {
      if (!has(name)) { return true; }
      for (const auto &other : others) {
        if (!has(other)) {
          is_valid = fail("dependencies " + quoted(std::string(other.data(), other.size())));
          return false;
        }
      }
      return true;
    });
    if (!is_valid) { return false; }
    constraint.applyToSchemaDependencies(
      [&](const auto &name, const Subschema *schema) { return !has(name) || (is_valid = here(*schema)); });
    return is_valid;
  }

  // MARK: Any value

  bool visit(const TypeConstraint &constraint) override {
    spend(1);
    bool is_valid = false;
    std::string names;
    constraint.applyToNamedTypes([&](vc::TypeConstraint::JsonType type) {
      is_valid = is_known_type(*target, type);
      return !is_valid;
    });
    if (is_valid) { return true; }
    if (quiet == 0) {
      constraint.applyToNamedTypes([&](vc::TypeConstraint::JsonType type) {
        names += (names.empty() ? "" : ", ") + std::string(type_name(type));
        return true;
      });
    }
    return fail("type " + names);
  }

  bool visit(const EnumConstraint &constraint) override {
    const Adapter adapter(*target);
    const size_t cost = equality_cost();
    bool is_valid = false;
    constraint.applyToValues([&](const valijson::adapters::FrozenValue &value) {
      spend(cost);
      return !(is_valid = value.equalTo(adapter, true));
    });
    return is_valid || fail("enum");
  }

  bool visit(const ConstConstraint &constraint) override {
    spend(equality_cost());
    return constraint.getValue()->equalTo(Adapter(*target), true) || fail("const");
  }

  // MARK: Numbers

  bool visit(const MaximumConstraint &constraint) override {
    if (!target->IsNumber()) { return true; }
    const double number = target->GetDouble();
    const double limit = constraint.getMaximum();
    if (constraint.getExclusiveMaximum()) { return number < limit || fail("exclusiveMaximum " + number_text(limit)); }
    return number <= limit || fail("maximum " + number_text(limit));
  }

  bool visit(const MinimumConstraint &constraint) override {
    if (!target->IsNumber()) { return true; }
    const double number = target->GetDouble();
    const double limit = constraint.getMinimum();
    if (constraint.getExclusiveMinimum()) { return number > limit || fail("exclusiveMinimum " + number_text(limit)); }
    return number >= limit || fail("minimum " + number_text(limit));
  }

  bool visit(const MultipleOfDoubleConstraint &constraint) override { return is_multiple(constraint.getDivisor()); }

  bool visit(const MultipleOfIntConstraint &constraint) override {
    const int64_t divisor = constraint.getDivisor();
    if (target->IsInt64()) { return target->GetInt64() % divisor == 0 || fail("multipleOf " + std::to_string(divisor)); }
    if (target->IsUint64()) {
      return target->GetUint64() % static_cast<uint64_t>(divisor) == 0 || fail("multipleOf " + std::to_string(divisor));
    }
    return is_multiple(static_cast<double>(divisor));
  }

  // MARK: Strings

  bool visit(const MaxLengthConstraint &constraint) override {
    if (!target->IsString()) { return true; }
    spend_bytes();
    return code_points(*target) <= constraint.getMaxLength() || fail("maxLength " + std::to_string(constraint.getMaxLength()));
  }

  bool visit(const MinLengthConstraint &constraint) override {
    if (!target->IsString()) { return true; }
    spend_bytes();
    return code_points(*target) >= constraint.getMinLength() || fail("minLength " + std::to_string(constraint.getMinLength()));
  }

  bool visit(const PatternConstraint &constraint) override {
    if (!target->IsString()) { return true; }
    const std::string pattern = constraint.getPattern<std::string::allocator_type>();
    return matches(pattern, *target) || fail("pattern " + quoted(pattern));
  }

  bool visit(const FormatConstraint &constraint) override {
    if (!target->IsString()) { return true; }
    spend_bytes();
    return is_format(constraint.getFormat(), std::string(target->GetString(), target->GetStringLength())) ||
           fail("format " + constraint.getFormat());
  }

  // MARK: Arrays

  bool visit(const MaxItemsConstraint &constraint) override {
    return !target->IsArray() || target->Size() <= constraint.getMaxItems() ||
           fail("maxItems " + std::to_string(constraint.getMaxItems()));
  }

  bool visit(const MinItemsConstraint &constraint) override {
    return !target->IsArray() || target->Size() >= constraint.getMinItems() ||
           fail("minItems " + std::to_string(constraint.getMinItems()));
  }

  bool visit(const SingularItemsConstraint &constraint) override {
    if (!target->IsArray() || constraint.getItemsSubschema() == nullptr) { return true; }
    for (rapidjson::SizeType i = 0; i < target->Size(); i++) {
      if (!inside(i, *constraint.getItemsSubschema(), (*target)[i])) { return false; }
    }
    return true;
  }

  bool visit(const LinearItemsConstraint &constraint) override {
    if (!target->IsArray()) { return true; }
    bool is_valid = true;
    constraint.applyToItemSubschemas([&](unsigned i, const Subschema *schema) {
      return i < target->Size() && (is_valid = inside(i, *schema, (*target)[i]));
    });
    if (!is_valid) { return false; }
    const Subschema *const others = constraint.getAdditionalItemsSubschema();
    for (size_t i = constraint.getItemSubschemaCount(); i < target->Size(); i++) {
      const auto index = static_cast<rapidjson::SizeType>(i);
      if (others == nullptr) { return fail("additionalItems false"); }
      if (!inside(index, *others, (*target)[index])) { return false; }
    }
    return true;
  }

  bool visit(const ContainsConstraint &constraint) override {
    if (!target->IsArray()) { return true; }
    for (rapidjson::SizeType i = 0; i < target->Size(); i++) {
      quiet++;
      const bool is_valid = inside(i, *constraint.getSubschema(), (*target)[i]);
      quiet--;
      if (is_valid) { return true; }
    }
    return fail("contains");
  }

  bool visit(const UniqueItemsConstraint &) override {
    if (!target->IsArray()) { return true; }
    std::vector<std::pair<uint64_t, rapidjson::SizeType>> hashes;
    hashes.reserve(target->Size());
    for (rapidjson::SizeType i = 0; i < target->Size(); i++) { hashes.emplace_back(hash((*target)[i], 0), i); }
    std::sort(hashes.begin(), hashes.end());
    for (size_t i = 1; i < hashes.size(); i++) {
      for (size_t j = i; j > 0 && hashes[j - 1].first == hashes[i].first; j--) {
        const Value &other = (*target)[hashes[j - 1].second];
        const Value &value = (*target)[hashes[i].second];
        spend(1 + (value.IsObject() ? value.MemberCount() * value.MemberCount() : value.IsArray() ? value.Size() : 0));
        if (Adapter(value).equalTo(Adapter(other), true)) { return fail("uniqueItems"); }
      }
    }
    return true;
  }

  // MARK: Objects

  bool visit(const MaxPropertiesConstraint &constraint) override {
    return !target->IsObject() || target->MemberCount() <= constraint.getMaxProperties() ||
           fail("maxProperties " + std::to_string(constraint.getMaxProperties()));
  }

  bool visit(const MinPropertiesConstraint &constraint) override {
    return !target->IsObject() || target->MemberCount() >= constraint.getMinProperties() ||
           fail("minProperties " + std::to_string(constraint.getMinProperties()));
  }

  bool visit(const RequiredConstraint &constraint) override {
    if (!target->IsObject()) { return true; }
    bool is_valid = true;
    constraint.applyToRequiredProperties([&](const auto &name) {
      if (!has(name)) { is_valid = fail("required " + quoted(std::string(name.data(), name.size()))); }
      return is_valid;
    });
    return is_valid;
  }

  bool visit(const PropertyNamesConstraint &constraint) override {
    if (!target->IsObject()) { return true; }
    for (const auto &member : target->GetObject()) {
      if (!quietly_on(*constraint.getSubschema(), member.name)) { return fail("propertyNames"); }
    }
    return true;
  }

  bool visit(const PropertiesConstraint &constraint) override {
    if (!target->IsObject()) { return true; }
    const Value &object = *target;
    std::vector<bool> is_matched(object.MemberCount(), false);
    bool is_valid = true;
    // Every member of that name, since a text may have it twice.
    constraint.applyToProperties([&](const auto &name, const Subschema *schema) {
      spend(1 + object.MemberCount() / 8);
      size_t i = 0;
      for (const auto &member : object.GetObject()) {
        if (is_named(member.name, name)) {
          is_matched[i] = true;
          if (!inside(member.name, true, *schema, member.value)) { return is_valid = false; }
        }
        i++;
      }
      return true;
    });
    if (!is_valid) { return false; }
    constraint.applyToPatternProperties([&](const auto &pattern, const Subschema *schema) {
      size_t i = 0;
      for (const auto &member : object.GetObject()) {
        if (matches(std::string(pattern.data(), pattern.size()), member.name)) {
          is_matched[i] = true;
          if (!inside(member.name, false, *schema, member.value)) { return is_valid = false; }
        }
        i++;
      }
      return true;
    });
    if (!is_valid) { return false; }
    const Subschema *const others = constraint.getAdditionalPropertiesSubschema();
    size_t i = 0;
    for (const auto &member : object.GetObject()) {
      if (!is_matched[i++]) {
        if (others == nullptr) { return fail("additionalProperties false"); }
        if (!inside(member.name, false, *others, member.value)) { return false; }
      }
    }
    return true;
  }

  // Only custom constraints, of which there are none.
  bool visit(const PolyConstraint &) override { return true; }

 private:
  // A step on the way to the target: a name of the text, or an index.
  struct Step {
    const Value *name;
    rapidjson::SizeType index;
    bool is_known;
  };

  const Patterns &patterns;
  size_t steps;
  int depth = 0;
  int quiet = 0;
  const Value *target = nullptr;
  std::vector<Step> path;
  // Made once: a std::function for each schema would be an allocation for each.
  Subschema::ApplyFunction apply = [this](const vc::Constraint &constraint) { return constraint.accept(*this); };

  void spend(size_t count) {
    if (count > steps) { throw OutOfBudget(); }
    steps -= count;
  }

  void spend_bytes() { spend(1 + target->GetStringLength() / 64); }

  size_t equality_cost() const {
    if (target->IsObject()) { return 1 + target->MemberCount() * target->MemberCount(); }
    if (target->IsArray()) { return 1 + target->Size(); }
    return target->IsString() ? 1 + target->GetStringLength() / 64 : 1;
  }

  bool fail(const std::string &what) {
    if (quiet == 0 && rule.empty()) {
      rule = what;
      describe_place();
    }
    return false;
  }

  static std::string quoted(const std::string &text) { return "\"" + text + "\""; }

  bool here(const Subschema &schema) { return check(schema, *target); }

  bool quietly(const Subschema &schema) { return quietly_on(schema, *target); }

  bool quietly_on(const Subschema &schema, const Value &value) {
    quiet++;
    const bool is_valid = check(schema, value);
    quiet--;
    return is_valid;
  }

  bool inside(rapidjson::SizeType index, const Subschema &schema, const Value &value) {
    path.push_back({nullptr, index, true});
    const bool is_valid = check(schema, value);
    path.pop_back();
    return is_valid;
  }

  bool inside(const Value &name, bool is_known, const Subschema &schema, const Value &value) {
    path.push_back({&name, 0, is_known});
    const bool is_valid = check(schema, value);
    path.pop_back();
    return is_valid;
  }

  template <typename String>
  bool has(const String &name) {
    spend(1 + target->MemberCount() / 8);
    for (const auto &member : target->GetObject()) {
      if (is_named(member.name, name)) { return true; }
    }
    return false;
  }

  bool matches(const std::string &pattern, const Value &text) {
    spend(2 + text.GetStringLength() / 16);
    const auto found = patterns.find(pattern);
    if (found == patterns.end()) { return false; }
    return RE2::PartialMatch(re2::StringPiece(text.GetString(), text.GetStringLength()), *found->second);
  }

  bool is_multiple(double divisor) {
    if (!target->IsNumber()) { return true; }
    // 0.0075 is a multiple of 0.0001 although no double is either: a few units in the last place are forgiven, as long as
    // they are less than what tells a multiple from its neighbour.
    const double quotient = target->GetDouble() / divisor;
    const double distance = std::fabs(quotient - std::nearbyint(quotient));
    const bool is_near = std::fabs(quotient) < 1e12 && distance <= 4 * std::numeric_limits<double>::epsilon() * std::fabs(quotient);
    return std::fmod(target->GetDouble(), divisor) == 0 || is_near || fail("multipleOf " + number_text(divisor));
  }

  // Equal values have equal hashes; numbers hash as doubles, members without regard to their order.
  uint64_t hash(const Value &value, int level) {
    spend(1);
    if (level > CJSONSCHEMA_EVALUATION_DEPTH_MAX) { throw OutOfBudget(); }
    if (value.IsNumber()) { return std::hash<double>()(value.GetDouble()) ^ 1; }
    if (value.IsString()) {
      spend(value.GetStringLength() / 64);
      return std::hash<std::string_view>()(std::string_view(value.GetString(), value.GetStringLength())) ^ 2;
    }
    uint64_t sum = static_cast<uint64_t>(value.GetType());
    if (value.IsArray()) {
      for (const auto &element : value.GetArray()) { sum = sum * 0x9E3779B97F4A7C15U + hash(element, level + 1); }
    } else if (value.IsObject()) {
      for (const auto &member : value.GetObject()) { sum += (hash(member.name, level + 1) ^ 3) * (hash(member.value, level + 1) | 1); }
    }
    return sum;
  }

  std::string current_pointer() const {
    std::string text;
    for (const Step &step : path) {
      text += '/';
      if (step.name == nullptr) {
        text += std::to_string(step.index);
      } else if (!step.is_known) {
        text += '*';
      } else {
        for (rapidjson::SizeType i = 0; i < step.name->GetStringLength(); i++) {
          const char c = step.name->GetString()[i];
          if (c == '~') {
            text += "~0";
          } else if (c == '/') {
            text += "~1";
          } else {
            text += c;
          }
        }
      }
    }
    return text;
  }
};

}  // namespace

cjsonschema_verdict evaluate(
  const ::cjsonschema &schema, const Value &instance, size_t steps_max, cjsonschema_violation &violation) {
  Evaluator evaluator(schema.patterns, steps_max);
  cjsonschema_verdict verdict = CJSONSCHEMA_VIOLATED;
  try {
    if (evaluator.check(*schema.schema.root(), instance)) { return CJSONSCHEMA_VALID; }
  } catch (const OutOfBudget &) {
    verdict = CJSONSCHEMA_TOO_COSTLY;
    evaluator.describe_place();
    evaluator.rule = "cost";
  }
  copy_text(violation.pointer, sizeof violation.pointer, evaluator.pointer);
  copy_text(violation.rule, sizeof violation.rule, evaluator.rule);
  return verdict;
}

}  // namespace schemas
