// `verify`: a line for every file, whatever some of them are.
import Foundation
import TestSupport
import Testing

@Suite("Verification") struct VerifyTests {
  @Test("a file that is no golden file fails, and the others are compared all the same")
  func unreadable() throws {
    let folder = try TemporaryFolder()
    let layers = goldenFolder.appendingPathComponent("layers").path
    let names = try FileManager.default.contentsOfDirectory(atPath: layers)
      .filter { $0.hasSuffix(".safetensors") }.sorted()
    let good = ["\(layers)/\(names[0])", "\(layers)/\(names[1])"]
    let bad = try folder.write("bad", [1, 2, 3])
    let result = try Program.run(["verify", good[0], bad, folder.path + "/none", good[1]])
    #expect(result.code == 1)
    let lines = result.output.split(separator: "\n").map(String.init)
    #expect(lines.filter { $0.hasPrefix("PASS") }.count == 2, "\(result.output)")
    for file in [bad, folder.path + "/none"] {
      #expect(lines.contains { $0.hasPrefix("FAIL") && $0.contains(file) }, "\(result.output)")
    }
    #expect(lines.last == "2 passed, 2 failed")
    #expect(try Program.run(["verify"] + good).code == 0)
  }
}
