// What would come together if an event's values were all matched: the sums that limits are held against, kept up to date
// while values are set aside.
//
// Invariants:
// - The sums are those of the customers and new values that are in it now.
// - A kind is held against its limit only if it is gained: the event brings a new value, or two customers bring values.
// - The first limit exceeded is the same however customers and values were added: kinds by rank and name, then
//   identifiers, then merges.

/// A kind of identifier, as limits see it.
struct IdentifierKind {
  let rank: MatchLimits.Rank
  let limit: MatchLimits.KindLimit
  /// The kind's UTF-8.
  let text: [UInt8]

  func precedes(_ other: IdentifierKind) -> Bool {
    rank != other.rank ? rank < other.rank : text.lexicographicallyPrecedes(other.text)
  }
}

/// Customers and new values that an event would join.
struct Join {
  /// How many identifiers of a kind a customer has that count at the event's time.
  struct Held {
    let number: UInt64
    let kind: IdentifierKind
    var count: Int
  }

  struct Customer {
    let id: CustomerID
    let identifierCount: Int
    let mergeCount: Int
    let counts: [Held]
  }

  private struct Sum {
    let number: UInt64
    let kind: IdentifierKind
    /// Identifiers, new ones included.
    var count = 0
    var newCount = 0
    /// Customers that have some.
    var holderCount = 0

    var isExceeded: Bool { (newCount > 0 || holderCount > 1) && count > kind.limit.count }
  }

  private var customers: [Customer] = []
  private var sums: [Sum] = []
  private var newCount = 0

  mutating func add(_ customer: Customer) {
    customers.append(customer)
    for held in customer.counts {
      let index = index(of: held.number, held.kind)
      sums[index].count += held.count
      sums[index].holderCount += 1
    }
  }

  mutating func remove(_ id: CustomerID) {
    guard let place = customers.firstIndex(where: { $0.id == id }) else { return }
    for held in customers.remove(at: place).counts {
      let index = index(of: held.number, held.kind)
      sums[index].count -= held.count
      sums[index].holderCount -= 1
    }
  }

  mutating func addNew(_ kind: IdentifierKind, _ number: UInt64) {
    let index = index(of: number, kind)
    sums[index].count += 1
    sums[index].newCount += 1
    newCount += 1
  }

  mutating func removeNew(_ number: UInt64) {
    guard let index = sums.firstIndex(where: { $0.number == number }) else { return }
    sums[index].count -= 1
    sums[index].newCount -= 1
    newCount -= 1
  }

  /// The first limit that the join would exceed.
  func exceeded(_ limits: MatchLimits) -> ExceededLimit? {
    guard newCount > 0 || customers.count > 1 else { return nil }
    var first: Sum?
    for sum in sums where sum.isExceeded && first.map({ sum.kind.precedes($0.kind) }) ?? true { first = sum }
    if let first { return .kind(first.number) }
    if customers.reduce(newCount, { $0 + $1.identifierCount }) > limits.identifierCountMax { return .identifiers }
    guard customers.count > 1 else { return nil }
    return customers.reduce(customers.count - 1) { $0 + $1.mergeCount } > limits.mergeCountMax ? .merges : nil
  }

  private mutating func index(of number: UInt64, _ kind: IdentifierKind) -> Int {
    if let index = sums.firstIndex(where: { $0.number == number }) { return index }
    sums.append(Sum(number: number, kind: kind))
    return sums.count - 1
  }
}
