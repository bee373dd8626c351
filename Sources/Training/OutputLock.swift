// One run at a time in an output folder.
import Diagnostics
import Files
import Foundation

extension Trainer {
  /// Keeps other runs out of the output folder while this process lives, and removes what killed ones have
  /// left half-written. A file system without locks keeps nobody out: then there is a note, and no lock.
  ///
  /// - Throws: `RunError` (configuration) when another run is in the folder.
  func lockOutput(_ folder: String) throws -> FileLock? {
    // An attempt that is being killed may still hold the folder when the next one starts. The other
    // ranks wait, and must not take that for a stall.
    let seconds = min(5, configuration.stallTimeout / 2)
    do {
      let lock = try FileLock("\(folder)/.lock", seconds: seconds)
      lock.note("process \(getpid()) on \(group.hostName)")
      AtomicFile.removeLeftovers(in: folder)
      return lock
    } catch FileLock.Failure.taken(let owner) {
      throw RunError.configuration(
        """
        --output_dir \(folder) is in use by another run\(owner.isEmpty ? "" : " (\(owner))").
        Wait until it has ended, stop it, or give another --output_dir.
        """)
    } catch FileLock.Failure.unavailable(let number) {
      say(
        "Note: \(folder) cannot be locked (\(systemErrorText(number))): do not start a second run there."
      )
      return nil
    }
  }
}
