// report.html: well-formed, escaped, self-contained, with all that the run has told.
import Foundation
import FoundationXML
import TestSupport
import Testing

@testable import Reports

@Suite("report.html") struct ReportPageTests {
  static let page = ReportPage(
    title: "Attention on cifar10", epochs: 300,
    facts: [("Layer", "Attention"), ("Seed", "5")], flags: [("lr", "0.001")])
  static let written = Date(timeIntervalSince1970: 1_700_000_000)

  static func text(
    _ history: RunHistory, _ page: ReportPage = page, state: RunStatus.State = .running,
    reason: String = ""
  ) -> String {
    page.text(
      history, RunStatus(state, step: 1234, epoch: 2, reason: reason), written: written)
  }

  private static func history(_ epochs: Int, steps: Int, seed: Int) -> RunHistory {
    var random = SeededGenerator(seed)
    var history = RunHistory()
    func percent() -> Double { (Double.random(in: 0...100, using: &random) * 100).rounded() / 100 }
    func odd(_ value: Double) -> Double {
      let odds: [Double] = [.nan, .infinity, 0, 1e30, -1e-30]
      return Int.random(in: 0..<20, using: &random) == 0
        ? odds.randomElement(using: &random)! : value
    }
    for step in 0..<steps {
      history.add(
        .step(
          .init(
            epoch: 1, step: step * 10 + 10, loss: odd(percent()), gradientNorm: odd(percent()),
            learningRate: odd(1e-3), imagesPerSecond: odd(percent()))))
    }
    for epoch in 0..<epochs {
      let test = SplitResult(loss: odd(percent()), top1: percent(), top5: percent())
      let train = SplitResult(loss: odd(percent()), top1: percent(), top5: odd(percent()))
      history.add(
        .epoch(
          .init(
            epoch: epoch + 1, train: train, test: test, learningRate: odd(1e-3),
            seconds: odd(percent()), imagesPerSecond: odd(percent()))))
      if Bool.random(using: &random) {
        history.add(
          .data(
            .init(
              epoch: epoch + 1, secondsWaiting: odd(1), badImages: epoch % 2, peakMegabytes: 300)))
      }
    }
    return history
  }

