// Locks between processes.
import Foundation

/// An advisory lock on a file, given up by itself when its owner ends, however it ends. The file stays.
public final class FileLock: Sendable {
  public enum Failure: Error, Equatable {
    /// Somebody else kept it locked; what the owner has noted in the file.
    case taken(owner: String)
    /// The file cannot be made or locked; the system's number.
    case unavailable(Int32)
  }

  private let descriptor: Int32

  /// Tries for some seconds; folders on the way are made.
  ///
  /// - Throws: `Failure`.
  public init(_ path: String, seconds: Double) throws {
    try? FileManager.default.createDirectory(
      at: URL(fileURLWithPath: path).deletingLastPathComponent(),
      withIntermediateDirectories: true)
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Failure.unavailable(errno) }
    let clock = Stopwatch()
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      let number = errno
      guard number == EWOULDBLOCK || number == EINTR else {
        close(descriptor)
        throw Failure.unavailable(number)
      }
      guard clock.seconds < seconds else {
        let note = FileManager.default.contents(atPath: path) ?? Data()
        close(descriptor)
        throw Failure.taken(owner: String(decoding: note.prefix(200), as: UTF8.self))
      }
      usleep(20_000)
    }
  }

  /// Notes in the file who owns it, for others' messages. Best effort.
  public func note(_ owner: String) {
    ftruncate(descriptor, 0)
    let text = Array(owner.utf8)
    _ = pwrite(descriptor, text, text.count, 0)
  }

  public func release() { close(descriptor) }
}
