// What a layer computes in floats and keeps for its backward pass, rounded in mixed precision.
import Tensors

/// Rows [count, width]. In single precision they are computed where they are kept. In mixed precision
/// they are computed in a place that all layers of a compute thread share, kept as bfloat16, and brought
/// back to that place when the backward pass wants floats.
final class KeptRows {
  private let slab: ActivationSlab
  private let width: Int
  private let room: SharedRoom?

  /// - Parameter place: rows of one layer that are computed at the same time need different ones.
  init(_ scratch: Scratch, count: Int, width: Int, place: Scratch.Place) {
    self.width = width
    slab = scratch.activations(count: count * width)
    room = slab.element == .float ? nil : scratch.room(place, count: count * width)
  }

  /// Where the forward pass computes.
  var working: Rows {
    room.map { Rows($0.base, stride: width) } ?? slab.rows(stride: width)
  }

  /// Keeps the first `rows` rows of `working`, and returns them as they are kept.
  @discardableResult
  func keep(rows: Int) -> Rows {
    if room != nil { kept.write(rows: rows, width: width, from: working) }
    return kept
  }

  var kept: Rows { slab.rows(stride: width) }

  /// The first `rows` rows as floats, until another layer computes.
  func restored(rows: Int) -> Rows {
    if room != nil { kept.read(rows: rows, width: width, into: working) }
    return working
  }
}
