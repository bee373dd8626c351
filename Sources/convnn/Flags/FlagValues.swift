// Values of flags that are more than numbers and text.
import ArgumentParser
import Collectives
import Datasets
import Diagnostics
import Models
import Optimizers
import Tensors
import Training

extension LayerKind: ExpressibleByArgument {}
extension ConvolutionType: ExpressibleByArgument {}
extension SamplingType: ExpressibleByArgument {}
extension SpatialLayout: ExpressibleByArgument {}
extension MagnitudeType: ExpressibleByArgument {}
extension SparseMode: ExpressibleByArgument {}
extension FeatureSelection: ExpressibleByArgument {}
extension Criterion: ExpressibleByArgument {}
extension DatasetKind: ExpressibleByArgument {}
extension ImageFraming: ExpressibleByArgument {}
extension Normalization: ExpressibleByArgument {}
extension Architecture: ExpressibleByArgument {}
extension BadImagePolicy: ExpressibleByArgument {}
extension OptimizerKind: ExpressibleByArgument {}
extension SchedulerKind: ExpressibleByArgument {}
extension RateUpdate: ExpressibleByArgument {}
extension ReductionMode: ExpressibleByArgument {}
extension ReductionType: ExpressibleByArgument {}

/// `--cpu_level`.
enum LevelChoice: String, CaseIterable, ExpressibleByArgument {
  case auto, avx512, avx2, base

  private var level: VectorLevel? {
    switch self {
    case .auto: return nil
    case .avx512: return .avx512
    case .avx2: return .avx2
    case .base: return .base
    }
  }

  /// Keeps all kernels to it, before any has run.
  ///
  /// - Throws: `RunError` (configuration) for instructions that the CPU does not have.
  func limit(best: VectorLevel = .best) throws {
    guard let level else { return }
    guard level.rawValue <= best.rawValue else {
      throw RunError.configuration(
        """
        --cpu_level \(rawValue): this CPU, or the system it runs on, has \(best) at best.
        Give auto, or what it has.
        """)
    }
    VectorLevel.limit(to: level)
  }
}

/// `--amp_unit`.
enum UnitChoice: String, CaseIterable, ExpressibleByArgument {
  case auto, amx, avx512, portable

  /// - Throws: `RunError` (configuration) for a unit that the CPU does not have.
  func resolved(best: ProductUnit = .best) throws -> ProductUnit {
    guard let unit = ProductUnit(rawValue: rawValue) else { return best }
    guard unit <= best else {
      throw RunError.configuration(
        """
        --amp_unit \(rawValue): this CPU, or the system it runs on, has \(best.rawValue) at best.
        Give auto or \(best.rawValue).
        """)
    }
    return unit
  }
}

/// `--fp32_products`.
enum ProductsChoice: String, CaseIterable, ExpressibleByArgument {
  case auto, native, openblas, split

  /// - Parameter unit: what makes bfloat16 products.
  /// - Throws: `RunError` (configuration) for kernels that the CPU has no instructions for.
  func resolved(level: VectorLevel = .best, unit: ProductUnit = .best) throws -> SingleProducts {
    guard let products = SingleProducts(rawValue: rawValue) else { return .best(level: level) }
    let available = SingleProducts.available(level: level, unit: unit)
    guard available.contains(products) else {
      let reason =
        products == .native
        ? "this CPU, or the system it runs on, has no AVX2 with FMA"
        : "it needs bfloat16 products by amx, and here \(unit.rawValue) makes them"
      throw RunError.configuration(
        """
        --fp32_products \(rawValue): \(reason).
        Give auto or \(available.map(\.rawValue).joined(separator: " or ")).
        """)
    }
    return products
  }
}

/// True or False, in any case.
struct Truth: ExpressibleByArgument {
  let value: Bool

  init?(argument: String) {
    switch argument.lowercased() {
    case "true": value = true
    case "false": value = false
    default: return nil
    }
  }

  static let allValueStrings = ["True", "False"]
}

/// A whole number, or off: how a flag beside a preset leaves out what the preset has.
struct NumberOrOff: ExpressibleByArgument {
  let value: Int?

  init?(argument: String) {
    value = Int(argument)
    if value == nil, argument.lowercased() != "off" { return nil }
  }
}

enum Device: String, CaseIterable, ExpressibleByArgument { case cpu, cuda, mps }

enum CompileMode: String, CaseIterable, ExpressibleByArgument {
  case `default`
  case reduceOverhead = "reduce-overhead"
  case reduceMemory = "reduce-memory"
  case maxAutotune = "max-autotune"
}

extension Optional {
  /// Puts the value, if there is one, where it belongs.
  func put(_ target: inout Wrapped) {
    if let self { target = self }
  }
}
