// The operations of RandAugment: what they are called, and how far they go at a magnitude.

/// What RandAugment does to a training image (Cubuk et al. 2020, arXiv:1909.13719, with the ranges of
/// torchvision.transforms.RandAugment). The order is part of the numerics: append, never reorder.
enum ImageOperation: Int, CaseIterable, Sendable {
  case identity, shearX, shearY, translateX, translateY, rotate
  case brightness, color, contrast, sharpness
  case posterize, solarize, autoContrast, equalize

  /// Magnitudes are the numbers of so many evenly spaced strengths.
  static let bins = 31

  /// Whether a random sign makes sense: the image moves either way, grows brighter or darker.
  var isSigned: Bool {
    switch self {
    case .identity, .posterize, .solarize, .autoContrast, .equalize: return false
    default: return true
    }
  }

  /// How far the operation goes, without a sign:
  /// - shear: tangent of the angle, 0 to 0.3;
  /// - translation: whole pixels, 0 to 150/331 of the side;
  /// - rotation: degrees, 0 to 30, anticlockwise;
  /// - brightness, colour, contrast, sharpness: distance of the factor from 1, 0 to 0.9;
  /// - posterize: bits left, 8 to 4; solarize: the value from which on colours are inverted, 255 to 0.
  ///
  /// - Parameter magnitude: 0..<bins.
  func strength(magnitude: Int, width: Int, height: Int) -> Double {
    switch self {
    case .identity, .autoContrast, .equalize: return 0
    case .shearX, .shearY: return Self.step(magnitude, from: 0, to: 0.3)
    case .translateX: return Self.step(magnitude, from: 0, to: Self.reach(width)).rounded(.down)
    case .translateY: return Self.step(magnitude, from: 0, to: Self.reach(height)).rounded(.down)
    case .rotate: return Self.step(magnitude, from: 0, to: 30)
    case .brightness, .color, .contrast, .sharpness:
      return Self.step(magnitude, from: 0, to: 0.9)
    case .posterize: return 8 - (Double(magnitude) / 7.5).rounded(.toNearestOrEven)
    case .solarize: return Self.step(magnitude, from: 255, to: 0)
    }
  }

  private static func reach(_ side: Int) -> Float { Float(150.0 / 331.0 * Double(side)) }

  /// Strength `index` of `bins` from `first` to `last`, in single precision, counted from the nearer
  /// end and rounded once: as torch.linspace does on CPUs with AVX2. The last bit decides bytes where a
  /// blend is almost a whole number.
  private static func step(_ index: Int, from first: Float, to last: Float) -> Double {
    let width = (last - first) / Float(bins - 1)
    return Double(
      index < bins / 2
        ? first.addingProduct(width, Float(index))
        : last.addingProduct(-width, Float(bins - 1 - index)))
  }
}
