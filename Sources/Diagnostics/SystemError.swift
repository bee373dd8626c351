// The operating system's words for an error number.
import Foundation

/// Text of `errno` (or of the number given), for example "No such file or directory".
public func systemErrorText(_ number: Int32 = errno) -> String { String(cString: strerror(number)) }
