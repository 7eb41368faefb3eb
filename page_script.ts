/**
 * What the page of the observer does: it follows the events, and keeps the list of tasklets.
 *
 * A text that the browser runs, without what TypeScript would add. Only the rows that are seen are in the document, so
 * that ten thousand tasklets cost no more than thirty.
 *
 * @module
 */
import { VIEWS } from "./page_views.ts";

/** The script of the page. */
export const SCRIPT: string = `"use strict";
${VIEWS}` + String.raw`
// ------------------------------------------------------------------------------------------------ what is known

const HISTORY = 120;
const rows = new Map();
let points = [];
let warnings = [];
let hidden = 0;
let at = 0; // the time of the program, at the last step ...
let heardAt = 0; // ... and that of the page, then
let steps = 0;

function programTime() {
  return at + (isPaused || isLost ? 0 : performance.now() - heardAt);
}

function take(step) {
  const before = at;
  at = step.at;
  heardAt = performance.now();
  warnings = step.warnings;
  hidden = step.hidden;
  for (const id of step.gone ?? []) rows.delete(id);
  for (const row of step.rows) put(row, before);
  steps++;
}

function put(row, before) {
  const old = rows.get(row.id);
  // What was quiet for long has been busy since the last step, not all the time.
  const span = old ? (at - old.at < 5000 ? at - old.at : at - before) : 0;
  row.rate = old && span > 0 ? (row.received - old.received) / (span / 1000) : 0;
  row.at = at;
  row.text = (row.name + "#" + row.id + " " + row.status + " " + row.waits.map((w) => w.what).join(" ") + " " +
    (row.names ?? []).join(" ")).toLowerCase();
  rows.set(row.id, row);
}

function rateOf(row) {
  return at - row.at > 2500 ? 0 : row.rate;
}

function addPoint(totals) {
  const last = points[points.length - 1];
  const rate = last && at > last.at ? Math.max(0, (totals.sent - last.sent) / ((at - last.at) / 1000)) : 0;
  const { tasklets, sent, queued, lag, heap } = totals;
  points.push({ at, tasklets, sent, queued, lag, heap, rate });
  if (points.length > HISTORY) points.shift();
}

function takeHistory(history) {
  points = history.map((p, i) => {
    const last = history[i - 1];
    return { ...p, rate: last && p.at > last.at ? Math.max(0, (p.sent - last.sent) / ((p.at - last.at) / 1000)) : 0 };
  });
}

// ------------------------------------------------------------------------------------------------ the connection

let source;
let isPaused = false;
let isLost = false;
let retry;

function connect() {
  clearTimeout(retry);
  source = new EventSource("/events");
  source.addEventListener("everything", (event) => {
    const all = JSON.parse(event.data);
    rows.clear();
    take(all);
    takeHistory(all.history);
    setText($("title"), clean(all.title));
    document.title = clean(all.title);
    heard();
  });
  source.addEventListener("step", (event) => {
    const step = JSON.parse(event.data);
    take(step);
    addPoint(step.totals);
    heard();
  });
  source.onerror = () => {
    lose("The connection is lost: what you see is how it was. Trying again…");
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, 2000);
  };
}

function heard() {
  isLost = false;
  $("banner").hidden = true;
  showState();
  render();
}

function lose(words) {
  isLost = true;
  setText($("banner"), words);
  $("banner").hidden = false;
  showState();
}

function showState() {
  const state = isPaused ? "paused" : isLost ? "lost" : "live";
  $("state").dataset.state = state;
  setText($("state"), state);
}

function pause() {
  isPaused = !isPaused;
  $("pause").setAttribute("aria-pressed", String(isPaused));
  setText($("pause"), isPaused ? "Go on" : "Pause");
  if (isPaused) source.close();
  else connect();
  showState();
}

// A program that is blocked sends nothing, and the connection does not know.
setInterval(() => {
  if (isPaused || heardAt === 0) return;
  const silence = performance.now() - heardAt;
  if (silence > 4000 && !isLost) lose("Nothing was heard for " + duration(silence) + ": the program is blocked or stopped.");
  if (!isLost) render();
}, 1000);

// ------------------------------------------------------------------------------------------------ the list

const folded = new Set();
const chosen = new Set();
let view = "tree";
let sortKey = "id";
let sortWay = 1;
let visible = []; // { row, level, hasChildren, isFolded }
let cursor; // the id of the row the keys are at
let opened; // the id of the row whose detail is shown

const VALUES = {
  id: (row) => row.id,
  name: (row) => row.name.toLowerCase(),
  state: (row) => doing(row),
  since: (row) => row.waits[0] ? row.waits[0].since : Infinity,
  length: (row) => -row.length,
  rate: (row) => -rateOf(row),
};

const MOST_FIRST = new Set(["length", "rate"]);

function compare(a, b) {
  const x = VALUES[sortKey](a), y = VALUES[sortKey](b);
  return (x < y ? -1 : x > y ? 1 : 0) * sortWay || a.id - b.id;
}

function doing(row) {
  if (row.status === "failed") return "failed: " + (row.error ?? "");
  if (row.waits.length > 0) {
    const prefix = row.status === "waiting" ? "waiting " : row.status + ", waiting ";
    return prefix + row.waits.map((wait) => wait.what).join(", and ");
  }
  return row.status === "waiting" ? "waiting for its children" : row.status;
}

function arrange() {
  const words = $("filter").value.trim().toLowerCase();
  const withEnded = $("ended").checked;
  const all = [...rows.values()].filter((row) => withEnded || !row.ended);
  const isMatch = (row) => words === "" || row.text.includes(words) || (row.error ?? "").toLowerCase().includes(words);
  if (view === "table") {
    visible = all.filter(isMatch).sort(compare).map((row) => ({ row, level: 0, hasChildren: false, isFolded: false }));
  } else {
    visible = treeOf(all, words === "" ? undefined : isMatch);
  }
  const shown = words === "" ? all.length : all.filter(isMatch).length;
  setText($("count"), (shown === all.length ? all.length : shown + " of " + all.length) +
    (all.length === 1 ? " tasklet" : " tasklets") + (hidden > 0 ? ", " + hidden + " more are not shown" : ""));
  $("nothing").hidden = visible.length > 0;
}

function treeOf(all, isMatch) {
  const known = new Set(all.map((row) => row.id));
  const kept = isMatch && withAncestors(all.filter(isMatch), known);
  const children = new Map();
  for (const row of all) {
    if (kept && !kept.has(row.id)) continue;
    const parent = known.has(row.parent) ? row.parent : undefined;
    const siblings = children.get(parent);
    if (siblings) siblings.push(row);
    else children.set(parent, [row]);
  }
  for (const siblings of children.values()) siblings.sort(compare);
  const list = [];
  const left = (children.get(undefined) ?? []).map((row) => [row, 0]).reverse();
  for (let next = left.pop(); next; next = left.pop()) {
    const [row, level] = next;
    const below = children.get(row.id);
    const isFolded = folded.has(row.id) && !isMatch;
    list.push({ row, level, hasChildren: below !== undefined, isFolded, below: below ? below.length : 0 });
    if (below && !isFolded) for (let i = below.length - 1; i >= 0; i--) left.push([below[i], level + 1]);
  }
  return list;
}

function withAncestors(found, known) {
  const kept = new Set();
  for (const row of found) {
    for (let each = row; each && !kept.has(each.id); each = known.has(each.parent) ? rows.get(each.parent) : undefined) {
      kept.add(each.id);
    }
  }
  return kept;
}

// ------------------------------------------------------------------------------------------------ its rows

const pool = [];

function makeRow() {
  const row = el("div", "row");
  row.setAttribute("role", "row");
  const cells = ["who", "what", "since number", "mail", "rate number"].map((name) => {
    const cell = el("span", name);
    cell.setAttribute("role", "gridcell");
    return cell;
  });
  const [who, what, since, mail, rate] = cells;
  const fold = el("button", "fold"), dot = el("i", "dot"), name = el("span", "name"), id = el("span", "id");
  const mark = el("span", "chosen");
  fold.tabIndex = -1;
  fold.setAttribute("aria-hidden", "true");
  who.append(fold, dot, name, id, mark);
  const bar = el("i", "bar"), fill = el("i", "fill"), count = el("span", "count");
  fill.style.display = "block";
  bar.append(fill);
  mail.append(bar, count);
  row.append(...cells);
  const made = { row, who, fold, name, id, mark, what, since, mail, fill, count, rate, of: undefined };
  fold.onclick = (event) => {
    event.stopPropagation();
    toggleFold(made.of);
  };
  row.onclick = () => open(made.of);
  return made;
}

function paint() {
  const box = $("rows");
  const height = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  const head = box.querySelector(".head").offsetHeight;
  $("space").style.height = visible.length * height + "px";
  const first = Math.max(0, Math.floor((box.scrollTop - head) / height) - 4);
  const last = Math.min(visible.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + 4);
  while (pool.length < last - first) {
    const made = makeRow();
    pool.push(made);
    $("space").append(made.row);
  }
  const time = programTime();
  const warned = new Set(warnings.flatMap(({ ids }) => ids));
  for (let i = 0; i < pool.length; i++) {
    const index = first + i;
    pool[i].row.hidden = index >= last;
    if (index < last) paintRow(pool[i], visible[index], index, height, time, warned);
  }
  box.setAttribute("aria-rowcount", String(visible.length + 1));
  const isThere = visible.slice(first, last).some(({ row }) => row.id === cursor);
  if (isThere) box.setAttribute("aria-activedescendant", "row-" + cursor);
  else box.removeAttribute("aria-activedescendant");
}

function paintRow(made, { row, level, hasChildren, isFolded, below }, index, height, time, warned) {
  const node = made.row;
  made.of = row.id;
  node.id = "row-" + row.id;
  node.style.transform = "translateY(" + index * height + "px)";
  node.dataset.status = row.status;
  node.dataset.ended = String(row.ended !== undefined);
  node.dataset.warned = String(warned.has(row.id));
  node.setAttribute("aria-rowindex", String(index + 2));
  node.setAttribute("aria-selected", String(row.id === cursor));
  if (view === "tree") node.setAttribute("aria-level", String(level + 1));
  else node.removeAttribute("aria-level");
  if (hasChildren) node.setAttribute("aria-expanded", String(!isFolded));
  else node.removeAttribute("aria-expanded");
  made.who.style.paddingLeft = Math.min(level, 12) * (height > 40 ? 12 : 20) + "px";
  made.fold.style.display = view === "tree" ? "" : "none";
  made.fold.style.visibility = hasChildren ? "" : "hidden";
  setText(made.fold, isFolded ? "▶" : "▼");
  setText(made.name, clean(row.name));
  setText(made.id, "#" + row.id + (isFolded ? "  +" + below : ""));
  setText(made.mark, chosen.has(row.id) ? "◆" : "");
  const what = clean(doing(row));
  setText(made.what, what);
  made.what.title = what;
  setText(made.since, row.waits[0] ? duration(time - row.waits[0].since) : row.ended ? duration(time - row.ended) : "");
  made.mail.dataset.empty = String(row.length === 0);
  const share = row.length / (row.capacity ?? Math.max(100, row.length));
  made.fill.style.transform = "scaleX(" + Math.min(1, share) + ")";
  made.fill.dataset.full = String(share > 0.8);
  setText(made.count, row.length === 0 ? "" : amount(row.length) + " " + clean(row.oldest ? row.oldest.type : ""));
  made.mail.title = row.length === 0 ? "" : row.length + " messages, first " + clean(row.oldest ? row.oldest.type : "");
  const rate = rateOf(row);
  setText(made.rate, rate > 0 ? amount(rate) : "");
}

// ------------------------------------------------------------------------------------------------ warnings

let warningText = "";

function showWarnings() {
  const text = JSON.stringify(warnings);
  if (text === warningText) return;
  warningText = text;
  $("warnings").hidden = warnings.length === 0;
  setText($("warnings-title"), warnings.length === 1 ? "One thing to look at" : warnings.length + " things to look at");
  const list = $("warning-list");
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = warnings.map((warning) => {
    const item = known.get(warning.key) ?? makeWarning(warning);
    setText(item.firstChild, clean(warning.text));
    return item;
  });
  // An item that stays is left where it is, so that it keeps the focus and is not read aloud again.
  for (const item of [...list.children]) if (!items.includes(item)) item.remove();
  items.forEach((item, i) => list.children[i] !== item && list.insertBefore(item, list.children[i] ?? null));
}

function makeWarning({ key, ids }) {
  const item = el("li");
  item.dataset.key = key;
  const button = el(ids.length > 0 ? "button" : "span");
  if (ids.length > 0) button.onclick = () => {
    if (ids.length > 1) for (const id of ids) chosen.add(id);
    open(ids[0]);
  };
  item.append(button);
  return item;
}

// ------------------------------------------------------------------------------------------------ the detail

let detail;
let sequence;

function open(id) {
  if (opened !== id) detail = sequence = undefined;
  opened = cursor = id;
  $("detail").hidden = false;
  reveal(id);
  showDetail();
  void load();
}

function close() {
  opened = undefined;
  $("detail").hidden = true;
  $("rows").focus();
  render();
}

async function load() {
  const id = opened;
  if (id === undefined || isLost) return;
  const ids = chosen.size > 1 ? [...chosen] : [id];
  try {
    const answers = await Promise.all([fetch("/tasklet.json?id=" + id), fetch("/sequence.json?ids=" + ids.join())]);
    const [one, two] = await Promise.all(answers.map((answer) => answer.json()));
    if (id !== opened) return;
    detail = one;
    sequence = two;
    showDetail();
  } catch {
    // The connection is lost; the stream of events notices, and says so.
  }
}

function showDetail() {
  if (opened === undefined) return;
  const row = rows.get(opened);
  const box = $("detail");
  const focused = box.contains(document.activeElement) ? [...box.querySelectorAll("button, summary, [tabindex]")].indexOf(document.activeElement) : -1;
  if (String(getSelection()) !== "" && box.contains(getSelection().anchorNode)) return; // somebody copies
  drawDetail(box, {
    id: opened, row, detail, sequence, isChosen: chosen.has(opened), chosenCount: chosen.size, at: programTime(),
  }, { close, open, choose: () => choose(opened) });
  if (focused >= 0) [...box.querySelectorAll("button, summary, [tabindex]")][focused]?.focus();
}

function choose(id) {
  if (!chosen.delete(id)) chosen.add(id);
  render();
  showDetail();
  void load();
}

setInterval(() => {
  if (opened !== undefined && !isPaused) void load();
}, 1000);

// ------------------------------------------------------------------------------------------------ keys and clicks

function toggleFold(id) {
  if (!folded.delete(id)) folded.add(id);
  render();
}

function move(to) {
  const index = Math.max(0, Math.min(visible.length - 1, to));
  if (visible[index] === undefined) return;
  cursor = visible[index].row.id;
  reveal(cursor);
  if (opened !== undefined) open(cursor);
  paint();
}

function reveal(id) {
  const index = visible.findIndex(({ row }) => row.id === id);
  if (index < 0) return;
  const box = $("rows");
  const height = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  const head = box.querySelector(".head").offsetHeight;
  const room = box.clientHeight - head;
  if (index * height < box.scrollTop) box.scrollTop = index * height;
  else if ((index + 1) * height > box.scrollTop + room) box.scrollTop = (index + 1) * height - room;
  paint();
}

$("rows").addEventListener("keydown", (event) => {
  const index = visible.findIndex(({ row }) => row.id === cursor);
  const here = visible[index];
  const page = 10;
  const act = {
    ArrowDown: () => move(index + 1),
    ArrowUp: () => move(index < 0 ? 0 : index - 1),
    PageDown: () => move(index + page),
    PageUp: () => move(index - page),
    Home: () => move(0),
    End: () => move(visible.length - 1),
    ArrowRight: () => here?.isFolded ? toggleFold(cursor) : here?.hasChildren && move(index + 1),
    ArrowLeft: () => {
      if (here?.hasChildren && !here.isFolded && view === "tree") toggleFold(cursor);
      else if (here) move(visible.findIndex(({ row }) => row.id === here.row.parent));
    },
    Enter: () => here && open(cursor),
    " ": () => here && choose(cursor),
  }[event.key];
  if (act === undefined || event.target.tagName === "BUTTON" || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.tagName === "INPUT" || event.target.tagName === "SELECT";
  if (event.key === "Escape" && opened !== undefined) close();
  else if (event.key === "Escape" && isTyping) $("rows").focus();
  else if (isTyping) return;
  else if (event.key === "/") {
    event.preventDefault();
    $("filter").focus();
  } else if (event.key === "p") pause();
});

function setView(name) {
  view = name;
  $("view-tree").setAttribute("aria-pressed", String(name === "tree"));
  $("view-table").setAttribute("aria-pressed", String(name === "table"));
  $("rows").setAttribute("role", name === "tree" ? "treegrid" : "grid");
  render();
}

function setSort(key) {
  sortWay = sortKey === key ? -sortWay : 1;
  sortKey = key;
  showSort();
}

function showSort() {
  for (const header of document.querySelectorAll("[role=columnheader]")) {
    if (header.dataset.key === sortKey) {
      const isUp = (sortWay > 0) !== MOST_FIRST.has(sortKey);
      header.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    }
    else header.removeAttribute("aria-sort");
  }
  $("sort").value = sortKey;
  render();
}

for (const header of document.querySelectorAll("[role=columnheader]")) {
  header.firstElementChild.onclick = () => setSort(header.dataset.key);
}
$("sort").onchange = () => {
  sortKey = $("sort").value;
  sortWay = 1;
  showSort();
};
$("view-tree").onclick = () => setView("tree");
$("view-table").onclick = () => setView("table");
$("filter").oninput = () => {
  $("rows").scrollTop = 0;
  render();
};
$("ended").onchange = () => render();
$("pause").onclick = pause;
$("rows").addEventListener("scroll", () => paint(), { passive: true });
addEventListener("resize", () => paint());

// ------------------------------------------------------------------------------------------------ drawing

let isDue = false;

function render() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    arrange();
    paint();
    showWarnings();
    drawFigures(points);
    if (opened !== undefined) showDetail();
  });
}

makeFigures();
connect();
`;
