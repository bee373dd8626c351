// All ranks of a run, and the small messages between them.
import CMessagePassing
import Conventions
import Diagnostics

/// The ranks of a run. Every rank makes the same calls in the same order, from one thread at a time.
///
/// A call that waits unusually long says so on stderr, once, and again when it goes on. One that waits longer
/// than `stallTimeout` for the next message names who is missing and ends the run with exit code 14. Of ranks
/// that wait together one speaks, and only of ranks that do not wait themselves.
/// All calls throw `RunError` (rankDied) if MPI reports a failure.
public final class ProcessGroup: @unchecked Sendable {
  public let rank: Int
  public let size: Int
  public let hostName: String
  /// Seconds without a message after which waiting for other ranks counts as a stall.
  public var stallTimeout = 300.0
  /// What the run is at. All ranks set it at the same points, between calls.
  public var phase: RunPhase {
    get { usual.phase }
    set { usual.phase = newValue }
  }
  /// Seconds that are not worth a word in any phase.
  var shortestUnusualWait = 10.0
  /// Where words on long waits go.
  var tell: (String) -> Void = say
  private let batch: MessageBatch
  private var usual = UsualWaits()
  private var inquiry: WaitInquiry
  /// Host names by rank; empty until all have met.
  public private(set) var hosts: [String] = []

