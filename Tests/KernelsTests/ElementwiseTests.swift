// Bias, GELU, dropout, residual and column sums against plain loops in double precision.
import CKernels
import Foundation
import Testing

func gelu(_ x: Double) -> Double { x * 0.5 * erfc(-x / 2.0.squareRoot()) }
func geluDerivative(_ x: Double) -> Double {
  0.5 * erfc(-x / 2.0.squareRoot()) + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot()
}

@Suite("Elementwise kernels") struct ElementwiseTests {
  @Test("GELU and its slope over the whole range") func geluRange() {
    // Every 199th float from 2^-20 to 13, and its negative.
    var arguments: [Float] = []
    var bits = Float(0x1p-20).bitPattern
    while bits < Float(13).bitPattern {
      arguments += [Float(bitPattern: bits), -Float(bitPattern: bits)]
      bits += 199
    }
    var values = arguments
    var slopes = [Float](repeating: 0, count: values.count)
    let bias = [Float](repeating: 0, count: values.count)
    ck_bias_gelu(&values, &slopes, bias, nil, 1, values.count, 1)
    var worst = 0.0
    var worstSlope = 0.0
    for (i, x) in arguments.enumerated() {
      let z = Double(x)
      // Positive values come from 1 - tail; the square's rounding shows only in the tail itself.
      worst = max(worst, ulps(values[i], gelu(z)) - (x < 0 ? z * z / 2 : 0))
      let slope = 0.5 * erfc(-z / 2.0.squareRoot()) + z * exp(-z * z / 2) / (2 * .pi).squareRoot()
      worstSlope = max(worstSlope, abs(Double(slopes[i]) - slope))
    }
    #expect(worst <= 7)
    // A sum of two terms of at most 1, each within 4 ulp: 4 · 2^-24 and 4 · 2^-24 · 0.25 or less.
    #expect(worstSlope <= 5 * 0x1p-24)
  }

  @Test("bias, GELU and dropout", arguments: sizes, [false, true])
  func biasGELU(width: Int, drops: Bool) {
    var numbers = Numbers(UInt64(width))
    let rows = 3
    let u = numbers.floats(rows * width, scale: 4)
    let bias = numbers.floats(width)
    let keep = numbers.keepMask(rows * width)
    var hidden = u + [777]
    var slope = [Float](repeating: 777, count: rows * width + 1)
    ck_bias_gelu(&hidden, &slope, bias, drops ? keep : nil, rows, width, drops ? 1.25 : 1)
    for i in 0..<rows * width {
      // The sum is rounded to float first.
      let a = Double(u[i] + bias[i % width])
      let m = drops ? Double(keep[i]) * 1.25 : 1
      expectClose(hidden[i], m * gelu(a), within: 1e-6 * max(abs(gelu(a)), 1e-6), "hidden \(i)")
      expectClose(slope[i], m * derivative([a], 0) { gelu($0[0]) }, within: 1e-6, "slope \(i)")
    }
    #expect(hidden.last == 777 && slope.last == 777)
  }

  @Test("residual", arguments: sizes, [(false, false), (false, true), (true, false), (true, true)])
  func residual(width: Int, with: (bias: Bool, keep: Bool)) {
    var numbers = Numbers(UInt64(width) + 1)
    let rows = 5
    var y = Strided(rows: rows, width: width, gap: 3, &numbers)
    let x = Strided(rows: rows, width: width, gap: 5, &numbers)
    let bias = numbers.floats(width)
    let keep = numbers.keepMask(rows * width)
    let before = y
    let base = Strided(rows: rows, width: width, gap: 2, &numbers)
    var apart = y
    ck_residual(
      &apart.values, base.values, x.values, with.bias ? bias : nil, with.keep ? keep : nil, rows,
      width, apart.stride, base.stride, x.stride, 1.25)
    y.values.withUnsafeMutableBufferPointer {
      ck_residual(
        $0.baseAddress, $0.baseAddress, x.values, with.bias ? bias : nil, with.keep ? keep : nil,
        rows, width, before.stride, before.stride, x.stride, 1.25)
    }
    for r in 0..<rows {
      for c in 0..<width {
        let m = (with.keep ? Double(keep[r * width + c]) : 1) * 1.25
        let added = (Double(x[r, c]) + (with.bias ? Double(bias[c]) : 0)) * m
        // Three roundings of numbers below 4.
        expectClose(y[r, c], Double(before[r, c]) + added, within: 3 * 0x1p-23, "\(r), \(c)")
        expectClose(apart[r, c], Double(base[r, c]) + added, within: 3 * 0x1p-23, "\(r), \(c)")
      }
    }
    #expect(y.isPaddingUntouched && apart.isPaddingUntouched)
  }

