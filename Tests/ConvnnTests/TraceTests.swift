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
    let data = try Data(contentsOf: URL(fileURLWithPath: run + "/trace.json"))
    let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let events = try #require(object["traceEvents"] as? [[String: Any]])
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
}
