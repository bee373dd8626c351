// `trace.json`: the timelines of all ranks in one file.
import Collectives
import Diagnostics
import Foundation
import TensorFiles

extension ProcessGroup {
  /// Writes every rank's timeline to `path` of rank 0, in the Chrome trace format (chrome://tracing,
  /// Perfetto); all ranks call it.
  func writeTrace(_ timeline: Timeline, to path: String) throws {
    var text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
    try gather(Array(timeline.json().utf8)) { rank, events in
      if rank > 0 { text += ",\n" }
      text += String(decoding: events, as: UTF8.self)
    }
    try together {
      guard rank == 0 else { return }
      try AtomicFile.write(Data((text + "\n]}\n").utf8), to: path)
    }
  }
}
