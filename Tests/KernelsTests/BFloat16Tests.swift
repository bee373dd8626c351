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

  @Test("sums of columns", arguments: sizes, [true, false])
  func columnSums(width: Int, accumulates: Bool) {
    var numbers = Numbers(UInt64(width + 3))
    let (rows, gap) = (9, 3)
    let x = numbers.floats(rows * (width + gap)).map(roundedToBFloat16)
    let start = numbers.floats(width + 1)
    var sums = start
    ck_column_sums_bf16(&sums, x, rows, width, width + gap, accumulates ? 1 : 0)
    for c in 0..<width {
      let exact = (0..<rows).reduce(accumulates ? Double(start[c]) : 0) {
        $0 + Double(floatOf(x[$1 * (width + gap) + c]))
      }
      expectClose(sums[c], exact, within: 1e-5, "\(c)")
    }
    #expect(sums[width] == start[width])
  }

  @Test(
    "layer normalisation is that of floats, rounded, and can be made again",
    arguments: sizes.filter { $0 > 0 })
  func normalization(width: Int) {
    var numbers = Numbers(UInt64(width + 1))
    let rows = 6
    let x = Strided(rows: rows, width: width, gap: 0, &numbers, scale: 2)
    let (gamma, beta) = (numbers.floats(width), numbers.floats(width))
    var y = [UInt16](repeating: 9, count: rows * width + 1)
    var (kept, again) = (y, y)
    var (mean, rstd) = ([Float](repeating: 0, count: rows), [Float](repeating: 0, count: rows))
    ck_layernorm_bf16(&y, &kept, &mean, &rstd, x.values, gamma, beta, rows, width, 1e-3)
    ck_normalize_bf16(&again, kept, mean, rstd, gamma, beta, rows, width)
    for r in 0..<rows {
      let row = x.row(r)
      let m = row.reduce(0, +) / Double(width)
      let variance = row.reduce(0) { $0 + ($1 - m) * ($1 - m) } / Double(width)
      let s = 1 / (variance + 1e-3).squareRoot()
      expectClose(mean[r], m, within: 1e-6)
      expectClose(rstd[r], s, within: s * 1e-5)
      for c in 0..<width {
        let place = r * width + c
        #expect(kept[place] == roundedToBFloat16(x[r, c]))
        let slope = s * Double(gamma[c])
        let exact = (row[c] - m) * slope + Double(beta[c])
        let tolerance = abs(exact) * 0x1p-8 + 1e-5
        expectClose(floatOf(y[place]), exact, within: tolerance, "\(r), \(c)")
        expectClose(
          floatOf(again[place]), exact, within: tolerance + abs(row[c] * slope) * 0x1p-8,
          "again \(r), \(c)")
      }
    }
    for values in [y, kept, again] { #expect(values[rows * width] == 9) }
  }

  @Test(
    "the gradient of layer normalisation is that of floats, of rounded x",
    arguments: sizes.filter { $0 > 0 }, [false, true])
  func normalizationBackward(width: Int, add: Bool) {
    var numbers = Numbers(UInt64(width + 2))
    let rows = 7
    let kept = numbers.floats(rows * width, scale: 2).map(roundedToBFloat16)
    let x = kept.map(floatOf)
    let (dy, gamma) = (numbers.floats(rows * width), numbers.floats(width))
    let (mean, rstd) = (numbers.floats(rows), numbers.floats(rows).map { 1 + abs($0) })
    let start = numbers.floats(rows * width + 1)
    let (gammaStart, betaStart) = (numbers.floats(width), numbers.floats(width))
    var (dx, dgamma, dbeta) = (start, gammaStart, betaStart)
    ck_layernorm_bf16_backward(
      &dx, &dgamma, &dbeta, dy, kept, mean, rstd, gamma, rows, width, add ? 1 : 0)
    var (dx2, dgamma2, dbeta2) = (start, gammaStart, betaStart)
    ck_layernorm_backward(
      &dx2, &dgamma2, &dbeta2, dy, x, mean, rstd, gamma, rows, width, width, width, width,
      add ? 1 : 0)
    // Both sum a row of numbers of size 30, each in an order of its own.
    for place in 0...rows * width {
      expectClose(dx[place], Double(dx2[place]), within: 1e-4, "dx \(place)")
    }
    for c in 0..<width {
      expectClose(dgamma[c], Double(dgamma2[c]), within: 2e-5, "dgamma \(c)")
      expectClose(dbeta[c], Double(dbeta2[c]), within: 2e-6, "dbeta \(c)")
    }
  }

  @Test("masked rows, to and from rounded ones, and their sums", arguments: sizes, [true, false])
  func masked(width: Int, drops: Bool) {
    var numbers = Numbers(UInt64(width + 3))
    let rows = 6
    let x = Strided(rows: rows, width: width, gap: 2, &numbers)
    let (gap, maskGap) = (1, 3)
    let keep = numbers.keepMask(rows * (width + maskGap))
    let start = numbers.floats(width)
    var sums = start
    var y = [UInt16](repeating: 9, count: rows * (width + gap))
    var back = Strided(rows: rows, width: width, gap: 4, &numbers)
    keep.withUnsafeBufferPointer {
      let mask = drops ? $0.baseAddress : nil
      ck_keep_to_bf16(
        &y, width + gap, &sums, x.values, x.stride, mask, width + maskGap, rows, width, 1.25)
      var unsummed = y
      ck_keep_to_bf16(
        &unsummed, width + gap, nil, x.values, x.stride, mask, width + maskGap, rows, width, 1.25)
      #expect(unsummed == y)
      ck_keep_from_bf16(
        &back.values, back.stride, y, width + gap, mask, width + maskGap, rows, width, 1.25)
    }
    #expect(back.isPaddingUntouched)
    for c in 0..<width {
      var sum = Double(start[c])
      for r in 0..<rows {
        let factor = (drops ? Float(keep[r * (width + maskGap) + c]) : 1) * 1.25
        let rounded = roundedToBFloat16(factor * x[r, c])
        sum += Double(factor * x[r, c])
        #expect(y[r * (width + gap) + c] == rounded)
        #expect(back[r, c] == factor * floatOf(rounded))
      }
      expectClose(sums[c], sum, within: 2e-6, "\(c)")
    }
    for r in 0..<rows { #expect(y[r * (width + gap) + width] == 9) }
  }
}
