// Numbers in lines of JSON.
import Foundation
import Testing

@testable import Reports

@Suite("JSON lines") struct JSONLineTests {
  @Test("numbers in JSON") func numbers() throws {
    #expect(
      jsonObject([
        ("a", .number(0.1)), ("b", .integer(-3)), ("c", .number(.nan)), ("d", .number(-.infinity)),
        ("e", .number(1e-300)), ("f", .text("x")), ("g", .number(2)),
      ]) == #"{"a":0.1,"b":-3,"c":null,"d":null,"e":1e-300,"f":"x","g":2.0}"#)
    #expect(jsonObject([]) == "{}")
    // Every double comes back as it was.
    for value in [1.0 / 3, 123_456_789.123_456_78, .leastNormalMagnitude, -1.5e200] {
      let data = Data(jsonObject([("x", .number(value))]).utf8)
      let object = try JSONDecoder().decode([String: Double].self, from: data)
      #expect(object["x"] == value)
    }
  }
}
