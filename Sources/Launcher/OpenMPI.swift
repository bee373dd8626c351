// What versions 4 and 5 of Open MPI call by different names.

/// mpirun's command line so far: parameters that the user has set are left alone, as mpirun takes none twice.
struct MPIWords {
  let version: Int
  private(set) var words = ["mpirun"]
  /// Parameters that the user has set. (Files do not count: distributions write them too.)
  private let environment: [String: String]
  private let arguments: [String]

  init(version: Int, arguments: [String], environment: [String: String]) {
    self.version = version
    self.arguments = arguments
    self.environment = environment
  }

  mutating func append(_ more: String...) { words += more }
  mutating func append(_ more: [String]) { words += more }

  func userHasSet(_ parameter: String) -> Bool {
    arguments.contains(parameter)
      || ["OMPI_MCA_", "PRTE_MCA_"].contains { environment[$0 + parameter]?.isEmpty == false }
  }

  mutating func set(_ parameter: String, _ value: String) {
    if !userHasSet(parameter) { words += ["--mca", parameter, value] }
  }

  /// The same for what starts the ranks, which is a program of its own from version 5 on.
  mutating func setForStarter(_ parameter: String, _ value: String) {
    if !userHasSet(parameter) {
      words += [version == 4 ? "--mca" : "--prtemca", parameter, value]
    }
  }

  /// mpirun's helper on another host.
  static func helper(ofVersion version: Int) -> String { version == 4 ? "orted" : "prted" }

  mutating func startHelper(by command: String) {
    setForStarter(
      version == 4 ? "orte_launch_agent" : "prte_launch_agent",
      "\(command) \(Self.helper(ofVersion: version))")
  }

  /// One message for all ranks, which version 5 always does.
  mutating func aggregateMessages() {
    if version == 4 { set("orte_base_help_aggregate", "1") }
  }

  mutating func oversubscribe() {
    append("--oversubscribe")
    set("mpi_yield_when_idle", "1")
  }

  /// A host that is cut off without a word is given up after two minutes.
  mutating func giveUpSilentHosts() {
    setForStarter("oob_tcp_keepalive_time", "60")
    setForStarter("oob_tcp_keepalive_intvl", "15")
    setForStarter("oob_tcp_keepalive_probes", "4")
  }

  /// Keeps messages to a network, and what starts the ranks in version 4: that of version 5 (PRRTE 3.0) finds no
  /// interface of a network, and tries all of them by itself.
  mutating func keep(toNetwork network: String) {
    for part in version == 4 ? ["btl", "oob"] : ["btl"]
    where !userHasSet("\(part)_tcp_if_exclude") {
      set("\(part)_tcp_if_include", network)
    }
  }

  /// Ranks of one host, which need no network.
  mutating func keepToOneHost() {
    set("pml", "ob1")
    // In version 5 its name is sm, but it listens to the old one.
    set("btl", "self,vader")
  }

  /// Forbids ranks to read each other's memory.
  mutating func forbidSingleCopy() {
    if version == 4 {
      set("btl_vader_single_copy_mechanism", "none")
    } else if !userHasSet("btl_sm_single_copy_mechanism") {
      set("smsc", "^cma")
    }
  }
}
