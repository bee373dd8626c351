// What the files of a run tell the launcher, and what it writes for a run that died.
import Diagnostics
import Foundation
import Reports

struct RunFolder {
  let path: String
  /// Seconds for a run that has just been ended to go.
  var patience = 5.0

  private var statusPath: String { path + "/status.json" }
  private var status: RunStatus? { RunStatus(file: statusPath) }

  var state: RunStatus.State? { status?.state }

  /// Which file `status.json` is now: a run puts a new one in its place whenever it writes it.
  var versionOfStatus: String? {
    var information = stat()
    guard stat(statusPath, &information) == 0 else { return nil }
    let time = information.st_mtim
    return "\(information.st_ino) \(time.tv_sec) \(time.tv_nsec)"
  }

  /// Whether a run lives here.
  var isInUse: Bool {
    let lock = path + "/.lock"
    guard FileManager.default.fileExists(atPath: lock) else { return false }
    do { try FileLock(lock, seconds: patience).release() } catch FileLock.Failure.taken {
      return true
    } catch {}
    return false
  }

  /// The last step that the run has told of.
  var lastStep: Int {
    max(
      status?.step ?? 0,
      lastLoggedStep(ofFile: path + "/metrics.jsonl") ?? 0)
  }

  /// A run that died cannot say so itself. One that another run kept out has nothing to say of the folder. The disk
  /// may be full.
  func markAsFailed(_ code: ExitCode, _ reason: String) {
    guard access(statusPath, W_OK) == 0, let status, status.state == .running, !isInUse else {
      return
    }
    attempt {
      try RunStatus(
        .failed, step: lastStep, epoch: status.epoch, exitCode: code, reason: reason
      ).write(to: statusPath)
    }
    let report = path + "/report.html"
    guard access(report, W_OK) == 0 else { return }
    attempt { try ReportPage.markAsFailed(file: report, reason: reason) }
  }

  private func attempt(_ body: () throws -> Void) {
    do { try body() } catch { say("Note: \(error)") }
  }

  // MARK: Logs of ranks

  /// Starts what follows with its output also in the files stdout and stderr of this rank's folder within $0;
  /// without them if they cannot be made. mpirun's own option for this has another form in every version, and loses
  /// output in some. What writes the files ends with the rank, not with its signals.
  private static let keepLog = """
    folder=$0/rank.$OMPI_COMM_WORLD_RANK
    mkdir -p "$folder" || exec "$@"
    go_on() { trap "" \(Signals.namesOfHeard); exec tee "$folder/$1"; }
    exec "$@" > >(go_on stdout) 2> >(go_on stderr >&2)
    """

  /// Words before the program by which ranks of attempt `number`, from 0, keep logs.
  ///
  /// - Throws: `RunError` (configuration) when there cannot be such a folder.
  func wordsToKeepLogs(attempt number: Int) throws -> [String] {
    let folder = URL(
      fileURLWithPath: path + "/logs" + (number == 0 ? "" : "/attempt-\(number + 1)"))
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    } catch {
      throw RunError.configuration("--per_rank_logs: the folder \(folder.path) cannot be made.")
    }
    guard !isInUse else {
      say("Note: another run lives in \(path): this one's logs are not kept.")
      return []
    }
    return ["bash", "-c", Self.keepLog, folder.path]
  }
}
