// ./launch without arguments.
import Diagnostics
import Foundation
import Reports

/// A small ViT on the built-in images, about a minute on two cores.
struct Demonstration {
  static let flags = """
    --dataset shapes --resize 32 --patch_size 4 --num_layers 4 --num_heads 3 --d_hidden 96 --d_mlp 192 \
    --dropout 0 --attention_dropout 0 --batch_size 64 --shards 16 --num_epochs 5 --lr 2e-3 \
    --warmup_epochs 1 --scheduler cosine
    """

  let folder: String
  private var mark: String { folder + "/.demonstration" }

  /// In the folder after the newest one; or in that, if the same demonstration was stopped or lost there.
  init(repository: String) {
    let files = FileManager.default
    func name(_ number: Int) -> String {
      let digits = "\(number)"
      let zeros = String(repeating: "0", count: max(0, 3 - digits.count))
      return "\(repository)/Output/demo-\(zeros)\(digits)"
    }
    var number = 1
    while files.fileExists(atPath: name(number)) { number += 1 }
    let newest = name(number - 1)
    let canGoOn =
      Machine.text(ofFile: newest + "/.demonstration") == Self.flags + "\n"
      && [.preempted, .rankDied].contains(RunStatus(file: newest + "/status.json")?.exitCode)
    folder = canGoOn ? newest : name(number)
  }

  var words: [String] {
    Self.flags.split(separator: " ").map(String.init) + ["--output_dir", folder]
  }

  /// Notes which flags its folder is of. Where that is impossible the program says why.
  func begin() {
    try? FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true)
    try? (Self.flags + "\n").write(toFile: mark, atomically: false, encoding: .utf8)
  }

  /// One that has not begun leaves no folder.
  func end() {
    let names = try? FileManager.default.contentsOfDirectory(atPath: folder)
    guard let names, names.allSatisfy({ $0.hasPrefix(".") }) else { return }
    unlink(mark)
    rmdir(folder)
  }

  /// What it has left, and what to try next.
  var results: String {
    let here = FileManager.default.currentDirectoryPath + "/"
    let folder = folder.hasPrefix(here) ? String(folder.dropFirst(here.count)) : folder
    return """

      Left in \(folder):
        report.html              the run on one page, for a browser
        train_eval_results.txt   loss and accuracy of every epoch
        metrics.jsonl            the same and every tenth step, for programs
        model.safetensors        the weights; best.safetensors those of the best epoch
        model.txt, args.txt      the architecture and every flag in effect

      Try next:
        ./launch --dataset shapes --resize 32 --patch_size 4 --layer ConvNNAttention --num_epochs 3
        ./launch data cifar10 --data_path Data && ./launch --resize 32 --patch_size 4
        ./launch -np 1 evaluate --checkpoint \(folder)/best.safetensors --dataset shapes
      """
  }
}
