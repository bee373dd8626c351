// A slow, plain reader of TensorBoard's files: any protobuf, checksums bit by bit.
import Foundation

public struct ReadScalar: Equatable, Sendable {
  public let tag: String
  public let step: Int
  public let value: Float
  public let wallTime: Double
}

/// What one file holds.
public struct ReadEvents: Sendable {
  public var versions: [String] = []
  /// Steps of session starts.
  public var starts: [Int] = []
  public var scalars: [ReadScalar] = []
  /// Bytes of a last record that is not whole.
  public var tornBytes = 0
}

public struct EventsError: Error {
  public let text: String
}

/// The names of the events files in a folder, in TensorBoard's order.
public func eventsFiles(_ folder: String) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: folder)
    .filter { $0.hasPrefix("events.out.tfevents.") }.sorted()
}

/// All values in a folder, in the order in which TensorBoard reads them.
public func readScalars(_ folder: String) throws -> [ReadScalar] {
  try eventsFiles(folder).flatMap { try readEvents(folder + "/" + $0).scalars }
}

public func readEvents(_ path: String) throws -> ReadEvents {
  var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
  var result = ReadEvents()
  while !bytes.isEmpty {
    guard bytes.count >= 12 else { break }
    guard number(bytes[8..<12]) == UInt64(maskedCRC(Array(bytes[0..<8]))) else {
      throw EventsError(text: "checksum of a length")
    }
    let length = Int(number(bytes[0..<8]))
    guard bytes.count >= 16 + length else { break }
    let event = Array(bytes[12..<(12 + length)])
    guard number(bytes[(12 + length)..<(16 + length)]) == UInt64(maskedCRC(event)) else {
      throw EventsError(text: "checksum of an event")
    }
    try add(event, to: &result)
    bytes.removeFirst(16 + length)
  }
  result.tornBytes = bytes.count
  return result
}

/// CRC-32C as the definition has it: division of polynomials, bit by bit.
public func slowCRC32C(_ bytes: [UInt8]) -> UInt32 {
  var remainder: UInt32 = 0xffff_ffff
  for byte in bytes {
    for bit in 0..<8 {
      let input = UInt32(byte >> bit & 1)
      let isOdd = (remainder & 1) != input
      remainder >>= 1
      if isOdd { remainder ^= 0x82f6_3b78 }
    }
  }
  return remainder ^ 0xffff_ffff
}

private func maskedCRC(_ bytes: [UInt8]) -> UInt32 {
  let value = UInt64(slowCRC32C(bytes))
  let rotated = (value / 32768 + value * 131_072) % 4_294_967_296
  return UInt32((rotated + 0xa282_ead8) % 4_294_967_296)
}

private func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
  var value: UInt64 = 0
  for byte in bytes.reversed() { value = value * 256 + UInt64(byte) }
  return value
}

private enum Field {
  case number(UInt64)
  case bytes([UInt8])
}

/// The fields of a message, by number and in order.
private func fields(_ message: [UInt8]) throws -> [(Int, Field)] {
  var result: [(Int, Field)] = []
  var rest = message
  func take(_ count: Int) throws -> [UInt8] {
    guard rest.count >= count else { throw EventsError(text: "a message that ends too soon") }
    defer { rest.removeFirst(count) }
    return Array(rest.prefix(count))
  }
  func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<10 {
      let byte = try take(1)[0]
      value += UInt64(byte % 128) << UInt64(7 * index)
      if byte < 128 { return value }
    }
    throw EventsError(text: "a number without end")
  }
  while !rest.isEmpty {
    let key = try varint()
    switch key % 8 {
    case 0: result.append((Int(key / 8), .number(try varint())))
    case 1: result.append((Int(key / 8), .number(number(try take(8)[...]))))
    case 2: result.append((Int(key / 8), .bytes(try take(Int(try varint())))))
    case 5: result.append((Int(key / 8), .number(number(try take(4)[...]))))
    default: throw EventsError(text: "wire type \(key % 8)")
    }
  }
  return result
}

private func add(_ event: [UInt8], to result: inout ReadEvents) throws {
  var (wallTime, step) = (0.0, 0)
  for (field, content) in try fields(event) {
    switch (field, content) {
    case (1, .number(let bits)): wallTime = Double(bitPattern: bits)
    case (2, .number(let value)): step = Int(value)
    case (3, .bytes(let text)): result.versions.append(String(decoding: text, as: UTF8.self))
    case (5, .bytes(let summary)):
      for case (1, .bytes(let value)) in try fields(summary) {
        var (tag, number) = ("", Float.nan)
        for part in try fields(value) {
          switch part {
          case (1, .bytes(let text)): tag = String(decoding: text, as: UTF8.self)
          case (2, .number(let bits)): number = Float(bitPattern: UInt32(bits))
          default: throw EventsError(text: "field \(part.0) of a value")
          }
        }
        result.scalars.append(
          ReadScalar(tag: tag, step: step, value: number, wallTime: wallTime))
      }
    case (7, .bytes(let log)):
      guard case (1, .number(1))? = try fields(log).first else {
        throw EventsError(text: "a session that does not start")
      }
      result.starts.append(step)
    default: throw EventsError(text: "field \(field) of an event")
    }
  }
}
