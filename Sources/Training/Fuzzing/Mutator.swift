// Damage to files, as a function of (seed, number).
import Tensors

/// Draws of one mutated input; the same seed, target and number give the same bytes everywhere.
struct Mutator {
  private let random: RandomSequence
  private var drawn = 0

  init(seed: UInt64, target: Int, number: Int) {
    random = RandomSequence(
      seed: seed, purpose: .testInput, layer: target, step: number >> 31,
      item: number & (1 << 31 - 1))
  }

  mutating func integer(below bound: Int) -> Int {
    defer { drawn += 1 }
    return random.integer(drawn, below: bound)
  }

  /// One of the inputs with one to eight kinds of damage.
  mutating func mutate(_ inputs: [[UInt8]], limit: Int = 1 << 16) -> [UInt8] {
    var bytes = inputs[integer(below: inputs.count)]
    for _ in 0...integer(below: 8) {
      guard !bytes.isEmpty else { return bytes }
      damage(&bytes, others: inputs)
    }
    return Array(bytes.prefix(limit))
  }

  /// Half of the damage falls on the first hundred bytes, where headers are.
  private mutating func place(_ bytes: [UInt8]) -> Int {
    let all = integer(below: 2) == 0
    return integer(below: all ? bytes.count : min(bytes.count, 100))
  }

  /// Short stretches more often than long ones.
  private mutating func stretch(_ bytes: [UInt8]) -> Range<Int> {
    let start = place(bytes)
    let longest = 1 << integer(below: 12)
    return start..<min(bytes.count, start + 1 + integer(below: longest))
  }

  private mutating func damage(_ bytes: inout [UInt8], others: [[UInt8]]) {
    let extremes: [UInt8] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF]
    switch integer(below: 10) {
    case 0: bytes[place(bytes)] ^= 1 << integer(below: 8)
    case 1: bytes[place(bytes)] = UInt8(integer(below: 256))
    case 2: bytes[place(bytes)] = extremes[integer(below: extremes.count)]
    case 3:
      // A number of two, four or eight bytes.
      let start = place(bytes)
      let value = extremes[integer(below: extremes.count)]
      for i in start..<min(bytes.count, start + 2 << integer(below: 3)) { bytes[i] = value }
    case 4:
      // A digit, where numbers are written in text.
      let start = place(bytes)
      for i in start..<min(bytes.count, start + 1 + integer(below: 20)) {
        bytes[i] = UInt8(48 + integer(below: 10))
      }
    case 5: bytes.removeSubrange(stretch(bytes))
    case 6:
      let part = Array(bytes[stretch(bytes)])
      bytes.insert(contentsOf: part, at: place(bytes))
    case 7: bytes.removeLast(min(bytes.count, 1 + integer(below: 1 << integer(below: 16))))
    case 8:
      let part = (0...integer(below: 16)).map { _ in UInt8(integer(below: 256)) }
      bytes.insert(contentsOf: part, at: place(bytes))
    default:
      // The beginning of this one, the end of another.
      let other = others[integer(below: others.count)]
      bytes = Array(bytes[..<place(bytes)] + other[min(place(bytes), other.count)...])
    }
  }
}
