// Spellings of the command line that the parser does not know by itself.

/// Flags that take True or False, and may stand bare or as `--no_…`.
private let switches: Set = [
  "softmax_topk_val", "coordinate_encoding", "augment", "shuffle", "decay_all", "overlap",
]

/// Rewrites arguments for the parser:
/// - `--num-heads 3` as `--num_heads 3`, `-h` untouched;
/// - `--shuffle`, `--shuffle False`, `--no_shuffle` as `--shuffle=True` or `--shuffle=False`;
/// - `--flag -1` as `--flag=-1`, because the parser would take -1 for a flag.
func normalizeArguments(_ words: [String]) -> [String] {
  var result: [String] = []
  var index = 0
  while index < words.count {
    let word = words[index]
    index += 1
    guard word.hasPrefix("--"), word.count > 2 else {
      result.append(word)
      continue
    }
    if word == "--generate-completion-script" {
      result.append(word)
      continue
    }
    let parts = word.dropFirst(2).split(
      separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts[0].replacing("-", with: "_"))
    let value = parts.count > 1 ? String(parts[1]) : nil
    let next = index < words.count ? words[index] : nil
    if switches.contains(name) {
      if let value {
        result.append("--\(name)=\(value)")
      } else if let next, !next.hasPrefix("-") {
        result.append("--\(name)=\(next)")
        index += 1
      } else {
        result.append("--\(name)=True")
      }
    } else if name.hasPrefix("no_"), value == nil, switches.contains(String(name.dropFirst(3))) {
      result.append("--\(name.dropFirst(3))=False")
    } else if value == nil, let next, isNegativeNumber(next) {
      result.append("--\(name)=\(next)")
      index += 1
    } else {
      result.append("--\(name)" + (value.map { "=\($0)" } ?? ""))
    }
  }
  return result
}

private func isNegativeNumber(_ word: String) -> Bool {
  word.hasPrefix("-") && Double(word) != nil
}
