// A run in words: args.txt, model.txt, the first lines and the head of report.html.
import Conventions
import Foundation
import Models
import Reports
import Tensors

struct RunDescription {
  let arguments: String
  let architecture: String
  let summary: String
  /// First line of train_eval_results.txt.
  let resultsHeader: String
  let stepsPerEpoch: Int
  /// report.html, but for its curves.
  let page: ReportPage

  init(_ trainer: Trainer) {
    let c = trainer.configuration
    let layout = trainer.replica.engines[0].layout
    stepsPerEpoch = trainer.step.perEpoch
    let gigaOperations = Double(trainer.replica.engines[0].operationsPerImage) * 1e-9
    resultsHeader = String(format: "GFLOPs: %.4f Parameters: %ld", gigaOperations, layout.count)
    let facts = [
      ("num_classes", "\(c.model.numClasses)"), ("img_size", "\(c.model.imageSize)"),
      ("total_params", "\(layout.count)"), ("trainable_params", "\(layout.count)"),
      ("ranks", "\(trainer.group.size)"), ("threads", "\(c.threads)"),
      ("device", "cpu"), ("cpu_level", "\(VectorLevel.best)"),
      ("fp32_products", Matmul.singleProducts.rawValue), ("amp_unit", Matmul.unit.rawValue),
      ("blas_core", Matmul.coreName), ("products", Matmul.description(c.precision)),
    ]
    let flags = c.numerics.map { ($0.flag, $0.value) } + c.conduct.map { ($0.flag, $0.value) }
    arguments = (flags + facts).map { "\($0.0): \($0.1)\n" }.joined()
    page = ReportPage(
      title: "\(c.model.layer.rawValue) on \(c.dataset.rawValue)", epochs: c.epochs,
      facts: Self.facts(trainer, gigaOperations: gigaOperations), flags: flags)
    architecture = Self.architecture(c, layout, gigaOperations: gigaOperations)
    summary = """
      \(c.model.layer.rawValue), \(layout.count)\(RunConventions.parametersMark)\(c.dataset.rawValue), \
      \(trainer.train.count) + \(trainer.test.count) images of \(c.model.imageSize) px; \
      \(counted(trainer.group.size, "rank")) x \(counted(c.threads, "thread")), \
      \(c.resolvedShards) shards, micro-batch \
      \(c.resolvedMicroBatch), products of \(Matmul.description(c.precision))
      """
  }

  private static func facts(
    _ trainer: Trainer, gigaOperations: Double
  ) -> [(name: String, value: String)] {
    let c = trainer.configuration
    let m = c.model
    return [
      ("Layer", m.layer.rawValue),
      ("Data set", "\(c.dataset.rawValue), \(m.numClasses) classes"),
      (
        "Images",
        "\(grouped(trainer.train.count)) for training, \(grouped(trainer.test.count)) for the test"
      ),
      ("Input", "\(m.imageSize) px in patches of \(m.patchSize): \(m.tokens) tokens"),
      (
        "Model",
        (m.architecture == .vit ? "the usual Vision Transformer, " : "")
          + "\(m.numLayers) blocks, width \(m.width), MLP \(m.mlpWidth)"
      ),
      ("Parameters", grouped(trainer.parameters.count)),
      ("Operations per image", String(format: "%.4g GFLOP, forward", gigaOperations)),
      ("Ranks × threads", "\(trainer.group.size) × \(c.threads)"),
      (
        "Batch",
        "\(c.batchSize) images: \(c.resolvedShards) shards, passes of \(c.resolvedMicroBatch)"
      ),
      (
        "Optimizer",
        "\(c.optimizer.rawValue), learning rate \(c.learningRate), schedule \(c.scheduler.rawValue)"
          + (c.rateUpdate == .step ? ", rates by step" : "")
          + (c.emaDecay > 0 ? "; evaluated: averages of the weights, decay \(c.emaDecay)" : "")
      ),
      ("Seed", "\(c.seed)"),
      ("Kernels", "products of \(Matmul.description(c.precision)), else \(VectorLevel.best)"),
      ("Folder", c.outputFolder),
    ]
  }

  private static func architecture(
    _ c: RunConfiguration, _ layout: ParameterLayout, gigaOperations: Double
  ) -> String {
    let m = c.model
    var lines = [
      "Vision Transformer with \(m.layer.rawValue)"
        + (m.architecture == .vit ? ", as timm has it" : ""),
      "  patch embedding: \(m.imageSize) x \(m.imageSize) px in patches of \(m.patchSize) x "
        + "\(m.patchSize), \(m.tokens - 1) patches + class token = \(m.tokens) tokens",
      "  \(m.numLayers) blocks: width \(m.width), MLP \(m.mlpWidth)",
      "  classifier: \(m.numClasses) classes", "",
    ]
    let places = layout.places.sorted { $0.offset > $1.offset }
    let width = places.map(\.spec.name.count).max() ?? 0
    for place in places {
      let name = place.spec.name.padding(toLength: width, withPad: " ", startingAt: 0)
      let shape = place.spec.shape.map(String.init).joined(separator: " x ")
        .padding(toLength: 20, withPad: " ", startingAt: 0)
      lines.append("\(name)  \(shape) \(place.spec.count)")
    }
    lines += [
      "", "Total parameters: \(layout.count)", "Trainable parameters: \(layout.count)",
      String(format: "Operations per image, forward: %.6f GFLOP", gigaOperations),
    ]
    return lines.joined(separator: "\n") + "\n"
  }
}

/// For example "1 rank" and "2 ranks".
private func counted(_ count: Int, _ noun: String) -> String {
  "\(count) \(noun)\(count == 1 ? "" : "s")"
}
