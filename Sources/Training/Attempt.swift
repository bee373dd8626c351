// Which attempt at a run this is, by the launcher's count.
import Conventions
import Foundation

enum Attempt {
  /// 0 for the first one, and without the launcher; above that a run is started again after a loss.
  static var number: Int {
    ProcessInfo.processInfo.environment[RunConventions.attemptVariable].flatMap { Int($0) } ?? 0
  }
}
