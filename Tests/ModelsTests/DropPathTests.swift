// How often branches are left out, and for whom.
import Foundation
import Tensors
import Testing

@testable import Models

@Suite("Drop path") struct DropPathTests {
  private func pass(block: Int, step: Int = 1, training: Bool = true) -> LayerPass {
    LayerPass(
      images: 50, outputTokens: 1, parameters: FloatSlab(count: 1).base, training: training,
      seed: 3, step: step, block: block, firstPosition: 7)
  }

  @Test("the share of images grows to p in the last block, and the mean factor is 1")
  func shares() {
    let drop = DropPath(probability: 0.4, blocks: 5)
    for block in 1..<5 {
      let p = 0.4 * Double(block) / 4
      for branch in [DropPath.Branch.attention, .mlp] {
        let factors = (1...400).flatMap { drop.draw(pass(block: block, step: $0), branch).factors! }
        let kept = factors.filter { $0 > 0 }
        #expect(kept.allSatisfy { abs(Double($0) - 1 / (1 - p)) < 1e-6 })
        // Four deviations of 20,000 draws.
        let share = 1 - Double(kept.count) / 20_000
        #expect(abs(share - p) < 4 * (p * (1 - p) / 20_000).squareRoot())
      }
    }
  }

  @Test("branches, blocks, images and steps are drawn apart") func apart() {
    let drop = DropPath(probability: 0.5, blocks: 3)
    let all = [
      drop.draw(pass(block: 2), .attention), drop.draw(pass(block: 2), .mlp),
      drop.draw(pass(block: 2, step: 2), .attention), drop.draw(pass(block: 1), .attention),
    ].map { $0.factors!.map { $0 > 0 } }
    #expect(Set(all).count == 4)
    #expect(all.allSatisfy { Set($0).count == 2 })
  }

  @Test("nothing is left out in the first block, in evaluation, or without") func off() {
    for use in [
      DropPath(probability: 0.9, blocks: 3).draw(pass(block: 0), .mlp),
      DropPath(probability: 0.9, blocks: 3).draw(pass(block: 2, training: false), .mlp),
      DropPath(probability: 0, blocks: 3).draw(pass(block: 2), .attention),
      DropPath(probability: 0.9, blocks: 1).draw(pass(block: 0), .attention),
    ] {
      #expect(use.factors == nil && use.isTaken)
    }
  }
}
