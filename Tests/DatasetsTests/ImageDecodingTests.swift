// JPEG and PNG decoding against Pillow's, and files that are not what they should be.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Datasets

@Suite("Image decoding") struct ImageDecodingTests {
  func decode(_ bytes: [UInt8], with decoder: ImageDecoder = ImageDecoder()) throws -> ImageBuffer {
    let image = ImageBuffer()
    try bytes.withUnsafeBufferPointer { try decoder.decode($0, into: image) }
    return image
  }

  func reason(_ bytes: [UInt8], with decoder: ImageDecoder = ImageDecoder()) -> String {
    do {
      let image = try decode(bytes, with: decoder)
      return "decoded \(image.width) x \(image.height)"
    } catch { return "\(error)" }
  }

  /// Largest difference of any byte.
  func difference(_ a: [UInt8], _ b: [UInt8]) -> Int {
    a.count == b.count ? zip(a, b).map { abs(Int($0) - Int($1)) }.max() ?? 0 : 256
  }

  @Test("every byte within 2 of Pillow's, whatever the form of the file") func golden() throws {
    let tensors = try readBytesTensors(goldenFolder.appendingPathComponent("images.safetensors"))
    var checked = 0
    for (name, file) in tensors where name.hasSuffix(".file") {
      let name = name.dropLast(5)
      guard let expected = tensors[name + ".pixels"] else { continue }
      let image = try decode(file.bytes)
      #expect([image.height, image.width, 3] == expected.shape, "\(name)")
      // Versions of libjpeg differ by one or two.
      #expect(difference(image.bytes, expected.bytes) <= 2, "\(name)")
      checked += 1
    }
    #expect(checked == 16)
  }

  @Test("squashed as Pillow does, also when the decoder shrinks large images") func squash() throws
  {
    let tensors = try readBytesTensors(goldenFolder.appendingPathComponent("images.safetensors"))
    var reductions = Set<Int>()
    var checked = 0
    for (name, expected) in tensors where name.contains(".squash_") {
      let file = try #require(tensors[name.prefix { $0 != "." } + ".file"])
      let size = expected.shape[0]
      let transform = ImageTransform(
        size: size, framing: .squash, isTraining: false, augment: false, noise: 0, seed: 0,
        statistics: .imageNet)
      let image = ImageBuffer()
      try file.bytes.withUnsafeBufferPointer {
        try ImageDecoder().decode($0, into: image) { width, height in
          let region = transform.region(width: width, height: height, epoch: 0, index: 0)
          reductions.insert(region.reduction)
          return region
        }
      }
      let target = ImageBuffer()
      ImageResizer().resize(image, width: size, height: size, into: target)
      #expect(difference(target.bytes, expected.bytes) <= 2, "\(name)")
      checked += 1
    }
    #expect(checked == 6)
    #expect(reductions.count > 1 && reductions.contains(1))
  }

  /// A photograph-like JPEG of 64 x 48.
  func jpeg(_ form: JPEGForm = .usual, width: Int = 64, height: Int = 48) -> [UInt8] {
    let channels = form == .ink ? 4 : 3
    return encodeJPEG(
      randomBytes(channels * width * height, item: 1), width: width, height: height, form: form)
  }

  @Test("a truncated JPEG is refused at every length", arguments: JPEGForm.allCases)
  func truncated(form: JPEGForm) throws {
    let whole = jpeg(form)
    #expect(reason(whole) == "decoded 64 x 48")
    let decoder = ImageDecoder()
    for length in stride(from: 0, to: whole.count - 1, by: 41) {
      let found = reason(Array(whole[..<length]), with: decoder)
      #expect(!found.hasPrefix("decoded"), "\(length) of \(whole.count) bytes: \(found)")
    }
  }

  @Test("a damaged file leaves no trace in the next one") func independent() throws {
    let good = jpeg()
    let expected = try decode(good).bytes
    let decoder = ImageDecoder()
    var damaged: [[UInt8]] = [Array(good[..<100]), Array(good[..<(good.count / 2)]), good, good]
    // A frame header with a wrong length, and a header that ends in the middle.
    let frame = try #require(good.indices.first { good[$0] == 0xFF && good[$0 + 1] == 0xC0 })
    damaged[2][frame + 3] = 9
    damaged[3].replaceSubrange(20..<26, with: [0xFF, 0xD8, 0xFF, 0xC4, 0xFF, 0xFF])
    for bytes in damaged {
      #expect(!reason(bytes, with: decoder).hasPrefix("decoded"))
      #expect(try decode(good, with: decoder).bytes == expected)
    }
  }

