// What the launcher has to know of the program's command and flags.
import Conventions

struct ProgramFlags: Equatable {
  let command: String
  let words: [String]

  /// The last value of a flag, in any spelling; nil if there is none, or an empty one.
  func value(of flag: String) -> String? {
    let spellings = ["--" + flag, "--" + flag.map { $0 == "_" ? "-" : String($0) }.joined()]
    var found: Substring?
    for (index, word) in words.enumerated() {
      if let spelling = spellings.first(where: { word.hasPrefix($0 + "=") }) {
        found = word.dropFirst(spelling.count + 1)
      } else if index > 0, spellings.contains(words[index - 1]) {
        found = word[...]
      }
    }
    return found.flatMap { $0.isEmpty ? nil : String($0) }
  }

  private func number(of flag: String) -> Int? {
    value(of: flag).flatMap { $0.wholeMatch(of: /\+?[0-9]{1,9}/) == nil ? nil : Int($0) }
  }

  var trains: Bool { command == "train" && !onlyTests }
  private var onlyTests: Bool {
    words.contains { $0.hasPrefix("--test_only") || $0.hasPrefix("--test-only") }
  }

  var batchSize: Int {
    number(of: "batch_size")
      ?? (command == "bench" ? RunConventions.benchBatchSize : RunConventions.batchSize)
  }

  /// The number of shards that the user gives; nil: it follows from the batch.
  var givenShards: Int? { number(of: "shards").flatMap { $0 > 0 ? $0 : nil } }

  /// Shards of the batch; nil where no batch is shared.
  var shards: Int? {
    guard trains || command == "bench" else { return nil }
    return givenShards ?? RunConventions.shards(ofBatch: batchSize)
  }

  var outputFolder: String {
    value(of: "output_dir")
      ?? RunConventions.outputFolder(
        layer: value(of: "layer") ?? "Attention", dataset: value(of: "dataset") ?? "cifar10")
  }
}
