// What a run is doing, for scripts and schedulers.
import Foundation
import TensorFiles

/// `status.json`, replaced atomically; `durable` as in `AtomicFile.write`. Where there is no room for
/// another file, the text goes over that of the old one: better than one that is not true any more.
///
/// - Throws: `RunError` (configuration) when the file is as it was.
public func writeStatus(
  to path: String, state: String, step: Int, epoch: Int, exitCode: Int32, reason: String,
  durable: Bool = true
) throws {
  let line = jsonObject([
    ("state", .text(state)), ("step", .integer(step)), ("epoch", .integer(epoch)),
    ("exit_code", .integer(Int(exitCode))), ("reason", .text(reason)),
  ])
  do { try AtomicFile.write(Data((line + "\n").utf8), to: path, durable: durable) } catch {
    guard overwrite(path, with: line) else { throw error }
  }
}

/// Step and epoch that a `status.json` tells, if it does.
public func statusPosition(ofFile path: String) -> (step: Int, epoch: Int)? {
  struct Position: Decodable { let step, epoch: Int }
  return decode(Position.self, path).map { ($0.step, $0.epoch) }
}

/// The state that a `status.json` tells, if it does.
public func statusState(ofFile path: String) -> String? {
  struct State: Decodable { let state: String }
  return decode(State.self, path)?.state
}

/// The exit code that a `status.json` tells, if it does.
public func statusExitCode(ofFile path: String) -> Int? {
  struct Code: Decodable {
    let code: Int
    enum CodingKeys: String, CodingKey { case code = "exit_code" }
  }
  return decode(Code.self, path)?.code
}

private func decode<Value: Decodable>(_ type: Value.Type, _ path: String) -> Value? {
  FileManager.default.contents(atPath: path)
    .flatMap { try? JSONDecoder().decode(type, from: $0) }
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
