// Where the golden files lie: Tests/Golden, found from this source file's own path.
import Foundation

public let goldenFolder = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Golden")
