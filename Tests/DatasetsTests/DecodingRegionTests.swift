// Decoding a part of a JPEG against cutting it out of all of it, damaged files included.
import CJPEGEncoding
import Foundation
import Tensors
import Testing

@testable import Datasets

/// A form of JPEG, and whether parts of it can be decoded alone.
struct RegionForm: CustomTestStringConvertible, Sendable {
  let testDescription: String
  let isPlain: Bool
  private let channels: Int
  private let sampling: (Int, Int)
  private let restart: Int
  private let progressive: Bool
  private let separate: Bool
  private let storedRGB: Bool

  init(
    _ name: String, channels: Int = 3, sampling: (Int, Int) = (1, 1), restart: Int = 0,
    progressive: Bool = false, separate: Bool = false, storedRGB: Bool = false,
    isPlain: Bool = true
  ) {
    testDescription = name
    self.isPlain = isPlain
    self.channels = channels
    self.sampling = sampling
    self.restart = restart
    self.progressive = progressive
    self.separate = separate
    self.storedRGB = storedRGB
  }

  static let all = [
    RegionForm("4:4:4"), RegionForm("4:2:2", sampling: (2, 1)),
    RegionForm("4:2:0", sampling: (2, 2)), RegionForm("gray", channels: 1),
    RegionForm("gray, sampled 2 x 2", channels: 1, sampling: (2, 2)),
    RegionForm("stored RGB", storedRGB: true),
    RegionForm("4:2:0, restarts", sampling: (2, 2), restart: 3),
    RegionForm("gray, restarts", channels: 1, restart: 1),
    RegionForm("4:4:0", sampling: (1, 2), isPlain: false),
    RegionForm("4:1:1", sampling: (4, 1), isPlain: false),
    RegionForm("progressive", sampling: (2, 2), progressive: true, isPlain: false),
    RegionForm("a scan for each component", separate: true, isPlain: false),
    RegionForm("CMYK", channels: 4, isPlain: false),
  ]

  /// Waves with noise, so that all frequencies occur.
  func jpeg(width: Int, height: Int, item: Int) -> [UInt8] {
    let noise = randomBytes(channels * width * height, item: item)
    let pixels = (0..<noise.count).map { i in
      let c = i % channels
      let x = Double(i / channels % width)
      let y = Double(i / channels / width)
      let wave = 90 * sin(x / (3 + Double(c)) + Double(item)) * cos(y / 7 - Double(c))
      return UInt8(128 + wave + Double(noise[i] % 32))
    }
    let form = cje_form(
      channels: Int32(channels), across: Int32(sampling.0), down: Int32(sampling.1),
      restart: Int32(restart), progressive: progressive ? 1 : 0, separate: separate ? 1 : 0,
      stored_rgb: storedRGB ? 1 : 0)
    var out: UnsafeMutablePointer<UInt8>?
    let count = cje_encode(pixels, UInt32(width), UInt32(height), form, &out)
    defer { free(out) }
    return [UInt8](UnsafeBufferPointer(start: out, count: count))
  }
}

@Suite("Decoding a region") struct DecodingRegionTests {
  let decoder = ImageDecoder()
  let image = ImageBuffer()

  enum Outcome: Equatable {
    case pixels([UInt8])
    case refused(String)
    case tooSmall(PixelRectangle)
  }

