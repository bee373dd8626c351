// The flags of the machine and of the parallel run, and of output.
import ArgumentParser
import Collectives
import Conventions
import Diagnostics
import Tensors
import Training

struct SystemFlags: ParsableArguments {
  @Option(name: .customLong("device"), help: "Only cpu has an engine (default: cpu).")
  var device: Device?
  @Option(name: .customLong("seed"), help: "Seed of everything random (default: 0).")
  var seed: Int?
  @Option(name: .customLong("threads"), help: "Compute threads per rank (default: 1).")
  var threads: Int?
  @Option(
    name: .customLong("shards"),
    help: "Fixed parts of the batch, a power of two: the unit of reproducibility (default: auto).")
  var shards: AutomaticCount?
  @Option(
    name: .customLong("micro_batch"),
    help: "Images per forward and backward pass; part of the numerics (default: auto).")
  var microBatch: AutomaticCount?
  @Option(
    name: .customLong("reduce"),
    help: "Sums in canonical order, or MPI's own, without equal bits (default: invariant).")
  var reduce: ReductionMode?
  @Option(
    name: .customLong("reduce_dtype"),
    help: "Gradients between ranks: fp32, or bf16 for half the bytes (default: fp32).")
  var reduceType: ReductionType?
  @Option(
    name: .customLong("overlap"),
    help: "Exchange gradients while the backward pass goes on (default: True); same bits.")
  var overlap: Truth?
  @Option(
    name: .customLong("bucket_mb"),
    help: "MB of gradients that travel together: auto measures at start (default: auto); same bits."
  )
  var bucketMegabytes: AutomaticCount?
  @Flag(
    name: .customLong("recompute"),
    help: "Compute activations again instead of keeping them: less memory, a third more work.")
  var recompute = false
  @OptionGroup var kernels: KernelFlags
  @Option(
    name: .customLong("stall_timeout"),
    help: "Seconds of waiting for other ranks that count as a stall (default: 300).")
  var stallTimeout: Double?
  @Option(
    name: .customLong("inject"),
    help: "A fault for tests: kill|stop|nan|bitflip|exit0|slow:rank=R,step=S.")
  var fault: String?

  func apply(to c: inout RunConfiguration) throws {
    if let device, device != .cpu {
      throw RunError.configuration(
        "--device \(device.rawValue) has no engine in this program, which trains on CPUs.\n"
          + "Leave the flag out, or give --device cpu.")
    }
    if let seed { c.seed = UInt64(bitPattern: Int64(seed)) }
    threads.put(&c.threads)
    (shards?.count).put(&c.shards)
    (microBatch?.count).put(&c.microBatch)
    reduce.put(&c.reduce)
    reduceType.put(&c.reduceType)
    (overlap?.value).put(&c.overlap)
    (bucketMegabytes?.count).put(&c.bucketMegabytes)
    if recompute { c.recompute = true }
    stallTimeout.put(&c.stallTimeout)
    if let fault { c.fault = try FaultInjection(fault) }
  }
}

/// A number, or `auto`, which is 0.
struct AutomaticCount: ExpressibleByArgument {
  let count: Int

  init?(argument: String) {
    guard let count = argument == "auto" ? 0 : Int(argument) else { return nil }
    self.count = count
  }
}

struct OutputFlags: ParsableArguments {
  @Option(
    name: .customLong("output_dir"),
    help: "Folder of results (default: ./Output/<layer>-<dataset>).")
  var outputFolder: String?
  @Option(
    name: .customLong("init_from"), help: "Start from the weights of a safetensors file.")
  var initFrom: String?
  @Flag(
    name: .customLong("new_head"),
    help: """
      With --init_from: a new classifier, for other classes; images may be of another size, too.
      """)
  var newHead = false
  @Option(
    name: .customLong("resume"),
    help:
      "auto: from the newest checkpoint in --output_dir; never; or a checkpoint (default: auto).")
  var resume: String?
  @Option(
    name: .customLong("checkpoint_every"), help: "Steps between checkpoints, 0 = off (default: 0).")
  var checkpointEvery: Int?
  @Option(
    name: .customLong("checkpoint_every_epoch"),
    help: "Epochs between checkpoints, 0 = off (default: 1).")
  var checkpointEveryEpoch: Int?
  @Option(
    name: .customLong("checkpoint_minutes"),
    help: """
      Where one of these is on: at most so many minutes between checkpoints, 0 = off (default: 30).
      """)
  var checkpointMinutes: Double?
  @Option(name: .customLong("checkpoint_keep"), help: "Checkpoints kept (default: 2).")
  var checkpointKeep: Int?
  @Option(
    name: .customLong("log_every"), help: "Steps between lines in metrics.jsonl (default: 10).")
  var logEvery: Int?
  @Flag(name: .customLong("no_progress"), help: "No progress line.")
  var hideProgress = false
  @Flag(name: .customLong("trace"), help: "Write trace.json, a timeline of all ranks.")
  var trace = false

  func apply(to c: inout RunConfiguration) {
    c.outputFolder =
      outputFolder
      ?? RunConventions.outputFolder(layer: c.model.layer.rawValue, dataset: c.dataset.rawValue)
    if let initFrom { c.initFrom = initFrom }
    c.newHead = newHead
    resume.put(&c.resume)
    checkpointEvery.put(&c.checkpointEvery)
    checkpointEveryEpoch.put(&c.checkpointEveryEpoch)
    checkpointMinutes.put(&c.checkpointMinutes)
    checkpointKeep.put(&c.checkpointKeep)
    logEvery.put(&c.logEvery)
    c.showProgress = !hideProgress
    c.trace = trace
  }
}
