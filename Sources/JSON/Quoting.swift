// Why this file exists: a UTF-8 text between quotes with the fewest escapes (RFC 8785 §3.2.2.2): quote, backslash and the
// controls below U+0020, lower-case hexadecimal. Both the writer and the canonical form write strings so.

func append(_ span: RawSpan, to bytes: inout [UInt8]) {
  unsafe span.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
}

func appendQuoted(_ utf8: RawSpan, to bytes: inout [UInt8]) {
  unsafe utf8.withUnsafeBytes { unsafe appendQuoted($0, to: &bytes) }
}

func appendQuoted(_ text: String, to bytes: inout [UInt8]) {
  var text = text
  text.withUTF8 { unsafe appendQuoted(UnsafeRawBufferPointer($0), to: &bytes) }
}

private func appendQuoted(_ utf8: UnsafeRawBufferPointer, to bytes: inout [UInt8]) {
  bytes.append(UInt8(ascii: "\""))
  var written = 0
  for i in 0..<utf8.count {
    let byte = unsafe utf8[i]
    if byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") { continue }
    unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: utf8[written..<i]))
    appendEscape(byte, to: &bytes)
    written = i + 1
  }
  unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: utf8[written...]))
  bytes.append(UInt8(ascii: "\""))
}

private func appendEscape(_ byte: UInt8, to bytes: inout [UInt8]) {
  bytes.append(UInt8(ascii: "\\"))
  switch byte {
  case 0x08: bytes.append(UInt8(ascii: "b"))
  case 0x09: bytes.append(UInt8(ascii: "t"))
  case 0x0A: bytes.append(UInt8(ascii: "n"))
  case 0x0C: bytes.append(UInt8(ascii: "f"))
  case 0x0D: bytes.append(UInt8(ascii: "r"))
  case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
  default:
    let hexadecimal = Array("0123456789abcdef".utf8)
    bytes += [UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0"), hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
  }
}
