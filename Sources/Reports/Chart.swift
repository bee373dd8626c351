// Line charts as inline SVG.
import Foundation

/// One curve: points in the order of x.
struct Curve {
  let name: String
  /// The class that gives it its colour and dashes.
  let style: String
  let points: [(x: Double, y: Double)]
}

/// A place of a thinned curve: the mean of neighbouring points, and their extremes.
struct ThinnedPoint: Equatable {
  var x: Double
  var mean: Double
  var low: Double
  var high: Double
}

/// At most `limit` places for any number of points: groups of equal size, apart from rounding.
///
/// - Returns: what is not finite does not count; a group of nothing else is NaN, a gap in the curve.
func thinned(_ points: [(x: Double, y: Double)], to limit: Int) -> [ThinnedPoint] {
  let count = min(limit, points.count)
  return (0..<count).map { index in
    let group = points[(index * points.count / count)..<((index + 1) * points.count / count)]
    let values = group.map(\.y).filter(\.isFinite)
    // By differences from one of them, so that a sum of huge values stays finite and one value as it is.
    let first = values.first ?? .nan
    let mean = first + values.reduce(0) { $0 + ($1 - first) / Double(values.count) }
    return ThinnedPoint(
      x: (group.first!.x + group.last!.x) / 2, mean: mean, low: values.min() ?? .nan,
      high: values.max() ?? .nan)
  }
}

struct Chart {
  let title: String
  let xName: String
  let curves: [Curve]
  var yKind = Axis.Kind.linear
  var fromZero = false
  /// A point to mark, and what is told of it.
  var mark: (x: Double, y: Double, text: String)?

  /// Twice the pixels between the axes would show no more.
  static let mostPoints = 600
  /// Up to this number, points are marked one by one, with their values to hover over.
  static let mostMarkers = 60

  private static let (width, height) = (560.0, 270.0)
  private static let (left, right, top, bottom) = (62.0, 26.0, 12.0, 46.0)

  /// A figure with caption, legend and drawing; `id` must be unique in the page.
  func figure(id: String) -> String {
    var legend = curves.count < 2 ? "" : curves.map(Self.legend).joined()
    let most = curves.map(\.points.count).max() ?? 0
    if most > Self.mostPoints {
      legend += "<span>mean and range of up to \((most - 1) / Self.mostPoints + 1) values</span>"
    }
    return """
      <figure>
      <figcaption><h3>\(Markup.escape(title))</h3>\(legend.isEmpty ? "" : "<p class=\"legend\">\(legend)</p>")</figcaption>
      \(drawing(id: id))
      </figure>

      """
  }

  private static func legend(_ curve: Curve) -> String {
    """
    <span><svg class="key" viewBox="0 0 28 10" aria-hidden="true"><path class="line \(curve.style)" d="M1 5H27"/></svg>\
    \(Markup.escape(curve.name))</span>
    """
  }

  private func drawing(id: String) -> String {
    let drawn = curves.map { ($0, thinned($0.points, to: Self.mostPoints)) }
    let values = drawn.flatMap { $0.1.flatMap { [$0.low, $0.high] } }
    guard values.contains(where: \.isFinite) else {
      return "<p class=\"empty\">Nothing to show yet.</p>"
    }
    let x = Axis(curves.flatMap { $0.points.map(\.x) }, .counting, rounded: false)
    let y = Axis(values, yKind, fromZero: fromZero)
    var parts = [grid(x, y)]
    for (curve, points) in drawn {
      if points.count < curve.points.count { parts.append(band(curve, points, x, y)) }
      parts.append(
        "<path class=\"line \(curve.style)\" d=\"\(Self.path(points.map { ($0.x, $0.mean) }, x, y))\"/>\n"
      )
      if points.count <= Self.mostMarkers { parts.append(markers(curve, points, x, y)) }
    }
    if let mark, mark.y.isFinite {
      parts.append(
        """
        <circle class="mark" cx="\(Self.across(mark.x, x))" cy="\(Self.down(mark.y, y))" r="6"><title>\
        \(Markup.escape(mark.text))</title></circle>

        """)
    }
    return """
      <svg class="chart" viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" \
      aria-labelledby="\(id)-title \(id)-text">
      <title id="\(id)-title">\(Markup.escape(title)) by \(xName)</title>
      <desc id="\(id)-text">\(Markup.escape(description))</desc>
      \(parts.joined())</svg>
      """
  }

