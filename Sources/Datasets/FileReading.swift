// Whole files into memory, with errors that name the file.
import Diagnostics
import Foundation

/// A file that the system does not give; another host may get it, or this one later.
struct FileReadError: Error {
  let reason: String
}

/// Reads `path` into `buffer` and returns its length.
///
/// - Throws: `FileReadError` when it cannot be opened or read; `ImageError` when it is no regular file, or larger
///   than `limit` bytes.
func readFile(_ path: String, into buffer: ByteBuffer, limit: Int = 1 << 30) throws -> Int {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw FileReadError(reason: systemErrorText()) }
  defer { close(descriptor) }
  var information = stat()
  guard fstat(descriptor, &information) == 0 else {
    throw FileReadError(reason: systemErrorText())
  }
  guard information.st_mode & S_IFMT == S_IFREG else { throw ImageError("not a regular file") }
  let size = Int(information.st_size)
  guard size <= limit else { throw ImageError("\(size) bytes, more than the limit of \(limit)") }
  let base = buffer.reserve(size)
  var done = 0
  while done < size {
    let got = read(descriptor, base + done, size - done)
    if got < 0 && errno == EINTR { continue }
    guard got >= 0 else { throw FileReadError(reason: systemErrorText()) }
    if got == 0 { break }
    done += got
  }
  return done
}

/// The bytes of a data set's file.
///
/// - Throws: `RunError` (data) naming the file and what to do.
func readDataFile(_ path: String, advice: String) throws -> [UInt8] {
  func failure(_ reason: String) -> RunError {
    .data("Cannot read \(path): \(reason).\n\(advice)")
  }
  let buffer = ByteBuffer()
  do {
    let count = try readFile(path, into: buffer)
    return [UInt8](UnsafeBufferPointer(start: buffer.base, count: count))
  } catch let error as ImageError { throw failure(error.reason) } catch let error as FileReadError {
    throw failure(error.reason)
  }
}
