// Whether the random numbers are distributed as they should be. Bounds are five standard deviations:
// a right generator misses one of them less than once in a million seeds, and the seeds are fixed.
import CKernels
import Testing

@Suite("Random kernels") struct RandomKernelTests {
  private let key: [UInt32] = [0x1234_5678, 0x9abc_def0]
  private let counter: [UInt32] = [0, 5, 6, 7]

  private func moments(_ x: [Float]) -> (mean: Double, variance: Double, skew: Double, tail: Double)
  {
    let n = Double(x.count)
    let mean = x.reduce(0.0) { $0 + Double($1) } / n
    func central(_ power: Int) -> Double {
      x.reduce(0.0) { sum, value in
        sum + (0..<power).reduce(1.0) { product, _ in product * (Double(value) - mean) }
      } / n
    }
    let variance = central(2)
    return (
      mean, variance, central(3) / (variance * variance.squareRoot()),
      central(4) / (variance * variance)
    )
  }

  @Test("keep masks keep their share", arguments: [0, 1, 6554, 32768, 65535, 65536] as [UInt32])
  func keepRate(threshold: UInt32) {
    let count = 1 << 20
    var mask = [UInt8](repeating: 7, count: count)
    ck_philox_keep_mask(&mask, count, key, counter, threshold)
    #expect(mask.allSatisfy { $0 <= 1 })
    let kept = mask.reduce(0.0) { $0 + Double($1) }
    let p = 1 - Double(threshold) / 65536
    let deviation = (Double(count) * p * (1 - p)).squareRoot()
    #expect(abs(kept - Double(count) * p) <= 5 * deviation)
  }

  @Test("neighbours in a mask are independent") func independence() {
    let count = 1 << 20
    var mask = [UInt8](repeating: 0, count: count)
    ck_philox_keep_mask(&mask, count, key, counter, 32768)
    // Neighbours, the other half of a word, the same generator again, another group.
    for distance in [1, 7, 8, 15, 16, 31, 32, 64, 512, 1024] {
      let both = (0..<count - distance).reduce(0) { $0 + Int(mask[$1] & mask[$1 + distance]) }
      let n = Double(count - distance)
      #expect(
        abs(Double(both) - n / 4) <= 5 * (n * 3 / 16).squareRoot() * 2, "distance \(distance)")
    }
  }

  @Test("uniform numbers: range, moments and bins") func uniform() {
    let count = 1 << 20
    var x = [Float](repeating: 0, count: count)
    ck_philox_uniform(&x, count, key, counter, -1, 3)
    #expect(x.allSatisfy { $0 >= -1 && $0 < 3 })
    let n = Double(count)
    let (mean, variance, skew, tail) = moments(x)
    // Width 4: variance 4/3, fourth moment 16/5; the variance's variance is (m4 - var²)/n.
    #expect(abs(mean - 1) <= 5 * (4 / 3 / n).squareRoot())
    #expect(abs(variance - 4.0 / 3) <= 5 * ((16.0 / 5 - 16.0 / 9) / n).squareRoot())
    #expect(abs(skew) <= 5 * (6 / n).squareRoot())
    #expect(abs(tail - 9.0 / 5) <= 5 * (24 / n).squareRoot())
    var bins = [Double](repeating: 0, count: 64)
    for value in x { bins[Int((value + 1) * 16)] += 1 }
    let expected = n / 64
    let chiSquare = bins.reduce(0) { $0 + ($1 - expected) * ($1 - expected) / expected }
    // Chi-square of 63 degrees: mean 63, variance 126.
    #expect(abs(chiSquare - 63) <= 5 * 126.0.squareRoot())
  }

  @Test("normal numbers: moments, and none lost at odd sizes") func normal() {
    let count = (1 << 20) + 1
    var x = [Float](repeating: 777, count: count + 1)
    ck_philox_normal(&x, count, key, counter, 2)
    #expect(x.removeLast() == 777)
    let n = Double(count)
    let (mean, variance, skew, tail) = moments(x)
    #expect(abs(mean) <= 5 * 2 / n.squareRoot())
    #expect(abs(variance - 4) <= 5 * 4 * (2 / n).squareRoot())
    #expect(abs(skew) <= 5 * (6 / n).squareRoot())
    #expect(abs(tail - 3) <= 5 * (24 / n).squareRoot())
    // P(|z| > 3) = 0.0026998.
    let far = Double(x.count { abs($0) > 6 })
    #expect(abs(far - n * 0.0026998) <= 5 * (n * 0.0026998).squareRoot())
    // Both of a pair come from one radius: their product must still average to 0.
    let products = stride(from: 0, to: count - 1, by: 2).map { Double(x[$0] * x[$0 + 1]) / 4 }
    let mixed = products.reduce(0, +) / Double(products.count)
    #expect(abs(mixed) <= 5 / Double(products.count).squareRoot())
  }

  @Test("a shorter fill is the beginning of a longer one", arguments: sizes) func prefix(count: Int)
  {
    func fills(_ count: Int) -> ([Float], [Float], [UInt8]) {
      var (uniform, normal) = (
        [Float](repeating: 777, count: count + 1), [Float](repeating: 777, count: count + 1)
      )
      var mask = [UInt8](repeating: 7, count: count + 1)
      ck_philox_uniform(&uniform, count, key, counter, 0, 1)
      ck_philox_normal(&normal, count, key, counter, 1)
      ck_philox_keep_mask(&mask, count, key, counter, 6554)
      return (uniform, normal, mask)
    }
    let (short, long) = (fills(count), fills(1100))
    #expect(short.0 == Array(long.0.prefix(count)) + [777])
    #expect(short.1 == Array(long.1.prefix(count)) + [777])
    #expect(short.2 == Array(long.2.prefix(count)) + [7])
  }

  @Test("every word of the counter and the key matters") func keys() {
    func first(_ counter: [UInt32], _ key: [UInt32]) -> [UInt32] {
      var out = [UInt32](repeating: 0, count: 4)
      ck_philox4x32(&out, counter, key, 7)
      return out
    }
    var seen: Set<[UInt32]> = [first(counter, key)]
    for word in 0..<6 {
      for bit in [0, 13, 31] {
        var (c, k) = (counter, key)
        if word < 4 { c[word] ^= 1 << bit } else { k[word - 4] ^= 1 << bit }
        #expect(seen.insert(first(c, k)).inserted)
      }
    }
  }
}
