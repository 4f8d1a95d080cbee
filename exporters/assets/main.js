// State and events. What is shown follows from `state`, which the address's fragment keeps, so a view can be shared.

const raw = JSON.parse(byId("profile").textContent);
const tree = new CallTree(raw);
const painter = new Painter(byId("canvas"), tree);
const graph = byId("graph");
const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
const state = { process: -1, column: raw.column, top: 0, query: "", regex: false, flame: false, theme: "auto", focus: -1, hover: -1 };
let values = []; // {own, total} by column, of the chosen process
let rows = [];
let matches = null;

const theme = () => (state.theme === "auto" ? (darkSystem.matches ? "dark" : "light") : state.theme);
const height = () => Math.max(graph.clientHeight, rows.length * ROW);
const rowTop = (depth) => (state.flame ? height() - (depth + 1) * ROW : depth * ROW) - graph.scrollTop;

function draw() {
  painter.draw({ rows, y: rowTop, theme: theme(), matches, focus: state.focus, hover: state.hover, top: state.top });
}

let drawing = 0;
function drawSoon() {
  drawing ||= requestAnimationFrame(() => { drawing = 0; draw(); });
}

// Another process or column: new values, and the heaviest first again.
function chooseValues() {
  values = tree.columns.map((_, column) => tree.values(column, state.process));
  tree.sortChildren(values[state.column].total);
  if (!(values[state.column].total[state.top] > 0)) state.top = 0;
}

function arrange() {
  const width = graph.clientWidth;
  rows = layout(tree, values[state.column].total, state.top, width);
  painter.resize(width, graph.clientHeight);
  byId("extent").style.height = `${height() - graph.clientHeight}px`;
}

function search() {
  const input = byId("query");
  let test = null;
  try {
    test = searchTest(state.query, state.regex);
    input.removeAttribute("aria-invalid");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    input.setAttribute("aria-invalid", "true");
  }
  matches = test && tree.matches(test);
  const { total } = values[state.column];
  const matched = matches ? tree.matchedTotal(matches, total, state.top) : 0;
  const share = `${formatShare(matched, total[state.top])}${state.top ? " of this view" : ""}`;
  if (input.hasAttribute("aria-invalid")) byId("matched").textContent = "not a valid expression";
  else byId("matched").textContent = matches ? `${share}, ${formatValue(matched, tree.columns[state.column])}` : "";
}

// Bring the page in line with the state, the cheapest way: "values" > "view" > "search".
function update(changed) {
  if (changed === "values") chooseValues();
  if (changed !== "search") {
    arrange();
    fillPath(tree, state.top, zoom);
    byId("reset").disabled = state.top === 0;
  }
  search();
  remember();
  draw();
}

function zoom(node) {
  state.top = node;
  state.focus = node;
  showTip(null);
  update("view");
  reveal(node);
}

// Scroll so that a call's row is in sight.
function reveal(node) {
  const edge = rowTop(tree.depth[node]);
  if (edge < 0) graph.scrollTop += edge;
  else if (edge + ROW > graph.clientHeight) graph.scrollTop += edge + ROW - graph.clientHeight;
}

function nodeAt(event) {
  const y = event.offsetY + graph.scrollTop;
  const row = rows[Math.floor((state.flame ? height() - y : y) / ROW)];
  return row && boxAt(row, event.offsetX)?.node;
}

function pointAt(event) {
  const node = nodeAt(event);
  byId("canvas").style.cursor = node === undefined ? "default" : "pointer";
  showTip(node === undefined ? null : describeNode(tree, node, values), event.clientX, event.clientY);
  hover(node ?? -1);
}

function hover(node) {
  if (node === state.hover) return;
  state.hover = node;
  drawSoon();
}

// Move the keyboard's focus: to the caller, the heaviest callee, or along the row.
function move(rowStep, step) {
  const depth = tree.depth[Math.max(0, state.focus)];
  const row = rows[depth];
  const place = row.findIndex((box) => box.node === state.focus);
  if (place < 0) return focusOn(rows[0][0]);
  if (rowStep < 0) return depth > 0 && focusOn(rows[depth - 1].find((box) => box.node === tree.parent[state.focus]));
  if (rowStep > 0) return focusOn(rows[depth + 1]?.find((box) => tree.parent[box.node] === state.focus));
  return focusOn(row[place + step]);
}

function focusOn(box) {
  if (!box) return;
  state.focus = box.node;
  reveal(box.node);
  draw();
  const frame = byId("canvas").getBoundingClientRect();
  showTip(describeNode(tree, box.node, values), frame.left + box.x, state.flame ? frame.top : frame.bottom);
  byId("spoken").textContent = speakNode(tree, box.node, values[state.column], state.column);
}

const down = () => (state.flame ? -1 : 1);
const KEYS = {
  ArrowDown: () => move(down(), 0),
  ArrowUp: () => move(-down(), 0),
  ArrowLeft: () => move(0, -1),
  ArrowRight: () => move(0, 1),
  Home: () => focusOn(rows[0][0]),
  Enter: () => state.focus >= 0 && zoom(state.focus),
  Backspace: () => state.top > 0 && zoom(tree.parent[state.top]),
  Escape: () => zoom(0),
};

