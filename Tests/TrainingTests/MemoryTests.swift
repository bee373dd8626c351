// Runs that cannot fit are refused, and only those.
import Diagnostics
import Models
import Testing

@testable import Training

@Suite("Memory") struct MemoryTests {
  @Test("the defaults fit into 2 GB a rank, not into a fortieth of that") func defaults() throws {
    var c = RunConfiguration()
    for layer in LayerKind.allCases {
      c.model.layer = layer
      #expect(throws: Never.self) {
        try c.checkMemory(ranks: 4, ranksHere: 4, memory: 8_000_000_000)
      }
      let error = #expect(throws: RunError.self) {
        try c.checkMemory(ranks: 4, ranksHere: 4, memory: 200_000_000)
      }
      #expect(error?.code == .configuration)
      #expect(error?.message.contains("0.05 GB for each of its 4 ranks") == true)
      #expect((error?.message.split(separator: "\n").count ?? 9) <= 6)
    }
  }

  @Test("the estimate is below what an engine really holds, and not far")
  func estimate() throws {
    var c = RunConfiguration()
    c.shards = 16
    c.model.imageSize = 64
    c.model.numLayers = 4
    for batch in [1, 8] {
      c.microBatch = batch
      let (model, activations) = c.leastBytes(ranks: 1)
      // Weights, two moments, sums of 8, 4, 2 and 1 of 16 shards and the gradient of one; the
      // parameters of 4 blocks of ViT-Tiny by hand.
      let block = 4 * 192 * 192 + 2 * 192 * 768 + 768 + 192 + 4 * 192
      let count = 4 * block + (768 + 3) * 192 + 192 + 10 * 193
      #expect(model == Double(4 * 8 * count))
      #expect(c.leastBytes(ranks: 1, trains: false).model == Double(4 * count))
      // 17 tokens; three full blocks keep q, k, v, what they attend to, two norms, what enters and what
      // lies between, and twice the MLP's width.
      let least = 4 * batch * 17 * 3 * (8 * 192 + 2 * 768)
      #expect(activations > Double(least) && activations < Double(2 * least))
    }
  }

  @Test("an average of the weights takes a slab, which ranks share", arguments: [1, 4])
  func average(ranks: Int) {
    var c = RunConfiguration()
    let without = c.leastBytes(ranks: ranks)
    let weights = c.leastBytes(ranks: ranks, trains: false).model
    c.emaDecay = 0.999
    #expect(c.leastBytes(ranks: ranks).model == without.model + weights / Double(ranks))
    #expect(c.leastBytes(ranks: ranks, trains: false).model == weights)
    #expect(c.leastBytes(ranks: ranks).activations == without.activations)
  }

  @Test("in mixed precision they take half, and norms nothing") func mixed() {
    var c = RunConfiguration()
    c.model.numLayers = 33
    c.microBatch = 1
    let single = c.leastBytes(ranks: 1).activations
    c.precision = .mixed
    // 32 full blocks; 197 tokens, probabilities of 3 heads.
    let half = (6 * 192 + 3 * 197 + 2 * 768) / 2
    let saved = Double(4 * 32 * 197 * (half + 2 * 192))
    let difference = single - c.leastBytes(ranks: 1).activations
    #expect(difference > saved && difference < 1.05 * saved)
  }

  @Test("more threads and images need more") func grows() {
    var c = RunConfiguration()
    c.shards = 16
    let one = c.leastBytes(ranks: 1)
    c.recompute = true
    #expect(c.leastBytes(ranks: 1).activations < one.activations / 2)
    c.recompute = false
    c.threads = 4
    #expect(c.leastBytes(ranks: 1).activations == 4 * one.activations)
    // The last four gradients, beside the sums of eight and four shards.
    #expect(c.leastBytes(ranks: 1).model == one.model * 9 / 8)
    c.model.width *= 1024
    #expect(throws: RunError.self) {
      try c.checkMemory(ranks: 1, ranksHere: 1, memory: 1 << 40)
    }
  }
}
