// The maps from tokens to queries, keys and values, where the last block needs few of them.
import Tensors

// B images, T tokens, Q output tokens, D width, I inner width (heads x head width).

/// The tokens whose keys and values are wanted: `count` of them, `step` apart, from token 0 on.
struct KeyReach {
  let count: Int
  let step: Int
}

/// q, k, v = x · Wᵀ with W [3I, D], side by side in rows of 3I. With Q = 1 only the class token's query
/// and the keys and values of the tokens it reaches are computed.
struct AttentionProjections {
  let width: Int
  let inner: Int
  let tokens: Int
  /// Keys are chosen by their scores.
  var keepsOrder = false

  /// Floating-point operations per image.
  func operations(outputTokens: Int, reach: KeyReach) -> Int {
    2 * width * inner * (outputTokens + 2 * reach.count)
  }

  /// - Parameter qkv: [B·T, 3I]; with Q = 1 only rows and columns that are needed are written.
  func forward(_ pass: LayerPass, input: Rows, qkv: Rows, reach: KeyReach) {
    if pass.outputTokens == tokens {
      Linear.project(
        rows: pass.images * tokens, inputs: width, width: inner, parts: 0..<3, x: input,
        weight: pass.parameters, y: qkv, keepsOrder: keepsOrder)
      return
    }
    precondition(pass.outputTokens == 1)
    Linear.project(
      rows: pass.images, inputs: width, width: inner, parts: 0..<1, x: every(tokens, of: input),
      weight: pass.parameters, y: every(tokens, of: qkv), keepsOrder: keepsOrder)
    let weight = pass.parameters + inner * width
    // All images at once where every token counts, else one product per image.
    let whole = reach.count == tokens
    for run in 0..<(whole ? 1 : pass.images) {
      Linear.project(
        rows: whole ? pass.images * tokens : reach.count, inputs: width, width: inner, parts: 1..<3,
        x: every(reach.step, of: input, from: run * tokens), weight: weight,
        y: every(reach.step, of: qkv.columns(from: inner), from: run * tokens),
        keepsOrder: keepsOrder)
    }
  }

  /// Weight gradients (at the start of `pass.gradients`) and dInput [B·T, D], overwritten, from dQkv,
  /// which holds what `forward` would have written.
  func backward(_ pass: LayerPass, input: Rows, dQkv: Rows, dInput: Rows, reach: KeyReach) {
    let gradients = pass.gradients!
    if pass.outputTokens == tokens {
      Linear.backwardWeight(
        rows: pass.images * tokens, inputs: width, outputs: 3 * inner, dY: dQkv, x: input,
        dWeight: gradients, beta: pass.gradientBeta)
      Linear.backwardInput(
        rows: pass.images * tokens, inputs: width, outputs: 3 * inner, dY: dQkv,
        weight: pass.parameters, dX: dInput)
      return
    }
    let firstQueries = every(tokens, of: dQkv)
    Linear.backwardWeight(
      rows: pass.images, inputs: width, outputs: inner, dY: firstQueries,
      x: every(tokens, of: input), dWeight: gradients, beta: pass.gradientBeta)
    let whole = reach.count == tokens
    if !whole {
      for row in 0..<pass.images * tokens {
        dInput.row(row).update(repeating: 0, count: width)
      }
    }
    for run in 0..<(whole ? 1 : pass.images) {
      let rows = whole ? pass.images * tokens : reach.count
      let dKeys = every(reach.step, of: dQkv.columns(from: inner), from: run * tokens)
      Linear.backwardWeight(
        rows: rows, inputs: width, outputs: 2 * inner, dY: dKeys,
        x: every(reach.step, of: input, from: run * tokens), dWeight: gradients + inner * width,
        beta: run == 0 ? pass.gradientBeta : 1)
      Linear.backwardInput(
        rows: rows, inputs: width, outputs: 2 * inner, dY: dKeys,
        weight: pass.parameters + inner * width,
        dX: every(reach.step, of: dInput, from: run * tokens))
    }
    Linear.backwardInput(
      rows: pass.images, inputs: width, outputs: inner, dY: firstQueries, weight: pass.parameters,
      dX: every(tokens, of: dInput), beta: 1)
  }

  private func every(_ step: Int, of rows: Rows, from first: Int = 0) -> Rows {
    rows.from(row: first).every(step)
  }
}
