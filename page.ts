/**
 * The page of the observer: its skeleton and its looks. What it does is in `page_script.ts`.
 *
 * @module
 */

/** The page. */
export const PAGE: string = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Concurrence</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/observer.css">
<script type="module" src="/observer.js"></script>
</head>
<body>
<header>
  <img src="/icon.svg" alt="" width="26" height="26">
  <h1 id="title">Concurrence</h1>
  <p id="state" role="status" data-state="connecting">connecting</p>
  <button id="pause" type="button" aria-pressed="false" title="Pause (p)">Pause</button>
</header>
<p id="banner" role="alert" hidden></p>
<noscript><p class="banner">This page needs JavaScript; /snapshot.json and /metrics do not.</p></noscript>
<section id="figures" aria-label="Figures"></section>
<section id="warnings" aria-label="Warnings" hidden>
  <h2 id="warnings-title">Warnings</h2>
  <ul id="warning-list" aria-live="polite" aria-relevant="additions"></ul>
</section>
<main>
  <section id="list" aria-label="Tasklets">
    <div class="tools">
      <div class="views" role="group" aria-label="View">
        <button id="view-tree" type="button" aria-pressed="true">Tree</button>
        <button id="view-table" type="button" aria-pressed="false">Table</button>
      </div>
      <input id="filter" type="search" placeholder="Filter  /" autocomplete="off" spellcheck="false"
        aria-label="Filter by name, state, or what is waited for">
      <label class="sort">Sort by <select id="sort">
        <option value="id">age</option>
        <option value="name">name</option>
        <option value="state">state</option>
        <option value="since">wait</option>
        <option value="length">mailbox</option>
        <option value="rate">messages</option>
      </select></label>
      <label class="check"><input id="ended" type="checkbox" checked> ended</label>
      <span id="count" role="status"></span>
    </div>
    <div id="rows" role="treegrid" tabindex="0" aria-label="Tasklets" aria-describedby="keys">
      <div class="head" role="row" aria-rowindex="1">
        <span role="columnheader" data-key="name"><button type="button" tabindex="-1">Tasklet</button></span>
        <span role="columnheader" data-key="state"><button type="button" tabindex="-1">What it does</button></span>
        <span role="columnheader" data-key="since" class="number"><button type="button" tabindex="-1">For</button></span>
        <span role="columnheader" data-key="length"><button type="button" tabindex="-1">Mailbox</button></span>
        <span role="columnheader" data-key="rate" class="number"><button type="button" tabindex="-1">Msg/s</button></span>
      </div>
      <div id="space" role="rowgroup"></div>
      <p id="nothing" hidden>Nothing here goes by that name.</p>
    </div>
    <p id="keys"><kbd>↑</kbd> <kbd>↓</kbd> move, <kbd>←</kbd> <kbd>→</kbd> fold, <kbd>Enter</kbd> detail,
      <kbd>Space</kbd> into the diagram, <kbd>/</kbd> filter, <kbd>p</kbd> pause, <kbd>Esc</kbd> back</p>
  </section>
  <aside id="detail" aria-label="Detail" tabindex="-1" hidden></aside>
