// Memory that lives no longer than one call of one layer.
import Tensors

/// Floats that grow to the largest count asked for.
final class SharedRoom {
  private var required = 0
  private var slab: FloatSlab?

  func require(_ count: Int) { required = max(required, count) }

  var base: UnsafeMutablePointer<Float> {
    if let slab, slab.count >= required { return slab.base }
    let fresh = FloatSlab(count: required)
    slab = fresh
    return fresh.base
  }
}

/// Scratch shared by all layers of one compute thread: each says at its making how much it needs, and
/// may use that much from `base` within a call. Nothing in it survives into another layer's call, so a
/// layer made of other layers must not keep anything here while it calls them.
public final class Scratch {
  /// Of the thread's matrix products.
  public let precision: Precision
  private let own = SharedRoom()
  private var rooms: [Place: SharedRoom] = [:]
  private var passingSlab: ActivationSlab?

  /// Rooms beside `base`, for what is computed in floats and kept rounded.
  enum Place { case projected, candidates, attention, merged }

  public init(precision: Precision = .single) { self.precision = precision }

  public func require(_ count: Int) { own.require(count) }

  public var base: UnsafeMutablePointer<Float> { own.base }

  func room(_ place: Place, count: Int) -> SharedRoom {
    let room = rooms[place] ?? SharedRoom()
    room.require(count)
    rooms[place] = room
    return room
  }

  /// How what is kept for the backward pass lies in memory.
  public var element: Element { precision == .mixed ? .bfloat16 : .float }

  /// The one slab of what is rounded within a call and made again when it is wanted again.
  func passing(count: Int) -> ActivationSlab {
    if let passingSlab, passingSlab.count >= count { return passingSlab }
    let slab = activations(count: count)
    passingSlab = slab
    return slab
  }

  /// Floats of scratch, whole cache lines, that `count` numbers take as they are kept.
  func floats(for count: Int) -> Int { (count * element.size + 63) / 64 * 16 }

  /// Memory of a layer's own, for what it keeps for its backward pass.
  public func activations(count: Int) -> ActivationSlab {
    ActivationSlab(count: count, element: element)
  }
}
