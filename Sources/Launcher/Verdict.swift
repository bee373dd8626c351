// What an attempt at a run has come to, in the documented terms.
import Diagnostics
import Foundation
import Reports

struct Verdict {
  let outcome: Attempt.Outcome
  /// mpirun's code in terms of the documented ones.
  let code: Int32
  private let flags: ProgramFlags
  private let folder: RunFolder
  private let signals: Int
  private let ranOutOfMemory: Bool

  /// - Parameters:
  ///   - isNewStatus: whether this attempt has written a status: an old one tells of an earlier attempt.
  ///   - signals: requests to the launcher by now.
  init(
    _ outcome: Attempt.Outcome, _ flags: ProgramFlags, _ folder: RunFolder, isNewStatus: Bool,
    signals: Int, ranOutOfMemory: Bool
  ) {
    self.outcome = outcome
    self.flags = flags
    self.folder = folder
    self.signals = signals
    self.ranOutOfMemory = ranOutOfMemory
    let state = flags.trains ? folder.state : nil
    // On a signal it ends with a checkpoint: an mpirun that got it as well has another exit code.
    let hasPreempted = outcome.output.hasBegun && isNewStatus && state == .preempted
    code = hasPreempted ? ExitCode.preempted.rawValue : Self.code(outcome, state: state)
  }

  private static func code(_ outcome: Attempt.Outcome, state: RunStatus.State?) -> Int32 {
    let code = outcome.exitCode
    let isUnspecific = code >= 126 || code == 1
    if case .stalled = outcome.output.loss {
      // mpirun may have had to be killed.
      return isUnspecific ? ExitCode.stalled.rawValue : code
    }
    // 14 is MPI's own in version 5, when it cannot begin or loses a connection.
    let isLoss =
      isUnspecific || code == ExitCode.stalled.rawValue || (code == 0 && state == .running)
    return isLoss ? ExitCode.rankDied.rawValue : code
  }

  /// The code, where it is one that another attempt may help against.
  var loss: ExitCode? {
    ExitCode(rawValue: code).flatMap { [.stalled, .rankDied].contains($0) ? $0 : nil }
  }

  /// How it was lost, in one line.
  var reason: String {
    let lastStep = ", last step \(folder.lastStep)"
    if loss == .stalled {
      guard case .stalled(let words) = outcome.output.loss else {
        return "a rank stalled\(lastStep)"
      }
      return "a rank stalled: \(words.trimmingCharacters(in: ["."]))\(lastStep)"
    }
    switch signals {
    case 0: break
    case 1 where flags.command != "train": return "ended by a signal"
    case 1: return "ended by a signal before a checkpoint was written"
    default: return "ended at once by a second signal"
    }
    let memory = ranOutOfMemory ? "; this host ran out of memory" : ""
    if let words = outcome.output.loss?.words(memory: memory) { return words + lastStep }
    // mpirun may tell of a kill by its exit code only.
    let signal = outcome.exitCode - 128
    guard !outcome.wasEnded, 1..<32 ~= signal, let name = strsignal(signal) else {
      return "a rank or mpirun died\(lastStep)"
    }
    return """
      a rank or mpirun was ended by signal \(signal) (\(String(cString: name)))\(memory)\(lastStep)
      """
  }

  /// Whether another attempt might not even start.
  var hasNotStarted: Bool { outcome.exitCode != 0 && signals == 0 && !outcome.output.hasBegun }

  /// Whether the user's words for mpirun may be why it has not begun.
  func mayBlameArguments(isFirst: Bool) -> Bool {
    if outcome.output.refusesArguments { return true }
    // A rank or a host that has been lost has its own note or exit code. Version 5 has codes of its own, above those
    // of signals; 14 is MPI's in the ranks.
    let isCode = [1, 14].contains(outcome.exitCode) || outcome.exitCode >= 160
    return isFirst && isCode && flags.command == "train" && outcome.output.loss == nil
      && !outcome.output.lacksHelpers
  }
}
