// Where the fuzzer's files lie, and what becomes of them.
import Diagnostics
import Foundation

/// A folder of its own, locked while its process lives: what a killed one has left, the next one removes.
/// In memory where that is possible, because some targets write files for every input.
final class FuzzFolder {
  private static let prefix = "convnn-fuzz-"

  let path: String
  private let descriptor: Int32

  /// - Throws: `RunError` (configuration) naming the folder.
  init() throws {
    let shared = "/dev/shm"
    let base = access(shared, W_OK) == 0 ? shared : FileManager.default.temporaryDirectory.path
    Self.removeLeftovers(in: base)
    let name = "\(Self.prefix)\(getpid())-\(UUID().uuidString)"
    path = "\(base)/\(name)"
    // It gets its name when it is locked.
    let unnamed = "\(base)/.\(name)"
    guard mkdir(unnamed, 0o755) == 0 else { throw Self.failure(path) }
    descriptor = open(unnamed, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0, rename(unnamed, path) == 0
    else {
      let error = Self.failure(path)
      rmdir(unnamed)
      throw error
    }
  }

  func remove() {
    try? FileManager.default.removeItem(atPath: path)
    close(descriptor)
  }

  private static func failure(_ path: String) -> RunError {
    .configuration("\(path) cannot be made: \(systemErrorText())")
  }

  private static func removeLeftovers(in base: String) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []
    for name in names where name.hasPrefix(prefix) {
      let descriptor = open("\(base)/\(name)", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      defer { close(descriptor) }
      var status = stat()
      guard fstat(descriptor, &status) == 0, status.st_uid == geteuid(),
        flock(descriptor, LOCK_EX | LOCK_NB) == 0
      else { continue }
      try? FileManager.default.removeItem(atPath: "\(base)/\(name)")
    }
  }
}
