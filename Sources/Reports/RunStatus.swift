// What a run is doing, for scripts and schedulers.
import Foundation
import TensorFiles

/// `status.json`, replaced atomically; `durable` as in `AtomicFile.write`.
public func writeStatus(
  to path: String, state: String, step: Int, epoch: Int, exitCode: Int32, reason: String,
  durable: Bool = true
) throws {
  let line = jsonObject([
    ("state", .text(state)), ("step", .integer(step)), ("epoch", .integer(epoch)),
    ("exit_code", .integer(Int(exitCode))), ("reason", .text(reason)),
  ])
  try AtomicFile.write(Data((line + "\n").utf8), to: path, durable: durable)
}
