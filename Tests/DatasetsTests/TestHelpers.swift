// Random images, and a reader for the golden images.
import Foundation
import Tensors

@testable import Datasets

func randomBytes(_ count: Int, item: Int) -> [UInt8] {
  let random = RandomSequence(seed: 9, purpose: .testInput, item: item)
  return (0..<count).map { UInt8(truncatingIfNeeded: random.word($0)) }
}

func randomImage(width: Int, height: Int, item: Int) -> ImageBuffer {
  let image = ImageBuffer()
  image.assign(
    width: width, height: height, rgb: randomBytes(3 * width * height, item: item))
  return image
}

/// The 8-bit tensors of a safetensors file.
func readBytesTensors(_ url: URL) throws -> [String: (shape: [Int], bytes: [UInt8])] {
  let data = [UInt8](try Data(contentsOf: url))
  let length = (0..<8).reduce(0) { $0 | Int(data[$1]) << (8 * $1) }
  let header = try JSONSerialization.jsonObject(with: Data(data[8..<(8 + length)]))
  var out: [String: (shape: [Int], bytes: [UInt8])] = [:]
  for (name, value) in header as! [String: Any] where name != "__metadata__" {
    let entry = value as! [String: Any]
    let range = entry["data_offsets"] as! [Int]
    out[name] = (
      entry["shape"] as! [Int], Array(data[(8 + length + range[0])..<(8 + length + range[1])])
    )
  }
  return out
}
