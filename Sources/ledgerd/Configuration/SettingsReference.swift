// The settings for people: the reference page, the help of the commands, and what is in force. All from the table.

import LedgerServer

enum SettingsReference {
  /// The page `Reference/Settings.md`.
  static var page: String {
    var text = """
      # Settings

      Every setting of `ledgerd`. This page is made by `ledgerd config reference`.

      A setting can be given as a flag (`--name value`), as a variable in the environment (`LEDGER_NAME`, in capitals with
      underscores for dashes), or as a line `name: value` in a YAML file that `--config` or `LEDGER_CONFIG` names. The flag wins over
      the environment, the environment over the file, the file over the default. A name that there is not, a value out of range and a
      name given twice are refused, with file and line. Bytes may be written with `KiB`, `MiB` or `GiB`.

      `ledgerd config check` says what is wrong with a configuration, `ledgerd config show` what is in force and where each value came
      from. Settings are read at the start; restart the daemon to change them. Who may do what (the list `access` and
      `token-file`) is also read when the daemon gets SIGHUP, as `systemctl reload ledgerd` sends it: see below.

      """
    for section in Setting.Section.allCases {
      text += "\n## \(section.rawValue)\n\n| name | default | values | what it is for |\n|---|---|---|---|\n"
      for setting in Setting.all where setting.section == section {
        text += "| `\(setting.name)` | \(setting.defaultText) | \(escaped(setting.range)) | \(escaped(setting.help)) |\n"
      }
      if section == .access { text += accessText }
    }
    return text
  }

  private static func escaped(_ text: String) -> String {
    text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
  }

  private static let accessText = """

    ### Who may do what on the socket

    The daemon's own user and root may do everything. Then the list `access`, which only a file can hold, is asked: its first entry that
    names the caller decides alone. Then members of the socket's group may append and read. Nobody else may do anything.

    <!-- not run: it needs these users -->
    ```yaml
    access:
      - user: web-adapter          # a name or a number; or group: …
        roles: [append]            # \(ConfigurationReader.roleNames)
        sources: ['urn:web:']      # events of these sources only, by how they begin; left out: of every source
      - group: analysts
        roles: [analyst]
    ```

    | role | may |
    |---|---|
    | `append` | append events, of its sources |
    | `read` | read events, views, states and metrics |
    | `analyst` | read, and rebuild projections |
    | `admin` | everything |

    A user who is not in the socket's group cannot connect at all unless `socket-mode` is 0666. `/healthz` and
    `/readyz` answer everybody who can connect.

    ### Who may do what on TCP

    Whoever sends a token that is in `token-file` (`Authorization: Bearer …`):

    ```sh
    ledgerd token new --token-file tokens.yaml --name web --role append --source urn:web:
    ```

    The token is shown once; the file keeps its SHA-256, its roles and its sources. The daemon refuses a file that others can read.

    ### Changing it while the daemon runs

    Change the list `access` or the file of tokens, and say so:

    <!-- not run: it needs the service -->
    ```sh
    systemctl reload ledgerd       # or kill -HUP
    ```

    The new grants are in force for the next request of everybody, also on connections that are open; a stream that is under way goes on as it
    was admitted. If anything is wrong with the new ones, all of the old ones stay, and the log says what is wrong, with file and line. Other
    settings that have changed need a restart; the log names them.

    """

  /// The flags, for the help of a command.
  static var flags: String {
    var text = "Settings (each also as LEDGER_… in the environment and as a line in the file; see ledgerd config reference):\n"
    for setting in Setting.all {
      text += "\n  \(setting.flag) <\(setting.placeholder)>\n"
      text += wrapped("\(setting.help) \(sentence(setting.range)) Default: \(setting.defaultText).", indent: 10, width: 78)
    }
    return text
  }

  private static func sentence(_ range: String) -> String { range.prefix(1).uppercased() + range.dropFirst() + "." }

  private static func wrapped(_ text: String, indent: Int, width: Int) -> String {
    let margin = String(repeating: " ", count: indent)
    var (lines, line) = ("", "")
    for word in text.split(separator: " ") {
      if !line.isEmpty, indent + line.count + 1 + word.count > width {
        lines += margin + line + "\n"
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    return lines + margin + line + "\n"
  }
}

extension LoadedConfiguration {
  /// What is in force and where it came from: YAML that could be a file.
  var shown: String {
    var rows: [(value: String, origin: String)] = Setting.all.map { setting in
      guard let value = setting.read(configuration) else { return ("# \(setting.name) is not set", "") }
      return ("\(setting.name): \(Self.scalar(value))", origin(of: setting.name).description)
    }
    if configuration.access.isEmpty {
      rows.append(("# access has no entries", ""))
    } else {
      rows.append(("access:", ""))
    }
    for entry in configuration.access {
      let subject =
        switch entry.subject {
        case .user(let name): "user: \(Self.scalar(name))"
        case .group(let name): "group: \(Self.scalar(name))"
        }
      let roles = Roles.byName.filter { entry.roles.contains($0.role) }.map(\.name).joined(separator: ", ")
      let sources = entry.sources.map { ", sources: [\($0.map(Self.scalar).joined(separator: ", "))]" } ?? ""
      rows.append(("  - {\(subject), roles: [\(roles)]\(sources)}", entry.place))
    }
    let width = rows.map(\.value.count).filter { $0 < 60 }.max() ?? 0
    return rows.map { row in
      guard !row.origin.isEmpty else { return row.value + "\n" }
      return row.value + String(repeating: " ", count: max(1, width - row.value.count + 2)) + "# \(row.origin)\n"
    }.joined()
  }

  /// A value as YAML: quoted unless it is plainly a word, a number or a path.
  private static func scalar(_ text: String) -> String {
    let isPlain =
      !text.isEmpty
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
          || [0x2d, 0x2e, 0x2f, 0x5f].contains(byte)
      }
    return isPlain && !text.hasPrefix("-") || Int(text) != nil
      ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
  }
}
