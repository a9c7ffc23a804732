// The interaction profile: what a fold reads from an event's `data` (DESIGN §5).
//
// Invariants:
// - Every event has at least one participant, so that totals reconcile: one without a profile has one unnamed
//   participant without identifiers.
// - A field of another shape than the profile's is somebody else's and is ignored, alone; it never fails the event.
// - The order in which an event lists identifiers does not show: they come distinct and in byte order.
// - What an event says once (value, cost, traits beside the participants) counts once: for its first participant.

import Bytes
public import JSON

/// An amount of money.
public struct Amount: Hashable, Sendable {
  /// How much.
  public let value: Decimal
  /// The currency's UTF-8, as sent: `EUR`.
  public let currency: [UInt8]

  /// Digits before the point that are taken: amounts beyond cannot be summed safely.
  public static let integerDigitsMax = 18
  /// Decimals that are taken.
  public static let decimalsMax = 12
  /// Bytes of a currency.
  public static let currencyByteCountMax = 16

  /// Joins the parts; nil if one is out of bounds. With these bounds a hundred million amounts fit one sum.
  public init?(value: Decimal, currency: [UInt8]) {
    guard value.fits(integerDigits: Amount.integerDigitsMax, decimals: Amount.decimalsMax) else { return nil }
    guard !currency.isEmpty, currency.count <= Amount.currencyByteCountMax else { return nil }
    self.value = value
    self.currency = currency
  }
}

/// Who took part in one event, and what was said of them. Nodes belong to the event that was read.
public struct Interaction {
  /// One person of the event.
  public struct Participant {
    /// The place in `data.participants`, from 0; 0 for `data.identifiers`.
    public let ordinal: Int
    /// The part they play (`buyer`, `payer`), if `data.participants` says.
    public let part: JSONNode?
    /// Distinct, usable identifiers in byte order.
    public let identifiers: [Identifier]
    /// What was said about them, by name in byte order, each name once.
    public let traits: [Trait]
  }

  /// One thing said about a person.
  public struct Trait {
    /// The name's UTF-8.
    public let name: [UInt8]
    /// The value: any JSON.
    public let value: JSONNode
  }

  /// At least one, by ascending ordinal.
  public let participants: [Participant]
  /// What it was worth.
  public let value: Amount?
  /// What it cost.
  public let cost: Amount?
  /// The case it belongs to: a text, or a number.
  public let `case`: JSONNode?

  /// People of one event that are looked at.
  public static let participantCountMax = 64
  /// Identifiers of one person of one event that are looked at: the first in byte order.
  public static let identifierCountMax = 4_096
  /// Traits of one person of one event that are looked at: the first in byte order of their names.
  public static let traitCountMax = 1_024
  /// Bytes of a case's name; longer ones are ignored.
  public static let caseByteCountMax = 256
  /// Bytes of a trait's name; longer ones are ignored.
  public static let traitNameByteCountMax = 256

  /// Reads the profile of an event. `data.participants` counts if it lists an object; else `data.identifiers` does.
  public init(of event: LoggedEvent) {
    guard let data = event.attributes.data, event.json.kind(of: data) == .object else {
      participants = [Participant(ordinal: 0, part: nil, identifiers: [], traits: [])]
      value = nil
      cost = nil
      self.case = nil
      return
    }
    let fields = Fields(of: data, in: event.json)
    value = fields.value.flatMap { amount($0, event.json) }
    cost = fields.cost.flatMap { amount($0, event.json) }
    self.case = fields.case.flatMap { isName($0, event.json, byteCountMax: Interaction.caseByteCountMax) ? $0 : nil }
    let several = fields.participants.map { Interaction.participants($0, shared: fields.traits, event.json) } ?? []
    if several.isEmpty {
      participants = [
        Participant(
          ordinal: 0, part: nil, identifiers: fields.identifiers.map { Interaction.identifiers($0, event.json) } ?? [],
          traits: Interaction.traits([fields.traits], event.json))
      ]
    } else {
      participants = several
    }
  }

  /// The profile's fields, found in one walk; of a name that stands twice, the first.
  private struct Fields {
    var identifiers: JSONNode?
    var participants: JSONNode?
    var traits: JSONNode?
    var value: JSONNode?
    var cost: JSONNode?
    var `case`: JSONNode?

