// Learned positions for a grid of patches of another size.

// D width, G patches a side.

/// Positions [G² + 1, D] of a grid of `side` patches, from those of another square grid: the class token's stays, the
/// others are resampled as an image of D channels, by cubic interpolation (Keys 1981, a = -1/2) that averages where the
/// grid becomes smaller: what timm's `resample_abs_pos_embed` and PyTorch's `interpolate(mode="bicubic",
/// antialias=True)` do.
///
/// - Parameter positions: those of the class token and G² patches, row by row.
/// - Returns: nil if their number is no G² + 1.
public func resampledPositions(_ positions: [Float], width: Int, side: Int) -> [Float]? {
  let tokens = positions.count / width
  guard tokens > 1 else { return nil }
  let from = Int(Double(tokens - 1).squareRoot().rounded())
  guard from * from == tokens - 1, positions.count == tokens * width else { return nil }
  let taps = (0..<side).map { cubicTaps(at: $0, from: from, to: side) }
  // Along rows: [from, side, D], then along columns.
  var narrowed = [Double](repeating: 0, count: from * side * width)
  for row in 0..<from {
    for column in 0..<side {
      for (source, weight) in taps[column] {
        for d in 0..<width {
          narrowed[(row * side + column) * width + d] +=
            weight * Double(positions[(1 + row * from + source) * width + d])
        }
      }
    }
  }
  var result = Array(positions[..<width])
  for row in 0..<side {
    for column in 0..<side {
      for d in 0..<width {
        let value = taps[row].reduce(0.0) { sum, tap in
          sum + tap.weight * narrowed[(tap.source * side + column) * width + d]
        }
        result.append(Float(value))
      }
    }
  }
  return result
}

/// Which of `from` samples make sample `index` of `count`, and with what weights, whose sum is 1.
private func cubicTaps(at index: Int, from: Int, to count: Int) -> [(source: Int, weight: Double)] {
  let scale = Double(from) / Double(count)
  // Averages over what a sample covers, if that is more than one.
  let stretch = max(scale, 1)
  let center = (Double(index) + 0.5) * scale
  let first = max(0, Int(center - 2 * stretch + 0.5))
  let end = min(from, Int(center + 2 * stretch + 0.5))
  let weights = (first..<end).map { cubic((Double($0) + 0.5 - center) / stretch) }
  let sum = weights.reduce(0, +)
  return zip(first..<end, weights).map { ($0, $1 / sum) }
}

/// Keys' kernel with a = -1/2.
private func cubic(_ distance: Double) -> Double {
  let x = abs(distance)
  if x < 1 { return (1.5 * x - 2.5) * x * x + 1 }
  if x < 2 { return ((-0.5 * x + 2.5) * x - 4) * x + 2 }
  return 0
}
