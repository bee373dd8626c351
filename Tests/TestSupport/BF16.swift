// The definition of rounding to bf16, slow and obvious.

/// The nearest of the two numbers of 16 bits around `x`, in a tie the even one. NaN stays NaN.
public func nearestBF16(_ x: Float) -> Float {
  guard x.isFinite else { return x }
  let towardsZero = x.bitPattern & 0xFFFF_0000
  let awayFromZero = towardsZero + 0x1_0000
  // Beyond the largest number comes infinity, in the place of 2^128.
  let far = Float(bitPattern: awayFromZero)
  let farValue = far.isFinite ? Double(far) : far.sign == .minus ? -0x1p128 : 0x1p128
  let near = Double(Float(bitPattern: towardsZero))
  let (down, up) = (abs(Double(x) - near), abs(farValue - Double(x)))
  let isEven = towardsZero & 0x1_0000 == 0
  return down < up || (down == up && isEven) ? Float(bitPattern: towardsZero) : far
}