    init(of data: JSONNode, in json: borrowing JSONReader) {
      var next = json.firstChild(of: data)
      while let key = next {
        let node = json.value(ofKey: key)
        if identifiers == nil, json.equals(key, "identifiers") {
          identifiers = node
        } else if participants == nil, json.equals(key, "participants") {
          participants = node
        } else if traits == nil, json.equals(key, "traits") {
          traits = node
        } else if value == nil, json.equals(key, "value") {
          value = node
        } else if cost == nil, json.equals(key, "cost") {
          cost = node
        } else if self.case == nil, json.equals(key, "case") {
          self.case = node
        }
        next = json.next(after: node, in: data)
      }
    }
  }

  private static func participants(_ list: JSONNode, shared: JSONNode?, _ json: borrowing JSONReader) -> [Participant] {
    guard json.kind(of: list) == .array else { return [] }
    var result: [Participant] = []
    var ordinal = 0
    var next = json.firstChild(of: list)
    while let element = next, ordinal < participantCountMax {
      if json.kind(of: element) == .object {
        let part = json.member("part", of: element)
        result.append(
          Participant(
            ordinal: ordinal, part: part.flatMap { json.kind(of: $0) == .string ? $0 : nil },
            identifiers: json.member("identifiers", of: element).map { identifiers($0, json) } ?? [],
            traits: traits([json.member("traits", of: element), result.isEmpty ? shared : nil], json)))
      }
      ordinal += 1
      next = json.next(after: element, in: list)
    }
    return result
  }

  private static func identifiers(_ object: JSONNode, _ json: borrowing JSONReader) -> [Identifier] {
    guard json.kind(of: object) == .object else { return [] }
    var result: [Identifier] = []
    func take(_ kind: [UInt8], _ node: JSONNode) {
      let nodeKind = json.kind(of: node)
      guard nodeKind == .string || nodeKind == .number else { return }
      if let identifier = json.withString(of: node, { Identifier(kind: kind, raw: $0) }) { result.append(identifier) }
    }
    var next = json.firstChild(of: object)
    while let key = next {
      let node = json.value(ofKey: key)
      let kind = json.bytes(of: key)
      if json.kind(of: node) == .array {
        var element = json.firstChild(of: node)
        while let item = element {
          take(kind, item)
          element = json.next(after: item, in: node)
        }
      } else {
        take(kind, node)
      }
      next = json.next(after: node, in: object)
    }
    guard result.count > 1 else { return result }
    // Of equal values the one with the lowest raw text stays, whichever came first.
    result.sort { $0 == $1 ? $0.raw.lexicographicallyPrecedes($1.raw) : $0 < $1 }
    var distinct: [Identifier] = []
    distinct.reserveCapacity(result.count)
    for identifier in result where distinct.last != identifier && distinct.count < identifierCountMax { distinct.append(identifier) }
    return distinct
  }

  /// The members of the objects; of a name that stands twice, the first.
  private static func traits(_ objects: [JSONNode?], _ json: borrowing JSONReader) -> [Trait] {
    var result: [Trait] = []
    for case .some(let object) in objects where json.kind(of: object) == .object {
      var next = json.firstChild(of: object)
      while let key = next {
        let node = json.value(ofKey: key)
        if isName(key, json, byteCountMax: traitNameByteCountMax) { result.append(Trait(name: json.bytes(of: key), value: node)) }
        next = json.next(after: node, in: object)
      }
    }
    guard result.count > 1 else { return result }
    let order = result.indices.sorted { left, right in
      let (a, b) = (result[left].name, result[right].name)
      return a == b ? left < right : a.lexicographicallyPrecedes(b)
    }
    var distinct: [Trait] = []
    distinct.reserveCapacity(order.count)
    for index in order where distinct.last?.name != result[index].name && distinct.count < traitCountMax { distinct.append(result[index]) }
    return distinct
  }
}

/// A text of 1 to `byteCountMax` bytes, or a number.
private func isName(_ node: JSONNode, _ json: borrowing JSONReader, byteCountMax: Int) -> Bool {
  let kind = json.kind(of: node)
  guard kind == .string || kind == .number else { return false }
  let byteCount = json.stringByteCount(of: node)
  return byteCount > 0 && byteCount <= byteCountMax
}

/// `{"amount": number or decimal string, "currency": text}`.
private func amount(_ node: JSONNode, _ json: borrowing JSONReader) -> Amount? {
  guard json.kind(of: node) == .object, let amount = json.member("amount", of: node),
    let currency = json.member("currency", of: node), json.kind(of: currency) == .string
  else { return nil }
  let kind = json.kind(of: amount)
  guard kind == .string || kind == .number else { return nil }
  guard let value = json.withString(of: amount, { Decimal.parse($0) }) else { return nil }
  return Amount(value: value, currency: json.bytes(of: currency))
}
