// Which pixels of an image its consumer will look at, so that a decoder may leave out the others.

/// A rectangle of the image shrunk by a factor.
public struct DecodingRegion: Sendable, Equatable {
  /// 1, 2, 4 or 8; what is left at the edges counts as one pixel more.
  public var reduction: Int
  /// In pixels of the image after shrinking; not empty, inside of it.
  public var rectangle: PixelRectangle

  public init(reduction: Int, rectangle: PixelRectangle) {
    self.reduction = reduction
    self.rectangle = rectangle
  }

  /// The whole of an image of that size, shrunk.
  public static func whole(width: Int, height: Int, reduction: Int = 1) -> DecodingRegion {
    DecodingRegion(
      reduction: reduction,
      rectangle: PixelRectangle(
        x: 0, y: 0, width: (width + reduction - 1) / reduction,
        height: (height + reduction - 1) / reduction))
  }

  /// Chooses a region of an image of the width and height given.
  public typealias Choice = (_ width: Int, _ height: Int) -> DecodingRegion

  /// All of the image as it is.
  public static func everything(_ width: Int, _ height: Int) -> DecodingRegion {
    .whole(width: width, height: height)
  }
}
