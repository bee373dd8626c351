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
    training.preset?.apply(
      to: &c, batchSize: training.batchSize, learningRate: optimization.learningRate)
    if let base {
      // Weights fit the model that they are of, whatever a preset would choose.
      let chosen = c.model
      c.model = base.model
      if trains {
        c.model.dropout = chosen.dropout
        c.model.attentionDropout = chosen.attentionDropout
        c.model.dropPath = chosen.dropPath
        c.model.referenceQuirks = chosen.referenceQuirks
      }
      c.resize = base.model.imageSize
    }
    if let data = base?.data {
      c.dataset = data.dataset
      c.imagenetTransform = data.imagenetTransform
      if !trains { data.criterion.put(&c.criterion) }
      data.normalization.put(&c.normalization)
    }
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
