// Which signals an mpirun gets, and when.
import Foundation
import Testing

@testable import Launcher

@Suite("Stop request") struct StopRequestTests {
  @Test("the first asks for a checkpoint, as soon as the run has begun") func first() {
    var stop = StopRequest(endSignal: SIGTERM, grace: 10)
    #expect(stop.signalsDue(now: 0, hasBegun: true) == [] && stop.nextMoment == nil)
    stop.take(request: 1, now: 0)
    #expect(stop.signalsDue(now: 0, hasBegun: false) == [])
    #expect(stop.nextMoment == 10)
    #expect(stop.signalsDue(now: 1, hasBegun: true) == [SIGUSR1])
    #expect(stop.signalsDue(now: 9.9, hasBegun: true) == [])
    // The time is over: it ends, or is killed.
    #expect(stop.signalsDue(now: 10, hasBegun: true) == [SIGTERM])
    #expect(stop.nextMoment == 13)
    #expect(stop.signalsDue(now: 13, hasBegun: true) == [SIGKILL])
    #expect(stop.nextMoment == nil)
  }

  @Test("the second ends it, the third at once") func more() {
    var stop = StopRequest(endSignal: SIGINT, grace: 10)
    for number in 1...3 { stop.take(request: number, now: 0) }
    #expect(stop.signalsDue(now: 0, hasBegun: false) == [SIGINT, SIGKILL])
  }

  @Test("nobody is asked for a checkpoint when there is no time for one, or when the time is over")
  func noTime() {
    for grace in [0, nil] as [Double?] {
      var stop = StopRequest(endSignal: SIGTERM, grace: grace)
      stop.take(request: 1, now: 0)
      #expect(stop.signalsDue(now: 0, hasBegun: true) == [SIGTERM])
    }
    var stop = StopRequest(endSignal: SIGTERM, grace: 1)
    stop.take(request: 1, now: 0)
    #expect(stop.signalsDue(now: 2, hasBegun: false) == [SIGTERM])
    #expect(stop.signalsDue(now: 2.1, hasBegun: true) == [])
  }
}
