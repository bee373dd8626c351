// The command line: the launcher's options, the program's flags, and words as a shell has them.
import Conventions
import Diagnostics
import Foundation
import Testing

@testable import Launcher

@Suite("Words") struct WordTests {
  @Test("options are taken out, in any spelling; the rest stays as it is") func options() throws {
    let options = try RunOptions([
      "-np=3", "--max-restarts", "2", "--mpi_args", "-x A='b  c' \"\" d\\ e", "train",
      "--lr=-1", "--dry-run", "train", "--output_dir", "a b",
    ])
    #expect(options.ranks == 3 && options.maxRestarts == 2 && options.isDryRun)
    #expect(options.mpiArguments == ["-x", "A=b  c", "", "d e"])
    #expect(options.command == "train")
    #expect(options.flags == ["--lr=-1", "train", "--output_dir", "a b"])
    #expect(try RunOptions(["--layer", "train"]).command == nil)
    for (words, code) in [
      (["-np"], ExitCode.usage), (["-np", "x"], .usage), (["-np", "0"], .configuration),
      (["--mpi_args", "'a"], .usage), (["--stall_timeout", "0e5"], .configuration),
    ] {
      let error = #expect(throws: RunError.self) { try RunOptions(words) }
      #expect(error?.code == code, "\(words)")
    }
  }

  @Test("the last value of a flag counts, in either spelling") func flags() {
    func flags(_ command: String, _ words: String) -> ProgramFlags {
      ProgramFlags(command: command, words: words.split(separator: " ").map(String.init))
    }
    #expect(flags("train", "").batchSize == 256 && flags("bench", "").batchSize == 64)
    #expect(flags("train", "--batch-size=1 --batch_size 127").batchSize == 127)
    #expect(flags("train", "--batch_size +032").batchSize == 32)
    #expect(flags("train", "--shards 32 --shards auto --batch_size 16").shards == 2)
    #expect(flags("train", "--shards=32").shards == 32)
    #expect(flags("evaluate", "").shards == nil && flags("train", "--test-only").shards == nil)
    #expect(flags("train", "--layer KvtAttention").outputFolder == "./Output/KvtAttention-cifar10")
    #expect(flags("train", "--output_dir=-x").outputFolder == "-x")
  }

  @Test("a shell reads quoted words back") func quotedWords() throws {
    var random = SystemRandomNumberGenerator()
    let characters = Array("ab =,'\"\\$`!*?[]{}()<>|&;#~^\t\nü😀-")
    var words = ["", "#a", "~", "a\nb'c\\", "\u{1}\u{7f}x"]
    for _ in 0..<100 {
      let length = Int.random(in: 0...6, using: &random)
      words.append(String((0..<length).map { _ in characters.randomElement(using: &random)! }))
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = ["-c", "printf '%s\\0' " + ShellWords.quoted(words)]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    #expect(
      data.split(separator: 0, omittingEmptySubsequences: false).dropLast()
        .map { String(decoding: $0, as: UTF8.self) } == words)
  }

  @Test("the line by which a run begins") func beginning() {
    for line in ["Attention, 5 parameters; shapes", "x, y parameters; Attention, 12 parameters; z"]
    {
      #expect(RunConventions.isBeginning(line), "\(line)")
    }
    for line in [
      "Attention, parameters; x", "Attention,  parameters; x", "5 parameters; x",
      "Attention, 5 parameters", "",
    ] {
      #expect(!RunConventions.isBeginning(line), "\(line)")
    }
  }
}
