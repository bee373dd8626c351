// What a run is doing, for scripts and schedulers.
import Diagnostics
import Files
import Foundation

/// What `status.json` tells.
public struct RunStatus: Equatable, Sendable {
  public enum State: String, Sendable, CaseIterable {
    case running, done, failed, preempted
  }

  public var state: State
  /// The last one that was told of.
  public var step: Int
  /// From 1.
  public var epoch: Int
  public var exitCode: ExitCode
  public var reason: String

  public init(
    _ state: State, step: Int, epoch: Int, exitCode: ExitCode = .done, reason: String = ""
  ) {
    self.state = state
    self.step = step
    self.epoch = epoch
    self.exitCode = exitCode
    self.reason = reason
  }

  /// nil for a file that is not there, or tells no status.
  public init?(file path: String) {
    struct Fields: Decodable {
      let state: String
      let step, epoch: Int
      let exitCode: Int32
      let reason: String?

      enum CodingKeys: String, CodingKey {
        case state, step, epoch, reason
        case exitCode = "exit_code"
      }
    }
    guard let data = FileManager.default.contents(atPath: path),
      let fields = try? JSONDecoder().decode(Fields.self, from: data),
      let state = State(rawValue: fields.state), let code = ExitCode(rawValue: fields.exitCode)
    else { return nil }
    self.init(
      state, step: fields.step, epoch: fields.epoch, exitCode: code, reason: fields.reason ?? "")
  }

  /// Replaces the file atomically; `durable` as in `AtomicFile.write`. Where there is no room for another file, the
  /// text goes over that of the old one: better than one that is not true any more.
  ///
  /// - Throws: `RunError` (configuration) when the file is as it was.
  public func write(to path: String, durable: Bool = true) throws {
    let line = jsonObject([
      ("state", .text(state.rawValue)), ("step", .integer(step)), ("epoch", .integer(epoch)),
      ("exit_code", .integer(Int(exitCode.rawValue))), ("reason", .text(reason)),
    ])
    do { try AtomicFile.write(Data((line + "\n").utf8), to: path, durable: durable) } catch {
      guard overwrite(path, with: line) else { throw error }
    }
  }
}

/// In one piece of no less than the old length, so that nothing of the old text is left.
private func overwrite(_ path: String, with line: String) -> Bool {
  let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
  guard descriptor >= 0 else { return false }
  defer { close(descriptor) }
  let length = Int(lseek(descriptor, 0, SEEK_END))
  let text = Array(line.utf8)
  let bytes = text + [UInt8](repeating: 32, count: max(length - text.count - 1, 0)) + [10]
  guard pwrite(descriptor, bytes, bytes.count, 0) == bytes.count else { return false }
  fsync(descriptor)
  return true
}
