// Folders and their entries, listed without a system call per entry.
import Diagnostics
import Foundation

struct FolderEntry {
  let name: String
  let isFolder: Bool
}

/// Entries in byte order of their names, hidden ones left out; links count as what they lead to.
///
/// - Throws: `RunError` (data) when the folder cannot be read.
func listFolder(_ path: String) throws -> [FolderEntry] {
  func failure() -> RunError {
    .data("Cannot list \(path): \(systemErrorText()).\nCheck its permissions and the disk.")
  }
  guard let folder = opendir(path) else { throw failure() }
  defer { closedir(folder) }
  var entries: [FolderEntry] = []
  while true {
    errno = 0
    guard let entry = readdir(folder) else {
      guard errno == 0 else { throw failure() }
      break
    }
    let name = try withUnsafePointer(to: &entry.pointee.d_name) {
      try $0.withMemoryRebound(to: CChar.self, capacity: 256) { bytes in
        guard let name = String(validatingCString: bytes) else {
          throw RunError.data(
            """
            \(path) holds a name that is not UTF-8, like \(String(cString: bytes)).
            Rename it: names are compared, sorted and listed as UTF-8 text.
            """)
        }
        return name
      }
    }
    guard !name.hasPrefix(".") else { continue }
    let kind = Int(entry.pointee.d_type)
    let isKnown = kind == Int(DT_DIR) || kind == Int(DT_REG)
    entries.append(
      FolderEntry(
        name: name, isFolder: isKnown ? kind == Int(DT_DIR) : isFolder(path + "/" + name)))
  }
  return entries.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
}

/// Names of the subfolders, in byte order.
func subfolders(_ folder: String) throws -> [String] {
  try listFolder(folder).filter(\.isFolder).map(\.name)
}

/// Names of the JPEG and PNG files, in byte order.
func imageFiles(_ folder: String) throws -> [String] {
  try listFolder(folder).filter { !$0.isFolder && isImageName($0.name) }.map(\.name)
}

private func isImageName(_ name: String) -> Bool {
  let lower = name.lowercased()
  return [".jpeg", ".jpg", ".png"].contains { lower.hasSuffix($0) }
}

func isFolder(_ path: String) -> Bool {
  var isDirectory: ObjCBool = false
  return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
    && isDirectory.boolValue
}
