// `convnn evaluate`: loss and accuracy of a checkpoint on the test set.
import ArgumentParser
import Diagnostics
import Foundation
import Models
import Reports
import Training

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Evaluates a checkpoint on the test set.",
    discussion: """
      Model, data set and size of images are those that the weights file names, not the defaults below, which \
      hold for files that name none. Flags given win.
      """)

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
    let path = try weightsPath(checkpoint)
    let base = try WeightDescription(of: path)
    let configuration = try flags.configuration(base: base)
    try KernelChoice.settle(flags)
    noteAssumptions(of: base, in: path, flags)
    noteData(of: base, configuration, flags)
    noteAverage(of: checkpoint)
    try Ending.withProcessGroup { group in
      let (images, result) = try EvaluationRun(
        configuration, group: group, weights: path, trainedOn: base?.data
      ).run()
      guard result.loss.isFinite else {
        throw SharedError(
          error: RunError(
            .notFinite,
            """
            \(path): the loss is \(result.loss), a finite number was expected.
            Its weights are not those of a run that went well: take an earlier checkpoint.
            """))
      }
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
            format: "%ld images  loss %.6f  top-1 %.4f %%  top-5 %.4f %%", images, result.loss,
            result.top1, result.top5))
      }
      return .done
    }
  }

  /// Says what is assumed of weights of another library.
  static func noteAssumptions(of base: WeightDescription?, in path: String, _ flags: RunFlags) {
    guard Ending.isFirst, let base, base.isInferred else { return }
    var assumed: [String] = []
    if flags.model.numHeads == nil { assumed.append("--num_heads \(base.model.numHeads)") }
    if flags.dataset.normalization == nil { assumed.append("--normalization dataset") }
    guard !assumed.isEmpty else { return }
    say(
      "Note: \(path) does not tell all of its model; assumed: \(assumed.joined(separator: ", ")).")
  }

  /// Says so where the data are not known to be those that the weights were trained on.
  static func noteData(
    of base: WeightDescription?, _ c: RunConfiguration, _ flags: RunFlags
  ) {
    guard Ending.isFirst else { return }
    if let trained = base?.data?.dataset {
      if trained != c.dataset {
        say(
          "Note: these weights were trained on \(trained.rawValue), not on \(c.dataset.rawValue).")
      }
    } else if flags.dataset.dataset == nil {
      say(
        "Note: these weights do not say what they were trained on: \(c.dataset.rawValue) is assumed;"
          + " --dataset names another.")
    }
  }

  /// Says which of the two kinds of weights a checkpoint's folder gives.
  private static func noteAverage(of checkpoint: String) {
    guard Ending.isFirst, let state = try? RunState(checkpoint: checkpoint) else { return }
    let decay = state.configuration.first { $0.flag == "ema_decay" }.flatMap { Double($0.value) }
    guard let decay, decay > 0 else { return }
    say(
      "Note: these are the weights that learn, not their average: that is in best.safetensors and model.safetensors."
    )
  }

  /// The weights of a checkpoint's folder, or the file itself.
  ///
  /// - Throws: `RunError` (configuration) if it is not there.
  static func weightsPath(_ path: String) throws -> String {
    let files = FileManager.default
    var isFolder: ObjCBool = false
    let exists = files.fileExists(atPath: path, isDirectory: &isFolder)
    let file = exists && isFolder.boolValue ? path + "/weights.safetensors" : path
    guard files.fileExists(atPath: file) else {
      throw RunError.configuration(
        """
        --checkpoint \(path): there is no \(file).
        Give a weights file (model.safetensors or best.safetensors of a run), or a checkpoint's folder \
        (…/checkpoints/step-…).
        """)
    }
    return file
  }
}
