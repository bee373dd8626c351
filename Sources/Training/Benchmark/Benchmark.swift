// The `bench` command: what it measures, in which order, and as which lines.
import Collectives
import Datasets
import Diagnostics
import Foundation
import Models
import Reports
import Tensors

/// Measures training, the exchange and memory. Rank 0 gets the lines; all ranks take part.
public final class Benchmark {
  private let group: ProcessGroup
  private let cases: [(name: String, configuration: RunConfiguration)]
  private let repetitions: Int
  private let dataset: (any Dataset)?
  /// Of this rank.
  private let secondsToMPI: Double

  /// - Parameters:
  ///   - cases: what to measure: names, and configurations that differ in their layer.
  ///   - loadsData: open the data set of the first case, measure its loading, and the first case's
  ///     training on it as well.
  ///   - repetitions: rounds; every round measures every case once, so that a machine whose speed
  ///     drifts treats all alike.
  /// - Throws: `SharedError` for a configuration that cannot run.
  public init(
    _ cases: [(name: String, configuration: RunConfiguration)], group: ProcessGroup,
    repetitions: Int, loadsData: Bool
  ) throws {
    let secondsToMPI = secondsSinceProcessStart()
    self.group = group
    self.repetitions = repetitions
    let (dataset, fitted) = try group.together {
      let dataset = loadsData ? try DataSetup.open(.train, cases[0].configuration) : nil
      let fitted = try cases.map { name, configuration in
        try configuration.validate(ranks: group.size)
        let c = try dataset.map {
          try DataSetup.fit(configuration, to: $0, ranks: group.size)
        }
        _ = try ShardPlan(
          shards: configuration.resolvedShards, ranks: group.size, threads: configuration.threads)
        return (name, c ?? configuration)
      }
      return (dataset, fitted)
    }
    self.dataset = dataset
    group.stallTimeout = fitted[0].1.stallTimeout
    self.cases = fitted
    self.secondsToMPI = secondsToMPI
  }

  /// Calls `line` on rank 0 with one JSON object per result.
  public func run(_ line: ([(String, JSONValue)]) -> Void) throws {
    let startUps = try cases.map {
      try StartUp($0.configuration, group: group, before: secondsToMPI)
    }
    // Layers differ little in size: one choice of buckets for all.
    var settled = cases[0].configuration
    _ = try settled.settleBuckets(group)
    let cases = cases.map { name, c in
      var c = c
      c.bucketMegabytes = settled.bucketMegabytes
      return (name: name, configuration: c)
    }
    line([
      ("event", .text("start")), ("ranks", .integer(group.size)), ("host", .text(group.hostName)),
      ("blas_core", .text(Matmul.coreName)), ("bucket_mb", .integer(settled.bucketMegabytes)),
      ("seconds_to_mpi", .number(startUps[0].toMPI)),
    ])
    var benchmarks = try cases.map {
      try TrainingBenchmark(name: $0.name, $0.configuration, group: group)
    }
    if let dataset {
      let (name, c) = cases[0]
      try measureLoading(dataset, c, line)
      benchmarks.append(
        try TrainingBenchmark(
          name: "\(name) from \(dataset.name)", c, group: group, dataset: dataset))
    }
    var samples = [[TrainingSample]](repeating: [], count: benchmarks.count)
    for _ in 0..<repetitions {
      for (index, benchmark) in benchmarks.enumerated() {
        samples[index].append(try benchmark.sample())
      }
    }
    for (index, benchmark) in benchmarks.enumerated() {
      line(describe(benchmark, samples[index], startUps[min(index, startUps.count - 1)]))
    }
    guard let first = benchmarks.first else { return }
    let c = first.configuration
    let count = first.replica.layout.count
    let ways: [(ReductionMode, ReductionType)] = [
      (.invariant, .fp32), (.invariant, .bf16), (.mpi, .fp32),
    ]
    for (mode, type) in ways {
      let (seconds, bytesSent) = try ExchangeBenchmark.measure(
        group, c, count: count, mode: mode, type: type, repetitions: max(repetitions, 5))
      line([
        ("event", .text("exchange")), ("reduce", .text(mode.rawValue)),
        ("reduce_dtype", .text(type.rawValue)), ("ranks", .integer(group.size)),
        ("bytes", .integer(4 * count)), ("bytes_sent", .integer(bytesSent)),
        ("seconds_per_step", .number(median(seconds))),
        ("seconds_min", .number(seconds.min() ?? 0)), ("seconds_max", .number(seconds.max() ?? 0)),
      ])
    }
  }

