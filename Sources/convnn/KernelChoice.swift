// Which kernels compute (`--cpu_level`, `--blas_core`, `--fp32_products`, `--amp_unit`).
import CKernels
import Diagnostics
import Foundation
import Tensors

/// OpenBLAS chooses its kernels when it is loaded, by the CPU or by OPENBLAS_CORETYPE in the
/// environment. A choice below what the CPU has halves the speed, so the program starts itself anew,
/// once and before MPI, with a better one.
enum KernelChoice {
  private static let variable = "OPENBLAS_CORETYPE"
  private static let marker = "CONVNN_BLAS_CORE"

  /// Names of kernels by what they need of a CPU: nothing, AVX2 with FMA, AVX-512.
  private static let avx2 = ["Haswell", "Zen", "Excavator"]
  private static let avx512 = ["SkylakeX", "Cooperlake", "SapphireRapids", "CascadeLake"]

  static func level(of core: String) -> Int {
    if avx512.contains(where: { $0.lowercased() == core.lowercased() }) { return 2 }
    return avx2.contains { $0.lowercased() == core.lowercased() } ? 1 : 0
  }

  /// The kernels to start again with, nil when those loaded will do.
  static func better(than loaded: String, cpuLevel: Int) -> String? {
    guard level(of: loaded) < cpuLevel else { return nil }
    return cpuLevel == 2 ? "SkylakeX" : "Haswell"
  }

  /// - Parameter comparesBLAS: OpenBLAS makes products even if it is not chosen to.
  /// - Throws: `RunError` (configuration) for what is not there, or too slow with --amp_strict.
  static func settle(_ flags: RunFlags, comparesBLAS: Bool = false) throws {
    try settle(flags.system.kernels, comparesBLAS: comparesBLAS)
    // Not before, as that may start the program anew.
    if flags.training.useCompiled || flags.training.compileMode != nil, Ending.isFirst {
      say("Note: --use_compiled changes nothing: this program is compiled ahead of time.")
    }
    guard flags.training.useAMP, Matmul.unit == .portable else { return }
    if flags.training.strictAMP {
      throw RunError.configuration(
        """
        --amp_strict: this run would make bfloat16 products without instructions for them, no \
        faster than it trains without --use_amp.
        Leave out one of the two, or find a CPU with AVX512-BF16 or AMX.
        """)
    }
    if Ending.isFirst {
      say("Note: without bfloat16 instructions --use_amp saves memory, but no time.")
    }
  }

  /// - Throws: `RunError` (configuration) for instructions, kernels or a unit that are not there.
  static func settle(_ flags: KernelFlags, comparesBLAS: Bool = false) throws {
    // First, as what is best depends on it.
    try (flags.level ?? .auto).limit()
    Matmul.unit = try (flags.unit ?? .auto).resolved()
    Matmul.singleProducts = try (flags.products ?? .auto).resolved(unit: Matmul.unit)
    if Matmul.singleProducts == .blas || flags.blasCore != nil || comparesBLAS {
      try settle(core: flags.blasCore)
    }
    Matmul.useOneThread()
    // As compute threads do: the same bits whoever computes.
    ck_flush_denormals()
  }

  private static func settle(core choice: String?) throws {
    let loaded = Matmul.coreName
    let environment = ProcessInfo.processInfo.environment
    let wanted: String?
    switch choice ?? "auto" {
    case "env": wanted = nil
    case "auto": wanted = better(than: loaded, cpuLevel: Int(ck_cpu_level()))
    case let name: wanted = name.lowercased() == loaded.lowercased() ? nil : name
    }
    if let wanted {
      if environment[marker] == nil {
        if Ending.isFirst {
          say("OpenBLAS has loaded its \(loaded) kernels; starting again with \(wanted).")
        }
        setenv(variable, wanted, 1)
        setenv(marker, wanted, 1)
        startAgain()
      }
      guard choice == nil || choice == "auto" else {
        throw RunError.configuration(
          "--blas_core \(wanted): OpenBLAS loads \(loaded) instead, so it does not know that name.\n"
            + "Give auto, env, or a name like Haswell, Zen, SkylakeX, Cooperlake.")
      }
    }
  }

  private static func startAgain() -> Never {
    let words = ["/proc/self/exe"] + CommandLine.arguments.dropFirst()
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    execv("/proc/self/exe", arguments)
    Ending.early(
      .configuration("The program could not start itself anew: \(systemErrorText())."))
  }
}
