// Errors that every rank meets at the same point.
import Collectives
import Diagnostics

/// An error that all ranks throw together, so that one of them can tell it and all can end in order.
public struct SharedError: Error {
  public let error: RunError

  public init(error: RunError) { self.error = error }
}

extension ProcessGroup {
  /// Runs `body` on every rank; if it fails anywhere, all ranks throw the failure of the lowest rank, with
  /// its place unless that is rank 0.
  public func together<R>(_ body: () throws -> R) throws -> R {
    var result: R?
    var mine: [UInt8] = []
    do { result = try body() } catch let shared as SharedError { throw shared } catch {
      let failure = error as? RunError ?? RunError.configuration("\(error)")
      mine = [UInt8(failure.code.rawValue)] + Array("\(hostName)\n\(failure.message)".utf8)
    }
    let all = try allGather(mine)
    if let rank = all.firstIndex(where: { !$0.isEmpty }) {
      let code = ExitCode(rawValue: Int32(all[rank][0])) ?? .configuration
      let text = String(decoding: all[rank].dropFirst(), as: UTF8.self)
        .split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
      let place = rank == 0 ? "" : "Rank \(rank) on \(text[0]): "
      throw SharedError(error: RunError(code, place + text[1]))
    }
    return result!
  }
}
