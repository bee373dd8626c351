// Every golden layer file, forward and backward.
import Foundation
import TestSupport
import Testing

@testable import Models

/// The layer of a golden file, with the file's candidates.
func goldenLayer(_ file: LayerFile) -> any AttentionLayer {
  file.shape.makeLayer(scratch: Scratch())
}

@Suite("Golden layers") struct GoldenLayerTests {
  /// Golden files whose names begin with one of `prefixes`, as "folder/name".
  static func files(_ prefixes: [String]) -> [String] {
    ["layers", "reference_layers"].flatMap { folder in
      let url = goldenFolder.appendingPathComponent(folder)
      let names = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
      return names.sorted().filter { name in prefixes.contains { name.hasPrefix($0) } }
        .map { "\(folder)/\($0)" }
    }
  }

  static let all = files([
    "attention", "branch", "convnn", "kvt", "local", "neighborhood", "sparse",
  ])

  @Test("every file is there")
  func count() { #expect(Self.all.count == 175) }

  @Test("output and gradients agree", arguments: all)
  func agrees(name: String) throws {
    let path = goldenFolder.appendingPathComponent(name).path
    // Golden values are double precision's, rounded to floats; the layer sums floats.
    let result = try verifyLayerFile(path, tolerance: 2e-6, makeLayer: goldenLayer)
    let worst = result.comparison.worst
    #expect(result.passed, "\(worst.tensor) \(worst.error)")
  }

  /// A bfloat16 number is off by at most 2^-9 of itself; on the way to a gradient five or so such
  /// roundings of operands and kept activations follow each other, and none of them averages out in the
  /// small sizes here: 5 · 2^-8. Choosing other neighbours than the golden run would be ten times that.
  @Test("in mixed precision too, with the same neighbours", arguments: all)
  func agreesRounded(name: String) throws {
    let path = goldenFolder.appendingPathComponent(name).path
    let result = try verifyLayerFile(path, tolerance: 5 * 0x1p-8, precision: .mixed) { file in
      file.shape.makeLayer(scratch: Scratch(precision: .mixed))
    }
    let worst = result.comparison.worst
    #expect(result.passed, "\(worst.tensor) \(worst.error)")
    #expect(worst.error > 1e-4, "nothing was rounded")
  }
}
