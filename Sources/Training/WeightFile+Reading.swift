// Weights from files: this program's own, the original code's, and for the usual Vision Transformer other libraries'.
import Diagnostics
import Models
import TensorFiles
import Tensors

extension WeightFile {
  /// Fills `parameters` from a file; buffers in it are constants, which may be absent. Learned positions of another
  /// number of patches are resampled.
  ///
  /// - Parameter keepingHead: leaves the classifier as it is, and takes the file for one of other images too, whose
  ///   positions differ in number.
  /// - Throws: `RunError`: configuration, that lists missing, extra and misshapen tensors;
  ///   checkpointDamaged for tensors that are not those whose checksum the file has.
  public func read(
    into parameters: UnsafeMutablePointer<Float>, from path: String, keepingHead: Bool = false
  ) throws {
    let file = try SafetensorsFile(path: path)
    try Self.check(file)
    let architecture = configuration.architecture
    func isSkipped(_ name: String) -> Bool { keepingHead && architecture.isClassifier(name) }
    let found = Dictionary(
      grouping: file.tensors.map { (entry: $0, place: architecture.place(of: $0.name)) },
      by: \.place.name)
    var problems: [String] = []
    for place in places where !isSkipped(place.spec.name) {
      let problem = try fill(
        place, parameters + place.offset, from: found[place.spec.name] ?? [], of: file)
      if let problem { problems.append(problem) }
    }
    for buffer in buffers where !keepingHead {
      guard let entry = file[buffer.name], entry.shape != buffer.shape else { continue }
      problems.append("\(buffer.name) is \(entry.shape), expected \(buffer.shape)")
    }
    let known = Set(places.map(\.spec.name) + buffers.map(\.name))
    let extras = found.filter { !known.contains($0.key) && !isSkipped($0.key) }
      .flatMap(\.value).map(\.entry.name).sorted()
    problems += extras.map { "\($0) has no place in this model" }
    guard problems.isEmpty else {
      let isUsual = file.tensors.contains {
        Architecture.vit.place(of: $0.name).name == "cls_token"
      }
      throw misfit(path, problems, isUsual: isUsual, hasExtras: !extras.isEmpty)
    }
  }

  /// - Parameter sources: the tensors of the file that belong to this parameter: one, or three thirds.
  /// - Returns: what is wrong with them.
  private func fill(
    _ place: ParameterPlace, _ target: UnsafeMutablePointer<Float>,
    from sources: [(entry: TensorEntry, place: PretrainedName)], of file: SafetensorsFile
  ) throws -> String? {
    let (name, shape) = (place.spec.name, place.spec.shape)
    let isWhole = sources.count == 1 && sources[0].place.third == nil
    guard isWhole || Set(sources.map(\.place.third)) == [0, 1, 2] && sources.count == 3 else {
      return sources.isEmpty
        ? "\(name) is missing"
        : "\(name) cannot be made of \(sources.map(\.entry.name).joined(separator: ", "))"
    }
    for (entry, part) in sources {
      var expected = shape
      if part.third != nil { expected[0] /= 3 }
      var values = try file.floats(entry.name)
      if entry.shape != expected {
        guard name == configuration.architecture.learnedPositions, entry.shape.count == 3,
          entry.shape[0] == 1, entry.shape[2] == configuration.width,
          let resampled = resampledPositions(
            values, width: configuration.width, side: configuration.grid)
        else { return "\(entry.name) is \(entry.shape), expected \(expected)" }
        values = resampled
      }
      (target + (part.third ?? 0) * values.count).update(from: values, count: values.count)
    }
    return nil
  }

  /// - Throws: `RunError` (checkpointDamaged).
  private static func check(_ file: SafetensorsFile) throws {
    guard let expected = file.metadata[checksumKey] else { return }
    let found = file.contentChecksum()
    guard found != expected else { return }
    throw RunError(
      .checkpointDamaged,
      """
      \(file.path) is damaged: its tensors have checksum \(found), expected \(expected).
      Bring it back from a copy, or take another one. If its tensors were changed on purpose, leave \
      \(checksumKey) out of its metadata.
      """)
  }

  private func misfit(
    _ path: String, _ problems: [String], isUsual: Bool, hasExtras: Bool
  ) -> RunError {
    let more = problems.count > 3 ? "\nand \(problems.count - 3) more" : ""
    let advice =
      if isUsual && configuration.architecture != .vit {
        "These look like weights of the usual Vision Transformer: give --architecture vit."
      } else if isUsual && hasExtras {
        "A Vision Transformer with a distillation token, registers or layer scale cannot be read."
      } else {
        """
        Give the flags of the run that made the file, --resize and --patch_size among them; for other classes or \
        sizes of images: --init_from with --new_head.
        """
      }
    return .configuration(
      "\(path) does not fit the model (\(configuration.layer.rawValue), \(places.count) tensors):\n"
        + problems.prefix(3).joined(separator: "\n") + more + "\n" + advice)
  }
}
