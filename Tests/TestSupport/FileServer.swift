// A web server on this machine with one file and bad manners, for tests of downloads.
import Foundation

/// Answers every GET on 127.0.0.1 with its file, in threads of its own, until the test ends.
public final class FileServer: @unchecked Sendable {
  /// What it does with a request.
  public struct Manners: Sendable {
    /// Go on at the offset that a Range header asks for.
    public var honoursRanges = true
    /// Close the connection after so many bytes of the file.
    public var closesAfter: Int?
    /// Send so many bytes of the file, then nothing more, and keep the connection.
    public var hangsAfter: Int?
    /// Answer with this status and no file.
    public var status: Int?

    public init() {}
  }

  private let lock = NSLock()
  private let listener: Int32
  private var content: [UInt8]
  private var manners = Manners()
  private var requested: [Int] = []
  private var sent = 0
  private var isOpen = true
  public let port: Int

  public init(content: [UInt8]) throws {
    self.content = content
    // A client that goes away must not end the tests.
    signal(SIGPIPE, SIG_IGN)
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listener = self.listener
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, length) == 0 && listen(listener, 16) == 0
          && getsockname(listener, address, &length) == 0
      }
    }
    guard bound else { throw POSIXError(.EADDRINUSE) }
    port = Int(UInt16(bigEndian: address.sin_port))
    Thread.detachNewThread { [weak self] in
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0, let server = self else { return }
        Thread.detachNewThread { server.serve(connection) }
      }
    }
  }

  deinit { stop() }

  public func stop() {
    lock.withLock {
      guard isOpen else { return }
      isOpen = false
      shutdown(listener, Int32(SHUT_RDWR))
      close(listener)
    }
  }

  public var address: String { "http://127.0.0.1:\(port)/archive.tar.gz" }

  /// Changes what later requests get.
  public func set(content: [UInt8]? = nil, _ change: (inout Manners) -> Void = { $0 = Manners() }) {
    lock.withLock {
      if let content { self.content = content }
      change(&manners)
    }
  }

  /// Offsets that requests asked for, in their order.
  public var offsets: [Int] { lock.withLock { requested } }
  /// Bytes of the file sent so far.
  public var bytesSent: Int { lock.withLock { sent } }

  private func serve(_ connection: Int32) {
    defer { close(connection) }
    var request: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !String(decoding: request, as: UTF8.self).contains("\r\n\r\n") {
      let count = recv(connection, &buffer, buffer.count, 0)
      guard count > 0 else { return }
      request += buffer[..<count]
    }
    let offset = Self.offset(String(decoding: request, as: UTF8.self))
    let (content, manners) = lock.withLock {
      requested.append(offset)
      return (self.content, self.manners)
    }
    if let status = manners.status {
      return send(connection, Array("HTTP/1.1 \(status) No\r\nContent-Length: 0\r\n\r\n".utf8))
    }
    guard offset <= content.count, offset == 0 || offset < content.count else {
      return send(connection, Array("HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n".utf8))
    }
    let start = manners.honoursRanges ? offset : 0
    let body = Array(content[start...])
    var head = "HTTP/1.1 200 OK\r\n"
    if start > 0 {
      head =
        "HTTP/1.1 206 Partial Content\r\n"
        + "Content-Range: bytes \(start)-\(content.count - 1)/\(content.count)\r\n"
    }
    head += "Content-Length: \(body.count)\r\nConnection: close\r\n\r\n"
    send(connection, Array(head.utf8))
    let limit = manners.closesAfter ?? manners.hangsAfter ?? body.count
    let part = Array(body.prefix(limit))
    send(connection, part)
    lock.withLock { sent += part.count }
    // Until the client has gone.
    if manners.hangsAfter != nil { while recv(connection, &buffer, buffer.count, 0) > 0 {} }
  }

  private static func offset(_ request: String) -> Int {
    for line in request.split(separator: "\r\n") where line.lowercased().hasPrefix("range: bytes=")
    {
      return Int(line.dropFirst(13).prefix { $0.isNumber }) ?? 0
    }
    return 0
  }

  private func send(_ connection: Int32, _ bytes: [UInt8]) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        Foundation.send(connection, $0.baseAddress! + done, bytes.count - done, 0)
      }
      guard count > 0 else { return }
      done += count
    }
  }
}
