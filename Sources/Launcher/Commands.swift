// Small commands that the launcher asks something.
import Diagnostics
import Foundation

struct CommandResult {
  let exitCode: Int32
  let output: [String]
  let errors: [String]
}

extension Signals {
  /// Runs commands at most 64 at a time, as every one is a process of this host, and waits for them.
  func run(_ commands: [[String]], input: String? = nil) -> [CommandResult] {
    var results = [CommandResult?](repeating: nil, count: commands.count)
    var running: [RunningCommand] = []
    var next = 0
    while next < commands.count || !running.isEmpty {
      while running.count < 64, next < commands.count {
        if let command = RunningCommand(commands[next], index: next, input: input) {
          running.append(command)
        } else {
          results[next] = CommandResult(
            exitCode: 127, output: [], errors: ["\(commands[next][0]) cannot be started"])
        }
        next += 1
      }
      guard !running.isEmpty else { break }
      wait(for: running.flatMap(\.descriptors), until: nil)
      if count >= requestThatEndsCommands {
        let signal = count > requestThatEndsCommands ? SIGKILL : SIGTERM
        for command in running { command.send(signal) }
      }
      running.removeAll { command in
        guard let result = command.result() else { return false }
        results[command.index] = result
        return true
      }
    }
    return results.map { $0! }
  }

  /// The lines that a command prints; none if it fails.
  func output(of words: String...) -> [String] {
    let result = run([words])[0]
    return result.exitCode == 0 ? result.output : []
  }
}

private final class RunningCommand {
  let index: Int
  private let child: ChildProcess
  private let pipes: [LinePipe]
  private var lines: [[String]] = [[], []]

  /// nil if it cannot be started.
  init?(_ words: [String], index: Int, input: String?) {
    self.index = index
    guard let pipes = try? [LinePipe(), LinePipe()], let text = try? LinePipe(),
      text.fill(input ?? ""),
      let child = try? ChildProcess(
        words, input: text.readEnd, output: pipes[0].writeEnd, errors: pipes[1].writeEnd)
    else { return nil }
    self.child = child
    self.pipes = pipes
    for pipe in pipes { pipe.closeWriteEnd() }
  }

  func send(_ signal: Int32) { child.send(signal) }

  var descriptors: [Int32] { pipes.filter(\.isOpen).map(\.readEnd) }

  /// What has come of it, once it has ended.
  func result() -> CommandResult? {
    for (index, pipe) in pipes.enumerated() where pipe.isOpen { lines[index] += pipe.takeLines() }
    // What it has left behind may hold a pipe open.
    guard child.hasEnded, let code = child.exitCode else { return nil }
    for (index, pipe) in pipes.enumerated() {
      lines[index] += pipe.takeLines()
      pipe.stop()
      lines[index] += pipe.takeLines()
    }
    return CommandResult(exitCode: code, output: lines[0], errors: lines[1])
  }
}
