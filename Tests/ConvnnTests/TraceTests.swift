// `--trace`: one timeline of all ranks.
import Foundation
import TestSupport
import Testing

@Suite("Trace") struct TraceTests {
  @Test("all ranks, threads and phases are in it", arguments: [1, 2]) func trace(ranks: Int) throws
  {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    let result = try Program.run(
      ranks: ranks,
      MistakeTests.small + [
        "--threads", "2", "--max_steps", "3", "--trace", "--output_dir", run,
      ])
    try #require(result.code == 0, "\(result.errors)")
    let events = try events(run)
    let spans = events.filter { $0["ph"] as? String == "X" }
    for rank in 0..<ranks {
      let own = spans.filter { $0["pid"] as? Int == rank }
      let names = Set(own.compactMap { $0["name"] as? String })
      #expect(
        names.isSuperset(of: [
          "load", "forward and backward", "wait for the exchange", "update", "gather parameters",
          "evaluate", "checkpoint",
        ]))
      #expect(names.contains("exchange bucket") == (ranks > 1))
      // Four shards on so many workers, three steps.
      let passes = own.filter { $0["name"] as? String == "forward and backward" }
      #expect(passes.count == 3 * 4 / ranks)
      #expect(Set(passes.compactMap { $0["tid"] as? Int }) == [0, 1])
      #expect(own.filter { $0["name"] as? String == "update" }.count == 3)
    }
    for span in spans {
      #expect((span["ts"] as? Double ?? -1) >= 0)
      #expect((span["dur"] as? Double ?? -1) >= 0)
    }
    #expect(events.filter { $0["name"] as? String == "process_name" }.count == ranks)
  }

  @Test("a complete run that is asked again keeps its trace") func again() throws {
    let run = try TemporaryFolder()
    let flags = MistakeTests.small + ["--max_steps", "1", "--trace", "--output_dir", run.path]
    #expect(try Program.run(flags).code == 0)
    let before = FileManager.default.contents(atPath: run.path + "/trace.json")
    #expect(try Program.run(flags).code == 0)
    #expect(FileManager.default.contents(atPath: run.path + "/trace.json") == before)
  }

  @Test("the ranks' times count from one moment") func aligned() throws {
    let folder = try TemporaryFolder()
    let flags = [
      "--dataset", "cifar10", "--data_path", goldenFolder.path, "--num_layers", "12",
      "--batch_size", "16", "--micro_batch", "8", "--max_steps", "1", "--no_progress", "--trace",
      "--checkpoint_every_epoch", "0", "--output_dir", folder.path + "/run",
    ]
    // An engine that keeps less is made sooner.
    let result = try Program.run(each: [flags + ["--recompute"], flags])
    try #require(result.code == 0, "\(result.errors)")
    let gathers = try events(folder.path + "/run").filter {
      $0["name"] as? String == "gather parameters"
    }
    let times = gathers.map { span -> (start: Double, end: Double) in
      let start = span["ts"] as? Double ?? 0
      return (start, start + (span["dur"] as? Double ?? 0))
    }
    try #require(times.count == 2)
    // Nobody has everybody's parameters before the last rank has begun to give its own.
    let early = times.map(\.start).max()! - times.map(\.end).min()!
    // Microseconds, for ranks that have to wait for a core.
    #expect(early < 50_000)
  }

  private func events(_ run: String) throws -> [[String: Any]] {
    let data = try Data(contentsOf: URL(fileURLWithPath: run + "/trace.json"))
    let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    return try #require(object["traceEvents"] as? [[String: Any]])
  }
}
