// Products with a matrix of which each row has K entries: by key lists, or spread out and dense.
import CKernels
import Tensors

/// M [rows, tokens] has the entries `values` [rows, K] in the columns `keys` [rows, K], zeros elsewhere.
struct KvtProducts {
  let keys: UnsafeMutablePointer<Int32>
  let rows: Int
  let tokens: Int
  let neighbours: Int
  let width: Int
  let usesLists: Bool
  /// Room for M.
  let dense: UnsafeMutablePointer<Float>

  /// out [rows, width] = M · y [tokens, width].
  func sums(_ values: UnsafePointer<Float>, y: Rows, into out: Rows) {
    if usesLists {
      ck_gather_sums(
        out.base, out.stride, values, y.base, y.stride, keys, rows, neighbours, width)
    } else {
      ck_scatter_columns(dense, tokens, tokens, values, keys, rows, neighbours)
      Matmul.multiply(
        rows: rows, columns: width, inner: tokens, a: dense, aStride: tokens, b: y.base,
        bStride: y.stride, c: out.base, cStride: out.stride)
    }
  }

  /// out [tokens, width] = Mᵀ · x [rows, width].
  func scatter(_ values: UnsafePointer<Float>, x: Rows, into out: Rows) {
    if usesLists {
      ck_scatter_sums(
        out.base, out.stride, tokens, values, x.base, x.stride, keys, rows, neighbours, width)
    } else {
      ck_scatter_columns(dense, tokens, tokens, values, keys, rows, neighbours)
      Matmul.multiply(
        rows: tokens, columns: width, inner: rows, a: dense, aStride: tokens, transposeA: true,
        b: x.base, bStride: x.stride, c: out.base, cStride: out.stride)
    }
  }

  /// values = x [rows, width] · yᵀ at M's entries.
  func dots(_ x: Rows, with y: Rows, into values: UnsafeMutablePointer<Float>) {
    if usesLists {
      ck_gather_dots(values, x.base, x.stride, y.base, y.stride, keys, rows, neighbours, width)
    } else {
      Matmul.multiply(
        rows: rows, columns: tokens, inner: width, a: x.base, aStride: x.stride, b: y.base,
        bStride: y.stride, transposeB: true, c: dense, cStride: tokens)
      ck_gather_columns(values, dense, tokens, keys, rows, neighbours)
    }
  }
}
