// `shapes`: a colour data set of ten classes that is drawn, not read. Image i is a pure function of
// i and the size, so every host and every seed of training sees the same images.
import Files
import Foundation
import Tensors

/// What makes the images harder or easier.
struct ShapesDifficulty: Sendable {
  /// Radius of the figure as a share of the image side.
  var radius: ClosedRange<Float> = 0.27...0.42
  /// Distance of the centre from the middle, share of the side.
  var shift: Float = 0.08
  /// Largest angle by which a figure is turned, radians.
  var turn: Float = 0.35
  /// Share of a colour typical of the class in the figure's colour.
  var typicalColor: Float = 0.35
  /// Least distance between figure and background colour (largest channel difference, 0...1).
  var contrast: Float = 0.35
  /// Amplitude of the background's waves, and of the noise on every pixel.
  var waves: Float = 0.08
  var pixelNoise: Float = 0.08
  /// Small blobs of other colours; their radius as a share of the side.
  var distractors = 2
  var distractorRadius: ClosedRange<Float> = 0.03...0.07

  static let standard = ShapesDifficulty()
}

public final class ShapesDataset: Dataset {
  public static let trainCount = 10_000
  public static let testCount = 2_000
  /// Fixed, so that runs with different seeds see the same images.
  static let drawingSeed: UInt64 = 0x5348_4150_4553

  public let name = "shapes"
  public let split: DatasetSplit
  public let count: Int
  public let classNames = [
    "disc", "ring", "square", "triangle", "star", "cross", "crescent", "dots", "stripes", "checker",
  ]
  public let statistics = ChannelStatistics.shapes
  public let imageSize: Int?
  /// Drawing takes a millisecond at 64 px.
  public var isSlow: Bool { size >= 64 }
  public let fingerprint: String
  private let size: Int
  private let firstImage: Int

  public init(split: DatasetSplit, size: Int = 32, count: Int? = nil) {
    precondition(size > 0)
    self.split = split
    self.size = size
    self.count = count ?? (split == .train ? ShapesDataset.trainCount : ShapesDataset.testCount)
    imageSize = size
    // Disjoint ranges of image numbers, whatever the counts.
    firstImage = split == .train ? 0 : 1 << 30
    let hash = XXH3()
    let image = ImageBuffer()
    hash.add("shapes \(split.rawValue) \(size) \(self.count)")
    for i in 0..<min(10, self.count) {
      _ = drawShape(number: firstImage + i, size: size, into: image)
      image.bytes.withUnsafeBytes { hash.add($0) }
    }
    fingerprint = hash.hex
  }

  public func load(
    _ index: Int, into image: ImageBuffer, region: DecodingRegion.Choice
  ) throws -> Int32 {
    precondition(index >= 0 && index < count)
    return drawShape(number: firstImage + index, size: size, into: image)
  }

  public func source(of index: Int) -> String { "shapes image \(index)" }
}

/// Draws image `number` and returns its class.
func drawShape(
  number: Int, size: Int, into image: ImageBuffer, difficulty: ShapesDifficulty = .standard
) -> Int32 {
  let random = RandomSequence(
    seed: ShapesDataset.drawingSeed, purpose: .syntheticImages, item: number)
  var drawn = 0
  func uniform(_ low: Float = 0, _ high: Float = 1) -> Float {
    defer { drawn += 1 }
    return low + (high - low) * random.uniform(drawn)
  }
  func color() -> SIMD4<Float> { SIMD4(uniform(), uniform(), uniform(), 0) }
  let label = random.integer(0, below: 10)
  drawn = 1

  // Ten colours around the wheel.
  let hue = 2 * Float.pi * Float(label) / 10
  let typical =
    SIMD4(0.5 + 0.5 * cos(hue), 0.5 + 0.5 * cos(hue - 2.0944), 0.5 + 0.5 * cos(hue + 2.0944), 0)
  func inkColor() -> SIMD4<Float> {
    typical * difficulty.typicalColor + color() * (1 - difficulty.typicalColor)
  }
  var background = color()
  var ink = inkColor()
  while true {
    let difference = ink - background
    if max(abs(difference.x), abs(difference.y), abs(difference.z)) >= difficulty.contrast { break }
    // Both anew: some backgrounds are near to every ink of a class.
    background = color()
    ink = inkColor()
  }
  let figure = Figure(
    label: label, x: 0.5 + uniform(-1, 1) * difficulty.shift,
    y: 0.5 + uniform(-1, 1) * difficulty.shift,
    radius: uniform(difficulty.radius.lowerBound, difficulty.radius.upperBound),
    angle: uniform(-1, 1) * difficulty.turn)
  let waveX = uniform(-6, 6)
  let waveY = uniform(-6, 6)
  let wavePhase = uniform()
  let waveColor = (color() - SIMD4(repeating: 0.5)) * (2 * difficulty.waves)
  var blobs: [(x: Float, y: Float, radius: Float, color: SIMD4<Float>)] = []
  for _ in 0..<difficulty.distractors {
    let r = difficulty.distractorRadius
    blobs.append((uniform(), uniform(), uniform(r.lowerBound, r.upperBound), color()))
  }

  image.resize(width: size, height: size)
  let out = image.pixels
  let pixel = 1 / Float(size)
  withUnsafeTemporaryAllocation(of: Float.self, capacity: size) { grain in
    for row in 0..<size {
      // One row of noise at a time: the sequence is addressed by row.
      RandomSequence(
        seed: ShapesDataset.drawingSeed, purpose: .syntheticImages, layer: 1 + row, item: number
      ).fillUniform(
        grain.baseAddress!, count: size, low: -difficulty.pixelNoise, high: difficulty.pixelNoise)
      let y = (Float(row) + 0.5) * pixel
      for column in 0..<size {
        let x = (Float(column) + 0.5) * pixel
        // A triangle wave: no transcendental function per pixel.
        var wave = waveX * x + waveY * y + wavePhase
        wave -= wave.rounded(.down)
        var value = background + waveColor * (abs(wave * 4 - 2) - 1)
        for blob in blobs {
          let dx = x - blob.x
          let dy = y - blob.y
          let distance = (dx * dx + dy * dy).squareRoot() - blob.radius
          let share = min(max(0.5 - distance / pixel, 0), 1)
          value += (blob.color - value) * share
        }
        let share = min(max(0.5 - figure.distance(x: x, y: y) / pixel, 0), 1)
        value += (ink - value) * share
        value += SIMD4(repeating: grain[column])
        let scaled = (value * 255 + 0.5).clamped(
          lowerBound: SIMD4(repeating: 0), upperBound: SIMD4(repeating: 255))
        let o = 3 * (row * size + column)
        out[o] = UInt8(scaled.x)
        out[o + 1] = UInt8(scaled.y)
        out[o + 2] = UInt8(scaled.z)
      }
    }
  }
  return Int32(label)
}

