// The text files of a run: metrics, results, status, arguments. Rank 0 writes them.
import Diagnostics
import Foundation
import TensorFiles

/// A JSON value that keeps the order of its keys.
public enum JSONValue: Sendable {
  case text(String)
  case integer(Int)
  case number(Double)

  var text: String {
    switch self {
    case .text(let text):
      let data = try? JSONEncoder().encode(text)
      return String(decoding: data ?? Data("\"\"".utf8), as: UTF8.self)
    case .integer(let value): return String(value)
    // JSON has no infinity and no NaN.
    case .number(let value): return value.isFinite ? "\(value)" : "null"
    }
  }
}

public func jsonObject(_ pairs: [(String, JSONValue)]) -> String {
  "{" + pairs.map { "\(JSONValue.text($0.0).text):\($0.1.text)" }.joined(separator: ",") + "}"
}

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
      throw RunError.configuration("\(path) could not be written: \(systemErrorText()).")
    }
  }
}

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

/// Losses and accuracies (percent) of one epoch on one split.
public struct SplitResult: Codable, Sendable {
  public var loss: Double
  public var top1: Double
  public var top5: Double

  public init(loss: Double, top1: Double, top5: Double) {
    self.loss = loss
    self.top1 = top1
    self.top5 = top5
  }

  var text: String {
    String(format: "Loss: %.8f Accuracy: Top1: %.4f%%, Top5: %.4f%%", loss, top1, top5)
  }
}

/// One line of `train_eval_results.txt`.
public func epochLine(epoch: Int, seconds: Double, train: SplitResult, test: SplitResult) -> String
{
  String(format: "[Epoch %03d] Time: %.4fs", epoch, seconds)
    + " | [Train] \(train.text) | [Test] \(test.text)"
}
