// Which numbers matrix products are made of, and which unit of the CPU makes them.
import CKernels

/// Precision of a model's matrix products; everything else is in single precision.
public enum Precision: String, Codable, Sendable, CaseIterable {
  case single = "fp32"
  /// Operands are rounded to bfloat16, sums are single.
  case mixed = "bf16"

  /// The most terms of a sum that mixed precision can round on its way out.
  public static let mixedDepth = Int(CK_DEEPEST_FINISHED)
}

/// Vector instructions, by which there are kernels.
public enum VectorLevel: Int32, Sendable, CustomStringConvertible {
  /// What every CPU of its architecture has.
  case base
  /// AVX2 and FMA.
  case avx2
  case avx512

  /// The best that this CPU has, or the limit if that is less.
  public static var best: VectorLevel { VectorLevel(rawValue: ck_cpu_level()) ?? .base }

  /// Keeps all kernels to `level`; call once at start.
  public static func limit(to level: VectorLevel) { ck_limit_cpu_level(level.rawValue) }

  /// Whether products and sums are made in one, rounded once, which own kernels need to be fast, and all kernels
  /// to give the same bits everywhere. AArch64 always does.
  public var fuses: Bool { self != .base || Self.isARM }

  #if arch(arm64)
    private static let isARM = true
  #else
    private static let isARM = false
  #endif

  public var description: String {
    switch self {
    case .base: return Self.isARM ? "NEON" : "baseline"
    case .avx2: return "AVX2"
    case .avx512: return "AVX-512"
    }
  }
}

/// Who makes products in single precision.
public enum SingleProducts: String, Sendable, CaseIterable {
  /// This program, where the CPU has AVX2, AVX-512 or NEON.
  case native
  /// OpenBLAS.
  case blas = "openblas"
  /// This program, by AMX, from bfloat16 products of three parts of each number: no less exact, and faster
  /// where nobody else uses the CPU's AMX.
  case split

  /// Those that a CPU can do.
  public static func available(
    level: VectorLevel = .best, unit: ProductUnit = .best
  ) -> [SingleProducts] {
    allCases.filter {
      switch $0 {
      case .native: return level.fuses
      case .blas: return true
      case .split: return unit == .amx
      }
    }
  }

  /// The fastest that a CPU is sure to have.
  public static func best(level: VectorLevel = .best) -> SingleProducts {
    level.fuses ? .native : .blas
  }

  /// Whether `split` divides the numbers of this product. Where they meet few others that takes longer than
  /// it saves, and native kernels make it. The number of rows has no say: it may depend on how a batch is
  /// divided, which must not change bits.
  @inlinable
  static func splits(columns: Int, inner: Int) -> Bool { columns >= 128 && inner >= 128 }
}

/// What makes products of bfloat16 numbers.
public enum ProductUnit: String, Sendable, CaseIterable, Comparable {
  /// Kernels for floats, on any CPU: rounded numbers at the speed of single precision at best.
  case portable
  /// AVX512-BF16's dot products.
  case avx512
  /// AMX's tiles.
  case amx

  /// The best that this CPU and operating system have, within the limit of `VectorLevel`.
  public static let best: ProductUnit = {
    switch Int(ck_product_unit()) {
    case CK_UNIT_TILE: return .amx
    case CK_UNIT_VECTOR: return .avx512
    default: return .portable
    }
  }()

  var code: Int32 {
    switch self {
    case .portable: return Int32(CK_UNIT_PORTABLE)
    case .avx512: return Int32(CK_UNIT_VECTOR)
    case .amx: return Int32(CK_UNIT_TILE)
    }
  }

  public static func < (left: ProductUnit, right: ProductUnit) -> Bool { left.code < right.code }
}