  /// The rectangle of the shrunk image, or what was thrown; and whether all of it was decoded.
  func part(
    _ bytes: [UInt8], _ region: DecodingRegion.Choice, everything: Bool
  ) -> (outcome: Outcome, isWhole: Bool) {
    var wanted = PixelRectangle(x: 0, y: 0, width: 0, height: 0)
    do {
      try bytes.withUnsafeBufferPointer {
        try decoder.decode($0, into: image) { width, height in
          let region = region(width, height)
          wanted = region.rectangle
          return everything
            ? .whole(width: width, height: height, reduction: region.reduction) : region
        }
      }
    } catch { return (.refused("\(error)"), false) }
    let held = PixelRectangle(x: image.x, y: image.y, width: image.width, height: image.height)
    guard held.contains(wanted) else { return (.tooSmall(held), false) }
    var pixels: [UInt8] = []
    for y in wanted.y..<(wanted.y + wanted.height) {
      let row = image.pixels + (y - image.y) * image.stride + 3 * (wanted.x - image.x)
      pixels += UnsafeBufferPointer(start: row, count: 3 * wanted.width)
    }
    return (
      .pixels(pixels),
      image.x == 0 && image.y == 0 && image.width == image.reducedWidth
        && image.height == image.reducedHeight
    )
  }

  /// A function of the size and the item, as a transform's is.
  func region(_ width: Int, _ height: Int, item: Int, reductions: [Int]) -> DecodingRegion {
    let random = RandomSequence(seed: 3, purpose: .testInput, item: item)
    let reduction = reductions[random.integer(0, below: reductions.count)]
    var region = DecodingRegion.whole(width: width, height: height, reduction: reduction)
    let (columns, rows) = (region.rectangle.width, region.rectangle.height)
    let x = random.integer(1, below: columns)
    let y = random.integer(2, below: rows)
    region.rectangle = PixelRectangle(
      x: x, y: y, width: 1 + random.integer(3, below: columns - x),
      height: 1 + random.integer(4, below: rows - y))
    return region
  }

  @Test("has the bytes of decoding everything", arguments: RegionForm.all)
  func sameBytes(form: RegionForm) {
    var parts = 0
    for item in 0..<400 {
      let random = RandomSequence(seed: 4, purpose: .testInput, item: item)
      let width = 1 + random.integer(0, below: item % 4 == 0 ? 20 : 150)
      let height = 1 + random.integer(1, below: item % 5 == 0 ? 20 : 120)
      let bytes = form.jpeg(width: width, height: height, item: item)
      func choose(_ width: Int, _ height: Int) -> DecodingRegion {
        region(width, height, item: item, reductions: [1, 1, 2, 4, 8])
      }
      let expected = part(bytes, choose, everything: true)
      let found = part(bytes, choose, everything: false)
      #expect(found.outcome == expected.outcome, "\(width) x \(height), \(choose(width, height))")
      #expect(expected.isWhole)
      if !found.isWhole { parts += 1 }
    }
    // Or the comparison would say nothing.
    #expect(form.isPlain ? parts > 300 : parts == 0)
  }

  @Test("damaged files have the outcome of decoding everything", arguments: RegionForm.all)
  func sameRefusals(form: RegionForm) {
    var refused = 0
    var damaged = 0
    for item in 0..<400 {
      let whole = form.jpeg(width: 61, height: 75, item: item % 5)
      var bytes = whole
      let random = RandomSequence(seed: 5, purpose: .testInput, item: item)
      let at = random.integer(0, below: bytes.count - 2)
      let value = UInt8(random.integer(1, below: 256))
      switch item % 4 {
      case 0: bytes[at] = value
      case 1: bytes.replaceSubrange(at...at + 1, with: [0xFF, value])
      case 2: bytes.removeSubrange(at..<min(at + 1 + random.integer(1, below: 99), bytes.count))
      default: bytes.removeSubrange(at...)
      }
      func choose(_ width: Int, _ height: Int) -> DecodingRegion {
        region(width, height, item: item, reductions: [1, 1, 1, 2])
      }
      let expected = part(bytes, choose, everything: true)
      let found = part(bytes, choose, everything: false)
      #expect(found.outcome == expected.outcome, "item \(item), byte \(at) of \(whole.count)")
      if case .refused = expected.outcome { refused += 1 }
      let good = part(whole, choose, everything: true)
      if good.outcome != expected.outcome { damaged += 1 }
    }
    #expect(refused > 100 && damaged > refused)
  }

