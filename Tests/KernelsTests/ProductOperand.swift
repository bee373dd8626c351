// Operands of matrix products for the tests of kernels.
import CKernels

/// The bfloat16 nearest to x, ties to even.
func roundedToBFloat16(_ x: Float) -> UInt16 {
  let bits = x.bitPattern
  if x.isNaN { return UInt16(bits >> 16) | 0x40 }
  let low = bits & 0xffff
  let up = low > 0x8000 || (low == 0x8000 && bits >> 16 & 1 == 1)
  return UInt16(truncatingIfNeeded: (bits >> 16) + (up ? 1 : 0))
}

func floatOf(_ half: UInt16) -> Float { Float(bitPattern: UInt32(half) << 16) }

/// A matrix [rows, columns], maybe stored transposed, maybe as bfloat16, with gaps between its rows.
struct Operand {
  let isTransposed: Bool
  let isHalf: Bool
  let stride: Int
  var floats: [Float]
  var halves: [UInt16]

  init(
    _ rows: Int, _ columns: Int, transposed: Bool, half: Bool, gap: Int, _ numbers: inout Numbers
  ) {
    isTransposed = transposed
    isHalf = half
    stride = (transposed ? rows : columns) + gap
    floats = numbers.floats((transposed ? columns : rows) * stride)
    halves = floats.map(roundedToBFloat16)
    if half { floats = halves.map(floatOf) }
  }

  subscript(row: Int, column: Int) -> Float {
    floats[isTransposed ? column * stride + row : row * stride + column]
  }

  func withMatrix(_ body: (ck_matrix) -> Void) {
    func matrix(_ base: UnsafeRawBufferPointer) -> ck_matrix {
      ck_matrix(
        base: base.baseAddress, stride: stride, transposed: isTransposed ? 1 : 0,
        is_bf16: isHalf ? 1 : 0)
    }
    if isHalf {
      halves.withUnsafeBytes { body(matrix($0)) }
    } else {
      floats.withUnsafeBytes { body(matrix($0)) }
    }
  }
}
