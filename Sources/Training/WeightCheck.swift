// All ranks must hold the same weights: a bit that has flipped on one of them shows here.
import Collectives
import Diagnostics
import Files
import Tensors

extension Replica {
  /// Of the weights.
  var fingerprint: [Double] { weightFingerprint(parameters) }
}

/// In numbers that a gather carries exactly.
func weightFingerprint(_ weights: FloatSlab) -> [Double] {
  let sum = XXH3.value(
    of: UnsafeRawBufferPointer(start: weights.base, count: weights.count * 4))
  return [Double(UInt32(truncatingIfNeeded: sum)), Double(sum >> 32)]
}

/// - Parameters:
///   - fingerprints: of all ranks' weights.
///   - hosts: of all ranks.
///   - moment: as "Before step 3".
/// - Throws: `SharedError` (ranksDisagree) naming the ranks that differ from most, and their hosts.
func checkWeights(_ fingerprints: [[Double]], hosts: [String], _ moment: String) throws {
  let usual = fingerprints.max { a, b in
    fingerprints.count { $0 == a } < fingerprints.count { $0 == b }
  }
  let odd = fingerprints.indices.filter { fingerprints[$0] != usual }
  guard !odd.isEmpty else { return }
  let names = Agreement.names(odd, hosts: hosts)
  // With as many on either side nobody can tell who is right.
  let found =
    2 * odd.count < fingerprints.count
    ? "the weights of \(names) differ from those of the other ranks: memory or network of its host"
    : "the weights of \(names) differ from those of "
      + Agreement.names(fingerprints.indices.filter { !odd.contains($0) }, hosts: hosts)
      + ": memory or network of one of these hosts"
  throw SharedError(
    error: RunError(
      .ranksDisagree,
      """
      \(moment) \(found) is not reliable.
      Take that host out and resume from the last checkpoint.
      """))
}
