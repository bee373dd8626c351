import Testing

@testable import Models

@Suite("Plans of band attention") struct SparseBandPlanTests {
  /// The pairs that a plan computes, and how often.
  private func pairs(_ plan: BandPlan, tokens: Int) -> [Int] {
    var times = [Int](repeating: 0, count: plan.queries * tokens)
    if plan.listLength > 0 {
      for query in 0..<plan.queries {
        for entry in Int(plan.first[query])..<Int(plan.last[query]) {
          times[query * tokens + Int(plan.index[query * plan.listLength + entry])] += 1
        }
      }
    }
    for tile in plan.tiles {
      for row in 0..<tile.queries {
        let limits = Int(plan.first[tile.row + row])..<Int(plan.last[tile.row + row])
        for column in limits {
          let query = tile.firstQuery + row * tile.step
          times[query * tokens + tile.firstKey + column * tile.step] += 1
        }
      }
    }
    return times
  }

  @Test(
    "every allowed pair once, and no other",
    arguments: [(1, 1), (7, 3), (17, 5), (64, 9), (65, 30), (197, 9), (197, 49), (197, 128)])
  func cover(tokens: Int, size: Int) {
    let inner = min(size, tokens)
    let cases: [(BandPattern, (Int, Int) -> Bool)] = [
      (.all(tokens: tokens), { _, _ in true }),
      (.window(tokens: tokens, reach: size), { abs($0 - $1) <= size }),
      (.strided(tokens: tokens, stride: size), { ($0 - $1) % size == 0 }),
      (
        .neighborhood(tokens: tokens, size: inner, dilation: 1),
        { i, j in
          let start = min(max(i - inner / 2, 0), tokens - inner)
          return j >= start && j < start + inner
        }
      ),
    ]
    for (pattern, sees) in cases {
      for queries in Set([tokens, 1]) {
        let plan = BandPlan(pattern: pattern, queries: queries)
        let expected = (0..<queries * tokens).map { sees($0 / tokens, $0 % tokens) ? 1 : 0 }
        #expect(pairs(plan, tokens: tokens) == expected)
        #expect(plan.pairs == expected.reduce(0, +))
      }
    }
  }

  @Test("narrow bands go by key lists, wide ones by tiles, full ones by one tile")
  func choice() {
    func plan(_ pattern: BandPattern) -> BandPlan { BandPlan(pattern: pattern, queries: 197) }
    #expect(plan(.neighborhood(tokens: 197, size: 9, dilation: 1)).listLength == 9)
    let wide = plan(.neighborhood(tokens: 197, size: 63, dilation: 1))
    #expect(wide.listLength == 0 && wide.tiles.count > 1 && wide.keysOverlap)
    // Less than two thirds of the full score matrix.
    #expect(wide.storage < 197 * 197 * 2 / 3)
    let full = plan(.all(tokens: 197))
    #expect(full.tiles.count == 1 && !full.keysOverlap)
    let strided = plan(.strided(tokens: 197, stride: 14))
    #expect(strided.tiles.count == 14 && !strided.keysOverlap)
  }
}