  @Test("keep masks, in place too", arguments: sizes, [true, false])
  func applyKeep(width: Int, drops: Bool) {
    var numbers = Numbers(7)
    let (rows, maskStride) = (3, width + 2)
    let x = Strided(rows: rows, width: width, gap: 1, &numbers)
    let keep = numbers.keepMask(rows * maskStride)
    var y = Strided(rows: rows, width: width, gap: 4, &numbers)
    ck_apply_keep(
      &y.values, y.stride, x.values, x.stride, drops ? keep : nil, maskStride, rows, width, 1.5)
    var inPlace = x
    let stride = x.stride
    inPlace.values.withUnsafeMutableBufferPointer {
      let base = $0.baseAddress!
      ck_apply_keep(
        base, stride, base, stride, drops ? keep : nil, maskStride, rows, width, 1.5)
    }
    for r in 0..<rows {
      for c in 0..<width {
        #expect(y[r, c] == (!drops || keep[r * maskStride + c] == 1 ? x[r, c] * 1.5 : 0))
        #expect(inPlace[r, c] == y[r, c])
      }
    }
    #expect(y.isPaddingUntouched && inPlace.isPaddingUntouched)
  }

  @Test("products and their column sums", arguments: sizes, [0, 1, 3, 4, 9])
  func multiplyAndSum(width: Int, rows: Int) {
    var numbers = Numbers(8)
    let (a, x) = (numbers.floats(rows * width), numbers.floats(rows * width))
    let start = numbers.floats(width)
    for accumulate in [false, true] {
      var y = a + [777]
      var sums = (accumulate ? start : [Float](repeating: .nan, count: width)) + [777]
      ck_multiply_and_sum(&y, x, &sums, rows, width, accumulate ? 1 : 0)
      for i in 0..<rows * width { #expect(y[i] == a[i] * x[i]) }
      for c in 0..<width {
        let exact = (0..<rows).reduce(accumulate ? Double(start[c]) : 0) {
          $0 + Double(y[$1 * width + c])
        }
        // As many roundings as rows, of sums of at most 10.
        expectClose(sums[c], exact, within: Double(rows) * 0x1p-21, "column \(c)")
      }
      #expect(y.last == 777 && sums.last == 777)
    }
  }

  @Test("column sums", arguments: sizes, [0, 1, 3, 4, 9])
  func columnSums(width: Int, rows: Int) {
    var numbers = Numbers(UInt64(rows))
    let x = Strided(rows: rows, width: width, gap: 7, &numbers)
    let start = numbers.floats(width)
    for accumulate in [false, true] {
      var sums = (accumulate ? start : [Float](repeating: .nan, count: width)) + [777]
      ck_column_sums(&sums, x.values, rows, width, x.stride, accumulate ? 1 : 0)
      for c in 0..<width {
        let exact = (0..<rows).reduce(accumulate ? Double(start[c]) : 0) { $0 + Double(x[$1, c]) }
        // As many roundings as rows, of sums of at most 10.
        expectClose(sums[c], exact, within: Double(rows) * 0x1p-21, "column \(c)")
      }
      #expect(sums[width] == 777)
    }
  }

  @Test("bias", arguments: sizes) func addBias(width: Int) {
    var numbers = Numbers(10)
    var y = Strided(rows: 3, width: width, gap: 1, &numbers)
    let bias = numbers.floats(width)
    let before = y
    ck_add_bias(&y.values, bias, 3, width, y.stride)
    for r in 0..<3 { for c in 0..<width { #expect(y[r, c] == before[r, c] + bias[c]) } }
    #expect(y.isPaddingUntouched)
  }

  @Test("denormals become zero in the thread that asks, and only there") func denormals() {
    // A thread of its own, because the setting stays with the thread.
    let results = Results()
    Thread {
      results.before = tiny()
      ck_flush_denormals()
      results.after = tiny()
      results.done.signal()
    }.start()
    results.done.wait()
    #expect(results.before > 0)
    #expect(results.after == 0)
    #expect(tiny() > 0)
  }

  #if arch(x86_64)
    @Test("the CPU's level is what the system says") func cpuLevel() throws {
      let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
      let flags = Set(
        (text.split(separator: "\n").first { $0.hasPrefix("flags") } ?? "").split(separator: " ")
          .map(String.init))
      let level =
        !flags.isSuperset(of: ["avx2", "fma", "bmi1", "bmi2", "f16c", "abm", "movbe"])
        ? 0
        : flags.isSuperset(of: ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]) ? 2 : 1
      #expect(Int(ck_cpu_level()) == level)
    }
  #endif
}

private final class Results: @unchecked Sendable {
  let done = DispatchSemaphore(value: 0)
  var before: Float = 0
  var after: Float = 0
}

/// 2^-130, a denormal, as the product of two normal numbers.
private func tiny() -> Float {
  var y: [Float] = [0x1p-100]
  var sums: [Float] = [0]
  ck_multiply_and_sum(&y, [0x1p-30], &sums, 1, 1, 0)
  return y[0]
}
