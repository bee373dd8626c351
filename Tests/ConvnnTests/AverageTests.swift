// `--ema_decay`: what is evaluated and written is the average of the weights, on any number of ranks.
import Files
import Foundation
import TensorFiles
import TestSupport
import Testing

@Suite("Averaged weights", .serialized) struct AverageTests {
  private static func flags(
    _ steps: Int, _ folder: String, decay: String? = "0.9"
  ) -> [String] {
    RankInvarianceTests.flags("Attention", steps: steps, folder: folder)
      + (decay.map { ["--ema_decay", $0] } ?? [])
  }

  private static func checkpoint(_ folder: String, _ step: Int) -> String {
    folder + String(format: "/checkpoints/step-%08d", step)
  }

  /// Checksums of all files that hold weights, those of the checkpoint of step `step` too.
  static func files(_ folder: String, step: Int) throws -> [String: String] {
    let last = checkpoint(folder, step)
    let paths = [
      "model": folder + "/model.safetensors", "best": folder + "/best.safetensors",
      "weights": last + "/weights.safetensors", "state": last + "/optimizer.safetensors",
    ]
    return try paths.mapValues { try Checksum.hex(ofFile: $0) }
  }

  /// The values of every parameter by name; in an optimizer's file those of `prefix`.
  private static func tensors(_ path: String, prefix: String = "") throws -> [String: [Float]] {
    let file = try SafetensorsFile(path: path)
    let names = file.tensors.map(\.name).filter { $0.hasPrefix(prefix) }
    let values = try names.map { ($0.dropFirst(prefix.count).description, try file.floats($0)) }
    return Dictionary(uniqueKeysWithValues: values)
  }

  private static func average(_ checkpoint: String) throws -> [String: [Float]] {
    try tensors(checkpoint + "/optimizer.safetensors", prefix: "average.")
  }

  /// Whether a weights file, which holds constants too, has these weights.
  private static func holds(_ path: String, _ weights: [String: [Float]]) throws -> Bool {
    let found = try tensors(path)
    return !weights.isEmpty && weights.allSatisfy { found[$0.key] == $0.value }
  }

  private static func loss(_ weights: String) throws -> Double {
    let result = try Program.run([
      "evaluate", "--json", "--checkpoint", weights, "--data_path", goldenFolder.path,
    ])
    let line = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
    return try #require(line?["loss"] as? Double, "\(result.errors)")
  }

