import Diagnostics
import Foundation
import TensorFiles
import Tensors
import TestSupport
import Testing

@testable import Models

@Suite("Golden file runner") struct LayerFileTests {
  private func golden(_ name: String = "layers/neighborhood_k3_d1.safetensors") throws -> LayerFile
  {
    try LayerFile(path: goldenFolder.appendingPathComponent(name).path)
  }

  private func config(_ extra: String = "") -> String {
    """
    {"layer": "SparseAttention", "seq_length": 17, "batch": 2, "d_hidden": 24, "num_heads": 3\(extra)}
    """
  }

  /// The message of the error that `body` throws, which must be about data.
  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "(nothing thrown)"
    } catch let error as RunError {
      #expect(error.code == .data)
      return error.message
    } catch {
      return "(another error: \(error))"
    }
  }

  @Test(
    "one changed golden value fails, and is named",
    arguments: ["output", "grad_input", "grad.qkv.weight", "grad.proj.weight", "grad.proj.bias"])
  func change(tensor: String) throws {
    var file = try golden()
    #expect(try file.compare(makeLayer: goldenLayer).passes(tolerance: 1e-4))
    let last = file.tensors[tensor]!.values.count - 1
    let norm = file.tensors[tensor]!.values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    file.tensors[tensor]!.values[last] += 0.01 * norm
    let comparison = try file.compare(makeLayer: goldenLayer)
    #expect(!comparison.passes(tolerance: 1e-4))
    #expect(comparison.worst.tensor == tensor)
    // The change itself over the norm of the changed tensor.
    #expect(abs(comparison.worst.error - 0.01) < 2e-4)
  }

  @Test("a value that is not a number fails")
  func notANumber() throws {
    var file = try golden()
    file.tensors["output"]!.values[3] = .nan
    let comparison = try file.compare(makeLayer: goldenLayer)
    #expect(comparison.worst.tensor == "output")
    #expect(!comparison.passes(tolerance: 1e9))
    #expect(!comparison.passes(tolerance: .infinity))
  }

  @Test("a result that the layer leaves out fails")
  func leftOut() throws {
    final class Idle: AttentionLayer {
      let parameters = [ParameterSpec.linear("qkv.weight", outputs: 72, inputs: 24)]
      let needsAllTokens = false
      func operations(outputTokens: Int) -> Int { 0 }
      func forward(_ pass: LayerPass, input: Rows, output: Rows) {}
      func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {}
    }
    var file = try golden()
    for name in ["proj.weight", "proj.bias"] {
      file.tensors["param.\(name)"] = nil
      file.tensors["grad.\(name)"] = nil
    }
    let comparison = try file.compare { _ in Idle() }
    #expect(comparison.entries.count == 3)
    #expect(comparison.entries.allSatisfy { $0.error.isNaN })
  }

  @Test(
    "a missing or misshapen tensor is named",
    arguments: [
      "input", "grad_output", "output", "grad_input", "param.proj.weight", "grad.qkv.weight",
    ])
  func damaged(tensor: String) throws {
    var missing = try golden()
    missing.tensors[tensor] = nil
    let first = message { _ = try missing.compare(makeLayer: goldenLayer) }
    #expect(first.contains("neighborhood_k3_d1") && first.contains("\(tensor) is missing"))
    var wrong = try golden()
    wrong.tensors[tensor]!.shape.append(1)
    let second = message { _ = try wrong.compare(makeLayer: goldenLayer) }
    #expect(second.contains("\(tensor) has shape") && second.contains("expected ["))
  }

  @Test("a parameter that the layer does not have is named")
  func unknown() throws {
    var file = try golden()
    file.tensors["param.extra.weight"] = LayerTensor(shape: [1], values: [1])
    let text = message { _ = try file.compare(makeLayer: goldenLayer) }
    #expect(text.contains("param.extra.weight"))
  }

  @Test("semantics choose the behaviour")
  func semantics() throws {
    func configuration(_ text: String) throws -> ModelConfiguration {
      try LayerFile(path: "x", config: text, tensors: [:]).configuration
    }
    let documented = try configuration(config(", \"semantics\": \"documented\""))
    #expect(!documented.referenceQuirks)
    #expect(documented.convnnHeads == 1)
    let reference = try configuration(config())
    #expect(reference.referenceQuirks)
    #expect(reference.convnnHeads == 3)
    #expect(try configuration(config(", \"convnn_heads\": 1")).convnnHeads == 1)
    for one in [documented, reference] {
      #expect(one.layer == .sparseAttention && one.width == 24 && one.tokens == 17)
      #expect(one.dropout == 0 && one.attentionDropout == 0)
    }
    #expect(try configuration(config(", \"spatial_layout\": \"-\"")).spatialLayout == .grid)
    #expect(try configuration(config(", \"spatial_layout\": \"linear\"")).spatialLayout == .linear)
  }

  @Test(
    "a malformed config is refused",
    arguments: [
      ("no JSON", "no JSON object"), ("[1]", "no JSON object"),
      (#"{"layer": "SparseAttention", "batch": 2, "d_hidden": 24}"#, "seq_length"),
      (#"{"layer": "SparseAttention", "seq_length": 0, "batch": 2, "d_hidden": 4}"#, "seq_length"),
      (#"{"layer": "SparseAttention", "seq_length": 4, "d_hidden": 24}"#, "batch"),
      (#"{"layer": "SparseAttention", "seq_length": 4, "batch": 2}"#, "d_hidden"),
      (#"{"seq_length": 4, "batch": 2, "d_hidden": 24}"#, "layer"),
      (#"{"layer": "Unheard", "seq_length": 4, "batch": 2, "d_hidden": 24}"#, "Unheard"),
      (#"{"layer": "KvtAttention", "K": "x", "seq_length": 4, "batch": 2, "d_hidden": 24}"#, "K"),
    ])
  func malformed(text: String, expected: String) {
    let words = message { _ = try LayerFile(path: "some.file", config: text, tensors: [:]) }
    #expect(words.contains("some.file") && words.contains(expected), "\(words)")
  }

  @Test("a file that is no golden file, or no whole one, is refused")
  func damagedFile() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/x.safetensors"
    #expect(message { _ = try LayerFile(path: path) }.contains("\(path) could not be read"))
    try writeSafetensors(to: path, metadata: ["format": "pt"], tensors: [])
    #expect(message { _ = try LayerFile(path: path) }.contains("\(path): no metadata `config`"))
    let whole = try Data(
      contentsOf: goldenFolder.appendingPathComponent("layers/neighborhood_k3_d1.safetensors"))
    try whole.dropLast().write(to: URL(fileURLWithPath: path))
    let words = message { _ = try LayerFile(path: path) }
    #expect(words.contains("\(path) is no whole safetensors file"))
  }

  @Test("candidates are whole numbers of tokens")
  func candidates() throws {
    func indices(_ values: [Float]) throws -> [Int32]? {
      let tensor = LayerTensor(shape: [values.count], values: values)
      return try LayerFile(path: "x", config: config(), tensors: ["sample_index": tensor])
        .candidates
    }
    #expect(try indices([0, 16, 3]) == [0, 16, 3])
    for bad: Float in [-1, 17, 0.5, .nan] {
      #expect(message { _ = try indices([1, bad]) }.contains("sample_index"))
    }
    #expect(try LayerFile(path: "x", config: config(), tensors: [:]).candidates == nil)
  }

  @Test("given candidates are distinct, and enough for K", arguments: [false, true])
  func tooFewCandidates(quirks: Bool) {
    func refusal(_ neighbours: Int, _ indices: [Float]) -> String {
      message {
        let semantics = quirks ? "reference" : "documented"
        let text = """
          {"layer": "ConvNNAttention", "seq_length": 17, "batch": 2, "d_hidden": 24, "K": \(neighbours),
          "convnn_heads": 1, "sampling_type": "random", "semantics": "\(semantics)"}
          """
        let tensor = LayerTensor(shape: [indices.count], values: indices)
        _ = try LayerFile(path: "x", config: text, tensors: ["sample_index": tensor])
      }
    }
    #expect(refusal(2, [4, 5, 4]) == "x: sample_index names a token twice.")
    let most = quirks ? 4 : 3
    #expect(refusal(most, [4, 5, 6]) == "(nothing thrown)")
    #expect(refusal(most + 1, [4, 5, 6]).contains("3 tokens, too few for K \(most + 1)"))
  }
}
