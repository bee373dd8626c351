// A bounded number of damaged files for every reader; `convnn fuzz` goes on for as long as one likes.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Datasets
@testable import Training

@Suite("Fuzz") struct FuzzTests {
  @Test("no damaged file is a finding", arguments: FuzzTarget.allCases)
  func readers(target: FuzzTarget) throws {
    let summary = try Fuzzer(target: target, seed: 1).run(count: 2000)
    #expect(summary.accepted + summary.refused == 2000)
    // Damage must reach beyond the first check, and must matter.
    #expect(summary.accepted > 10 && summary.refused > 100)
  }

  @Test("whole files are read by their readers", arguments: FuzzTarget.allCases)
  func whole(target: FuzzTarget) throws {
    let folder = try TemporaryFolder()
    let (inputs, reader) = try target.open(folder.path)
    #expect(!inputs.isEmpty)
    for (i, input) in inputs.enumerated() {
      // Each of the two CIFAR variants takes only its own files.
      let results = [0, 8, 1, 9].map { number in (try? reader.read(input, number: number)) != nil }
      #expect(results.contains(true), "input \(i)")
    }
  }

  @Test("damage is a function of seed, target and number") func deterministic() {
    let inputs = FuzzSeeds.jpeg
    func mutated(_ seed: UInt64, _ target: Int, _ number: Int) -> [UInt8] {
      var mutator = Mutator(seed: seed, target: target, number: number)
      return mutator.mutate(inputs)
    }
    #expect(mutated(1, 0, 7) == mutated(1, 0, 7))
    let others = [mutated(1, 0, 7), mutated(2, 0, 7), mutated(1, 1, 7), mutated(1, 0, 8)]
    #expect(Set(others).count == 4)
    let same = (0..<200).filter { inputs.contains(mutated(3, 0, $0)) }
    #expect(same.count < 10)
  }
}