  @Test("ranks and threads change nothing", arguments: ["", "--use_amp"])
  func ranks(more: String) throws {
    let folder = try TemporaryFolder()
    let ways = [(1, 1), (2, 1), (3, 1), (2, 2), (5, 1)]
    let runs = ways.map { "\(folder.path)/\($0.0)x\($0.1)" }
    let words = more.split(separator: " ").map(String.init)
    // Seven steps: two epochs and a part of one.
    let results = try Program.run(
      zip(ways, runs).map { way, run in
        (way.0, Self.flags(7, run) + words + ["--threads", "\(way.1)"])
      })
    for result in results { try #require(result.code == 0, "\(result.errors)") }
    let all = try runs.map { (try Self.files($0, step: 7), try RankInvarianceTests.numbers($0)) }
    #expect(all.allSatisfy { $0.0 == all[0].0 && $0.1 == all[0].1 })
  }

  @Test("killed and resumed on another number of ranks", arguments: [1, 3])
  func killed(laterRanks: Int) throws {
    let folder = try TemporaryFolder()
    let (whole, broken) = (folder.path + "/whole", folder.path + "/broken")
    #expect(try Program.run(Self.flags(9, whole)).code == 0)
    let first = try Program.run(
      ranks: 2, Self.flags(9, broken) + ["--inject", "kill:rank=1,step=6"])
    #expect(first.code != 0)
    let second = try Program.run(ranks: laterRanks, Self.flags(9, broken))
    try #require(second.code == 0, "\(second.errors)")
    #expect(try metrics(broken, event: "resume").map { $0["step"] as? Int } == [4])
    #expect(try Self.files(broken, step: 9) == Self.files(whole, step: 9))
    #expect(try RankInvarianceTests.numbers(broken) == RankInvarianceTests.numbers(whole))
    let other = try Program.run(Self.flags(12, broken, decay: "0.99"))
    #expect(other.code == 10)
    #expect(other.errors.contains("--ema_decay: 0.9 in the checkpoint, 0.99 now"))
  }

  @Test("the average of what was trained is evaluated and written", arguments: [nil, 3])
  func evaluated(ranks: Int?) throws {
    let folder = try TemporaryFolder()
    let (other, run, plain) = (folder.path + "/other", folder.path + "/run", folder.path + "/plain")
    #expect(try Program.run(Self.flags(1, other, decay: nil)).code == 0)
    let first = ["--init_from", other + "/model.safetensors"]
    let every = ["--checkpoint_every", "1", "--checkpoint_keep", "9"]
    let steps = 6
    #expect(try Program.run(ranks: ranks, Self.flags(steps, run) + first + every).code == 0)
    // Averages are looked at, never trained.
    #expect(try Program.run(Self.flags(steps, plain, decay: nil) + first + every).code == 0)
    let (weights, model) = (
      Self.checkpoint(run, steps) + "/weights.safetensors", run + "/model.safetensors"
    )
    let unaveraged = try Checksum.hex(ofFile: plain + "/model.safetensors")
    #expect(try Checksum.hex(ofFile: weights) == unaveraged)
    #expect(try Self.holds(model, Self.average(Self.checkpoint(run, steps))))

    let told = try #require(try metrics(run, event: "epoch").last?["test_loss"] as? Double)
    let (deployed, trained) = (try Self.loss(model), try Self.loss(weights))
    #expect(abs(deployed - told) < 1e-6 * told)
    #expect(abs(trained - told) > 1e-4 * told, "\(trained), \(told)")

    for (source, hasAverage) in [(run, true), (plain, false)] {
      let result = try Program.run([
        "evaluate", "--checkpoint", Self.checkpoint(source, steps), "--data_path",
        goldenFolder.path,
      ])
      #expect(result.code == 0 && result.errors.contains("not their average") == hasAverage)
    }

    // Step by step, in double precision.
    var exact = try Self.tensors(other + "/model.safetensors").mapValues { $0.map(Double.init) }
    for step in 1...steps {
      let d = min(0.9, Double(1 + step) / Double(10 + step))
      let now = try Self.tensors(Self.checkpoint(run, step) + "/weights.safetensors")
      for (name, values) in now {
        let before = try #require(exact[name])
        exact[name] = zip(before, values).map { d * $0 + (1 - d) * Double($1) }
      }
    }
    for (name, values) in try Self.tensors(model) {
      // Three roundings a step of numbers below 2.
      let errors = zip(values, exact[name] ?? []).map { abs(Double($0) - $1) }
      #expect(errors.count == values.count && errors.allSatisfy { $0 < 18 * 0x1p-23 }, "\(name)")
    }
  }

  @Test("MPI's own all-reduce goes with it") func allReduce() throws {
    let folder = try TemporaryFolder()
    let flags = Self.flags(6, folder.path) + ["--reduce", "mpi"]
    let result = try Program.run(ranks: 3, flags)
    try #require(result.code == 0, "\(result.errors)")
    let told = try #require(try metrics(folder.path, event: "epoch").last?["test_loss"] as? Double)
    #expect(abs(try Self.loss(folder.path + "/model.safetensors") - told) < 1e-6 * told)
  }

  @Test("a flipped bit is never written", arguments: [3, 7])
  func flippedBit(step: Int) throws {
    let folder = try TemporaryFolder()
    // Only evaluations compare the weights then, after an epoch and at the end.
    let none = ["--checkpoint_every", "0", "--checkpoint_every_epoch", "0"]
    let result = try Program.run(
      ranks: 3,
      Self.flags(7, folder.path) + none + ["--inject", "bitflip:rank=0,step=\(step)"])
    #expect(result.code == 13, "\(result.errors)")
    #expect(result.errors.contains("After step \(step) the weights of rank 0"))
    #expect(try metrics(folder.path, event: "epoch").count == (step == 3 ? 0 : 2))
  }

  @Test("from another run's checkpoint, the average begins, ends or goes on with another decay")
  func branch() throws {
    let folder = try TemporaryFolder()
    let (with, without) = (folder.path + "/with", folder.path + "/without")
    let keep = ["--checkpoint_keep", "9"]
    #expect(try Program.run(Self.flags(6, with) + keep).code == 0)
    #expect(try Program.run(Self.flags(6, without, decay: nil) + keep).code == 0)
    for (source, decay) in [(without, "0.9"), (with, nil), (with, "0.5")] {
      let from = Self.checkpoint(source, 6)
      let (averaged, plain) = (
        try Self.average(from), try Self.tensors(from + "/weights.safetensors")
      )
      #expect(averaged.isEmpty == (source == without))
      // Nothing is left to do: what the checkpoint holds is taken over.
      let same = folder.path + "/same"
      let taken = try Program.run(
        ranks: 2, Self.flags(6, same, decay: decay) + keep + ["--resume", from])
      try #require(taken.code == 0, "\(taken.errors)")
      #expect(taken.errors.contains("--ema_decay: "))
      let evaluated = averaged.isEmpty ? plain : averaged
      let deployed = decay == nil ? plain : evaluated
      #expect(try Self.holds(same + "/model.safetensors", deployed))
      // What had the best accuracy so far, it or an earlier one.
      #expect(
        try RankInvarianceTests.best(same) == RankInvarianceTests.best(source))

      // Going on, killed, and going on with that.
      let (next, every) = (folder.path + "/next", keep + ["--checkpoint_every", "1"])
      let flags = Self.flags(8, next, decay: decay) + every + ["--resume", from]
      #expect(try Program.run(ranks: 2, flags + ["--inject", "kill:rank=1,step=8"]).code != 0)
      let result = try Program.run(flags)
      try #require(result.code == 0, "\(result.errors)")
      let (seventh, last) = (Self.checkpoint(next, 7), Self.checkpoint(next, 8))
      let model = next + "/model.safetensors"
      if let decay = decay.flatMap(Double.init) {
        #expect(try Self.holds(model, Self.average(last)))
        let d = min(decay, 8.0 / 17)
        let weights = try Self.tensors(seventh + "/weights.safetensors")
        for (name, values) in try Self.average(seventh) {
          let (before, now) = (try #require(evaluated[name]), try #require(weights[name]))
          for (value, (old, new)) in zip(values, zip(before, now)) {
            let exact = d * Double(old) + (1 - d) * Double(new)
            // Three roundings of numbers below 2.
            guard abs(Double(value) - exact) >= 3 * 0x1p-23 else { continue }
            Issue.record("\(name): \(value), expected \(exact)")
            break
          }
        }
      } else {
        #expect(try Self.average(last).isEmpty)
        #expect(try Self.holds(model, Self.tensors(last + "/weights.safetensors")))
      }
      let whole = folder.path + "/whole"
      #expect(
        try Program.run(ranks: 3, Self.flags(8, whole, decay: decay) + every + ["--resume", from])
          .code == 0)
      #expect(try Self.files(next, step: 8) == Self.files(whole, step: 8))
      for run in [same, next, whole] { try FileManager.default.removeItem(atPath: run) }
    }
  }

  @Test("from an older checkpoint, model and best are the averages of then")
  func older() throws {
    let folder = try TemporaryFolder()
    let first = folder.path + "/first"
    #expect(try Program.run(Self.flags(9, first) + ["--checkpoint_keep", "9"]).code == 0)
    for step in [3, 6] {
      let (second, whole) = (folder.path + "/second-\(step)", folder.path + "/whole-\(step)")
      let from = Self.checkpoint(first, step)
      let result = try Program.run(Self.flags(step, second) + ["--resume", from])
      #expect(result.code == 0, "\(result.errors)")
      #expect(try Program.run(Self.flags(step, whole)).code == 0)
      #expect(try RankInvarianceTests.weights(second) == RankInvarianceTests.weights(whole))
      // Where it was an earlier one, it lies in the first run's folder no longer.
      let best = try? RankInvarianceTests.best(second)
      let expected = try RankInvarianceTests.best(whole)
      #expect(best == nil || best == expected)
      if step == 3 { #expect(best == expected) }
    }
  }
}
