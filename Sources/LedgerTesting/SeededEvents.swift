// Events for tests and benchmarks: as varied as real ones, and the same on every machine.
//
// Invariants:
// - Event `index` of a seed is a function of the two alone: integer arithmetic and bytes, no clock, no locale, no hasher.
// - Two indices never give the same id, and two seeds never give the same events.
// - What is made is a CloudEvent that the ledger takes, about 500 bytes long, and begins with `prefix` and the index as 16
//   hexadecimal digits, so that a checker can tell which event it sees without parsing.
// - Nobody in them exists: `example.org` and `example.com`, telephone numbers from the range kept for fiction.

import Bytes

/// A seeded sequence of events of customers who meet the company on many channels and are recognised little by little.
///
/// Browsers come back without a name and log in later, so customers merge; couples share a device, so limits fire. Times
/// are spread over 2025, mostly in order, one in eight up to three days late.
///
/// Making an event takes about a microsecond in a release build.
public struct SeededEvents: Sendable {
  /// What every event begins with; 16 hexadecimal digits of its index follow.
  public static let prefix: StaticString = #"{"specversion":"1.0","id":""#
  /// How many indices cover the year before it begins again.
  public static let eventCountPerYear: UInt64 = 200_000

  /// The seed.
  public let seed: UInt64
  /// How many customers there are.
  public let customerCount: Int

  private let prefixBytes: [UInt8]
  private let words: Words
  /// `2025-MM-DD` for each day.
  private let days: [[UInt8]]

  /// - Parameters:
  ///   - seed: Another seed, other events.
  ///   - customerCount: At least 1. About ten events a customer make most of them known by several identifiers.
  public init(seed: UInt64, customerCount: Int) {
    precondition(customerCount >= 1, "somebody has to be the customer")
    self.seed = seed
    self.customerCount = customerCount
    prefixBytes = Array(Self.prefix.description.utf8)
    words = Words()
    days = Self.daysOfTheYear()
  }

  /// The event with that index.
  public func event(_ index: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(768)
    append(index: index, to: &bytes)
    return bytes
  }

