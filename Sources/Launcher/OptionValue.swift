// Values of the launcher's options: what they may be.
import Diagnostics

enum OptionValue {
  static func wholeNumber(_ option: String, _ value: String, atLeast least: Int) throws -> Int {
    let expected = "expected a whole number of at least \(least)."
    guard value.wholeMatch(of: /-?[0-9]{1,9}/) != nil, let number = Int(value) else {
      throw RunError(.usage, "\(option) is \(value.isEmpty ? "empty" : value): \(expected)")
    }
    guard number >= least else {
      throw RunError(.configuration, "\(option) is \(value): \(expected)")
    }
    return number
  }

  /// A number above 0, of any form that the program understands.
  static func checkSeconds(_ option: String, _ value: String) throws {
    let expected = "expected a number of seconds above 0."
    let form = /(?<sign>-?)(?<digits>[0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?/
    guard let match = value.wholeMatch(of: form) else {
      throw RunError(.usage, "\(option) is \(value.isEmpty ? "empty" : value): \(expected)")
    }
    guard match.sign.isEmpty, match.digits.contains(where: { "1"..."9" ~= $0 }) else {
      throw RunError(.configuration, "\(option) is \(value): \(expected)")
    }
  }

  /// Splits at blanks outside of quotes, as a shell does; nothing is expanded.
  static func words(_ option: String, _ value: String) throws -> [String] {
    var words: [String] = []
    var word: String?
    var rest = value[...]
    while let first = rest.first {
      let taken: Substring
      if first.isWhitespace {
        if let word { words.append(word) }
        word = nil
        rest.removeFirst()
        continue
      } else if first == "'" || first == "\"" {
        guard let end = rest.dropFirst().firstIndex(of: first) else {
          throw unfinished(option, value, at: rest)
        }
        taken = rest[rest.index(after: rest.startIndex)..<end]
        rest = rest[rest.index(after: end)...]
      } else if first == "\\" {
        taken = rest.dropFirst().prefix(1)
        guard !taken.isEmpty else { throw unfinished(option, value, at: rest) }
        rest = rest.dropFirst(2)
      } else {
        taken = rest.prefix { !$0.isWhitespace && !"'\"\\".contains($0) }
        rest = rest.dropFirst(taken.count)
      }
      word = (word ?? "") + taken
    }
    if let word { words.append(word) }
    return words
  }

  private static func unfinished(
    _ option: String, _ value: String, at rest: Substring
  ) -> RunError {
    RunError(
      .usage,
      "\(option) is \(value): a quote or a backslash without an end, at \(rest.prefix(20))")
  }
}
