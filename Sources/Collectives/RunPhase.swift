// What a run is at, and how long its ranks usually wait for one another there.

/// What the ranks of a run are at: messages about waits name it.
public enum RunPhase: Sendable {
  /// The start, the end, and whatever may take one rank long.
  case other
  /// The first step of an epoch, when data begin to flow and rank 0 may still write files of the last one.
  case epochStart(step: Int)
  case step(Int)
  case evaluation(afterStep: Int)
  case checkpoint(afterStep: Int)

  /// nil when there is nothing to say.
  var text: String? {
    switch self {
    case .other: nil
    case .epochStart(let step), .step(let step): "step \(step)"
    case .evaluation(let step): "the evaluation after step \(step)"
    case .checkpoint(let step): "the checkpoint after step \(step)"
    }
  }

  /// Phases of a kind take about equally long; nil when they need not.
  fileprivate var kind: Int? {
    switch self {
    case .other: nil
    case .epochStart: 0
    case .step: 1
    case .evaluation: 2
    case .checkpoint: 3
    }
  }
}

/// How long a wait may last before it is unusual: healthy runs wait, too, for slow disks, uneven shares and
/// first steps.
struct UsualWaits {
  /// Set when a phase begins; what the last one took counts from then on.
  var phase = RunPhase.other {
    didSet {
      if let kind = oldValue.kind { longest[kind] = max(longest[kind] ?? 0, current) }
      current = 0
    }
  }
  private var current = 0.0
  /// By kind of phases that have ended.
  private var longest = [Double?](repeating: nil, count: 4)

  mutating func note(_ seconds: Double) { current = max(current, seconds) }

  /// Seconds without a message; at most half of the time that counts as a stall, and that where nothing is known.
  func limit(least: Double, stallTimeout: Double) -> Double {
    guard let kind = phase.kind, let longest = longest[kind] else { return stallTimeout / 2 }
    return min(max(least, 2 * longest), stallTimeout / 2)
  }
}
