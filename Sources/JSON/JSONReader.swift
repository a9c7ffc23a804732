// Why this file exists: validates whole JSON texts with simdjson and reads their fields in place, without trees of Swift
// values. Invariants:
// - the reader reads its own copy of the text, and its nodes are valid until the next `parse`;
// - an index out of the current parse's nodes traps; everything else rests on the validated grammar;
// - names and strings are compared as UTF-8 bytes after unescaping, never by Unicode equivalence.

import CSimdJSON

/// A value (or an object's key) of the text that a ``JSONReader`` parsed last.
public struct JSONNode: Equatable, Hashable, Sendable {
  /// The place in the order of the text; the root is 0.
  public let index: UInt32

  @inlinable init(_ index: UInt32) { self.index = index }
}

/// The kinds of JSON values. A key is a `string`.
public enum JSONKind: UInt8, Sendable {
  /// `null`
  case null
  /// `true`, `false`
  case bool
  /// Any number of the grammar, whatever its size.
  case number
  /// A string, or the name of a member.
  case string
  /// `[…]`
  case array
  /// `{…}`
  case object
}

/// The layout of `struct csimdjson_node`, 16 bytes; a test compares the two.
@usableFromInline
struct IndexedNode: Sendable {
  /// First byte: behind the opening quote for strings.
  @usableFromInline var offset: UInt32
  /// Bytes, without the quotes for strings.
  @usableFromInline var byteCount: UInt32
  /// Index of the first node behind this one's subtree.
  @usableFromInline var next: UInt32
  @usableFromInline var kind: UInt8
  /// 1 if the string has a backslash in it.
  @usableFromInline var escaped: UInt8
  @usableFromInline var reserved: UInt16
}

/// Reads one JSON text at a time, again and again, reusing its memory.
///
/// Accepts exactly RFC 8259 in UTF-8 without a byte order mark; numbers have no limits, since they are kept as text.
/// Lone surrogates in `\u` escapes are refused. Keep one reader per thread and reuse it: it allocates while texts grow,
/// then no more. It holds about 20 bytes of address space per byte of the largest text it has seen, so drop one that
/// read a huge text.
@safe public struct JSONReader: ~Copyable {
  /// The longest text, in bytes: 64 MiB.
  public static var byteCountMax: Int { 64 << 20 }
  /// How many arrays and objects may stand inside each other.
  public static var depthMax: Int { Int(CSIMDJSON_DEPTH_MAX) }

  private let parser: OpaquePointer
  @usableFromInline var nodes: UnsafePointer<IndexedNode>
  @usableFromInline var nodeCount: UInt32
  @usableFromInline var text: UnsafeRawPointer

  /// Makes a reader that has read nothing yet. Traps if there is no memory (about 100 KiB).
  public init() {
    guard let parser = unsafe csimdjson_create() else { preconditionFailure("no memory for a JSON reader") }
    unsafe self.parser = parser
    unsafe nodes = UnsafeRawPointer(csimdjson_nodes(parser)).assumingMemoryBound(to: IndexedNode.self)
    unsafe text = UnsafeRawPointer(csimdjson_text(parser))
    nodeCount = 0
  }

  deinit { unsafe csimdjson_destroy(parser) }

  /// Copies, validates and indexes a text. Afterwards nodes of earlier texts are meaningless, also if this one is refused.
  ///
  /// - Complexity: O(bytes), about 1 GB/s; texts with numbers beyond 64 bits or a double are validated twice.
  /// - Returns: The root value.
  /// - Throws: ``JSONError`` with the first byte that breaks the grammar.
  public mutating func parse(_ text: RawSpan) throws(JSONError) -> JSONNode {
    nodeCount = 0
    guard text.byteCount <= Self.byteCountMax else { throw JSONError(reason: .tooLarge, offset: nil) }
    var errorOffset = 0
    let verdict = unsafe text.withUnsafeBytes { bytes in
      unsafe csimdjson_parse(parser, bytes.baseAddress, bytes.count, &errorOffset)
    }
    unsafe nodes = UnsafeRawPointer(csimdjson_nodes(parser)).assumingMemoryBound(to: IndexedNode.self)
    unsafe self.text = UnsafeRawPointer(csimdjson_text(parser))
    if verdict != CSIMDJSON_VALID {
      let reason = JSONError.Reason(rawValue: UInt8(truncatingIfNeeded: verdict.rawValue)) ?? .refused
      let isPlaced = reason != .outOfMemory && reason != .refused
      throw JSONError(reason: reason, offset: isPlaced ? errorOffset : nil)
    }
    nodeCount = UInt32(truncatingIfNeeded: unsafe csimdjson_node_count(parser))
    return JSONNode(0)
  }
}

// The parser is owned by this value alone: `parse` and the end of life have exclusive access, all else only reads.
extension JSONReader: @unchecked Sendable {}

