// Memory for what a forward pass keeps for its backward pass.
import CKernels

/// `count` numbers, floats or bfloat16, zeroed, aligned as in `FloatSlab`.
public final class ActivationSlab: @unchecked Sendable {
  public let element: Element
  public let count: Int
  private let slab: FloatSlab

  public init(count: Int, element: Element) {
    self.count = count
    self.element = element
    slab = FloatSlab(count: element == .float ? count : (count + 1) / 2)
  }

  public func rows(stride: Int) -> Rows {
    Rows(UnsafeMutableRawPointer(slab.base), stride: stride, element: element)
  }
}

extension Rows {
  /// The first `width` numbers of these rows as floats, into those of `target`.
  public func read(rows: Int, width: Int, into target: Rows) {
    switch element {
    case .bfloat16: ck_bf16_to_floats(target.base, target.stride, halves, stride, rows, width)
    case .float: for row in 0..<rows { target.row(row).update(from: self.row(row), count: width) }
    }
  }

  /// Floats of `source`, rounded if need be.
  public func write(rows: Int, width: Int, from source: Rows) {
    switch element {
    case .bfloat16: ck_floats_to_bf16(halves, stride, source.base, source.stride, rows, width)
    case .float: for row in 0..<rows { self.row(row).update(from: source.row(row), count: width) }
    }
  }
}
