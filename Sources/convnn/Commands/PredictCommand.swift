// `convnn predict`: classes of images.
import ArgumentParser
import Diagnostics
import Foundation
import Models
import Training

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Names the classes of images, or maps a tensor file to logits.",
    discussion: """
      Model, normalisation, size of images and names of classes are those that the weights file tells, not the \
      defaults below, which hold for files that tell none. Flags given win.
      """)

  @Option(
    name: .customLong("checkpoint"), help: "A weights file, or the folder of a checkpoint.")
  var checkpoint: String
  @Option(name: .customLong("top"), help: "Classes shown per image.")
  var top = 5
  @Option(
    name: .customLong("input"),
    help: "A safetensors file with a tensor `input` (B, 3, S, S), normalised already.")
  var input: String?
  @Option(name: .customLong("output"), help: "Where to write `logits` (B, C) for --input.")
  var output: String?
  @OptionGroup var flags: RunFlags
  @Argument(help: "Images (JPEG, PNG).") var images: [String] = []

  func validate() throws {
    if (input == nil) != (output == nil) {
      throw ValidationError("--input and --output belong together.")
    }
    if input == nil && images.isEmpty {
      throw ValidationError("Nothing to predict: name images, or give --input and --output.")
    }
    if top < 1 { throw ValidationError("--top is \(top): expected a number from 1 on.") }
  }

  func run() throws {
    let path = try EvaluateCommand.weightsPath(checkpoint)
    let base = try WeightDescription(of: path)
    let configuration = try flags.configuration(base: base)
    try KernelChoice.settle(flags)
    EvaluateCommand.noteAssumptions(of: base, in: path, flags)
    // A tensor file is normalised already, and has no classes.
    if !images.isEmpty { EvaluateCommand.noteData(of: base, configuration, flags) }
    let predictor = try Predictor(configuration, weights: path, trainedOn: base?.data)
    if let input, let output { try predictor.predict(tensors: input, to: output) }
    var failure: RunError?
    for image in images {
      do {
        let classes = try predictor.predict(image: image)
        print(image)
        for (name, probability) in classes.prefix(top) {
          print(String(format: "  %6.2f %%  ", 100 * probability) + name)
        }
      } catch let error as RunError where error.code == .data {
        // The others are predicted all the same.
        try Ending.flushOutput()
        say("Error: \(error.message)")
        failure = error
      }
    }
    if let failure { Foundation.exit(failure.code.rawValue) }
  }
}
