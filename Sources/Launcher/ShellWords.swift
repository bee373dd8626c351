// Words as a shell reads them back.

enum ShellWords {
  static func quoted(_ words: [String]) -> String { words.map(quoted).joined(separator: " ") }

  static func quoted(_ word: String) -> String {
    guard !word.isEmpty else { return "''" }
    if word.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) {
      return "$'" + word.unicodeScalars.map(escaped).joined() + "'"
    }
    var text = "#~".contains(word.first!) ? "\\" : ""
    for character in word {
      if special.contains(character) { text.append("\\") }
      text.append(character)
    }
    return text
  }

  private static let special = Set(" '\"\\|&;()<>!{}*[]?^$`,")

  private static func escaped(_ scalar: Unicode.Scalar) -> String {
    switch scalar {
    case "\n": return "\\n"
    case "\t": return "\\t"
    case "'": return "\\'"
    case "\\": return "\\\\"
    case _ where scalar.value < 32 || scalar.value == 127:
      let octal = String(scalar.value, radix: 8)
      return "\\" + String(repeating: "0", count: 3 - octal.count) + octal
    default: return String(scalar)
    }
  }
}
