// Axes and thinned curves on random values, against what one asks of them.
import Foundation
import Testing

@testable import Reports

@Suite("Charts") struct ChartTests {
  @Test("axes hold all values, with few ticks and labels that differ", arguments: 0..<400)
  func axes(seed: Int) {
    var random = SeededGenerator(seed)
    let scale = pow(10, Double.random(in: -12...12, using: &random))
    let offset = Bool.random(using: &random) ? 0 : Double.random(in: -3...3, using: &random)
    let count = Int.random(in: 0...5, using: &random)
    var values = (0..<count).map { _ in (Double.random(in: -1...1, using: &random) + offset) * scale
    }
    if Bool.random(using: &random) { values += [.nan, .infinity] }
    let kinds: [Axis.Kind] = [.linear, .spread, .counting]
    let kind = kinds[seed % 3]
    if kind == .counting { values = values.map { $0.isFinite ? (abs($0) * 100).rounded() : $0 } }
    let axis = Axis(values, kind, rounded: kind != .counting, fromZero: seed % 2 == 0)
    #expect(axis.low < axis.high)
    for value in values where value.isFinite {
      #expect((-1e-6...1 + 1e-6).contains(axis.position(value)))
    }
    #expect((1...12).contains(axis.ticks.count) && axis.labels.count == axis.ticks.count)
    #expect(Set(axis.labels).count == axis.labels.count, "\(axis.labels)")
    #expect(zip(axis.ticks, axis.ticks.dropFirst()).allSatisfy { $0 < $1 })
    #expect(axis.ticks.allSatisfy { (-1e-6...1 + 1e-6).contains(axis.position($0)) })
    #expect(axis.labels.allSatisfy { $0.count <= 13 })
    if kind == .counting { #expect(axis.ticks.allSatisfy { $0 == $0.rounded() }) }
    if seed % 2 == 0 { #expect(axis.low <= 0 && axis.high >= 0) }
  }

  @Test("ticks as a person would draw them") func examples() {
    #expect(Axis([0.31, 2.4]).labels == ["0", "0.5", "1.0", "1.5", "2.0", "2.5"])
    #expect(Axis([5, 23.4]).labels == ["5", "10", "15", "20", "25"])
    #expect(Axis([0, 1e-3]).labels == ["0", "2e-4", "4e-4", "6e-4", "8e-4", "1e-3"])
    #expect(Axis([1, 9000], .spread).labels == ["1", "10", "100", "1e3", "1e4"])
    #expect(Axis([1, 3], .counting, rounded: false).labels == ["1", "2", "3"])
    #expect(Axis([1, 1], .counting, rounded: false).labels == ["0", "1", "2"])
    let steps = Axis([10, 100_000], .counting, rounded: false)
    #expect(steps.labels == ["20,000", "40,000", "60,000", "80,000", "100,000"])
    #expect(Axis([0.5]).position(0.5) == 0.5)
  }

  @Test("thinning keeps means and extremes", arguments: [0, 1, 5, 599, 600, 601, 1999, 100_000])
  func thinning(count: Int) {
    var random = SeededGenerator(count)
    let points = (0..<count).map {
      (x: Double($0 * 10), y: Double.random(in: -5...5, using: &random))
    }
    let places = thinned(points, to: 600)
    #expect(places.count == min(count, 600))
    // Every point in the one place that it belongs to: the groups follow each other.
    var next = 0
    for (index, place) in places.enumerated() {
      let end = (index + 1) * count / places.count
      let group = points[next..<end].map(\.y)
      #expect(abs(place.mean - group.reduce(0, +) / Double(group.count)) < 1e-12)
      #expect(place.low == group.min() && place.high == group.max())
      #expect(place.x == (points[next].x + points[end - 1].x) / 2)
      if count <= 600 { #expect(place.mean == points[index].y) }
      next = end
    }
    #expect(next == count)
  }

  @Test("thinning leaves a gap for what is no number") func gaps() {
    let points = [(0.0, 1.0), (1, .nan), (2, .nan), (3, .infinity), (4, 2), (5, 4)].map {
      (x: $0.0, y: $0.1)
    }
    let places = thinned(points, to: 3)
    #expect(places[0].mean == 1 && places[0].high == 1)
    #expect(places[1].mean.isNaN && places[1].low.isNaN)
    #expect(places[2].mean == 3 && places[2].low == 2 && places[2].high == 4)
  }

  @Test("numbers and durations in words") func words() {
    #expect([0, 999, 1000, -1_234_567].map(grouped) == ["0", "999", "1,000", "\u{2212}1,234,567"])
    #expect([0.05, 1.5e-7, 1234, 1e-3].map(Markup.short) == ["0.05", "1.5e-7", "1.23e3", "0.001"])
    #expect(
      [12.345, 99.96, 9530.4, .nan].map(Markup.rate) == ["12.3", "100", "9,530", "\u{2013}"])
    #expect(
      [0.0048, 5.25, 59, 61, 3601, 1e7].map(Markup.duration)
        == ["4.8 ms", "5.25 s", "59.0 s", "1 min 1 s", "1 h 0 min", "2,777 h 46 min"])
  }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: Int) { state = UInt64(seed) }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}
