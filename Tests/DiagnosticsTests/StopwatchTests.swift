// Time goes forward, and starts anew when it is told to.
import Diagnostics
import Foundation
import Testing

@Suite("Stopwatch") struct StopwatchTests {
  @Test("counts from when it was made, then from the restart") func counts() {
    var clock = Stopwatch()
    let other = Stopwatch()
    usleep(30_000)
    #expect(clock.seconds >= 0.03 && clock.nanoseconds >= 30_000_000)
    // The same moments in another unit.
    let (before, seconds, after) = (other.nanoseconds, other.seconds, other.nanoseconds)
    #expect(Double(before) * 1e-9 <= seconds && seconds <= Double(after) * 1e-9)
    clock.restart()
    #expect(other.seconds - clock.seconds >= 0.03)
  }
}
