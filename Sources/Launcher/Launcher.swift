// The launcher: what `./launch` starts once it is built. It plans a run, starts mpirun, and stays until the run is over.
import Diagnostics
import Foundation

/// `convnn-launch REPOSITORY PROGRAM MPI WORDS…`: MPI is the main version of the mpirun on PATH, or says what is wrong
/// with it; WORDS are the user's.
@main struct Launcher {
  private let repository: String
  private let program: String
  private let mpi: String

  static func main() {
    let words = CommandLine.arguments.dropFirst()
    guard words.count >= 3 else {
      say("Error: this is a part of ./launch, which starts it.")
      exit(ExitCode.usage.rawValue)
    }
    let first = words.startIndex
    let launcher = Launcher(
      repository: words[first], program: words[first + 1], mpi: words[first + 2])
    do { exit(try launcher.main(Array(words.dropFirst(3)))) } catch let error as RunError {
      say("Error: \(error)")
      exit(error.code.rawValue)
    } catch let end as SilentEnd { exit(end.code.rawValue) } catch {
      say("Error: \(error)")
      exit(ExitCode.configuration.rawValue)
    }
  }

  private func main(_ words: [String]) throws -> Int32 {
    var options = try RunOptions(words)
    let wantsHelp = words.contains("-h") || words.contains("--help")
    var demonstration: Demonstration?
    if options.command == nil, options.flags.isEmpty {
      let new = Demonstration(repository: repository)
      options.flags = new.words
      demonstration = new
    }
    let flags = ProgramFlags(command: options.command ?? "train", words: options.flags)
    if wantsHelp || !["train", "evaluate", "bench"].contains(flags.command) {
      return handOver(flags, options)
    }
    let environment = ProcessInfo.processInfo.environment
    let signals = try Signals(inSlurm: SlurmAllocation(environment) != nil)
    if options.isDryRun { Signals.unblock() } else { signals.listen() }
    let run = try Run(
      options, flags, program: program, mpiVersion: try mpiVersion(options),
      environment: environment, signals: signals, machine: .current())
    if options.isDryRun {
      print(run.description())
      return 0
    }
    defer { demonstration?.end() }
    let code = try run.run { demonstration?.begin() }
    if code == 0, let demonstration { say(demonstration.results) }
    return code
  }

  /// The launcher speaks to Open MPI by parameters, helpers and messages that others do not have.
  private func mpiVersion(_ options: RunOptions) throws -> Int {
    if let version = Int(mpi) { return version }
    // Where there is none yet, it will be installed.
    if options.isDryRun, Machine.path(ofProgram: "mpirun") == nil { return 4 }
    throw RunError.configuration(mpi)
  }

  /// Puts the program in the place of the launcher: one process, no mpirun.
  private func handOver(_ flags: ProgramFlags, _ options: RunOptions) -> Int32 {
    let words = [program, flags.command] + flags.words
    if options.isDryRun {
      print(ShellWords.quoted(words))
      return 0
    }
    // It is for the program to hear them.
    Signals.unblock()
    let arguments = words.map { strdup($0) } + [nil]
    execvp(program, arguments)
    say(
      """
      Error: \(program) cannot be started: \(systemErrorText()).
      Look at CONVNN_PROGRAM if that is set, or build it anew: ./launch build
      """)
    return ExitCode.configuration.rawValue
  }
}
