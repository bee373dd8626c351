// `convnn evaluate`: loss and accuracy of a checkpoint on the test set.
import ArgumentParser
import Diagnostics
import Foundation
import Models
import Reports
import Training

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Evaluates a checkpoint on the test set.")

  @Option(
    name: .customLong("checkpoint"), help: "A weights file, or the folder of a checkpoint.")
  var checkpoint: String
  @Flag(name: .customLong("json"), help: "Print one JSON line.")
  var printsJSON = false
  @OptionGroup var flags: RunFlags

  func run() throws {
    try Self.evaluate(checkpoint: checkpoint, flags: flags, printsJSON: printsJSON)
  }

  static func evaluate(checkpoint: String, flags: RunFlags, printsJSON: Bool) throws {
    let path = weightsPath(checkpoint)
    let base = try WeightFile.configuration(of: path)
    var configuration = try flags.configuration(base: base)
    if flags.dataset.resize == nil, let side = base?.imageSize { configuration.resize = side }
    try KernelChoice.settle(flags)
    let final = configuration
    try Ending.withProcessGroup { group in
      let (images, result) = try EvaluationRun(final, group: group, weights: path).run()
      guard group.rank == 0 else { return .done }
      if printsJSON {
        print(
          jsonObject([
            ("images", .integer(images)), ("loss", .number(result.loss)),
            ("top1", .number(result.top1)), ("top5", .number(result.top5)),
          ]))
      } else {
        print(
          String(
            format: "%d images  loss %.6f  top-1 %.4f %%  top-5 %.4f %%", images, result.loss,
            result.top1, result.top5))
      }
      return .done
    }
  }

  /// The weights of a checkpoint's folder, or the file itself.
  static func weightsPath(_ path: String) -> String {
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    return exists && isFolder.boolValue ? path + "/weights.safetensors" : path
  }
}
