// Cosines and sines of rotary positions, and the buffer that PyTorch keeps of them.
import Foundation
import Tensors

/// A constant of a layer that PyTorch stores among its parameters.
public struct LayerBuffer: Equatable, Sendable {
  /// Inside the block's `attention.`.
  public let name: String
  public let shape: [Int]
  public let values: [Float]
}

/// A layer with constants that belong into weights files (and may be absent from them).
public protocol BufferOwning: AttentionLayer {
  var buffers: [LayerBuffer] { get }
}

extension AttentionLayer {
  /// The layer's buffers, none for most.
  public var ownedBuffers: [LayerBuffer] { (self as? any BufferOwning)?.buffers ?? [] }
}

/// cos and sin of position · frequency [T, d/2], for keys and for queries, whose positions may be offset.
struct RotaryTable {
  let keyCosine: UnsafeMutablePointer<Float>
  let keySine: UnsafeMutablePointer<Float>
  let queryCosine: UnsafeMutablePointer<Float>
  let querySine: UnsafeMutablePointer<Float>
  private let slab: FloatSlab

  /// 10000^(−2c/d) for c < d/2.
  static func frequencies(width: Int) -> [Float] {
    (0..<width / 2).map { Float(pow(10000, -2 * Double($0) / Double(width))) }
  }

  init(frequencies: [Float], tokens: Int, queryOffset: Int) {
    let half = frequencies.count
    let count = tokens * half
    slab = FloatSlab(count: 4 * count)
    keyCosine = slab.base
    keySine = slab.base + count
    queryCosine = slab.base + 2 * count
    querySine = slab.base + 3 * count
    for token in 0..<tokens {
      for c in 0..<half {
        let key = Double(token) * Double(frequencies[c])
        let query = Double(token + queryOffset) * Double(frequencies[c])
        keyCosine[token * half + c] = Float(cos(key))
        keySine[token * half + c] = Float(sin(key))
        queryCosine[token * half + c] = Float(cos(query))
        querySine[token * half + c] = Float(sin(query))
      }
    }
  }
}
