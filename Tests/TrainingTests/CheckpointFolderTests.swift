// Nothing is lost by a kill at any instant: every state that a save passes through, made by hand.
import Diagnostics
import Foundation
import TestSupport
import Testing

@testable import Training

@Suite("Checkpoint folder") struct CheckpointFolderTests {
  private struct Killed: Error {}

  private let temporary: TemporaryFolder
  private let path: String
  private let files = FileManager.default

  init() throws {
    temporary = try TemporaryFolder()
    path = temporary.path + "/checkpoints"
  }

  private func folder(keep: Int = 2) -> CheckpointFolder {
    CheckpointFolder(folder: path, keep: keep)
  }

  private func save(_ step: Int, _ word: String = "", keep: Int = 2) throws {
    try folder(keep: keep).save(step: step) { folder in
      try Data("weights \(step) \(word)".utf8).write(to: URL(fileURLWithPath: folder + "/weights"))
      try Data("state \(step)".utf8).write(to: URL(fileURLWithPath: folder + "/state"))
    }
  }

  private var names: [String] {
    ((try? files.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }

  private func newest() throws -> String? {
    guard let found = try folder().newestWhole().path else { return nil }
    return String(decoding: files.contents(atPath: found + "/weights") ?? Data(), as: UTF8.self)
  }

  private func move(_ from: String, _ to: String) throws {
    try files.moveItem(atPath: "\(path)/\(from)", toPath: "\(path)/\(to)")
  }

  private func damage(_ name: String) throws {
    try Data("weights x".utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)/weights"))
  }

  @Test("the newest is found, the oldest go") func rotation() throws {
    #expect(try newest() == nil)
    for step in [2, 10, 9_999_999, 100_000_000] {
      try save(step)
      #expect(try newest() == "weights \(step) ")
    }
    #expect(names == ["step-09999999", "step-100000000"])
  }

  @Test("a save that fails leaves what was there") func failure() throws {
    try save(1)
    #expect(throws: Killed.self) {
      try folder().save(step: 2) { folder in
        try Data("half".utf8).write(to: URL(fileURLWithPath: folder + "/weights"))
        throw Killed()
      }
    }
    #expect(try newest() == "weights 1 ")
    // The next save tidies up.
    try save(3)
    #expect(names == ["step-00000001", "step-00000003"])
  }

  @Test("killed while the files are written") func partial() throws {
    try save(1)
    try save(2)
    try move("step-00000002", "step-00000002.partial")
    try files.removeItem(atPath: "\(path)/step-00000002.partial/manifest.json")
    #expect(try newest() == "weights 1 ")
    try save(2, "again")
    #expect(try newest() == "weights 2 again")
    #expect(names == ["step-00000001", "step-00000002"])
  }

  @Test("killed before the first checkpoint had its name") func firstPartial() throws {
    try save(1)
    try move("step-00000001", "step-00000001.partial")
    #expect(try newest() == nil)
    try save(1)
    #expect(names == ["step-00000001"])
  }

  @Test("killed between the two renames of a replacement") func betweenRenames() throws {
    try save(5, "old")
    try move("step-00000005", "step-00000005.old")
    try files.createDirectory(
      atPath: "\(path)/step-00000005.partial", withIntermediateDirectories: true)
    // The only checkpoint there is.
    #expect(try newest() == "weights 5 old")
    #expect(names.contains("step-00000005"))
    try save(6)
    #expect(names == ["step-00000005", "step-00000006"])
  }

  @Test("the same, and the next thing to happen is a save") func betweenRenamesThenSave() throws {
    try save(5, "old")
    try move("step-00000005", "step-00000005.old")
    #expect(throws: Killed.self) { try folder().save(step: 6) { _ in throw Killed() } }
    #expect(try newest() == "weights 5 old")
  }

  @Test("killed after both renames, before the old one went") func afterRenames() throws {
    try save(5, "new")
    let old = "\(path)/step-00000005.old"
    try files.copyItem(atPath: "\(path)/step-00000005", toPath: old)
    try Data("weights 5 old".utf8).write(to: URL(fileURLWithPath: old + "/weights"))
    #expect(try newest() == "weights 5 new")
    #expect(!names.contains("step-00000005.old"))
  }

  @Test("damage is noticed, named and passed over") func damaged() throws {
    try save(1)
    try save(2)
    try damage("step-00000002")
    let found = try folder().newestWhole()
    #expect(found.path == path + "/step-00000001")
    #expect(found.notes.count == 1 && found.notes[0].contains("step-00000002"))
    #expect(found.notes[0].contains("weights has checksum"))
    try files.removeItem(atPath: "\(path)/step-00000001/state")
    let error = #expect(throws: RunError.self) { try folder().newestWhole() }
    #expect(error?.code == .checkpointDamaged)
    #expect(CheckpointFolder.damage("\(path)/step-00000001") == "state is missing")
    try files.removeItem(atPath: "\(path)/step-00000001/manifest.json")
    #expect(CheckpointFolder.damage("\(path)/step-00000001")?.contains("manifest.json") == true)
  }

  @Test("a damaged one of the same step is replaced") func replaced() throws {
    try save(1)
    try save(2)
    try damage("step-00000002")
    try save(2, "again")
    #expect(try newest() == "weights 2 again")
    #expect(names == ["step-00000001", "step-00000002"])
  }

  @Test("a damaged newer one does not crowd out what is saved now", arguments: [1, 2])
  func crowdedOut(keep: Int) throws {
    try save(90)
    try save(100)
    try damage("step-00000100")
    try save(95, keep: keep)
    #expect(try newest() == "weights 95 ")
    #expect(names == (keep == 1 ? ["step-00000095"] : ["step-00000090", "step-00000095"]))
  }

  @Test("starting over forgets them all") func removeAll() throws {
    try folder().removeAll()
    try save(1)
    try folder().removeAll()
    #expect(try newest() == nil)
  }

  @Test("a folder that cannot be made is named") func unwritable() throws {
    try temporary.write("checkpoints", Array("a file is in the way".utf8))
    let error = #expect(throws: RunError.self) { try save(1) }
    #expect(error?.code == .configuration)
    #expect(error?.message.contains(path) == true)
  }
}
