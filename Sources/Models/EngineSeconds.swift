// Where an engine's time goes: measured only while `ProductMeter` is on.
import CKernels
import Tensors

/// Seconds of one engine's passes.
public struct EngineSeconds: Sendable {
  /// Forward and backward passes as a whole.
  public var total = 0.0
  /// In matrix products, those of attention included.
  public var products = 0.0
  /// In the attention layers, but not in matrix products.
  public var attention = 0.0

  public init() {}

  /// Everything else: normalisation, GELU, dropout, residuals, copies, loss.
  public var elementwise: Double { total - products - attention }

  public static func + (left: EngineSeconds, right: EngineSeconds) -> EngineSeconds {
    var sum = left
    sum.total += right.total
    sum.products += right.products
    sum.attention += right.attention
    return sum
  }
}

/// A stretch of one thread's time.
struct StretchClock {
  private let start: UInt64
  private let products: UInt64

  /// Starts now; costs nothing while the meter is off.
  @inline(__always) init() {
    start = ProductMeter.isOn ? ck_nanoseconds() : 0
    products = start > 0 ? ck_product_time() : 0
  }

  /// Seconds since the start, in products and otherwise.
  @inline(__always) func elapsed() -> (products: Double, other: Double) {
    guard start > 0 else { return (0, 0) }
    let inProducts = Double(ck_product_time() - products) * 1e-9
    return (inProducts, Double(ck_nanoseconds() - start) * 1e-9 - inProducts)
  }
}
