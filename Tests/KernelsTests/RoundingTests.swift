// Rounding to bf16 against its definition.
import CKernels
import TestSupport
import Testing

@Suite("Rounding to bf16") struct RoundingTests {
  /// Every kind of number: all exponents, ties and their neighbours, infinities, NaN.
  private static func values(_ count: Int) -> [Float] {
    let special: [Float] = [
      0, -0.0, 1, -1, .infinity, -.infinity, .nan, Float(bitPattern: 0x7F80_0001),
      Float(bitPattern: 0xFFFF_FFFF), .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
      Float(bitPattern: 0x7F7F_7FFF), Float(bitPattern: 0x7F7F_8000), .leastNonzeroMagnitude,
      Float(bitPattern: 0x3F80_8000), Float(bitPattern: 0x3F81_8000),
      Float(bitPattern: 0x3F80_7FFF), Float(bitPattern: 0x3F81_8001), .leastNormalMagnitude,
    ]
    var state: UInt32 = 1
    return (0..<count).map { i in
      state = state &* 1_664_525 &+ 1_013_904_223
      let bits = state ^ (state >> 13)
      if i % 50 < special.count { return special[i % 50] }
      return Float(bitPattern: i % 3 == 0 ? bits & 0xFFFF_0000 | 0x8000 : bits)
    }
  }

  private func expectSame(_ found: Float, _ expected: Float, _ what: String) {
    let same = expected.isNaN ? found.isNaN : found.bitPattern == expected.bitPattern
    if !same { Issue.record("\(what): \(found), expected \(expected)") }
  }

  @Test("in place", arguments: sizes + [40_000]) func round(count: Int) {
    let x = Self.values(count)
    var y = x + [777]
    ck_round_bf16(&y, count)
    for i in 0..<count {
      expectSame(y[i], nearestBF16(x[i]), "\(x[i])")
      #expect(y[i].bitPattern & 0xFFFF == 0)
    }
    #expect(y[count] == 777)
  }

  @Test("after a sum", arguments: sizes) func add(count: Int) {
    var numbers = Numbers(UInt64(count))
    var a = numbers.floats(count, scale: 100)
    // What is not finite meets finite numbers.
    var x = zip(Self.values(count), numbers.floats(count)).map { $0.isFinite ? $1 : $0 }
    // Sums in the middle between two numbers of 16 bits.
    for i in stride(from: 0, to: count, by: 3) {
      a[i] = 1 + Float(i % 5) * 0x1p-7
      x[i] = 0x1p-8
    }
    var y = a + [777]
    ck_add_bf16(&y, x, count)
    for i in 0..<count { expectSame(y[i], nearestBF16(a[i] + x[i]), "\(a[i]) + \(x[i])") }
    #expect(y[count] == 777)
  }
}
