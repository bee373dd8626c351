// One owner at a time.
import Diagnostics
import Foundation
import TestSupport
import Testing

@Suite("File lock") struct FileLockTests {
  @Test("the second is refused and told who the first is, until it lets go") func taken() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/new/lock"
    let first = try FileLock(path, seconds: 0)
    first.note("a long name that comes first")
    first.note("process 1")
    #expect(throws: FileLock.Failure.taken(owner: "process 1")) {
      try FileLock(path, seconds: 0.05)
    }
    first.release()
    try FileLock(path, seconds: 0).release()
  }

  @Test("the second waits for the first") func waits() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/lock"
    let first = try FileLock(path, seconds: 0)
    Thread { first.release() }.start()
    try FileLock(path, seconds: 60).release()
  }

  @Test("a file that cannot be made") func unavailable() throws {
    let folder = try TemporaryFolder()
    #expect(throws: FileLock.Failure.unavailable(EISDIR)) {
      try FileLock(folder.path, seconds: 60)
    }
  }
}