</main>
</body>
</html>
`;

/** Its looks. */
export const STYLE: string = `
:root {
  color-scheme: light dark;
  --ground: #f6f5f1; --surface: #ffffff; --raised: #fbfaf8; --line: #e5e2da; --ink: #24292d; --soft: #686e73;
  --accent: #2c786f; --tint: #e3f0ee; --blue: #3a6ab0; --amber: #96600c; --amber-tint: #fbf1de; --red: #ad3a34;
  --red-tint: #fae9e7; --row: 34px;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131619; --surface: #1a1e22; --raised: #1f2428; --line: #2c3238; --ink: #dde2e5; --soft: #929aa1;
    --accent: #68bdb0; --tint: #1d3533; --blue: #86aeea; --amber: #dcab5d; --amber-tint: #322817; --red: #e88a83;
    --red-tint: #381f1e;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html, body { height: 100%; margin: 0; }
body { display: flex; flex-direction: column; gap: 12px; padding: 14px 18px 10px; background: var(--ground);
  color: var(--ink); }
h1, h2, h3, p, ul, ol, dl, dd, pre { margin: 0; padding: 0; }
button, input, select { font: inherit; color: inherit; }
button, select, input[type="search"] { background: var(--surface); border: 1px solid var(--line); border-radius: 8px;
  padding: 5px 12px; }
button { cursor: pointer; }
button:hover { border-color: var(--accent); }
button[aria-pressed="true"] { background: var(--tint); border-color: transparent; color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
code, pre, kbd { font-family: ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; font-size: 12px; }

header { display: flex; align-items: center; gap: 10px; flex: none; }
h1 { font-size: 17px; font-weight: 600; letter-spacing: -0.01em; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
#state { display: flex; align-items: center; gap: 6px; margin-left: auto; color: var(--soft); white-space: nowrap; }
#state::before { content: ""; width: 8px; height: 8px; border-radius: 50%; background: var(--soft); }
#state[data-state="live"]::before { background: var(--accent); }
#state[data-state="lost"]::before { background: var(--red); }
#state[data-state="paused"]::before { background: var(--amber); }
#pause { min-width: 88px; }
#banner, .banner { flex: none; padding: 8px 14px; border-radius: 10px; background: var(--red-tint); color: var(--red); }

#figures { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 12px; flex: none; }
.figure { position: relative; padding: 9px 14px 0; background: var(--surface); border: 1px solid var(--line);
  border-radius: 12px; overflow: hidden; min-height: 84px; }
.figure .name { color: var(--soft); font-size: 12.5px; }
.figure .value { font-size: 20px; font-weight: 600; letter-spacing: -0.02em; line-height: 1.25; }
.figure .value small { font-size: 12px; font-weight: 400; color: var(--soft); letter-spacing: 0; margin-left: 3px; }
.figure svg { position: absolute; left: 0; right: 0; bottom: 0; width: 100%; height: 30px; display: block; }
.spark-area { fill: var(--tint); }
.spark-line { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }

#warnings { flex: none; background: var(--amber-tint); border-radius: 12px; padding: 9px 14px; max-height: 24vh;
  overflow: auto; }
#warnings h2 { font-size: 12.5px; font-weight: 600; color: var(--amber); }
#warning-list { list-style: none; }
#warning-list li { padding: 2px 0; overflow-wrap: anywhere; }
#warning-list button { background: none; border: 0; padding: 0; text-align: left; border-radius: 3px; }
#warning-list button:hover { text-decoration: underline; text-underline-offset: 3px; }

main { flex: 1; min-height: 0; display: flex; gap: 12px; }
#list { flex: 1; min-width: 0; display: flex; flex-direction: column; gap: 8px; }
.tools { display: flex; align-items: center; flex-wrap: wrap; gap: 8px 12px; }
.views { display: flex; }
.views button:first-child { border-radius: 8px 0 0 8px; }
.views button:last-child { border-radius: 0 8px 8px 0; border-left: 0; }
#filter { flex: 1; min-width: 120px; max-width: 320px; }
#filter::placeholder { color: var(--soft); }
.sort, .check, #count { color: var(--soft); white-space: nowrap; }
.check input { accent-color: var(--accent); vertical-align: -2px; }
.sort { display: none; }
#count { margin-left: auto; }
#rows { flex: 1; min-height: 180px; overflow: auto; position: relative; background: var(--surface);
  border: 1px solid var(--line); border-radius: 12px; contain: strict; }
#rows:focus-visible { outline-offset: -2px; }
#space { position: relative; }
.head, .row { display: grid; align-items: center; padding: 0 14px; column-gap: 14px;
  grid-template-columns: minmax(190px, 1.2fr) minmax(110px, 1.5fr) 52px 124px 58px; }
.head { position: sticky; top: 0; z-index: 2; height: 32px; background: var(--raised); border-bottom: 1px solid var(--line); }
.head button { white-space: nowrap; background: none; border: 0; padding: 2px 0; color: var(--soft); font-size: 12.5px; }
.head [aria-sort="ascending"] button::after { content: " ↑"; }
.head [aria-sort="descending"] button::after { content: " ↓"; }
.row { position: absolute; left: 0; right: 0; top: 0; height: var(--row); cursor: default; border-bottom: 1px solid transparent; }
.row:hover { background: var(--raised); }
.row[aria-selected="true"] { background: var(--tint); }
.row > span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.number { text-align: right; }
.row .number, .row .oldest { color: var(--soft); }
.who { display: flex; align-items: center; gap: 7px; }
.who .name { overflow: hidden; text-overflow: ellipsis; }
.who .id { color: var(--soft); font-size: 12px; }
.who .chosen { color: var(--accent); font-size: 11px; }
.fold { width: 16px; flex: none; padding: 0; border: 0; background: none; color: var(--soft); text-align: center;
  font-size: 10px; line-height: 16px; }
.dot { width: 9px; height: 9px; border-radius: 50%; flex: none; border: 1.5px solid var(--soft); }
[data-status="running"] .dot { background: var(--blue); border-color: var(--blue); }
[data-status="ready"] .dot { border-style: dotted; }
[data-status="stopping"] .dot { background: var(--amber); border-color: var(--amber); }
[data-status="failed"] .dot { background: var(--red); border-color: var(--red); }
[data-status="done"] .dot, [data-status="killed"] .dot { background: var(--line); border-color: var(--line); }
[data-status="failed"] .what { color: var(--red); }
[data-ended="true"]:not([data-status="failed"]) { opacity: 0.55; }
[data-warned="true"]:not([data-status="failed"]) .what { color: var(--amber); }
.what { color: var(--soft); }
.mail { display: flex; align-items: center; gap: 8px; }
.mail .bar { flex: none; width: 44px; height: 5px; border-radius: 3px; background: var(--line); overflow: hidden; }
.mail .fill { height: 100%; background: var(--accent); border-radius: 3px; transform-origin: left; }
.mail .fill[data-full="true"] { background: var(--amber); }
.mail .count { overflow: hidden; text-overflow: ellipsis; }
.mail[data-empty="true"] { visibility: hidden; }
#nothing { padding: 40px; text-align: center; color: var(--soft); }
#keys { color: var(--soft); font-size: 12px; flex: none; }
kbd { border: 1px solid var(--line); border-radius: 4px; padding: 0 4px; background: var(--surface); font-size: 11px; }

#detail { flex: none; width: clamp(340px, 33vw, 560px); overflow: auto; background: var(--surface);
  border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; }
