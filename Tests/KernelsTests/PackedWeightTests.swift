// Products that keep packed weights against products that do not.
import CKernels
import Foundation
import Testing

/// Who makes a product, and of what.
enum WeightMaker: CustomTestStringConvertible, Sendable {
  case kernels(Int32, rounds: Int32)
  case unit(Int32, terms: Int32)

  static let all =
    EveryKernel.levels.flatMap { kernels in
      (0...1).map { WeightMaker.kernels(kernels, rounds: $0) }
    }
    + EveryKernel.units.flatMap { unit in (1...3).map { .unit(unit, terms: $0) } }

  var testDescription: String {
    switch self {
    case .kernels(let kernels, let rounds): return "kernels \(kernels), rounds \(rounds)"
    case .unit(let unit, let terms): return "unit \(unit), \(terms) terms"
    }
  }

  /// C [m, n] = a · op(B), with B at `weight`.
  func multiply(
    _ a: [Float], _ weight: UnsafePointer<Float>, m: Int, n: Int, k: Int, transposed: Bool
  ) -> [Float] {
    var c = [Float](repeating: 0, count: m * n)
    a.withUnsafeBytes { a in
      let left = ck_matrix(base: a.baseAddress, stride: k, transposed: 0, is_bf16: 0)
      let right = ck_matrix(
        base: weight, stride: transposed ? k : n, transposed: transposed ? 1 : 0, is_bf16: 0)
      c.withUnsafeMutableBytes { c in
        let c = ck_matrix(base: c.baseAddress, stride: n, transposed: 0, is_bf16: 0)
        switch self {
        case .kernels(let kernels, let rounds):
          EveryKernel.floatProduct(kernels)(kernels, rounds, m, n, k, 1, left, right, 0, c, nil)
        case .unit(let unit, let terms):
          EveryKernel.product(unit)(unit, terms, m, n, k, 1, left, right, 0, c, nil)
        }
      }
    }
    return c
  }
}

@Suite("Packed weights") struct PackedWeightTests {
  /// Edges of tiles, several blocks of columns, of rows and of the depth.
  static let sizes = [
    (1, 1, 1), (14, 32, 16), (15, 33, 17), (70, 100, 300), (5, 790, 40), (9, 20, 3100),
    (460, 40, 9),
  ]

  @Test("bits are those of products that pack for themselves", arguments: WeightMaker.all)
  func sameBits(maker: WeightMaker) throws {
    var numbers = Numbers(21)
    for (m, n, k) in Self.sizes {
      var slab = numbers.floats(n * k + 7)
      let a = numbers.floats(m * k)
      try slab.withUnsafeMutableBufferPointer { slab in
        let weights = try #require(ck_packed_weights_make(slab.baseAddress!, slab.count))
        defer { ck_packed_weights_free(weights) }
        func product(_ transposed: Bool, keeping: Bool) -> [Float] {
          ck_use_packed_weights(keeping ? weights : nil)
          defer { ck_use_packed_weights(nil) }
          return maker.multiply(
            a, slab.baseAddress! + 7, m: m, n: n, k: k, transposed: transposed)
        }
        for transposed in [false, true] {
          let expected = product(transposed, keeping: false)
          #expect(product(transposed, keeping: true) == expected)
          #expect(product(transposed, keeping: true) == expected)
        }
        #expect(ck_packed_weights_size(weights) >= 2 * n * k)
      }
    }
  }

  @Test("what is kept serves until it is forgotten", arguments: WeightMaker.all)
  func forgetting(maker: WeightMaker) throws {
    let (m, n, k) = (20, 40, 50)
    var numbers = Numbers(22)
    var slab = numbers.floats(n * k)
    let a = numbers.floats(m * k)
    try slab.withUnsafeMutableBufferPointer { slab in
      let weights = try #require(ck_packed_weights_make(slab.baseAddress!, slab.count))
      defer { ck_packed_weights_free(weights) }
      func product() -> [Float] {
        maker.multiply(a, slab.baseAddress!, m: m, n: n, k: k, transposed: true)
      }
      ck_use_packed_weights(weights)
      defer { ck_use_packed_weights(nil) }
      let old = product()
      for index in slab.indices { slab[index] = 1 - slab[index] }
      #expect(product() == old)
      ck_packed_weights_forget(weights)
      let new = product()
      ck_use_packed_weights(nil)
      #expect(new == product() && new != old)
    }
  }

  @Test("other matrices are none of theirs")
  func others() throws {
    var numbers = Numbers(23)
    let slab = numbers.floats(100)
    let other = numbers.floats(100)
    let a = numbers.floats(10)
    try slab.withUnsafeBufferPointer { slab in
      let weights = try #require(ck_packed_weights_make(slab.baseAddress!, slab.count))
      defer { ck_packed_weights_free(weights) }
      ck_use_packed_weights(weights)
      defer { ck_use_packed_weights(nil) }
      let maker = WeightMaker.unit(0, terms: 1)
      _ = other.withUnsafeBufferPointer {
        maker.multiply(a, $0.baseAddress!, m: 1, n: 10, k: 10, transposed: true)
      }
      #expect(ck_packed_weights_size(weights) == 0)
      _ = maker.multiply(a, slab.baseAddress!, m: 1, n: 10, k: 10, transposed: true)
      #expect(ck_packed_weights_size(weights) > 0)
    }
  }

  @Test(
    "threads that meet at a matrix get the same bits, step after step", arguments: WeightMaker.all)
  func threads(maker: WeightMaker) throws {
    let (m, n, k, threads) = (3, 200, 90, 4)
    var numbers = Numbers(24)
    let slab = UnsafeMutableBufferPointer<Float>.allocate(capacity: 4 * n * k)
    defer { slab.deallocate() }
    let a = numbers.floats(m * k)
    nonisolated(unsafe) let weights = try #require(
      ck_packed_weights_make(slab.baseAddress!, slab.count))
    defer { ck_packed_weights_free(weights) }
    for _ in 0..<20 {
      for index in slab.indices { slab[index] = numbers.next() }
      ck_packed_weights_forget(weights)
      func products() -> [[Float]] {
        (0..<8).map {
          maker.multiply(
            a, slab.baseAddress! + $0 / 2 * n * k, m: m, n: n, k: k, transposed: $0 % 2 == 1)
        }
      }
      let expected = products()
      let found = UnsafeMutableBufferPointer<[[Float]]>.allocate(capacity: threads)
      found.initialize(repeating: [])
      nonisolated(unsafe) let (make, results) = (products, found)
      withoutActuallyEscaping(make) { make in
        nonisolated(unsafe) let make = make
        DispatchQueue.concurrentPerform(iterations: threads) { thread in
          ck_use_packed_weights(weights)
          results[thread] = make()
          ck_use_packed_weights(nil)
        }
      }
      #expect(found.allSatisfy { $0 == expected })
      found.deinitialize()
      found.deallocate()
    }
  }
}