  /// The `user_id` of a customer, from 0, as an identifier for questions: `user_id:u-000017`.
  public func identifier(ofCustomer number: Int) -> String {
    var bytes = Array("user_id:".utf8)
    appendUserID(UInt64(number % customerCount), to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The index of an event of any seed; nil if the bytes are none.
  public static func index(ofEvent bytes: RawSpan) -> UInt64? {
    let start = prefix.utf8CodeUnitCount
    guard bytes.byteCount > start + 16, bytes.slice(0..<start).isEqual(to: prefix) else { return nil }
    var index: UInt64 = 0
    for offset in start..<start + 16 {
      let byte = bytes.byte(at: offset)
      switch byte {
      case 0x30...0x39: index = index << 4 | UInt64(byte - 0x30)
      case 0x61...0x66: index = index << 4 | UInt64(byte - 0x57)
      default: return nil
      }
    }
    return index
  }

  /// Appends the bytes of the event with that index.
  public func append(index: UInt64, to out: inout [UInt8]) {
    var random = Draw(seed, index)
    let kind = words.kinds[random.below(words.kinds.count)]
    // Some customers are more active than others.
    let count = UInt64(customerCount)
    let customer = min(random.next() % count, random.next() % count)

    out.append(contentsOf: prefixBytes)
    out.appendHexadecimal(index, digitCount: 16)
    out.append(UInt8(ascii: "-"))
    out.appendHexadecimal(random.next() ^ seed, digitCount: 8)
    out.append(contentsOf: kind.head)
    appendTime(index, &random, to: &out)
    if random.below(3) > 0 {
      out.append(contentsOf: words.campaign)
      out.append(contentsOf: words.campaigns[random.below(words.campaigns.count)])
    }
    switch random.below(4) {
    case 0:
      out.append(contentsOf: words.stream)
      out.appendDecimal(customer, digitCount: 6)
    case 1:
      out.append(contentsOf: words.subject)
      out.appendDecimal(customer, digitCount: 6)
    default: break
    }
    out.append(contentsOf: words.data)
    if kind.channel != .billboard { appendIdentifiers(kind.channel, customer, &random, to: &out) }
    if kind.isOrder || random.below(12) == 0 { appendTraits(customer, &random, to: &out) }
    if kind.isOrder { appendMoney(words.value, 900, &random, to: &out) }
    if kind.hasCost || kind.isOrder { appendMoney(words.cost, 3, &random, to: &out) }
    appendContent(&random, to: &out)
  }

  // MARK: Parts

  /// In order with the index, spread over the year; one in eight up to three days before its turn: it arrived late.
  private func appendTime(_ index: UInt64, _ random: inout Draw, to out: inout [UInt8]) {
    let year: UInt64 = 365 * 86_400_000
    let step = year / Self.eventCountPerYear
    var milliseconds = index % Self.eventCountPerYear * step + random.next() % step
    if random.below(8) == 0 { milliseconds -= min(milliseconds, random.next() % (3 * 86_400_000)) }
    let (day, rest) = milliseconds.quotientAndRemainder(dividingBy: 86_400_000)
    out.append(contentsOf: days[Int(day)])
    out.append(UInt8(ascii: "T"))
    out.appendDecimal(rest / 3_600_000, digitCount: 2)
    out.append(UInt8(ascii: ":"))
    out.appendDecimal(rest / 60_000 % 60, digitCount: 2)
    out.append(UInt8(ascii: ":"))
    out.appendDecimal(rest / 1_000 % 60, digitCount: 2)
    out.append(UInt8(ascii: "."))
    out.appendDecimal(rest % 1_000, digitCount: 3)
    out.append(contentsOf: words.zone)
  }

  private func appendIdentifiers(_ channel: Channel, _ customer: UInt64, _ random: inout Draw, to out: inout [UInt8]) {
    out.append(contentsOf: words.identifiers)
    switch channel {
    case .browser:
      out.append(contentsOf: words.cookie)
      appendToken(customer, random.next() % 3, to: &out)
      if random.below(5) == 0 { appendMember(words.userID, customer, to: &out) }
    case .app:
      // One in sixteen looks at the phone of the person next to them, which a couple shares.
      out.append(contentsOf: words.device)
      appendToken(random.below(16) == 0 ? customer & ~1 : customer, 7, to: &out)
      if random.below(2) == 0 { appendMember(words.userID, customer, to: &out) }
    case .mail:
      out.append(contentsOf: words.email)
      appendEmail(customer, isUpper: random.below(10) == 0, to: &out)
    case .telephone:
      out.append(contentsOf: words.phone)
      appendPhone(customer, to: &out)
      if random.below(6) == 0 { appendMember(words.userID, customer, to: &out) }
    case .counter:
      out.append(contentsOf: words.email)
      appendEmail(customer, isUpper: false, to: &out)
      out.append(contentsOf: words.nextPhone)
      appendPhone(customer, to: &out)
      if random.below(2) == 0 { appendMember(words.userID, customer, to: &out) }
    case .billboard: break
    }
    out.append(contentsOf: words.endOfIdentifiers)
  }

  private func appendMember(_ name: [UInt8], _ customer: UInt64, to out: inout [UInt8]) {
    out.append(contentsOf: name)
    appendUserID(customer, to: &out)
  }

  private func appendUserID(_ customer: UInt64, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "u"))
    out.append(UInt8(ascii: "-"))
    out.appendDecimal(customer, digitCount: 6)
  }

  /// A browser's or a device's name, which looks random and is the customer's for ever.
  private func appendToken(_ customer: UInt64, _ number: UInt64, to out: inout [UInt8]) {
    var random = Draw(seed ^ 0x5a17, customer &* 8 &+ number)
    out.appendHexadecimal(random.next(), digitCount: 16)
  }

  private func appendEmail(_ customer: UInt64, isUpper: Bool, to out: inout [UInt8]) {
    let name = words.mailNames[Int(customer % UInt64(words.mailNames.count))]
    let start = out.count
    out.append(contentsOf: name)
    out.appendDecimal(customer, digitCount: 6)
    if isUpper {
      for offset in start..<out.count where out[offset] >= 0x61 && out[offset] <= 0x7a { out[offset] -= 0x20 }
    }
    out.append(contentsOf: words.mailHost)
  }

  /// `+1 202 555 01xx` and, as the range is small, an extension.
  private func appendPhone(_ customer: UInt64, to out: inout [UInt8]) {
    out.append(contentsOf: words.phoneStart)
    out.appendDecimal(customer, digitCount: 6)
  }

