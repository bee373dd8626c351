// Ranks whose hosts, files or flags differ: one message that names the odd one, one exit code, no stall.
import Foundation
import TensorFiles
import TestSupport
import Testing

@Suite("Ranks that differ", .serialized) struct DifferentRanksTests {
  /// What fails here must not take minutes.
  static let small = MistakeTests.small + ["--stall_timeout", "5"]

  /// One message of at most six lines, with all the words in it.
  private func expectOneMessage(_ result: ProgramResult, _ words: [String]) {
    let messages = result.errors.components(separatedBy: "Error: ")
    #expect(messages.count == 2, "one message: \(result.errors)")
    let message = (messages.last ?? "").components(separatedBy: "\n-----")[0]
    for word in words { #expect(message.contains(word), "\(message)") }
    #expect(message.split(separator: "\n").count <= 6, "\(message)")
  }

  private var host: String {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    return name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  @Test(
    "one rank fails before MPI starts",
    arguments: [
      Mistake("--bogus", 2, "--bogus"), Mistake("--device cuda", 10, "--device cuda"),
      Mistake("--use_amp --amp_strict --amp_unit portable", 10, "--amp_strict"),
    ], [0, 1, 2])
  func early(_ mistake: Mistake, odd: Int) throws {
    let folder = try TemporaryFolder()
    let flags = Self.small + ["--output_dir", folder.path + "/run"]
    let result = try Program.run(each: (0..<3).map { flags + ($0 == odd ? mistake.flags : []) })
    #expect(result.code == mistake.code, "\(result.errors)")
    expectOneMessage(result, mistake.words + (odd > 0 ? ["Rank \(odd) on \(host): "] : []))
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))
  }

  @Test("a checkpoint that one host lacks", arguments: [0, 1]) func checkpoint(odd: Int) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/w.safetensors"
    try writeSafetensors(
      to: path, metadata: ["config": "{\"img_size\":16,\"patch_size\":8,\"d_hidden\":24}"],
      tensors: [])
    let result = try Program.run(
      each: (0..<2).map {
        [
          "evaluate", "--dataset", "shapes", "--stall_timeout", "5", "--checkpoint",
          $0 == odd ? folder.path + "/missing" : path,
        ]
      })
    #expect(result.code == 10, "\(result.errors)")
    expectOneMessage(
      result, ["there is no \(folder.path)/missing"] + (odd > 0 ? ["Rank 1 on \(host)"] : []))
  }

  @Test("evaluation on different data") func evaluation() throws {
    let folder = try TemporaryFolder()
    let model = [
      "--dataset", "imagenet", "--resize", "16", "--patch_size", "8", "--num_layers", "1",
      "--d_hidden", "24", "--d_mlp", "24",
    ]
    for (data, count) in [("one", 1), ("two", 2)] {
      for label in 0..<3 {
        for (split, image) in [("train", 0)] + (0..<count).map({ ("val", $0) }) {
          try folder.write(
            "\(data)/\(split)/n0\(label)/\(image).JPEG", ImageFolderRunTests.file(label, 20, 20))
        }
      }
    }
    let run = folder.path + "/run"
    let training = try Program.run(
      model + [
        "--data_path", folder.path + "/one", "--max_steps", "1", "--batch_size", "2",
        "--no_progress", "--output_dir", run,
      ])
    try #require(training.code == 0, "\(training.errors)")
    let evaluate = ["evaluate"] + model + ["--checkpoint", run + "/model.safetensors"]
    let result = try Program.run(
      each: ["one", "two"].map {
        evaluate + ["--stall_timeout", "5", "--data_path", "\(folder.path)/\($0)"]
      })
    #expect(result.code == 13, "\(result.errors)")
    expectOneMessage(result, ["test data: rank 1 (\(host))"])
  }

  @Test(
    "flags that decide what the ranks do together",
    arguments: [
      "--num_epochs 3", "--max_steps 2", "--checkpoint_every 1", "--checkpoint_every_epoch 3",
      "--trace", "--init_from w.safetensors", "--resume never",
    ])
  func flags(_ odd: String) throws {
    let folder = try TemporaryFolder()
    let flags = Self.small + ["--output_dir", folder.path + "/run"]
    let words = odd.split(separator: " ").map(String.init)
    let result = try Program.run(each: [flags, flags + words])
    #expect(result.code == 13, "\(result.errors)")
    expectOneMessage(result, [words[0], "rank 1 (\(host))"])
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))
  }
}
