// Faults on demand (`--inject`), so that tests can see how a run meets them.
import Diagnostics
import Foundation
import Tensors

/// `kind:rank=R,step=S[,seconds=T]`: what goes wrong on rank R in step S (from 1).
public struct FaultInjection: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// SIGKILL and SIGSTOP to oneself.
    case kill, stop
    /// A gradient that is not a number; one flipped bit of a weight.
    case nan, bitflip
    /// The process ends as if all were well.
    case exit0
    /// The step, and all after it, takes longer by `seconds` (1).
    case slow
  }

  public let kind: Kind
  public let rank: Int
  public let step: Int
  public let seconds: Double

  /// - Throws: `RunError` (usage) for text that is no such specification.
  public init(_ text: String) throws {
    let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
    var values: [String: Double] = [:]
    for item in (parts.count == 2 ? parts[1] : "").split(separator: ",") {
      let pair = item.split(separator: "=").map(String.init)
      guard pair.count == 2, ["rank", "step", "seconds"].contains(pair[0]),
        let value = Double(pair[1]), value >= 0, value < 1e9
      else { throw Self.misuse(text) }
      values[pair[0]] = value
    }
    guard let kind = parts.first.flatMap(Kind.init), let rank = values["rank"],
      let step = values["step"]
    else { throw Self.misuse(text) }
    self.kind = kind
    self.rank = Int(rank)
    self.step = Int(step)
    seconds = values["seconds"] ?? 1
  }

  private static func misuse(_ text: String) -> RunError {
    let kinds = Kind.allCases.map(\.rawValue).joined(separator: "|")
    return RunError(
      .usage, "--inject \(text): expected \(kinds):rank=R,step=S, for example kill:rank=1,step=7.")
  }

  /// Only the first attempt is hit, not a restart.
  static var isArmed: Bool { Attempt.number == 0 }

  /// What happens before the step's work.
  func strikeBefore(step: Int, rank: Int) {
    guard rank == self.rank else { return }
    if kind == .slow, step >= self.step { Thread.sleep(forTimeInterval: seconds) }
    guard step == self.step else { return }
    switch kind {
    case .kill: raise(SIGKILL)
    case .stop: raise(SIGSTOP)
    case .exit0: _exit(0)
    case .nan, .bitflip, .slow: break
    }
  }

  /// Whether this rank's gradients are to be no numbers in this step.
  func poisons(step: Int, rank: Int) -> Bool {
    kind == .nan && step == self.step && rank == self.rank
  }

  func flip(step: Int, rank: Int, parameters: UnsafeMutablePointer<Float>) {
    guard kind == .bitflip, step == self.step, rank == self.rank else { return }
    parameters[0] = Float(bitPattern: parameters[0].bitPattern ^ 1)
  }
}
