// Fetching a CIFAR data set: resumable, checked, and there as a whole or not at all.
import Diagnostics
import Foundation

/// The official archive of a data set in its binary form.
public struct DatasetArchive: Sendable {
  public var address: String
  public var md5: String

  public init(address: String, md5: String) {
    self.address = address
    self.md5 = md5.lowercased()
  }

  /// As https://www.cs.toronto.edu/~kriz/cifar.html gives them.
  public static func official(_ variant: CIFARVariant) -> DatasetArchive {
    let site = "https://www.cs.toronto.edu/~kriz"
    switch variant {
    case .cifar10:
      return DatasetArchive(
        address: site + "/cifar-10-binary.tar.gz", md5: "c32a1d4ab5d03f1284b67883e8d87530")
    case .cifar100:
      return DatasetArchive(
        address: site + "/cifar-100-binary.tar.gz", md5: "03b5dce01913d631647c71ecec9e9cb8")
    }
  }
}

/// One download into the folder `path`. What has come of the archive stays in a hidden file there, so
/// the same command goes on after an interruption; the data set's own folder gets its name last.
public struct DatasetDownload {
  let variant: CIFARVariant
  let archive: DatasetArchive
  let path: String
  let say: (String) -> Void

  /// - Parameter say: gets lines for the user.
  public init(
    _ variant: CIFARVariant, archive: DatasetArchive, path: String, say: @escaping (String) -> Void
  ) {
    self.variant = variant
    self.archive = archive
    self.path = path
    self.say = say
  }

  private var target: String { path + "/" + variant.binaryFolder }
  private var partial: String { "\(path)/.\(variant.rawValue)-\(archive.md5).partial" }
  private var staging: String { "\(path)/.\(variant.rawValue).unpacking" }
  private var old: String { "\(path)/.\(variant.rawValue).old" }

