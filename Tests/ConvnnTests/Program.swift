// Runs the built program as a user would, alone or under mpirun.
import Foundation
import TestSupport
import Testing

struct ProgramResult {
  let code: Int32
  let output: String
  let errors: String
}

enum Program {
  /// The executable lies beside the test bundle.
  static let path = URL(fileURLWithPath: CommandLine.arguments[0])
    .deletingLastPathComponent().appendingPathComponent("convnn").path

  /// Starts `convnn arguments`, under mpirun if `ranks` is given, and waits for its end.
  ///
  /// - Parameter folder: where the program runs; nil: where the tests do.
  static func run(
    ranks: Int? = nil, _ arguments: [String], environment: [String: String] = [:],
    in folder: String? = nil
  ) throws -> ProgramResult {
    let process = try start(ranks: ranks, arguments, environment: environment, in: folder)
    return process.finish()
  }

  static func start(
    ranks: Int? = nil, _ arguments: [String], environment: [String: String] = [:],
    in folder: String? = nil
  ) throws -> RunningProgram {
    let words = [path] + arguments
    return try start(
      ranks.map { mpirun + ["-np", "\($0)"] + words } ?? words, environment: environment, in: folder
    )
  }

  /// Runs them three at a time: half of a short run's time nobody computes, while processes start and end.
  static func run(_ runs: [(ranks: Int?, arguments: [String])]) throws -> [ProgramResult] {
    var results: [ProgramResult] = []
    while results.count < runs.count {
      let running = try runs.dropFirst(results.count).prefix(3).map {
        try start(ranks: $0.ranks, $0.arguments)
      }
      results += running.map { $0.finish() }
    }
    return results
  }

  /// One run whose ranks have arguments of their own, as on hosts that differ. (mpirun's own way to do that, with
  /// colons, ends it with a segmentation fault in Open MPI 5.0.7.)
  static func run(
    each arguments: [[String]], environment: [String: String] = [:]
  ) throws -> ProgramResult {
    let folder = try TemporaryFolder()
    for (rank, words) in arguments.enumerated() {
      let lines = ([path] + words).map { $0 + "\0" }.joined()
      try Data(lines.utf8).write(to: URL(fileURLWithPath: "\(folder.path)/\(rank)"))
    }
    let start = "mapfile -d '' -t words <\"$0/$OMPI_COMM_WORLD_RANK\"; exec \"${words[@]}\""
    let ranks = ["-np", "\(arguments.count)", "bash", "-c", start, folder.path]
    return try withExtendedLifetime(folder) {
      try Self.start(mpirun + ranks, environment: environment, in: nil).finish()
    }
  }

  /// By itself it binds the first two ranks to the first two cores, in every run that there is at the time.
  private static let mpirun = [
    "mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
  ]
  /// What the launcher sets too: to look for networks first would take half of a short run's time.
  private static let mpi = [
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,vader",
  ]

  private static func start(
    _ words: [String], environment: [String: String], in folder: String?
  ) throws -> RunningProgram {
    let process = Process()
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    // As from a shell, whoever started the tests: the launcher ignores SIGPIPE, and there is no terminal.
    process.arguments = ["--default-signal=PIPE"] + words
    process.standardInput = FileHandle.nullDevice
    process.environment = ProcessInfo.processInfo.environment.merging(mpi) { $1 }
      .merging(environment) { $1 }
    return try RunningProgram(process)
  }
}

final class RunningProgram {
  let process: Process
  private let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("program-\(UUID().uuidString)")

  fileprivate init(_ process: Process) throws {
    self.process = process
    // Files, not pipes: nobody has to empty them while the program runs.
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for name in ["output", "errors"] {
      _ = FileManager.default.createFile(
        atPath: folder.appendingPathComponent(name).path, contents: nil)
    }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(
      forWritingTo: folder.appendingPathComponent("output"))
    process.standardError = try FileHandle(forWritingTo: folder.appendingPathComponent("errors"))
    try process.run()
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  /// - Parameter seconds: after which a program that hangs is killed, so that its test fails.
  func finish(within seconds: Double = 600) -> ProgramResult {
    let kill = DispatchWorkItem { [process] in
      Foundation.kill(process.processIdentifier, SIGKILL)
    }
    DispatchQueue.global().asyncAfter(deadline: .now() + seconds, execute: kill)
    process.waitUntilExit()
    kill.cancel()
    func text(_ name: String) -> String {
      (try? String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)) ?? ""
    }
    return ProgramResult(
      code: process.terminationStatus, output: text("output"), errors: text("errors"))
  }
}

/// The lines of a metrics.jsonl of one kind.
func metrics(_ folder: String, event: String) throws -> [[String: Any]] {
  let text = try String(contentsOfFile: folder + "/metrics.jsonl", encoding: .utf8)
  return try text.split(separator: "\n").compactMap {
    let line = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    return line?["event"] as? String == event ? line : nil
  }
}

func status(_ folder: String) -> [String: Any] {
  guard let data = FileManager.default.contents(atPath: folder + "/status.json"),
    let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
  else { return [:] }
  return object
}
