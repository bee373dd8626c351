// Signals to the program itself, without the launcher.
import Foundation
import TestSupport
import Testing

@Suite("Stop requests") struct StopTests {
  static let slurm = ["SLURM_JOB_ID": "1"]

  /// A run that has come to its second step, which takes so many seconds.
  private func inStep2(
    of folder: TemporaryFolder, seconds: Int, _ environment: [String: String]
  ) throws -> RunningProgram {
    let run = folder.path + "/run"
    let program = try Program.start(
      MistakeTests.small + [
        "--max_steps", "9", "--log_every", "1", "--output_dir", run, "--inject",
        "slow:rank=0,step=2,seconds=\(seconds)",
      ], environment: environment)
    let deadline = Date().addingTimeInterval(60)
    while (try? metrics(run, event: "step").isEmpty) ?? true, Date() < deadline { usleep(20_000) }
    return program
  }

  @Test(
    "a second signal ends at once, with a documented code",
    arguments: [(SIGINT, SIGINT), (SIGTERM, SIGTERM), (SIGINT, SIGTERM), (SIGUSR1, SIGTERM)],
    [[:], slurm])
  func second(signals: (Int32, Int32), environment: [String: String]) throws {
    let (first, second) = signals
    let folder = try TemporaryFolder()
    let program = try inStep2(of: folder, seconds: 60, environment)
    let deadline = Date().addingTimeInterval(60)
    kill(program.process.processIdentifier, first)
    // One that comes too soon after its like is lost.
    while program.process.isRunning, Date() < deadline {
      kill(program.process.processIdentifier, second)
      usleep(20_000)
    }
    let result = program.finish(within: 20)
    #expect(program.process.terminationReason == .exit)
    #expect(result.code == 16)
  }

  @Test("signals that Slurm sends twice within milliseconds are one") func together() throws {
    let folder = try TemporaryFolder()
    let program = try inStep2(of: folder, seconds: 2, Self.slurm)
    // The program's second begins with the first one that it sees, so later than this.
    let first = Date()
    while program.process.isRunning, Date().timeIntervalSince(first) < 0.5 {
      kill(program.process.processIdentifier, SIGTERM)
      usleep(10_000)
    }
    #expect(program.finish(within: 60).code == 15)
  }
}
