// All flags together, and the configuration they make.
import ArgumentParser
import Training

struct RunFlags: ParsableArguments {
  @OptionGroup(title: "Model and layer") var model: ModelFlags
  @OptionGroup(title: "ConvNN-Attention") var convnn: ConvNNFlags
  @OptionGroup(title: "Convolution, branching and sparse layers") var other: OtherLayerFlags
  @OptionGroup(title: "Data set") var dataset: DatasetFlags
  @OptionGroup(title: "Augmentation") var augmentation: AugmentationFlags
  @OptionGroup(title: "Training") var training: TrainingFlags
  @OptionGroup(title: "Optimization") var optimization: OptimizationFlags
  @OptionGroup(title: "System") var system: SystemFlags

  /// - Parameters:
  ///   - base: what a weights file says of its model and data; flags given win.
  ///   - trains: training begins with these weights: what they were trained by is past.
  func configuration(base: WeightDescription? = nil, trains: Bool = false) throws
    -> RunConfiguration
  {
    var c = RunConfiguration()
    if let base {
      let fresh = c.model
      c.model = base.model
      if trains {
        c.model.dropout = fresh.dropout
        c.model.attentionDropout = fresh.attentionDropout
        c.model.dropPath = fresh.dropPath
        c.model.referenceQuirks = fresh.referenceQuirks
      }
      c.resize = base.model.imageSize
    }
    if let data = base?.data {
      c.dataset = data.dataset
      c.imagenetTransform = data.imagenetTransform
      if !trains { data.criterion.put(&c.criterion) }
      data.normalization.put(&c.normalization)
    }
    training.preset?.apply(to: &c, batchSize: training.batchSize)
    model.apply(to: &c.model)
    convnn.apply(to: &c.model)
    other.apply(to: &c.model, convnnHeadsGiven: convnn.heads != nil)
    dataset.apply(to: &c)
    augmentation.apply(to: &c)
    training.apply(to: &c)
    optimization.apply(to: &c)
    try system.apply(to: &c)
    return c
  }
}
