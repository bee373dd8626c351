// Files that are either the old one or the whole new one, whenever the power goes.
import Diagnostics
import Foundation

public enum AtomicFile {
  /// Writes beside `path` under a temporary name, syncs it, renames it over `path` and syncs the folder. Others,
  /// of this host or another, may do so at the same time.
  ///
  /// - Parameters:
  ///   - durable: false leaves the syncing out: after a power failure the file may be empty.
  ///   - permissions: of the file, less what the process's mask takes.
  /// - Throws: `RunError` (configuration) naming the file and the system's reason; `path` is then as it
  ///   was and the temporary file is gone.
  public static func write(
    to path: String, durable: Bool = true, permissions: mode_t = 0o644,
    _ body: (FileHandle) throws -> Void
  ) throws {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    let (descriptor, temporary) = try makeTemporary(for: path, in: folder, permissions)
    do {
      let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
      do {
        try body(handle)
        guard !durable || fsync(descriptor) == 0 else { throw failure(path) }
        // A network's file system may find only here that there is no room.
        try handle.close()
      } catch let error as RunError { throw error } catch {
        throw failure(path, reason: systemReason(of: error))
      }
      guard rename(temporary, path) == 0 else { throw failure(path) }
      if durable { try syncFolder(folder) }
    } catch {
      unlink(temporary)
      throw error
    }
  }

  public static func write(
    _ data: Data, to path: String, durable: Bool = true, permissions: mode_t = 0o644
  ) throws {
    try write(to: path, durable: durable, permissions: permissions) {
      try $0.write(contentsOf: data)
    }
  }

  /// A new file, open for writing: .NAME.NUMBER.partial
  private static func makeTemporary(
    for path: String, in folder: String, _ permissions: mode_t
  ) throws -> (descriptor: Int32, path: String) {
    let name = URL(fileURLWithPath: path).lastPathComponent
    while true {
      // Not the process's number: hosts that share the folder may have equal ones.
      let temporary = "\(folder)/.\(name).\(UInt32.random(in: 0 ... .max)).partial"
      let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, permissions)
      if descriptor >= 0 { return (descriptor, temporary) }
      guard errno == EEXIST else { throw failure(path) }
    }
  }

  /// Makes renames and new names in a folder durable.
  public static func syncFolder(_ folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure(folder) }
  }

  /// Removes the temporary files that killed writers have left in a folder, as far as that goes. Nobody
  /// may be writing there.
  public static func removeLeftovers(in folder: String) {
    let files = FileManager.default
    for name in (try? files.contentsOfDirectory(atPath: folder)) ?? [] {
      guard name.wholeMatch(of: /\..+\.[0-9]+\.partial/) != nil else { continue }
      // Leaves folders alone.
      unlink("\(folder)/\(name)")
    }
  }

  /// Why a file could not be written, and what to do.
  public static func failure(_ path: String, reason: String = systemErrorText()) -> RunError {
    .configuration(
      "\(path) could not be written: \(reason). Check the free space and the folder's permissions.")
  }
}
