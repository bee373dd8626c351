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
    var configuration = try flags.configuration()
    output.apply(to: &configuration)
    guard !configuration.outputFolder.isEmpty else {
      throw RunError.configuration("--output_dir is empty: expected the name of a folder.")
    }
    try KernelChoice.settle(flags)
    let final = configuration
    // Before MPI, which takes a while to start: a request that comes early counts too.
    StopRequest.catchSignals()
    try Ending.withProcessGroup { group in try Trainer(final, group: group).run() }
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
