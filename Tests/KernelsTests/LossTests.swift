// Losses, their gradients and hits.
import CKernels
import Foundation
import Testing

@Suite("Loss kernels") struct LossTests {
  private func crossEntropy(_ z: [Double], _ label: Int, _ smoothing: Double) -> Double {
    let total = z.reduce(0) { $0 + exp($1) }
    return z.indices.reduce(0) { sum, c in
      let target = smoothing / Double(z.count) + (c == label ? 1 - smoothing : 0)
      return sum - target * (z[c] - log(total))
    }
  }

  private func squaredError(_ z: [Double], _ label: Int) -> Double {
    z.indices.reduce(0) { $0 + pow(z[$1] - ($1 == label ? 1 : 0), 2) } / Double(z.count)
  }

  @Test("cross-entropy and its gradient", arguments: sizes.dropFirst(), [0, 0.1])
  func entropy(classes: Int, smoothing: Double) {
    var numbers = Numbers(UInt64(classes))
    let z = numbers.floats(classes, scale: 5)
    let label = classes * 2 / 3
    let exact = crossEntropy(z.map(Double.init), label, smoothing)
    var d = [Float](repeating: 777, count: classes + 1)
    let loss = ck_cross_entropy(&d, z, classes, label, smoothing, 0.25)
    #expect(abs(loss - exact) <= 1e-12 * max(1, abs(exact)))
    #expect(ck_cross_entropy(nil, z, classes, label, smoothing, 0.25) == loss)
    for c in places(classes) {
      let slope = derivative(z.map(Double.init), c) { crossEntropy($0, label, smoothing) }
      // Computed in double, stored as float.
      expectClose(d[c], 0.25 * slope, within: abs(slope) * 0x1p-24 + 1e-11, "\(c)")
    }
    #expect(d[classes] == 777)
    // In place of the logits.
    var inPlace = z
    inPlace.withUnsafeMutableBufferPointer {
      #expect(
        ck_cross_entropy($0.baseAddress, $0.baseAddress, classes, label, smoothing, 0.25) == loss)
    }
    #expect(inPlace == Array(d.dropLast()))
  }

  @Test("large logits neither overflow nor vanish") func large() {
    #expect(ck_cross_entropy(nil, [1000, 0], 2, 0, 0, 1) == 0)
    #expect(ck_cross_entropy(nil, [1000, 0], 2, 1, 0, 1) == 1000)
    #expect(ck_cross_entropy(nil, [-3e38, 3e38], 2, 0, 0, 1).isFinite)
    #expect(ck_cross_entropy(nil, [.nan, 0], 2, 1, 0, 1).isNaN)
    #expect(!ck_cross_entropy(nil, [.infinity, 0], 2, 1, 0, 1).isFinite)
  }

  @Test("squared error and its gradient", arguments: sizes.dropFirst()) func squares(classes: Int) {
    var numbers = Numbers(UInt64(classes) + 1)
    let z = numbers.floats(classes, scale: 2)
    let label = classes / 2
    let exact = squaredError(z.map(Double.init), label)
    var d = z
    let loss = d.withUnsafeMutableBufferPointer {
      ck_squared_error($0.baseAddress, $0.baseAddress, classes, label, 0.5)
    }
    #expect(abs(loss - exact) <= 1e-13 * exact)
    #expect(ck_squared_error(nil, z, classes, label, 0.5) == loss)
    for c in places(classes) {
      let slope = derivative(z.map(Double.init), c) { squaredError($0, label) }
      expectClose(d[c], 0.5 * slope, within: abs(slope) * 0x1p-24 + 1e-11, "\(c)")
    }
  }

  @Test("rank of the label: ties go to the lower index") func rank() {
    let z: [Float] = [2, 5, 5, -1, 5, 0]
    #expect((0..<6).map { ck_label_rank(z, 6, $0) } == [3, 0, 1, 5, 2, 4])
    #expect(ck_label_rank([.nan, 1], 2, 0) == 2)
    #expect(ck_label_rank([.infinity, 1], 2, 0) == 2)
    var numbers = Numbers(4)
    let many = numbers.floats(1000).map { ($0 * 20).rounded() }
    let sorted = (0..<1000).sorted { (-many[$0], $0) < (-many[$1], $1) }
    for (rank, label) in sorted.enumerated() where rank % 7 == 0 {
      #expect(ck_label_rank(many, 1000, label) == rank)
    }
  }
}
