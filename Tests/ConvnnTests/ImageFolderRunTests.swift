// Runs on image folders: the same bits for any workers and ranks, and damaged images.
import Datasets
import Foundation
import TensorFiles
import TestSupport
import Testing

@Suite("Runs on image folders", .serialized) struct ImageFolderRunTests {
  let folder: TemporaryFolder

  /// Three classes of eight small photographs, all of different sizes and forms.
  init() throws {
    folder = try TemporaryFolder()
    for (label, name) in ["n01", "n02", "n03"].enumerated() {
      for i in 0..<8 {
        let number = 8 * label + i
        let (width, height) = (20 + 7 * i, 51 - 4 * i)
        try folder.write("data/train/\(name)/\(i).JPEG", Self.file(number, width, height))
        if i < 3 {
          try folder.write("data/val/\(name)/\(i).JPEG", Self.file(50 + number, height, width))
        }
      }
    }
  }

  /// Stripes whose direction and colour depend on the number.
  static func file(_ number: Int, _ width: Int, _ height: Int) -> [UInt8] {
    let form = JPEGForm.allCases[number % 5]
    let isPNG = number % 7 == 3
    let channels = form == .ink && !isPNG ? 4 : 3
    var pixels: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width {
        for c in 0..<channels {
          pixels.append(
            UInt8(truncatingIfNeeded: x * (number % 11) + y * (number % 4) * 3 + 60 * c))
        }
      }
    }
    return isPNG
      ? encodePNG(pixels, width: width, height: height, channels: 3)
      : encodeJPEG(pixels, width: width, height: height, form: form)
  }

  func flags(_ output: String, _ more: [String]) -> [String] {
    [
      "--dataset", "imagenet", "--data_path", folder.path + "/data", "--resize", "16",
      "--patch_size", "8", "--num_layers", "1", "--d_hidden", "24", "--d_mlp", "24", "--noise",
      "0.05", "--batch_size", "10", "--micro_batch", "2", "--shards", "4", "--num_epochs", "2",
      "--log_every", "1", "--no_progress", "--output_dir", folder.path + "/" + output,
    ] + more
  }

  /// Weights, metrics and the list of damaged images of a run.
  func results(
    _ output: String, ranks: Int?, _ more: [String]
  ) throws -> (weights: String, numbers: [String], bad: String?) {
    let result = try Program.run(
      ranks: ranks, flags(output, more), environment: ["XDG_CACHE_HOME": folder.path + "/cache"])
    try #require(result.code == 0, "\(result.errors)")
    let run = folder.path + "/" + output
    return (
      try RankInvarianceTests.weights(run),
      try RankInvarianceTests.numbers(run)
        + metrics(run, event: "data").map { "\($0["bad_images"]!)" },
      try? String(contentsOfFile: run + "/bad-images.txt", encoding: .utf8)
    )
  }

  @Test("workers and ranks change nothing", arguments: ["squash", "standard"])
  func invariant(transform: String) throws {
    let flags = ["--imagenet_transform", transform, "--augment"]
    let first = try results("one", ranks: nil, flags + ["--workers", "0"])
    // Six steps and two epochs.
    #expect(first.numbers.count == 10 && first.bad == nil)
    for (ranks, workers, threads) in [(1, 3, 1), (2, 1, 2), (3, 2, 1)] {
      let other = try results(
        "\(ranks)-\(workers)", ranks: ranks,
        flags + ["--workers", "\(workers)", "--threads", "\(threads)"])
      #expect(other.weights == first.weights)
      #expect(other.numbers == first.numbers)
    }
    let waiting = try metrics(folder.path + "/one", event: "data")
      .compactMap { $0["seconds_waiting"] as? Double }
    // Without workers all of the loading is waiting.
    #expect(waiting.count == 2 && waiting.allSatisfy { $0 > 0 })
  }

  /// Damages two training images and one of the test set.
  func damage() throws {
    let path = folder.path + "/data/train/n02/5.JPEG"
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    try folder.write("data/train/n02/5.JPEG", Array(bytes.prefix(bytes.count / 2)))
    try folder.write("data/train/n03/1.JPEG", Array("no image".utf8))
    try folder.write("data/val/n01/2.JPEG", [])
  }

  @Test("a damaged image ends the run, named with its reason", arguments: [nil, 3])
  func stops(ranks: Int?) throws {
    try damage()
    let result = try Program.run(ranks: ranks, flags("stop", ["--shuffle", "False"]))
    #expect(result.code == 11)
    let messages = result.errors.components(separatedBy: "Error: ")
    #expect(messages.count == 2, "\(result.errors)")
    for word in ["Image 13 ", "n02/5.JPEG", "truncated", "--on_bad_image skip"] {
      #expect(messages.last!.contains(word), "\(result.errors)")
    }
    let ending = status(folder.path + "/stop")
    #expect(ending["state"] as? String == "failed" && ending["exit_code"] as? Int == 11)
    #expect((ending["reason"] as? String)?.contains("n02/5.JPEG") == true)
  }

  @Test("a damaged image in evaluation ends all ranks too") func stopsEvaluation() throws {
    try folder.write("data/val/n03/1.JPEG", Array("no image".utf8))
    let result = try Program.run(ranks: 2, flags("stop", ["--max_steps", "1"]))
    #expect(result.code == 11 && result.errors.contains("val/n03/1.JPEG"), "\(result.errors)")
    // The step is kept, and the same command makes up for the evaluation.
    try folder.write("data/val/n03/1.JPEG", Self.file(1, 20, 20))
    let run = folder.path + "/stop"
    #expect(try metrics(run, event: "epoch").isEmpty)
    let again = try Program.run(ranks: 1, flags("stop", ["--max_steps", "1"]))
    #expect(again.code == 0, "\(again.errors)")
    #expect(try metrics(run, event: "step").count == 1)
    #expect(try metrics(run, event: "epoch").count == 1)
    #expect(status(run)["state"] as? String == "done")
  }

  @Test("a run that a damaged image has stopped goes on without it") func goesOnWithout() throws {
    let path = "data/val/n03/1.JPEG"
    try folder.write(path, Array("no image".utf8))
    let one = ["--max_steps", "1"]
    #expect(try Program.run(ranks: 2, flags("stop", one)).code == 11)
    let again = try Program.run(ranks: 2, flags("stop", one + ["--on_bad_image", "skip"]))
    #expect(again.code == 0, "\(again.errors)")
    #expect(try metrics(folder.path + "/stop", event: "step").count == 1)
    // As if it had been so from the start.
    let whole = try Program.run(flags("whole", one + ["--on_bad_image", "skip"]))
    #expect(whole.code == 0, "\(whole.errors)")
    for run in ["stop", "whole"] {
      #expect(
        try String(contentsOfFile: folder.path + "/\(run)/bad-images.txt", encoding: .utf8)
          .contains(path))
    }
    #expect(
      try RankInvarianceTests.numbers(folder.path + "/stop")
        == RankInvarianceTests.numbers(folder.path + "/whole"))
  }

  @Test("a file that cannot be read is not skipped: another host may read it") func unreadable()
    throws
  {
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/data/train/n02/9.JPEG", withDestinationPath: "nowhere")
    let result = try Program.run(ranks: 2, flags("run", ["--on_bad_image", "skip"]))
    #expect(result.code == 11)
    #expect(
      result.errors.contains("Cannot read \(folder.path)/data/train/n02/9.JPEG: No such file"))
  }

  @Test("weights are evaluated on their own classes only, and without their training data")
  func evaluatesClasses() throws {
    #expect(try Program.run(flags("run", ["--max_steps", "1"])).code == 0)
    let evaluate = [
      "evaluate", "--json", "--checkpoint", folder.path + "/run/model.safetensors", "--data_path",
      folder.path + "/data",
    ]
    let before = try Program.run(evaluate)
    #expect(before.code == 0, "\(before.errors)")
    let files = FileManager.default
    for split in ["train", "val"] {
      try files.moveItem(
        atPath: folder.path + "/data/\(split)/n01", toPath: folder.path + "/data/\(split)/n09")
    }
    let others = try Program.run(ranks: 2, evaluate)
    #expect(others.code == 11)
    #expect(others.errors.contains("class 0 is n02 there, n01 in the weights"), "\(others.errors)")
    try files.moveItem(
      atPath: folder.path + "/data/val/n09", toPath: folder.path + "/data/val/n01")
    try files.removeItem(atPath: folder.path + "/data/train")
    let without = try Program.run(evaluate)
    #expect(without.code == 0, "\(without.errors)")
    #expect(without.output == before.output)
    try files.moveItem(
      atPath: folder.path + "/data/val/n01", toPath: folder.path + "/data/val/n09")
    let stranger = try Program.run(evaluate)
    #expect(stranger.code == 11 && stranger.errors.contains("val/n09"), "\(stranger.errors)")
  }

  @Test("weights serve other classes and sizes of images, but for the classifier") func newHead()
    throws
  {
    #expect(try Program.run(flags("run", ["--max_steps", "2"])).code == 0)
    for split in ["train", "val"] {
      try FileManager.default.removeItem(atPath: folder.path + "/data/\(split)/n02")
    }
    let first = folder.path + "/run/model.safetensors"
    // So small a rate moves nothing.
    let other = [
      "--resize", "24", "--max_steps", "1", "--lr", "1e-30", "--weight_decay", "0", "--init_from",
      first,
    ]
    let refused = try Program.run(flags("other", other))
    #expect(refused.code == 10 && refused.errors.contains("--new_head"), "\(refused.errors)")
    let result = try Program.run(ranks: 2, flags("other", other + ["--new_head"]))
    #expect(result.code == 0, "\(result.errors)")
    let before = try SafetensorsFile(path: first)
    let after = try SafetensorsFile(path: folder.path + "/other/model.safetensors")
    let body = after.tensors.map(\.name).filter {
      !$0.hasPrefix("classifier.") && !$0.hasSuffix(".pe")
    }
    #expect(body.count > 8)
    for name in body { #expect(try after.floats(name) == before.floats(name), "\(name)") }
    #expect(after["classifier.weight"]?.shape == [2, 24])
    #expect(try Set(after.floats("classifier.weight")).count > 24)
  }

  @Test("skipped images give way to the same others everywhere, and are listed") func skips() throws
  {
    try damage()
    let flags = ["--on_bad_image", "skip"]
    let first = try results("one", ranks: nil, flags)
    let data = folder.path + "/data/"
    let lines = (first.bad ?? "").split(separator: "\n").map { $0.split(separator: "\t") }
    #expect(
      Set(lines.map { $0.prefix(3).joined(separator: " ") }) == [
        "train 13 \(data)train/n02/5.JPEG", "train 17 \(data)train/n03/1.JPEG",
        "test 2 \(data)val/n01/2.JPEG",
      ])
    #expect(lines.allSatisfy { $0.count == 4 })
    // Three replaced images in each of the two epochs.
    #expect(first.numbers.suffix(2) == ["3", "3"])
    for (ranks, workers) in [(1, 0), (2, 3), (3, 1)] {
      let other = try results("\(ranks)", ranks: ranks, flags + ["--workers", "\(workers)"])
      #expect(other.weights == first.weights)
      #expect(other.numbers == first.numbers)
      #expect(other.bad == first.bad)
    }
    // Stopped and gone on with, on other ranks.
    for (ranks, steps) in [(2, 2), (3, 4), (1, 0)] {
      _ = try Program.run(
        ranks: ranks,
        self.flags("parts", flags + ["--checkpoint_every", "1", "--max_steps", "\(steps)"]))
    }
    let parts = folder.path + "/parts"
    #expect(try RankInvarianceTests.weights(parts) == first.weights)
    #expect(try String(contentsOfFile: parts + "/bad-images.txt", encoding: .utf8) == first.bad)
    #expect(try metrics(parts, event: "data").map { $0["bad_images"] as? Int } == [3, 3])
  }

  @Test("evaluate says what it replaced") func evaluates() throws {
    try damage()
    _ = try results("run", ranks: nil, ["--on_bad_image", "skip"])
    let evaluate =
      ["evaluate", "--checkpoint", folder.path + "/run/model.safetensors", "--dataset", "imagenet"]
      + ["--data_path", folder.path + "/data", "--json"]
    let stopped = try Program.run(evaluate)
    #expect(stopped.code == 11 && stopped.errors.contains("val/n01/2.JPEG"))
    let result = try Program.run(ranks: 2, evaluate + ["--on_bad_image", "skip"])
    #expect(result.code == 0 && result.output.contains("\"images\":9"))
    #expect(result.errors.contains("1 damaged images") && result.errors.contains("val/n01/2.JPEG"))
  }
}
