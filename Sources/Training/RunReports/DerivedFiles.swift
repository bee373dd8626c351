// The files of a run that are made of what metrics.jsonl holds: report.html and TensorBoard's. A run does not end
// for want of them.
import Diagnostics
import Files
import Foundation
import Reports

/// report.html.
struct RunPage {
  let path: String
  let page: ReportPage
  private var failure = FailureNote()

  init(path: String, page: ReportPage) {
    self.path = path
    self.page = page
  }

  var exists: Bool { FileManager.default.fileExists(atPath: path) }

  func write(_ history: RunHistory, _ status: RunStatus) throws {
    let text = page.text(history, status, written: Date())
    try AtomicFile.write(Data(text.utf8), to: path)
  }

  mutating func refresh(_ history: RunHistory, _ status: RunStatus) {
    do {
      try write(history, status)
      failure.end()
    } catch {
      let isRunning = status.state == .running
      failure.tell(
        error,
        isRunning
          ? "The run goes on; the page is tried again after every epoch."
          : "All other results are there; the same command writes the page when that is mended.",
        again: !isRunning)
    }
  }
}

/// TensorBoard's file.
struct RunEvents {
  private let folder: String
  private let host: String
  private let stepsPerEpoch: Int
  /// nil after it could not be written.
  private var file: EventsFile?
  private var failure = FailureNote()

  init(folder: String, host: String, stepsPerEpoch: Int) {
    self.folder = folder
    self.host = host
    self.stepsPerEpoch = stepsPerEpoch
  }

  /// Begins a file with what is known up to `step`.
  mutating func open(_ history: RunHistory, step: Int) throws {
    file = try EventsFile(
      folder: folder, host: host, history: history, stepsPerEpoch: stepsPerEpoch, step: step)
  }

  /// Opens it if it is not.
  mutating func reopen(_ history: RunHistory, step: Int) {
    guard file == nil else { return }
    do {
      try open(history, step: step)
      failure.end()
    } catch { miss(error) }
  }

  mutating func write(_ scalars: [(tag: String, value: Double)], step: Int) {
    do { try file?.write(scalars, step: step) } catch { miss(error) }
  }

  func synchronize() { file?.synchronize() }

  private mutating func miss(_ error: any Error) {
    file = nil
    failure.tell(error, "The run goes on; the file is tried again after every epoch.")
  }
}
