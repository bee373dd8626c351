// How far a run has come, by its metrics.jsonl.
import Foundation

/// The last step that the end of a `metrics.jsonl` tells of, if it does.
public func lastLoggedStep(ofFile path: String) -> Int? {
  guard let file = FileHandle(forReadingAtPath: path), let size = try? file.seekToEnd() else {
    return nil
  }
  // More than twenty lines.
  try? file.seek(toOffset: size - min(size, 8192))
  let text = String(decoding: (try? file.readToEnd()) ?? Data(), as: UTF8.self)
  for line in text.split(separator: "\n").reversed() {
    if case .step(let record) = MetricsRecord(line: String(line)) { return record.step }
  }
  return nil
}
