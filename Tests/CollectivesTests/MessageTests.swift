// The C module by itself: messages, time limits, its own all-reduce, error texts and exit codes.
import CMessagePassing
import Foundation
import Tensors
import Testing

@testable import Collectives

extension DistributedTests {
  @Test("messages of any size, in the order of sending", arguments: [0, 1, 7, 4096, 1_000_003])
  func messageSizes(bytes: Int) throws {
    let batch = try #require(cmp_batch_create())
    defer { cmp_batch_destroy(batch) }
    let others = group.otherRanks
    func byte(_ from: Int, _ to: Int, _ number: Int, _ i: Int) -> UInt8 {
      UInt8(truncatingIfNeeded: from * 31 + to * 17 + number * 7 + i)
    }
    // Two messages with one tag between every two ranks; first all receives, then all sends.
    var sent: [[UInt8]] = []
    let received = others.flatMap { peer in
      (0..<2).map { number -> UnsafeMutablePointer<UInt8> in
        sent.append((0..<bytes).map { byte(group.rank, peer, number, $0) })
        return .allocate(capacity: max(bytes, 1))
      }
    }
    defer { for buffer in received { buffer.deallocate() } }
    for (index, buffer) in received.enumerated() {
      #expect(cmp_batch_receive(batch, buffer, bytes, Int32(others[index / 2]), 9) == 0)
    }
    for index in sent.indices {
      #expect(
        sent[index].withUnsafeBytes {
          cmp_batch_send(batch, $0.baseAddress, bytes, Int32(others[index / 2]), 9)
        } == 0)
    }
    // Arrays do not move while nobody changes them.
    withExtendedLifetime(sent) { #expect(cmp_batch_wait(batch, 30) == 0) }
    for (index, buffer) in received.enumerated() {
      let peer = others[index / 2]
      #expect((0..<bytes).allSatisfy { buffer[$0] == byte(peer, group.rank, index % 2, $0) })
    }
    try group.barrier()
  }

  @Test("a time limit ends a wait, names who is missing, and the wait can go on") func timeLimit()
    throws
  {
    guard group.size > 1 else { return }
    let last = Int32(group.size - 1)
    var word: UInt32 = 0
    let batch = try #require(cmp_batch_create())
    defer { cmp_batch_destroy(batch) }
    if group.rank == 0 {
      #expect(cmp_batch_receive(batch, &word, 4, last, 9) == 0)
      // Nobody sends before the barrier.
      #expect(cmp_batch_wait(batch, 0.02) == CMP_TIMEOUT)
      #expect((0..<last).allSatisfy { cmp_batch_is_missing(batch, $0) == 0 })
      #expect(cmp_batch_is_missing(batch, last) == 1)
    }
    try group.barrier()
    if group.rank == Int(last) {
      word = 0xfeed
      #expect(cmp_batch_send(batch, &word, 4, 0, 9) == 0)
    }
    #expect(cmp_batch_wait(batch, 30) == 0)
    if group.rank == 0 {
      #expect(word == 0xfeed)
      #expect(cmp_batch_is_missing(batch, last) == 0)
    }
  }

