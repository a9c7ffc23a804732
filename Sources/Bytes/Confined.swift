// State of an object that one thread uses at a time, without the run-time's exclusivity checks.
//
// Swift checks at run time that no two accesses to a class's stored property overlap. Where a fold touches a dozen
// properties for each of millions of rows, the checks were 15 % of its time. Here they are left out, so the owner must
// see to what they would have found.
//
// Invariants, kept by whoever holds one:
// - One thread at a time.
// - No access while a mutating access is under way: no closure that is given a part of the value may reach the value
//   again by another way.

/// A value in a place of its own. Its owner is one object.
@safe public struct Confined<Value: ~Copyable>: ~Copyable {
  @usableFromInline let pointer: UnsafeMutablePointer<Value>

  /// Moves a value in.
  @inlinable
  public init(_ value: consuming Value) {
    unsafe pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    unsafe pointer.initialize(to: value)
  }

  @inlinable
  deinit {
    unsafe pointer.deinitialize(count: 1)
    unsafe pointer.deallocate()
  }

  /// The value, where it lies.
  @inlinable public var value: Value {
    _read { yield unsafe pointer.pointee }
    nonmutating _modify { yield unsafe &pointer.pointee }
  }
}
