// Which configurations can run.
import Datasets
import Diagnostics
import Foundation
import Models
import Tensors

extension RunConfiguration {
  /// Checks everything that is known before the data set is open.
  ///
  /// - Parameters:
  ///   - ranks: of the run.
  ///   - trains: or only evaluates, which takes less memory.
  /// - Throws: `RunError` (configuration) naming the first flag that cannot work, and what would.
  public func validate(ranks: Int = 1, trains: Bool = true) throws {
    try validateCounts()
    try validateRates()
    try validateAugmentation()
    if let fault {
      try require(
        fault.rank < ranks || !trains,
        "--inject names rank \(fault.rank), but the ranks of this run are 0 to \(ranks - 1).")
    }
    try require(
      reduce == .invariant || reduceType == .fp32,
      """
      --reduce_dtype \(reduceType.rawValue) needs --reduce invariant: MPI's own all-reduce would sum \
      in that precision.
      Leave one of the two flags out.
      """)
    // The side of the images follows from the flags; the classes are the data set's.
    guard resize > 0 || dataset != .imagenet else { return }
    var c = self
    c.fitWithoutData()
    try c.validateModel(ranks: ranks, trains: trains)
  }

  /// Checks that the model can be made and can fit, when its images and classes are known.
  ///
  /// - Throws: `RunError` (configuration).
  func validateModel(ranks: Int, trains: Bool) throws {
    try model.validate()
    let depths = [
      ("--d_hidden", model.width), ("--d_mlp", model.mlpWidth),
      ("--resize and --patch_size: the number of tokens", model.tokens),
    ]
    for (flag, depth) in depths where precision == .mixed {
      try require(
        depth <= Precision.mixedDepth,
        "\(flag) is \(depth): with --use_amp expected at most \(Precision.mixedDepth).")
    }
    try checkMemory(ranks: ranks, ranksHere: Self.ranksHere, trains: trains)
  }

  private func validateCounts() throws {
    // Far beyond any use, but small enough to be added and multiplied.
    let most = 1 << 40
    let counts = [
      ("--batch_size", batchSize, 1...1 << 24), ("--num_epochs", epochs, 1...most),
      ("--lr_step", stepSize, 1...most), ("--log_every", logEvery, 1...most),
      ("--threads", threads, 1...1024), ("--checkpoint_keep", checkpointKeep, 1...most),
      ("--resize", resize, 0...16_384), ("--max_steps", maxSteps, 0...most),
      ("--warmup_epochs", warmupEpochs, 0...most), ("--shards", shards, 0...4096),
      ("--micro_batch", microBatch, 0...1 << 24), ("--checkpoint_every", checkpointEvery, 0...most),
      ("--checkpoint_every_epoch", checkpointEveryEpoch, 0...most),
      ("--workers", workers ?? 0, 0...1024), ("--bucket_mb", bucketMegabytes, 0...1 << 20),
      ("--rand_augment", randAugment ?? 0, RandAugment.magnitudes),
      ("--rand_augment_ops", randAugmentOperations, RandAugment.operationCounts),
      ("--aug_repeats", augmentationRepeats, 1...1024),
    ]
    for (flag, value, allowed) in counts {
      try require(
        allowed.contains(value),
        "\(flag) is \(value): expected a whole number from \(allowed.lowerBound) to "
          + "\(allowed.upperBound).")
    }
    try require(
      shards & max(shards - 1, 0) == 0,
      "--shards is \(shards): expected a power of two, or 0 for one that suits the batch.")
    try require(
      !newHead || initFrom != nil,
      "--new_head leaves out the classifier of --init_from, which is not given: give both, or neither."
    )
    try require(
      microBatch <= batchSize,
      "--micro_batch \(microBatch) is more than --batch_size \(batchSize): choose at most that.")
  }

  private func validateRates() throws {
    // Single precision computes with them.
    let most = Double(Float.greatestFiniteMagnitude)
    let rates = [
      ("--noise", noise), ("--mixup", mixup), ("--cutmix", cutmix), ("--weight_decay", weightDecay),
      ("--momentum", momentum),
      ("--lr_gamma", gamma), ("--min_lr", minimumRate), ("--clip_grad_norm", clipNorm),
      ("--checkpoint_minutes", checkpointMinutes),
    ]
    for (flag, value) in rates {
      try require(
        value >= 0 && value <= most, "\(flag) is \(value): expected a finite number from 0 on.")
    }
    for (flag, value) in [("--lr", learningRate), ("--stall_timeout", stallTimeout)] {
      try require(
        value > 0 && value <= most, "\(flag) is \(value): expected a finite number above 0.")
    }
    if mixing != nil {
      try require(
        batchSize >= 2 * resolvedShards,
        """
        --mixup and --cutmix mix images of a shard: \(resolvedShards) shards of --batch_size \(batchSize) have one image each.
        Choose --batch_size \(2 * resolvedShards) or more, or fewer --shards.
        """)
      try require(
        2 * augmentationRepeats <= batchSize,
        """
        --mixup and --cutmix mix different images: --aug_repeats \(augmentationRepeats) leaves one for --batch_size \(batchSize).
        Choose --aug_repeats \(max(1, batchSize / 2)) or fewer.
        """)
    }
    try require(
      labelSmoothing >= 0 && labelSmoothing < 1,
      "--label_smoothing is \(labelSmoothing): expected a number from 0 to below 1.")
    try require(
      labelSmoothing == 0 || criterion == .crossEntropy,
      """
      --label_smoothing \(labelSmoothing) is for --criterion CrossEntropy, --criterion is \
      \(criterion.rawValue).
      Give --label_smoothing 0, or the other loss.
      """)
    try require(
      (0...1).contains(layerDecay),
      "--layer_decay is \(layerDecay): expected a number from 0 (the classifier alone learns) to 1."
    )
    try require(
      emaDecay >= 0 && emaDecay < 1,
      """
      --ema_decay is \(emaDecay): expected a number from 0 (no average) to below 1.
      A usual one is 0.999, or 0.9999 for runs of 100,000 steps and more.
      """)
    try require(
      minimumRate <= learningRate,
      "--min_lr \(minimumRate) is above --lr \(learningRate): choose a smaller one.")
    // Whole seconds are printed, and waited for, as integers.
    try require(
      stallTimeout <= 1e9, "--stall_timeout is \(stallTimeout): expected at most 1e9 seconds.")
  }

  private func validateAugmentation() throws {
    try require(
      randAugment != nil || randAugmentOperations == RunConfiguration().randAugmentOperations,
      """
      --rand_augment_ops \(randAugmentOperations) is for --rand_augment, which is not given.
      Give it a magnitude, or leave this one out.
      """)
    try require(
      shuffle || augmentationRepeats == 1,
      """
      --aug_repeats \(augmentationRepeats) sees a part of the images in an epoch, with --shuffle False always the same part.
      Give --aug_repeats 1, or --shuffle True.
      """)
    try require(
      augmentationRepeats <= batchSize,
      "--aug_repeats \(augmentationRepeats) is more than --batch_size \(batchSize): choose at most that."
    )
    try require(
      (0...1).contains(randomErasing),
      "--random_erasing is \(randomErasing): expected a probability from 0 to 1.")
  }

  private func require(_ holds: Bool, _ message: @autoclosure () -> String) throws {
    guard holds else { throw RunError.configuration(message()) }
  }
}
