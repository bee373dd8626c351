// When an mpirun is to get which signal, once somebody wants it to end.
import Foundation

/// The plan for the end of one mpirun, as moments of `Clock`; what is due is done by `signalsDue`.
struct StopRequest {
  /// What ends mpirun and its ranks. Slurm's SIGTERM means something else to it.
  let endSignal: Int32
  /// Seconds for a checkpoint; nil: nobody would write one.
  let grace: Double?

  private var wantsCheckpoint = false
  private var endsAt: Double?
  private var killsAt: Double?

  init(endSignal: Int32, grace: Double?) {
    self.endSignal = endSignal
    self.grace = grace
  }

  /// Signal number `number` to the launcher has come: a checkpoint, please; end; at once.
  mutating func take(request number: Int, now: Double) {
    switch number {
    case 1:
      if let grace, grace > 0 {
        wantsCheckpoint = true
        endsAt = now + grace
      } else {
        immediate.append(endSignal)
      }
    case 2: immediate.append(endSignal)
    default: immediate.append(SIGKILL)
    }
  }
  private var immediate: [Int32] = []

  /// mpirun has to end: asks it to, and kills it three seconds later.
  mutating func end(now: Double) {
    immediate.append(endSignal)
    killsAt = now + 3
  }

  mutating func kill() { immediate.append(SIGKILL) }

  /// The next moment that something may be due.
  var nextMoment: Double? { [endsAt, killsAt].compactMap { $0 }.min() }

  /// Takes out what is due. A rank that does not exist yet would not hear of a request for a checkpoint, and one
  /// that has just been made would die of it: so not before the run tells of itself.
  mutating func signalsDue(now: Double, hasBegun: Bool) -> [Int32] {
    if wantsCheckpoint, hasBegun {
      wantsCheckpoint = false
      immediate.append(SIGUSR1)
    }
    if let moment = endsAt, now >= moment {
      endsAt = nil
      wantsCheckpoint = false
      end(now: now)
    }
    if let moment = killsAt, now >= moment {
      killsAt = nil
      kill()
    }
    defer { immediate = [] }
    return immediate
  }
}
