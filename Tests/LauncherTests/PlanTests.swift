// How many ranks of how many threads, on machines that are not at hand.
import Diagnostics
import Testing

@testable import Launcher

@Suite("Plan") struct PlanTests {
  private func plan(cores: Int, _ words: String, slurm: [String: String] = [:]) throws -> Plan {
    let options = try RunOptions(words.split(separator: " ").map(String.init))
    let flags = ProgramFlags(command: options.command ?? "train", words: options.flags)
    return try Plan(
      options, flags, hosts: try HostList(options),
      slurm: slurm.isEmpty ? nil : SlurmAllocation(["SLURM_JOB_ID": "7"].merging(slurm) { $1 }),
      machine: Machine(cores: cores, allowsSingleCopy: true))
  }

  @Test("no more workers than the batch has shards, where nobody asks for more") func shards()
    throws
  {
    for (cores, words, ranks, threads, note) in [
      (
        64, "--batch_size 64 --shards 16", 16, 1,
        "16 of 64 cores compute, as the batch of 64 has 16 shards. For more of them: --shards 64 (a different sum, so different bits)."
      ),
      (
        12, "train --batch_size 64", 8, 1,
        "8 of 12 cores compute, as the batch of 64 has 8 shards. For more of them: --shards 16 (a different sum, so different bits) or a larger --batch_size."
      ),
      (
        12, "bench --layer Attention", 8, 1,
        "8 of 12 cores compute, as the batch of 64 has 8 shards. For more of them: --shards 16 (a different sum, so different bits) or a larger --batch_size."
      ),
      (
        12, "--threads 3 --batch_size 64", 2, 3,
        "6 of 12 cores compute, as the batch of 64 has 8 shards. For more of them: --shards 16 (a different sum, so different bits) or a larger --batch_size."
      ),
      (
        64, "train", 16, 1,
        "16 of 64 cores compute, as the batch of 256 has 16 shards. For more of them: --shards 64 (a different sum, so different bits)."
      ),
      (
        64, "--batch_size 16 --shards 16", 16, 1,
        "16 of 64 cores compute, as the batch of 16 has 16 shards."
      ),
      (12, "train", 12, 1, nil),
      (64, "--shards 64 --batch_size 1024", 64, 1, nil),
      (12, "-np 12 --batch_size 64", 12, 1, nil),
      (64, "evaluate --checkpoint x", 64, 1, nil),
      (64, "--test_only --batch_size 8", 64, 1, nil),
      (2, "--threads 3 --batch_size 16", 1, 3, nil),
    ] as [(Int, String, Int, Int, String?)] {
      let plan = try plan(cores: cores, words)
      #expect(plan.ranks == ranks && plan.threads == threads, "\(words)")
      #expect(plan.notes == (note.map { ["Note: " + $0] } ?? []), "\(words)")
    }
  }

  @Test("tasks and CPUs of an allocation") func slurm() throws {
    for (tasks, cpus, words, ranks, threads) in [
      ("4", "3", "train", 4, 3), ("4", "3", "--threads 2 train", 4, 2),
      ("4", "8", "train", 4, 4), ("4", "8", "train --batch_size 64", 4, 2),
      ("12", "3", "train --batch_size 64", 8, 1),
      ("12", "3", "train --threads 2 --batch_size 64", 4, 2),
      ("12", "3", "-np 12 train --batch_size 64", 12, 1), ("4", "8", "train --shards 64", 4, 8),
    ] {
      let plan = try plan(
        cores: 2, words, slurm: ["SLURM_NTASKS": tasks, "SLURM_CPUS_PER_TASK": cpus])
      #expect(plan.ranks == ranks && plan.threads == threads, "\(tasks) \(cpus) \(words)")
    }
    #expect(try plan(cores: 2, "train", slurm: ["SLURM_TASKS_PER_NODE": "2(x3),1"]).ranks == 7)
    #expect(try plan(cores: 2, "train", slurm: ["SLURM_TASKS_PER_NODE": "2(x3),many"]).ranks == nil)
  }

  @Test("hosts give as many ranks as they have slots") func hosts() throws {
    #expect(try plan(cores: 2, "--host a:2,b,c:3").ranks == 6)
    #expect(try plan(cores: 2, "--host a:2,b,c:3 -np 2").ranks == 2)
    let error = #expect(throws: RunError.self) { try plan(cores: 2, "--host a:2 --min_ranks 3") }
    #expect(error?.code == .configuration)
  }

  @Test("the cores of a list of the kernel's") func cores() {
    #expect(Machine.count(ofList: "0") == 1)
    #expect(Machine.count(ofList: "0-3,8,10-11") == 7)
    #expect(Machine.count(ofList: "") == nil && Machine.count(ofList: "3-1") == nil)
  }

  @Test("addresses in networks") func networks() {
    for (network, address, expected) in [
      ("10.1.0.1/16", "10.1.7.3", true), ("10.1.0.1/16", "10.2.0.1", false),
      ("10.1.0.1/0", "192.168.0.1", true), ("10.1.0.128/25", "10.1.0.127", false),
      ("10.1.0.1/32", "10.1.0.1", true), ("10.1.0.1/33", "10.1.0.1", false),
      ("10.1", "10.1", false),
    ] {
      #expect(HostNetwork.contains(network, address[...]) == expected, "\(network) \(address)")
    }
  }
}
