// Text files that grow with a run: metrics and results.
import Diagnostics
import Foundation
import TensorFiles

/// A text file that grows line by line, each line flushed.
public final class LineLog {
  private let handle: FileHandle
  private let path: String

  /// - Parameter keep: which lines of an earlier attempt stay; a half-written last line never does.
  public init(path: String, keep: (String) -> Bool = { _ in false }) throws {
    self.path = path
    // A torn last line need not be UTF-8; the lines before it stay all the same.
    let old = String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    let lines = old.components(separatedBy: "\n").dropLast().filter(keep)
    try AtomicFile.write(Data(lines.map { $0 + "\n" }.joined().utf8), to: path)
    guard let handle = FileHandle(forWritingAtPath: path) else {
      throw RunError.configuration("\(path) could not be opened: \(systemErrorText()).")
    }
    handle.seekToEndOfFile()
    self.handle = handle
  }

  public func write(_ line: String) throws {
    do { try handle.write(contentsOf: Data((line + "\n").utf8)) } catch {
      throw AtomicFile.failure(path, reason: systemReason(of: error))
    }
  }
}
