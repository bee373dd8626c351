// Numbers, strided matrices and error measures for the tests of kernels.
import Foundation
import Testing

/// Sizes around a vector's width, and none.
let sizes = [0, 1, 15, 16, 17, 1000]

/// A fixed sequence of numbers in [-1, 1) for every seed (SplitMix64, Steele et al. 2014).
struct Numbers {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> Float {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    z ^= z >> 31
    return Float(Int64(z >> 40) - (1 << 23)) * 0x1p-23
  }

  mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in next() * scale }
  }

  /// Zeros and ones, one in four of them 0.
  mutating func keepMask(_ count: Int) -> [UInt8] { (0..<count).map { _ in next() < -0.5 ? 0 : 1 } }
}

/// A matrix [rows, width] whose rows lie `stride` apart; what lies between them must stay as it is.
struct Strided {
  static let padding: Float = 777
  let rows: Int
  let width: Int
  let stride: Int
  var values: [Float]

  init(rows: Int, width: Int, gap: Int, _ numbers: inout Numbers, scale: Float = 1) {
    self.rows = rows
    self.width = width
    stride = width + gap
    values = [Float](repeating: Self.padding, count: rows * stride + 1)
    for r in 0..<rows {
      for c in 0..<width { values[r * stride + c] = numbers.next() * scale }
    }
  }

  subscript(row: Int, column: Int) -> Float {
    get { values[row * stride + column] }
    set { values[row * stride + column] = newValue }
  }

  func row(_ r: Int) -> [Double] { (0..<width).map { Double(self[r, $0]) } }

  var isPaddingUntouched: Bool {
    values.indices.allSatisfy {
      ($0 % stride < width && $0 / stride < rows) || values[$0] == Self.padding
    }
  }
}

/// Distance in units of the last place of the float nearest to `exact`.
func ulps(_ found: Float, _ exact: Double) -> Double {
  abs(Double(found) - exact) / Double(Float(exact).ulp)
}

func expectClose(
  _ found: Float, _ exact: Double, within tolerance: Double, _ what: @autoclosure () -> String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  // Written so that a NaN fails; a passing test builds no message.
  if !(abs(Double(found) - exact) <= tolerance) {
    Issue.record(
      "\(what()): \(found), expected \(exact) ± \(tolerance)", sourceLocation: sourceLocation)
  }
}

/// ∂f/∂x[i] by central differences of fourth order; with steps of 1e-3 and functions of size 1 the
/// error is about 1e-12.
func derivative(_ x: [Double], _ i: Int, step: Double = 1e-3, _ f: ([Double]) -> Double) -> Double {
  func at(_ distance: Double) -> Double {
    var moved = x
    moved[i] += distance
    return f(moved)
  }
  return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
}

/// A few places of 0..<count: all of them, or both ends and some between.
func places(_ count: Int) -> [Int] {
  count <= 20 ? Array(0..<count) : [0, 1, 15, 16, 17, count / 2, count - 2, count - 1]
}
