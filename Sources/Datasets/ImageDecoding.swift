// JPEG and PNG files to 8-bit RGB, as Pillow's convert("RGB") gives it.
import CJPEGDecoding
import CKernels
import CPNG
import CTurboJPEG
import Diagnostics
import Foundation

/// Decodes images by their content, whatever the file is called. Belongs to one thread at a time.
public final class ImageDecoder {
  /// More pixels than this are refused before anything is allocated.
  public static let pixelLimit = 100_000_000
  private let fileBytes = ByteBuffer()

  public init() {}

  /// Reads and decodes a file.
  ///
  /// - Parameter region: what of an image of that size is wanted; more may be decoded, at a smaller
  ///   reduction too. Pixels inside are those of decoding everything, and so are errors.
  /// - Throws: `ImageError` for anything that is not a whole JPEG or PNG image within the limits; `RunError` (data)
  ///   for a file that cannot be read: nobody takes another image in its place, as other ranks may get it.
  public func decode(
    path: String, into image: ImageBuffer, region: DecodingRegion.Choice = DecodingRegion.everything
  ) throws {
    let count: Int
    do { count = try readFile(path, into: fileBytes, limit: 1 << 28) } catch let error
      as FileReadError
    {
      throw RunError.data(
        "Cannot read \(path): \(error.reason).\nCheck its permissions and the disk.")
    }
    try decode(
      UnsafeBufferPointer(start: fileBytes.base, count: count), into: image, region: region)
  }

  public func decode(
    _ bytes: UnsafeBufferPointer<UInt8>, into image: ImageBuffer,
    region: DecodingRegion.Choice = DecodingRegion.everything
  ) throws {
    guard bytes.count > 0 else { throw ImageError("the file is empty") }
    if bytes.count >= 3, bytes[0] == 0xFF, bytes[1] == 0xD8, bytes[2] == 0xFF {
      try decodeJPEG(bytes, into: image, region: region)
    } else if bytes.count >= 8, bytes[0] == 0x89, bytes[1] == 0x50, bytes[2] == 0x4E {
      // libpng keeps the pointer until the image is finished.
      try criticalChunks(bytes).withUnsafeBufferPointer { try decodePNG($0, into: image) }
    } else {
      throw ImageError("neither a JPEG nor a PNG image")
    }
  }

  private func checkSize(_ width: Int, _ height: Int) throws {
    guard width <= ImageDecoder.pixelLimit / height else {
      throw ImageError(
        "\(width) x \(height) pixels, more than the limit of \(ImageDecoder.pixelLimit)")
    }
  }

  private func decodeJPEG(
    _ bytes: UnsafeBufferPointer<UInt8>, into image: ImageBuffer, region: DecodingRegion.Choice
  ) throws {
    // A new one for each image: from an earlier image a handle keeps the tables, which a damaged file
    // may lack, and after an error it goes on in the middle of the damaged header.
    guard let handle = tjInitDecompress() else { fatalError("Out of memory for a JPEG decoder.") }
    defer { tjDestroy(handle) }
    var width: Int32 = 0
    var height: Int32 = 0
    var subsampling: Int32 = 0
    var colorSpace: Int32 = 0
    let base = bytes.baseAddress!
    let size = UInt(bytes.count)
    let header = tjDecompressHeader3(
      handle, base, size, &width, &height, &subsampling, &colorSpace)
    // A fatal error after a warning is called a warning too; then there is no size.
    guard header == 0 || (isWarning(handle) && width > 0) else { throw failure(handle) }
    guard width > 0, height > 0 else { throw ImageError("a JPEG without an image") }
    try checkSize(Int(width), Int(height))
    // A block of 8 x 8 pixels takes a bit at the very least.
    guard Int(width) * Int(height) / 64 <= 8 * bytes.count else {
      throw ImageError("\(width) x \(height) pixels in \(bytes.count) bytes: it is truncated")
    }
    let isInk = colorSpace == TJCS_CMYK.rawValue || colorSpace == TJCS_YCCK.rawValue
    let wanted = region(Int(width), Int(height))
    let factor = isInk ? 1 : wanted.reduction
    precondition([1, 2, 4, 8].contains(factor))
    let whole = DecodingRegion.whole(width: Int(width), height: Int(height), reduction: factor)
    precondition(isInk || whole.rectangle.contains(wanted.rectangle))
    if !isInk, wanted != whole, hasUsualSampling(subsampling), isPlainJPEG(bytes) {
      image.resize(wanted, fullWidth: Int(width), fullHeight: Int(height))
      if decodeRegion(bytes, into: image) { return }
    }
    image.resize(whole, fullWidth: Int(width), fullHeight: Int(height))
    let count = image.width * image.height
    let target = isInk ? image.scratch.reserve(4 * count) : image.pixels
    let end = Sentinel(target, count: (isInk ? 4 : 3) * count)
    let status = tjDecompress2(
      handle, base, size, target, Int32(image.width), 0, Int32(image.height),
      (isInk ? TJPF_CMYK : TJPF_RGB).rawValue.asInt32, TJFLAG_LIMITSCANS)
    if status != 0 {
      // Warnings about odd but complete data are let pass, as Pillow does; a decoder that gave up, or
      // a file that ends before its end marker, is not.
      guard isWarning(handle), !end.isUntouched else { throw failure(handle) }
      guard hasEndMarker(bytes) else { throw ImageError("the JPEG data is truncated") }
    }
    if isInk { ck_inverted_cmyk_to_rgb(image.pixels, target, count) }
  }

