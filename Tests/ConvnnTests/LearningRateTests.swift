// `--lr_update step`: every step has a rate of its own, and nothing else decides it.
import Foundation
import TestSupport
import Testing

@Suite("Learning rates of a run", .serialized) struct LearningRateTests {
  private func flags(_ steps: Int, _ folder: String) -> [String] {
    RankInvarianceTests.flags("Attention", steps: steps, folder: folder)
      + ["--lr", "0.002", "--warmup_epochs", "1", "--min_lr", "1e-4"]
  }

  private let byStep = ["--lr_update", "step"]

  private func rates(_ folder: String, _ event: String) throws -> [Double] {
    try metrics(folder, event: event).compactMap { $0["lr"] as? Double }
  }

  /// Of step t: nine epochs of three steps, the first one warming up.
  private func rate(_ t: Int) -> Double {
    let cosine = 1e-4 + (0.002 - 1e-4) * (1 + cos(Double.pi * Double(t - 1) / 3 / 9)) / 2
    return max(t <= 3 ? cosine * Double(t) / 4 : cosine, 1e-4)
  }

  private func expectEqual(
    _ found: [Double], _ steps: [Int], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let exact = steps.map(rate)
    #expect(
      found.count == exact.count && zip(found, exact).allSatisfy { abs($0 - $1) < 1e-6 * $1 },
      "\(found), expected \(exact)", sourceLocation: sourceLocation)
  }

  @Test("each step tells its own, an epoch its last step's; killed and resumed in its midst")
  func stepRates() throws {
    let folder = try TemporaryFolder()
    let (whole, broken) = (folder.path + "/whole", folder.path + "/broken")
    #expect(try Program.run(flags(8, whole) + byStep).code == 0)
    expectEqual(try rates(whole, "step"), Array(1...8))
    // Two whole epochs, and what --max_steps leaves of the third.
    expectEqual(try rates(whole, "epoch"), [3, 6, 8])
    let dies = ["--inject", "kill:rank=1,step=6"]
    #expect(try Program.run(ranks: 2, flags(8, broken) + byStep + dies).code != 0)
    #expect(try Program.run(ranks: 3, flags(8, broken) + byStep).code == 0)
    #expect(try metrics(broken, event: "resume").map { $0["step"] as? Int } == [4])
    #expect(try RankInvarianceTests.weights(broken) == RankInvarianceTests.weights(whole))
    #expect(try RankInvarianceTests.numbers(broken) == RankInvarianceTests.numbers(whole))
  }

  @Test("a run keeps to its way, a branch may take the other") func branch() throws {
    let folder = try TemporaryFolder()
    let (first, second) = (folder.path + "/first", folder.path + "/second")
    #expect(try Program.run(flags(4, first)).code == 0)
    let steady = try rates(first, "step")
    #expect(steady[0] == steady[2] && steady[2] != steady[3])
    let refused = try Program.run(flags(7, first) + byStep)
    #expect(refused.code == 10)
    #expect(refused.errors.contains("--lr_update: epoch in the checkpoint, step now"))
    let from = ["--resume", first + "/checkpoints/step-00000004"]
    let result = try Program.run(flags(7, second) + byStep + from)
    #expect(result.code == 0, "\(result.errors)")
    expectEqual(try rates(second, "step"), [5, 6, 7])
  }
}
