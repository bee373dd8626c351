// What the matrix products of a program are, and how long they take: for measuring, off by default.
import CKernels

/// The shape of one product, as `Matmul.multiply` was asked for it.
public struct MatrixProduct: Hashable, Sendable {
  public let rows: Int
  public let columns: Int
  public let inner: Int
  public let a: Operand
  public let b: Operand
  public let c: Operand
  public let transposeA: Bool
  public let transposeB: Bool
  public let beta: Float
  public let precision: Precision
  public let keepsOrder: Bool

  /// How an operand lies in memory.
  public struct Operand: Hashable, Sendable {
    public let stride: Int
    public let element: Element

    init(_ rows: Rows) {
      stride = rows.stride
      element = rows.element
    }
  }

  public var operations: Int { 2 * rows * columns * inner }

  /// Memory from the first to the last element of each operand, in floats.
  var extents: (a: Int, b: Int, c: Int) {
    let a = transposeA ? (inner, rows) : (rows, inner)
    let b = transposeB ? (columns, inner) : (inner, columns)
    func extent(_ shape: (Int, Int), _ operand: Operand) -> Int {
      ((max(shape.0 - 1, 0) * operand.stride + shape.1) * operand.element.size + 3) / 4
    }
    return (extent(a, self.a), extent(b, self.b), extent((rows, columns), c))
  }
}

public enum ProductMeter {
  /// Read by every product; written only while no thread computes.
  nonisolated(unsafe) public private(set) static var isOn = false
  nonisolated(unsafe) private static var recording: [MatrixProduct]?

  /// Products add their time to `secondsInThread` while this is on.
  public static func turn(on: Bool) { isOn = on }

  /// The calling thread's time in matrix products so far.
  public static var secondsInThread: Double { Double(ck_product_time()) * 1e-9 }

  /// All products that `body` asks for, in order; no other thread may compute meanwhile.
  public static func record(_ body: () throws -> Void) rethrows -> [MatrixProduct] {
    let wasOn = isOn
    isOn = true
    recording = []
    defer {
      isOn = wasOn
      recording = nil
    }
    try body()
    return recording ?? []
  }

  @usableFromInline
  static func note(_ product: MatrixProduct) {
    if recording != nil { recording?.append(product) }
  }
}

/// Carries out a list of products again, with nothing between them: what the machine's own matrix
/// product reaches on exactly these shapes.
public final class ProductReplay {
  private let products: [MatrixProduct]
  /// Operands walk through memory as large as the program's own, so that caches are as warm; results
  /// go elsewhere, so that operands stay ordinary numbers.
  private let operands: FloatSlab
  private let results: FloatSlab
  public let operations: Int

  /// - Parameter workingSet: floats that the program itself walks through.
  public init(_ products: [MatrixProduct], workingSet: Int) {
    self.products = products
    operations = products.reduce(0) { $0 + $1.operations }
    let operand = products.reduce(0) { max($0, $1.extents.a + $1.extents.b) }
    let result = products.reduce(0) { max($0, $1.extents.c) }
    operands = FloatSlab(count: max(workingSet, operand + 32))
    results = FloatSlab(count: max(workingSet / 2, result + 16))
    RandomSequence(seed: 1, purpose: .testInput)
      .fillUniform(operands.base, count: operands.count, low: -1, high: 1)
  }

  /// Seconds for the whole list, once.
  public func run() -> Double {
    let start = ck_nanoseconds()
    var operand = 0
    var result = 0
    for product in products {
      let (a, b, c) = product.extents
      func rows(_ memory: UnsafeMutablePointer<Float>, _ operand: MatrixProduct.Operand) -> Rows {
        Rows(UnsafeMutableRawPointer(memory), stride: operand.stride, element: operand.element)
      }
      if operand + a + b + 32 > operands.count { operand = 0 }
      if result + c + 16 > results.count { result = 0 }
      let left = operands.base + operand
      let right = left + Self.aligned(a)
      Matmul.with(product.precision) {
        Matmul.multiply(
          rows: product.rows, columns: product.columns, inner: product.inner,
          a: rows(left, product.a), transposeA: product.transposeA, b: rows(right, product.b),
          transposeB: product.transposeB, beta: product.beta,
          c: rows(results.base + result, product.c), keepsOrder: product.keepsOrder)
      }
      operand += Self.aligned(a) + Self.aligned(b)
      result += Self.aligned(c)
    }
    return Double(ck_nanoseconds() - start) * 1e-9
  }

  /// Whole cache lines.
  private static func aligned(_ count: Int) -> Int { (count + 15) / 16 * 16 }
}
