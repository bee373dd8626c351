// `convnn fuzz`: damaged files for the readers, for as long as one likes.
import ArgumentParser
import Diagnostics
import Training

extension FuzzTarget: ExpressibleByArgument {}

struct FuzzCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fuzz", abstract: "Feeds a file reader with damaged inputs.",
    discussion: """
      Input n is a function of (target, --seed, n). A reader must refuse or read each of them, and \
      never crash, hang or ask for much memory. Ends with an error that names the first input for \
      which that does not hold; `--first n --runs 1` repeats it.
      """)

  @Argument(help: "jpeg, png, cifar, pickle, safetensors or checkpoint.") var target: FuzzTarget
  @Option(name: .customLong("runs"), help: "Inputs; 0 = until interrupted (default: 0).")
  var runs = 0
  @Option(name: .customLong("seed"), help: "Seed of the damage (default: 0).") var seed = 0
  @Option(name: .customLong("first"), help: "Number of the first input (default: 0).") var first = 0

  func validate() throws {
    if runs < 0 { throw ValidationError("--runs is \(runs): expected 0 or more.") }
    // Small enough to be counted up from.
    guard (0..<1 << 48).contains(first) else {
      throw ValidationError("--first is \(first): expected 0 to 2^48 - 1.")
    }
  }

  func run() throws {
    FuzzCrashNote.install()
    let fuzzer = Fuzzer(target: target, seed: UInt64(bitPattern: Int64(seed)))
    let summary = try FuzzStop.catching {
      try fuzzer.run(first: first, count: runs > 0 ? runs : nil) { number, summary in
        say("\(number) inputs: \(summary.accepted) read, \(summary.refused) refused")
      }
    }
    print("\(target.rawValue): \(summary.accepted) read, \(summary.refused) refused, no finding")
  }
}
