// Random numbers as a function of where they are used, never of what was drawn before.
import CKernels

/// What a random number is for; part of its key, so that no two uses share numbers.
/// The raw values are part of the numerics: append, never renumber.
public enum RandomPurpose: UInt32, Sendable {
  case initialization = 1
  case sampleOrder = 2
  case augmentation = 3
  case noise = 4
  case attentionDropout = 5
  case residualDropout = 6
  case hiddenDropout = 7
  case outputDropout = 8
  case candidateSampling = 9
  case syntheticImages = 10
  case testInput = 11
  case dropPath = 12
  case mixing = 13
  case randAugment = 14
  case randomErasing = 15
}

/// One sequence of random numbers: Philox4x32 (Salmon et al. 2011, "Parallel random numbers: as easy
/// as 1, 2, 3") with key = seed and counter = (block, item, step, purpose and layer).
///
/// The same (seed, purpose, layer, step, item) gives the same numbers on every rank and thread, in
/// whatever order they are asked for.
public struct RandomSequence: Sendable {
  public let key: (UInt32, UInt32)
  /// Counter words 1, 2 and 3; word 0 counts blocks of four words.
  public let position: (UInt32, UInt32, UInt32)

  /// - Parameters:
  ///   - layer: below 2^24; `step`: optimizer step or epoch; `item`: image, tensor or element group.
  public init(seed: UInt64, purpose: RandomPurpose, layer: Int = 0, step: Int = 0, item: Int = 0) {
    precondition(layer >= 0 && layer < 1 << 24)
    key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    position = (
      UInt32(truncatingIfNeeded: item), UInt32(truncatingIfNeeded: step),
      purpose.rawValue << 24 | UInt32(layer)
    )
  }

  private func withState<R>(
    _ body: (UnsafePointer<UInt32>, UnsafePointer<UInt32>) -> R
  ) -> R {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 6) { state in
      state[0] = key.0
      state[1] = key.1
      state[2] = 0
      state[3] = position.0
      state[4] = position.1
      state[5] = position.2
      return body(UnsafePointer(state.baseAddress!), UnsafePointer(state.baseAddress! + 2))
    }
  }

  /// Four random words of block `block` (10 rounds).
  public func words(block: UInt32) -> SIMD4<UInt32> {
    var out = SIMD4<UInt32>()
    withState { key, counter in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 8) { scratch in
        for i in 0..<4 { scratch[i] = counter[i] }
        scratch[0] = block
        ck_philox4x32(scratch.baseAddress! + 4, scratch.baseAddress!, key, 10)
        for i in 0..<4 { out[i] = scratch[4 + i] }
      }
    }
    return out
  }

  /// Word number `index` of the sequence.
  public func word(_ index: Int) -> UInt32 {
    words(block: UInt32(truncatingIfNeeded: index >> 2))[index & 3]
  }

  /// Uniform in [0, 1), 24 bits, number `index` of the sequence.
  public func uniform(_ index: Int) -> Float { Float(word(index) >> 8) * 0x1p-24 }

  /// Uniform integer in 0..<bound, by the multiply-shift method (bias below bound / 2^32).
  public func integer(_ index: Int, below bound: Int) -> Int {
    precondition(bound > 0 && bound <= Int(UInt32.max))
    return Int((UInt64(word(index)) * UInt64(bound)) >> 32)
  }

  /// Fills `out` with uniform numbers in [low, high): the first `count` of the sequence.
  public func fillUniform(_ out: UnsafeMutablePointer<Float>, count: Int, low: Float, high: Float) {
    withState { key, counter in ck_philox_uniform(out, count, key, counter, low, high) }
  }

  /// Fills `out` with normal numbers N(0, deviation²) (Box–Muller).
  public func fillNormal(_ out: UnsafeMutablePointer<Float>, count: Int, deviation: Float = 1) {
    withState { key, counter in ck_philox_normal(out, count, key, counter, deviation) }
  }

  /// Dropout mask: `out[i]` = 1 with probability 1 − p, else 0; p is rounded to a multiple of 2^-16.
  public func fillKeepMask(_ out: UnsafeMutablePointer<UInt8>, count: Int, dropping p: Float) {
    withState { key, counter in
      ck_philox_keep_mask(out, count, key, counter, RandomSequence.dropThreshold(p))
    }
  }

  /// A 16-bit random number below this is a drop.
  public static func dropThreshold(_ p: Float) -> UInt32 { UInt32((p * 65536).rounded()) }

  /// A random permutation of 0..<count (Fisher–Yates), from 64 bits a draw: with 32, the bias would be
  /// near one in 3,000 for a million elements.
  public func permutation(count: Int) -> [Int32] {
    var order = [Int32](0..<Int32(count))
    var i = count - 1
    var index = 0
    while i > 0 {
      let random = words(block: UInt32(truncatingIfNeeded: index))
      for half in 0..<2 where i > 0 {
        let draw = UInt64(random[2 * half]) << 32 | UInt64(random[2 * half + 1])
        order.swapAt(i, Int(draw.multipliedFullWidth(by: UInt64(i + 1)).high))
        i -= 1
      }
      index += 1
    }
    return order
  }
}
