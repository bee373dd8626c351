// Weights as matrix products pack them, kept for all micro-batches until they change.
import CKernels

/// What products have packed of the matrices in a slab of parameters. It fills itself: the first product
/// with a matrix keeps what it packs, for all threads that compute `with` this object.
public final class PackedWeights: @unchecked Sendable {
  private let weights: OpaquePointer
  private let parameters: FloatSlab

  public init(of parameters: FloatSlab) {
    self.parameters = parameters
    guard let weights = ck_packed_weights_make(parameters.base, parameters.count) else {
      fatalError("Out of memory: a table of packed weights was refused.")
    }
    self.weights = weights
  }

  deinit { ck_packed_weights_free(weights) }

  /// To be called when the parameters have changed, while no thread computes.
  public func forget() { ck_packed_weights_forget(weights) }

  /// Runs `body`, whose products on this thread use and keep packed weights.
  @inline(__always)
  public func use<Result>(_ body: () throws -> Result) rethrows -> Result {
    let before = ck_used_packed_weights()
    ck_use_packed_weights(weights)
    defer { ck_use_packed_weights(before) }
    return try body()
  }
}
