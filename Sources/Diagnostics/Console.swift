// Lines for people: on stderr, so that stdout is free for results.
import Foundation

/// Writes one line (or several) to stderr, in one piece.
public func say(_ text: String) {
  // Nothing to be done where stderr is closed or its disk is full; a run must not end for that.
  try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
}
