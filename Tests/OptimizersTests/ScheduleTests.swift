// Learning rates by epoch and by step against their formulas.
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

  /// By step, for `epochs` epochs of `perEpoch` steps.
  private func rates(_ schedule: LearningRateSchedule, _ epochs: Int, perEpoch: Int) -> [Double] {
    (1...epochs).flatMap { epoch in
      (0..<perEpoch).map {
        schedule.rate(epoch: epoch, stepInEpoch: $0, stepsPerEpoch: perEpoch)
      }
    }
  }

  @Test("cosine by step: degree by degree") func cosineByStep() {
    let schedule = LearningRateSchedule(
      kind: .cosine, base: 1, epochs: 2, minimum: 0.2, update: .step)
    // Cosines of 0, 30, 60, 90, 120 and 150 degrees in two epochs.
    let root = 3.0.squareRoot() / 2
    expectEqual(
      rates(schedule, 2, perEpoch: 3),
      [1, root, 0.5, 0, -0.5, -root].map { 0.2 + 0.8 * (1 + $0) / 2 })
  }

  @Test("warm-up by step climbs in even steps to the schedule, whatever its kind")
  func warmUpByStep() {
    let step = LearningRateSchedule(
      kind: .step, base: 1, epochs: 9, stepSize: 3, gamma: 0.5, warmupEpochs: 2, update: .step)
    expectEqual(
      rates(step, 4, perEpoch: 2), [0.2, 0.4, 0.6, 0.8, 1, 1, 0.5, 0.5])
    let none = LearningRateSchedule(
      kind: .none, base: 8, epochs: 9, minimum: 2.5, warmupEpochs: 1, update: .step)
    expectEqual(rates(none, 2, perEpoch: 3), [2.5, 4, 6, 8, 8, 8])
    let cosine = LearningRateSchedule(
      kind: .cosine, base: 1, epochs: 2, warmupEpochs: 1, update: .step)
    let root = 0.5.squareRoot()
    // Cosines of 0, 45, 90 and 135 degrees.
    expectEqual(
      rates(cosine, 2, perEpoch: 2), [1.0 / 3, 2.0 / 3 * (1 + root) / 2, 0.5, (1 - root) / 2])
    // Where nothing is warmed up, and the kind goes by epochs, steps are all the same.
    let plain = LearningRateSchedule(
      kind: .step, base: 8, epochs: 4, stepSize: 2, gamma: 0.5, update: .step)
    expectEqual(rates(plain, 4, perEpoch: 2), [8, 8, 8, 8, 4, 4, 4, 4])
  }

  @Test("epochs of one step are the same by epoch and by step", arguments: SchedulerKind.allCases)
  func oneStepEpochs(kind: SchedulerKind) {
    func schedule(_ update: RateUpdate) -> LearningRateSchedule {
      LearningRateSchedule(
        kind: kind, base: 0.3, epochs: 7, stepSize: 2, gamma: 0.3, minimum: 1e-3, warmupEpochs: 3,
        update: update)
    }
    #expect(rates(schedule(.epoch), 7) == rates(schedule(.step), 7, perEpoch: 1))
    // And the first step of an epoch, once it is warm, has the epoch's rate.
    for epoch in 4...7 {
      let first = schedule(.step).rate(epoch: epoch, stepInEpoch: 0, stepsPerEpoch: 10)
      #expect(first == schedule(.epoch).rate(epoch: epoch))
    }
  }

  @Test("by epoch, steps do not count") func stepsOfAnEpoch() {
    let schedule = LearningRateSchedule(kind: .cosine, base: 1, epochs: 6, warmupEpochs: 2)
    for epoch in 1...6 {
      let last = schedule.rate(epoch: epoch, stepInEpoch: 9, stepsPerEpoch: 10)
      #expect(last == schedule.rate(epoch: epoch))
    }
  }

  @Test("a checkpoint of an earlier version goes by epochs") func earlierVersion() throws {
    let encoded = """
      {"kind":"cosine","base":1,"epochs":6,"stepSize":20,"gamma":0.1,"minimum":0.2,"warmupEpochs":1,\
      "badEpochs":0,"factor":1}
      """
    let schedule = try JSONDecoder().decode(LearningRateSchedule.self, from: Data(encoded.utf8))
    let now = LearningRateSchedule(
      kind: .cosine, base: 1, epochs: 6, minimum: 0.2, warmupEpochs: 1)
    #expect(rates(schedule, 6) == rates(now, 6))
    #expect(rates(schedule, 2, perEpoch: 5) == rates(now, 2, perEpoch: 5))
  }

  @Test("a schedule by step survives a checkpoint") func codingByStep() throws {
    let schedule = LearningRateSchedule(kind: .cosine, base: 1, epochs: 50, update: .step)
    let copy = try JSONDecoder().decode(
      LearningRateSchedule.self, from: JSONEncoder().encode(schedule))
    #expect(copy == schedule)
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
