// The Vision Transformer of one compute thread: parameters in, loss and gradients out.
import CKernels
import Diagnostics
import Tensors

// B images of a micro-batch, T tokens, D width, C classes.

/// Explicit forward and backward passes. An object owns the activations of one micro-batch; parameters
/// and gradients are the caller's, laid out by `layout`.
public final class VisionTransformer: Engine {
  public let configuration: ModelConfiguration
  public let layout: ParameterLayout
  /// Most images in one pass.
  public let capacity: Int
  public let precision: Precision

  private let embedding: PatchEmbedding
  /// The object that computes each block; with recomputation all blocks but the last share one.
  private let blocks: [EncoderBlock]
  private let recomputes: Bool
  /// x before block l [B·T, D]; one for all blocks where none of them is read again.
  private let states: [FloatSlab]
  private let classRows: FloatSlab  // class tokens after the last block [B, D]
  private let classifier: Classifier
  private let dState: FloatSlab  // [B·T, D]
  private var totals = (products: 0.0, other: 0.0)

  /// - Parameter recomputes: keep only what enters each block, and run its forward pass again before its
  ///   backward pass: a third more work, a fraction of the memory, the same bits.
  /// - Throws: `RunError` (configuration) for a model that cannot be made.
  public init(
    configuration c: ModelConfiguration, capacity: Int, precision: Precision = .single,
    recomputes: Bool = false
  ) throws {
    try c.validate()
    self.precision = precision
    configuration = c
    self.capacity = capacity
    self.recomputes = recomputes
    let scratch = Scratch(precision: precision)
    func makeBlock(isLast: Bool) -> EncoderBlock {
      EncoderBlock(
        c, isLast: isLast, capacity: capacity,
        attention: LayerShape(c, capacity: capacity).makeLayer(scratch: scratch), scratch: scratch)
    }
    let last = makeBlock(isLast: true)
    var blocks: [EncoderBlock] = []
    for _ in 0..<c.numLayers - 1 {
      blocks.append(
        recomputes ? blocks.first ?? makeBlock(isLast: false) : makeBlock(isLast: false))
    }
    self.blocks = blocks + [last]
    layout = ParameterLayout(configuration: c)
    embedding = PatchEmbedding(c, capacity: capacity, scratch: scratch)
    classifier = Classifier(c, capacity: capacity, scratch: scratch)
    // In mixed precision blocks keep what their backward pass reads.
    let passes = precision == .mixed && !recomputes
    let stateCount = capacity * c.tokens * c.width
    let states = (0..<(passes ? 1 : c.numLayers)).map { _ in FloatSlab(count: stateCount) }
    self.states = passes ? Array(repeating: states[0], count: c.numLayers) : states
    classRows = FloatSlab(count: capacity * c.width)
    dState = passes ? states[0] : FloatSlab(count: stateCount)
  }

  public var buffers: [LayerBuffer] {
    let c = configuration
    let names = c.architecture.names
    let positions =
      c.architecture.learnsPositions
      ? []
      : [
        LayerBuffer(
          name: names.positions, shape: [1, c.tokens, c.width],
          values: positionalEncoding(tokens: c.tokens, width: c.width))
      ]
    return positions
      + blocks.enumerated().flatMap { index, block in
        block.attention.ownedBuffers.map {
          LayerBuffer(
            name: "\(names.blocks).\(index).\(names.attention).\($0.name)", shape: $0.shape,
            values: $0.values)
        }
      }
  }

  /// Floating-point operations per image of one forward pass.
  public var operationsPerImage: Int {
    embeddingOperations + restOperations + attentionOperations { $0.operations(outputTokens: $1) }
  }

  /// Operations per image of a forward and a backward pass; images need no gradient.
  public var trainingOperationsPerImage: Int {
    2 * embeddingOperations + 3 * restOperations
      + attentionOperations {
        $0.operations(outputTokens: $1) + $0.backwardOperations(outputTokens: $1)
      }
  }

  private var embeddingOperations: Int {
    let c = configuration
    return 2 * (c.tokens - 1) * 3 * c.patchSize * c.patchSize * c.width
  }

  /// MLPs and classifier.
  private var restOperations: Int {
    let c = configuration
    return blocks.reduce(classifier.operations) {
      $0 + 2 * 2 * $1.outputTokens * c.width * c.mlpWidth
    }
  }

  private func attentionOperations(_ count: (any AttentionLayer, Int) -> Int) -> Int {
    blocks.reduce(0) { sum, block in
      let layer = block.attention
      return sum + count(layer, layer.needsAllTokens ? configuration.tokens : block.outputTokens)
    }
  }

  public var seconds: EngineSeconds {
    var seconds = EngineSeconds()
    seconds.total = totals.products + totals.other
    seconds.products = totals.products
    let distinct = recomputes && blocks.count > 1 ? [blocks[0], blocks[blocks.count - 1]] : blocks
    seconds.attention = distinct.reduce(0) { $0 + $1.attentionSeconds }
    return seconds
  }

