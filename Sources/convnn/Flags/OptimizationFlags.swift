// The flags of the loss, the optimizer and the learning rate.
import ArgumentParser
import Models
import Optimizers
import Training

struct OptimizationFlags: ParsableArguments {
  @Option(name: .customLong("criterion"), help: "Loss (default: CrossEntropy).")
  var criterion: Criterion?
  @Option(name: .customLong("label_smoothing"), help: "Label smoothing (default: 0).")
  var labelSmoothing: Double?
  @Option(name: .customLong("optimizer"), help: "Optimizer (default: adamw).")
  var optimizer: OptimizerKind?
  @Option(name: .customLong("lr"), help: "Initial learning rate (default: 1e-3).")
  var learningRate: Double?
  @Option(name: .customLong("weight_decay"), help: "Weight decay (default: 1e-6).")
  var weightDecay: Double?
  @Option(
    name: .customLong("decay_all"),
    help: "Decay biases, norms and the class token too (default: True).")
  var decayAll: Truth?
  @Option(
    name: .customLong("layer_decay"),
    help: """
      Factor of the learning rate for every level between a parameter and the output; 0: the classifier alone \
      learns (default: 1).
      """)
  var layerDecay: Double?
  @Option(name: .customLong("momentum"), help: "Momentum of sgd (default: 0.9).")
  var momentum: Double?
  @Option(
    name: .customLong("ema_decay"),
    help: """
      Decay of a moving average of the weights, which is what is evaluated and written for use; 0 for none \
      (default: 0).
      """)
  var emaDecay: Double?
  @Option(name: .customLong("scheduler"), help: "Learning-rate schedule (default: none).")
  var scheduler: SchedulerKind?
  @Option(
    name: .customLong("lr_step"), help: "Epochs between the decays of step (default: 20).")
  var stepSize: Int?
  @Option(name: .customLong("lr_gamma"), help: "Factor of a decay of step (default: 0.1).")
  var gamma: Double?
  @Option(
    name: .customLong("warmup_epochs"),
    help:
      "Epochs w of linear warm-up: epoch e trains at e / (w + 1) of the schedule's rate (default: 0)."
  )
  var warmupEpochs: Int?
  @Option(name: .customLong("min_lr"), help: "Lowest learning rate of any schedule (default: 0).")
  var minimumRate: Double?
  @Option(
    name: .customLong("lr_update"),
    help: """
      Whether warm-up and the cosine schedule change the learning rate with every epoch or every step \
      (default: epoch).
      """)
  var rateUpdate: RateUpdate?

  func apply(to c: inout RunConfiguration) {
    criterion.put(&c.criterion)
    labelSmoothing.put(&c.labelSmoothing)
    optimizer.put(&c.optimizer)
    learningRate.put(&c.learningRate)
    weightDecay.put(&c.weightDecay)
    (decayAll?.value).put(&c.decayAll)
    layerDecay.put(&c.layerDecay)
    momentum.put(&c.momentum)
    emaDecay.put(&c.emaDecay)
    scheduler.put(&c.scheduler)
    stepSize.put(&c.stepSize)
    gamma.put(&c.gamma)
    warmupEpochs.put(&c.warmupEpochs)
    minimumRate.put(&c.minimumRate)
    rateUpdate.put(&c.rateUpdate)
  }
}
