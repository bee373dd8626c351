// Checkpoints: folders that are whole or not there.
import Diagnostics
import Foundation
import TensorFiles

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
  func save(step: Int, _ body: (String) throws -> Void) throws {
    let files = FileManager.default
    let name = String(format: "step-%08ld", step)
    let final = "\(folder)/\(name)"
    let partial = "\(folder)/\(name).partial"
    try attempt("made") {
      try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try finishReplacement()
      for stale in try files.contentsOfDirectory(atPath: folder)
      where stale.hasPrefix("step-") && stale.hasSuffix(".partial") {
        try files.removeItem(atPath: "\(folder)/\(stale)")
      }
      try files.createDirectory(atPath: partial, withIntermediateDirectories: true)
    }
    try body(partial)
    try Self.seal(partial)
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
      let older = names().filter { Self.step(of: $0) <= step }.dropLast(keep)
      for other in older { try files.removeItem(atPath: "\(folder)/\(other)") }
    }
    try removeAll(after: step)
  }

  /// Removes checkpoints of a course of the run that has been given up.
  func removeAll(after step: Int) throws {
    try attempt("removed") {
      for name in names() where Self.step(of: name) > step {
        try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
      }
    }
  }

  /// Brings back what a kill has left set aside, before anything is asked about the folder.
  func recover() throws { try attempt("brought back") { try finishReplacement() } }

  /// What a kill between two renames has left: a checkpoint set aside, whose successor has its name or,
  /// then it gets it back, has not.
  private func finishReplacement() throws {
    let files = FileManager.default
    let all = (try? files.contentsOfDirectory(atPath: folder)) ?? []
    for old in all where old.hasPrefix("step-") && old.hasSuffix(".old") {
      let name = String(old.dropLast(4))
      if all.contains(name) {
        try files.removeItem(atPath: "\(folder)/\(old)")
      } else {
        try files.moveItem(atPath: "\(folder)/\(old)", toPath: "\(folder)/\(name)")
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

  /// Names of finished checkpoints, oldest first.
  private func names() -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
      .filter { $0.hasPrefix("step-") && Int($0.dropFirst(5)) != nil }
      .sorted { Self.step(of: $0) < Self.step(of: $1) }
  }

  var isEmpty: Bool { names().isEmpty }

  /// Whether the checkpoint at `path` is one of this folder's, by whatever way the path goes.
  func contains(_ path: String) -> Bool {
    let parent = URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent()
    return parent == URL(fileURLWithPath: folder).resolvingSymlinksInPath()
  }

  private static func step(of name: String) -> Int { Int(name.dropFirst(5)) ?? 0 }

  /// Forgets all checkpoints, for a run that starts over; what else lies there is not ours.
  func removeAll() throws {
    let files = FileManager.default
    try attempt("removed") {
      for name in (try? files.contentsOfDirectory(atPath: folder)) ?? []
      where name.wholeMatch(of: /step-[0-9]+(\.partial|\.old)?/) != nil {
        try files.removeItem(atPath: "\(folder)/\(name)")
      }
    }
  }

  /// The newest checkpoint whose checksums hold, and notes about newer damaged ones.
  ///
  /// - Throws: `RunError` (checkpointDamaged) when there are some and none is whole.
  func newestWhole() throws -> (path: String?, notes: [String]) {
    try recover()
    var notes: [String] = []
    for name in names().reversed() {
      let path = "\(folder)/\(name)"
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
