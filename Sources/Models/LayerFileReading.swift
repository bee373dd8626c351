// Golden files from disk, and what the `verify` command asks of one.
import Diagnostics
import Foundation
import Tensors

extension LayerFile {
  /// - Throws: `RunError` (code data) when the file cannot be read or is no golden file.
  public init(path: String) throws {
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw RunError.data("\(path): cannot be read: \(systemReason(of: error)).")
    }
    let (config, tensors) = try data.withUnsafeBytes { try LayerFile.parse($0, path: path) }
    try self.init(path: path, config: config, tensors: tensors)
  }

  /// The safetensors layout: length of the header (64 bits, little-endian), header (JSON: name to dtype,
  /// shape and data_offsets, and texts under `__metadata__`), data.
  private static func parse(
    _ bytes: UnsafeRawBufferPointer, path: String
  ) throws -> (config: String, tensors: [String: LayerTensor]) {
    guard bytes.count >= 8 else {
      throw RunError.data("\(path): \(bytes.count) bytes are too few for a safetensors file.")
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(bytes.count - 8) else {
      throw RunError.data(
        "\(path): the header is said to have \(length) bytes, the file has \(bytes.count).")
    }
    let header = UnsafeRawBufferPointer(rebasing: bytes[8..<8 + Int(length)])
    let contents = UnsafeRawBufferPointer(rebasing: bytes[(8 + Int(length))...])
    guard
      var entries = try? JSONSerialization.jsonObject(with: Data(header)) as? [String: Any]
    else { throw RunError.data("\(path): the safetensors header is no JSON object.") }
    let metadata = entries.removeValue(forKey: "__metadata__") as? [String: Any]
    guard let config = metadata?["config"] as? String else {
      throw RunError.data("\(path): no metadata `config`: this is no golden file of a layer.")
    }
    var tensors: [String: LayerTensor] = [:]
    for name in entries.keys.sorted() {
      guard
        let entry = entries[name] as? [String: Any], let type = entry["dtype"] as? String,
        let shape = entry["shape"] as? [Int], let range = entry["data_offsets"] as? [Int],
        shape.allSatisfy({ $0 >= 0 }), range.count == 2, range[0] >= 0, range[0] <= range[1],
        range[1] <= contents.count
      else { throw RunError.data("\(path): tensor \(name) is not described properly.") }
      let slice = UnsafeRawBufferPointer(rebasing: contents[range[0]..<range[1]])
      tensors[name] = LayerTensor(
        shape: shape, values: try values(slice, type: type, shape: shape, what: "\(path): \(name)"))
    }
    return (config, tensors)
  }

  private static func values(
    _ bytes: UnsafeRawBufferPointer, type: String, shape: [Int], what: String
  ) throws -> [Float] {
    func read<T>(_: T.Type, _ number: (T) -> Float) throws -> [Float] {
      var expected = MemoryLayout<T>.size
      for extent in shape {
        let (product, overflow) = expected.multipliedReportingOverflow(by: extent)
        expected = overflow ? -1 : product
      }
      guard bytes.count == expected else {
        throw RunError.data("\(what) has \(bytes.count) bytes, which do not fit shape \(shape).")
      }
      return (0..<bytes.count / MemoryLayout<T>.size).map {
        number(bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self))
      }
    }
    switch type {
    case "F32": return try read(UInt32.self) { Float(bitPattern: UInt32(littleEndian: $0)) }
    case "F64": return try read(UInt64.self) { Float(Double(bitPattern: UInt64(littleEndian: $0))) }
    case "I64": return try read(Int64.self) { Float(Int64(littleEndian: $0)) }
    case "I32": return try read(Int32.self) { Float(Int32(littleEndian: $0)) }
    default:
      throw RunError.data("\(what) has dtype \(type); expected F32, F64, I32 or I64.")
    }
  }
}

/// One golden file's verdict.
public struct LayerVerification: Sendable {
  public let comparison: LayerComparison
  public let passed: Bool
  /// The largest relative error.
  public var error: Double { comparison.worst.error }
}

/// Reads a golden file, runs the layer that `makeLayer` makes for it, forward and backward, and compares.
///
/// - Throws: `RunError` when the file is malformed, or when `makeLayer` throws it.
public func verifyLayerFile(
  _ path: String, tolerance: Double, precision: Precision = .single, makeLayer: LayerMaker
) throws -> LayerVerification {
  let comparison = try Matmul.with(precision) {
    try LayerFile(path: path).compare(makeLayer: makeLayer)
  }
  return LayerVerification(
    comparison: comparison, passed: comparison.passes(tolerance: tolerance))
}

/// Verifies a golden file with the layer that its configuration names.
public func verifyLayerFile(
  _ path: String, tolerance: Double, precision: Precision = .single
) throws -> LayerVerification {
  try verifyLayerFile(path, tolerance: tolerance, precision: precision) { file in
    makeAttentionLayer(
      file.configuration, width: file.width, tokens: file.tokens, capacity: file.images,
      scratch: Scratch(precision: precision), candidates: file.candidates)
  }
}
