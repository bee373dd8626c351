// The document's three example commands, with the program in the place of `python main.py`.
import Foundation
import TestSupport
import Testing

@Suite("The document's examples", .serialized) struct DocumentExamplesTests {
  static let attention = """
    python main.py \\
        --layer Attention \\
        --num_layers 12 \\
        --num_heads 3 \\
        --d_hidden 192 \\
        --d_mlp 768 \\
        --dataset cifar10 \\
        --optimizer adamw \\
        --lr 1e-3 \\
        --num_epochs 150 \\
        --output_dir ./Output/ViT/Attention
    """
  static let convnn = """
    python main.py \\
        --layer ConvNNAttention \\
        --convolution_type depthwise \\
        --num_layers 12 \\
        --d_hidden 192 \\
        --d_mlp 768 \\
        --K 9 \\
        --sampling_type spatial \\
        --num_samples 8 \\
        --similarity_type Col \\
        --aggregation_type Col \\
        --dataset cifar10 \\
        --optimizer adamw \\
        --lr 1e-3 \\
        --num_epochs 150 \\
        --output_dir ./Output/ViT/ConvNNAttention
    """
  static let testMode = """
    python main.py \\
        --layer Attention \\
        --test_only \\
        --device cuda
    """

  /// The words after `python main.py`.
  static func words(_ command: String) -> [String] {
    let words = command.split(whereSeparator: \.isWhitespace).map(String.init)
    return words.filter { $0 != "\\" }.dropFirst(2).map { $0 == "cuda" ? "cpu" : $0 }
  }

  @Test(
    "training",
    arguments: [(attention, "Attention", 5_479_306), (convnn, "ConvNNAttention", 5_500_042)])
  func training(command: String, layer: String, parameters: Int) throws {
    let folder = try TemporaryFolder()
    // A hundred genuine images are the data; one step is enough.
    let result = try Program.run(
      ranks: 2, Self.words(command) + ["--data_path", goldenFolder.path, "--max_steps", "1"],
      in: folder.path)
    try #require(result.code == 0, "\(result.errors)")
    let output = folder.path + "/Output/ViT/" + layer
    let description = try String(contentsOfFile: output + "/model.txt", encoding: .utf8)
    #expect(description.contains("Total parameters: \(parameters)\n"))
    #expect(description.contains("197 tokens"))
    let arguments = try String(contentsOfFile: output + "/args.txt", encoding: .utf8)
    for line in ["layer: \(layer)", "img_size: 224", "total_params: \(parameters)", "lr: 0.001"] {
      #expect(arguments.contains(line + "\n"))
    }
    let results = try String(contentsOfFile: output + "/train_eval_results.txt", encoding: .utf8)
    #expect(results.contains("Parameters: \(parameters)\n[Epoch 001] Time: "))
    #expect(status(output)["state"] as? String == "done")
  }

  @Test("test mode") func testMode() throws {
    let result = try Program.run(Self.words(Self.testMode))
    #expect(result.code == 0 && result.output == "Output shape: (3, 10)\n", "\(result.errors)")
  }
}
