// The launcher's own options, taken out of the command line; the rest is the program's.
import Diagnostics

struct RunOptions: Equatable {
  var ranks: Int?
  var threads: Int?
  var hostfile: String?
  var hosts: String?
  var maxRestarts = 0
  var minRanks: Int?
  /// Seconds for a checkpoint after a signal.
  var grace = 120
  /// In any form of a number: the launcher only passes it on.
  var stallTimeout: String?
  var keepsRankLogs = false
  var isDryRun = false
  var mpiArguments: [String] = []
  /// Of the program; nil: none was given.
  var command: String?
  /// The program's words, as they came.
  var flags: [String] = []

  static let commands: Set = [
    "train", "evaluate", "predict", "verify", "bench", "data", "fuzz", "help",
  ]
  private static let optionsWithValue: Set = [
    "-np", "-n", "--ranks", "--threads", "--hostfile", "--host", "--max_restarts", "--min_ranks",
    "--grace", "--stall_timeout", "--mpi_args",
  ]

  /// - Throws: `RunError`: usage for what is no value, configuration for one that cannot be.
  init(_ arguments: [String]) throws {
    var words = arguments[...]
    while let word = words.popFirst() {
      let (option, joined) = Self.split(word)
      guard Self.optionsWithValue.contains(option) else {
        takeWord(word, option: option)
        continue
      }
      guard let value = joined ?? words.popFirst() else {
        throw RunError(.usage, "\(word) needs a value.")
      }
      try takeOption(option, value)
    }
  }

  /// The option in its usual spelling, and the value behind its "=".
  private static func split(_ word: String) -> (option: String, value: String?) {
    guard word.hasPrefix("-") else { return (word, nil) }
    let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    var option = String(parts[0])
    if option.hasPrefix("--") {
      option = "--" + option.dropFirst(2).map { $0 == "-" ? "_" : String($0) }.joined()
    }
    return (option, parts.count > 1 ? String(parts[1]) : nil)
  }

  private mutating func takeWord(_ word: String, option: String) {
    if option == "--per_rank_logs" {
      keepsRankLogs = true
    } else if option == "--dry_run" {
      isDryRun = true
    } else if command == nil, flags.isEmpty, Self.commands.contains(word) {
      command = word
    } else {
      flags.append(word)
    }
  }

  private mutating func takeOption(_ option: String, _ value: String) throws {
    switch option {
    case "-np", "-n", "--ranks": ranks = try OptionValue.wholeNumber(option, value, atLeast: 1)
    case "--threads": threads = try OptionValue.wholeNumber(option, value, atLeast: 1)
    case "--hostfile": hostfile = value.isEmpty ? nil : value
    case "--host": hosts = value.isEmpty ? nil : value
    case "--max_restarts": maxRestarts = try OptionValue.wholeNumber(option, value, atLeast: 0)
    case "--min_ranks": minRanks = try OptionValue.wholeNumber(option, value, atLeast: 1)
    case "--grace": grace = try OptionValue.wholeNumber(option, value, atLeast: 0)
    case "--stall_timeout":
      try OptionValue.checkSeconds(option, value)
      stallTimeout = value
    case "--mpi_args": mpiArguments = try OptionValue.words(option, value)
    default: preconditionFailure("\(option) takes a value")
    }
  }
}
