// How many ranks of how many threads.
import Conventions
import Diagnostics

struct Plan: Equatable {
  /// nil: as Slurm gives.
  var ranks: Int?
  var threads: Int
  /// What the user should know of it.
  var notes: [String] = []

  /// Where neither options nor hosts say how many, at most one worker for each shard of the batch.
  ///
  /// - Throws: `RunError` (configuration).
  init(
    _ options: RunOptions, _ flags: ProgramFlags, hosts: HostList?, slurm: SlurmAllocation?,
    machine: Machine
  ) throws {
    ranks = options.ranks
    threads = options.threads ?? slurm?.cpusPerTask ?? 1
    let shards = flags.shards.map { Shards(count: $0, flags: flags) }
    if let slurm {
      ranks = ranks ?? slurm.tasks ?? slurm.room
      let cpus = (ranks ?? 1) * threads
      fit(to: shards, options, computing: cpus, of: "CPUs")
    } else if ranks == nil {
      if let hosts {
        ranks = hosts.slots
      } else {
        ranks = max(1, machine.cores / threads)
        // The number of threads is what the user wants, or one.
        var asked = options
        asked.threads = threads
        fit(to: shards, asked, computing: machine.cores, of: "cores")
      }
    }
    if let least = options.minRanks, let ranks, least > ranks {
      throw RunError.configuration(
        "--min_ranks is \(least), but the run begins with \(ranks) ranks. Give at most that.")
    }
  }

  /// Of ranks and threads gives way what was not asked for.
  private mutating func fit(
    to shards: Shards?, _ asked: RunOptions, computing most: Int, of what: String
  ) {
    guard let shards else { return }
    let before = (ranks, threads)
    if asked.threads == nil, (ranks ?? 1) * threads > shards.count {
      threads = max(1, shards.count / (ranks ?? 1))
    }
    if asked.ranks == nil, let planned = ranks, planned * threads > shards.count,
      threads <= shards.count
    {
      ranks = shards.count / threads
    }
    // What was asked for may be too much all the same: the program refuses it.
    let workers = (ranks ?? 1) * threads
    if before != (ranks, threads), workers <= shards.count {
      notes.append(
        """
        Note: \(workers) of \(most) \(what) compute, as the batch of \(shards.flags.batchSize) has \
        \(shards.count) shards.\(shards.advice(forWorkers: most))
        """)
    }
  }

  /// The shards of the batch, and how there could be more.
  private struct Shards {
    let count: Int
    let flags: ProgramFlags

    /// How so many workers, or nearly as many, would get a shard each.
    func advice(forWorkers workers: Int) -> String {
      var more = count
      while more < workers && more * 2 <= flags.batchSize { more *= 2 }
      var ways = more == count ? [] : ["--shards \(more) (a different sum, so different bits)"]
      if count < RunConventions.mostShards, flags.givenShards == nil {
        ways.append("a larger --batch_size")
      }
      return ways.isEmpty ? "" : " For more of them: \(ways.joined(separator: " or "))."
    }
  }
}
