// `convnn bench`: how fast this machine trains, and how near that is to its own limit.
import ArgumentParser
import Conventions
import Diagnostics
import Foundation
import Models
import Reports
import Tensors
import Training

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures training throughput, its share of the machine's limit, and the exchange.",
    discussion: """
      The limit: the model's own matrix products, repeated with nothing between them in the same \
      run. One JSON object per line on stdout, a table on stderr. Without --layer all eight layers \
      are measured, with --layer that one; the batch is 64 unless --batch_size says otherwise. \
      With --use_amp every case is measured in both precisions. \
      Training is on images in memory; with --dataset its loading is measured too, and training on it.
      """)

  @Option(
    name: .customLong("repetitions"),
    help: "Rounds over all cases; medians are reported.")
  var repetitions = 5
  @Option(
    name: .customLong("compare"), help: "Lines of an earlier run: adds the ratio to it.")
  var compare: String?
  @OptionGroup var flags: RunFlags

  func validate() throws {
    if repetitions < 1 {
      throw ValidationError("--repetitions is \(repetitions): expected a number from 1 on.")
    }
  }

  func run() throws {
    let earlier = try compare.map(BenchTable.earlier) ?? [:]
    var base = try flags.configuration()
    base.fitWithoutData()
    if flags.training.batchSize == nil { base.batchSize = RunConventions.benchBatchSize }
    // The usual Vision Transformer has one.
    let isOne = flags.model.layer != nil || base.model.architecture == .vit
    let models = isOne ? [(base.model.layerTitle, base)] : Self.everyLayer(base)
    let cases = flags.training.useAMP ? models.flatMap(Self.inBothPrecisions) : models
    try KernelChoice.settle(flags, comparesBLAS: true)
    let repetitions = repetitions
    let loadsData = flags.dataset.dataset != nil
    try Ending.withProcessGroup { group in
      var table = BenchTable(earlier: earlier)
      let benchmark = try Benchmark(
        cases, group: group, repetitions: repetitions, loadsData: loadsData)
      try benchmark.run { line in
        guard group.rank == 0 else { return }
        print(jsonObject(line))
        fflush(nil)
        table.add(line)
      }
      if group.rank == 0 { say(table.text) }
      return .done
    }
  }

  /// The layers in the order of the document, ConvNN with its sampling types and several K.
  private static func everyLayer(
    _ base: RunConfiguration
  ) -> [(name: String, configuration: RunConfiguration)] {
    func make(_ change: (inout ModelConfiguration) -> Void) -> (String, RunConfiguration) {
      var c = base
      change(&c.model)
      return (c.model.layerTitle, c)
    }
    var cases = [make { $0.layer = .attention }]
    for k in [1, base.model.neighbours, 36] where k <= base.model.tokens {
      cases.append(
        make {
          $0.layer = .convNNAttention
          $0.neighbours = k
        })
    }
    cases.append(
      make {
        $0.layer = .convNNAttention
        $0.samplingType = .random
        $0.sampleCount = min(32, base.model.tokens)
      })
    for layer in LayerKind.allCases where ![.attention, .convNNAttention].contains(layer) {
      cases.append(make { $0.layer = layer })
    }
    return cases
  }

  private static func inBothPrecisions(
    _ name: String, _ c: RunConfiguration
  ) -> [(name: String, configuration: RunConfiguration)] {
    Precision.allCases.map { precision in
      var copy = c
      copy.precision = precision
      return ("\(name) \(precision.rawValue)", copy)
    }
  }
}
