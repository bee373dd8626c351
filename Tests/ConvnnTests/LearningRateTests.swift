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

  @Test("a plateau's rate falls, and a branch goes on with it unless its rate is another")
  func plateau() throws {
    let folder = try TemporaryFolder()
    let first = folder.path + "/first"
    // Nothing is learned at this rate; the tenth of it comes after six epochs without progress.
    let still = ["--scheduler", "plateau", "--lr", "1e-9", "--min_lr", "0", "--warmup_epochs", "0"]
    #expect(try Program.run(flags(24, first) + still).code == 0)
    let fallen = try rates(first, "step")
    #expect(fallen.count == 24 && fallen[20] == 1e-9 && abs(fallen[21] - 1e-10) < 1e-18)
    let from = ["--resume", first + "/checkpoints/step-00000024", "--num_epochs", "10"]
    for (name, more, rate) in [
      ("other", ["--clip_grad_norm", "3"], 1e-10), ("rate", ["--lr", "1e-8"], 1e-8),
    ] {
      let run = "\(folder.path)/\(name)"
      let result = try Program.run(flags(26, run) + still + from + more)
      try #require(result.code == 0, "\(result.errors)")
      let told = try rates(run, "step")
      #expect(told.count == 2 && told.allSatisfy { abs($0 / rate - 1) < 1e-9 }, "\(told)")
    }
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
