// Folders that last as long as a test.
import Foundation

/// A folder of its own, removed when the test ends.
public final class TemporaryFolder {
  public let path: String

  public init() throws {
    let url = FileManager.default.temporaryDirectory
      .appendingPathComponent("convnn-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file, making the folders that it needs, and returns its path.
  @discardableResult
  public func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let url = URL(fileURLWithPath: path + "/" + name)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
    return url.path
  }

  /// A folder in this one, so deep that the paths of files whose names have more than `bytes` bytes are too long:
  /// temporary files cannot be made beside such files, as on a full disk, but the files themselves can be.
  public func makeTightFolder(names bytes: Int) throws -> String {
    // The path has a slash before the name and a zero behind it.
    let length = Int(PATH_MAX) - 2 - bytes
    var deep = path
    while length - deep.utf8.count > 1 {
      deep += "/" + String(repeating: "d", count: min(length - deep.utf8.count - 1, 100))
    }
    try FileManager.default.createDirectory(atPath: deep, withIntermediateDirectories: true)
    return deep
  }
}
