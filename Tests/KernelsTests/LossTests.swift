// Losses, their gradients and hits.
import CKernels
import Foundation
import Testing

@Suite("Loss kernels") struct LossTests {
  /// Shares of the classes.
  private func distribution(_ classes: Int, _ t: ck_target) -> [Double] {
    var shares = [Double](repeating: 0, count: classes)
    shares[t.label] += 1 - t.share
    shares[t.other] += t.share
    return shares
  }

  private func crossEntropy(_ z: [Double], _ t: ck_target, _ smoothing: Double) -> Double {
    let total = z.reduce(0) { $0 + exp($1) }
    return zip(z, distribution(z.count, t)).reduce(0) { sum, pair in
      let target = smoothing / Double(z.count) + (1 - smoothing) * pair.1
      return sum - target * (pair.0 - log(total))
    }
  }

  private func squaredError(_ z: [Double], _ t: ck_target) -> Double {
    zip(z, distribution(z.count, t)).reduce(0) { $0 + pow($1.0 - $1.1, 2) } / Double(z.count)
  }

  /// One label; two; the same one twice.
  private func targets(_ classes: Int) -> [ck_target] {
    let label = classes * 2 / 3
    return [
      ck_target(label: label, other: label, share: 0),
      ck_target(label: label, other: 0, share: 0.3),
      ck_target(label: label, other: classes - 1, share: 0.75),
      ck_target(label: label, other: label, share: 0.25),
    ]
  }

  private func only(_ label: Int) -> ck_target { ck_target(label: label, other: label, share: 0) }

  @Test("cross-entropy and its gradient", arguments: sizes.dropFirst(), [0, 0.1])
  func entropy(classes: Int, smoothing: Double) {
    var numbers = Numbers(UInt64(classes))
    let z = numbers.floats(classes, scale: 5)
    for t in targets(classes) {
      let exact = crossEntropy(z.map(Double.init), t, smoothing)
      var d = [Float](repeating: 777, count: classes + 1)
      let loss = ck_cross_entropy(&d, z, classes, t, smoothing, 0.25)
      #expect(abs(loss - exact) <= 1e-12 * max(1, abs(exact)))
      #expect(ck_cross_entropy(nil, z, classes, t, smoothing, 0.25) == loss)
      for c in places(classes) {
        let slope = derivative(z.map(Double.init), c) { crossEntropy($0, t, smoothing) }
        // Computed in double, stored as float.
        expectClose(d[c], 0.25 * slope, within: abs(slope) * 0x1p-24 + 1e-11, "\(c)")
      }
      #expect(d[classes] == 777)
      // In place of the logits.
      var inPlace = z
      inPlace.withUnsafeMutableBufferPointer {
        #expect(
          ck_cross_entropy($0.baseAddress, $0.baseAddress, classes, t, smoothing, 0.25) == loss)
      }
      #expect(inPlace == Array(d.dropLast()))
    }
  }

  @Test("large logits neither overflow nor vanish") func large() {
    #expect(ck_cross_entropy(nil, [1000, 0], 2, only(0), 0, 1) == 0)
    #expect(ck_cross_entropy(nil, [1000, 0], 2, only(1), 0, 1) == 1000)
    #expect(ck_cross_entropy(nil, [-3e38, 3e38], 2, only(0), 0, 1).isFinite)
    #expect(ck_cross_entropy(nil, [.nan, 0], 2, only(1), 0, 1).isNaN)
    #expect(!ck_cross_entropy(nil, [.infinity, 0], 2, only(1), 0, 1).isFinite)
  }

  @Test("squared error and its gradient", arguments: sizes.dropFirst()) func squares(classes: Int) {
    var numbers = Numbers(UInt64(classes) + 1)
    let z = numbers.floats(classes, scale: 2)
    for t in targets(classes) {
      let exact = squaredError(z.map(Double.init), t)
      var d = z
      let loss = d.withUnsafeMutableBufferPointer {
        ck_squared_error($0.baseAddress, $0.baseAddress, classes, t, 0.5)
      }
      #expect(abs(loss - exact) <= 1e-13 * exact)
      #expect(ck_squared_error(nil, z, classes, t, 0.5) == loss)
      for c in places(classes) {
        let slope = derivative(z.map(Double.init), c) { squaredError($0, t) }
        expectClose(d[c], 0.5 * slope, within: abs(slope) * 0x1p-24 + 1e-11, "\(c)")
      }
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
