// How a band of the score matrix is computed: as tiles by matrix products, or key by key.

/// A block of queries and the run of keys that covers what they see; both lie `step` tokens apart.
struct BandTile {
  let firstQuery: Int
  let queries: Int
  let firstKey: Int
  let keys: Int
  let step: Int
  /// Where the tile's scores [queries, keys] lie within a head's storage.
  let offset: Int
  /// Where its queries' limits begin.
  let row: Int
}

/// The work of one head of one image, chosen once by a fixed rule, so that it depends on shapes only.
final class BandPlan {
  let tokens: Int
  /// Q: T, or 1 for the class token alone.
  let queries: Int
  let tiles: [BandTile]
  /// Entries per query of the key lists; 0 when tiles are used.
  let listLength: Int
  /// Scores kept per head.
  let storage: Int
  /// Scores of the largest tile.
  let largestTile: Int
  /// True when tiles share keys (or leave some out), so that key gradients are sums over tiles.
  let keysOverlap: Bool
  /// Tokens that the queries reach; all T for Q = T.
  let reach: KeyReach
  let pairs: Int
  /// Per row of the storage: first and last + 1 allowed column, and scores of zero besides.
  let first: UnsafeMutablePointer<Int32>
  let last: UnsafeMutablePointer<Int32>
  let zeros: UnsafeMutablePointer<Int32>?
  /// Key lists [T, listLength].
  let index: UnsafeMutablePointer<Int32>

  /// - Parameter zeroKeys: keys of score and value zero that token i also sees (reference quirk).
  init(pattern: BandPattern, queries: Int, zeroKeys: ((Int) -> Int)? = nil) {
    precondition(queries == pattern.tokens || queries == 1)
    tokens = pattern.tokens
    self.queries = queries
    pairs = pattern.pairs(queries: queries)
    if queries == 1 && tokens > 1 {
      let seen = pattern.members(0, pattern.groupLength(first: 0))
      precondition(seen.lowerBound == 0)
      tiles = [
        BandTile(
          firstQuery: 0, queries: 1, firstKey: 0, keys: seen.count, step: pattern.step, offset: 0,
          row: 0)
      ]
      (listLength, keysOverlap) = (0, false)
      reach = KeyReach(count: seen.count, step: pattern.step)
    } else {
      let (tiling, cost) = BandPlan.cheapestTiling(pattern)
      let longest = BandPlan.longestRun(pattern)
      let usesLists = BandPlan.listCost * longest * tokens < cost
      tiles = usesLists ? [] : tiling
      listLength = usesLists ? longest : 0
      keysOverlap = tiling.count > pattern.groups
      reach = KeyReach(count: tokens, step: 1)
    }
    largestTile = tiles.reduce(queries * listLength) { max($0, $1.queries * $1.keys) }
    storage = tiles.reduce(queries * listLength) { $0 + $1.queries * $1.keys }
    first = .allocate(capacity: queries)
    last = .allocate(capacity: queries)
    zeros = zeroKeys.map { _ in .allocate(capacity: queries) }
    index = .allocate(capacity: queries * listLength)
    fillLists(pattern, zeroKeys: zeroKeys)
    fillLimits(pattern, zeroKeys: zeroKeys)
  }

  private func fillLists(_ pattern: BandPattern, zeroKeys: ((Int) -> Int)?) {
    guard listLength > 0 else { return }
    for token in 0..<queries {
      let group = token % pattern.step
      let seen = pattern.members(token / pattern.step, pattern.groupLength(first: group))
      for entry in 0..<listLength {
        // Entries beyond the run name the token itself; their weights are zero.
        let key = entry < seen.count ? group + (seen.lowerBound + entry) * pattern.step : token
        index[token * listLength + entry] = Int32(key)
      }
      first[token] = 0
      last[token] = Int32(seen.count)
      if let zeroKeys { zeros?[token] = Int32(zeroKeys(token)) }
    }
  }

  private func fillLimits(_ pattern: BandPattern, zeroKeys: ((Int) -> Int)?) {
    for tile in tiles {
      let group = tile.firstQuery % tile.step
      let firstMember = tile.firstKey / tile.step
      for row in 0..<tile.queries {
        let token = tile.firstQuery + row * tile.step
        let seen = pattern.members(token / tile.step, pattern.groupLength(first: group))
        first[tile.row + row] = Int32(seen.lowerBound - firstMember)
        last[tile.row + row] = Int32(seen.upperBound - firstMember)
        if let zeroKeys { zeros?[tile.row + row] = Int32(zeroKeys(token)) }
      }
    }
  }

  deinit {
    first.deallocate()
    last.deallocate()
    zeros?.deallocate()
    index.deallocate()
  }

  /// Cost of a pair in a key list, and of starting a tile, in pairs of a tile's matrix product
  /// (measured for 64 channels with AVX2).
  private static let listCost = 3
  private static let tileStart = 300
  private static let tileHeights = [16, 24, 32, 48, 64, 96, 128]

  private static func longestRun(_ pattern: BandPattern) -> Int {
    (0..<pattern.tokens).reduce(0) { longest, token in
      let length = pattern.groupLength(first: token % pattern.step)
      return max(longest, pattern.members(token / pattern.step, length).count)
    }
  }

  private static func cheapestTiling(_ pattern: BandPattern) -> ([BandTile], Int) {
    var best: ([BandTile], Int)?
    for height in tileHeights + [pattern.tokens] {
      let candidate = tiling(pattern, height: height)
      let cost = candidate.reduce(0) { $0 + $1.queries * $1.keys + tileStart }
      if best == nil || cost < best!.1 { best = (candidate, cost) }
    }
    return best!
  }

  private static func tiling(_ pattern: BandPattern, height: Int) -> [BandTile] {
    var tiles: [BandTile] = []
    var offset = 0
    var row = 0
    for group in 0..<pattern.groups {
      let length = pattern.groupLength(first: group)
      // Even blocks: none much smaller than the others.
      let blocks = (length + height - 1) / height
      for block in 0..<blocks {
        let start = block * length / blocks
        let end = (block + 1) * length / blocks
        let top = pattern.members(start, length)
        let bottom = pattern.members(end - 1, length)
        let keys = top.lowerBound..<bottom.upperBound
        tiles.append(
          BandTile(
            firstQuery: group + start * pattern.step, queries: end - start,
            firstKey: group + keys.lowerBound * pattern.step, keys: keys.count, step: pattern.step,
            offset: offset, row: row))
        offset += (end - start) * keys.count
        row += end - start
      }
    }
    return tiles
  }
}
