// The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes.
import Diagnostics
import Files
import Foundation

/// One tensor of a file.
public struct TensorEntry: Equatable, Sendable {
  public let name: String
  public let dtype: String
  public let shape: [Int]
  /// Where its bytes lie, counted from the end of the header.
  public let bytes: Range<Int>
  public var count: Int { shape.reduce(1, *) }
}

/// A safetensors file, mapped into memory and fully checked when it is opened.
public struct SafetensorsFile: Sendable {
  public let path: String
  public let metadata: [String: String]
  /// In the order of their bytes.
  public let tensors: [TensorEntry]
  private let data: Data
  private let start: Int

  static let sizes = [
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
  ]

  /// - Throws: `RunError` (configuration) naming the file and what is wrong with it.
  public init(path: String) throws {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
      throw RunError.configuration("\(path) is a directory: expected a safetensors file.")
    }
    let data: Data
    do { data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped) } catch {
      throw RunError.configuration("\(path) could not be read: \(systemReason(of: error)).")
    }
    try self.init(data: data, path: path)
  }

  /// - Parameter path: what errors call it.
  public init(data: Data, path: String) throws {
    func damaged(_ reason: String) -> RunError {
      .configuration("\(path) is no whole safetensors file: \(reason).")
    }
    guard data.count >= 8 else { throw damaged("it has \(data.count) bytes, at least 8 expected") }
    let length = data.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(data.count - 8) else {
      throw damaged("its header claims \(length) bytes, the file has \(data.count)")
    }
    let start = 8 + Int(length)
    guard
      let header = try? JSONSerialization.jsonObject(with: data[8..<start]) as? [String: Any]
    else { throw damaged("its header is no JSON object") }

    var metadata: [String: String] = [:]
    var tensors: [TensorEntry] = []
    for (name, value) in header {
      if name == "__metadata__" {
        guard let pairs = value as? [String: String] else {
          throw damaged("its metadata is not text")
        }
        metadata = pairs
        continue
      }
      guard let entry = value as? [String: Any], let dtype = entry["dtype"] as? String,
        let shape = entry["shape"] as? [Int], let offsets = entry["data_offsets"] as? [Int],
        offsets.count == 2, let size = Self.sizes[dtype]
      else { throw damaged("the header's entry of tensor \(name) is not understood") }
      var count = size
      for extent in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: extent)
        guard extent >= 0, !overflow else { throw damaged("tensor \(name) has shape \(shape)") }
        count = product
      }
      guard offsets[0] >= 0, offsets[1] >= offsets[0], offsets[1] <= data.count - start,
        offsets[1] - offsets[0] == count
      else {
        throw damaged(
          "tensor \(name) \(shape) of \(dtype) needs \(count) bytes, its place is \(offsets) of"
            + " \(data.count - start)")
      }
      tensors.append(
        TensorEntry(name: name, dtype: dtype, shape: shape, bytes: offsets[0]..<offsets[1]))
    }
    tensors.sort { ($0.bytes.lowerBound, $0.name) < ($1.bytes.lowerBound, $1.name) }
    var end = 0
    for tensor in tensors {
      guard tensor.bytes.lowerBound == end else {
        throw damaged("tensor \(tensor.name) overlaps another or leaves a gap")
      }
      end = tensor.bytes.upperBound
    }
    guard end == data.count - start else {
      throw damaged("its tensors end at byte \(start + end) of \(data.count)")
    }
    self.path = path
    self.metadata = metadata
    self.tensors = tensors
    self.data = data
    self.start = start
  }

  public subscript(name: String) -> TensorEntry? { tensors.first { $0.name == name } }

  /// XXH64 of all tensors' bytes, in their order.
  public func contentChecksum() -> String { Checksum.hex(of: data.dropFirst(start)) }

  /// A tensor's bytes as they lie in the file.
  public func bytes(_ entry: TensorEntry) -> Data {
    data[
      data.startIndex + start + entry.bytes.lowerBound..<data.startIndex + start
        + entry.bytes.upperBound]
  }

  /// A tensor's values, whatever its number type.
  ///
  /// - Throws: `RunError` (configuration) when there is no such tensor.
  public func floats(_ name: String) throws -> [Float] {
    guard let entry = self[name] else {
      throw RunError.configuration("\(path) has no tensor \(name).")
    }
    return bytes(entry).withUnsafeBytes { raw in
      func values<T>(_: T.Type, _ convert: (T) -> Float) -> [Float] {
        let size = MemoryLayout<T>.size
        return (0..<entry.count).map {
          convert(raw.loadUnaligned(fromByteOffset: $0 * size, as: T.self))
        }
      }
      switch entry.dtype {
      case "F64": return values(Double.self) { Float($0) }
      case "F16": return values(UInt16.self, halfToFloat)
      case "BF16": return values(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
      case "I64": return values(Int64.self) { Float($0) }
      case "I32": return values(Int32.self) { Float($0) }
      case "I16": return values(Int16.self) { Float($0) }
      case "I8": return values(Int8.self) { Float($0) }
      case "U8", "BOOL": return values(UInt8.self) { Float($0) }
      default: return values(Float.self) { $0 }
      }
    }
  }
}

/// IEEE half precision to single, exactly.
func halfToFloat(_ half: UInt16) -> Float {
  let sign: Float = half & 0x8000 != 0 ? -1 : 1
  let exponent = Int(half >> 10 & 31)
  let fraction = Float(half & 1023)
  switch exponent {
  case 0: return sign * fraction * 0x1p-24
  case 31: return fraction == 0 ? sign * .infinity : .nan
  default:
    return sign * (1 + fraction / 1024)
      * Float(sign: .plus, exponent: exponent - 15, significand: 1)
  }
}

/// A tensor to be written as F32.
public struct TensorToWrite {
  public let name: String
  public let shape: [Int]
  public let values: UnsafePointer<Float>

  public init(name: String, shape: [Int], values: UnsafePointer<Float>) {
    self.name = name
    self.shape = shape
    self.values = values
  }

  public var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: values, count: shape.reduce(4, *))
  }
}

/// Writes tensors in the order given, atomically. The bytes depend on nothing but the arguments.
public func writeSafetensors(
  to path: String, metadata: [String: String], tensors: [TensorToWrite]
) throws {
  func quoted(_ text: String) -> String {
    let encoded = try? JSONEncoder().encode([text])
    let json = String(decoding: encoded ?? Data(), as: UTF8.self)
    return String(json.dropFirst().dropLast())
  }
  var entries: [String] = []
  if !metadata.isEmpty {
    let pairs = metadata.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }
    entries.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
  }
  var offset = 0
  for tensor in tensors {
    let size = tensor.bytes.count
    let shape = tensor.shape.map(String.init).joined(separator: ",")
    entries.append(
      "\(quoted(tensor.name)):{\"dtype\":\"F32\",\"shape\":[\(shape)],"
        + "\"data_offsets\":[\(offset),\(offset + size)]}")
    offset += size
  }
  var header = Array("{\(entries.joined(separator: ","))}".utf8)
  while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }
  try AtomicFile.write(to: path) { file in
    var length = UInt64(header.count).littleEndian
    try file.write(contentsOf: withUnsafeBytes(of: &length) { Data($0) })
    try file.write(contentsOf: Data(header))
    for tensor in tensors {
      let bytes = tensor.bytes
      guard let base = bytes.baseAddress else { continue }
      try file.write(
        contentsOf: Data(
          bytesNoCopy: UnsafeMutableRawPointer(mutating: base), count: bytes.count,
          deallocator: .none))
    }
  }
}
