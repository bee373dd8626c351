// The hosts that the user names, and how many ranks they have room for.
import Diagnostics
import Foundation

struct HostList: Equatable {
  struct Host: Equatable {
    let name: String
    let slots: Int
  }

  var hosts: [Host]
  /// mpirun's words for them.
  let words: [String]

  /// Ranks that the hosts have room for.
  var slots: Int { hosts.reduce(0) { $0 + $1.slots } }

  /// A list like a:2,b:2.
  init(hosts: [Host]) {
    self.hosts = hosts
    words = ["--host", hosts.map { "\($0.name):\($0.slots)" }.joined(separator: ",")]
  }

  /// Of `--host` or `--hostfile`; nil if there is neither.
  init?(_ options: RunOptions) throws {
    switch (options.hosts, options.hostfile) {
    case (nil, nil): return nil
    case (_?, _?):
      throw RunError.configuration("--host and --hostfile both name hosts. Give one of them.")
    case (let list?, nil): try self.init(list: list)
    case (nil, let file?): try self.init(file: file)
    }
  }

  private init(list: String) throws {
    hosts = try list.split(separator: ",", omittingEmptySubsequences: false).map { part in
      guard let match = part.wholeMatch(of: /([A-Za-z0-9_.-]+)(?::([0-9]{1,9}))?/) else {
        throw RunError.configuration(
          "--host \(list) is not understood. Expected something like a:2,b:2")
      }
      return Host(name: String(match.1), slots: match.2.flatMap { Int($0) } ?? 1)
    }
    words = ["--host", list]
    guard slots > 0 else {
      throw RunError.configuration("--host \(list) has no slots. Expected something like a:2,b:2")
    }
  }

  private init(file: String) throws {
    let expected = "Expected lines like: node-a slots=4"
    guard let text = Machine.text(ofFile: file) else {
      throw RunError.configuration("--hostfile \(file) cannot be read. \(expected)")
    }
    hosts = []
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .enumerated()
    {
      let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
      guard let name = words.first else { continue }
      let settings = words.dropFirst()
      guard name.wholeMatch(of: /[A-Za-z0-9_.-]+/) != nil,
        settings.allSatisfy({ $0.wholeMatch(of: /(max_slots|max-slots|slots)=[0-9]{1,9}/) != nil })
      else {
        throw RunError.configuration("--hostfile \(file), line \(index + 1): \(line). \(expected)")
      }
      let slots = settings.first { $0.hasPrefix("slots=") }?.dropFirst("slots=".count)
      hosts.append(Host(name: String(name), slots: slots.flatMap { Int($0) } ?? 1))
    }
    words = ["--hostfile", file]
    guard slots > 0 else {
      throw RunError.configuration("--hostfile \(file) names no host. \(expected)")
    }
  }
}
