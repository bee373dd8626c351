// Indices of big image folders, kept between runs and shared by the ranks of a host. A cache that
// cannot be read, written or trusted only costs the time to list the folder again.
import Diagnostics
import Files
import Foundation

/// Keeps indices in a folder of the user's, one file for each image folder.
struct IndexCache: Sendable {
  let folder: String
  /// Smaller ones are listed faster than they are worth keeping.
  let minimumCount: Int
  /// A folder changed this recently could change again within the clock tick of the file system and
  /// look the same, so its index is not kept.
  let quietSeconds: Double

  init(folder: String, minimumCount: Int = 10_000, quietSeconds: Double = 2) {
    self.folder = folder
    self.minimumCount = minimumCount
    self.quietSeconds = quietSeconds
  }

  /// `$XDG_CACHE_HOME/convnn`, else `~/.cache/convnn`; nil without a home.
  static var standard: IndexCache? {
    let environment = ProcessInfo.processInfo.environment
    if let path = environment["XDG_CACHE_HOME"], path.hasPrefix("/") {
      return IndexCache(folder: path + "/convnn")
    }
    guard let home = environment["HOME"], home.hasPrefix("/") else { return nil }
    return IndexCache(folder: home + "/.cache/convnn")
  }

  /// What a folder of class folders looks like from outside: adding, removing or renaming a file
  /// changes its folder's times, and the inode's change time cannot be set back.
  struct Fingerprint: Equatable {
    let value: UInt64
    /// Seconds since 1970 of the latest change.
    let latestChange: Double

    /// - Returns: nil when a folder cannot be looked at; listing it will tell why.
    init?(root: String, classNames: [String], present: [String]) {
      let hash = XXH3()
      var latest = 0.0
      for name in classNames { hash.add(name) }
      for path in [root] + present.map({ root + "/" + $0 }) {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        hash.add(path)
        hash.add(UInt64(information.st_ino))
        for time in [information.st_mtim, information.st_ctim] {
          hash.add(UInt64(bitPattern: Int64(time.tv_sec)))
          hash.add(UInt64(bitPattern: Int64(time.tv_nsec)))
          latest = max(latest, Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9)
        }
      }
      value = hash.value
      latestChange = latest
    }
  }

  /// The index of `root`, from the cache if it is there and nothing has changed, else from `list`.
  func index(
    root: String, classNames: [String], present: [String], list: () throws -> ImageIndex
  ) throws -> ImageIndex {
    let root = URL(fileURLWithPath: root).resolvingSymlinksInPath().path
    let path = file(root)
    func look() -> (Fingerprint?, ImageIndex?) {
      let found = Fingerprint(root: root, classNames: classNames, present: present)
      return (found, found.flatMap { read(path, $0, classCount: classNames.count) })
    }
    if let index = look().1 { return index }
    // One process lists, the others of this host wait for its result.
    let lock = try? FileLock(path + ".lock", seconds: 60)
    defer { lock?.release() }
    let (before, kept) = look()
    if let kept { return kept }
    let index = try list()
    let after = Fingerprint(root: root, classNames: classNames, present: present)
    if let before, before == after, index.count >= minimumCount,
      Date().timeIntervalSince1970 - before.latestChange > quietSeconds
    {
      write(index, before, to: path)
    }
    return index
  }

  /// Hosts that share a home may each have a folder of that name on a disk of their own.
  func file(_ root: String) -> String {
    let hash = XXH3()
    hash.add(root)
    var information = stat()
    if stat(root, &information) == 0 {
      hash.add(UInt64(information.st_dev))
      hash.add(UInt64(information.st_ino))
    }
    return folder + "/index-" + hash.hex
  }

  private static let magic = Data("convnn image index 2\n".utf8)

  private func read(_ path: String, _ fingerprint: Fingerprint, classCount: Int) -> ImageIndex? {
    let magic = IndexCache.magic
    guard let data = FileManager.default.contents(atPath: path), data.count >= magic.count + 16,
      data.prefix(magic.count) == magic
    else { return nil }
    func number(_ at: Int) -> UInt64 {
      data.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt64.self) }
    }
    let body = data[(magic.count + 16)...]
    guard number(magic.count) == fingerprint.value,
      number(magic.count + 8) == IndexCache.checksum(body)
    else { return nil }
    return ImageIndex(encoded: Data(body), classCount: classCount)
  }

  private static func checksum(_ data: Data) -> UInt64 {
    data.withUnsafeBytes { XXH3.value(of: $0) }
  }

  /// All or nothing, and no error.
  private func write(_ index: ImageIndex, _ fingerprint: Fingerprint, to path: String) {
    let body = index.encoded
    var data = IndexCache.magic
    for number in [fingerprint.value, IndexCache.checksum(body)] {
      withUnsafeBytes(of: number) { data.append(contentsOf: $0) }
    }
    data.append(body)
    // The names of a user's images are nobody else's business.
    try? AtomicFile.write(data, to: path, permissions: 0o600)
  }
}
