// Saving a run.
import Collectives
import Diagnostics
import Files
import Foundation
import Optimizers
import Reports
import TensorFiles
import Tensors

extension Trainer {
  var checkpoints: CheckpointFolder {
    CheckpointFolder(
      folder: "\(configuration.outputFolder)/checkpoints", keep: configuration.checkpointKeep)
  }

  /// Writes a checkpoint; all ranks call it after the same step.
  ///
  /// - Parameters:
  ///   - state: where a later run goes on.
  ///   - reports: what they have told, a run that goes on from there does not tell again.
  func save(_ state: RunState, _ reports: RunReports?) throws {
    group.phase = .checkpoint(afterStep: state.step)
    defer { sinceSaving.restart() }
    try replica.timeline.span("checkpoint", state.step) { try writeCheckpoint(state, reports) }
  }

  /// As `save`, for a run that goes on all the same: at most the steps to the next checkpoint are lost.
  ///
  /// - Throws: `SharedError`, but not because files cannot be written.
  func saveIfPossible(_ state: RunState, _ reports: RunReports?) throws {
    do {
      try save(state, reports)
      savedStep = state.step
      checkpointFailure.end()
    } catch let shared as SharedError where shared.error.code == .configuration {
      guard group.rank == 0 else { return }
      checkpointFailure.tell(
        shared.error, "The run goes on; the next checkpoint is tried when it is due.")
    }
  }

  /// - Throws: `SharedError` (ranksDisagree) before anything is written that only some ranks hold.
  func compareWeights(_ weights: FloatSlab) throws {
    try checkWeights(
      group.allGather(weightFingerprint(weights)), hosts: group.hosts, "After step \(state.step)")
  }

  private func writeCheckpoint(_ state: RunState, _ reports: RunReports?) throws {
    try compareWeights(parameters)
    // The same on all ranks.
    guard parameters.buffer.allSatisfy(\.isFinite) else {
      throw SharedError(
        error: RunError(
          .notFinite,
          """
          After step \(state.step) some weights are not finite.
          \(notFiniteAdvice)
          """))
    }
    let slices = replica.slices
    let whole = try replica.exchange.gatherSlices(slices.map { UnsafePointer($0.slab.base) })
    try group.together {
      guard group.rank == 0 else { return }
      try reports?.synchronize()
      try checkpoints.save(step: state.step) { folder in
        try weightFile.write(parameters.base, to: "\(folder)/weights.safetensors")
        let tensors = zip(slices, whole).flatMap { slice, slab in
          replica.layout.places.map {
            TensorToWrite(
              name: "\(slice.name).\($0.spec.name)", shape: $0.spec.shape,
              values: slab + $0.offset)
          }
        }
        try writeSafetensors(to: "\(folder)/optimizer.safetensors", metadata: [:], tensors: tensors)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        try AtomicFile.write(encoder.encode(state), to: "\(folder)/state.json")
      }
    }
  }
}
