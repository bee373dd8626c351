// Which kernels make products, by what the CPU has and what the user asks for.
import Diagnostics
import Tensors
import TestSupport
import Testing

@testable import convnn

@Suite("Kernel choice") struct KernelChoiceTests {
  @Test(
    "products in single precision",
    arguments: [
      (ProductsChoice.auto, VectorLevel.avx512, SingleProducts.native), (.auto, .avx2, .native),
      (.auto, .base, VectorLevel.base.fuses ? .native : .blas), (.native, .avx2, .native),
      (.openblas, .avx512, .blas),
      (.split, .avx512, .split),
    ])
  func products(choice: ProductsChoice, level: VectorLevel, expected: SingleProducts) throws {
    #expect(try choice.resolved(level: level, unit: .amx) == expected)
  }

  @Test(
    "kernels of its own need FMA, which some CPUs lack", .enabled(if: !VectorLevel.base.fuses))
  func missingFMA() {
    missing(choice: .native, level: .base, unit: .portable, words: "AVX2")
  }

  @Test(
    "products that the CPU has no instructions for are refused",
    arguments: [
      (ProductsChoice.split, VectorLevel.avx512, ProductUnit.avx512, "products by amx"),
      (.split, .avx512, .portable, "by amx"),
      (.split, .avx2, .portable, "openblas"),
    ])
  func missing(choice: ProductsChoice, level: VectorLevel, unit: ProductUnit, words: String) {
    let error = #expect(throws: RunError.self) {
      try choice.resolved(level: level, unit: unit)
    }
    #expect(error?.code == .configuration)
    #expect(error?.message.contains("--fp32_products \(choice.rawValue)") == true)
    #expect(error?.message.contains(words) == true)
  }

  @Test("the unit of bfloat16 products is at most the best", arguments: ProductUnit.allCases)
  func units(best: ProductUnit) throws {
    #expect(try UnitChoice.auto.resolved(best: best) == best)
    for choice in [UnitChoice.portable, .avx512, .amx] {
      let unit = try #require(ProductUnit(rawValue: choice.rawValue))
      if unit <= best {
        #expect(try choice.resolved(best: best) == unit)
      } else {
        let error = #expect(throws: RunError.self) { try choice.resolved(best: best) }
        #expect(error?.message.contains("--amp_unit \(choice.rawValue)") == true)
      }
    }
  }

  @Test(
    "OpenBLAS starts again with kernels for the CPU, never with lesser ones",
    arguments: [
      ("Haswell", 2, "SkylakeX"), ("Prescott", 1, "Haswell"), ("SapphireRapids", 2, nil),
      ("Zen", 1, nil), ("skylakex", 2, nil), ("Haswell", 0, nil),
    ] as [(String, Int, String?)])
  func cores(loaded: String, cpuLevel: Int, expected: String?) {
    #expect(KernelChoice.better(than: loaded, cpuLevel: cpuLevel) == expected)
  }

  @Test("every maker of products in single precision trains alike") func makersAgree() throws {
    let folder = try TemporaryFolder()
    let makers = SingleProducts.available()
    var losses: [[Double]] = []
    var weights: Set<String> = []
    for maker in makers {
      let run = "\(folder.path)/\(maker)"
      // Wide enough for products that are split.
      let result = try Program.run(
        ranks: 1,
        RankInvarianceTests.flags("Attention", steps: 3, folder: run)
          + ["--d_hidden", "128", "--d_mlp", "160", "--fp32_products", maker.rawValue])
      try #require(result.code == 0, "\(result.errors)")
      losses.append(try metrics(run, event: "step").compactMap { $0["loss"] as? Double })
      weights.insert(try RankInvarianceTests.weights(run))
    }
    #expect(weights.count == makers.count, "last bits tell that the flag did something")
    #expect(losses.allSatisfy { $0.count == 3 })
    for other in losses.dropFirst() {
      for (a, b) in zip(other, losses[0]) { #expect(abs(a - b) < 2e-5 * abs(b)) }
    }
  }
}
