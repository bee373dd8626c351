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

  @Test("XXH64 of nothing and of known text") func checksum() {
    // The algorithm's published test values with seed 0.
    #expect(Checksum.hex(of: Data()) == "ef46db3751d8e999")
    #expect(Checksum.hex(of: Data("abc".utf8)) == "44bc2cf5ad770999")
  }
}
