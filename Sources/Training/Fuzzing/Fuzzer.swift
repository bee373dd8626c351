// The fuzzer: damaged inputs, one after the other, and what must never happen with them.
import Datasets
import Diagnostics
import Foundation
import Synchronization

/// Feeds a reader with damaged inputs. Input `number` is a function of (target, seed, number) alone, so
/// a finding can be repeated by itself.
public struct Fuzzer {
  let target: FuzzTarget
  let seed: UInt64
  /// More than this at once for one small input is a finding.
  static let memoryLimit = 1 << 30
  static let secondsLimit = 10

  public init(target: FuzzTarget, seed: UInt64) {
    self.target = target
    self.seed = seed
  }

  public struct Summary: Sendable, Equatable {
    public var accepted = 0
    public var refused = 0
  }

  /// Runs inputs `first`, `first` + 1, …; `count` of them, or without end when it is nil; in
  /// `FuzzStop.catching` up to a signal.
  ///
  /// - Parameter progress: is called after every 10,000 inputs.
  /// - Throws: `RunError` (data) naming the input that a reader took wrongly, that took too much
  ///   memory, or for which it threw what no reader may. A crash names its input on stderr, and so
  ///   does one that takes longer than ten seconds, which ends the process.
  public func run(
    first: Int = 0, count: Int?, progress: (Int, Summary) -> Void = { _, _ in }
  ) throws -> Summary {
    let folder = try FuzzFolder()
    defer { folder.remove() }
    let (inputs, reader) = try target.open(folder.path)
    let watch = FuzzWatch(name: "convnn fuzz \(target.rawValue) --seed \(seed)")
    defer { watch.stop() }
    var summary = Summary()
    let before = Self.peakMemory()
    var number = first
    while !FuzzStop.isPending, count.map({ number - first < $0 }) ?? true {
      watch.begin(number)
      let index = FuzzTarget.allCases.firstIndex(of: target)!
      var mutator = Mutator(seed: seed, target: index, number: number)
      do {
        try reader.read(mutator.mutate(inputs), number: number)
        summary.accepted += 1
      } catch is ImageError {
        summary.refused += 1
      } catch is RunError {
        summary.refused += 1
      } catch {
        throw finding(number, "\(error)")
      }
      guard Self.peakMemory() - before < Self.memoryLimit else {
        throw finding(number, "it took more than \(Self.memoryLimit >> 20) MiB of memory")
      }
      number += 1
      if (number - first) % 10_000 == 0 { progress(number, summary) }
    }
    return summary
  }

  private func finding(_ number: Int, _ what: String) -> RunError {
    .data(
      """
      Input \(number) of target \(target.rawValue): \(what).
      Again: convnn fuzz \(target.rawValue) --seed \(seed) --first \(number) --runs 1
      """)
  }

  /// Most bytes that this process has had in memory.
  private static func peakMemory() -> Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss << 10
  }
}

/// Notices inputs that take too long.
private final class FuzzWatch: Sendable {
  private let name: String
  private let current = Atomic<Int>(-1)
  private let stopped = Atomic<Bool>(false)

  init(name: String) {
    self.name = name
    Thread.detachNewThread { [self] in watch() }
  }

  func begin(_ number: Int) {
    current.store(number, ordering: .relaxed)
    FuzzCrashNote.number.store(number, ordering: .relaxed)
  }

  func stop() { stopped.store(true, ordering: .relaxed) }

  private func watch() {
    var last = -1
    var clock = Stopwatch()
    while !stopped.load(ordering: .relaxed) {
      Thread.sleep(forTimeInterval: 0.2)
      let now = current.load(ordering: .relaxed)
      if now != last { (last, clock) = (now, Stopwatch()) }
      guard now >= 0, clock.seconds > Double(Fuzzer.secondsLimit) else { continue }
      let text =
        "Error: \(name) --first \(now) --runs 1 takes longer than \(Fuzzer.secondsLimit) s."
      say(text)
      exit(ExitCode.stalled.rawValue)
    }
  }
}

/// Names the input when the process is about to die by a signal.
public enum FuzzCrashNote {
  static let number = Atomic<Int>(-1)

  /// For programs whose only work is to fuzz.
  public static func install() {
    for signalNumber in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT] {
      signal(signalNumber) { code in
        // Only what a signal handler may do: no allocation.
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { digits in
          var rest = FuzzCrashNote.number.load(ordering: .relaxed)
          var at = 31
          digits[at] = 10
          repeat {
            at -= 1
            digits[at] = UInt8(48 + max(rest, 0) % 10)
            rest /= 10
          } while rest > 0
          let text: StaticString = "Error: a crash in the input of number "
          _ = write(2, text.utf8Start, text.utf8CodeUnitCount)
          _ = write(2, digits.baseAddress! + at, 32 - at)
        }
        signal(code, SIG_DFL)
        raise(code)
      }
    }
  }
}
