// Who of those that a rank waits for waits as well, and who does nothing.
import CMessagePassing

/// Questions between ranks whose waits take long. A rank that waits answers, one that computes or stands still
/// does not: so a chain of waits leads to the rank where it begins. Nobody asks in a wait that ends soon.
///
/// There is one unanswered question at most from a rank to another, however long that does nothing.
struct WaitInquiry {
  private let rank: Int
  /// Tells the answers of this wait from late ones to questions of an earlier one.
  private var round: Int32 = 0
  /// By rank: a question is on its way.
  private var isAsked: [Bool]
  /// By rank: when it answered in this wait.
  private var answered: [Double?]
  private var lastAsked = -Double.infinity
  /// Another rank has told of the wait, and waits still.
  private(set) var othersHaveTold = false

  init(rank: Int, size: Int) {
    self.rank = rank
    isAsked = [Bool](repeating: false, count: size)
    answered = [Double?](repeating: nil, count: size)
  }

  /// Begins a wait.
  mutating func begin() {
    round &+= 1
    answered = answered.map { _ in nil }
    lastAsked = -.infinity
    othersHaveTold = false
  }

  /// Answers what has been asked, takes what has been answered.
  ///
  /// - Parameters:
  ///   - now: seconds on any clock.
  ///   - hasTold: this rank has told of the wait.
  /// - Returns: 0, or an error code of MPI.
  mutating func listen(now: Double, hasTold: Bool) -> Int32 {
    var words = [Int32](repeating: 0, count: Int(CMP_NOTE_WORDS))
    var peer: Int32 = -1
    while true {
      let code = cmp_note_receive(&words, &peer, MessageTag.question.rawValue)
      if code != 0 { return code }
      if peer < 0 { break }
      words[1] = hasTold ? 1 : 0
      let sent = cmp_note_send(words, peer, MessageTag.answer.rawValue)
      if sent != 0 { return sent }
    }
    while true {
      let code = cmp_note_receive(&words, &peer, MessageTag.answer.rawValue)
      if code != 0 { return code }
      if peer < 0 { return 0 }
      isAsked[Int(peer)] = false
      guard words[0] == round else { continue }
      answered[Int(peer)] = now
      if words[1] == 1 { othersHaveTold = true }
    }
  }

  /// Asks everybody who has answered the last question, unless that was a moment ago.
  ///
  /// - Returns: 0, or an error code of MPI.
  mutating func ask(now: Double, every seconds: Double) -> Int32 {
    guard now - lastAsked >= seconds else { return 0 }
    lastAsked = now
    for peer in isAsked.indices where peer != rank && !isAsked[peer] {
      let code = cmp_note_send([round, 0], Int32(peer), MessageTag.question.rawValue)
      if code != 0 { return code }
      isAsked[peer] = true
    }
    return 0
  }

  /// Ranks that have answered in this wait, and not too long ago.
  func waiting(now: Double, within seconds: Double) -> Set<Int> {
    Set(answered.indices.filter { answered[$0].map { now - $0 <= seconds } ?? false })
  }
}

/// What a rank can say of a long wait, and whether another one should say it first.
struct WaitVerdict: Equatable {
  /// Who is waited for and does not wait; everybody who is waited for, if they all do.
  let names: [Int]
  /// Seconds to leave to other ranks: the lowest of those who know whom to name speaks at once.
  let delay: Double

  /// - Parameters:
  ///   - missing: whom `rank` waits for.
  ///   - waiting: other ranks that wait.
  init(rank: Int, missing: [Int], waiting: Set<Int>) {
    let idle = missing.filter { !waiting.contains($0) }
    names = idle.isEmpty ? missing : idle
    // Longer than mpirun needs to end the others.
    delay = idle.isEmpty ? 5 : waiting.contains { $0 < rank } ? 3 : 0
  }
}
