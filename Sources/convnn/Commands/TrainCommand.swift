// `convnn train`: the main job.
import ArgumentParser
import Collectives
import Diagnostics
import Foundation
import Tensors
import Training

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Trains a model (the default command).",
    discussion: """
      Ranks, hosts and restarts are the launcher's: see `./launch --help`.
      """)

  @OptionGroup var flags: RunFlags
  @OptionGroup(title: "Output") var output: OutputFlags
  @Flag(
    name: .customLong("test_only"),
    help: "Evaluate --checkpoint on the test set; without one, show the shape of an output.")
  var testOnly = false
  @Option(name: .customLong("checkpoint"), help: "Weights for --test_only.")
  var checkpoint: String?

  func run() throws {
    if testOnly { return try runTest() }
    if let checkpoint {
      throw RunError.configuration(
        """
        --checkpoint \(checkpoint) is for --test_only.
        To train from its weights give --init_from, to go on with its run --resume.
        """)
    }
    var given = try flags.configuration()
    output.apply(to: &given)
    // By the flags alone, as the launcher sees them.
    let folder = given.outputFolder
    guard !folder.isEmpty else {
      throw RunError.configuration("--output_dir is empty: expected the name of a folder.")
    }
    try KernelChoice.settle(flags)
    // Before MPI, which takes a while to start: a request that comes early counts too.
    StopRequest.catchSignals()
    try Ending.withProcessGroup { group in
      let base = try WeightDescription.ofFirstWeights(
        output.initFrom, resume: given.resume, output: folder, group: group)
      var configuration = try group.together { try self.configuration(base: base) }
      configuration.outputFolder = folder
      return try Trainer(configuration, group: group).run()
    }
  }

  /// - Parameter base: what the weights that the run begins with tell of themselves.
  private func configuration(base: WeightDescription?) throws -> RunConfiguration {
    var c = try flags.configuration(base: base, trains: true)
    output.apply(to: &c)
    if let file = output.initFrom { EvaluateCommand.noteAssumptions(of: base, in: file, flags) }
    return c
  }

  private func runTest() throws {
    guard let checkpoint else {
      let configuration = try flags.configuration()
      try KernelChoice.settle(flags)
      return try Ending.withProcessGroup { group in
        let line = try group.together { try outputShape(configuration) }
        if group.rank == 0 { print(line) }
        return .done
      }
    }
    try EvaluateCommand.evaluate(
      checkpoint: checkpoint, flags: flags, printsJSON: false)
  }
}
