// Activations kept as bfloat16.
import CKernels
import Testing

@Suite("bfloat16") struct BFloat16Tests {
  @Test("every pattern comes back, and rounding is to the nearest, ties to even")
  func patterns() {
    let all = (0...0xffff).map { UInt16($0) }
    var floats = [Float](repeating: 0, count: all.count)
    ck_bf16_to_floats(&floats, floats.count, all, all.count, 1, all.count)
    for (half, float) in zip(all, floats) {
      #expect(float.bitPattern == UInt32(half) << 16)
    }
    // In the middle between two patterns, and one bit to either side.
    for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] as [UInt32] {
      let near = all.map { Float(bitPattern: UInt32($0) << 16 | low) }
      var halves = [UInt16](repeating: 0, count: all.count)
      ck_floats_to_bf16(&halves, all.count, near, all.count, 1, all.count)
      for (found, x) in zip(halves, near) where !x.isNaN {
        if found != roundedToBFloat16(x) { Issue.record("\(x) became \(found)") }
      }
      for (found, x) in zip(halves, near) where x.isNaN { #expect(floatOf(found).isNaN) }
    }
  }

  @Test("rows of any width and distance", arguments: sizes)
  func rows(width: Int) {
    var numbers = Numbers(UInt64(width))
    let x = Strided(rows: 3, width: width, gap: 2, &numbers)
    let gap = 5
    var halves = [UInt16](repeating: 9, count: 3 * (width + gap))
    ck_floats_to_bf16(&halves, width + gap, x.values, x.stride, 3, width)
    var back = Strided(rows: 3, width: width, gap: 1, &numbers)
    ck_bf16_to_floats(&back.values, back.stride, halves, width + gap, 3, width)
    #expect(back.isPaddingUntouched)
    for r in 0..<3 {
      for c in 0..<width {
        #expect(back[r, c] == floatOf(roundedToBFloat16(x[r, c])))
      }
      for c in width..<width + gap { #expect(halves[r * (width + gap) + c] == 9) }
    }
  }

  @Test("layer normalisation is that of floats, rounded", arguments: sizes.filter { $0 > 0 })
  func normalization(width: Int) {
    var numbers = Numbers(UInt64(width + 1))
    let x = Strided(rows: 4, width: width, gap: 3, &numbers, scale: 2)
    let (gamma, beta) = (numbers.floats(width), numbers.floats(width))
    var y = [UInt16](repeating: 0, count: 4 * width)
    var (mean, rstd) = ([Float](repeating: 0, count: 4), [Float](repeating: 0, count: 4))
    ck_layernorm_bf16(
      &y, &mean, &rstd, x.values, gamma, beta, 4, width, width, x.stride)
    for r in 0..<4 {
      let row = x.row(r)
      let m = row.reduce(0, +) / Double(width)
      let variance = row.reduce(0) { $0 + ($1 - m) * ($1 - m) } / Double(width)
      let s = 1 / (variance + 1e-5).squareRoot()
      expectClose(mean[r], m, within: 1e-6)
      expectClose(rstd[r], s, within: s * 1e-5)
      for c in 0..<width {
        let exact = (row[c] - m) * s * Double(gamma[c]) + Double(beta[c])
        expectClose(
          floatOf(y[r * width + c]), exact, within: abs(exact) * 0x1p-8 + 1e-5, "\(r), \(c)")
      }
    }
  }
}
