// Limits of control groups, as trees of files that the kernel would show.
import Foundation
import TestSupport
import Testing

@testable import Diagnostics

@Suite("Control groups") struct ControlGroupTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func group(_ membership: String, _ files: [String: String]) throws -> ControlGroup {
    for (name, text) in files { try folder.write(name, Array(text.utf8)) }
    return ControlGroup(root: folder.path, membership: membership)
  }

  @Test("the tightest limit of the own group and those around it counts") func nested() throws {
    let group = try group(
      "0::/system.slice/slurmstepd.scope/job_7\n",
      [
        "system.slice/slurmstepd.scope/job_7/memory.max": "max\n",
        "system.slice/slurmstepd.scope/memory.max": "4294967296\n",
        "system.slice/memory.max": "8589934592\n",
        "system.slice/slurmstepd.scope/job_7/cpu.max": "250000 100000\n",
        "system.slice/cpu.max": "max 100000\n",
        "system.slice/slurmstepd.scope/job_7/memory.events": "low 0\noom 3\noom_kill 2\n",
        "system.slice/memory.events": "oom_kill 9\n",
      ])
    #expect(group.memoryLimit == 4_294_967_296)
    #expect(group.processorQuota == 2.5)
    #expect(group.outOfMemoryKills == 2)
  }

  @Test("in a container the own group is the top") func container() throws {
    let group = try group(
      "0::/\n",
      ["memory.max": "1000\n", "cpu.max": "50000 100000\n", "memory.events": "oom_kill 1\n"])
    #expect(group.memoryLimit == 1000 && group.processorQuota == 0.5 && group.outOfMemoryKills == 1)
  }

  @Test("version 1 has files of its own, and a huge number for no limit") func version1() throws {
    let group = try group(
      "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n1:name=systemd:/y\n0::/z\n",
      [
        "memory/docker/x/memory.limit_in_bytes": "2000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/docker/x/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
        "cpu/docker/x/cpu.cfs_quota_us": "150000\n", "cpu/docker/x/cpu.cfs_period_us": "100000\n",
        "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n",
      ])
    #expect(group.memoryLimit == 2000 && group.processorQuota == 1.5 && group.outOfMemoryKills == 4)
  }

  @Test("a group whose folder a namespace hides has its files at the top") func hidden() throws {
    let group = try group(
      "4:memory:/docker/x\n0::/docker/x\n",
      ["memory/memory.oom_control": "oom_kill 5\n", "memory/memory.limit_in_bytes": "3000\n"])
    #expect(group.memoryLimit == 3000 && group.outOfMemoryKills == 5)
  }

  @Test("no groups, no limits") func none() throws {
    let group = try group("", [:])
    #expect(group.memoryLimit == nil && group.processorQuota == nil && group.outOfMemoryKills == 0)
    let unlimited = try self.group(
      "4:memory:/\n", ["memory/memory.limit_in_bytes": "9223372036854771712\n"])
    #expect(unlimited.memoryLimit == nil)
  }
}
