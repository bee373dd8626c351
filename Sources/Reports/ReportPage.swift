// report.html: a run on one page, in one file that needs no other.
import Files
import Foundation

/// What the page tells beside `metrics.jsonl`.
public struct ReportPage: Sendable {
  public var title: String
  /// How many epochs the run is to have.
  public var epochs: Int
  /// The run in a few lines.
  public var facts: [(name: String, value: String)]
  public var flags: [(name: String, value: String)]

  public init(
    title: String, epochs: Int, facts: [(name: String, value: String)],
    flags: [(name: String, value: String)]
  ) {
    self.title = title
    self.epochs = epochs
    self.facts = facts
    self.flags = flags
  }

  /// More epochs than these are thinned out in the table.
  static let mostRows = 400

  /// HTML that is XML too. Its size is bounded whatever the length of the run: curves are thinned, by
  /// position alone, and so is the table.
  public func text(_ history: RunHistory, _ status: RunStatus, written: Date) -> String {
    """
    <!DOCTYPE html>
    <html xmlns="http://www.w3.org/1999/xhtml" lang="en">
    <head>
    <meta charset="utf-8"/>
    <meta name="viewport" content="width=device-width, initial-scale=1"/>
    <meta name="color-scheme" content="light dark"/>
    <title>\(Markup.escape(title))\(Self.titleEnd(status.state))
    <style>
    \(reportStyle)</style>
    </head>
    <body>
    <main>
    \(header(history, status, written))\(tiles(history))
    <section aria-label="Curves" class="figures">
    \(figures(history))</section>
    \(table(history))\(configuration)
    </main>
    </body>
    </html>

    """
  }

  private static func titleEnd(_ state: RunStatus.State) -> String { ": \(state)</title>" }
  private static func mark(_ state: RunStatus.State) -> String {
    "<strong class=\"state \(state)\">\(state)</strong>"
  }

  /// Writes into the page of a run that died, and cannot say so itself, how that was.
  ///
  /// - Throws: `RunError` (configuration) when the file is as it was.
  public static func markAsFailed(file path: String, reason: String) throws {
    guard let page = FileManager.default.contents(atPath: path) else { return }
    let failed = mark(.failed) + " (\(Markup.escape(reason)))"
    let text = String(decoding: page, as: UTF8.self)
      .replacingOccurrences(of: titleEnd(.running), with: titleEnd(.failed))
      .replacingOccurrences(of: mark(.running), with: failed)
    try AtomicFile.write(Data(text.utf8), to: path)
  }

  private func header(_ history: RunHistory, _ status: RunStatus, _ written: Date) -> String {
    let time = written.ISO8601Format().replacingOccurrences(of: "T", with: " ")
      .replacingOccurrences(of: "Z", with: " UTC")
    let epoch = "epoch \(min(status.epoch, epochs)) of \(epochs)"
    var text = """
      <header>
      <h1>\(Markup.escape(title))</h1>
      <p>\(Self.mark(status.state)) \(epoch), \
      step \(grouped(status.step)). Written \(time).</p>

      """
    if status.state != .done, !status.reason.isEmpty {
      text += "<p class=\"reason\">\(Markup.escape(status.reason))</p>\n"
    }
    if !history.resumes.isEmpty {
      let count = history.resumes.count
      let last = history.resumes.suffix(3).map(grouped).joined(separator: ", ")
      text +=
        count == 1
        ? "<p>Taken up again once, after step \(last).</p>\n"
        : "<p>Taken up again \(grouped(count)) times, \(count > 3 ? "of late " : "")after steps \(last).</p>\n"
    }
    return text + "</header>\n"
  }

  private func tiles(_ history: RunHistory) -> String {
    let last = history.epochs.last
    let seconds = history.epochs.map(\.seconds).filter(\.isFinite)
    let total = seconds.reduce(0, +)
    let speeds = history.epochs.map(\.imagesPerSecond).filter(\.isFinite).sorted()
    let waiting = history.data.values.map(\.secondsWaiting).filter(\.isFinite).reduce(0, +)
    let bad = history.data.values.map(\.badImages).reduce(0, +)
    var tiles: [(String, String, String)] = []
    if let best = history.best {
      tiles.append(("Best test top-1", percent(best.test.top1), "epoch \(best.epoch)"))
    }
    if let last {
      tiles.append(
        ("Test loss", Markup.fixed(last.test.loss, 4), "after epoch \(last.epoch)"))
      tiles.append(
        ("Training loss", Markup.fixed(last.train.loss, 4), "mean of epoch \(last.epoch)"))
    }
    if !speeds.isEmpty {
      let median = speeds[speeds.count / 2]
      tiles.append(("Throughput", "\(Markup.rate(median)) img/s", "median epoch, with evaluation"))
      tiles.append(
        (
          "Time", Markup.duration(total),
          "\(Markup.duration(total / Double(seconds.count))) an epoch"
        ))
    }
    if total > 0, !history.data.isEmpty {
      let note =
        bad == 0 ? "of the time of all epochs" : "\(grouped(bad)) damaged images replaced"
      tiles.append(("Waiting for data", percent(100 * waiting / total), note))
    }
    guard !tiles.isEmpty else { return "<p class=\"empty\">No epoch has ended yet.</p>" }
    let cells = tiles.map { name, value, note in
      "<div><dt>\(name)</dt><dd><b>\(value)</b> <small>\(note)</small></dd></div>\n"
    }
    return "<dl class=\"tiles\">\n\(cells.joined())</dl>"
  }

