// Products touch nothing outside their operands: every operand begins or ends at a page that may not be touched.
import CKernels
import Foundation
import Testing

/// Bytes right before, or right behind, a page that nobody may read or write.
private final class GuardedBytes {
  private let pages: UnsafeMutableRawPointer
  private let length: Int
  let bytes: UnsafeMutableRawPointer

  init(_ count: Int, atEnd: Bool) {
    let page = Int(getpagesize())
    let room = (max(count, 1) + page - 1) / page * page
    length = room + 2 * page
    let map = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let map, map != MAP_FAILED else { fatalError("mmap: no memory") }
    pages = map
    precondition(mprotect(pages, page, PROT_NONE) == 0)
    precondition(mprotect(pages + page + room, page, PROT_NONE) == 0)
    bytes = pages + page + (atEnd ? room - count : 0)
  }

  deinit { munmap(pages, length) }
}

@Suite("Bounds of products") struct ProductBoundsTests {
  @Test("random products beside protected pages", arguments: ProductMaker.all)
  func bounds(maker: ProductMaker) {
    var numbers = Numbers(31)
    func random(_ below: Int) -> Int {
      min(Int((numbers.next() + 1) / 2 * Float(below)), below - 1)
    }
    func coin() -> Bool { random(2) == 1 }

    for _ in 0..<150 {
      let (m, n, k) = (1 + random(70), 1 + random(70), 1 + random(coin() ? 40 : 300))
      let isHalf = coin()
      let kind = random(3)

      /// A matrix without anything behind its last row.
      func matrix(_ rows: Int, _ columns: Int, half: Bool, gap: Int, transposed: Bool)
        -> (GuardedBytes, ck_matrix)
      {
        let (outer, inner) = transposed ? (columns, rows) : (rows, columns)
        let count = (outer - 1) * (inner + gap) + inner
        let memory = GuardedBytes(count * (half ? 2 : 4), atEnd: coin())
        for index in 0..<count {
          let x = numbers.next()
          if half {
            memory.bytes.storeBytes(
              of: roundedToBFloat16(x), toByteOffset: 2 * index, as: UInt16.self)
          } else {
            memory.bytes.storeBytes(of: x, toByteOffset: 4 * index, as: Float.self)
          }
        }
        return (
          memory,
          ck_matrix(
            base: memory.bytes, stride: inner + gap, transposed: transposed ? 1 : 0,
            is_bf16: half ? 1 : 0)
        )
      }

      let (aMemory, a) = matrix(m, k, half: coin(), gap: random(4), transposed: coin())
      let (bMemory, b) = matrix(k, n, half: coin(), gap: random(4), transposed: coin())
      let (cMemory, c) = matrix(m, n, half: isHalf, gap: random(4), transposed: false)
      let (slopeMemory, slope) = matrix(m, n, half: isHalf, gap: 0, transposed: false)
      let (biasMemory, bias) = matrix(1, n, half: false, gap: 0, transposed: false)
      let (sumsMemory, sums) = matrix(1, n, half: false, gap: 0, transposed: false)
      let keepMemory = GuardedBytes(m * n, atEnd: coin())
      memset(keepMemory.bytes, 1, m * n)
      var finish = ck_finish(
        kind: Int32(kind), bias: bias.base.assumingMemoryBound(to: Float.self),
        keep: UnsafePointer(keepMemory.bytes.assumingMemoryBound(to: UInt8.self)), factor: 1,
        slope: UnsafeMutableRawPointer(mutating: slope.base),
        sums: UnsafeMutablePointer(mutating: sums.base.assumingMemoryBound(to: Float.self)))
      withExtendedLifetime(
        (aMemory, bMemory, cMemory, slopeMemory, biasMemory, sumsMemory, keepMemory)
      ) {
        maker.multiply(terms: isHalf ? 1 : 3, m, n, k, 1, a, b, 0, c, &finish)
      }
      #expect(isHalf || cMemory.bytes.load(as: Float.self).isFinite)
    }
  }
}