#detail:focus { outline: none; }
#detail h2 { font-size: 16px; font-weight: 600; overflow-wrap: anywhere; }
#detail h3 { font-size: 12.5px; font-weight: 600; color: var(--soft); margin: 16px 0 5px; }
.top { display: flex; align-items: start; gap: 10px; }
.top h2 { flex: 1; }
.close { padding: 1px 9px; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 3px 14px; margin-top: 8px; }
dt { color: var(--soft); }
dd { overflow-wrap: anywhere; }
.letters { list-style: none; }
.letters li { display: grid; grid-template-columns: 60px 18px minmax(0, 1fr); gap: 6px; padding: 2px 0;
  border-bottom: 1px solid var(--line); }
.letters li:last-child { border: 0; }
.letters .when, .letters .way, .letters .peer { color: var(--soft); }
.letters .lost { color: var(--amber); }
.letters .body { overflow-wrap: anywhere; }
.cause { border-left: 3px solid var(--red); padding: 2px 0 2px 10px; margin-top: 6px; }
.cause p { color: var(--red); overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; color: var(--soft); }
.diagram { overflow: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--raised); max-height: 50vh; }
.diagram svg { display: block; }
.diagram text { font-size: 11.5px; fill: var(--ink); }
.diagram .soft { fill: var(--soft); }
.diagram .life { stroke: var(--line); }
.diagram rect { fill: var(--surface); stroke: var(--line); }
.diagram .arrow { stroke: var(--accent); fill: none; stroke-width: 1.3; }
.diagram .arrow.reply { stroke-dasharray: 4 3; }
.diagram .arrow.lost { stroke: var(--amber); }
.diagram .tip { fill: var(--accent); }
.diagram .tip.lost { fill: var(--amber); }
.actions { display: flex; gap: 8px; margin-top: 8px; flex-wrap: wrap; }
details summary { cursor: pointer; color: var(--soft); margin-top: 6px; }

@media (max-width: 1080px) and (min-width: 721px) {
  #detail { position: fixed; right: 12px; top: 12px; bottom: 12px; width: min(560px, 72vw); z-index: 5;
    box-shadow: 0 12px 40px rgb(0 0 0 / 0.22); }
}
@media (max-width: 720px) {
  :root { --row: 56px; font-size: 15px; }
  body { padding: 10px 10px 6px; gap: 9px; height: auto; min-height: 100%; }
  #figures { grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 8px; }
  .figure { grid-column: span 2; min-height: 70px; padding: 7px 10px 0; }
  .figure:nth-child(n + 4) { grid-column: span 3; }
  .figure .value { font-size: 17px; }
  .figure .name { font-size: 11.5px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
  .figure svg { height: 20px; }
  #warnings { max-height: 34vh; }
  #list { min-height: 78vh; }
  .sort { display: inline; }
  .head { height: 0; overflow: hidden; border: 0; }
  .row { grid-template-columns: minmax(0, 1fr) auto; grid-template-rows: 1fr 1fr; padding: 6px 12px; row-gap: 0;
    border-bottom-color: var(--line); }
  .row .who { grid-column: 1; }
  .row .what { grid-column: 1; grid-row: 2; padding-left: 2px; font-size: 13px; }
  .row .since { grid-column: 2; grid-row: 2; font-size: 13px; }
  .row .mail { grid-column: 2; grid-row: 1; justify-content: end; }
  .row .rate { display: none; }
  button, select, input[type="search"] { min-height: 40px; }
  .fold { min-height: 0; width: 26px; line-height: 26px; font-size: 12px; }
  #warning-list button { min-height: 32px; }
  #filter { max-width: none; flex-basis: 100%; order: 9; }
  #keys { display: none; }
  #detail { position: fixed; inset: 0; width: auto; border-radius: 0; border: 0; z-index: 5; }
  .close { min-width: 44px; }
}
@media (prefers-reduced-motion: no-preference) {
  .mail .fill { transition: transform 0.3s; }
  #detail { animation: arrive 0.16s ease-out; }
  @keyframes arrive { from { opacity: 0; transform: translateX(8px); } }
}
@media (forced-colors: active) {
  .dot, .mail .fill { forced-color-adjust: none; }
}
`;
