// Which signals count as requests.
import Foundation
import Testing

@testable import Launcher

@Suite("Repeated signals") struct RepeatedSignalsTests {
  private func requests(_ signals: [(Int32, Double)], inSlurm: Bool = false) -> Int {
    let repeats = RepeatedSignals(inSlurm: inSlurm)
    return signals.filter { !repeats.isRepeat($0.0, at: $0.1) }.count
  }

  @Test("the same twice at once is one request, another or a later one is two") func repeats() {
    #expect(requests([(SIGTERM, 1), (SIGTERM, 1.001)]) == 1)
    #expect(requests([(SIGTERM, 1), (SIGTERM, 1.2)]) == 2)
    #expect(requests([(SIGTERM, 1), (SIGINT, 1.001)]) == 2)
    // Only the first one is repeated.
    #expect(requests([(SIGTERM, 1), (SIGTERM, 1.2), (SIGTERM, 1.201)]) == 3)
  }

  @Test("however often a terminal tells of its end") func terminal() {
    #expect(requests([(SIGHUP, 1), (SIGHUP, 1.0003), (SIGHUP, 5)]) == 1)
    #expect(requests([(SIGHUP, 1), (SIGTERM, 2), (SIGHUP, 3)]) == 2)
  }

  @Test("Slurm repeats within a second what it has said") func slurm() {
    #expect(requests([(SIGTERM, 1), (SIGTERM, 1.9)], inSlurm: true) == 1)
    #expect(requests([(SIGTERM, 1), (SIGINT, 1.9)], inSlurm: true) == 1)
    #expect(requests([(SIGTERM, 1), (SIGTERM, 2.1)], inSlurm: true) == 2)
  }
}