// MARK: - Walking

extension JSONReader {
  @inlinable func indexed(_ node: JSONNode) -> IndexedNode {
    precondition(node.index < nodeCount, "a JSON node of another text")
    return unsafe nodes[Int(node.index)]
  }

  /// The kind of a value; `.string` for a key.
  @inlinable public func kind(of node: JSONNode) -> JSONKind {
    guard let kind = JSONKind(rawValue: indexed(node).kind) else { preconditionFailure("a kind that the shim does not write") }
    return kind
  }

  /// The first element of an array, the first key of an object; `nil` if there is none or `node` is neither.
  @inlinable public func firstChild(of node: JSONNode) -> JSONNode? {
    indexed(node).next > node.index + 1 ? JSONNode(node.index + 1) : nil
  }

  /// The node behind `node` and all inside it, in the same container; `nil` at its end.
  ///
  /// In an object the next of a key is its value, the next of a value is the next key.
  @inlinable public func next(after node: JSONNode, in parent: JSONNode) -> JSONNode? {
    let next = indexed(node).next
    return next < indexed(parent).next ? JSONNode(next) : nil
  }

  /// The value of the member whose name is `key`, a node that an object's walk gave as a key.
  @inlinable public func value(ofKey key: JSONNode) -> JSONNode {
    let value = JSONNode(key.index + 1)
    precondition(value.index < nodeCount, "not a key")
    return value
  }

  /// How many elements an array or members an object has; 0 for other kinds.
  ///
  /// - Complexity: O(children).
  @inlinable public func childCount(of node: JSONNode) -> Int {
    let container = indexed(node)
    var count = 0
    var index = node.index + 1
    while index < container.next {
      index = unsafe nodes[Int(index)].next
      count += 1
    }
    return container.kind == JSONKind.object.rawValue ? count / 2 : count
  }

  /// Visits the members of an object in the order of the text, duplicates included; nothing for other kinds.
  @inlinable public func forEachMember<E: Error>(
    of object: JSONNode, _ body: (_ key: JSONNode, _ value: JSONNode) throws(E) -> Void
  ) throws(E) {
    let container = indexed(object)
    guard container.kind == JSONKind.object.rawValue else { return }
    var index = object.index + 1
    while index < container.next {
      try body(JSONNode(index), JSONNode(index + 1))
      index = unsafe nodes[Int(index + 1)].next
    }
  }

  /// Visits the elements of an array in order; nothing for other kinds.
  @inlinable public func forEachElement<E: Error>(of array: JSONNode, _ body: (JSONNode) throws(E) -> Void) throws(E) {
    let container = indexed(array)
    guard container.kind == JSONKind.array.rawValue else { return }
    var index = array.index + 1
    while index < container.next {
      try body(JSONNode(index))
      index = unsafe nodes[Int(index)].next
    }
  }

  /// The value of the first member with that (unescaped) name; `nil` if there is none or `object` is no object.
  @inlinable public func member(_ name: StaticString, of object: JSONNode) -> JSONNode? {
    let container = indexed(object)
    guard container.kind == JSONKind.object.rawValue else { return nil }
    var index = object.index + 1
    while index < container.next {
      if equals(JSONNode(index), name) { return JSONNode(index + 1) }
      index = unsafe nodes[Int(index + 1)].next
    }
    return nil
  }
}

// MARK: - For tests

/// What the byte-by-byte grammar says of a text, without simdjson: `nil` if it is JSON. Tests compare the two.
func locateError(in text: RawSpan) -> JSONError? {
  var offset = 0
  let verdict = unsafe text.withUnsafeBytes { unsafe csimdjson_locate($0.baseAddress, $0.count, &offset) }
  guard verdict != CSIMDJSON_VALID else { return nil }
  return JSONError(reason: JSONError.Reason(rawValue: UInt8(truncatingIfNeeded: verdict.rawValue)) ?? .refused, offset: offset)
}

/// The layouts that must agree: (stride, offsets of kind and next) of the Swift mirror and of the C struct.
var nodeLayouts: (swift: [Int?], c: [Int?]) {
  (
    [
      MemoryLayout<IndexedNode>.stride, MemoryLayout<IndexedNode>.offset(of: \.byteCount), MemoryLayout<IndexedNode>.offset(of: \.next),
      MemoryLayout<IndexedNode>.offset(of: \.kind), MemoryLayout<IndexedNode>.offset(of: \.escaped),
    ],
    [
      MemoryLayout<csimdjson_node>.stride, MemoryLayout<csimdjson_node>.offset(of: \.length),
      MemoryLayout<csimdjson_node>.offset(of: \.next), MemoryLayout<csimdjson_node>.offset(of: \.kind),
      MemoryLayout<csimdjson_node>.offset(of: \.escaped),
    ]
  )
}
