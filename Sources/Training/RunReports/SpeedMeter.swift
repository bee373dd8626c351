// Images per second.
import Diagnostics

/// Images and the time they took, since `restart`.
struct SpeedMeter {
  private var images = 0
  private let clock = Stopwatch()

  mutating func add(_ images: Int) { self.images += images }

  mutating func restart() { self = SpeedMeter() }

  var seconds: Double { clock.seconds }

  var imagesPerSecond: Double { Double(images) / max(seconds, 1e-9) }
}
