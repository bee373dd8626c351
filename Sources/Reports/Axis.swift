// The axis of a chart: where it begins and ends, and its ticks.
import Foundation

struct Axis {
  enum Kind {
    case linear
    /// Ticks at whole numbers only.
    case counting
    /// Logarithmic if the values are positive and spread over more than a factor of 50.
    case spread
  }

  let low: Double
  let high: Double
  let ticks: [Double]
  let labels: [String]
  private let isLogarithmic: Bool

  /// - Parameter values: what the axis has to show; what is not finite does not count.
  /// - Parameter rounded: begin and end at a tick.
  /// - Parameter fromZero: show zero too.
  init(_ values: [Double], _ kind: Kind = .linear, rounded: Bool = true, fromZero: Bool = false) {
    let finite = values.filter(\.isFinite)
    var (low, high) = (finite.min() ?? 0, finite.max() ?? 1)
    if fromZero { (low, high) = (min(low, 0), max(high, 0)) }
    if kind == .spread, low > 0, high / low > 50 {
      self = Axis(logarithmic: low, high)
      return
    }
    // A value alone stands in the middle.
    if low == high {
      switch kind {
      case .counting: (low, high) = (low - 1, high + 1)
      default: (low, high) = low == 0 ? (0, 1) : (min(0, 2 * low), max(0, 2 * low))
      }
    }
    // Values next to each other, whose steps a double cannot tell apart.
    if high - low < 1e-9 * max(abs(low), abs(high)) {
      let middle = (low + high) / 2
      (low, high) = (middle - 1e-6 * abs(middle), middle + 1e-6 * abs(middle))
    }
    var step = Self.step((high - low) / 5)
    if kind == .counting { step = max(1, step) }
    let first = rounded ? (low / step).rounded(.down) : (low / step - 1e-9).rounded(.up)
    let last = rounded ? (high / step).rounded(.up) : (high / step + 1e-9).rounded(.down)
    ticks = (0...Int(max(0, last - first))).map { (first + Double($0)) * step }
    self.low = rounded ? first * step : low
    self.high = rounded ? last * step : high
    labels = Self.labels(ticks, step: step)
    isLogarithmic = false
  }

  private init(logarithmic low: Double, _ high: Double) {
    let exponents = Int(log10(low).rounded(.down)) - 1...Int(log10(high).rounded(.up)) + 1
    let steps = exponents.flatMap { power in [1.0, 2, 5].map { $0 * pow(10, Double(power)) } }
    let (first, last) = (steps.last { $0 <= low } ?? low, steps.first { $0 >= high } ?? high)
    (self.low, self.high) = (first, last)
    let all = steps.filter { first <= $0 && $0 <= last }
    let decades = all.filter { log10($0).rounded() == log10($0) }
    let gap = (decades.count - 1) / 6 + 1
    ticks =
      decades.count < 4
      ? all : decades.enumerated().filter { $0.offset % gap == 0 }.map(\.element)
    labels = ticks.map(Markup.short)
    isLogarithmic = true
  }

  /// 0 at the low end, 1 at the high one.
  func position(_ value: Double) -> Double {
    isLogarithmic
      ? (log10(value) - log10(low)) / (log10(high) - log10(low)) : (value - low) / (high - low)
  }

  /// The smallest of 1, 2, 5 times a power of ten that is no less.
  private static func step(_ least: Double) -> Double {
    let power = pow(10, log10(least).rounded(.down))
    return ([1.0, 2, 5].first { $0 * power >= least * (1 - 1e-9) } ?? 10) * power
  }

  private static func labels(_ ticks: [Double], step: Double) -> [String] {
    let largest = ticks.map(abs).max() ?? 0
    let decimals = max(0, -Int((log10(step) + 1e-9).rounded(.down)))
    return ticks.map { tick in
      if tick == 0 { return "0" }
      if largest >= 1e9 || largest < 1e-2 {
        let digits = Int(log10(largest / step).rounded(.up))
        let parts = String(format: "%.\(max(0, min(digits, 9)))e", tick).split(separator: "e")
        var mantissa = String(parts[0])
        while mantissa.contains("."), let last = mantissa.last, last == "0" || last == "." {
          mantissa.removeLast()
        }
        return "\(mantissa)e\(Int(parts[1]) ?? 0)"
      }
      return decimals == 0
        ? grouped(Int(tick.rounded())) : String(format: "%.\(decimals)f", tick)
    }
  }
}