  @Test("a wait lasts as long as messages go on arriving") func steadyProgress() throws {
    guard group.size > 1 else { return }
    let last = group.size - 1
    let words = UnsafeMutablePointer<UInt32>.allocate(capacity: 5)
    defer { words.deallocate() }
    let batch = try #require(cmp_batch_create())
    defer { cmp_batch_destroy(batch) }
    try group.barrier()
    if group.rank == 0 {
      for i in 0..<5 { #expect(cmp_batch_receive(batch, words + i, 4, Int32(last), 9) == 0) }
      // Longer than from one to the next, shorter than all of them take.
      #expect(cmp_batch_wait(batch, 1.5) == 0)
      #expect((0..<5).allSatisfy { words[$0] == $0 })
    }
    if group.rank == last {
      for i in 0..<5 {
        usleep(500_000)
        words[i] = UInt32(i)
        #expect(cmp_batch_send(batch, words + i, 4, 0, 9) == 0)
        #expect(cmp_batch_wait(batch, 30) == 0)
      }
    }
    try group.barrier()
  }

  @Test("MPI's own sum", arguments: [0, 1, 1000]) func ownSum(count: Int) {
    // Small whole numbers: exact in any order.
    var x = (0..<count).map { Float((group.rank + 1) * ($0 % 10)) } + [777]
    #expect(cmp_allreduce_sum(&x, count) == 0)
    let factor = group.size * (group.size + 1) / 2
    for i in 0..<count { #expect(x[i] == Float(factor * (i % 10))) }
    #expect(x[count] == 777)
  }

  @Test("floats of rank 0 reach everybody") func floats() throws {
    let slab = FloatSlab(count: 30_001)
    if group.rank == 0 { for i in 0..<slab.count { slab.base[i] = Float(i) } }
    try group.broadcast(slab.base, count: slab.count)
    #expect(Array(slab.buffer) == (0..<30_001).map { Float($0) })
  }
}

@Suite("Message passing in one process") struct MessagePassingTests {
  private func text(_ code: Int, size: Int = 512) -> String {
    var buffer = [CChar](repeating: 77, count: size + 1)
    cmp_error_text(Int32(code), &buffer, size)
    #expect(buffer[size] == 77, "wrote beyond the end")
    return size == 0
      ? "" : buffer.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  @Test("error texts say what happened and fit their room") func errorTexts() {
    #expect(text(Int(CMP_TIMEOUT)) == "timed out")
    #expect(text(Int(CMP_FINALISED)).contains("finalised"))
    #expect(text(Int(CMP_NO_MEMORY)) == "out of memory")
    #expect(text(Int(CMP_NO_THREADS)).contains("threads"))
    #expect(text(Int(CMP_TIMEOUT), size: 6) == "timed")
    #expect(text(Int(CMP_TIMEOUT), size: 1) == "")
    #expect(text(Int(CMP_TIMEOUT), size: 0) == "")
  }

  @Test("the host has a name") func hostName() {
    var buffer = [CChar](repeating: 77, count: 257)
    cmp_host_name(&buffer, 256)
    #expect(buffer[256] == 77, "wrote beyond the end")
    #expect(buffer.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }.isEmpty == false)
    cmp_host_name(&buffer, 1)
    #expect(buffer[0] == 0)
    #expect(buffer[256] == 77)
  }

  @Test("an abort's code stays between 1 and 125") func abortCodes() async {
    await #expect(processExitsWith: .exitCode(14)) { cmp_abort(14) }
    await #expect(processExitsWith: .exitCode(125)) { cmp_abort(125) }
    // MPI_Abort(256) would be success.
    await #expect(processExitsWith: .exitCode(1)) { cmp_abort(256) }
    await #expect(processExitsWith: .exitCode(1)) { cmp_abort(0) }
    await #expect(processExitsWith: .exitCode(1)) { cmp_abort(-3) }
  }

  @Test("one rank without mpirun: starts, sums, ends, and does not start again") func alone() async
  {
    await #expect(processExitsWith: .exitCode(0)) {
      guard cmp_initialised() == 0, cmp_init() == 0, cmp_init() == 0, cmp_initialised() == 1,
        cmp_rank() == 0, cmp_size() == 1
      else { exit(3) }
      var x: [Float] = [1.5, 2]
      guard cmp_allreduce_sum(&x, 2) == 0, x == [1.5, 2] else { exit(4) }
      var text = [CChar](repeating: 0, count: 512)
      cmp_error_text(1, &text, 512)
      guard text.withUnsafeBufferPointer({ String(cString: $0.baseAddress!) }).contains("MPI_ERR")
      else { exit(5) }
      // A message to a rank that is not there is an error, not an end.
      let batch = cmp_batch_create()
      guard cmp_batch_send(batch, &x, 4, 7, 1) != 0 else { exit(6) }
      cmp_batch_destroy(batch)
      guard cmp_finalize() == 0, cmp_finalize() == 0, cmp_init() == CMP_FINALISED
      else { exit(7) }
    }
  }
}
