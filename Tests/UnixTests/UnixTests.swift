// The operating system's word on users, groups and peers, against what this process knows of itself.

import Glibc
import Testing
import Unix

@Suite struct AccountTests {
  @Test func `users and groups are found by name, and missing ones are none`() throws {
    #expect(try Accounts.user(named: "root") == 0)
    #expect(try Accounts.group(named: "root") == 0)
    #expect(try Accounts.user(named: "no-such-user-here") == nil)
    #expect(try Accounts.group(named: "no-such-group-here") == nil)
  }

  @Test func `the kernel names the peer of a Unix socket`() throws {
    var pair: [Int32] = [0, 0]
    try #require(unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
    defer { for socket in pair { close(socket) } }
    let peer = try #require(try PeerCredentials.ofPeer(socket: pair[0]))
    #expect(peer.process == getpid())
    #expect(peer.user == geteuid())
    #expect(peer.group == getegid())
    #expect(peer.isMember(of: getegid()))
    #expect(!peer.isMember(of: 4_000_000_000))
  }

  @Test func `a TCP socket has no peer with a user`() throws {
    let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    #expect(try PeerCredentials.ofPeer(socket: socket) == nil)
  }

  @Test func `what is no socket is an error that names the call`() {
    #expect(throws: UnixError.self) { try PeerCredentials.ofPeer(socket: -1) }
    let error = #expect(throws: UnixError.self) { try Accounts.group(ofFile: "/no/such/file") }
    #expect(error?.description == "stat /no/such/file: No such file or directory")
  }
}
