// Images to tokens: patches, linear map, layer normalisation, class token, positions.
import CKernels
import Foundation
import Tensors

// B images, G patches a side, P = G² patches, T = P + 1 tokens, D width, p patch side.

/// Sinusoidal positions pe [T, D]: pe[t, 2i] = sin(t · 10000^(−2i/D)), pe[t, 2i+1] = cos(same).
public func positionalEncoding(tokens: Int, width: Int) -> [Float] {
  var pe = [Float](repeating: 0, count: tokens * width)
  for token in 0..<tokens {
    for column in 0..<width {
      let exponent = -Double(column / 2 * 2) / Double(width)
      let angle = Double(token) * pow(10000, exponent)
      pe[token * width + column] = Float(column % 2 == 0 ? sin(angle) : cos(angle))
    }
  }
  return pe
}

final class PatchEmbedding {
  private let imageSize: Int
  private let patchSize: Int
  private let width: Int
  private let grid: Int
  private let patchLength: Int
  /// Patches as rows, channel by channel as the weight stores them [B·P, 3·p·p].
  private let patches: FloatSlab
  private let projected: FloatSlab  // [B·P, D]
  private let mean: FloatSlab
  private let rstd: FloatSlab
  private let positions: FloatSlab  // [T, D]
  private let dProjected: ScratchRegion  // [B·P, D]

  init(_ c: ModelConfiguration, capacity: Int, scratch: Scratch) {
    imageSize = c.imageSize
    patchSize = c.patchSize
    width = c.width
    grid = c.grid
    patchLength = 3 * c.patchSize * c.patchSize
    let rows = capacity * grid * grid
    patches = FloatSlab(count: rows * patchLength)
    projected = FloatSlab(count: rows * width)
    mean = FloatSlab(count: rows)
    rstd = FloatSlab(count: rows)
    positions = FloatSlab(count: c.tokens * c.width)
    let table = positionalEncoding(tokens: c.tokens, width: c.width)
    positions.base.update(from: table, count: table.count)
    // No block computes meanwhile.
    var layout = scratch.layout(.block)
    dProjected = layout.floats(rows * width)
  }

  /// Offsets within the embedding's parameters.
  private var normOffset: Int { width }
  private var weightOffset: Int { 3 * width }
  private var biasOffset: Int { 3 * width + width * patchLength }

  /// images [B, 3, S, S] to tokens x [B·T, D].
  func forward(
    images: UnsafePointer<Float>, count: Int, parameters: UnsafePointer<Float>,
    x: UnsafeMutablePointer<Float>
  ) {
    let perImage = grid * grid
    let tokens = perImage + 1
    gather(images, count: count)
    Linear.forward(
      rows: count * perImage, inputs: patchLength, outputs: width,
      x: Rows(patches.base, stride: patchLength), weight: parameters + weightOffset,
      y: Rows(projected.base, stride: width))
    ck_add_bias(projected.base, parameters + biasOffset, count * perImage, width, width)
    for image in 0..<count {
      let row = image * perImage
      let target = x + image * tokens * width
      target.update(from: parameters, count: width)
      ck_layernorm(
        target + width, mean.base + row, rstd.base + row, projected.base + row * width,
        parameters + normOffset, parameters + normOffset + width, perImage, width, width, width)
      ck_residual(
        target, target, positions.base, nil, nil, tokens, width, width, width, width, 1)
    }
  }

  /// Parameter gradients from dX [B·T, D].
  func backward(
    dX: UnsafePointer<Float>, count: Int, parameters: UnsafePointer<Float>,
    gradients: UnsafeMutablePointer<Float>, accumulate: Bool
  ) {
    let perImage = grid * grid
    let tokens = perImage + 1
    if !accumulate { gradients.update(repeating: 0, count: 3 * width) }
    let dProjected = dProjected.base
    for image in 0..<count {
      let row = image * perImage
      let source = dX + image * tokens * width
      ck_column_sums(gradients, source, 1, width, width, 1)
      ck_layernorm_backward(
        dProjected + row * width, gradients + normOffset, gradients + normOffset + width,
        source + width, projected.base + row * width, mean.base + row, rstd.base + row,
        parameters + normOffset, perImage, width, width, width, width, 0)
    }
    let rows = count * perImage
    ck_column_sums(
      gradients + biasOffset, dProjected, rows, width, width, accumulate ? 1 : 0)
    Linear.backwardWeight(
      rows: rows, inputs: patchLength, outputs: width, dY: Rows(dProjected, stride: width),
      x: Rows(patches.base, stride: patchLength), dWeight: gradients + weightOffset,
      beta: accumulate ? 1 : 0)
  }

  private func gather(_ images: UnsafePointer<Float>, count: Int) {
    let p = patchSize
    var target = patches.base
    for image in 0..<count {
      let planes = images + image * 3 * imageSize * imageSize
      for patchRow in 0..<grid {
        for patchColumn in 0..<grid {
          for channel in 0..<3 {
            var source =
              planes + (channel * imageSize + patchRow * p) * imageSize + patchColumn * p
            for _ in 0..<p {
              target.update(from: source, count: p)
              target += p
              source += imageSize
            }
          }
        }
      }
    }
  }
}
