// The flags of training: batches, epochs, precision.
import ArgumentParser
import Collectives
import Models
import Optimizers
import Training

struct TrainingFlags: ParsableArguments {
  @Option(
    name: .customLong("preset"),
    help: "Flags of the published runs, DeiT's recipe, or fine-tuning; flags given here win.")
  var preset: Preset?
  @Option(
    name: .customLong("batch_size"),
    help: "Global batch: images per step over all ranks (default: 256).")
  var batchSize: Int?
  @Option(name: .customLong("num_epochs"), help: "Epochs (default: 150).")
  var epochs: Int?
  @Option(
    name: .customLong("max_steps"), help: "Stop after so many steps, 0 for never (default: 0).")
  var maxSteps: Int?
  @Flag(
    name: .customLong("use_amp"),
    help: """
      Mixed precision: matrix products of bfloat16 numbers, activations kept as such; sums, weights and the \
      rest single.
      """)
  var useAMP = false
  @Flag(
    name: .customLong("amp_strict"),
    help: "Refuse --use_amp on CPUs without bfloat16 instructions, where it is slow.")
  var strictAMP = false
  @Flag(
    name: .customLong("use_compiled"), help: "Accepted; this program is compiled ahead of time.")
  var useCompiled = false
  @Option(name: .customLong("compile_mode"), help: "Accepted like --use_compiled.")
  var compileMode: CompileMode?
  @Option(
    name: .customLong("clip_grad_norm"),
    help: "Largest gradient norm, 0 for no clipping (default: 1.0).")
  var clipNorm: Double?

  func apply(to c: inout RunConfiguration) {
    batchSize.put(&c.batchSize)
    epochs.put(&c.epochs)
    maxSteps.put(&c.maxSteps)
    clipNorm.put(&c.clipNorm)
    if useAMP { c.precision = .mixed }
  }
}
