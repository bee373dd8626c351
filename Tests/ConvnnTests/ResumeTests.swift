// Going on: from where, with what, and what becomes of the reports.
import Foundation
import TensorFiles
import TestSupport
import Testing

@Suite("Resume", .serialized) struct ResumeTests {
  private func flags(_ steps: Int, _ folder: String) -> [String] {
    RankInvarianceTests.flags("Attention", steps: steps, folder: folder)
  }

  private func lines(_ path: String) throws -> [String] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
  }

  @Test(
    "stopped in an evaluation, it goes on from there", arguments: [nil, 2],
    [["--warmup_epochs", "1", "--lr_update", "step"], ["--ema_decay", "0.9"]])
  func evaluation(ranks: Int?, more: [String]) throws {
    let folder = try TemporaryFolder()
    let (whole, broken) = (folder.path + "/whole", folder.path + "/broken")
    // An evaluation of seconds, after one step.
    func flags(_ folder: String) -> [String] {
      [
        "--dataset", "shapes", "--resize", "32", "--patch_size", "4", "--num_layers", "2",
        "--batch_size", "16", "--max_steps", "1", "--num_epochs", "1", "--log_every", "1",
        "--output_dir", folder,
      ] + more
    }
    let running = try Program.start(ranks: ranks, flags(broken))
    let deadline = Date().addingTimeInterval(120)
    while (try? metrics(broken, event: "step").isEmpty) ?? true, Date() < deadline {
      usleep(10_000)
    }
    // Rank 0 alone is asked: the others hear of it.
    let owner = try String(contentsOfFile: broken + "/.lock", encoding: .utf8)
    let process = try #require(owner.split(separator: " ").dropFirst().first.flatMap { pid_t($0) })
    kill(process, SIGUSR1)
    let stopped = running.finish()
    #expect(stopped.code == 15, "\(stopped.errors)")
    #expect(status(broken)["state"] as? String == "preempted")
    #expect(try metrics(broken, event: "epoch").isEmpty)
    #expect(try Program.run(flags(broken)).code == 0)
    #expect(try Program.run(flags(whole)).code == 0)
    #expect(try AverageTests.files(broken, step: 1) == AverageTests.files(whole, step: 1))
    #expect(try RankInvarianceTests.numbers(broken) == RankInvarianceTests.numbers(whole))
  }

  @Test("a job that Slurm has put back into its queue goes on, whatever it began with")
  func requeued() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    let never = flags(7, run) + ["--resume", "never"]
    let dies = never + ["--inject", "kill:rank=0,step=6"]
    func start(_ arguments: [String], job: String, restarts: Int) throws -> Int32 {
      try Program.run(
        arguments, environment: ["SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": "\(restarts)"]
      ).code
    }
    // Of another job.
    #expect(try Program.run(flags(2, run)).code == 0)
    #expect(try start(dies, job: "7", restarts: 0) == SIGKILL)
    #expect(try metrics(run, event: "resume").isEmpty)
    #expect(try start(never, job: "7", restarts: 1) == 0)
    #expect(try metrics(run, event: "resume").map { $0["step"] as? Int } == [4])
    // The same numbers, but in no queue again; and another job.
    for (job, restarts) in [("7", 0), ("8", 1)] {
      #expect(try start(never, job: job, restarts: restarts) == 0)
      #expect(try metrics(run, event: "resume").isEmpty)
    }
  }

  @Test("a checkpoint that cannot be written is tried again when the next one is due")
  func blockedCheckpoints() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    try folder.write("run/checkpoints", [])
    // The last one counts: whoever wants the run to go on must know.
    let blocked = try Program.run(ranks: 2, flags(5, run))
    #expect(blocked.code == 10)
    #expect(
      blocked.errors.components(separatedBy: "could not be made").count == 3, "\(blocked.errors)")
    #expect(
      blocked.errors.contains("The run goes on; the next checkpoint is tried when it is due."))
    #expect(try metrics(run, event: "step").count == 5)
    #expect(FileManager.default.fileExists(atPath: run + "/model.safetensors"))
    let other = folder.path + "/other"
    let obstacle = try folder.write("other/checkpoints", [])
    let running = try Program.start(
      flags(9, other) + ["--inject", "slow:rank=0,step=3,seconds=0.5"])
    let deadline = Date().addingTimeInterval(60)
    while (try? metrics(other, event: "step").count < 3) ?? true, Date() < deadline {
      usleep(10_000)
    }
    try FileManager.default.removeItem(atPath: obstacle)
    let result = running.finish()
    #expect(result.code == 0, "\(result.errors)")
    #expect(result.errors.components(separatedBy: "could not be made").count == 2)
    #expect(FileManager.default.fileExists(atPath: other + "/checkpoints/step-00000009"))
  }

  @Test("after so many minutes there is a checkpoint, on any number of ranks", arguments: [nil, 2])
  func minutes(ranks: Int?) throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    func flags(_ minutes: String, _ more: [String] = []) -> [String] {
      self.flags(7, run) + ["--checkpoint_every", "0", "--checkpoint_minutes", minutes] + more
    }
    let dies = ["--inject", "kill:rank=0,step=6"]
    _ = try Program.run(ranks: ranks, flags("1e-9", dies))
    // An epoch has three steps.
    #expect(FileManager.default.fileExists(atPath: run + "/checkpoints/step-00000005"))
    #expect(try Program.run(ranks: ranks, flags("1e-9")).code == 0)
    #expect(try metrics(run, event: "resume").map { $0["step"] as? Int } == [5])
    _ = try Program.run(ranks: ranks, flags("30", dies + ["--resume", "never"]))
    #expect(!FileManager.default.fileExists(atPath: run + "/checkpoints/step-00000005"))
  }

  @Test("a run that starts over leaves no weights of the one before") func startsOver() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(4, run)).code == 0)
    let best = run + "/best.safetensors"
    #expect(FileManager.default.fileExists(atPath: best))
    let fails = ["--resume", "never", "--inject", "nan:rank=0,step=1"]
    // But for those that it begins with.
    #expect(try Program.run(flags(4, run) + fails + ["--init_from", best]).code == 12)
    #expect(FileManager.default.fileExists(atPath: best))
    #expect(!FileManager.default.fileExists(atPath: run + "/model.safetensors"))
    #expect(try Program.run(flags(4, run) + fails).code == 12)
    #expect(!FileManager.default.fileExists(atPath: best))
  }

  @Test("evaluate computes the loss that the run had, without its flags") func criterion() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(3, run) + ["--criterion", "MSE"]).code == 0)
    let evaluated = try Program.run([
      "evaluate", "--json", "--checkpoint", run + "/model.safetensors", "--data_path",
      goldenFolder.path,
    ])
    let line = try #require(
      try JSONSerialization.jsonObject(with: Data(evaluated.output.utf8)) as? [String: Any])
    let told = try #require(try metrics(run, event: "epoch").last?["test_loss"] as? Double)
    let loss = try #require(line["loss"] as? Double)
    #expect(abs(loss - told) < 1e-6 * told)
  }

  @Test(
    "from another run's checkpoint a run may go on otherwise, and the same command goes on with it")
  func branch() throws {
    let folder = try TemporaryFolder()
    let (first, second) = (folder.path + "/first", folder.path + "/second")
    #expect(try Program.run(flags(4, first)).code == 0)
    let from = ["--resume", first + "/checkpoints/step-00000004"]
    let refused = try Program.run(flags(7, second) + from + ["--lr", "1e-4", "--shards", "4"])
    #expect(refused.code == 10 && refused.errors.contains("--shards"), "\(refused.errors)")
    #expect(!refused.errors.contains("--lr: "), "\(refused.errors)")
    let other = flags(7, second) + from + ["--lr", "1e-4", "--clip_grad_norm", "0.5"]
    let dies = try Program.run(other + ["--inject", "kill:rank=0,step=7"])
    #expect(dies.code == SIGKILL)
    #expect(dies.errors.contains("--lr: 0.001 in the checkpoint, 0.0001 now"), "\(dies.errors)")
    let rates = try metrics(second, event: "step").compactMap { $0["lr"] as? Double }
    #expect(!rates.isEmpty && rates.allSatisfy { $0 <= 1e-4 })
    let again = try Program.run(ranks: 2, other)
    #expect(again.code == 0, "\(again.errors)")
    #expect(try metrics(second, event: "resume").last?["step"] as? Int == 6)
    // As if nothing had killed it.
    let whole = folder.path + "/whole"
    #expect(try Program.run(other + ["--output_dir", whole]).code == 0)
    #expect(try RankInvarianceTests.weights(second) == RankInvarianceTests.weights(whole))
    // In its own folder a run stays what it is.
    let own = try Program.run(flags(7, first) + ["--lr", "1e-4"])
    #expect(own.code == 10 && own.errors.contains("--lr: "), "\(own.errors)")
  }

  @Test("other data is refused, in other words than a flag") func otherData() throws {
    let folder = try TemporaryFolder()
    let data = folder.path + "/cifar-10-batches-bin"
    try FileManager.default.copyItem(
      atPath: goldenFolder.path + "/cifar-10-batches-bin", toPath: data)
    let run = folder.path + "/run"
    let flags = flags(4, run) + ["--data_path", folder.path]
    #expect(try Program.run(flags).code == 0)
    for (file, name) in [("data_batch_1.bin", "training data"), ("test_batch.bin", "test data")] {
      let path = "\(data)/\(file)"
      let whole = try Data(contentsOf: URL(fileURLWithPath: path))
      var other = whole
      other[100] ^= 1
      try other.write(to: URL(fileURLWithPath: path))
      let result = try Program.run(flags)
      #expect(result.code == 10)
      #expect(result.errors.contains("\n\(name): "), "\(result.errors)")
      try whole.write(to: URL(fileURLWithPath: path))
    }
    #expect(try Program.run(flags).code == 0)
  }

  @Test("from a checkpoint of another folder, as if it had been there from the start")
  func elsewhere() throws {
    let folder = try TemporaryFolder()
    let (first, second, whole) = (
      folder.path + "/first", folder.path + "/second", folder.path + "/whole"
    )
    #expect(try Program.run(flags(4, first)).code == 0)
    #expect(try Program.run(flags(7, whole)).code == 0)
    let from = ["--resume", first + "/checkpoints/step-00000004"]
    let result = try Program.run(ranks: 2, flags(7, second) + from)
    #expect(result.code == 0, "\(result.errors)")
    #expect(try RankInvarianceTests.weights(second) == RankInvarianceTests.weights(whole))
    #expect(try RankInvarianceTests.best(second) == RankInvarianceTests.best(whole))
    #expect(try metrics(second, event: "start").count == 1)
    #expect(try metrics(second, event: "resume").map { $0["step"] as? Int } == [4])
    #expect(try metrics(second, event: "step").map { $0["step"] as? Int } == [5, 6, 7])
    // Not over another run's checkpoints.
    let other = try Program.run(
      flags(7, second) + ["--resume", whole + "/checkpoints/step-00000006"])
    #expect(other.code == 10)
    #expect(other.errors.contains("holds checkpoints of another run"), "\(other.errors)")
  }

  @Test("an older checkpoint of the folder gives up the later ones") func older() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(6, run)).code == 0)
    let result = try Program.run(
      flags(5, run) + ["--resume", run + "/checkpoints/step-00000004"])
    #expect(result.code == 0, "\(result.errors)")
    let left = try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints").sorted()
    #expect(left == ["step-00000004", "step-00000005"])
  }

  @Test("the status of a run that cannot go on says so, that of one only refused stays")
  func damaged()
    throws
  {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(4, run)).code == 0)
    #expect(try Program.run(flags(4, run) + ["--lr", "0.5"]).code == 10)
    #expect(status(run)["state"] as? String == "done")
    for name in try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints") {
      try folder.write("run/checkpoints/\(name)/weights.safetensors", [1, 2, 3])
    }
    #expect(try Program.run(flags(7, run)).code == 17)
    let ending = status(run)
    #expect(ending["state"] as? String == "failed" && ending["exit_code"] as? Int == 17)
    #expect(ending["step"] as? Int == 4)
    #expect((ending["reason"] as? String)?.contains("weights.safetensors") == true)
  }

  @Test("a checkpoint that a kill has left set aside is gone on with, not forgotten")
  func setAside() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(4, run) + ["--checkpoint_keep", "1"]).code == 0)
    let checkpoint = run + "/checkpoints/step-00000004"
    try FileManager.default.moveItem(atPath: checkpoint, toPath: checkpoint + ".old")
    let result = try Program.run(
      flags(7, run) + ["--resume", "never"], environment: ["CONVNN_ATTEMPT": "1"])
    #expect(result.code == 0, "\(result.errors)")
    #expect(try metrics(run, event: "resume").map { $0["step"] as? Int } == [4])
  }

  @Test("what is not ours in a folder of checkpoints stays, and so does a run that is done")
  func notOurs() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    let files = FileManager.default
    // By a link to another disk.
    try folder.write("disk/theirs.pt", [1])
    try folder.write("disk/theirs.partial/file", [1])
    try files.createDirectory(atPath: run, withIntermediateDirectories: true)
    try files.createSymbolicLink(
      atPath: run + "/checkpoints", withDestinationPath: folder.path + "/disk")
    #expect(try Program.run(flags(2, run)).code == 0)
    #expect(try Program.run(flags(1, run) + ["--resume", "never"]).code == 0)
    let left = try files.contentsOfDirectory(atPath: folder.path + "/disk").sorted()
    #expect(left == ["step-00000001", "theirs.partial", "theirs.pt"])

    try files.removeItem(atPath: folder.path + "/disk/step-00000001")
    let before = try Data(contentsOf: URL(fileURLWithPath: run + "/metrics.jsonl"))
    let refused = try Program.run(ranks: 2, flags(2, run))
    #expect(
      refused.code == 10 && refused.errors.contains("a run that is done"), "\(refused.errors)")
    #expect(try Data(contentsOf: URL(fileURLWithPath: run + "/metrics.jsonl")) == before)
    #expect(status(run)["state"] as? String == "done")
    #expect(try Program.run(flags(2, run) + ["--resume", "never"]).code == 0)
  }

  @Test(
    "from an older checkpoint, best.safetensors is not one of the future", arguments: [false, true])
  func olderBest(elsewhere: Bool) throws {
    let folder = try TemporaryFolder()
    let (first, second) = (folder.path + "/first", folder.path + (elsewhere ? "/second" : "/first"))
    // Three steps an epoch.
    let more = ["--checkpoint_keep", "9"]
    #expect(try Program.run(flags(12, first) + more).code == 0)
    let best = try Data(contentsOf: URL(fileURLWithPath: first + "/best.safetensors"))
    let epochs = try metrics(first, event: "epoch").map { $0["test_top1"] as? Double ?? 0 }
    let bestEpoch = try #require(epochs.indices.max { (epochs[$0], $1) < (epochs[$1], $0) }) + 1
    for epoch in 1...3 {
      let from = first + String(format: "/checkpoints/step-%08d", 3 * epoch)
      let result = try Program.run(flags(3 * epoch, second) + more + ["--resume", from])
      #expect(result.code == 0, "\(result.errors)")
      let model = try Data(contentsOf: URL(fileURLWithPath: second + "/model.safetensors"))
      let weights = try Data(contentsOf: URL(fileURLWithPath: from + "/weights.safetensors"))
      #expect(model == weights)
      let kept = try? Data(contentsOf: URL(fileURLWithPath: second + "/best.safetensors"))
      #expect((kept == best) == (bestEpoch <= epoch), "best \(bestEpoch), now \(epoch)")
      if !elsewhere { break }
      try FileManager.default.removeItem(atPath: second)
    }
  }

  @Test("a checkpoint by a link's name") func link() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(4, run)).code == 0)
    let link = folder.path + "/latest"
    try FileManager.default.createSymbolicLink(
      atPath: link, withDestinationPath: run + "/checkpoints/step-00000004")
    let result = try Program.run(flags(5, run) + ["--resume", link])
    #expect(result.code == 0, "\(result.errors)")
  }

  @Test("--init_from may be given again, but not others than the run began with")
  func firstWeights() throws {
    let folder = try TemporaryFolder()
    let (run, other) = (folder.path + "/run", folder.path + "/other")
    #expect(try Program.run(flags(2, other)).code == 0)
    let files = FileManager.default
    let weights = other + "/model.safetensors"
    let (first, copy) = (folder.path + "/a.safetensors", folder.path + "/b.safetensors")
    for file in [first, copy] { try files.copyItem(atPath: weights, toPath: file) }
    #expect(try Program.run(flags(2, run) + ["--init_from", first]).code == 0)
    // The same contents by another name, the same name without the file, and none.
    #expect(try Program.run(flags(3, run) + ["--init_from", copy]).code == 0)
    try files.removeItem(atPath: first)
    #expect(try Program.run(flags(4, run) + ["--init_from", first]).code == 0)
    #expect(try Program.run(flags(5, run)).code == 0)
    let trained = run + "/model.safetensors"
    for (folder, began) in [(run, "with those of \(first)"), (other, "with random weights")] {
      let result = try Program.run(ranks: 2, flags(6, folder) + ["--init_from", trained])
      #expect(result.code == 10)
      #expect(result.errors.contains(began) && result.errors.contains("--init_from \(trained)"))
    }
  }

  @Test("a restart goes on with the run, whatever it began with") func restart() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(4, run)).code == 0)
    let result = try Program.run(
      flags(7, run) + ["--resume", "never"], environment: ["CONVNN_ATTEMPT": "1"])
    #expect(result.code == 0, "\(result.errors)")
    #expect(try metrics(run, event: "resume").map { $0["step"] as? Int } == [4])
  }

  @Test(
    "killed before or amid its last words, it says them when it is asked again",
    arguments: [2, 5, 6], [1, 2])
  func lastWords(steps: Int, missing: Int) throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    #expect(try Program.run(flags(steps, run)).code == 0)
    let (log, results) = (run + "/metrics.jsonl", run + "/train_eval_results.txt")
    let (told, written) = (try lines(log), try lines(results))
    #expect(told.last?.contains("\"done\"") == true)
    #expect(written.last?.hasPrefix("Max Accuracy: ") == true)
    try (told.dropLast().joined(separator: "\n") + "\n").write(
      toFile: log, atomically: true, encoding: .utf8)
    try (written.dropLast(missing).joined(separator: "\n") + "\n").write(
      toFile: results, atomically: true, encoding: .utf8)
    #expect(try Program.run(flags(steps, run)).code == 0)
    #expect(try lines(log) == told)
    #expect(try lines(results) == written)
  }

  @Test("a flipped bit is never written", arguments: [3, 6, 7])
  func flippedBit(step: Int) throws {
    let folder = try TemporaryFolder()
    let (run, whole) = (folder.path + "/run", folder.path + "/whole")
    // Steps 3 and 6 end an epoch, 7 ends the run.
    let result = try Program.run(
      ranks: 3,
      flags(7, run) + ["--checkpoint_every", "1", "--inject", "bitflip:rank=0,step=\(step)"])
    #expect(result.code == 13, "\(result.errors)")
    let host = ProcessInfo.processInfo.hostName
    #expect(result.errors.contains("After step \(step) the weights of rank 0 (\(host)) differ"))
    let left = try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints").sorted()
    #expect(left.last == String(format: "step-%08d", step - 1))
    #expect(try Program.run(flags(7, run) + ["--checkpoint_every", "1"]).code == 0)
    #expect(try Program.run(flags(7, whole)).code == 0)
    #expect(try RankInvarianceTests.weights(run) == RankInvarianceTests.weights(whole))
  }

  @Test("weights that have become useless do not end well") func useless() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      flags(1, folder.path + "/run") + ["--lr", "1e30", "--clip_grad_norm", "0"])
    #expect(result.code == 12, "\(result.errors)")
    #expect(result.errors.contains("the test loss is"))
  }
}
