// A decoded 8-bit RGB image in memory that is used again for the next one.
import Foundation

/// Pixels interleaved (height, width, 3), rows `stride` bytes apart, with room for vector loads past
/// the end. Grows when needed, never shrinks; belongs to one thread at a time.
public final class ImageBuffer: @unchecked Sendable {
  public private(set) var width = 0
  public private(set) var height = 0
  public private(set) var stride = 0
  public private(set) var pixels: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  /// Most that is taken beyond what is needed, so that a slightly larger image fits too.
  fileprivate static let slack = 1 << 22
  /// Size of the whole image in its file; equal to width and height unless a decoder left a part of
  /// it out or shrank it.
  public private(set) var fullWidth = 0
  public private(set) var fullHeight = 0
  /// By how much a decoder shrank the image.
  public private(set) var reduction = 1
  /// Where the pixels lie in the image shrunk by `reduction`.
  public private(set) var x = 0
  public private(set) var y = 0
  /// Memory for whoever fills the image: file contents, planes, other colour spaces.
  let scratch = ByteBuffer()

  public init() {
    capacity = 4096
    pixels = .allocate(capacity: capacity)
    pixels.initialize(repeating: 0, count: capacity)
  }

  deinit { pixels.deallocate() }

  /// Sets the size; what the pixels hold afterwards is anything. `padded` rows (a multiple of 16
  /// bytes and at least one byte longer than the pixels) are for kernels that write whole vectors.
  public func resize(width: Int, height: Int, padded: Bool = false) {
    precondition(width >= 0 && height >= 0)
    self.width = width
    self.height = height
    fullWidth = width
    fullHeight = height
    reduction = 1
    x = 0
    y = 0
    stride = padded ? (3 * width + 16) / 16 * 16 : 3 * width
    let needed = stride * height + 64
    guard needed > capacity else { return }
    pixels.deallocate()
    capacity = needed + min(needed / 4, ImageBuffer.slack)
    pixels = .allocate(capacity: capacity)
    pixels.initialize(repeating: 0, count: capacity)
  }

  /// Sets the size to that of a region of an image of `fullWidth` x `fullHeight`.
  func resize(_ region: DecodingRegion, fullWidth: Int, fullHeight: Int) {
    resize(width: region.rectangle.width, height: region.rectangle.height)
    self.fullWidth = fullWidth
    self.fullHeight = fullHeight
    reduction = region.reduction
    x = region.rectangle.x
    y = region.rectangle.y
  }

  /// The size of the whole image shrunk by `reduction`.
  var reducedWidth: Int { (fullWidth + reduction - 1) / reduction }
  var reducedHeight: Int { (fullHeight + reduction - 1) / reduction }

  /// The pixels, row by row, without padding.
  public var bytes: [UInt8] {
    var out = [UInt8]()
    out.reserveCapacity(3 * width * height)
    for y in 0..<height {
      out += UnsafeBufferPointer(start: pixels + y * stride, count: 3 * width)
    }
    return out
  }

  /// Copies tightly packed rows.
  public func assign(width: Int, height: Int, rgb: [UInt8]) {
    precondition(rgb.count == 3 * width * height)
    resize(width: width, height: height)
    rgb.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { pixels.update(from: base, count: source.count) }
    }
  }
}

/// Bytes that grow and are used again.
final class ByteBuffer {
  private(set) var base: UnsafeMutablePointer<UInt8>
  private var capacity: Int

  init() {
    capacity = 4096
    base = .allocate(capacity: capacity)
    base.initialize(repeating: 0, count: capacity)
  }

  deinit { base.deallocate() }

  /// At least `count` bytes, contents undefined.
  func reserve(_ count: Int) -> UnsafeMutablePointer<UInt8> {
    if count + 64 > capacity {
      base.deallocate()
      capacity = count + min(count / 4, ImageBuffer.slack) + 64
      base = .allocate(capacity: capacity)
      base.initialize(repeating: 0, count: capacity)
    }
    return base
  }
}
