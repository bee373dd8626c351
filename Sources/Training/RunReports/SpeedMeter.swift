// Images per second.

/// Images and the time they took, since `restart`.
struct SpeedMeter {
  private var images = 0
  private var begin = ContinuousClock.now

  mutating func add(_ images: Int) { self.images += images }

  mutating func restart() { self = SpeedMeter() }

  var seconds: Double { begin.secondsUntilNow }

  var imagesPerSecond: Double { Double(images) / max(seconds, 1e-9) }
}