  private func appendTraits(_ customer: UInt64, _ random: inout Draw, to out: inout [UInt8]) {
    var person = Draw(seed ^ 0x7a17, customer)
    out.append(contentsOf: words.traits)
    out.append(contentsOf: words.firstNames[person.below(words.firstNames.count)])
    out.append(UInt8(ascii: " "))
    out.append(contentsOf: words.surnames[person.below(words.surnames.count)])
    out.append(UInt8(ascii: " "))
    out.append(contentsOf: words.surnames[person.below(words.surnames.count)])
    out.append(contentsOf: words.city)
    out.append(contentsOf: words.cities[random.below(words.cities.count)])
    out.append(contentsOf: words.endOfTraits)
  }

  private func appendMoney(_ name: [UInt8], _ wholeMax: Int, _ random: inout Draw, to out: inout [UInt8]) {
    out.append(contentsOf: name)
    out.appendDecimal(UInt64(random.below(wholeMax)))
    out.append(UInt8(ascii: "."))
    out.appendDecimal(UInt64(random.below(100)), digitCount: 2)
    out.append(contentsOf: random.below(20) == 0 ? words.dollars : words.euros)
  }

  private func appendContent(_ random: inout Draw, to out: inout [UInt8]) {
    out.append(contentsOf: words.content)
    out.append(contentsOf: words.pages[random.below(words.pages.count)])
    out.append(contentsOf: words.session)
    out.appendHexadecimal(random.next(), digitCount: 16)
    out.append(contentsOf: words.milliseconds)
    out.appendDecimal(random.next() % 90_000)
    out.append(contentsOf: words.note)
    for _ in 0...random.below(3) {
      out.append(contentsOf: words.phrases[random.below(words.phrases.count)])
      out.append(UInt8(ascii: " "))
    }
    out.append(contentsOf: words.end)
  }

  private static func daysOfTheYear() -> [[UInt8]] {
    var days: [[UInt8]] = []
    for (month, length) in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].enumerated() {
      for day in 1...length {
        var text = Array("2025-".utf8)
        text.appendDecimal(UInt64(month + 1), digitCount: 2)
        text.append(UInt8(ascii: "-"))
        text.appendDecimal(UInt64(day), digitCount: 2)
        days.append(text)
      }
    }
    return days
  }
}

/// What a channel knows people by.
private enum Channel: Sendable { case browser, app, mail, telephone, counter, billboard }

/// A type of event on a channel.
private struct Kind: Sendable {
  let channel: Channel
  let isOrder: Bool
  let hasCost: Bool
  /// From the end of the id to the beginning of the time.
  let head: [UInt8]

  init(_ channel: Channel, _ name: String, _ type: String, _ direction: String, isOrder: Bool = false, hasCost: Bool = false) {
    self.channel = channel
    self.isOrder = isOrder
    self.hasCost = hasCost
    let audience = channel == .billboard ? "many" : "one"
    let parts = [
      #"","source":"urn:example:ledger:adapter:"#, name, #"","type":""#, type,
      #"","datacontenttype":"application/json","channel":""#, name, #"","direction":""#, direction, #"","audience":""#, audience,
      #"","time":""#,
    ]
    head = Array(parts.joined().utf8)
  }
}

