// `convnn data`: downloads a data set.
import ArgumentParser
import Datasets
import Diagnostics

extension CIFARVariant: ExpressibleByArgument {}

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Downloads CIFAR-10 or CIFAR-100.",
    discussion: """
      The archive is fetched by curl, checked by its MD5 and unpacked; after an interruption the \
      same command goes on where it stopped. A data set that is there and complete is left alone.
      """)

  @Argument(help: "cifar10 or cifar100.") var dataset: CIFARVariant
  @Option(
    name: .customLong("data_path"),
    help: "Where the data set's folder is to lie (default: ./Data).")
  var dataPath = "./Data"
  @Option(name: .customLong("url"), help: "Another address of the archive.")
  var url: String?
  @Option(name: .customLong("md5"), help: "Another archive's MD5 checksum, 32 hexadecimal digits.")
  var md5: String?

  func validate() throws {
    if let md5, md5.count != 32 || !md5.allSatisfy(\.isHexDigit) {
      throw ValidationError("--md5 is \(md5): expected 32 hexadecimal digits.")
    }
  }

  func run() throws {
    var archive = DatasetArchive.official(dataset)
    archive = DatasetArchive(address: url ?? archive.address, md5: md5 ?? archive.md5)
    try DatasetDownload(dataset, archive: archive, path: dataPath, say: say).run()
  }
}
