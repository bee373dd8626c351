// Checkpoints: folders that are whole or not there.
import Diagnostics
import Files
import Foundation

/// The folder `checkpoints` of a run, with one folder `step-00001234` per checkpoint. While one is
/// written it is `step-….partial`; one that is being replaced is `step-….old` until its successor has
/// the name.
public struct CheckpointFolder {
  let folder: String
  /// How many are kept.
  let keep: Int

  private struct Manifest: Codable {
    /// XXH64 of every other file, by name.
    var files: [String: String]
  }

  /// Writes checkpoint `step`: the files that `body` puts under the folder it is given, then their
  /// checksums. The folder gets its name when all of it is on disk; then older ones beyond `keep` go,
  /// and those of later steps, which belong to a course of the run that has been given up.
  ///
  /// - Throws: what `body` throws, or `RunError` (configuration); older checkpoints are as they were.
  func save(step: Int, _ body: (String) throws -> Void) throws {
    let files = FileManager.default
    let name = String(format: "step-%08ld", step)
    let final = "\(folder)/\(name)"
    let partial = "\(folder)/\(name).partial"
    try attempt("made") {
      try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try finishReplacement()
      try remove(entries(".partial"))
      try files.createDirectory(atPath: partial, withIntermediateDirectories: true)
    }
    do {
      try body(partial)
      try Self.seal(partial)
    } catch {
      // It may have filled the disk.
      try? files.removeItem(atPath: partial)
      throw error
    }
    // A damaged checkpoint of the same step may be in the way.
    if files.fileExists(atPath: final) {
      try attempt("replaced") { try files.moveItem(atPath: final, toPath: final + ".old") }
    }
    try attempt("named") { try files.moveItem(atPath: partial, toPath: final) }
    try AtomicFile.syncFolder(folder)
    // The name `checkpoints` itself, which may be new, and that of the folder it lies in.
    let output = URL(fileURLWithPath: folder).deletingLastPathComponent()
    try AtomicFile.syncFolder(output.path)
    // Whoever may not read its parent has not made it.
    try? AtomicFile.syncFolder(output.deletingLastPathComponent().path)
    try attempt("tidied") {
      if files.fileExists(atPath: final + ".old") { try files.removeItem(atPath: final + ".old") }
      try remove(entries("").filter { $0.step <= step }.dropLast(keep))
    }
    try removeAll(after: step)
  }

  /// Removes checkpoints of a course of the run that has been given up.
  func removeAll(after step: Int) throws {
    try attempt("removed") { try remove(entries("").filter { $0.step > step }) }
  }

  /// Brings back what a kill has left set aside, before anything is asked about the folder.
  func recover() throws { try attempt("brought back") { try finishReplacement() } }

  /// What a kill between two renames has left: a checkpoint set aside, whose successor has its name or,
  /// then it gets it back, has not.
  private func finishReplacement() throws {
    let files = FileManager.default
    for old in entries(".old") {
      let name = String(old.name.dropLast(old.suffix.count))
      if files.fileExists(atPath: "\(folder)/\(name)") {
        try remove([old])
      } else {
        try files.moveItem(atPath: "\(folder)/\(old.name)", toPath: "\(folder)/\(name)")
      }
    }
  }

  /// Writes the checksums of a checkpoint's files.
  static func seal(_ path: String) throws {
    var sums: [String: String] = [:]
    for file in try FileManager.default.contentsOfDirectory(atPath: path)
    where file != manifestName {
      sums[file] = try Checksum.hex(ofFile: "\(path)/\(file)")
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    try AtomicFile.write(encoder.encode(Manifest(files: sums)), to: "\(path)/\(manifestName)")
  }

  private static let manifestName = "manifest.json"

  private func attempt(_ action: String, _ body: () throws -> Void) throws {
    do { try body() } catch let error as RunError { throw error } catch {
      throw RunError.configuration(
        "A checkpoint in \(folder) could not be \(action): \(systemReason(of: error)).\n"
          + "Look at the folder's permissions and the space left on its disk.")
    }
  }

  private struct Entry {
    let name: String
    let step: Int
    let suffix: String
  }

  /// What there is with one of these suffixes, oldest step first; finished checkpoints have the suffix "". What has
  /// another name is not ours.
  private func entries(_ suffixes: String...) -> [Entry] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.compactMap { name in
      guard let parts = name.wholeMatch(of: /step-([0-9]+)(\.partial|\.old|)/)?.output,
        let step = Int(parts.1), suffixes.contains(String(parts.2))
      else { return nil }
      return Entry(name: name, step: step, suffix: String(parts.2))
    }.sorted { $0.step < $1.step }
  }

  private func remove(_ entries: some Sequence<Entry>) throws {
    for entry in entries { try FileManager.default.removeItem(atPath: "\(folder)/\(entry.name)") }
  }

  /// The newest checkpoint whose checksums hold, as the folder is; nothing is brought back.
  var newestUndamaged: String? {
    entries("").reversed().map { "\(folder)/\($0.name)" }.first { Self.damage($0) == nil }
  }

  var isEmpty: Bool { entries("").isEmpty }

  /// Whether the checkpoint at `path` is one of this folder's, by whatever way the path goes.
  func contains(_ path: String) -> Bool {
    let parent = URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent()
    return parent == URL(fileURLWithPath: folder).resolvingSymlinksInPath()
  }

  /// Forgets all checkpoints, for a run that starts over.
  func removeAll() throws {
    try attempt("removed") { try remove(entries("", ".partial", ".old")) }
  }

  /// The newest checkpoint whose checksums hold, and notes about newer damaged ones.
  ///
  /// - Throws: `RunError` (checkpointDamaged) when there are some and none is whole.
  func newestWhole() throws -> (path: String?, notes: [String]) {
    try recover()
    var notes: [String] = []
    for entry in entries("").reversed() {
      let path = "\(folder)/\(entry.name)"
      guard let reason = Self.damage(path) else { return (path, notes) }
      notes.append("Checkpoint \(path) is damaged and passed over: \(reason).")
    }
    if notes.isEmpty { return (nil, []) }
    throw RunError(
      .checkpointDamaged,
      "No checkpoint in \(folder) is whole, the newest of \(notes.count):\n\(notes[0])\n"
        + "Bring one back from a copy, or start over with --resume never.")
  }

  /// What is wrong with a checkpoint, or nil.
  static func damage(_ path: String) -> String? {
    guard let data = FileManager.default.contents(atPath: "\(path)/\(manifestName)"),
      let manifest = try? JSONDecoder().decode(Manifest.self, from: data)
    else { return "manifest.json is missing or damaged" }
    for (file, sum) in manifest.files.sorted(by: { $0.key < $1.key }) {
      guard let found = try? Checksum.hex(ofFile: "\(path)/\(file)") else {
        return "\(file) is missing"
      }
      if found != sum { return "\(file) has checksum \(found), expected \(sum)" }
    }
    return nil
  }
}
