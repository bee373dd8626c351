// The images, labels and class names in torchvision's CIFAR folders.
import Diagnostics

/// Images (planar, 3072 bytes each) and labels of one file.
package func readCIFARPickle(
  _ variant: CIFARVariant, _ bytes: [UInt8], file: String, advice: String
) throws -> (pixels: ArraySlice<UInt8>, labels: [UInt8]) {
  func fail(_ reason: String) -> RunError {
    RunError.data(
      "\(file): \(reason).\nExpected a CIFAR file as torchvision stores it. \(advice)")
  }
  let root: PickleValue
  do { root = try PickleReader.read(bytes) } catch let error as ImageError {
    throw fail(error.reason)
  }
  let key = variant == .cifar10 ? "labels" : "fine_labels"
  guard case .array(let shape, let data)? = root["data"], case .list(let list)? = root[key] else {
    throw fail("no entries \"data\" and \"\(key)\"")
  }
  let values = list.values
  guard shape.count == 2, shape[1] == CIFARDataset.pixelBytes, shape[0] == values.count,
    values.count <= data.count, data.count == shape[0] * CIFARDataset.pixelBytes
  else {
    throw fail("data of shape \(shape) in \(data.count) bytes for \(values.count) labels")
  }
  var labels: [UInt8] = []
  for (i, value) in values.enumerated() {
    guard case .integer(let label) = value, (0..<variant.classCount).contains(label) else {
      throw fail("label \(i) is not in 0...\(variant.classCount - 1)")
    }
    labels.append(UInt8(label))
  }
  return (bytes[data], labels)
}

func readCIFARPickleNames(
  _ variant: CIFARVariant, folder: String, advice: String
) throws -> [String] {
  let file = folder + (variant == .cifar10 ? "/batches.meta" : "/meta")
  let bytes = try readDataFile(file, advice: advice)
  let key = variant == .cifar10 ? "label_names" : "fine_label_names"
  var names: [String] = []
  do {
    guard case .list(let list)? = try PickleReader.read(bytes)[key] else {
      throw ImageError("no entry \"\(key)\"")
    }
    for case .bytes(let range) in list.values {
      names.append(String(decoding: bytes[range], as: UTF8.self))
    }
    guard names.count == variant.classCount else {
      throw ImageError("\(names.count) class names, expected \(variant.classCount)")
    }
  } catch let error as ImageError {
    throw RunError.data("\(file): \(error.reason).\n\(advice)")
  }
  return names
}
