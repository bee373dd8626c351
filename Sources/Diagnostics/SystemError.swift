// The operating system's words for an error number.
import Foundation

/// Text of `errno` (or of the number given), for example "No such file or directory".
public func systemErrorText(_ number: Int32 = errno) -> String { String(cString: strerror(number)) }

/// The system's reason within an error of Foundation, whose own words hide it.
public func systemReason(of error: any Error) -> String {
  var inner = error as NSError
  while let next = inner.userInfo[NSUnderlyingErrorKey] as? any Error { inner = next as NSError }
  if inner.domain == NSPOSIXErrorDomain { return systemErrorText(Int32(inner.code)) }
  let text = error.localizedDescription
  return text.hasSuffix(".") ? String(text.dropLast()) : text
}
