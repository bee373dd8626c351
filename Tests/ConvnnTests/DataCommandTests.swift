// `convnn data` and `convnn fuzz` as a user starts them.
import Foundation
import TestSupport
import Testing

@Suite("Data command", .serialized) struct DataCommandTests {
  let folder: TemporaryFolder
  let server: FileServer
  let md5: String
  let size: Int

  /// The golden records as an archive like the official one.
  init() throws {
    folder = try TemporaryFolder()
    let archive = folder.path + "/archive.tar.gz"
    try Self.tool("tar", "-czf", archive, "-C", goldenFolder.path, "cifar-10-batches-bin")
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: archive)))
    size = bytes.count
    server = try FileServer(content: bytes)
    md5 = String(try Self.tool("md5sum", archive).prefix(32))
  }

  @discardableResult
  static func tool(_ words: String...) throws -> String {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = words
    process.standardOutput = output
    try process.run()
    let text = String(
      decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return text
  }

  var command: [String] {
    ["data", "cifar10", "--data_path", folder.path + "/d", "--url", server.address, "--md5", md5]
  }

  @Test("what it fetched can be trained on") func train() throws {
    let result = try Program.run(command)
    #expect(result.code == 0, "\(result.errors)")
    let run = try Program.run([
      "--dataset", "cifar10", "--data_path", folder.path + "/d", "--resize", "16", "--patch_size",
      "8", "--num_layers", "1", "--d_hidden", "24", "--d_mlp", "24", "--batch_size", "20",
      "--max_steps", "1", "--output_dir", folder.path + "/run",
    ])
    #expect(run.code == 0, "\(run.errors)")
  }

  @Test("killed in the middle, it goes on from there") func killed() throws {
    server.set { $0.hangsAfter = 100_000 }
    let running = try Program.start(command)
    let partial = folder.path + "/d/.cifar10-\(md5).partial"
    func partialSize() -> Int {
      (try? FileManager.default.attributesOfItem(atPath: partial))?[.size] as? Int ?? 0
    }
    while partialSize() < 100_000, running.process.isRunning { usleep(10_000) }
    kill(running.process.processIdentifier, SIGKILL)
    _ = running.finish()
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/d/cifar-10-batches-bin"))
    server.set()
    let result = try Program.run(command)
    #expect(result.code == 0, "\(result.errors)")
    #expect(server.offsets == [0, 100_000])
    let golden = goldenFolder.path + "/cifar-10-batches-bin/data_batch_5.bin"
    let fetched = folder.path + "/d/cifar-10-batches-bin/data_batch_5.bin"
    #expect(FileManager.default.contentsEqual(atPath: golden, andPath: fetched))
  }

  @Test("mistakes have their codes") func mistakes() throws {
    let unknown = try Program.run(["data", "mnist"])
    #expect(unknown.code == 2 && unknown.errors.contains("cifar100"))
    #expect(try Program.run(["data", "cifar10", "--md5", "123"]).code == 2)
    server.set { $0.status = 404 }
    let missing = try Program.run(command)
    #expect(missing.code == 11 && missing.errors.contains(server.address), "\(missing.errors)")
  }

  @Test("fuzz runs so many inputs and says so") func fuzz() throws {
    let result = try Program.run(["fuzz", "cifar", "--runs", "500", "--seed", "3"])
    #expect(result.code == 0 && result.output.contains("no finding"), "\(result.errors)")
    #expect(try Program.run(["fuzz", "toast"]).code == 2)
  }
}
