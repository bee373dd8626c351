// What the program and its launcher, two processes, have to agree on.

/// Names and numbers of a run that the launcher must know before the program starts, or read from its lines.
public enum RunConventions {
  /// Images of a batch by default: in training, and in `bench`.
  public static let batchSize = 256
  public static let benchBatchSize = 64

  /// Shards of a batch where nobody asks for a number: the largest power of two <= batch / 8, at most 16, at
  /// least 2.
  public static func shards(ofBatch images: Int) -> Int {
    var value = 2
    while value < mostShards && value * 2 <= images / 8 { value *= 2 }
    return value
  }
  public static let mostShards = 16

  public static func outputFolder(layer: String, dataset: String) -> String {
    "./Output/\(layer)-\(dataset)"
  }

  /// The environment variable that tells how often this run has begun before.
  public static let attemptVariable = "CONVNN_ATTEMPT"

  /// How the line begins by which a rank tells that others stand still.
  public static let stallPrefix = "Stalled: "

  /// Stands after the number of parameters in the line by which rank 0 tells that the run begins.
  public static let parametersMark = " parameters; "

  /// Whether it is that line: "…, 5 parameters; …". Other ranks may have written before it.
  public static func isBeginning(_ line: some StringProtocol) -> Bool {
    line.ranges(of: parametersMark).contains { mark in
      let before = line[..<mark.lowerBound]
      let digits = before.reversed().prefix { $0.isASCII && $0.isNumber }
      return !digits.isEmpty && before.dropLast(digits.count).hasSuffix(", ")
    }
  }
}
