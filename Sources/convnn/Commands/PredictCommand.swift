// `convnn predict`: classes of images.
import ArgumentParser
import Diagnostics
import Foundation
import Models
import Training

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Names the classes of images, or maps a tensor file to logits.")

  @Option(
    name: .customLong("checkpoint"), help: "A weights file, or the folder of a checkpoint.")
  var checkpoint: String
  @Option(name: .customLong("top"), help: "Classes shown per image (default: 5).")
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
    let path = EvaluateCommand.weightsPath(checkpoint)
    let base = try WeightFile.configuration(of: path)
    let configuration = try flags.configuration(base: base)
    try KernelChoice.settle(flags)
    let predictor = try Predictor(configuration, weights: path)
    if let input, let output { try predictor.predict(tensors: input, to: output) }
    for image in images {
      print(image)
      for (name, probability) in try predictor.predict(image: image).prefix(top) {
        print(String(format: "  %6.2f %%  ", 100 * probability) + name)
      }
    }
  }
}
