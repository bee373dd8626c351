// Readers of files from elsewhere, fed with bytes that nobody should trust.
import Datasets
import Diagnostics
import Foundation
import Models
import TensorFiles
import Tensors

/// `convnn fuzz TARGET`.
public enum FuzzTarget: String, CaseIterable, Sendable {
  case jpeg, png, cifar, pickle, safetensors, checkpoint

  /// Whole inputs, and a reader for damaged ones.
  ///
  /// - Parameter folder: for files.
  func open(_ folder: String) throws -> (inputs: [[UInt8]], reader: any FuzzReader) {
    switch self {
    case .jpeg: return (FuzzSeeds.jpeg, ImageFuzzReader { bytes, _ in bytes })
    case .png:
      // With their old checksums nearly all damaged files would be refused at once.
      return (
        FuzzSeeds.png, ImageFuzzReader { $1 % 8 == 0 ? $0 : withNewChecksums(png: $0) }
      )
    case .cifar: return (FuzzSeeds.cifar, CIFARFuzzReader())
    case .pickle: return (FuzzSeeds.pickle, PickleFuzzReader())
    case .safetensors: return (try FuzzSeeds.safetensors(folder), SafetensorsFuzzReader())
    case .checkpoint:
      let reader = try CheckpointFuzzReader(folder)
      return (reader.inputs, reader)
    }
  }
}

/// Reads an input, and reports whether it was taken for whole.
///
/// Throws only what its users would be told: `ImageError`, `RunError` or `SharedError`.
protocol FuzzReader {
  func read(_ bytes: [UInt8], number: Int) throws
}

/// Decoding of parts and wholes at all scales, and the transform after it.
private struct ImageFuzzReader: FuzzReader {
  private let decoder = ImageDecoder()
  private let image = ImageBuffer()
  private let transform = ImageTransform(
    size: 24, framing: .standard, isTraining: true, augment: true, noise: 0, seed: 1,
    statistics: .imageNet)
  private let workspace: ImageTransform.Workspace
  private let out = FloatSlab(count: 3 * 24 * 24)
  private let mend: ([UInt8], Int) -> [UInt8]

  init(mend: @escaping ([UInt8], Int) -> [UInt8]) {
    self.mend = mend
    workspace = transform.makeWorkspace()
  }

  func read(_ bytes: [UInt8], number: Int) throws {
    try mend(bytes, number).withUnsafeBufferPointer {
      try decoder.decode($0, into: image) { width, height in
        guard number / 4 % 2 == 0 else {
          return .whole(width: width, height: height, reduction: 1 << (number % 4))
        }
        return transform.region(width: width, height: height, epoch: 1, index: number)
      }
    }
    transform.apply(image, epoch: 1, index: number, workspace: workspace, out: out.base)
  }
}

/// CRC-32 of every chunk's kind and data, computed anew (PNG specification, annex D).
private func withNewChecksums(png bytes: [UInt8]) -> [UInt8] {
  var bytes = bytes
  var at = 8
  while at + 12 <= bytes.count {
    let length = (0..<4).reduce(0) { $0 << 8 | Int(bytes[at + $1]) }
    guard at + 12 + length <= bytes.count else { break }
    var crc: UInt32 = 0xFFFF_FFFF
    for byte in bytes[at + 4..<at + 8 + length] {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    for i in 0..<4 {
      bytes[at + 8 + length + i] = UInt8(truncatingIfNeeded: ~crc >> UInt32(24 - 8 * i))
    }
    at += 12 + length
  }
  return bytes
}

private struct CIFARFuzzReader: FuzzReader {
  func read(_ bytes: [UInt8], number: Int) throws {
    let variant: CIFARVariant = number % 2 == 0 ? .cifar10 : .cifar100
    var pixels: [UInt8] = []
    var labels: [UInt8] = []
    try CIFARDataset.appendBinary(
      variant, bytes, file: "input", advice: "", pixels: &pixels, labels: &labels)
    guard pixels.count == 3072 * labels.count else { throw FuzzFinding("pixels without a label") }
  }
}

private struct PickleFuzzReader: FuzzReader {
  func read(_ bytes: [UInt8], number: Int) throws {
    let variant: CIFARVariant = number % 2 == 0 ? .cifar10 : .cifar100
    let batch = try readCIFARPickle(variant, bytes, file: "input", advice: "")
    guard batch.pixels.count == 3072 * batch.labels.count else {
      throw FuzzFinding("pixels without a label")
    }
  }
}

private struct SafetensorsFuzzReader: FuzzReader {
  func read(_ bytes: [UInt8], number: Int) throws {
    let file = try SafetensorsFile(data: Data(bytes), path: "input")
    for tensor in file.tensors {
      guard try file.floats(tensor.name).count == tensor.count else {
        throw FuzzFinding("tensor \(tensor.name) has another size than its shape")
      }
    }
  }
}

/// A reader took what it should have refused.
struct FuzzFinding: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
