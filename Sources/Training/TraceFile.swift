// `trace.json`: the timelines of all ranks in one file.
import Collectives
import Diagnostics
import Files
import Foundation

extension ProcessGroup {
  /// Writes every rank's timeline to `path` of rank 0, in the Chrome trace format (chrome://tracing,
  /// Perfetto); all ranks call it. One rank's events are in memory at a time.
  ///
  /// - Throws: `SharedError` (configuration) when the file cannot be written.
  func writeTrace(_ timeline: Timeline, to path: String) throws {
    let own = Array(timeline.json().utf8)
    guard rank == 0 else {
      try gather(own) { _, _ in }
      return try together {}
    }
    var isGathered = false
    let written = Result {
      try AtomicFile.write(to: path) { file in
        isGathered = true
        try gatherEvents(own, into: file)
      }
    }
    // The others are sending, whether there is a file or not.
    if !isGathered { try gather(own) { _, _ in } }
    try together { try written.get() }
  }

  private func gatherEvents(_ own: [UInt8], into file: FileHandle) throws {
    var failure: (any Error)?
    func write(_ bytes: some DataProtocol) {
      guard failure == nil else { return }
      do { try file.write(contentsOf: bytes) } catch { failure = error }
    }
    write(Data("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n".utf8))
    try gather(own) { rank, events in
      if rank > 0 { write(Data(",\n".utf8)) }
      write(events)
    }
    write(Data("\n]}\n".utf8))
    if let failure { throw failure }
  }
}
