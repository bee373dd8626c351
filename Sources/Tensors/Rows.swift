// Views of matrices in memory.

/// How a number lies in memory.
public enum Element: Sendable {
  case float, bfloat16

  public var size: Int { self == .float ? 4 : 2 }
}

/// Rows of numbers with a distance between them: a view of [rows, width] into a wider matrix.
public struct Rows {
  public let memory: UnsafeMutableRawPointer
  public let stride: Int
  public let element: Element

  public init(_ memory: UnsafeMutableRawPointer, stride: Int, element: Element) {
    self.memory = memory
    self.stride = stride
    self.element = element
  }

  @inline(__always)
  public init(_ base: UnsafeMutablePointer<Float>, stride: Int) {
    self.init(UnsafeMutableRawPointer(base), stride: stride, element: .float)
  }

  /// Rows that are only read.
  @inline(__always)
  public init(_ base: UnsafePointer<Float>, stride: Int) {
    self.init(UnsafeMutablePointer(mutating: base), stride: stride)
  }

  /// The first number of rows of floats.
  @inline(__always) public var base: UnsafeMutablePointer<Float> {
    precondition(element == .float)
    return memory.assumingMemoryBound(to: Float.self)
  }

  /// The first number of rows of bfloat16 numbers.
  @inline(__always) public var halves: UnsafeMutablePointer<UInt16> {
    precondition(element == .bfloat16)
    return memory.assumingMemoryBound(to: UInt16.self)
  }

  /// Row `index` on, of floats.
  @inline(__always) public func row(_ index: Int) -> UnsafeMutablePointer<Float> {
    base + index * stride
  }

  /// The same rows from row `row` and column `column` on.
  @inline(__always) public func from(row: Int = 0, column: Int = 0) -> Rows {
    Rows(memory + (row * stride + column) * element.size, stride: stride, element: element)
  }

  /// The same rows from column `column` on.
  @inline(__always) public func columns(from column: Int) -> Rows { from(column: column) }

  /// Every `step`-th row.
  @inline(__always) public func every(_ step: Int) -> Rows {
    Rows(memory, stride: step * stride, element: element)
  }
}
