// Memory that lives no longer than one call of one layer, and how a layer divides it up.
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

/// Scratch shared by all layers of one compute thread: each lays out at its making what it needs, and
/// may use that within a call. Nothing in it survives into another layer's call, so a layer made of other
/// layers must not keep anything here while it calls them.
public final class Scratch {
  /// Of the thread's matrix products.
  public let precision: Precision
  private var rooms: [Place: SharedRoom] = [:]
  private var passingSlab: ActivationSlab?

  enum Place {
    /// What an attention layer needs within a call, and what the block around it needs meanwhile.
    case layer, block
    /// What is computed in floats and kept rounded.
    case projected, candidates, attention, merged
  }

  public init(precision: Precision = .single) { self.precision = precision }

  /// An empty layout, from the beginning of `place`.
  func layout(_ place: Place = .layer) -> ScratchLayout {
    ScratchLayout(room: room(place, count: 0), element: element)
  }

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

  /// Memory of a layer's own, for what it keeps for its backward pass.
  public func activations(count: Int) -> ActivationSlab {
    ActivationSlab(count: count, element: element)
  }
}

/// Where regions of scratch lie, one behind the other. The room grows with what is laid out, so what is
/// asked for and what is used are the same. Laid out once, for the largest pass; a smaller one uses the
/// beginnings of the regions.
///
/// A copy goes on from the same place: for regions that are never in use at the same time.
struct ScratchLayout {
  private let room: SharedRoom
  private let element: Element
  private var end = 0

  fileprivate init(room: SharedRoom, element: Element) {
    self.room = room
    self.element = element
  }

  /// The next `count` floats.
  mutating func floats(_ count: Int) -> ScratchRegion { next(count, .float) }

  /// The next `count` numbers, as activations are kept, in whole cache lines.
  mutating func activations(_ count: Int) -> ScratchRegion {
    next((count * element.size + 63) / 64 * 16, element)
  }

  /// What follows begins a cache line.
  mutating func beginLine() { end = (end + 15) / 16 * 16 }

  /// What follows lies behind the regions of `other`, too.
  mutating func skip(past other: ScratchLayout) { end = max(end, other.end) }

  private mutating func next(_ floats: Int, _ element: Element) -> ScratchRegion {
    let region = ScratchRegion(room: room, first: end, element: element)
    end += floats
    room.require(end)
    return region
  }
}

/// Numbers of scratch memory that a layer uses under a name. Ask for its address in a call, once all layers
/// are made: until then the room may move.
struct ScratchRegion {
  fileprivate let room: SharedRoom
  /// In floats from the beginning of the room.
  fileprivate let first: Int
  fileprivate let element: Element

  /// The first number of a region of floats.
  var base: UnsafeMutablePointer<Float> {
    precondition(element == .float)
    return room.base + first
  }

  func rows(stride: Int) -> Rows {
    Rows(UnsafeMutableRawPointer(room.base + first), stride: stride, element: element)
  }
}
