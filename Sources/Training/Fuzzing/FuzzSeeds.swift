// Small whole files that the fuzzer damages.
import Datasets
import Foundation
import TensorFiles
import Tensors

enum FuzzSeeds {
  static func bytes(_ count: Int, _ item: Int) -> [UInt8] {
    let random = RandomSequence(seed: 1, purpose: .testInput, item: item)
    return (0..<count).map { UInt8(truncatingIfNeeded: random.word($0)) }
  }

  static var jpeg: [[UInt8]] {
    JPEGForm.allCases.flatMap { form in
      [(16, 16), (37, 21), (1, 1)].map { width, height in
        let channels = form == .ink ? 4 : 3
        return encodeJPEG(
          bytes(channels * width * height, width), width: width, height: height, form: form)
      }
    }
  }

  static var png: [[UInt8]] {
    (1...4).map { channels in
      encodePNG(bytes(channels * 15 * 9, channels), width: 15, height: 9, channels: channels)
    }
  }

  /// Records of CIFAR-10 and CIFAR-100.
  static var cifar: [[UInt8]] {
    [
      [3] + bytes(3072, 1) + [9] + bytes(3072, 2),
      [19, 99] + bytes(3072, 3) + [0, 0] + bytes(3072, 4),
    ]
  }

  /// As Python 2 and numpy wrote them.
  static var pickle: [[UInt8]] {
    ["labels", "fine_labels"].map { key in
      func text(_ text: String) -> [UInt8] { [0x55, UInt8(text.utf8.count)] + Array(text.utf8) }
      func word(_ number: Int) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
      }
      var out: [UInt8] = [0x80, 2] + Array("}q\u{1}(".utf8) + text("data")
      out += Array("cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n".utf8)
      out += [0x4B, 0, 0x85] + text("b") + [0x87] + Array("R(K\u{1}K\u{2}M".utf8) + [0, 12, 0x86]
      out += Array("cnumpy\ndtype\n".utf8) + text("u1") + [0x4B, 0, 0x4B, 1, 0x87]
      out += Array("R(K\u{3}".utf8) + text("|") + Array("NNN".utf8)
      out += [0x4A, 255, 255, 255, 255, 0x4A, 255, 255, 255, 255, 0x4B, 0] + Array("tb".utf8)
      out += [0x89, 0x54] + word(2 * 3072) + bytes(2 * 3072, 5) + Array("tb".utf8)
      return out + text(key) + Array("](K\u{1}K\u{2}eu.".utf8)
    }
  }

  /// - Parameter folder: where it may write.
  static func safetensors(_ folder: String) throws -> [[UInt8]] {
    let slab = FloatSlab(count: 24)
    for i in 0..<24 { slab.base[i] = Float(i) }
    let path = folder + "/seed.safetensors"
    return try [[], [[24], [2, 3, 4]], [[0], [1, 1], [5]]].map { (shapes: [[Int]]) in
      let tensors = shapes.enumerated().map {
        TensorToWrite(name: "layer.\($0).weight", shape: $1, values: UnsafePointer(slab.base))
      }
      try withExtendedLifetime(slab) {
        try writeSafetensors(
          to: path, metadata: ["config": "{}", "format": "pt"], tensors: tensors)
      }
      return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }
  }
}
