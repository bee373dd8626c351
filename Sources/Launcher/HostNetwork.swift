// Which hosts are others, and by which network this host reaches them.
import Foundation

struct HostNetwork {
  let signals: Signals

  /// The names of the other hosts, each once.
  func others(_ list: HostList) -> [String] {
    Set(list.hosts.map(\.name)).sorted().filter { !isHere($0) }
  }

  /// Whether a name or an address is this host's.
  func isHere(_ host: String) -> Bool {
    func short(_ name: String) -> Substring { name.prefix { $0 != "." } }
    if host == "localhost" || short(host) == short(Machine.hostName) { return true }
    let own = signals.output(of: "hostname", "-I").joined(separator: " ").split(separator: " ")
    return addresses(host).contains { $0.hasPrefix("127.") || own.contains($0) }
  }

  private func addresses(_ host: String) -> [Substring] {
    signals.output(of: "getent", "ahostsv4", host).compactMap { $0.split(separator: " ").first }
  }

  /// The IPv4 address that ssh would take for a host.
  private func address(_ host: String) -> Substring? {
    let name = signals.output(of: "ssh", "-G", host)
      .first { $0.hasPrefix("hostname ") }?.dropFirst("hostname ".count)
    return addresses(name.map(String.init) ?? host).first
  }

  /// The one network, like 10.0.0.0/8, by which this host reaches all others; nil if that cannot be told, or if
  /// there are several: Open MPI does not bear a list of which a host has not every network.
  func common(_ list: HostList) -> String? {
    var network: String?
    for host in others(list) {
      guard let address = address(host),
        let route = signals.output(of: "ip", "-4", "-o", "route", "get", String(address)).first,
        let source = route.firstMatch(of: /\ssrc ([0-9.]+)/)?.1,
        let own = signals.output(of: "ip", "-4", "-o", "address", "show", "to", "\(source)/32")
          .first?.split(separator: " ").dropFirst(3).first.map(String.init),
        network == nil || network == own, Self.contains(own, address)
      else { return nil }
      network = own
    }
    return network
  }

  /// Whether an address is in a network like 10.0.0.0/8.
  static func contains(_ network: String, _ address: Substring) -> Bool {
    let parts = network.split(separator: "/")
    guard parts.count == 2, let bits = Int(parts[1]), 0...32 ~= bits, let one = number(parts[0]),
      let other = number(address)
    else { return false }
    return one >> (32 - bits) == other >> (32 - bits)
  }

  private static func number(_ address: Substring) -> UInt64? {
    let bytes = address.split(separator: ".").compactMap { UInt8($0) }
    return bytes.count == 4 ? bytes.reduce(0) { $0 << 8 + UInt64($1) } : nil
  }

  /// Whether the user has written of networks in a file, and so means it.
  static var isSetInFiles: Bool {
    let files = [
      NSHomeDirectory() + "/.openmpi/mca-params.conf", "/etc/openmpi/openmpi-mca-params.conf",
    ]
    let setting = /\s*(btl|oob)_tcp_if_(in|ex)clude\s*=/
    return files.compactMap { Machine.text(ofFile: $0) }.joined(separator: "\n")
      .split(whereSeparator: \.isNewline).contains { $0.prefixMatch(of: setting) != nil }
  }
}
