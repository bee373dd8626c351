// Which waits are told of, by whom, and whom they name.
import Foundation
import TestSupport
import Testing

@testable import Collectives

@Suite("Usual waits") struct UsualWaitsTests {
  private func limit(_ usual: UsualWaits) -> Double { usual.limit(least: 10, stallTimeout: 300) }

  @Test("the first of a kind may take half of a stall, the next ones twice as long as any before")
  func firstAndNext() {
    var usual = UsualWaits()
    usual.phase = .step(2)
    #expect(limit(usual) == 150)
    usual.note(8)
    usual.note(0.1)
    #expect(limit(usual) == 150, "the phase has not ended")
    usual.phase = .step(3)
    #expect(limit(usual) == 16)
    usual.note(2)
    usual.phase = .step(4)
    #expect(limit(usual) == 16, "a long wait is no surprise later on")
  }

  @Test("short waits count for nothing, and nothing takes longer than half of a stall")
  func bounds() {
    var usual = UsualWaits()
    usual.phase = .step(1)
    usual.note(0.5)
    usual.phase = .step(2)
    #expect(limit(usual) == 10)
    #expect(usual.limit(least: 10, stallTimeout: 6) == 3)
    usual.note(100)
    usual.phase = .step(3)
    #expect(limit(usual) == 150)
  }

  @Test("phases of different kinds know nothing of one another") func kinds() {
    var usual = UsualWaits()
    for phase: RunPhase in [
      .epochStart(step: 1), .step(2), .evaluation(afterStep: 2), .checkpoint(afterStep: 2), .other,
    ] {
      usual.phase = phase
      #expect(limit(usual) == 150)
    }
    // What may take long.
    usual.phase = .other
    #expect(limit(usual) == 150)
    usual.phase = .checkpoint(afterStep: 4)
    #expect(limit(usual) == 10)
  }
}

@Suite("Verdicts on waits") struct WaitVerdictTests {
  @Test("who waits is not named") func names() {
    // In a gather: ranks 1 and 3 are in an exchange still, with rank 2.
    #expect(WaitVerdict(rank: 0, missing: [1, 2, 3], waiting: [1, 3]).names == [2])
    #expect(WaitVerdict(rank: 0, missing: [1, 2], waiting: []).names == [1, 2])
    // All of them: somebody has to be named.
    #expect(WaitVerdict(rank: 0, missing: [1, 3], waiting: [1, 3]).names == [1, 3])
  }

  @Test("the lowest rank that knows whom to name speaks first") func order() {
    let first = WaitVerdict(rank: 0, missing: [2], waiting: [1, 3])
    let second = WaitVerdict(rank: 1, missing: [2], waiting: [0, 3])
    let last = WaitVerdict(rank: 0, missing: [1], waiting: [1])
    #expect(first.delay == 0)
    #expect(first.delay < second.delay && second.delay < last.delay)
  }
}

extension DistributedTests {
  @Test("a long wait is told once, by the lowest rank that waits, naming the one that does not")
  func longWait() throws {
    guard group.size > 2 else { return }
    var told: [String] = []
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let chosen = try group.broadcast(Array(folder.path.utf8))
    let path = String(decoding: chosen, as: UTF8.self) + "/told"
    let usualTell = group.tell
    group.phase = .step(1)
    try group.barrier()
    group.phase = .step(2)
    group.shortestUnusualWait = 2
    group.tell = {
      told.append($0)
      _ = FileManager.default.createFile(atPath: path, contents: nil)
    }
    defer {
      group.phase = .other
      group.shortestUnusualWait = 10
      group.tell = usualTell
    }
    try group.barrier()
    let last = group.size - 1
    var word: UInt8 = 0
    // The last rank comes once it has been told of; others wait for it elsewhere than rank 0, which waits for
    // all of them.
    if group.rank == last {
      let end = Date(timeIntervalSinceNow: 20)
      while !FileManager.default.fileExists(atPath: path), Date() < end { usleep(10_000) }
      for peer in 1..<last { try group.send(&word, bytes: 1, to: peer, tag: .gather) }
    } else if group.rank > 0 {
      try group.receive(&word, bytes: 1, from: last, tag: .gather)
    }
    try group.waitForMessages("an exchange")
    try group.barrier()
    let host = group.hostName
    if group.rank > 0 {
      #expect(told.isEmpty)
    } else if told.count == 2 {
      #expect(
        told[0].hasPrefix(
          "Waiting: rank 0 on \(host) has waited 2 s for rank \(last) on \(host) in step 2 (a barrier);"
        ))
      #expect(told[1].hasPrefix("Going on: rank 0 on \(host) waited "))
    } else {
      Issue.record("rank 0 said \(told)")
    }
    // Questions that nobody has answered disturb nothing.
    try group.barrier()
  }
}
