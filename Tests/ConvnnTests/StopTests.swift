// Signals to the program itself, without the launcher.
import Foundation
import TestSupport
import Testing

@Suite("Stop requests") struct StopTests {
  @Test(
    "a second signal ends at once, with a documented code",
    arguments: [(SIGINT, SIGINT), (SIGTERM, SIGTERM), (SIGINT, SIGTERM), (SIGUSR1, SIGTERM)])
  func second(_ first: Int32, _ second: Int32) throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    let program = try Program.start(
      MistakeTests.small + [
        "--max_steps", "9", "--log_every", "1", "--output_dir", run, "--inject",
        "slow:rank=0,step=2,seconds=60",
      ])
    // In step 2, which takes a minute.
    let deadline = Date().addingTimeInterval(60)
    while (try? metrics(run, event: "step").isEmpty) ?? true, Date() < deadline { usleep(20_000) }
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
}
