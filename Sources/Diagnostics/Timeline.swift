// What the threads of a rank did when (`--trace`), as events of the Chrome trace format.
import Foundation

/// Spans of time of one rank, in memory until they are written. Threads may record side by side.
public final class Timeline: @unchecked Sendable {
  /// Events kept; a long run's trace shows its beginning.
  public static let capacity = 200_000

  private struct Span {
    let name: StaticString
    let detail: Int
    let thread: Int
    /// Nanoseconds since the timeline was made.
    let start: UInt64
    let end: UInt64
  }

  /// Threads beside the compute threads 0, 1, …
  public static let exchangeThread = 1000

  private let rank: Int
  private let clock = Stopwatch()
  private let lock = NSLock()
  private var spans: [Span] = []
  private var dropped = 0

  /// Time counts from now: call it on all ranks at the same moment, after a barrier.
  public init(rank: Int) { self.rank = rank }

  /// Runs `body` and records how long it took.
  ///
  /// - Parameters:
  ///   - detail: a number to tell spans of one name apart: a shard, a step.
  public func span<R>(
    _ name: StaticString, _ detail: Int, thread: Int = 0, _ body: () throws -> R
  ) rethrows -> R {
    let start = clock.nanoseconds
    defer { record(name, detail, thread: thread, from: start) }
    return try body()
  }

  private func record(_ name: StaticString, _ detail: Int, thread: Int, from start: UInt64) {
    let end = clock.nanoseconds
    lock.lock()
    defer { lock.unlock() }
    guard spans.count < Timeline.capacity else {
      dropped += 1
      return
    }
    spans.append(Span(name: name, detail: detail, thread: thread, start: start, end: end))
  }

  /// All spans as JSON objects with a comma between them: a rank is a process of the trace, times are
  /// microseconds.
  public func json() -> String {
    lock.lock()
    defer { lock.unlock() }
    var lines = [
      "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":\(rank),\"tid\":0,"
        + "\"args\":{\"name\":\"rank \(rank)\",\"events_left_out\":\(dropped)}}"
    ]
    for thread in Set(spans.map(\.thread)).sorted() {
      let name = thread == Timeline.exchangeThread ? "exchange" : "compute \(thread)"
      lines.append(
        "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":\(rank),\"tid\":\(thread),"
          + "\"args\":{\"name\":\"\(name)\"}}")
    }
    for span in spans {
      let start = Double(span.start) / 1000
      let length = Double(span.end - span.start) / 1000
      lines.append(
        "{\"name\":\"\(span.name)\",\"ph\":\"X\",\"pid\":\(rank),\"tid\":\(span.thread),"
          + "\"ts\":\(start),\"dur\":\(length),\"args\":{\"number\":\(span.detail)}}")
    }
    return lines.joined(separator: ",\n")
  }
}

extension Optional where Wrapped == Timeline {
  /// As `Timeline.span`; without a timeline just runs `body`.
  public func span<R>(
    _ name: StaticString, _ detail: Int, thread: Int = 0, _ body: () throws -> R
  ) rethrows -> R {
    guard let self else { return try body() }
    return try self.span(name, detail, thread: thread, body)
  }
}
