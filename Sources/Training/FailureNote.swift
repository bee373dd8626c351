// Failures that do not end a run.
import Diagnostics

/// Tells of a failure once, until it has ended.
struct FailureNote {
  private var isTold = false

  mutating func end() { isTold = false }

  mutating func tell(_ error: any Error, _ consequence: String, again: Bool = false) {
    if again || !isTold { say("Note: \(error)\n\(consequence)") }
    isTold = true
  }
}