function setQuery(text) {
  state.query = text;
  byId("query").value = text;
  update("search");
}

// Pressed anywhere: `/` goes to the search; Escape leaves it, empties it, or resets the zoom.
function pressedAnywhere(event) {
  const typing = event.target === byId("query");
  if (event.key === "/" && !typing) byId("query").select();
  else if (event.key === "Escape" && typing && state.query) setQuery("");
  else if (event.key === "Escape" && event.target !== byId("canvas")) typing ? byId("canvas").focus() : zoom(0);
  else return;
  event.preventDefault();
}

function toggleAbout() {
  const about = byId("about");
  about.hidden = !about.hidden;
  for (const id of ["loss", "more"]) byId(id).setAttribute("aria-expanded", String(!about.hidden));
}

function applyTheme() {
  document.documentElement.dataset.theme = theme();
  byId("theme").textContent = theme() === "dark" ? "Light" : "Dark";
  fillLegend(tree, theme());
}

function switchTheme() {
  state.theme = theme() === "dark" ? "light" : "dark";
  applyTheme();
  remember();
  draw();
}

function applyFlame() {
  byId("flame").setAttribute("aria-pressed", String(state.flame));
  graph.scrollTop = state.flame ? graph.scrollHeight : 0;
}

// The state in the fragment; what is as by default is left out.
function remember() {
  const { process, column, top, query, regex, flame } = state;
  const kept = { process: process >= 0 ? process : "", column: column === raw.column ? "" : column, zoom: top || "", q: query,
    regex: regex ? 1 : "", flame: flame ? 1 : "", theme: state.theme === "auto" ? "" : state.theme };
  const fragment = new URLSearchParams(Object.entries(kept).filter(([, value]) => value !== "")).toString();
  history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
}

// The state from the fragment; what is not an index of ours is ignored.
function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const index = (name, limit, otherwise) => {
    const number = kept.get(name) === null ? NaN : Number(kept.get(name));
    return Number.isInteger(number) && number >= 0 && number < limit ? number : otherwise;
  };
  state.process = index("process", raw.processes.length, -1);
  state.column = index("column", tree.columns.length, raw.column);
  state.top = index("zoom", tree.size, 0);
  state.query = kept.get("q") ?? "";
  state.regex = kept.get("regex") === "1";
  state.flame = kept.get("flame") === "1";
  state.theme = ["light", "dark"].includes(kept.get("theme")) ? kept.get("theme") : "auto";
}

function fillControls() {
  const option = (value, text) => element("option", { value: String(value) }, text);
  const all = tree.values(raw.column, -1).total[0];
  const processes = raw.processes.map((text, index) => ({ text, index, total: tree.values(raw.column, index).total[0] }));
  processes.sort((a, b) => b.total - a.total || a.index - b.index);
  const options = processes.map(({ text, index, total }) => option(index, `${text}: ${formatShare(total, all)}`));
  byId("process").replaceChildren(option(-1, `all (${options.length})`), ...options);
  byId("column").replaceChildren(...tree.columns.map((type, index) => option(index, columnName(type))));
  byId("process").value = String(state.process);
  byId("column").value = String(state.column);
  byId("query").value = state.query;
  byId("regex").checked = state.regex;
}

function listen() {
  const on = (id, type, action) => byId(id).addEventListener(type, action);
  on("controls", "submit", (event) => event.preventDefault());
  on("process", "change", (event) => { state.process = Number(event.target.value); update("values"); });
  on("column", "change", (event) => { state.column = Number(event.target.value); update("values"); });
  on("query", "input", (event) => setQuery(event.target.value));
  on("regex", "change", (event) => { state.regex = event.target.checked; update("search"); });
  on("flame", "click", () => { state.flame = !state.flame; update("view"); applyFlame(); });
  on("reset", "click", () => zoom(0));
  on("theme", "click", switchTheme);
  on("loss", "click", toggleAbout);
  on("more", "click", toggleAbout);
  on("canvas", "click", (event) => { const node = nodeAt(event); if (node !== undefined) zoom(node); });
  on("canvas", "mousemove", pointAt);
  on("canvas", "mouseleave", () => { showTip(null); hover(-1); });
  on("canvas", "blur", () => showTip(null));
  on("canvas", "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  on("graph", "scroll", drawSoon);
  document.addEventListener("keydown", pressedAnywhere);
  darkSystem.addEventListener("change", () => { applyTheme(); draw(); });
  new ResizeObserver(() => { arrange(); draw(); }).observe(graph);
}

function start() {
  recall();
  fillControls();
  const samples = tree.columns.findIndex(({ type }) => type === "samples");
  fillHeader(raw, samples < 0 ? 0 : tree.values(samples, -1).total[0]);
  fillAbout(raw);
  applyTheme();
  update("values");
  applyFlame();
  draw();
  listen();
  document.documentElement.dataset.ready = String(tree.size);
}

start();
