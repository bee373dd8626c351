// The flags of the machine and of the parallel run.
import ArgumentParser
import Collectives
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
