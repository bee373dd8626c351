// One head's rows as dense floats, whatever a layer's rows are.
import CKernels
import Tensors

// T tokens, d head width.

/// Room for a few matrices [T, d]. Rows of floats are used where they lie; rounded ones are copied here, and
/// stay in the nearest caches while the head is computed.
struct HeadRows {
  enum Place: Int, CaseIterable { case q, k, v, dQ, dK, dV, y, merged }

  private let tokens: Int
  private let width: Int
  private let matrices: ScratchRegion

  init(layout: inout ScratchLayout, tokens: Int, width: Int) {
    self.tokens = tokens
    self.width = width
    matrices = layout.floats(Place.allCases.count * tokens * width)
  }

  func rows(_ place: Place) -> Rows {
    matrices.rows(stride: width).from(row: place.rawValue * tokens)
  }

  /// `rows` as floats.
  func floats(_ rows: Rows, count: Int, _ place: Place) -> Rows {
    guard rows.element == .bfloat16 else { return rows }
    let target = self.rows(place)
    rows.read(rows: count, width: width, into: target)
    return target
  }

  /// Where floats for `rows` are to be computed; `finish` takes them there.
  func target(_ rows: Rows, _ place: Place) -> Rows {
    rows.element == .float ? rows : self.rows(place)
  }

  func finish(_ rows: Rows, count: Int, _ place: Place) {
    guard rows.element == .bfloat16 else { return }
    rows.write(rows: count, width: width, from: self.rows(place))
  }
}