  @Test("what a decoder did not come to is never taken for an image") func givenUp() throws {
    // Scans of odd entropy-coded bytes: first warnings, then an error in a later marker.
    let whole = jpeg(.progressive)
    let decoder = ImageDecoder()
    var results: [String: Set<[UInt8]>] = [:]
    for item in 0..<300 {
      var bytes = whole
      let random = randomBytes(8, item: item)
      for k in 0..<4 {
        bytes[whole.count / 3 + (Int(random[k]) << 8 | Int(random[k + 4])) % (whole.count / 2)] =
          random[k]
      }
      // Whatever was in the buffer before, the outcome is the same.
      for fill in [UInt8(0), 255] {
        let image = ImageBuffer()
        image.assign(
          width: 64, height: 48, rgb: [UInt8](repeating: fill, count: 3 * 64 * 48))
        let outcome: [UInt8]
        do {
          try bytes.withUnsafeBufferPointer { try decoder.decode($0, into: image) }
          outcome = image.bytes
        } catch { outcome = Array("\(error)".utf8) }
        results["\(item)", default: []].insert(outcome)
      }
    }
    #expect(results.count == 300)
    #expect(results.values.allSatisfy { $0.count == 1 })
  }

  @Test("files that are something else are refused with what they are") func strangers() {
    #expect(reason([]) == "the file is empty")
    #expect(reason(Array("hello".utf8)) == "neither a JPEG nor a PNG image")
    #expect(reason(Array("GIF89a\u{1}\u{0}".utf8)) == "neither a JPEG nor a PNG image")
    // Version 3.1 of libjpeg-turbo finds it damaged.
    let cut = reason([0xFF, 0xD8, 0xFF])
    #expect(cut == "a JPEG without an image" || cut.hasPrefix("damaged JPEG"))
    #expect(reason([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]).hasPrefix("damaged PNG"))
  }

  /// The JPEG with other numbers in its frame header.
  func claiming(width: Int, height: Int, _ bytes: [UInt8]) throws -> [UInt8] {
    var bytes = bytes
    let frame = try #require(
      bytes.indices.first { bytes[$0] == 0xFF && [0xC0, 0xC2].contains(bytes[$0 + 1]) })
    bytes[frame + 5] = UInt8(height >> 8)
    bytes[frame + 6] = UInt8(height & 255)
    bytes[frame + 7] = UInt8(width >> 8)
    bytes[frame + 8] = UInt8(width & 255)
    return bytes
  }

  @Test("an image that claims to be huge is refused before memory is asked for") func huge() throws
  {
    let image = try claiming(width: 12_000, height: 8_400, jpeg())
    #expect(reason(image).contains("12000 x 8400 pixels, more than the limit of 100000000"))
    // Within the limit, but the file cannot hold that much.
    for form in [JPEGForm.usual, .progressive] {
      let small = try claiming(width: 9_000, height: 8_000, jpeg(form))
      #expect(reason(small).contains("9000 x 8000 pixels in"))
    }
    var png = encodePNG(randomBytes(12, item: 0), width: 2, height: 2, channels: 3)
    let wide = encodePNG(
      [UInt8](repeating: 7, count: 1 << 19), width: 1 << 19, height: 1, channels: 1)
    #expect(reason(wide) == "decoded 524288 x 1")
    // Width and height of IHDR; its checksum is wrong then, which is as good a reason.
    png[18] = 0xFF
    #expect(reason(png).hasPrefix("damaged PNG"))
  }

  @Test("the name of a file says nothing") func names() throws {
    let folder = try TemporaryFolder()
    let image = ImageBuffer()
    let png = encodePNG(randomBytes(60, item: 0), width: 5, height: 4, channels: 3)
    try ImageDecoder().decode(path: folder.write("a.JPEG", png), into: image)
    #expect(image.width == 5 && image.bytes == randomBytes(60, item: 0))
    try ImageDecoder().decode(path: folder.write("b.png", jpeg()), into: image)
    #expect(image.width == 64)
    let error = #expect(throws: ImageError.self) {
      try ImageDecoder().decode(path: folder.path, into: image)
    }
    #expect(error?.reason == "not a regular file")
    #expect(throws: RunError.self) {
      try ImageDecoder().decode(path: folder.path + "/none.JPEG", into: image)
    }
  }
}
