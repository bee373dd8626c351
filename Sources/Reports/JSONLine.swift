// Lines of JSON whose keys keep their order.
import Foundation

/// A JSON value that keeps the order of its keys.
public enum JSONValue: Sendable {
  case text(String)
  case integer(Int)
  case number(Double)
  case truth(Bool)

  var text: String {
    switch self {
    case .text(let text):
      let data = try? JSONEncoder().encode(text)
      return String(decoding: data ?? Data("\"\"".utf8), as: UTF8.self)
    case .integer(let value): return String(value)
    case .truth(let value): return value ? "true" : "false"
    // JSON has no infinity and no NaN.
    case .number(let value): return value.isFinite ? "\(value)" : "null"
    }
  }
}

public func jsonObject(_ pairs: [(String, JSONValue)]) -> String {
  "{" + pairs.map { "\(JSONValue.text($0.0).text):\($0.1.text)" }.joined(separator: ",") + "}"
}
