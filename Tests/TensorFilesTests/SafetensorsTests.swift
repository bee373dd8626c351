// The safetensors reader on files made elsewhere, on damage, and on its own writer.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import TensorFiles

@Suite("Safetensors") struct SafetensorsTests {
  let golden = goldenFolder.appendingPathComponent("layers/sparse_all_128.safetensors").path

  private func temporaryFile() -> String {
    FileManager.default.temporaryDirectory
      .appendingPathComponent("tensors-\(UUID().uuidString).safetensors").path
  }

  @Test("reads a file made by the reference's own library") func reads() throws {
    let file = try SafetensorsFile(path: golden)
    let config = try #require(file.metadata["config"])
    #expect(config.contains("\"SparseAttention\""))
    let input = try #require(file["input"])
    #expect(input.shape == [2, 17, 24])
    #expect(try file.floats("input").count == 816)
    #expect(throws: RunError.self) { try file.floats("no such tensor") }
  }

  @Test("every truncation is refused") func truncated() throws {
    let whole = try Data(contentsOf: URL(fileURLWithPath: golden))
    let path = temporaryFile()
    defer { try? FileManager.default.removeItem(atPath: path) }
    for length in stride(from: 0, to: whole.count, by: 211) + [whole.count - 1] {
      try whole.prefix(length).write(to: URL(fileURLWithPath: path))
      #expect(throws: RunError.self) { try SafetensorsFile(path: path) }
    }
  }

  @Test("mutated headers are refused or read, never a crash") func mutated() throws {
    let whole = try Data(contentsOf: URL(fileURLWithPath: golden))
    let path = temporaryFile()
    defer { try? FileManager.default.removeItem(atPath: path) }
    var state: UInt64 = 1
    for _ in 0..<2000 {
      var copy = whole
      for _ in 0..<3 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        copy[Int(state >> 33) % 1500] = UInt8(truncatingIfNeeded: state >> 24)
      }
      try copy.write(to: URL(fileURLWithPath: path))
      if let file = try? SafetensorsFile(path: path) {
        for tensor in file.tensors { #expect(try file.floats(tensor.name).count == tensor.count) }
      }
    }
  }

  private func file(_ header: String, length: UInt64? = nil, _ bytes: Data) throws
    -> SafetensorsFile
  {
    let size = (length ?? UInt64(header.utf8.count)).littleEndian
    let data = withUnsafeBytes(of: size) { Data($0) } + Data(header.utf8) + bytes
    return try SafetensorsFile(data: data, path: "some.file")
  }

  @Test(
    "what is wrong with a header is named",
    arguments: [
      ("{", "no JSON object"), ("[]", "no JSON object"),
      (#"{"__metadata__": {"config": 3}}"#, "metadata is not text"),
      (#"{"t": {"dtype": "F32", "shape": [2]}}"#, "tensor t"),
      (#"{"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 12]}}"#, "tensor t [2]"),
      (#"{"t": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}"#, "tensor t [3]"),
      (#"{"t": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}"#, "tensor t has shape"),
      (
        #"{"t": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}"#,
        "tensor t has shape"
      ),
      (#"{"t": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}"#, "tensor t"),
      (#"{"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#, "end at byte"),
      (#"{"t": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#, "leaves a gap"),
      ("{}", "end at byte"),
    ]) func damaged(header: String, expected: String) throws
  {
    let error = #expect(throws: RunError.self) { try file(header, Data(repeating: 0, count: 8)) }
    #expect(error?.message.contains("some.file") == true)
    #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
  }

  @Test("a header that claims more bytes than there are", arguments: [11, UInt64.max, 1 << 63])
  func longHeader(length: UInt64) throws {
    let error = #expect(throws: RunError.self) {
      try file("{}", length: length, Data(repeating: 0, count: 8))
    }
    #expect(error?.message.contains("claims \(length) bytes") == true)
  }

  @Test("all number types are read") func numberTypes() throws {
    func bytes<T>(_ values: [T]) -> Data { values.withUnsafeBytes { Data($0) } }
    for (type, data, values) in [
      ("F64", bytes([1.5, -2]), [1.5, -2]), ("F32", bytes([Float(0.5), 1e30]), [0.5, 1e30]),
      ("F16", bytes([UInt16(0x3c00), 0xc000]), [1, -2]),
      ("BF16", bytes([UInt16(0x3fc0), 0xc000]), [1.5, -2]),
      ("I64", bytes([-3, 1 << 40]), [-3, 0x1p40]),
      ("I32", bytes([Int32(-3), 7]), [-3, 7]), ("I16", bytes([Int16(-300), 7]), [-300, 7]),
      ("I8", bytes([Int8(-3), 7]), [-3, 7]), ("U8", bytes([UInt8(200), 7]), [200, 7]),
      ("BOOL", bytes([UInt8(1), 0]), [1, 0]),
    ] as [(String, Data, [Float])] {
      let header =
        #"{"t": {"dtype": "\#(type)", "shape": [2], "data_offsets": [0, \#(data.count)]}}"#
      #expect(try file(header, data).floats("t") == values, "\(type)")
    }
  }

  @Test("what is written is read again, with the same bytes each time") func roundTrip() throws {
    let path = temporaryFile()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let a: [Float] = [1, -2.5, .leastNonzeroMagnitude, 3e38]
    let b: [Float] = [7]
    func write() throws -> Data {
      try a.withUnsafeBufferPointer { a in
        try b.withUnsafeBufferPointer { b in
          try writeSafetensors(
            to: path, metadata: ["z": "1", "a": "\"quoted\""],
            tensors: [
              TensorToWrite(name: "second", shape: [2, 2], values: a.baseAddress!),
              TensorToWrite(name: "first", shape: [1], values: b.baseAddress!),
            ])
        }
      }
      return try Data(contentsOf: URL(fileURLWithPath: path))
    }
    let first = try write()
    #expect(try write() == first)
    let file = try SafetensorsFile(path: path)
    #expect(file.tensors.map(\.name) == ["second", "first"])
    #expect(file.metadata == ["z": "1", "a": "\"quoted\""])
    #expect(try file.floats("second") == a)
    #expect(try file.floats("first") == b)
  }

  @Test(
    "half precision",
    arguments: [
      (UInt16(0x3c00), Float(1)), (0xc000, -2), (0x7bff, 65504), (0x0001, 0x1p-24),
      (0x3555, 0.333251953125),
    ]) func half(bits: UInt16, value: Float)
  { #expect(halfToFloat(bits) == value) }
}
