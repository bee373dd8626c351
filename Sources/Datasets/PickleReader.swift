// A reader for exactly the pickles of torchvision's CIFAR folders: protocol 2, dictionaries, lists,
// byte strings, integers and one numpy uint8 array. Nothing else is accepted, nothing is executed.

/// A value of such a pickle.
indirect enum PickleValue {
  case none
  case bool(Bool)
  case integer(Int)
  case bytes(Range<Int>)
  case list(PickleList)
  case tuple([PickleValue])
  case dictionary(PickleDictionary)
  case global(String)
  /// numpy's unfinished array (before BUILD) and the uint8 type.
  case emptyArray
  case byteType
  case array(shape: [Int], data: Range<Int>)
}

/// Filled in place: appending one value at a time to a copy would take quadratic time.
final class PickleList {
  var values: [PickleValue] = []
}

final class PickleDictionary {
  var entries: [(key: String, value: PickleValue)] = []
}

/// Parses one pickle; byte strings are ranges of the input, so nothing large is copied.
struct PickleReader {
  private let input: [UInt8]
  private var at = 0
  private var stack: [PickleValue] = []
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]
  private var containers = 0
  /// CIFAR files have about ten; as many is how deep values may lie in each other.
  static let containerLimit = 64

  static let reconstruct = "numpy.core.multiarray _reconstruct"
  static let arrayClass = "numpy ndarray"
  static let typeClass = "numpy dtype"

  /// - Throws: `ImageError` with the offset of the first thing that is not of the dialect.
  static func read(_ input: [UInt8]) throws -> PickleValue {
    var reader = PickleReader(input: input)
    return try reader.run()
  }

  private init(input: [UInt8]) { self.input = input }

  private func fail(_ what: String) -> ImageError { ImageError("\(what) at byte \(at)") }

  private mutating func take(_ count: Int) throws -> Range<Int> {
    guard count >= 0, count <= input.count - at else { throw fail("the pickle ends too early") }
    defer { at += count }
    return at..<(at + count)
  }

  private mutating func number(_ bytes: Int) throws -> Int {
    var value = 0
    for (i, position) in try take(bytes).enumerated() { value |= Int(input[position]) << (8 * i) }
    return value
  }

  private mutating func line() throws -> String {
    let start = at
    while at < input.count, input[at] != 10, at - start < 256 { at += 1 }
    guard at < input.count, input[at] == 10 else { throw fail("a name without an end") }
    defer { at += 1 }
    return String(decoding: input[start..<at], as: UTF8.self)
  }

  private mutating func pop() throws -> PickleValue {
    guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
      throw fail("a value is missing")
    }
    return value
  }

  private mutating func popMark() throws -> [PickleValue] {
    guard let mark = marks.popLast() else { throw fail("a mark is missing") }
    defer { stack.removeLast(stack.count - mark) }
    return Array(stack[mark...])
  }

  private mutating func run() throws -> PickleValue {
    guard input.count > 2, input[0] == 0x80, input[1] == 2 else {
      throw ImageError("not a pickle of protocol 2")
    }
    at = 2
    // The largest of these files, CIFAR-100's train, takes about 300,000 steps.
    for _ in 0..<4_000_000 {
      let code = input[try take(1).lowerBound]
      if code == UInt8(ascii: ".") { return try result() }
      try step(code)
    }
    throw fail("too many values")
  }

  private func result() throws -> PickleValue {
    guard marks.isEmpty, stack.count == 1 else { throw fail("values are left over") }
    return stack[0]
  }

  private mutating func step(_ code: UInt8) throws {
    switch UnicodeScalar(code) {
    case "(":
      guard marks.count < Self.containerLimit else { throw fail("too many open lists") }
      marks.append(stack.count)
    case "}":
      try countContainer()
      stack.append(.dictionary(PickleDictionary()))
    case "]":
      try countContainer()
      stack.append(.list(PickleList()))
    case ")": try pushTuple([])
    case "N": stack.append(.none)
    case "\u{88}": stack.append(.bool(true))
    case "\u{89}": stack.append(.bool(false))
    case "K": stack.append(.integer(try number(1)))
    case "M": stack.append(.integer(try number(2)))
    case "J": stack.append(.integer(Int(Int32(truncatingIfNeeded: try number(4)))))
    case "U": stack.append(.bytes(try take(try number(1))))
    case "T": stack.append(.bytes(try take(try number(4))))
    case "q": try remember(try number(1))
    case "r": try remember(try number(4))
    case "h": try recall(try number(1))
    case "j": try recall(try number(4))
    case "c":
      let name = try line() + " " + line()
      guard [Self.reconstruct, Self.arrayClass, Self.typeClass].contains(name) else {
        throw fail("the name \"\(name.prefix(60))\" is not allowed in a CIFAR file")
      }
      stack.append(.global(name))
    case "\u{85}": try pushTuple([try pop()])
    case "\u{86}":
      let second = try pop()
      try pushTuple([try pop(), second])
    case "\u{87}":
      let third = try pop()
      let second = try pop()
      try pushTuple([try pop(), second, third])
    case "t": try pushTuple(try popMark())
    case "a":
      let value = try pop()
      try extendList([value])
    case "e": try extendList(try popMark())
    case "s":
      let value = try pop()
      try extendDictionary([try pop(), value])
    case "u": try extendDictionary(try popMark())
    case "R": try reduce()
    case "b": try build()
    default: throw fail("opcode \(code) is not part of the CIFAR format")
    }
  }

  private mutating func remember(_ slot: Int) throws {
    guard let value = stack.last else { throw fail("nothing to remember") }
    // Containers are filled after they are remembered and never recalled here, so only what is
    // complete is kept.
    switch value {
    case .bytes, .global, .byteType: memo[slot] = value
    default: memo[slot] = nil
    }
  }

  private mutating func recall(_ slot: Int) throws {
    guard let value = memo[slot] else { throw fail("reference to an unknown value") }
    stack.append(value)
  }

  private mutating func countContainer() throws {
    containers += 1
    guard containers <= Self.containerLimit else { throw fail("too many lists and tuples") }
  }

  private mutating func pushTuple(_ values: [PickleValue]) throws {
    try countContainer()
    stack.append(.tuple(values))
  }

  private mutating func extendList(_ values: [PickleValue]) throws {
    let target = try pop()
    guard case .list(let list) = target else { throw fail("a list was expected") }
    list.values += values
    stack.append(target)
  }

  private mutating func extendDictionary(_ values: [PickleValue]) throws {
    let target = try pop()
    guard case .dictionary(let dictionary) = target, values.count % 2 == 0 else {
      throw fail("a dictionary was expected")
    }
    for i in stride(from: 0, to: values.count, by: 2) {
      guard case .bytes(let key) = values[i] else { throw fail("a key is not a string") }
      dictionary.entries.append((text(key), values[i + 1]))
    }
    stack.append(target)
  }

  private func text(_ range: Range<Int>) -> String { String(decoding: input[range], as: UTF8.self) }

  /// Two calls exist: an empty array of bytes, and the type of bytes.
  private mutating func reduce() throws {
    guard case .tuple(let arguments) = try pop(), case .global(let name) = try pop() else {
      throw fail("a call without a function")
    }
    if name == Self.reconstruct, arguments.count == 3, case .global(Self.arrayClass) = arguments[0],
      case .tuple(let shape) = arguments[1], shape.count == 1, case .bytes(let kind) = arguments[2],
      text(kind) == "b"
    {
      stack.append(.emptyArray)
    } else if name == Self.typeClass, arguments.count == 3, case .bytes(let kind) = arguments[0],
      text(kind) == "u1"
    {
      stack.append(.byteType)
    } else {
      throw fail("a call of \"\(name)\" that no CIFAR file makes")
    }
  }

  private mutating func build() throws {
    guard case .tuple(let state) = try pop() else { throw fail("a state was expected") }
    switch try pop() {
    case .byteType:
      stack.append(.byteType)
    case .emptyArray:
      guard state.count == 5, case .tuple(let sizes) = state[1], case .byteType = state[2],
        case .bool(false) = state[3], case .bytes(let data) = state[4]
      else { throw fail("an array that is not of bytes in row order") }
      var shape: [Int] = []
      for size in sizes {
        guard case .integer(let n) = size, n >= 0 else { throw fail("a strange array shape") }
        shape.append(n)
      }
      stack.append(.array(shape: shape, data: data))
    default: throw fail("a state for nothing")
    }
  }
}

extension PickleValue {
  /// The entry of a dictionary.
  subscript(key: String) -> PickleValue? {
    guard case .dictionary(let dictionary) = self else { return nil }
    return dictionary.entries.last { $0.key == key }?.value
  }
}