  /// Starts MPI; without mpirun this is a group of one.
  ///
  /// - Throws: `RunError` (configuration) if MPI cannot start.
  public init() throws {
    let code = cmp_init()
    guard code == 0 else {
      throw RunError.configuration(
        """
        MPI did not start: \(messagePassingErrorText(code)).
        Start the program with mpirun of the same MPI installation that it was built with.
        """)
    }
    rank = Int(cmp_rank())
    size = Int(cmp_size())
    var name = [CChar](repeating: 0, count: 256)
    cmp_host_name(&name, name.count)
    hostName = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    batch = MessageBatch()
    inquiry = WaitInquiry(rank: rank, size: size)
    hosts = try allGather(Array(hostName.utf8)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Ends MPI once every rank gets here. Not for error paths: there, `abort`.
  public func finalize() { _ = cmp_finalize() }

  /// Ends all ranks at once; `code` is the exit code of the run, 1...125.
  public func abort(_ code: Int32) -> Never { cmp_abort(code) }

  /// Waits until every rank has called it.
  public func barrier() throws {
    var mark: UInt8 = 0
    var marks = [UInt8](repeating: 0, count: size)
    try allGather(&mark, bytes: 1, into: &marks, doing: "a barrier")
  }

  /// Gives every rank the bytes of rank 0; the argument of other ranks is ignored.
  public func broadcast(_ bytes: [UInt8]) throws -> [UInt8] {
    var count = UInt64(bytes.count)
    try broadcast(&count, bytes: MemoryLayout<UInt64>.size)
    var result = rank == 0 ? bytes : [UInt8](repeating: 0, count: Int(count))
    try broadcast(&result, bytes: Int(count))
    return result
  }

  /// Everybody's values in the order of ranks; all ranks pass equally many.
  public func allGather(_ values: [Double]) throws -> [[Double]] {
    var all = [Double](repeating: 0, count: values.count * size)
    var values = values
    try allGather(
      &values, bytes: values.count * MemoryLayout<Double>.stride, into: &all, doing: "a gather")
    let width = values.count
    return (0..<size).map { Array(all[$0 * width..<($0 + 1) * width]) }
  }

  /// Everybody's bytes in the order of ranks; lengths may differ.
  public func allGather(_ bytes: [UInt8]) throws -> [[UInt8]] {
    let counts = try allGather([Double(bytes.count)]).map { Int($0[0]) }
    let longest = counts.max() ?? 0
    // Padded to the longest: these are short descriptions, sent a few times per run.
    var padded = bytes + [UInt8](repeating: 0, count: longest - bytes.count)
    var all = [UInt8](repeating: 0, count: longest * size)
    try allGather(&padded, bytes: longest, into: &all, doing: "a gather")
    return (0..<size).map { Array(all[$0 * longest..<$0 * longest + counts[$0]]) }
  }

  /// Hands every rank's bytes to `receive` on rank 0, in the order of ranks, one at a time.
  public func gather(
    _ bytes: [UInt8], _ receive: (_ rank: Int, _ bytes: [UInt8]) throws -> Void
  ) throws {
    let counts = try allGather([Double(bytes.count)]).map { Int($0[0]) }
    guard rank == 0 else {
      return try bytes.withUnsafeBytes {
        if let base = $0.baseAddress { try send(base, bytes: bytes.count, to: 0, tag: .gather) }
        try waitForMessages("a gather to rank 0")
      }
    }
    try receive(0, bytes)
    for peer in 1..<max(size, 1) {
      var theirs = [UInt8](repeating: 0, count: counts[peer])
      try theirs.withUnsafeMutableBytes {
        guard let base = $0.baseAddress else { return }
        try self.receive(base, bytes: counts[peer], from: peer, tag: .gather)
        try waitForMessages("a gather to rank 0")
      }
      try receive(peer, theirs)
    }
  }

  /// Gives every rank the floats of rank 0, in place.
  public func broadcast(_ floats: UnsafeMutablePointer<Float>, count: Int) throws {
    try broadcast(floats, bytes: count * MemoryLayout<Float>.stride)
  }

  private func broadcast(_ data: UnsafeMutableRawPointer, bytes: Int) throws {
    if rank == 0 {
      for peer in 1..<max(size, 1) { try send(data, bytes: bytes, to: peer, tag: .control) }
    } else {
      try receive(data, bytes: bytes, from: 0, tag: .control)
    }
    try waitForMessages("a broadcast")
  }

  /// Direct messages rather than MPI's tree, so that a stall can name who is missing.
  private func allGather(
    _ mine: UnsafeMutableRawPointer, bytes: Int, into all: UnsafeMutableRawPointer,
    doing action: String
  ) throws {
    (all + rank * bytes).copyMemory(from: mine, byteCount: bytes)
    for peer in otherRanks {
      try receive(all + peer * bytes, bytes: bytes, from: peer, tag: .control)
    }
    for peer in otherRanks { try send(mine, bytes: bytes, to: peer, tag: .control) }
    try waitForMessages(action)
  }
}

/// Message kinds: equal tags between two ranks arrive in order.
enum MessageTag: Int32 {
  case control = 1
  case gather
  case slice
  case partial
  case parameter
  // Notes.
  case question
  case answer
}

extension ProcessGroup {
  /// The other ranks, starting after this one, so that not all ranks write to rank 0 first.
  var otherRanks: [Int] { (1..<max(size, 1)).map { (rank + $0) % size } }

  func send(_ data: UnsafeRawPointer, bytes: Int, to peer: Int, tag: MessageTag) throws {
    try check(cmp_batch_send(batch.handle, data, bytes, Int32(peer), tag.rawValue), "a send")
  }

  func receive(_ data: UnsafeMutableRawPointer, bytes: Int, from peer: Int, tag: MessageTag) throws
  {
    try check(cmp_batch_receive(batch.handle, data, bytes, Int32(peer), tag.rawValue), "a receive")
  }

  func send(floats: UnsafePointer<Float>, count: Int, to peer: Int, tag: MessageTag) throws {
    try send(floats, bytes: count * MemoryLayout<Float>.stride, to: peer, tag: tag)
  }

  func receive(
    floats: UnsafeMutablePointer<Float>, count: Int, from peer: Int, tag: MessageTag
  ) throws {
    try receive(floats, bytes: count * MemoryLayout<Float>.stride, from: peer, tag: tag)
  }

  /// Waits for everything sent and received since the last wait.
  func waitForMessages(_ action: String) throws {
    // A usual wait ends in here, and nobody asks.
    var code = cmp_batch_wait(batch.handle, patience)
    if code == CMP_TIMEOUT { code = try waitLong(action) }
    usual.note(cmp_batch_longest(batch.handle))
    try check(code, action)
  }

  /// Seconds before a rank begins to answer others: short beside the least time that is told of.
  private var patience: Double { min(shortestUnusualWait, stallTimeout / 2) / 10 }

  /// Goes on waiting; now ranks ask one another who waits.
  private func waitLong(_ action: String) throws -> Int32 {
    let clock = Stopwatch()
    let limit = usual.limit(least: shortestUnusualWait, stallTimeout: stallTimeout)
    let place = usual.phase.text.map { "\($0) (\(action))" } ?? action
    var told: String?
    inquiry.begin()
    while true {
      let code = cmp_batch_wait(batch.handle, patience / 10)
      let now = clock.seconds
      if code != CMP_TIMEOUT {
        if let told {
          let seconds = Int(now + patience)
          tell("Going on: rank \(rank) on \(hostName) waited \(seconds) s for rank \(told).")
        }
        return code
      }
      let idle = cmp_batch_idle(batch.handle)
      try check(inquiry.listen(now: now, hasTold: told != nil), "an answer")
      if idle > limit / 2 { try check(inquiry.ask(now: now, every: patience / 2), "a question") }
      let isUnusual = idle > limit && told == nil && !inquiry.othersHaveTold
      guard isUnusual || idle > stallTimeout else { continue }
      let verdict = WaitVerdict(
        rank: rank, missing: missing,
        waiting: inquiry.waiting(now: now, within: max(1, 3 * patience)))
      let who = names(verdict.names)
      if idle > stallTimeout + verdict.delay { stop(stalledAt: place, waitingFor: who) }
      if isUnusual, idle > limit + verdict.delay {
        told = who
        tell(
          """
          Waiting: rank \(rank) on \(hostName) has waited \(wholeSeconds(idle)) s for rank \(who) in \(place); \
          after \(wholeSeconds(stallTimeout)) s that counts as a stall.
          """)
      }
    }
  }

  /// Ranks to or from which messages are under way.
  private var missing: [Int] {
    (0..<size).filter { cmp_batch_is_missing(batch.handle, Int32($0)) == 1 }
  }

  private func names(_ ranks: [Int]) -> String {
    let first = ranks.prefix(8).map { hosts.isEmpty ? "\($0)" : "\($0) on \(hosts[$0])" }
      .joined(separator: ", ")
    return ranks.count > 8 ? "\(first) and \(ranks.count - 8) more" : first
  }

  func check(_ code: Int32, _ action: String) throws {
    guard code != 0 else { return }
    throw RunError(
      .rankDied,
      """
      Rank \(rank) on \(hostName): \(action) failed: \(messagePassingErrorText(code)).
      Look for the first failure among the other ranks' messages; resume from the checkpoint.
      """)
  }

  private func stop(stalledAt place: String, waitingFor names: String) -> Never {
    tell(
      """
      \(RunConventions.stallPrefix)rank \(rank) on \(hostName) waited \(wholeSeconds(stallTimeout)) s for rank \(names) in \(place).
      Look at that rank's host and log; --stall_timeout sets the time. Ending the run.
      """)
    abort(ExitCode.stalled.rawValue)
  }
}

private func wholeSeconds(_ seconds: Double) -> Int { Int(seconds.rounded(.down)) }

/// Owner of the list of messages under way.
private final class MessageBatch {
  let handle: OpaquePointer

  init() {
    guard let handle = cmp_batch_create() else { fatalError("Out of memory.") }
    self.handle = handle
  }

  deinit { cmp_batch_destroy(handle) }
}

private func messagePassingErrorText(_ code: Int32) -> String {
  var text = [CChar](repeating: 0, count: 512)
  cmp_error_text(code, &text, text.count)
  return text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
}
