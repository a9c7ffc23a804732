// Reads anew who may do what, when the daemon is told to (SIGHUP, which `systemctl reload` sends): a token is given and taken
// back without a restart.
//
// Invariants:
// - All of the new grants are put in force, or none: whatever is wrong with them, the old ones stay.
// - No line of the log holds a token, its hash, or anything else that a file of tokens says but names.

import LedgerServer
import Logging
import ServiceLifecycle
import Threads
import Unix
import UnixSignals

struct Reloader: Service {
  /// Reads the configuration again, from where it came.
  let reread: @Sendable () throws(ConfigurationErrors) -> LoadedConfiguration
  /// What the daemon runs with.
  let running: Configuration
  let access: Access
  let environment: [String: String]
  let logger: Logger

  func run() async throws {
    for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
      await onThread("ledger-reload") { reload() }
    }
  }

  private func reload() {
    // The service manager waits between the two (sd_notify(3)).
    notify("RELOADING=1\nMONOTONIC_USEC=\(MonotonicClock.nanoseconds() / 1_000)")
    defer { notify("READY=1") }
    do throws(ConfigurationErrors) {
      let configuration = try reread().configuration
      let grants = try configuration.makeGrants()
      access.replace(grants)
      logger.notice(
        "who may do what was read anew", metadata: ["access": "\(grants.rules.count)", "tokens": "\(grants.tokens.count)"])
      for name in Self.settingsThatWait(running, configuration) {
        logger.warning("a setting has changed and needs a restart", metadata: ["setting": "\(name)"])
      }
    } catch {
      for error in error.errors {
        logger.error("who may do what was not read anew, and stays as it was", metadata: ["reason": "\(error)"])
      }
    }
  }

  /// What differs, and is not read anew.
  static func settingsThatWait(_ running: Configuration, _ new: Configuration) -> [String] {
    Setting.all.filter { $0.name != "token-file" && $0.read(running) != $0.read(new) }.map(\.name)
  }

  private func notify(_ text: String) {
    do throws(UnixError) {
      try Systemd.notify(text, environment)
    } catch {
      logger.warning("the service manager cannot be told of a reload", metadata: ["error": "\(error)"])
    }
  }
}