/// Every text that events are made of, as bytes. A class, since a generator is copied with each use and this is large.
private final class Words: Sendable {
  /// A kind that stands twice comes twice as often.
  let kinds: [Kind] = [
    Kind(.browser, "web", "page.viewed", "inbound"), Kind(.browser, "web", "page.viewed", "inbound"),
    Kind(.browser, "web", "page.viewed", "inbound"), Kind(.browser, "web", "page.viewed", "inbound"),
    Kind(.browser, "web", "search.performed", "inbound"), Kind(.browser, "search", "ad.clicked", "inbound", hasCost: true),
    Kind(.browser, "social", "ad.viewed", "outbound", hasCost: true), Kind(.app, "app", "screen.viewed", "inbound"),
    Kind(.app, "app", "screen.viewed", "inbound"), Kind(.app, "push", "app.push.sent", "outbound", hasCost: true),
    Kind(.app, "app", "login.succeeded", "inbound"), Kind(.mail, "email", "email.sent", "outbound", hasCost: true),
    Kind(.mail, "email", "email.opened", "inbound"), Kind(.mail, "email", "email.clicked", "inbound"),
    Kind(.telephone, "phone", "call.received", "inbound", hasCost: true), Kind(.telephone, "chat", "chat.message.received", "inbound"),
    Kind(.counter, "web", "order.placed", "inbound", isOrder: true), Kind(.counter, "store", "order.placed", "inbound", isOrder: true),
    Kind(.counter, "store", "case.opened", "inbound"), Kind(.billboard, "print", "ad.published", "outbound", hasCost: true),
  ]
  let campaigns = texts(["primavera-2025", "verano-azul", "otoño-cálido", "navidad-2025", "vuelta-al-cole", "niños-gratis", "fidelización"])
  let firstNames = texts(["Ana", "Begoña", "Íñigo", "José", "María", "Núria", "Óscar", "Zoë", "Tomás", "Lucía", "Ramón", "Inés"])
  let surnames = texts(["Muñoz", "Peña", "Núñez", "Ibáñez", "García", "Güell", "Ordóñez", "Sáez", "López", "Etxebarría", "Vázquez"])
  let cities = texts(["Logroño", "A Coruña", "Córdoba", "Alcorcón", "Cádiz", "Getxo", "Málaga", "Mérida", "Ávila", "Alcañiz"])
  let mailNames = texts(["ana.", "begoña.", "iñigo.", "jose.", "maría.", "nuria.", "oscar.", "zoë.", "tomas.", "lucia."])
  let pages = texts([
    "/", "/destinos/lanzarote", "/destinos/córdoba", "/ofertas", "/cesta", "/cuenta/pedidos", "/ayuda/devolución", "/búsqueda",
  ])
  let phrases = texts([
    "volvió a mirar los precios", "dejó la cesta sin pagar", "preguntó por el equipaje", "quería una habitación más tranquila",
    "llegó desde un anuncio", "eligió el asiento de pasillo", "pidió factura con otro nombre", "no encontró el código",
    "comparó tres fechas", "añadió un niño al viaje", "esperó al teléfono", "valoró bien la atención",
  ])

  let zone = bytes("Z")
  let campaign = bytes(#"","campaign":""#)
  let stream = bytes(#"","stream":"customer-"#)
  let subject = bytes(#"","subject":"u-"#)
  let data = bytes(#"","data":{"#)
  let identifiers = bytes(#""identifiers":{""#)
  let cookie = bytes(#"cookie":"ck-"#)
  let device = bytes(#"device":"dv-"#)
  let email = bytes(#"email":""#)
  let phone = bytes(#"phone":""#)
  let nextPhone = bytes(#"","phone":""#)
  let userID = bytes(#"","user_id":""#)
  let endOfIdentifiers = bytes(#""},"#)
  let mailHost = bytes("@example.org")
  let phoneStart = bytes("+120255501")
  let traits = bytes(#""traits":{"name":""#)
  let city = bytes(#"","city":""#)
  let endOfTraits = bytes(#""},"#)
  let value = bytes(#""value":{"amount":""#)
  let cost = bytes(#""cost":{"amount":""#)
  let euros = bytes(#"","currency":"EUR"},"#)
  let dollars = bytes(#"","currency":"USD"},"#)
  let content = bytes(#""content":{"page":""#)
  let session = bytes(#"","session":""#)
  let milliseconds = bytes(#"","milliseconds":"#)
  let note = bytes(#","note":""#)
  let end = bytes(#""}}}"#)

  private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
  private static func texts(_ texts: [String]) -> [[UInt8]] { texts.map { Array($0.utf8) } }
}

/// SplitMix64 (Steele, Lea and Flood, 2014), started from a seed and a number.
struct Draw: RandomNumberGenerator, Sendable {
  private var state: UInt64

  init(_ seed: UInt64, _ number: UInt64) {
    state = seed
    state = next() ^ (number &* 0xd134_2543_de82_ef95)
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// A number from 0, less than `bound`.
  mutating func below(_ bound: Int) -> Int { Int(next() >> 33) % bound }
}

extension [UInt8] {
  fileprivate mutating func appendHexadecimal(_ value: UInt64, digitCount: Int) {
    var shift = digitCount * 4
    while shift > 0 {
      shift -= 4
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift)) & 15
      append(digit < 10 ? 0x30 + digit : 0x57 + digit)
    }
  }

  /// The last `digitCount` digits, or, without it, as many as there are.
  fileprivate mutating func appendDecimal(_ value: UInt64, digitCount: Int = 0) {
    var count = digitCount
    if count == 0 {
      count = 1
      var rest = value / 10
      while rest > 0 {
        count += 1
        rest /= 10
      }
    }
    let start = self.count
    for _ in 0..<count { append(0x30) }
    var rest = value
    var offset = start + count
    while offset > start, rest > 0 {
      offset -= 1
      self[offset] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
  }
}
