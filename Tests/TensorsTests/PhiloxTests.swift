// Philox against the published known-answer vectors, and what is drawn from it.
import CKernels
import Testing

@testable import Tensors

@Suite("Philox") struct PhiloxTests {
  struct Vector: CustomTestStringConvertible, Sendable {
    let rounds: Int32
    let counter: [UInt32]
    let key: [UInt32]
    let expected: [UInt32]
    var testDescription: String { "\(rounds) rounds, counter \(counter[0])" }
  }

  // Random123 1.x, kat_vectors: philox4x32 with 7 and with 10 rounds.
  static let ones = [UInt32](repeating: 0xffff_ffff, count: 4)
  static let pi: [UInt32] = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]
  static let piKey: [UInt32] = [0xa409_3822, 0x299f_31d0]
  static let vectors = [
    Vector(
      rounds: 10, counter: [0, 0, 0, 0], key: [0, 0],
      expected: [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
    Vector(
      rounds: 10, counter: ones, key: [0xffff_ffff, 0xffff_ffff],
      expected: [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
    Vector(
      rounds: 10, counter: pi, key: piKey,
      expected: [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
    Vector(
      rounds: 7, counter: [0, 0, 0, 0], key: [0, 0],
      expected: [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]),
    Vector(
      rounds: 7, counter: ones, key: [0xffff_ffff, 0xffff_ffff],
      expected: [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662]),
    Vector(
      rounds: 7, counter: pi, key: piKey,
      expected: [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a]),
  ]

  @Test("known answers", arguments: vectors) func knownAnswers(vector: Vector) {
    var out = [UInt32](repeating: 0, count: 4)
    ck_philox4x32(&out, vector.counter, vector.key, vector.rounds)
    #expect(out == vector.expected)
  }

  @Test(
    "a keep mask is what its words say",
    arguments: [0, 1, 15, 16, 31, 32, 33, 1023, 1024, 1025, 3000])
  func keepMask(count: Int) {
    let sequence = RandomSequence(
      seed: 0x1234_5678_9abc, purpose: .hiddenDropout, layer: 3, step: 9, item: 70_000)
    var mask = [UInt8](repeating: 7, count: count + 1)
    sequence.fillKeepMask(&mask, count: count, dropping: 0.1)
    #expect(mask[count] == 7)
    for group in stride(from: 0, to: count, by: 1024) {
      for lane in 0..<16 {
        var state = sequence.word(group / 1024 * 16 + lane)
        for step in 0..<32 {
          state ^= state << 13
          state ^= state >> 17
          state ^= state << 5
          for (half, number) in [state >> 16, state & 0xffff].enumerated() {
            let i = group + 32 * step + 16 * half + lane
            if i < count { #expect(mask[i] == (number >= 6554 ? 1 : 0)) }
          }
        }
      }
    }
  }

  @Test(
    "dropped elements are as many as asked and as good as independent", arguments: [0.1, 0.5, 0.9])
  func dropRates(p: Float) {
    let count = 1 << 20
    var mask = [UInt8](repeating: 7, count: count)
    RandomSequence(seed: 11, purpose: .attentionDropout, layer: 1, step: 2, item: 3)
      .fillKeepMask(&mask, count: count, dropping: p)
    let q = Double(RandomSequence.dropThreshold(p)) / 65536
    func dropped(_ i: Int) -> Double { mask[i] == 0 ? 1 : 0 }
    let mean = (0..<count).reduce(0) { $0 + dropped($1) } / Double(count)
    // Five standard errors of a mean, and of a covariance, of so many draws.
    let deviation = (q * (1 - q)).squareRoot()
    #expect(abs(mean - q) < 5 * deviation / Double(count).squareRoot())
    // Neighbours, the two halves of a word, consecutive words of a generator, and its groups.
    for lag in [1, 2, 15, 16, 17, 31, 32, 33, 64, 96, 197, 768, 1024] {
      let pairs = count - lag
      let covariance =
        (0..<pairs).reduce(0) { $0 + (dropped($1) - q) * (dropped($1 + lag) - q) } / Double(pairs)
      #expect(
        abs(covariance) < 5 * deviation * deviation / Double(pairs).squareRoot(), "lag \(lag)")
    }
  }

  @Test("uniform numbers are the sequence's words", arguments: [1, 15, 64, 65, 130])
  func uniform(count: Int) {
    let sequence = RandomSequence(seed: 5, purpose: .initialization, layer: 2)
    var values = [Float](repeating: 9, count: count)
    sequence.fillUniform(&values, count: count, low: 0, high: 1)
    for i in 0..<count { #expect(values[i] == sequence.uniform(i)) }
  }

  @Test("normal numbers have mean 0 and variance 1") func normal() {
    var values = [Float](repeating: 0, count: 100_000)
    RandomSequence(seed: 1, purpose: .noise).fillNormal(&values, count: values.count)
    let mean = values.reduce(0.0) { $0 + Double($1) } / Double(values.count)
    let square = values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(values.count)
    // Standard errors: 0.0032 and 0.0045.
    #expect(abs(mean) < 0.015)
    #expect(abs(square - 1) < 0.02)
  }

  @Test("a permutation holds every index once and differs by key") func permutation() {
    let first = RandomSequence(seed: 1, purpose: .sampleOrder, step: 1).permutation(count: 1001)
    let second = RandomSequence(seed: 1, purpose: .sampleOrder, step: 2).permutation(count: 1001)
    #expect(first.sorted() == [Int32](0..<1001))
    #expect(first != second)
  }
}