  @Test("tables that a file lacks are not taken from the one before", arguments: RegionForm.all)
  func noHistory(form: RegionForm) {
    func choose(_ width: Int, _ height: Int) -> DecodingRegion {
      region(width, height, item: 0, reductions: [1])
    }
    // Tables made for the image, at other frequencies, so unlike the standard ones.
    let earlier = RegionForm("", sampling: (2, 2), progressive: true, isPlain: false)
      .jpeg(width: 40, height: 30, item: 3)
    let whole = form.jpeg(width: 40, height: 30, item: 0)
    for kind in [UInt8(0xC4), 0xDB] {
      let bytes = without(kind, whole)
      #expect(bytes.count < whole.count)
      for everything in [true, false] {
        let fresh = DecodingRegionTests().part(bytes, choose, everything: everything).outcome
        for _ in 0..<2 {
          _ = part(earlier, DecodingRegion.everything, everything: true)
          let found = part(bytes, choose, everything: everything).outcome
          #expect(found == fresh, "\(kind), \(everything)")
        }
      }
    }
  }

  /// The JPEG without its segments of one kind before the first scan.
  func without(_ kind: UInt8, _ bytes: [UInt8]) -> [UInt8] {
    var kept = Array(bytes[..<2])
    var at = 2
    while bytes[at + 1] != 0xDA {
      let end = at + 2 + (Int(bytes[at + 2]) << 8 | Int(bytes[at + 3]))
      if bytes[at + 1] != kind { kept += bytes[at..<end] }
      at = end
    }
    return kept + bytes[at...]
  }

  @Test("a plain JPEG has one scan and then its end") func plain() {
    for form in RegionForm.all where !["4:4:0", "4:1:1", "CMYK"].contains(form.testDescription) {
      let bytes = form.jpeg(width: 40, height: 30, item: 0)
      func isPlain(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBufferPointer(isPlainJPEG) }
      #expect(isPlain(bytes) == form.isPlain, "\(form.testDescription)")
      guard form.isPlain else { continue }
      for length in 0..<bytes.count { #expect(!isPlain(Array(bytes[..<length])), "\(length)") }
      // More fill bytes, what follows the end, and markers that decoding would have to look at.
      #expect(isPlain(Array(bytes.dropLast(2)) + [0xFF, 0xFF, 0xFF, 0xD9, 1, 2, 3]))
      for code in [UInt8(0x01), 0xC0, 0xC4, 0xD8, 0xDA, 0xDC, 0xE0] {
        #expect(!isPlain(Array(bytes.dropLast(2)) + [0xFF, code, 0, 2, 0xFF, 0xD9]), "\(code)")
      }
    }
  }

  @Test(
    "gives the transform's results of decoding everything", arguments: [true, false],
    [(70, 60), (90, 200), (33, 250), (640, 480)])
  func transformed(isTraining: Bool, size: (Int, Int)) throws {
    let transform = ImageTransform(
      size: 32, framing: .standard, isTraining: isTraining, augment: true, noise: 0, seed: 7,
      statistics: .imageNet)
    let workspace = transform.makeWorkspace()
    let form = RegionForm("4:2:0", sampling: (2, 2))
    let bytes = form.jpeg(width: size.0, height: size.1, item: 1)
    var smaller = 0
    for index in 0..<40 {
      let results = try [true, false].map { everything in
        try bytes.withUnsafeBufferPointer {
          try decoder.decode($0, into: image) { width, height in
            let region = transform.region(width: width, height: height, epoch: 2, index: index)
            return everything
              ? .whole(width: width, height: height, reduction: region.reduction) : region
          }
        }
        if !everything, image.width < image.reducedWidth || image.height < image.reducedHeight {
          smaller += 1
        }
        let out = FloatSlab(count: 3 * 32 * 32)
        transform.apply(image, epoch: 2, index: index, workspace: workspace, out: out.base)
        return Array(UnsafeBufferPointer(start: out.base, count: out.count))
      }
      #expect(results[0] == results[1], "\(index)")
    }
    #expect(smaller > 20)
  }
}
