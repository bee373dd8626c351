// Text and numbers as a page shows them.
import Foundation

/// 1234567 -> 1,234,567.
public func grouped(_ value: Int) -> String {
  let digits = String(value.magnitude)
  var result = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0 { result.append(",") }
    result.append(digit)
  }
  return (value < 0 ? "\u{2212}" : "") + result
}

enum Markup {
  /// Text for an element or a quoted attribute; characters that XML forbids become U+FFFD.
  static func escape(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result.append(contentsOf: "&amp;".unicodeScalars)
      case "<": result.append(contentsOf: "&lt;".unicodeScalars)
      case ">": result.append(contentsOf: "&gt;".unicodeScalars)
      case "\"": result.append(contentsOf: "&quot;".unicodeScalars)
      case "'": result.append(contentsOf: "&#39;".unicodeScalars)
      case "\t", "\n", "\r": result.append(scalar)
      case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{fffe}", "\u{ffff}":
        result.append("\u{fffd}")
      default: result.append(scalar)
      }
    }
    return String(result)
  }

  /// A dash for what is no number.
  static func fixed(_ value: Double, _ decimals: Int) -> String {
    value.isFinite ? String(format: "%.\(decimals)f", value) : "\u{2013}"
  }

  /// Three significant digits, in powers of ten where there would be many zeros: 0.05, 1.2e-5.
  static func short(_ value: Double) -> String {
    guard value.isFinite else { return "\u{2013}" }
    let parts = String(format: "%.3g", value).split(separator: "e")
    guard parts.count == 2, let exponent = Int(parts[1]) else { return parts.joined() }
    return "\(parts[0])e\(exponent)"
  }

  /// Whole numbers from 100 on: 9,530, 12.3.
  static func rate(_ perSecond: Double) -> String {
    guard perSecond.isFinite else { return "\u{2013}" }
    return perSecond < 99.95
      ? String(format: "%.1f", perSecond) : grouped(Int(min(perSecond.rounded(), 1e15)))
  }

  static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite else { return "\u{2013}" }
    if seconds < 1 { return String(format: "%.3g ms", seconds * 1000) }
    if seconds < 60 { return String(format: seconds < 10 ? "%.2f s" : "%.1f s", seconds) }
    let whole = Int(min(seconds.rounded(), 1e15))
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(grouped(whole / 3600)) h \(whole / 60 % 60) min"
  }
}
