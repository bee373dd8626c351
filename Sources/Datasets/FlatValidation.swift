// The validation images as the original archive holds them: all in one folder, classes in a file.
import Diagnostics
import Foundation

/// val/ILSVRC2012_val_00000001.JPEG … with, in the data folder or in val, one of
/// - `LOC_val_solution.csv` (Kaggle's form): lines `ILSVRC2012_val_00000001,n01751748 …`;
/// - `ILSVRC2012_validation_ground_truth.txt`: a line per image, in the order of file names, with a
///   class folder's name, or (as the devkit has it) with a number from 1 on. Numbers follow an order
///   of classes that is the devkit's own, so they need `classes.txt`: the folder names in that order.
enum FlatValidation {
  static let truthFile = "ILSVRC2012_validation_ground_truth.txt"
  static let solutionFile = "LOC_val_solution.csv"
  static let orderFile = "classes.txt"

  static func list(_ val: String, path: String, classNames: [String]) throws -> ImageIndex {
    let files = try imageFiles(val)
    let numbers = Dictionary(
      classNames.enumerated().map { ($1, Int32($0)) }, uniquingKeysWith: { first, _ in first })
    let classes: [String]
    if let truth = try lines(truthFile, [path, val]) {
      classes = try inOrder(truth, files: files, val: val, order: lines(orderFile, [path, val]))
    } else if let solution = try lines(solutionFile, [path, val]) {
      classes = try byName(solution, files: files)
    } else {
      throw RunError.data(
        """
        \(val) has no class folders, and neither it nor \(path) holds a file with the classes.
        Expected val/<class>/*.JPEG, or \(truthFile) or \(solutionFile).
        """)
    }
    var index = ImageIndex()
    for (file, name) in zip(files, classes) {
      guard let label = numbers[name] else {
        throw RunError.data(
          "The class \"\(name.prefix(40))\" of val/\(file) is no class folder of train.")
      }
      index.append(file, label: label)
    }
    return index
  }

  private static func inOrder(
    _ truth: [String], files: [String], val: String, order: [String]?
  ) throws -> [String] {
    guard truth.count == files.count else {
      throw RunError.data(
        "\(truthFile) has \(truth.count) lines for \(files.count) images in \(val).")
    }
    return try zip(files, truth).map { file, line in
      guard let number = Int(line) else { return line }
      guard let order else {
        throw RunError.data(
          """
          \(truthFile) holds numbers, which follow the devkit's own order of classes.
          Expected \(orderFile) beside it: the names of the class folders in that order, one a line.
          """)
      }
      guard order.indices.contains(number - 1) else {
        throw RunError.data(
          "\(truthFile): \(number) for \(file), expected 1...\(order.count) (\(orderFile)).")
      }
      return order[number - 1]
    }
  }

  /// `name,class …` after a line of headings, in any order.
  private static func byName(_ solution: [String], files: [String]) throws -> [String] {
    var classes: [Substring: Substring] = [:]
    for line in solution {
      let parts = line.split(separator: ",", maxSplits: 1)
      guard parts.count == 2, let name = parts[1].split(separator: " ").first else { continue }
      classes[parts[0]] = name
    }
    return try files.map { file in
      let stem = file.prefix(upTo: file.lastIndex(of: ".") ?? file.endIndex)
      guard let name = classes[stem] else {
        throw RunError.data("\(solutionFile) has no line for val/\(file).")
      }
      return String(name)
    }
  }

  private static func lines(_ name: String, _ folders: [String]) throws -> [String]? {
    for folder in folders where FileManager.default.fileExists(atPath: folder + "/" + name) {
      let bytes = try readDataFile(folder + "/" + name, advice: "Check its permissions.")
      return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
        .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
    return nil
  }
}
