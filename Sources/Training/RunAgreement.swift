// All ranks must run the same program on the same data with the same arithmetic.
import CKernels
import Collectives
import Diagnostics
import Files
import Foundation
import Tensors

extension Agreement {
  /// - Parameter data: fingerprints of the training data and the test data, of the latter alone, or none.
  /// - Throws: `SharedError` (ranksDisagree) naming the odd ranks.
  static func checkRun(
    _ group: ProcessGroup, _ c: RunConfiguration, data: [String]
  ) throws {
    let program = try group.together {
      try Checksum.hex(ofFile: Bundle.main.executablePath ?? "/proc/self/exe")
    }
    do {
      try check(
        group,
        [
          ("program", program), ("products", Matmul.arithmetic(c.precision)),
          ("arithmetic", Matmul.with(c.precision) { arithmeticProbe() }),
        ]
          + (c.numerics + c.course).map { ("--\($0.flag)", $0.value) }
          + zip(["training data", "test data"].suffix(data.count), data).map { ($0, $1) })
    } catch let error as RunError { throw SharedError(error: error) }
  }

  /// Fingerprint of a matrix product, a softmax and a normalisation, whose last bits depend on the kernels
  /// that make them.
  private static func arithmeticProbe() -> String {
    let side = 67
    var a = [Float](repeating: 0, count: side * side)
    RandomSequence(seed: 1, purpose: .testInput)
      .fillUniform(&a, count: a.count, low: -1, high: 1)
    var product = a
    Matmul.multiply(
      rows: side, columns: side, inner: side, a: a, aStride: side, b: a, bStride: side,
      transposeB: true, c: &product, cStride: side)
    ck_softmax_rows(&product, side, side, side, 1)
    var (normal, mean, rstd) = (a, [Float](repeating: 0, count: side), a)
    ck_layernorm(&normal, &mean, &rstd, product, a, a, side, side, side, side, 1e-5)
    return normal.withUnsafeBytes { Checksum.hex(of: [$0]) }
  }
}