/// A figure as a signed distance (negative inside), in units of the image side.
struct Figure {
  let label: Int
  let x: Float
  let y: Float
  let radius: Float
  let cosine: Float
  let sine: Float

  init(label: Int, x: Float, y: Float, radius: Float, angle: Float) {
    self.label = label
    self.x = x
    self.y = y
    self.radius = radius
    cosine = Float(cos(Double(angle)))
    sine = Float(sin(Double(angle)))
  }

  func distance(x px: Float, y py: Float) -> Float {
    // Into the figure's own frame, radius 1.
    let dx = (px - x) / radius
    let dy = (py - y) / radius
    let u = dx * cosine + dy * sine
    let v = dy * cosine - dx * sine
    let r = (u * u + v * v).squareRoot()
    return radius * Figure.unitDistance(label, u, v, r)
  }

  /// Distance to the unit figure; exact near the edges, which is all that drawing needs.
  static func unitDistance(_ label: Int, _ u: Float, _ v: Float, _ r: Float) -> Float {
    let square = max(abs(u), abs(v)) - 0.8
    switch label {
    case 0: return r - 0.85
    case 1: return abs(r - 0.78) - 0.2
    case 2: return square
    case 3: return max(abs(u) * 0.866 + v * 0.5, -v) - 0.5
    case 4: return star(u, v)
    case 5:
      let long = max(abs(u), abs(v)) - 0.95
      return max(long, min(abs(u), abs(v)) - 0.28)
    case 6:
      let du = u - 0.5
      return max(r - 0.95, 0.8 - (du * du + v * v).squareRoot())
    case 7:
      let du = abs(u) - 0.55
      let dv = abs(v) - 0.55
      return (du * du + dv * dv).squareRoot() - 0.34
    case 8:
      // Three bars across a disc.
      let bar = abs(u - 0.64 * (u / 0.64).rounded()) - 0.18
      return max(r - 0.98, bar)
    default:
      // Cells of about half the radius: smaller ones would vanish at 32 px.
      let cell = 0.55 as Float
      let a = u / cell
      let b = v / cell
      let parity = (a.rounded(.down) + b.rounded(.down)) / 2
      let isInk = parity == parity.rounded(.down)
      let edge = min(abs(a - a.rounded()), abs(b - b.rounded())) * cell
      return max(square - 0.1, isInk ? -edge : edge)
    }
  }

  /// Five points: folded into one tenth, then the distance to one edge.
  static func star(_ u: Float, _ v: Float) -> Float {
    let k1x: Float = 0.80901699
    let k1y: Float = -0.58778525
    var px = abs(u)
    var py = v
    var d = 2 * max(k1x * px + k1y * py, 0)
    px -= d * k1x
    py -= d * k1y
    d = 2 * max(-k1x * px + k1y * py, 0)
    px += d * k1x
    py -= d * k1y
    px = abs(px)
    py -= 1
    let inner: Float = 0.42
    let bax = inner * -k1y
    let bay = inner * k1x - 1
    let h = min(max((px * bax + py * bay) / (bax * bax + bay * bay), 0), 1)
    let ex = px - bax * h
    let ey = py - bay * h
    let length = (ex * ex + ey * ey).squareRoot()
    return py * bax - px * bay > 0 ? length : -length
  }
}