  /// Loading and transforming alone, by one thread of every rank at once.
  private func measureLoading(
    _ dataset: any Dataset, _ c: RunConfiguration, _ line: ([(String, JSONValue)]) -> Void
  ) throws {
    let transform = DataSetup.transform(dataset, c, training: true)
    try group.barrier()
    let rate = try group.together { try measureLoader(dataset, transform: transform, seconds: 3) }
    let rates = try group.allGather([rate]).map { $0[0] }
    line([
      ("event", .text("loader")), ("dataset", .text(dataset.name)),
      ("img_size", .integer(c.model.imageSize)), ("ranks", .integer(group.size)),
      ("images_per_second_per_core", .number(rates.reduce(0, +) / Double(rates.count))),
    ])
  }

  private func describe(
    _ benchmark: TrainingBenchmark, _ samples: [TrainingSample], _ startUp: StartUp
  ) -> [(String, JSONValue)] {
    func middle(_ value: (TrainingSample) -> Double) -> JSONValue {
      .number(median(samples.map(value)))
    }
    let c = benchmark.configuration
    let rates = samples.map(\.imagesPerSecond)
    let workers = Double(group.size * c.threads)
    let blas = samples.compactMap(\.blasRate)
    let againstBLAS: [(String, JSONValue)] =
      blas.isEmpty
      ? []
      : [
        ("openblas_gflops_per_core", .number(median(blas) * 1e-9)),
        ("share_of_openblas", .number(median(samples.compactMap(\.shareOfBLAS)))),
      ]
    return [
      ("event", .text("training")), ("case", .text(benchmark.name)),
      ("layer", .text(c.model.layer.rawValue)), ("ranks", .integer(group.size)),
      ("threads", .integer(c.threads)), ("batch_size", .integer(c.batchSize)),
      ("img_size", .integer(c.model.imageSize)), ("tokens", .integer(c.model.tokens)),
      ("products", .text(Matmul.description(c.precision))),
      ("images_per_second", .number(median(rates))),
      ("images_per_second_min", .number(rates.min() ?? 0)),
      ("images_per_second_max", .number(rates.max() ?? 0)),
      ("images_per_second_per_core", .number(median(rates) / workers)),
      (
        "gflop_per_image",
        .number(Double(benchmark.replica.engines[0].trainingOperationsPerImage) * 1e-9)
      ),
      ("sgemm_gflops_per_core", .number(median(samples.map(\.productRate)) * 1e-9)),
      ("share_of_limit", middle(\.shareOfLimit)), ("time_products", middle(\.products)),
      ("time_attention", middle(\.attention)), ("time_elementwise", middle(\.elementwise)),
      ("time_data", middle(\.data)), ("time_exchange", middle(\.exchange)),
      ("time_waiting", middle(\.waiting)), ("peak_memory_mb", .number(startUp.peakMemory / 1e6)),
      ("engine_memory_mb", .number(startUp.engineMemory / 1e6)),
      ("seconds_to_mpi", .number(startUp.toMPI)), ("seconds_to_model", .number(startUp.toModel)),
      ("seconds_to_first_step", .number(startUp.toFirstStep)),
      ("seconds_of_first_step", .number(startUp.firstStep)),
    ] + againstBLAS
  }
}

func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  guard !sorted.isEmpty else { return 0 }
  let half = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

/// Wall-clock seconds since the kernel started this process; zero where /proc does not tell.
func secondsSinceProcessStart() -> Double {
  guard let stat = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
    let up = try? String(contentsOfFile: "/proc/uptime", encoding: .utf8),
    let uptime = up.split(separator: " ").first.flatMap({ Double($0) }),
    let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 19,
    let ticks = Double(fields[19])
  else { return 0 }
  return uptime - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
}
