// Lines of files that may be much larger than memory should be.
import Foundation

/// Hands out the lines of a file in their order, without their ends; what follows the last end is no line.
/// A file that is not there has none.
///
/// - Parameter block: bytes read at once; a longer line is put together from several.
/// - Throws: what the system or `body` throws.
func readLines(
  ofFile path: String, block: Int = 1 << 20, _ body: (ArraySlice<UInt8>) throws -> Void
) throws {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else {
    if errno == ENOENT { return }
    throw POSIXError(.init(rawValue: errno) ?? .EIO)
  }
  let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  var rest: [UInt8] = []
  while let data = try file.read(upToCount: block), !data.isEmpty {
    let searched = rest.count
    rest.append(contentsOf: data)
    var start = 0
    var end = rest[searched...].firstIndex(of: 10)
    while let found = end {
      try body(rest[start..<found])
      start = found + 1
      end = rest[start...].firstIndex(of: 10)
    }
    rest.removeFirst(start)
  }
}
