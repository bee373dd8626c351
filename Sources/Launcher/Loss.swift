// How an attempt at a run was lost.

enum Loss: Equatable {
  /// What the rank said that waited.
  case stalled(String)
  /// How, like "9 (Killed)".
  case killed(rank: String, host: String, signal: String)
  case endedEarly(rank: String, host: String)
  /// A rank has died that this host had a connection to.
  case connectionClosed(host: String)
  case contactLost(host: String)
  /// Ranks could not connect, like "connect() to 10.0.0.2:1026".
  case notConnected(host: String, what: String)
  /// Like "folder /data".
  case missing(host: String, what: String)

  /// Of the documented sentence "…, last step N"; nil where there is none.
  func words(memory: String) -> String? {
    switch self {
    case .stalled, .notConnected, .missing: nil
    case .killed(let rank, let host, let signal):
      "rank \(rank) on \(host) was ended by signal \(signal)\(memory)"
    case .endedEarly(let rank, let host):
      "rank \(rank) on \(host) ended before its work was done\(memory)"
    case .connectionClosed(let host): "a rank that \(host) had a connection to has died"
    case .contactLost(let host): "contact with host \(host) was lost"
    }
  }
}