  /// The curves in words.
  private var description: String {
    curves.map { curve in
      let finite = curve.points.filter { $0.y.isFinite }
      guard let first = finite.first, let last = finite.last else {
        return "\(curve.name): nothing."
      }
      return
        "\(curve.name): \(Markup.short(first.y)) at \(xName) \(Int(first.x)), \(Markup.short(last.y)) at \(xName) \(Int(last.x))."
    }.joined(separator: " ")
  }

  private func grid(_ x: Axis, _ y: Axis) -> String {
    let (bottom, end) = (Self.height - Self.bottom, Self.width - Self.right)
    var text = "<g class=\"grid\">"
    for tick in y.ticks { text += "<path d=\"M\(Self.left) \(Self.down(tick, y))H\(end)\"/>" }
    text += "</g>\n<g class=\"axis\"><path d=\"M\(Self.left) \(bottom)H\(end)\"/>"
    for tick in x.ticks { text += "<path d=\"M\(Self.across(tick, x)) \(bottom)v4\"/>" }
    text += "</g>\n<g class=\"labels\">"
    for (tick, label) in zip(y.ticks, y.labels) {
      text +=
        "<text class=\"y\" x=\"\(Self.left - 8)\" y=\"\(Self.down(tick, y))\" dy=\"0.34em\">\(label)</text>"
    }
    for (tick, label) in zip(x.ticks, x.labels) {
      text += "<text x=\"\(Self.across(tick, x))\" y=\"\(bottom + 18)\">\(label)</text>"
    }
    let middle = (Self.left + end) / 2
    return text + "<text x=\"\(middle)\" y=\"\(bottom + 37)\">\(Markup.escape(xName))</text></g>\n"
  }

  private func markers(_ curve: Curve, _ points: [ThinnedPoint], _ x: Axis, _ y: Axis) -> String {
    points.filter(\.mean.isFinite).map { point in
      let text = "\(curve.name), \(xName) \(Int(point.x)): \(String(format: "%.6g", point.mean))"
      return """
        <circle class="point \(curve.style)" cx="\(Self.across(point.x, x))" \
        cy="\(Self.down(point.mean, y))" r="2.6"><title>\(Markup.escape(text))</title></circle>

        """
    }.joined()
  }

  /// From the lowest to the highest of each group.
  private func band(_ curve: Curve, _ points: [ThinnedPoint], _ x: Axis, _ y: Axis) -> String {
    let areas = points.split { !$0.mean.isFinite }.map { run in
      Self.path(run.map { ($0.x, $0.high) } + run.reversed().map { ($0.x, $0.low) }, x, y) + "Z"
    }
    return "<path class=\"band \(curve.style)\" d=\"\(areas.joined())\"/>\n"
  }

  private static func path(_ points: [(Double, Double)], _ x: Axis, _ y: Axis) -> String {
    var text = ""
    var isDrawing = false
    for point in points {
      if point.1.isFinite {
        // The step of no length makes a point without neighbours a dot.
        let place = "\(across(point.0, x)) \(down(point.1, y))"
        text += isDrawing ? "L\(place)" : "M\(place)h0"
      }
      isDrawing = point.1.isFinite
    }
    return text
  }

  private static func across(_ value: Double, _ axis: Axis) -> String {
    tenths(left + (width - left - right) * axis.position(value))
  }

  private static func down(_ value: Double, _ axis: Axis) -> String {
    tenths(height - bottom - (height - top - bottom) * axis.position(value))
  }

  private static func tenths(_ value: Double) -> String { String(format: "%.1f", value) }
}
