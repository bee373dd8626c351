// Where the launcher waits: for signals, for children, for what they say and for whoever reads that, and for a moment.
import Foundation

extension Signals {
  /// Waits until one of the descriptors has something to read or is at its end, a signal comes or a child ends,
  /// the voice can go on, or the moment is there.
  func wait(for descriptors: [Int32] = [], until moment: Double?, voice: Voice? = nil) {
    var polled = ([descriptor] + descriptors).map {
      pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
    }
    if let voice, voice.isWaiting {
      polled.append(pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0))
    }
    var timeout: Int32 = -1
    if let moment {
      timeout = Int32(min(max(0, (moment - Clock.seconds()) * 1000).rounded(.up), 3.6e6))
    }
    poll(&polled, nfds_t(polled.count), timeout)
    voice?.flush()
    take()
  }

  /// Waits so many seconds, or until there has been a request.
  func pause(seconds: Double) {
    take()
    let end = Clock.seconds() + seconds
    while count == 0, Clock.seconds() < end { wait(until: end) }
  }
}
