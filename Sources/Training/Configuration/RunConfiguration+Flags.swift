// A configuration as the flags that make it: for args.txt, checkpoints and the agreement of ranks.
import Foundation
import Models

extension RunConfiguration {
  /// What decides the bits of a run; a resumed run must agree on all of it.
  public var numerics: [(flag: String, value: String)] {
    modelFlags + [
      ("dataset", dataset.rawValue), ("resize", "\(resize)"),
      ("normalization", normalization.rawValue),
      ("augment", word(augment)),
      ("noise", "\(noise)"), ("mixup", "\(mixup)"), ("cutmix", "\(cutmix)"),
      ("rand_augment", randAugment.map(String.init) ?? "off"),
      ("rand_augment_ops", "\(randAugmentOperations)"), ("random_erasing", "\(randomErasing)"),
      ("aug_repeats", "\(augmentationRepeats)"), ("shuffle", word(shuffle)),
      ("imagenet_transform", imagenetTransform.rawValue),
      ("batch_size", "\(batchSize)"), ("criterion", criterion.rawValue),
      ("label_smoothing", "\(labelSmoothing)"), ("optimizer", optimizer.rawValue),
      ("lr", "\(learningRate)"), ("weight_decay", "\(weightDecay)"),
      ("decay_all", word(decayAll)), ("layer_decay", "\(layerDecay)"),
      ("momentum", "\(momentum)"),
      ("clip_grad_norm", "\(clipNorm)"), ("ema_decay", "\(emaDecay)"),
      ("scheduler", scheduler.rawValue),
      ("lr_step", "\(stepSize)"), ("lr_gamma", "\(gamma)"),
      ("warmup_epochs", "\(warmupEpochs)"), ("min_lr", "\(minimumRate)"),
      ("lr_update", rateUpdate.rawValue),
      ("seed", "\(Int64(bitPattern: seed))"),
      ("shards", "\(resolvedShards)"), ("micro_batch", "\(resolvedMicroBatch)"),
      ("use_amp", word(precision == .mixed)), ("reduce", reduce.rawValue),
      ("reduce_dtype", reduceType.rawValue),
    ]
  }

  /// Of these, what a run that begins from another one's checkpoint may have otherwise: how it goes on from there,
  /// not what lies behind it.
  static let branchFlags: Set = [
    "lr", "weight_decay", "decay_all", "layer_decay", "clip_grad_norm", "scheduler", "lr_step",
    "lr_gamma",
    "warmup_epochs", "min_lr", "label_smoothing", "noise", "augment", "mixup", "cutmix",
    "drop_path", "rand_augment", "rand_augment_ops", "random_erasing", "aug_repeats",
    "ema_decay", "lr_update",
  ]

  /// What may change from one attempt to the next.
  public var conduct: [(flag: String, value: String)] {
    [
      ("data_path", dataPath), ("num_epochs", "\(epochs)"), ("max_steps", "\(maxSteps)"),
      ("output_dir", outputFolder), ("resume", resume), ("init_from", initFrom ?? ""),
      ("new_head", word(newHead)),
      ("checkpoint_every", "\(checkpointEvery)"),
      ("checkpoint_every_epoch", "\(checkpointEveryEpoch)"),
      ("checkpoint_minutes", "\(checkpointMinutes)"),
      ("checkpoint_keep", "\(checkpointKeep)"), ("log_every", "\(logEvery)"),
      ("overlap", word(overlap)),
      ("bucket_mb", bucketMegabytes > 0 ? "\(bucketMegabytes)" : "auto"),
      ("recompute", word(recompute)), ("workers", workers.map(String.init) ?? "auto"),
      // A run that stops at a damaged image has met none yet.
      ("stall_timeout", "\(stallTimeout)"), ("on_bad_image", badImages.rawValue),
      ("no_progress", word(!showProgress)), ("trace", word(trace)),
    ]
  }

  /// What decides which calls the ranks make together, and when: free to change from one attempt to the
  /// next, but not from rank to rank.
  var course: [(flag: String, value: String)] {
    let flags = [
      "num_epochs", "max_steps", "resume", "init_from", "new_head", "checkpoint_every",
      "checkpoint_every_epoch", "trace", "on_bad_image",
    ]
    return conduct.filter { flags.contains($0.flag) }
  }

  private func word(_ value: Bool) -> String { value ? "True" : "False" }

  /// The model's configuration, without what follows from the data set.
  private var modelFlags: [(flag: String, value: String)] {
    guard let data = try? JSONEncoder().encode(model),
      let values = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
    else { preconditionFailure("a model configuration is always encodable") }
    let derived = ["img_size", "num_classes", "window_size", "dim_head", "dilation"]
    let switches = ["softmax_topk_val", "coordinate_encoding", "reference_quirks"]
    return ModelConfiguration.flagNames.filter { !derived.contains($0) }.map { flag in
      let value = values[flag]!
      if switches.contains(flag) { return (flag, word((value as? NSNumber)?.boolValue ?? false)) }
      return (flag, "\(value)")
    }
  }
}
