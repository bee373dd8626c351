// Which rank is named as the one that holds up the others.
import Testing

@testable import Training

@Suite("The ranks' pace") struct RankPaceTests {
  private func finding(shards: [Int], seconds: [Double], steps: Int = 12) -> RankPace.Finding? {
    var pace = RankPace(shards: shards)
    for step in 5..<5 + steps { pace.add(seconds, step: step) }
    return pace.close()
  }

  @Test("a rank that takes more than half as long again, by shard") func slow() {
    let slow = finding(shards: [1, 1, 1, 1], seconds: [2, 2, 5, 2])
    #expect(slow == .init(rank: 2, timesMedian: 2.5, steps: 5...16))
    #expect(finding(shards: [1, 1], seconds: [2, 1])?.rank == 0)
    // Two shards take twice as long.
    #expect(finding(shards: [2, 1, 1], seconds: [2, 1, 1]) == nil)
    #expect(finding(shards: [2, 1, 1], seconds: [2, 1, 2])?.rank == 2)
  }

  @Test("nobody, of equals, of one, or in too short a time") func none() {
    #expect(finding(shards: [1, 1, 1], seconds: [2, 2.8, 2]) == nil)
    #expect(finding(shards: [16], seconds: [9]) == nil)
    #expect(finding(shards: [1, 1], seconds: [1, 9], steps: 9) == nil)
    // Of seconds, not of hundredths.
    #expect(finding(shards: [1, 1], seconds: [0.01, 0.09]) == nil)
    #expect(finding(shards: [1, 1], seconds: [0.01, 0.09], steps: 60)?.rank == 1)
  }

  @Test("every window anew") func windows() {
    var pace = RankPace(shards: [1, 1])
    for step in 1...10 { pace.add([1, 9], step: step) }
    #expect(pace.close()?.rank == 1)
    for step in 11...20 { pace.add([1, 1], step: step) }
    #expect(pace.close() == nil)
  }
}
