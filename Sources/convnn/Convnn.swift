// The program `convnn`: commands, and how it ends.
import ArgumentParser
import Diagnostics
import Foundation
import Training

struct Convnn: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convnn",
    abstract: "Trains Vision Transformers with ConvNN-Attention on CPUs, data-parallel over MPI.",
    discussion: "Without a command it trains. Run it by ./launch, by mpirun, or alone.",
    subcommands: [
      TrainCommand.self, EvaluateCommand.self, PredictCommand.self, VerifyCommand.self,
      BenchCommand.self, DataCommand.self, FuzzCommand.self,
    ],
    defaultSubcommand: TrainCommand.self)
}

@main
enum Main {
  static func main() {
    let words = normalizeArguments(Array(CommandLine.arguments.dropFirst()))
    do {
      var command = try Convnn.parseAsRoot(words)
      try command.run()
      try Ending.flushOutput()
      exit(ExitCode.done.rawValue)
    } catch let error as RunError {
      Ending.early(error)
    } catch {
      let isHelp = Convnn.exitCode(for: error) == .success
      if isHelp {
        if Ending.isFirst { print(Convnn.fullMessage(for: error)) }
        exit(ExitCode.done.rawValue)
      }
      Ending.early(
        RunError(.usage, "\(concise(Convnn.message(for: error)))\nSee --help for all flags."))
    }
  }

  /// The parser lists choices one per line; here they share one.
  private static func concise(_ message: String) -> String {
    message.replacing("\n  - ", with: ", ").replacing("following:, ", with: "following: ")
  }
}
