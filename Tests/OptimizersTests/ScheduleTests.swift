// Learning rates by epoch against their formulas.
import Foundation
import Testing

@testable import Optimizers

@Suite("Learning-rate schedules") struct ScheduleTests {
  private func rates(_ schedule: LearningRateSchedule, _ epochs: Int) -> [Double] {
    (1...epochs).map { schedule.rate(epoch: $0) }
  }

  private func expectEqual(
    _ found: [Double], _ exact: [Double], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(found.count == exact.count, sourceLocation: sourceLocation)
    for (epoch, (a, b)) in zip(found, exact).enumerated() {
      #expect(
        abs(a - b) <= 1e-15 * max(1, b), "epoch \(epoch + 1): \(a), \(b)",
        sourceLocation: sourceLocation)
    }
  }

  @Test("none stays") func none() {
    let schedule = LearningRateSchedule(kind: .none, base: 0.3, epochs: 4)
    expectEqual(rates(schedule, 4), [0.3, 0.3, 0.3, 0.3])
  }

  @Test("step: a factor every few epochs") func step() {
    let schedule = LearningRateSchedule(kind: .step, base: 8, epochs: 7, stepSize: 3, gamma: 0.5)
    expectEqual(rates(schedule, 7), [8, 8, 8, 4, 4, 4, 2])
  }

  @Test("cosine: from base to the minimum, half of it in the middle") func cosine() {
    let schedule = LearningRateSchedule(kind: .cosine, base: 1, epochs: 6, minimum: 0.2)
    // Cosines of 0, 30, 60, 90, 120 and 150 degrees.
    let root = 3.0.squareRoot() / 2
    expectEqual(
      rates(schedule, 6), [1, root, 0.5, 0, -0.5, -root].map { 0.2 + 0.8 * (1 + $0) / 2 })
    // Where the next epoch would be.
    expectEqual([schedule.rate(epoch: 7)], [0.2])
  }

  @Test("plateau: a tenth after more than five epochs without progress") func plateau() {
    var schedule = LearningRateSchedule(kind: .plateau, base: 1, epochs: 50)
    var found: [Double] = []
    // Better, then five times no better by 1e-4 of it, then better, then six times no better.
    let losses = [3, 2] + [2, 2.5, 1.9999, 2, 2] + [1.5] + [Double](repeating: 1.5, count: 7)
    for (epoch, loss) in losses.enumerated() {
      found.append(schedule.rate(epoch: epoch + 1))
      schedule.observe(testLoss: loss)
    }
    expectEqual(found, [Double](repeating: 1, count: 14) + [0.1])
    // The count starts anew: one epoch of the next six is over.
    for _ in 0..<4 { schedule.observe(testLoss: 1.5) }
    expectEqual([schedule.rate(epoch: 20)], [0.1])
    schedule.observe(testLoss: 1.5)
    expectEqual([schedule.rate(epoch: 21)], [0.01])
  }

  @Test("only plateau listens to the loss") func deaf() {
    var schedule = LearningRateSchedule(kind: .step, base: 1, epochs: 50)
    let before = schedule
    for _ in 0..<20 { schedule.observe(testLoss: 1) }
    #expect(schedule == before)
  }

  @Test("warm-up climbs in even steps, then the schedule is where it would be") func warmUp() {
    let schedule = LearningRateSchedule(
      kind: .step, base: 1, epochs: 9, stepSize: 5, gamma: 0.5, warmupEpochs: 3)
    expectEqual(rates(schedule, 6), [0.25, 0.5, 0.75, 1, 1, 0.5])
  }

  @Test("never below the minimum") func minimum() {
    let schedule = LearningRateSchedule(
      kind: .step, base: 1, epochs: 9, stepSize: 1, gamma: 0.1, minimum: 0.05, warmupEpochs: 1)
    expectEqual(rates(schedule, 4), [0.5, 0.1, 0.05, 0.05])
  }

  @Test("a schedule survives a checkpoint in the middle of a plateau") func coding() throws {
    var schedule = LearningRateSchedule(kind: .plateau, base: 1, epochs: 50)
    for _ in 0..<11 { schedule.observe(testLoss: 1) }
    var copy = try JSONDecoder().decode(
      LearningRateSchedule.self, from: JSONEncoder().encode(schedule))
    #expect(copy == schedule)
    for _ in 0..<2 {
      schedule.observe(testLoss: 1)
      copy.observe(testLoss: 1)
    }
    #expect(copy == schedule && copy.rate(epoch: 20) == schedule.rate(epoch: 20))
  }
}
