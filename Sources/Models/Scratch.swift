// Memory that lives no longer than one call of one layer.
import Tensors

/// Scratch shared by all layers of one compute thread: each says at its making how much it needs, and
/// may use that much from `base` within a call. Nothing in it survives into another layer's call, so a
/// layer made of other layers must not keep anything here while it calls them.
public final class Scratch {
  private var required = 0
  private var slab: FloatSlab?

  public init() {}

  public func require(_ count: Int) { required = max(required, count) }

  public var base: UnsafeMutablePointer<Float> {
    if let slab, slab.count >= required { return slab.base }
    let fresh = FloatSlab(count: required)
    slab = fresh
    return fresh.base
  }

  public var byteCount: Int { required * MemoryLayout<Float>.stride }
}
