// Small JPEG and PNG files, for the fuzzer and for tests.
import CPNG
import CTurboJPEG
import Foundation

/// Forms of JPEG that the decoder meets.
package enum JPEGForm: CaseIterable {
  /// 4:2:0, as most photographs; 4:4:4; only brightness; progressive; four inks.
  case usual, fullColor, gray, progressive, ink
}

/// The image as a JPEG of quality 90.
///
/// - Parameter pixels: width x height x 3 bytes, 4 for ink.
package func encodeJPEG(_ pixels: [UInt8], width: Int, height: Int, form: JPEGForm) -> [UInt8] {
  let channels = form == .ink ? 4 : 3
  precondition(pixels.count == channels * width * height)
  guard let handle = tjInitCompress() else { fatalError("Out of memory for a JPEG encoder.") }
  defer { tjDestroy(handle) }
  var out: UnsafeMutablePointer<UInt8>?
  var size: UInt = 0
  let subsampling: TJSAMP
  switch form {
  case .usual: subsampling = TJSAMP_420
  case .gray: subsampling = TJSAMP_GRAY
  case .fullColor, .progressive, .ink: subsampling = TJSAMP_444
  }
  let status = tjCompress2(
    handle, pixels, Int32(width), 0, Int32(height),
    Int32((form == .ink ? TJPF_CMYK : TJPF_RGB).rawValue), &out, &size,
    Int32(subsampling.rawValue), 90, form == .progressive ? TJFLAG_PROGRESSIVE : 0)
  guard status == 0, let out else {
    fatalError("JPEG encoder: \(String(cString: tjGetErrorStr2(handle)))")
  }
  defer { tjFree(out) }
  return [UInt8](UnsafeBufferPointer(start: out, count: Int(size)))
}

/// The image as a PNG.
///
/// - Parameter channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
package func encodePNG(_ pixels: [UInt8], width: Int, height: Int, channels: Int) -> [UInt8] {
  precondition(pixels.count == channels * width * height)
  var png = png_image()
  png.version = UInt32(PNG_IMAGE_VERSION)
  png.width = UInt32(width)
  png.height = UInt32(height)
  png.format =
    UInt32(channels > 2 ? PNG_FORMAT_FLAG_COLOR : 0)
    | UInt32(channels % 2 == 0 ? PNG_FORMAT_FLAG_ALPHA : 0)
  var size = 0
  guard png_image_write_to_memory(&png, nil, &size, 0, pixels, 0, nil) != 0 else {
    fatalError("PNG encoder failed.")
  }
  var out = [UInt8](repeating: 0, count: size)
  guard png_image_write_to_memory(&png, &out, &size, 0, pixels, 0, nil) != 0 else {
    fatalError("PNG encoder failed.")
  }
  return Array(out.prefix(size))
}
