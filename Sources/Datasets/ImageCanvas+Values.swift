// Posterize, solarize, auto-contrast, equalize: each value of a channel becomes another one.

extension ImageCanvas {
  /// Puts `table`'s values in the place of the image's.
  func applyTable() {
    let table = UnsafePointer(table)
    var pixel = image.pixels
    for _ in 0..<(image.width * image.height) {
      pixel[0] = table[Int(pixel[0])]
      pixel[1] = table[256 + Int(pixel[1])]
      pixel[2] = table[512 + Int(pixel[2])]
      pixel += 3
    }
  }

  /// Keeps the upper bits.
  ///
  /// - Parameter bits: 1 to 8.
  func posterize(bits: Int) {
    let mask = UInt8(truncatingIfNeeded: 0xFF << (8 - bits))
    for i in 0..<768 { table[i] = UInt8(i & 255) & mask }
    applyTable()
  }

  /// 255 - v for values from the threshold on.
  func solarize(from threshold: Double) {
    for i in 0..<768 {
      let value = UInt8(i & 255)
      table[i] = Double(value) < threshold ? value : 255 - value
    }
    applyTable()
  }

  /// Stretches each channel from 0 to 255:  (v - min) 255 / (max - min), cut off to a whole number.
  func autoContrast() {
    count()
    for c in 0..<3 {
      let counts = histogram + 256 * c
      let low = (0..<256).first { counts[$0] > 0 } ?? 0
      let high = (0..<256).last { counts[$0] > 0 } ?? 0
      // In this order, which decides what is cut off.
      let scale = high > low ? 255 / Double(high - low) : 1
      let offset = high > low ? -Double(low) * scale : 0
      for value in 0..<256 {
        table[256 * c + value] = UInt8(max(0, min(255, Double(value) * scale + offset)))
      }
    }
    applyTable()
  }

  /// Spreads each channel's values so that all are about equally frequent:
  /// floor((step / 2 + pixels of lower values) / step), where step is the 255th part of all pixels but
  /// those of the largest value.
  func equalize() {
    count()
    for c in 0..<3 {
      let counts = histogram + 256 * c
      let largest = (0..<256).last { counts[$0] > 0 } ?? 0
      let step = (image.width * image.height - counts[largest]) / 255
      var sum = step / 2
      for value in 0..<256 {
        table[256 * c + value] = step > 0 ? UInt8(min(255, sum / step)) : UInt8(value)
        sum += counts[value]
      }
    }
    applyTable()
  }

  private func count() {
    let counts = histogram
    counts.update(repeating: 0, count: 768)
    var pixel = UnsafePointer(image.pixels)
    for _ in 0..<(image.width * image.height) {
      counts[Int(pixel[0])] += 1
      counts[256 + Int(pixel[1])] += 1
      counts[512 + Int(pixel[2])] += 1
      pixel += 3
    }
  }
}
