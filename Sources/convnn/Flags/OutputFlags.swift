// The flags of what a run begins with, and of what it leaves.
import ArgumentParser
import Conventions
import Training

struct OutputFlags: ParsableArguments {
  @Option(
    name: .customLong("output_dir"),
    help: "Folder of results (default: ./Output/<layer>-<dataset>, by the flags).")
  var outputFolder: String?
  @Option(
    name: .customLong("init_from"),
    help: """
      Start from the weights of a safetensors file, whose model, data set and size of images are then the defaults.
      """)
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
      Most minutes between checkpoints, unless both of these are off; 0 = off (default: 30).
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
