// Text files that grow with a run: metrics and results.
import Diagnostics
import Files
import Foundation

/// A text file that grows line by line, each line flushed.
public final class LineLog {
  private let handle: FileHandle
  private let path: String

  /// - Parameter keep: which lines of an earlier attempt stay; a half-written last line never does. One
  ///   part of the file is in memory at a time.
  /// - Throws: `RunError` (configuration) naming the file.
  public init(path: String, keep: (String) -> Bool = { _ in false }) throws {
    self.path = path
    try AtomicFile.write(to: path) { file in
      var kept = Data()
      try readLines(ofFile: path) { line in
        // A torn last line need not be UTF-8; the lines before it stay all the same.
        guard keep(String(decoding: line, as: UTF8.self)) else { return }
        kept.append(contentsOf: line)
        kept.append(10)
        guard kept.count >= 1 << 20 else { return }
        try file.write(contentsOf: kept)
        kept.removeAll(keepingCapacity: true)
      }
      try file.write(contentsOf: kept)
    }
    guard let handle = FileHandle(forWritingAtPath: path) else {
      throw RunError.configuration("\(path) could not be opened: \(systemErrorText()).")
    }
    handle.seekToEndOfFile()
    self.handle = handle
  }

  /// Lines are on disk when this returns.
  public func synchronize() throws {
    guard fsync(handle.fileDescriptor) == 0 else { throw AtomicFile.failure(path) }
  }

  public func write(_ line: String) throws {
    do { try handle.write(contentsOf: Data((line + "\n").utf8)) } catch {
      throw AtomicFile.failure(path, reason: systemReason(of: error))
    }
  }
}
