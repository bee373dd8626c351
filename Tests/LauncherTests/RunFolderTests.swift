// What the launcher reads of a run's files, and writes for one that died.
import Diagnostics
import Foundation
import Reports
import TestSupport
import Testing

@testable import Launcher

@Suite("Folder of a run") struct RunFolderTests {
  private let folder: TemporaryFolder
  private let run: RunFolder

  init() throws {
    folder = try TemporaryFolder()
    run = RunFolder(path: folder.path, patience: 0.1)
  }

  private func write(_ name: String, _ text: String) throws {
    try text.write(toFile: "\(folder.path)/\(name)", atomically: false, encoding: .utf8)
  }
  private func text(_ name: String) throws -> String {
    try String(contentsOfFile: "\(folder.path)/\(name)", encoding: .utf8)
  }
  private func begin(_ state: RunStatus.State = .running) throws {
    try RunStatus(state, step: 3, epoch: 2).write(to: folder.path + "/status.json")
  }

  @Test("the last step is that of the status or of the newest line") func lastStep() throws {
    #expect(run.lastStep == 0)
    try begin()
    #expect(run.lastStep == 3)
    let step = MetricsRecord.step(
      .init(epoch: 2, step: 7, loss: 1, gradientNorm: 1, learningRate: 1, imagesPerSecond: 1))
    let resume = MetricsRecord.resume(step: 9)
    let filling = String(repeating: step.line.replacing(":7,", with: ":5,") + "\n", count: 300)
    try write("metrics.jsonl", filling + step.line + "\n" + resume.line + "\n{\"event\":\"ste")
    #expect(run.lastStep == 7)
  }

  @Test("a run that died is marked, and only that") func mark() throws {
    let page = "<title>x: running</title><strong class=\"state running\">running</strong> running"
    for state in [RunStatus.State.done, .preempted, .failed] {
      try begin(state)
      try write("report.html", page)
      run.markAsFailed(.rankDied, "lost")
      #expect(run.state == state)
      #expect(try text("report.html") == page)
    }
    try begin()
    run.markAsFailed(.rankDied, "rank 1 on \"a<b\"")
    #expect(
      run.state == .failed && RunStatus(file: folder.path + "/status.json")?.exitCode == .rankDied)
    #expect(
      try text("report.html")
        == "<title>x: failed</title><strong class=\"state failed\">failed</strong> "
        + "(rank 1 on &quot;a&lt;b&quot;) running")
  }

  @Test("a folder where nothing new can be made is no end of the launcher") func noRoom() throws {
    try begin()
    try write("report.html", "<title>x: running</title>")
    let full = try folder.makeTightFolder(names: "status.json".count)
    for name in ["status.json", "report.html"] {
      try text(name).write(toFile: "\(full)/\(name)", atomically: false, encoding: .utf8)
    }
    for path in [full, folder.path] {
      let run = RunFolder(path: path, patience: 0.1)
      run.markAsFailed(.stalled, "why")
      #expect(run.state == .failed)
    }
    #expect(
      FileManager.default.contents(atPath: full + "/report.html")
        == Data("<title>x: running</title>".utf8))
    // With room it would have been another text.
    #expect(try text("report.html") == "<title>x: failed</title>")
  }

  @Test("a run that lives is left alone") func inUse() throws {
    try begin()
    let lock = try FileLock(folder.path + "/.lock", seconds: 0)
    #expect(run.isInUse)
    run.markAsFailed(.rankDied, "lost")
    #expect(run.state == .running)
    lock.release()
    #expect(!run.isInUse)
  }

  @Test("a status that is written anew is another one, whatever it says") func version() throws {
    #expect(run.versionOfStatus == nil)
    try begin()
    let first = run.versionOfStatus
    #expect(first != nil && run.versionOfStatus == first)
    try begin()
    #expect(run.versionOfStatus != first)
  }
}
