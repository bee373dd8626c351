// Which kernels make products, by what the CPU has and what the user asks for.
import Diagnostics
import Tensors
import Testing

@testable import convnn

@Suite("Kernel choice") struct KernelChoiceTests {
  @Test(
    "products in single precision",
    arguments: [
      (ProductsChoice.auto, true, SingleProducts.native), (.auto, false, .blas),
      (.native, true, .native), (.openblas, true, .blas), (.split, true, .split),
      (.split, false, .split),
    ])
  func products(choice: ProductsChoice, isNativeThere: Bool, expected: SingleProducts) throws {
    #expect(try choice.resolved(isNativeThere: isNativeThere) == expected)
  }

  @Test("native products need AVX-512") func nativeIsMissing() {
    let error = #expect(throws: RunError.self) {
      try ProductsChoice.native.resolved(isNativeThere: false)
    }
    #expect(error?.code == .configuration)
    #expect(error?.message.contains("--fp32_products native") == true)
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
}
