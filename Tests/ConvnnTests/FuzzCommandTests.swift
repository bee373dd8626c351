// What `convnn fuzz` leaves when it is interrupted: nothing.
import Foundation
import TestSupport
import Testing

@Suite("Fuzz command") struct FuzzCommandTests {
  /// The folders of a fuzzer's process.
  private func folders(_ process: pid_t) -> [String] {
    ["/dev/shm", FileManager.default.temporaryDirectory.path].flatMap { base in
      ((try? FileManager.default.contentsOfDirectory(atPath: base)) ?? [])
        .filter { $0.hasPrefix("convnn-fuzz-\(process)-") }.map { "\(base)/\($0)" }
    }
  }

  /// A fuzzer without end that has made its folder and works in it.
  private func start() throws -> RunningProgram {
    let running = try Program.start(["fuzz", "checkpoint"])
    let deadline = Date().addingTimeInterval(60)
    func works() -> Bool {
      folders(running.process.processIdentifier).contains {
        FileManager.default.fileExists(atPath: $0 + "/checkpoints/step-00000003/manifest.json")
      }
    }
    while !works(), Date() < deadline { usleep(10_000) }
    try #require(works())
    return running
  }

  @Test("a signal ends it and its folder", arguments: [SIGINT, SIGTERM, SIGHUP, SIGPIPE])
  func ended(signal: Int32) throws {
    let running = try start()
    let process = running.process.processIdentifier
    kill(process, signal)
    let result = running.finish(within: 60)
    #expect(running.process.terminationReason == .uncaughtSignal && result.code == signal)
    #expect(folders(process).isEmpty)
  }

  @Test("what a killed one leaves, the next one removes; what one works in, it does not")
  func killed() throws {
    let (killed, living) = (try start(), try start())
    let process = killed.process.processIdentifier
    kill(process, SIGKILL)
    _ = killed.finish()
    // Another test's may have removed it already.
    #expect(try Program.run(["fuzz", "cifar", "--runs", "1"]).code == 0)
    #expect(folders(process).isEmpty)
    #expect(folders(living.process.processIdentifier).count == 1)
    kill(living.process.processIdentifier, SIGTERM)
    _ = living.finish(within: 60)
  }
}
