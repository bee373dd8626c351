// How report.html looks: the reader's own fonts, light or dark as the reader has it.

/// A style sheet that is text in XML too: no `<`, no `&`.
let reportStyle = """
  :root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1d2127; --soft: #5c6470;
    --line: #e3e5e8; --axis: #9aa1ab; --train: #2f6fc4; --test: #c2530d; --good: #1f7a3d; --bad: #b3261e; }
  @media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1b1f25; --ink: #e7e9ec;
    --soft: #a0a8b4; --line: #2e343c; --axis: #6b7480; --train: #7db1f5; --test: #f5a05c;
    --good: #74cf90; --bad: #ff8a80; } }
  * { box-sizing: border-box; }
  body { margin: 0; background: var(--page); color: var(--ink);
    font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
  main { max-width: 76rem; margin: 0 auto; padding: 2rem 1.5rem 3rem; }
  h1 { font-size: 1.7rem; line-height: 1.2; font-weight: 650; margin: 0 0 .5rem; overflow-wrap: anywhere; }
  h2 { font-size: 1.2rem; font-weight: 650; margin: 2.25rem 0 .75rem; }
  h3 { font-size: .95rem; font-weight: 600; margin: 0; }
  p { margin: .25rem 0; color: var(--soft); }
  .state { display: inline-block; padding: 0 .6rem; margin-right: .35rem; border: 1px solid;
    border-radius: 1rem; font-weight: 600; }
  .state.running { color: var(--train); } .state.done { color: var(--good); }
  .state.failed { color: var(--bad); } .state.preempted { color: var(--test); }
  .reason { white-space: pre-wrap; overflow-wrap: anywhere; color: var(--ink);
    border-left: 3px solid var(--axis); padding-left: .75rem; margin: .75rem 0; }
  .empty { padding: 2rem 0; text-align: center; }
  .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem;
    margin: 1.5rem 0; }
  .tiles div, figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
    padding: .8rem 1rem; }
  dt { color: var(--soft); font-size: .85rem; }
  dd { margin: 0; }
  .tiles b { display: block; font-size: 1.45rem; line-height: 1.3; font-weight: 600;
    font-variant-numeric: tabular-nums; white-space: nowrap; }
  small { color: var(--soft); font-size: .85rem; }
  .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr));
    gap: .75rem; }
  figure { margin: 0; min-width: 0; }
  figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem;
    margin-bottom: .4rem; }
  .legend { margin: 0; font-size: .85rem; } .legend span { margin-left: 1rem; white-space: nowrap; }
  .key { width: 28px; height: 10px; margin-right: .35rem; }
  .chart { display: block; width: 100%; height: auto; }
  .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
  .line.train { stroke: var(--train); } .line.test { stroke: var(--test); }
  .point.train, .band.train { fill: var(--train); } .point.test, .band.test { fill: var(--test); }
  .line.test, .key .test { stroke-width: 2.4; }
  .band { fill-opacity: .2; }
  .mark { fill: transparent; stroke: var(--test); stroke-width: 1.8; }
  .grid path { stroke: var(--line); } .axis path { stroke: var(--axis); }
  .labels { fill: var(--soft); font-size: 12px; text-anchor: middle; font-variant-numeric: tabular-nums; }
  .labels .y { text-anchor: end; }
  .scroll { max-height: 32rem; overflow: auto; background: var(--card); border: 1px solid var(--line);
    border-radius: .6rem; }
  table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .9rem;
    font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .75rem; text-align: right; white-space: nowrap;
    border-bottom: 1px solid var(--line); }
  tbody tr:last-child th, tbody tr:last-child td { border-bottom: 0; }
  thead { position: sticky; top: 0; background: var(--card); color: var(--soft); }
  thead th { font-weight: 500; vertical-align: bottom; }
  thead th[colspan] { text-align: center; }
  tbody th { font-weight: 500; }
  .best th, .best td { font-weight: 650; }
  em { font-style: normal; font-size: .8rem; color: var(--test); }
  .facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr));
    gap: .6rem 1.5rem; margin: 0; }
  .facts dd { overflow-wrap: anywhere; }
  details { margin-top: 1rem; } summary { cursor: pointer; color: var(--soft); }
  .flags { margin-top: .75rem; grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); }
  .flags dd { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .85rem; }
  @media print { .scroll { max-height: none; } }

  """