  /// Forward pass in evaluation mode: logits [count, C], valid until the next call.
  public func logits(
    images: UnsafePointer<Float>, count: Int, parameters: UnsafePointer<Float>
  ) -> UnsafePointer<Float> {
    Matmul.with(precision) {
      forward(LayerPass(images: count, outputTokens: 0, parameters: parameters), images: images)
    }
    return UnsafePointer(classifier.logits)
  }

  /// Loss and hits of `count` images, without gradients.
  public func evaluate(
    images: UnsafePointer<Float>, labels: UnsafePointer<Int32>, count: Int,
    parameters: UnsafePointer<Float>, criterion: Criterion = .crossEntropy
  ) -> BatchStatistics {
    _ = logits(images: images, count: count, parameters: parameters)
    return loss(
      labels: labels, mixture: nil, count: count, criterion: criterion, smoothing: 0, weight: nil)
  }

  /// Forward and backward pass of one micro-batch.
  ///
  /// - Parameter ready: called with the length of the finished beginning of the gradient slab each
  ///   time it has grown, ending with the whole length.
  public func train(
    _ pass: TrainingPass, images: UnsafePointer<Float>, labels: UnsafePointer<Int32>, count: Int,
    ready: ((Int) -> Void)? = nil
  ) -> BatchStatistics {
    let layerPass = LayerPass(
      images: count, outputTokens: 0, parameters: pass.parameters, gradients: pass.gradients,
      accumulate: pass.accumulate, training: true, seed: pass.seed, step: pass.step,
      firstPosition: pass.firstPosition)
    let clock = StretchClock()
    let statistics = Matmul.with(precision) {
      forward(layerPass, images: images)
      let statistics = loss(
        labels: labels, mixture: pass.mixture, count: count, criterion: pass.criterion,
        smoothing: pass.labelSmoothing, weight: pass.lossWeight)
      backward(layerPass, classifierOnly: pass.classifierOnly, ready: ready)
      return statistics
    }
    let elapsed = clock.elapsed()
    totals.products += elapsed.products
    totals.other += elapsed.other
    return statistics
  }

  private func forward(_ pass: LayerPass, images: UnsafePointer<Float>) {
    precondition(pass.images <= capacity)
    embedding.forward(
      images: images, count: pass.images, parameters: pass.parameters + layout.embedding,
      x: states[0].base)
    for index in blocks.indices {
      forward(
        pass, block: index,
        to: index + 1 < blocks.count ? states[index + 1].base : classRows.base)
    }
    classifier.forward(pass, layout.classifier, x: classRows.base)
  }

  private func forward(
    _ pass: LayerPass, block index: Int, to y: UnsafeMutablePointer<Float>
  ) {
    var pass = pass
    pass.block = index
    blocks[index].forward(
      pass, layout.blocks[index], x: states[index].base, y: y)
  }

  /// With a weight, the logits become their own gradients.
  private func loss(
    labels: UnsafePointer<Int32>, mixture: LabelMixture?, count: Int, criterion: Criterion,
    smoothing: Double, weight: Double?
  ) -> BatchStatistics {
    let classes = configuration.numClasses
    var statistics = BatchStatistics()
    statistics.images = count
    for image in 0..<count {
      let row = classifier.logits + image * classes
      let label = Int(labels[image])
      let target = ck_target(
        label: label, other: mixture.map { Int($0.labels[image]) } ?? label,
        share: mixture.map { Double($0.shares[image]) } ?? 0)
      let rank = ck_label_rank(row, classes, target.share > 0.5 ? target.other : label)
      statistics.top1 += rank < 1 ? 1 : 0
      statistics.top5 += rank < 5 ? 1 : 0
      let gradient = weight == nil ? nil : row
      switch criterion {
      case .crossEntropy:
        statistics.loss += ck_cross_entropy(
          gradient, row, classes, target, smoothing, weight ?? 0)
      case .meanSquaredError:
        statistics.loss += ck_squared_error(gradient, row, classes, target, weight ?? 0)
      }
    }
    return statistics
  }

  private func backward(
    _ pass: LayerPass, classifierOnly: Bool, ready: ((Int) -> Void)?
  ) {
    classifier.backwardMap(pass, layout.classifier, x: classRows.base)
    if classifierOnly {
      if !pass.accumulate { pass.gradients!.zero(layout.body) }
      ready?(layout.count)
      return
    }
    // The class rows are not read again: their memory takes their gradient.
    classifier.backwardInput(pass, layout.classifier, x: classRows.base)
    let last = blocks.count - 1
    for index in blocks.indices.reversed() {
      // The block's object still holds the activations of the block after it; that one's input is no
      // longer needed, and takes the output once more. Of the last two blocks nothing was overwritten.
      if recomputes && index < last - 1 {
        forward(pass, block: index, to: states[index + 1].base)
      }
      var blockPass = pass
      blockPass.block = index
      blocks[index].backward(
        blockPass, layout.blocks[index], x: states[index].base,
        dY: index == last ? classRows.base : dState.base, dX: dState.base)
      ready?(layout.blocks[index].end)
    }
    embedding.backward(
      dX: dState.base, count: pass.images, parameters: pass.parameters + layout.embedding,
      gradients: pass.gradients! + layout.embedding, accumulate: pass.accumulate)
    ready?(layout.count)
  }
}
