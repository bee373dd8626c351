// `convnn verify`: layers against golden files.
import ArgumentParser
import Diagnostics
import Foundation
import Models
import Tensors

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compares layers, forward and backward, with golden files.",
    discussion: """
      A file's metadata key `config` holds the layer's configuration; its tensors are input, \
      grad_output, param.*, output, grad_input and grad.*.
      """)

  @Option(
    name: .customLong("tolerance"), help: "Largest relative error that passes.")
  var tolerance = 1e-4
  @OptionGroup var kernels: KernelFlags
  @Flag(
    name: .customLong("use_amp"),
    help: "Products of bfloat16 numbers, whose rounding needs --tolerance 0.03 or so.")
  var useAMP = false
  @Argument(help: "Golden files.") var files: [String]

  func run() throws {
    guard tolerance.isFinite, tolerance > 0 else {
      throw RunError.configuration("--tolerance is \(tolerance): expected a number above 0.")
    }
    try KernelChoice.settle(kernels)
    var passed = 0
    for file in files {
      do {
        let result = try verifyLayerFile(
          file, tolerance: tolerance, precision: useAMP ? .mixed : .single)
        let worst = result.comparison.worst
        print(
          "\(result.passed ? "PASS" : "FAIL")  \(String(format: "%.2e", worst.error))"
            + "  \(file)  (\(worst.tensor))")
        if result.passed { passed += 1 }
      } catch let error as RunError {
        print("FAIL  -         \(file)  (\(error.message))")
      }
    }
    print("\(passed) passed, \(files.count - passed) failed")
    if passed < files.count { Foundation.exit(1) }
  }
}
