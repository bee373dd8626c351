// What runs leave for TensorBoard and browsers, whole, killed and resumed.
import Foundation
import FoundationXML
import TestSupport
import Testing

@Suite("Report files of runs") struct ReportFilesTests {
  /// The values of `metrics.jsonl` under TensorBoard's names: (tag, step, value).
  private func expected(_ folder: String, stepsPerEpoch: Int) throws -> [String] {
    let last = try metrics(folder, event: "step").compactMap { $0["step"] as? Int }.max() ?? 0
    var all: [String] = []
    func add(_ tag: String, _ step: Int, _ value: Any?) throws {
      all.append("\(tag) \(step) \(Float(try #require(value as? Double)))")
    }
    for line in try metrics(folder, event: "step") {
      let step = try #require(line["step"] as? Int)
      for name in ["loss", "grad_norm", "lr", "images_per_second"] {
        try add("step/\(name)", step, line[name])
      }
    }
    for line in try metrics(folder, event: "epoch") {
      let step = min(try #require(line["epoch"] as? Int) * stepsPerEpoch, last)
      for split in ["train", "test"] {
        for name in ["loss", "top1", "top5"] {
          try add("\(split)/\(name)", step, line["\(split)_\(name)"])
        }
      }
      for name in ["seconds", "images_per_second"] { try add("epoch/\(name)", step, line[name]) }
    }
    return all.sorted()
  }

  private func check(_ folder: String, epochs: Int, state: String) throws {
    let scalars = try readScalars(folder)
    #expect(
      try scalars.map { "\($0.tag) \($0.step) \($0.value)" }.sorted()
        == expected(folder, stepsPerEpoch: 3))
    for tag in Set(scalars.map(\.tag)) {
      let steps = scalars.filter { $0.tag == tag }.map(\.step)
      #expect(zip(steps, steps.dropFirst()).allSatisfy { $0 < $1 }, "\(tag): \(steps)")
    }
    let page = try Data(contentsOf: URL(fileURLWithPath: folder + "/report.html"))
    #expect(XMLParser(data: page).parse())
    let text = String(decoding: page, as: UTF8.self)
    #expect(text.components(separatedBy: "<th scope=\"row\">").count - 1 == epochs)
    #expect(text.contains("<strong class=\"state \(state)\">\(state)</strong>"))
  }

  @Test("a run clears away what a killed one has left half-written") func leftovers() throws {
    let folder = try TemporaryFolder()
    let leftover = try folder.write("run/.model.safetensors.4242.partial", [1, 2, 3])
    let result = try Program.run(MistakeTests.small + ["--output_dir", folder.path + "/run"])
    try #require(result.code == 0, "\(result.errors)")
    #expect(!FileManager.default.fileExists(atPath: leftover))
  }

  @Test("killed and resumed, and asked again when complete") func killed() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/a<b>&\"c"
    let flags = RankInvarianceTests.flags("Attention", steps: 11, folder: run)
    #expect(try Program.run(ranks: 2, flags + ["--inject", "kill:rank=1,step=8"]).code != 0)
    // Steps 1 to 7; the checkpoint is that of step 6.
    try check(run, epochs: 2, state: "running")
    let times = Dictionary(try readScalars(run).map { ("\($0.tag) \($0.step)", $0.wallTime) }) {
      $1
    }
    let second = try Program.run(ranks: 3, flags)
    try #require(second.code == 0, "\(second.errors)")
    try check(run, epochs: 4, state: "done")
    let kept = try readScalars(run).filter { $0.step <= 6 && $0.tag == "test/loss" }
    #expect(kept.map(\.wallTime) == [3, 6].map { times["test/loss \($0)"] })

    let names = ["metrics.jsonl", "train_eval_results.txt"]
    let before = names.map { FileManager.default.contents(atPath: run + "/" + $0) }
    #expect(try Program.run(flags).code == 0)
    #expect(names.map { FileManager.default.contents(atPath: run + "/" + $0) } == before)
    try check(run, epochs: 4, state: "done")
    // More steps: the fourth epoch, which was cut short, is told again.
    let more = RankInvarianceTests.flags("Attention", steps: 13, folder: run)
    #expect(try Program.run(more).code == 0)
    try check(run, epochs: 5, state: "done")
    // And from the start.
    #expect(try Program.run(more + ["--resume", "never", "--max_steps", "4"]).code == 0)
    try check(run, epochs: 2, state: "done")
  }

  @Test("a failed run says why") func failed() throws {
    let folder = try TemporaryFolder()
    let flags = RankInvarianceTests.flags("Attention", steps: 9, folder: folder.path)
    let result = try Program.run(flags + ["--inject", "nan:rank=0,step=5"])
    #expect(result.code == 12)
    try check(folder.path, epochs: 1, state: "failed")
    let text = try String(contentsOfFile: folder.path + "/report.html", encoding: .utf8)
    let reason = try #require(status(folder.path)["reason"] as? String)
    #expect(text.contains("<p class=\"reason\">"))
    #expect(text.contains(reason.prefix { !"&<>\"'".contains($0) }))
  }

  @Test(
    "a report that cannot be written at the start is an error, and the status says so",
    arguments: ["report.html", "metrics.jsonl", "train_eval_results.txt"])
  func blockedAtStart(name: String) throws {
    let folder = try TemporaryFolder()
    try folder.write("\(name)/in-the-way", [])
    let flags = RankInvarianceTests.flags("Attention", steps: 1, folder: folder.path)
    let result = try Program.run(ranks: 2, flags)
    #expect(result.code == 10)
    #expect(result.errors.contains("\(folder.path)/\(name) could not be written"))
    let ending = status(folder.path)
    #expect(ending["state"] as? String == "failed" && ending["exit_code"] as? Int == 10)
    #expect((ending["reason"] as? String)?.contains("\(folder.path)/\(name)") == true)
  }

  @Test("what only shows the results does not end a run that has them", arguments: [1, 2])
  func blockedLater(ranks: Int) throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    let flags = RankInvarianceTests.flags("Attention", steps: 4, folder: run)
    // A restart does not make an error of what the attempt before has gone on without.
    let events = "events.out.tfevents.9999999998.host.1.convnn"
    for name in ["report.html", "trace.json", events] {
      try folder.write("run/\(name)/in-the-way", [])
    }
    let result = try Program.run(
      ranks: ranks, flags + ["--trace"], environment: ["CONVNN_ATTEMPT": "1"])
    #expect(result.code == 0, "\(result.errors)")
    let notes = result.errors.split(separator: "\n").filter { $0.hasPrefix("Note: ") }
    // When it begins and when the run ends.
    #expect(notes.filter { $0.contains("\(run)/report.html could not be written") }.count == 2)
    #expect(notes.filter { $0.contains("\(run)/trace.json could not be written") }.count == 1)
    // Tried again, and told of once.
    #expect(notes.filter { $0.contains("\(run)/\(events) could not be emptied") }.count == 1)
    #expect(status(run)["state"] as? String == "done")
    #expect(FileManager.default.fileExists(atPath: run + "/model.safetensors"))
    for name in ["report.html", events] {
      try FileManager.default.removeItem(atPath: "\(run)/\(name)")
    }
    #expect(try Program.run(flags).code == 0)
    try check(run, epochs: 2, state: "done")
  }
}
