// One parameter tensor: its name in the reference's state dict, its shape, its first values.

/// How a parameter starts: PyTorch's defaults, or timm's.
public enum Initialization: Equatable, Sendable {
  /// Uniform in ±1/√fanIn.
  case uniform(fanIn: Int)
  case normal(deviation: Float = 1)
  case zeros
  case ones
}

public struct ParameterSpec: Equatable, Sendable {
  public var name: String
  public let shape: [Int]
  public let initialization: Initialization
  /// False for biases, norms and the class token, which `--decay_all False` exempts.
  public let decays: Bool

  public init(_ name: String, _ shape: [Int], _ initialization: Initialization, decays: Bool = true)
  {
    self.name = name
    self.shape = shape
    self.initialization = initialization
    self.decays = decays
  }

  public var count: Int { shape.reduce(1, *) }

  /// A (outputs, inputs) weight with PyTorch's default start.
  public static func linear(_ name: String, outputs: Int, inputs: Int) -> ParameterSpec {
    ParameterSpec(name, [outputs, inputs], .uniform(fanIn: inputs))
  }

  static func normal(_ name: String, _ shape: [Int], deviation: Float, decays: Bool = true)
    -> ParameterSpec
  {
    ParameterSpec(name, shape, .normal(deviation: deviation), decays: decays)
  }

  static func norm(_ name: String, width: Int) -> [ParameterSpec] {
    [
      ParameterSpec("\(name).weight", [width], .ones, decays: false),
      .zeros("\(name).bias", count: width),
    ]
  }

  static func zeros(_ name: String, count: Int) -> ParameterSpec {
    ParameterSpec(name, [count], .zeros, decays: false)
  }

  public static func bias(_ name: String, outputs: Int, fanIn: Int) -> ParameterSpec {
    ParameterSpec(name, [outputs], .uniform(fanIn: fanIn), decays: false)
  }

  public func prefixed(_ prefix: String) -> ParameterSpec {
    var copy = self
    copy.name = prefix + name
    return copy
  }
}
