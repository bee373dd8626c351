// How long something takes.
import Dispatch

/// Runs from the moment it is made, on a clock that nobody can set; while the machine sleeps it stands still.
public struct Stopwatch: Sendable {
  private let start = DispatchTime.now().uptimeNanoseconds

  public init() {}

  public var nanoseconds: UInt64 { DispatchTime.now().uptimeNanoseconds - start }

  public var seconds: Double { Double(nanoseconds) * 1e-9 }

  public mutating func restart() { self = Stopwatch() }
}
