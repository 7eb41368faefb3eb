/**
 * The parts of the page of the observer that are drawn: figures with curves, the detail of a tasklet, the diagram.
 *
 * A text that the browser runs, without what TypeScript would add; `page_script.ts` goes on with it.
 *
 * @module
 */

/** The script of these parts. */
export const VIEWS: string = String.raw`
const SVG = "http://www.w3.org/2000/svg";

function $(id) {
  return document.getElementById(id);
}

function el(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function svg(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Controls, and what turns the direction of the text around it, are shown instead of obeyed.
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

function clean(text) {
  return String(text).replace(CONTROLS, (c) => c < " " ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : "\ufffd");
}

function label(party) {
  return party ? clean(party.name) + "#" + party.id : "outside";
}

function duration(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return s.toFixed(s < 10 ? 1 : 0) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h";
  return Math.floor(s / 86400) + " d";
}

function amount(n) {
  if (n < 1000) return n < 10 && n % 1 ? n.toFixed(1) : String(Math.round(n));
  if (n < 1e6) return (n / 1e3).toFixed(n < 1e4 ? 1 : 0) + "k";
  return (n / 1e6).toFixed(1) + "M";
}

// ------------------------------------------------------------------------------------------------ figures

const FIGURES = [
  { name: "Tasklets", of: (p) => p.tasklets, format: (n) => [String(n), ""] },
  { name: "Messages", of: (p) => p.rate, format: (n) => [amount(n), "a second"] },
  { name: "In mailboxes", of: (p) => p.queued, format: (n) => [amount(n), ""] },
  { name: "Event loop lag", of: (p) => p.lag, format: (n) => [String(Math.round(n)), "ms"], least: 20 },
  { name: "Heap", of: (p) => p.heap, format: (n) => [(n / 1048576).toFixed(0), "MB"] },
];

function makeFigures() {
  for (const figure of FIGURES) {
    const box = el("div", "figure");
    box.append(el("div", "name", figure.name), el("div", "value"));
    const graph = svg("svg", { viewBox: "0 0 119 30", preserveAspectRatio: "none", "aria-hidden": "true" });
    figure.area = svg("path", { class: "spark-area" });
    figure.line = svg("path", { class: "spark-line" });
    graph.append(figure.area, figure.line);
    figure.value = box.querySelector(".value");
    box.append(graph);
    $("figures").append(box);
  }
}

function drawFigures(points) {
  if (points.length === 0) return;
  for (const { of, format, value, area, line, least = 1 } of FIGURES) {
    const [number, unit] = format(of(points[points.length - 1]));
    value.replaceChildren(number, el("small", "", unit));
    const most = Math.max(least, ...points.map(of));
    const path = points.map((p, i) => {
      const x = 119 - (points.length - 1 - i);
      return (i === 0 ? "M" : "L") + x + " " + (28 - (of(p) / most) * 24).toFixed(1);
    }).join("");
    line.setAttribute("d", path);
    area.setAttribute("d", path + "L119 30L" + (120 - points.length) + " 30Z");
  }
}

// ------------------------------------------------------------------------------------------------ detail

function drawDetail(box, { id, row, detail, isChosen, chosenCount, sequence, at }, actions) {
  const scroll = box.scrollTop;
  const top = el("div", "top");
  const close = el("button", "close", "×");
  close.setAttribute("aria-label", "Close the detail");
  close.onclick = actions.close;
  top.append(el("h2", "", row ? label(row) : "#" + id), close);
  const parts = [top];
  if (!row) parts.push(el("p", "what", "It has ended, and is remembered no more."));
  else parts.push(facts(row, at));
  const buttons = el("div", "actions");
  const choose = el("button", "", isChosen ? "Take out of the diagram" : "Add to the diagram");
  choose.setAttribute("aria-pressed", String(isChosen));
  choose.onclick = actions.choose;
  buttons.append(choose);
  if (row && row.parent !== undefined) {
    const up = el("button", "", "Parent");
    up.onclick = () => actions.open(row.parent);
    buttons.append(up);
  }
  parts.push(buttons);
  if (detail) {
    parts.push(...errors(detail), ...letters(detail, id, at), ...diagram(sequence, chosenCount), ...site(detail));
  }
  box.replaceChildren(...parts);
  box.scrollTop = scroll;
}

function facts(row, at) {
  const list = el("dl");
  const add = (name, text) => list.append(el("dt", "", name), el("dd", "", clean(text)));
  add("State", row.status + (row.ended ? ", " + duration(at - row.ended) + " ago" : ""));
  for (const wait of row.waits) add("Waits", wait.what + ", for " + duration(at - wait.since) + " or more");
  const room = row.capacity ? " of " + row.capacity : "";
  const oldest = row.oldest ? ", first " + row.oldest.type + " for " + duration(at - row.oldest.since) : "";
  add("Mailbox", row.length + room + oldest);
  add("Messages", row.received + " received, " + row.sent + " sent" + (row.dropped ? ", " + row.dropped + " lost" : ""));
  if (row.names) add("Names", row.names.join(", "));
  return list;
}

function errors({ errors }) {
  if (errors.length === 0) return [];
  return [el("h3", "", "Error"), ...errors.map(({ text, stack }, i) => {
    const cause = el("div", "cause");
    cause.append(el("p", "", (i === 0 ? "" : "because of ") + clean(text)));
    if (stack.length > 0) cause.append(el("pre", "", stack.slice(0, 8).map(clean).join("\n")));
    return cause;
  })];
}

function letters({ letters }, id, at) {
  const heading = el("h3", "", "Last messages");
  if (letters.length === 0) return [heading, el("p", "what", "None yet.")];
  const list = el("ul", "letters");
  for (const letter of letters.toReversed()) {
    const isOut = letter.from && letter.from.id === id;
    const item = el("li");
    const body = el("span", "body", clean(letter.type) + (letter.kind === "message" ? "" : " " + letter.kind));
    const peer = isOut ? " to " + label(letter.to) : " from " + label(letter.from);
    body.append(el("span", "peer", peer));
    if (letter.dropped) body.append(el("span", "lost", " " + letter.dropped));
    item.append(el("span", "when", duration(at - letter.at)), el("span", "way", isOut ? "→" : "←"), body);
    list.append(item);
  }
  return [heading, list];
}

function site({ site, sites }) {
  const heading = el("h3", "", "Created");
  if (site && site.length > 0) return [heading, el("pre", "", site.map(clean).join("\n"))];
  return [heading, el("p", "what", sites ? "Before this was recorded." : "Not recorded: that is an option of Observer.serve, sites.")];
}

// ------------------------------------------------------------------------------------------------ diagram

function diagram(sequence, chosenCount) {
  const about = chosenCount > 1 ? "between " + chosenCount + " chosen tasklets" : "of this tasklet; add others to see them alone";
  const heading = el("h3", "", "Sequence " + about);
  if (!sequence || sequence.letters.length === 0) return [heading, el("p", "what", "No messages yet.")];
  const frame = el("div", "diagram");
  frame.tabIndex = 0;
  frame.setAttribute("role", "img");
  frame.setAttribute("aria-label", "Sequence diagram; the same as text below");
  frame.append(drawSequence(sequence));
  const text = el("details");
  text.open = diagram.isTextOpen === true;
  text.ontoggle = () => diagram.isTextOpen = text.open;
  const copy = el("button", "", "Copy");
  copy.onclick = () => navigator.clipboard.writeText(sequence.mermaid).then(() => copy.textContent = "Copied");
  text.append(el("summary", "", "As text, for Mermaid"), copy, el("pre", "", sequence.mermaid));
  return [heading, frame, text];
}

function drawSequence({ parties, letters, at }) {
  const LANE = 150, STEP = 30, LEFT = 58, TOP = 44;
  const width = LEFT + LANE * parties.length, height = TOP + STEP * letters.length + 14;
  const root = svg("svg", { width, height, viewBox: "0 0 " + width + " " + height });
  const lane = new Map(parties.map((party, i) => [party ? party.id : undefined, LEFT + LANE * (i + 0.5)]));
  parties.forEach((party) => {
    const x = lane.get(party ? party.id : undefined);
    root.append(svg("line", { class: "life", x1: x, x2: x, y1: 32, y2: height }));
    root.append(svg("rect", { x: x - 66, y: 8, width: 132, height: 24, rx: 6 }));
    root.append(svg("text", { x, y: 24, "text-anchor": "middle" }, short(label(party), 20)));
  });
  letters.forEach((letter, i) => {
    const y = TOP + STEP * i + 20;
    const from = lane.get(letter.from ? letter.from.id : undefined);
    const to = lane.get(letter.to ? letter.to.id : undefined);
    const look = (letter.kind === "message" ? "" : " reply") + (letter.dropped ? " lost" : "");
    const words = clean(letter.type) + (letter.kind === "message" ? "" : " " + letter.kind) + (letter.dropped ? " ✕" : "");
    root.append(svg("text", { class: "soft", x: 8, y: y - 1 }, duration(at - letter.at)));
    if (from === to) {
      root.append(svg("path", { class: "arrow" + look, d: "M" + from + " " + (y - 8) + "h22v10h-15" }));
      root.append(svg("text", { x: from + 28, y }, short(words, 18)));
      root.append(tip(from + 7, y + 2, -1, look));
      return;
    }
    const way = Math.sign(to - from);
    root.append(svg("line", { class: "arrow" + look, x1: from, x2: to - 6 * way, y1: y, y2: y }));
    root.append(tip(to, y, way, look));
    root.append(svg("text", { x: (from + to) / 2, y: y - 5, "text-anchor": "middle" }, short(words, 22)));
  });
  return root;
}

function tip(x, y, way, look) {
  return svg("path", { class: "tip" + look, d: "M" + x + " " + y + "l" + -7 * way + " -4v8z" });
}

function short(text, most) {
  const signs = [...text];
  return signs.length <= most ? text : signs.slice(0, most - 1).join("") + "…";
}
`;
