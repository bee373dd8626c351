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

  /// These rows times mask · factor, into `target`, which may be they; without a mask, copies them.
  public func keep(
    rows: Int, width: Int, mask: UnsafePointer<UInt8>?, maskStride: Int, factor: Float,
    into target: Rows
  ) {
    let factor = mask == nil ? 1 : factor
    switch (element, target.element) {
    case (.float, .bfloat16):
      ck_keep_to_bf16(
        target.halves, target.stride, nil, base, stride, mask, maskStride, rows, width, factor)
    case (.bfloat16, .float):
      ck_keep_from_bf16(
        target.base, target.stride, halves, stride, mask, maskStride, rows, width, factor)
    case (.float, .float):
      if let mask {
        ck_apply_keep(
          target.base, target.stride, base, stride, mask, maskStride, rows, width, factor)
      } else if memory != target.memory {
        read(rows: rows, width: width, into: target)
      }
    case (.bfloat16, .bfloat16): preconditionFailure("rounded rows are not masked as they lie")
    }
  }
}