  @Test("random histories", arguments: 0..<60) func random(seed: Int) throws {
    let (epochs, steps) = ([0, 1, 2, 60, 61, 399, 900][seed % 7], [0, 1, 3, 600, 2000][seed % 5])
    let history = Self.history(epochs, steps: steps, seed: seed)
    let text = Self.text(history)
    #expect(text == Self.text(history))
    let page = try Page(text)
    #expect(page.rows.count <= 402)
    if epochs <= 400 { #expect(page.rows.count == epochs) }
    #expect(page.charts.count <= 6)
    if epochs > 0, steps > 3 { #expect(page.charts.count == 6) }
    // Nothing drawn is not a number, and nothing lies outside the picture.
    for path in page.paths {
      #expect(!path.contains("nan") && !path.contains("inf"))
      let numbers = path.split { !"-.0123456789".contains($0) }.map { Double($0) }
      #expect(numbers.allSatisfy { $0 != nil && (0...560).contains($0!) })
    }
    // The best epoch by the plainest search.
    var best: (epoch: Int, top1: Double)?
    for record in history.epochs where best == nil || record.test.top1 > best!.top1 {
      best = (record.epoch, record.test.top1)
    }
    let marked = page.rows.filter { $0.contains("best") }
    if let best {
      #expect(marked.count == 1 && marked[0].hasPrefix("\(best.epoch) best"))
      #expect(marked[0].contains(String(format: "%.2f", best.top1)))
      #expect(
        text.contains("<b>\(String(format: "%.2f", best.top1)) %</b> <small>epoch \(best.epoch)<"))
    } else {
      #expect(marked.isEmpty && text.contains("No epoch has ended yet."))
    }
  }

  @Test("every point up to the limit, and no more beyond it", arguments: [2, 60, 600, 601, 5000])
  func points(count: Int) throws {
    var history = RunHistory()
    for index in 1...count {
      history.add(.epoch(epochRecord(index)))
      history.add(.step(stepRecord(index)))
    }
    let page = try Page(Self.text(history))
    let lines = page.paths.filter { $0.contains("h0") && !$0.hasSuffix("Z") }
    // Two curves in each of the charts by epoch, one in each of those by step.
    #expect(lines.count == 8)
    for line in lines {
      #expect(line.filter { "ML".contains($0) }.count == min(count, 600))
    }
    #expect(page.paths.filter { $0.hasSuffix("Z") }.count == (count > 600 ? 8 : 0))
    #expect(page.markers == (count <= 60 ? 8 * count : 0))
  }

  @Test("what users name cannot become markup", arguments: 0..<30) func escaping(seed: Int) throws {
    var random = SeededGenerator(seed)
    let pieces = [
      "<script>alert(1)</script>", "&", "&amp;", "\"", "'", "]]>", "-->", "\u{0}", "\u{1b}", "\r\n",
      "\u{fffe}", "😀", "ö", "</style>", "%@", "\\u0041", "\u{202e}", "a b",
    ]
    func word() -> String {
      (0...Int.random(in: 1...4, using: &random)).map { _ in pieces.randomElement(using: &random)! }
        .joined()
    }
    let (title, reason, value, flag) = (word(), word(), word(), word())
    let report = ReportPage(
      title: title, epochs: 3, facts: [("Folder", value)], flags: [(flag, value)])
    let page = try Page(Self.text(RunHistory(), report, state: .failed, reason: reason))
    func shown(_ text: String) -> String {
      let forbidden = Set("\u{0}\u{1b}\u{fffe}".unicodeScalars)
      return String(
        String.UnicodeScalarView(
          text.unicodeScalars.map { forbidden.contains($0) ? "\u{fffd}" : $0 })
      ).replacingOccurrences(of: "\r\n", with: "\n")
    }
    #expect(page.texts["h1"]?.first == shown(title))
    #expect(page.texts["dd"]?.filter { $0 == shown(value) }.count == 2)
    #expect(page.texts["dt"]?.contains(shown(flag)) == true)
    #expect(page.texts["p"]?.contains(shown(reason)) == true)
    #expect(!page.names.contains("script"))
  }

  @Test("the state, its reason and its resumes are told") func states() throws {
    var history = RunHistory()
    let failed = Self.text(history, state: .failed, reason: "Rank 1: it's <over>")
    #expect(failed.contains("<strong class=\"state failed\">failed</strong>"))
    #expect(failed.contains("Rank 1: it&#39;s &lt;over&gt;"))
    #expect(failed.contains("epoch 2 of 300, step 1,234. Written 2023-11-14 22:13:20 UTC."))
    #expect(!Self.text(history, state: .done, reason: "complete").contains("complete"))
    history.add(.resume(step: 40))
    #expect(Self.text(history).contains("Taken up again once, after step 40."))
    for step in [50, 60, 7000] { history.add(.resume(step: step)) }
    #expect(Self.text(history).contains("again 4 times, of late after steps 50, 60, 7,000."))
  }

  @Test("it needs no other file and runs nothing") func alone() throws {
    let text = Self.text(Self.history(9, steps: 9, seed: 1))
    let page = try Page(text)
    let known: Set = [
      "html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "h3", "p",
      "strong", "dl", "div", "dt", "dd", "b", "small", "section", "figure", "figcaption", "span",
      "svg", "path", "circle", "g", "text", "desc", "table", "thead", "tbody", "tr", "th", "td",
      "em", "details", "summary",
    ]
    #expect(page.names.subtracting(known).isEmpty)
    #expect(page.attributes.isDisjoint(with: ["src", "href", "onload", "onclick", "action"]))
    #expect(!text.contains("url(") && !text.contains("@import"))
    // Each picture has a title and a description of its own to be called by.
    #expect(page.charts.count == 6)
    for label in page.charts {
      #expect(label.split(separator: " ").allSatisfy { page.ids.contains(String($0)) })
    }
    #expect(Set(page.ids).count == page.ids.count)
  }

  @Test("a long run's page stays small") func long() throws {
    let text = Self.text(Self.history(300, steps: 100_000, seed: 3))
    #expect(text.utf8.count < 400_000)
    _ = try Page(text)
    #expect(Self.text(Self.history(20_000, steps: 10, seed: 3)).utf8.count < 400_000)
  }
}

private struct Malformed: Error {
  let text: String
}

/// The page as an XML parser sees it.
private final class Page: NSObject, XMLParserDelegate {
  private(set) var names: Set<String> = []
  private(set) var attributes: Set<String> = []
  private(set) var ids: [String] = []
  /// Text directly within elements, by their name.
  private(set) var texts: [String: [String]] = [:]
  /// `aria-labelledby` of each chart.
  private(set) var charts: [String] = []
  /// The text of each row of the table's body.
  private(set) var rows: [String] = []
  private(set) var paths: [String] = []
  private(set) var markers = 0
  private var open: [(name: String, text: String)] = []
  private var isInBody = false

  init(_ text: String) throws {
    super.init()
    let parser = XMLParser(data: Data(text.utf8))
    parser.delegate = self
    guard parser.parse(), open.isEmpty else {
      throw Malformed(
        text: "line \(parser.lineNumber): \(parser.parserError.map { "\($0)" } ?? "not closed")")
    }
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
    qualifiedName: String?, attributes given: [String: String]
  ) {
    names.insert(name)
    attributes.formUnion(given.keys)
    if let id = given["id"] { ids.append(id) }
    if name == "svg", given["class"] == "chart" { charts.append(given["aria-labelledby"] ?? "") }
    if name == "path", let path = given["d"] { paths.append(path) }
    if name == "circle", given["class"]?.hasPrefix("point") == true { markers += 1 }
    if name == "tbody" { isInBody = true }
    if name == "tr", isInBody { rows.append("") }
    open.append((name, ""))
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) {
    open[open.count - 1].text += text
    if isInBody, !rows.isEmpty { rows[rows.count - 1] += text }
  }

  func parser(
    _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
  ) {
    texts[name, default: []].append(open.removeLast().text)
    if isInBody, name == "td" || name == "th" { rows[rows.count - 1] += " " }
    if name == "tbody" { isInBody = false }
  }
}