  /// - Throws: `RunError` (data) naming the address and what to do next.
  public func run() throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch { throw failure("\(path) cannot be made: \(systemReason(of: error))") }
    guard let lock = try? FileLock("\(path)/.\(variant.rawValue).lock", seconds: 0) else {
      throw failure("\(path) is not writable, or another download into it is under way")
    }
    defer { lock.release() }
    if isComplete(path) {
      say("\(target) is there already, complete.")
      return
    }
    try fetch()
    try unpack()
    say(
      "\(target) is complete. Train with: ./launch --dataset \(variant.rawValue) --data_path \(path)"
    )
  }

  private func failure(_ reason: String, next: String? = nil) -> RunError {
    .data(
      """
      \(variant.rawValue) could not be fetched: \(reason).
      Address: \(archive.address)
      \(next ?? "Run the same command again: it goes on where it stopped.")
      """)
  }

  /// Whether the folder `folder` holds the whole data set.
  private func isComplete(_ folder: String) -> Bool {
    guard isFolder(folder + "/" + variant.binaryFolder),
      let train = try? CIFARDataset(variant, split: .train, path: folder),
      let test = try? CIFARDataset(variant, split: .test, path: folder)
    else { return false }
    // The official archives are known to be this large; others may be smaller.
    return archive.md5 != DatasetArchive.official(variant).md5
      || (train.count == 50_000 && test.count == 10_000)
  }

  // ---- the archive ---------------------------------------------------------------------------

  private func size(_ file: String) -> Int {
    var information = stat()
    return stat(file, &information) == 0 ? Int(information.st_size) : 0
  }

  private func fetch() throws {
    // Parts of an archive with another checksum are of no use any more.
    let prefix = ".\(variant.rawValue)-"
    for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    where name.hasPrefix(prefix) && name.hasSuffix(".partial") && path + "/" + name != partial {
      unlink(path + "/" + name)
    }
    var failuresInARow = 0
    while true {
      let before = size(partial)
      if before > 0 {
        if MD5.text(ofFile: partial) == archive.md5 { return }
        say("Going on after \(before) bytes: \(archive.address)")
      } else {
        say("Fetching \(archive.address)")
      }
      let result = try curl(from: before)
      if result.code == 0 {
        let found = MD5.text(ofFile: partial) ?? "nothing"
        if found == archive.md5 { return }
        unlink(partial)
        // What was there before may have been of another archive, or damaged.
        if before > 0 {
          say("The checksum is \(found), expected \(archive.md5): starting over.")
          continue
        }
        throw failure(
          "MD5 checksum \(found), expected \(archive.md5)",
          next:
            "The file there is damaged or another one: try again later, or name a copy by --url.")
      }
      if before > 0, result.code == 33 || result.code == 36 || result.message.contains("416") {
        // The server cannot go on in the middle, or the part is longer than the whole.
        say("The server does not go on in the middle: starting over.")
        unlink(partial)
        continue
      }
      failuresInARow = size(partial) > before ? 0 : failuresInARow + 1
      let isFinal = result.code == 3 || result.code == 6 || result.code == 22
      if isFinal || failuresInARow > 2 {
        throw failure(
          result.message,
          next: "Check the network or give another address by --url, then run it again.")
      }
      say("Interrupted: \(result.message)")
    }
  }

  /// curl's output goes through this process, so that nobody writes when this process is gone.
  private func curl(from offset: Int) throws -> (code: Int32, message: String) {
    let descriptor = open(partial, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0o644)
    guard descriptor >= 0 else { throw failure("\(partial): \(systemErrorText())") }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments =
      ["curl", "--fail", "--location", "--silent", "--show-error", "--no-buffer"]
      + ["--connect-timeout", "30", "--speed-limit", "100", "--speed-time", "60"]
      + (offset > 0 ? ["--continue-at", "\(offset)"] : []) + ["--", archive.address]
    let output = Pipe()
    let errors = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = errors
    do { try process.run() } catch { throw failure("curl cannot be started: \(error)") }
    var progress = Progress(say: say, done: offset)
    do {
      try forEachPiece(of: output.fileHandleForReading) { piece in
        try file.write(contentsOf: piece)
        progress.add(piece.count)
      }
    } catch {
      process.terminate()
      throw failure("\(partial) cannot be written: \(systemReason(of: error))")
    }
    let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus != 127 else {
      throw failure("there is no curl on this system", next: "./launch setup installs it.")
    }
    let message = text.split(separator: "\n").last.map(String.init) ?? "no message from curl"
    return (process.terminationStatus, message.trimmingCharacters(in: .whitespaces))
  }

  /// Bytes as they come: `FileHandle.read(upToCount:)` would wait until its buffer is full, and lose
  /// what it holds to a kill.
  private func forEachPiece(of pipe: FileHandle, _ body: (Data) throws -> Void) throws {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(pipe.fileDescriptor, &buffer, buffer.count)
      if count > 0 {
        try body(Data(buffer[..<count]))
      } else if count == 0 {
        return
      } else if errno != EINTR {
        throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
      }
    }
  }

  /// A line every few seconds.
  private struct Progress {
    let say: (String) -> Void
    var done: Int
    var sinceLast = Stopwatch()

    mutating func add(_ count: Int) {
      done += count
      guard sinceLast.seconds > 5 else { return }
      sinceLast.restart()
      say(String(format: "%.1f MB", Double(done) * 1e-6))
    }
  }

  // ---- the data set --------------------------------------------------------------------------

  /// Puts a file or folder on the disk, so that a name never leads to less than the whole.
  private func flush(_ path: String) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  private func unpack() throws {
    let files = FileManager.default
    for leftOver in [staging, old] where files.fileExists(atPath: leftOver) {
      try? files.removeItem(atPath: leftOver)
    }
    do {
      try files.createDirectory(atPath: staging, withIntermediateDirectories: false)
    } catch { throw failure("\(staging) cannot be made: \(systemReason(of: error))") }
    defer { try? files.removeItem(atPath: staging) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["tar", "-xzf", partial, "-C", staging, "--no-same-owner"]
    let errors = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardError = errors
    do { try process.run() } catch { throw failure("tar cannot be started: \(error)") }
    let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw failure("tar: \(text.split(separator: "\n").first.map(String.init) ?? "failed")")
    }
    guard isComplete(staging) else {
      throw failure(
        "the archive does not hold \(variant.binaryFolder) with all its files",
        next: "Give the address of the binary version's archive by --url.")
    }
    for name in try files.subpathsOfDirectory(atPath: staging) { flush(staging + "/" + name) }
    // A damaged data set may be in the way.
    if isFolder(target), rename(target, old) != 0 {
      throw failure("\(target) cannot be replaced: \(systemErrorText())")
    }
    guard rename(staging + "/" + variant.binaryFolder, target) == 0 else {
      throw failure("\(target) cannot be made: \(systemErrorText())")
    }
    flush(path)
    try? files.removeItem(atPath: old)
    unlink(partial)
  }
}
