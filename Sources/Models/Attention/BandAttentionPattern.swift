// Which keys a query sees, where that is a run of neighbours among every `step`-th token.

/// Tokens with equal index mod `step` form a group; a query sees a run of its group's members. The runs'
/// ends never decrease along the group, and token 0's run begins at token 0.
struct BandPattern {
  let tokens: Int
  let step: Int
  /// Members seen by member `member` of a group of `length`; never empty.
  let members: (_ member: Int, _ length: Int) -> Range<Int>

  /// Members of the group of token `first` < `step`.
  func groupLength(first: Int) -> Int { (tokens - first + step - 1) / step }

  /// Groups that have a member.
  var groups: Int { min(step, tokens) }

  /// Pairs of query and key, for the first `queries` tokens.
  func pairs(queries: Int) -> Int {
    (0..<queries).reduce(0) { sum, token in
      sum + members(token / step, groupLength(first: token % step)).count
    }
  }

  /// Every token.
  static func all(tokens: Int) -> BandPattern {
    BandPattern(tokens: tokens, step: 1) { _, length in 0..<length }
  }

  /// |i − j| ≤ reach.
  static func window(tokens: Int, reach: Int) -> BandPattern {
    BandPattern(tokens: tokens, step: 1) { member, length in
      max(0, member - reach)..<min(length, member + reach + 1)
    }
  }

  /// (i − j) mod stride = 0.
  static func strided(tokens: Int, stride: Int) -> BandPattern {
    BandPattern(tokens: tokens, step: stride) { _, length in 0..<length }
  }

  /// Exactly `size` keys of every group, the window shifted inwards at the group's ends.
  static func neighborhood(tokens: Int, size: Int, dilation: Int) -> BandPattern {
    BandPattern(tokens: tokens, step: dilation) { member, length in
      let start = min(max(member - size / 2, 0), length - size)
      return start..<start + size
    }
  }
}