  private func figures(_ history: RunHistory) -> String {
    let (epochs, steps) = (history.epochs, history.steps)
    func byEpoch(
      _ name: String, _ style: String, _ value: (MetricsRecord.EpochRecord) -> Double
    ) -> Curve {
      Curve(name: name, style: style, points: epochs.map { (Double($0.epoch), value($0)) })
    }
    func byStep(_ title: String, _ value: (MetricsRecord.StepRecord) -> Double) -> Chart {
      let points = steps.map { (x: Double($0.step), y: value($0)) }
      return Chart(
        title: title, xName: "step", curves: [Curve(name: title, style: "train", points: points)])
    }
    let loss = Chart(
      title: "Loss", xName: "epoch",
      curves: [
        byEpoch("training", "train") { $0.train.loss }, byEpoch("test", "test") { $0.test.loss },
      ])
    var accuracy = Chart(
      title: "Top-1 accuracy, %", xName: "epoch",
      curves: [
        byEpoch("training", "train") { $0.train.top1 }, byEpoch("test", "test") { $0.test.top1 },
      ])
    if let best = history.best {
      let text = "best: \(percent(best.test.top1)) in epoch \(best.epoch)"
      accuracy.mark = (Double(best.epoch), best.test.top1, text)
    }
    let stepLoss = byStep("Loss of a step") { $0.loss }
    var rate = byStep("Learning rate") { $0.learningRate }
    rate.fromZero = true
    var norm = byStep("Norm of the gradient") { $0.gradientNorm }
    norm.yKind = .spread
    var speed = byStep("Images per second") { $0.imagesPerSecond }
    speed.fromZero = true
    return zip(1..., [loss, accuracy, stepLoss, rate, norm, speed])
      .map { $1.figure(id: "chart-\($0)") }.joined()
  }

  /// Newest first.
  private func table(_ history: RunHistory) -> String {
    let epochs = history.epochs
    guard let last = epochs.last else { return "" }
    let best = history.best?.epoch
    let stride = (epochs.count - 1) / Self.mostRows + 1
    let shown = epochs.enumerated().filter { index, record in
      index % stride == 0 || record.epoch == best || record.epoch == last.epoch
    }.map(\.element)
    let rows = shown.reversed().map { record -> String in
      let waiting = history.data[record.epoch].map { 100 * $0.secondsWaiting / record.seconds }
      let cells = [
        Markup.fixed(record.train.loss, 4), Markup.fixed(record.train.top1, 2),
        Markup.fixed(record.train.top5, 2), Markup.fixed(record.test.loss, 4),
        Markup.fixed(record.test.top1, 2), Markup.fixed(record.test.top5, 2),
        Markup.short(record.learningRate), Markup.duration(record.seconds),
        Markup.rate(record.imagesPerSecond), Markup.fixed(waiting ?? .nan, 1),
      ].map { "<td>\($0)</td>" }.joined()
      let isBest = record.epoch == best
      return "<tr\(isBest ? " class=\"best\"" : "")><th scope=\"row\">\(record.epoch)"
        + "\(isBest ? " <em>best</em>" : "")</th>\(cells)</tr>\n"
    }
    let note =
      stride == 1
      ? ""
      : "<p>One of \(stride) epochs, the best and the last; all of them are in metrics.jsonl.</p>\n"
    return """
      <section>
      <h2 id="epochs">Epochs</h2>
      \(note)<div class="scroll" role="region" aria-labelledby="epochs" tabindex="0">
      <table class="numbers">
      <thead>
      <tr><th rowspan="2" scope="col">epoch</th><th colspan="3" scope="colgroup">training</th>\
      <th colspan="3" scope="colgroup">test</th><th rowspan="2" scope="col">learning rate</th>\
      <th rowspan="2" scope="col">time</th><th rowspan="2" scope="col">images/s</th>\
      <th rowspan="2" scope="col">waiting for data, %</th></tr>
      <tr><th scope="col">loss</th><th scope="col">top-1, %</th><th scope="col">top-5, %</th>\
      <th scope="col">loss</th><th scope="col">top-1, %</th><th scope="col">top-5, %</th></tr>
      </thead>
      <tbody>
      \(rows.joined())</tbody>
      </table>
      </div>
      </section>

      """
  }

  private var configuration: String {
    """
    <section>
    <h2>Configuration</h2>
    <dl class="facts">
    \(list(facts))</dl>
    <details>
    <summary>All flags</summary>
    <dl class="facts flags">
    \(list(flags))</dl>
    </details>
    </section>
    """
  }

  private func list(_ items: [(name: String, value: String)]) -> String {
    items.map { item in
      "<div><dt>\(Markup.escape(item.name))</dt><dd>\(Markup.escape(item.value))</dd></div>\n"
    }.joined()
  }

  private func percent(_ value: Double) -> String { Markup.fixed(value, 2) + " %" }
}