  private func hasUsualSampling(_ subsampling: Int32) -> Bool {
    [TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_GRAY].contains { $0.rawValue == subsampling }
  }

  /// Decodes the region that `image` has been sized for, widened by some columns.
  ///
  /// - Returns: false when it fails: then decoding everything does too, and says why.
  private func decodeRegion(_ bytes: UnsafeBufferPointer<UInt8>, into image: ImageBuffer) -> Bool {
    guard let decoder = cjd_create() else { return false }
    defer { cjd_destroy(decoder) }
    var rectangle = cjd_rectangle(
      x: UInt32(image.x), y: UInt32(image.y), width: UInt32(image.width),
      height: UInt32(image.height))
    guard
      cjd_begin(decoder, bytes.baseAddress!, bytes.count, UInt32(image.reduction), &rectangle) == 0
    else { return false }
    let widened = PixelRectangle(
      x: Int(rectangle.x), y: Int(rectangle.y), width: Int(rectangle.width),
      height: Int(rectangle.height))
    image.resize(
      DecodingRegion(reduction: image.reduction, rectangle: widened),
      fullWidth: image.fullWidth, fullHeight: image.fullHeight)
    return cjd_read(decoder, image.pixels, image.stride) == 0
  }

  private func isWarning(_ handle: tjhandle) -> Bool {
    tjGetErrorCode(handle) == TJERR_WARNING.rawValue
  }

  private func failure(_ handle: tjhandle) -> ImageError {
    ImageError("damaged JPEG: \(String(cString: tjGetErrorStr2(handle)))")
  }

  private func decodePNG(_ bytes: UnsafeBufferPointer<UInt8>, into image: ImageBuffer) throws {
    var png = png_image()
    png.version = UInt32(PNG_IMAGE_VERSION)
    guard png_image_begin_read_from_memory(&png, bytes.baseAddress!, bytes.count) != 0 else {
      throw ImageError("damaged PNG: \(pngMessage(png))")
    }
    defer { png_image_free(&png) }
    let width = Int(png.width)
    let height = Int(png.height)
    try checkSize(width, height)
    // Deflate shrinks at most 1032-fold, and a pixel has a bit at least.
    guard height * (width / 8 + 1) / 1032 <= bytes.count else {
      throw ImageError("\(width) x \(height) pixels in \(bytes.count) bytes: it is truncated")
    }
    png.flags |= UInt32(PNG_IMAGE_FLAG_16BIT_sRGB)
    // Alpha is dropped, not blended, as Pillow's convert("RGB") does.
    let count = width * height
    let hasAlpha = png.format & UInt32(PNG_FORMAT_FLAG_ALPHA) != 0
    png.format = UInt32(PNG_FORMAT_FLAG_COLOR | (hasAlpha ? PNG_FORMAT_FLAG_ALPHA : 0))
    image.resize(width: width, height: height)
    let target = hasAlpha ? image.scratch.reserve(4 * count) : image.pixels
    guard png_image_finish_read(&png, nil, target, 0, nil) != 0 else {
      throw ImageError("damaged PNG: \(pngMessage(png))")
    }
    guard hasAlpha else { return }
    for i in 0..<count {
      for c in 0..<3 { image.pixels[3 * i + c] = target[4 * i + c] }
    }
  }

  private func pngMessage(_ png: png_image) -> String {
    withUnsafeBytes(of: png.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}

/// A mark at the end of a buffer that is still there when a decoder has not come so far.
private struct Sentinel {
  private static let pattern: [UInt8] = [
    0x9D, 0x04, 0xE6, 0x3B, 0xFA, 0x51, 0x22, 0xC8, 0x0F, 0xB7, 0x6E, 0xD1, 0x38, 0x95, 0x47, 0xEC,
  ]
  private let place: UnsafeMutableBufferPointer<UInt8>

  init(_ base: UnsafeMutablePointer<UInt8>, count: Int) {
    let length = min(count, Sentinel.pattern.count)
    place = UnsafeMutableBufferPointer(start: base + count - length, count: length)
    for i in 0..<length { place[i] = Sentinel.pattern[i] }
  }

  var isUntouched: Bool { place.elementsEqual(Sentinel.pattern.prefix(place.count)) }
}

extension FixedWidthInteger {
  fileprivate var asInt32: Int32 { Int32(truncatingIfNeeded: self) }
}

/// A PNG without its optional chunks: gamma and profiles would change the colours, which Pillow
/// leaves as they are stored.
private func criticalChunks(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
  var kept = [UInt8](bytes.prefix(8))
  kept.reserveCapacity(bytes.count)
  var at = 8
  while at + 12 <= bytes.count {
    let length = (0..<4).reduce(0) { $0 << 8 | Int(bytes[at + $1]) }
    let end = min(at + 12 + length, bytes.count)
    // Capital letters name what a reader must understand.
    if bytes[at + 4] & 0x20 == 0 { kept += bytes[at..<end] }
    at = end
  }
  return kept
}
