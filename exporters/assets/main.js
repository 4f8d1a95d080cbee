// State and events. What is shown follows from `state`, which the address's fragment keeps, so a view can be shared.

const raw = JSON.parse(byId("profile").textContent);
const tree = new CallTree(raw);
const views = viewsOf(raw.columns, raw.column);
const painter = new Painter(byId("canvas"), tree);
const graph = byId("graph");
const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
const state = recall(raw, views, tree.size);
let values; // of valuesOf: what is drawn and what is told
let rows = [];
let matches = null;

const theme = () => (state.theme === "auto" ? (darkSystem.matches ? "dark" : "light") : state.theme);
const height = () => Math.max(graph.clientHeight, rows.length * ROW);
const rowTop = (depth) => (state.flame ? height() - (depth + 1) * ROW : depth * ROW) - graph.scrollTop;

function draw() {
  const { focus, hover, top } = state;
  painter.draw({ rows, y: rowTop, theme: theme(), matches, offShare: values.offShare, focus, hover, top });
}

let drawing = 0;
function drawSoon() {
  drawing ||= requestAnimationFrame(() => { drawing = 0; draw(); });
}

// Another view, value, process, thread or state: new values, and the heaviest first again.
function chooseValues() {
  values = valuesOf(tree, views[state.view], state.column, wantedGroups(raw.groups, state));
  const { total } = values.drawn;
  tree.sortChildren(total);
  if (!(total[state.top] > 0)) state.top = 0;
}

// The controls show what can be chosen now. The one that was just used is left as it is.
function updateControls(used) {
  const sums = tree.groupSums(drawnColumns(views[state.view], state.column), raw.groups.state.length);
  if (used !== "process" && used !== "thread") fillProcesses(raw, sums, state);
  if (used !== "thread") fillThreads(raw, sums, state);
  if (used !== "column") fillViews(views, tree.columns, state);
  updateStates(raw, sums, values.drawn.type, state);
  fillLegend(tree, theme(), values.offShare !== null);
}

function choose(name, value) {
  state[name] = value;
  if (name === "process") state.thread = -1;
  if (name === "view") state.column = views[value].first;
  showTip(null);
  update("values");
  updateControls(name);
}

function arrange() {
  const width = graph.clientWidth;
  rows = layout(tree, values.drawn.total, state.top, width);
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
  const { total, type } = values.drawn;
  const matched = matches ? tree.matchedTotal(matches, total, state.top) : 0;
  const share = `${formatShare(matched, total[state.top])}${state.top ? " of this view" : ""}`;
  if (input.hasAttribute("aria-invalid")) byId("matched").textContent = "not a valid expression";
  else byId("matched").textContent = matches ? `${share}, ${formatValue(matched, type)}` : "";
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
  remember(raw, views, state);
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
  showTip(node === undefined ? null : describeNode(tree, node, values.told), event.clientX, event.clientY);
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
  const row = rows[depth] ?? []; // what had the focus may not be shown any more
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
  showTip(describeNode(tree, box.node, values.told), frame.left + box.x, state.flame ? frame.top : frame.bottom);
  byId("spoken").textContent = speakNode(tree, box.node, values.drawn);
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
  fillLegend(tree, theme(), values.offShare !== null);
}

function switchTheme() {
  state.theme = theme() === "dark" ? "light" : "dark";
  applyTheme();
  remember(raw, views, state);
  draw();
}

function applyFlame() {
  byId("flame").setAttribute("aria-pressed", String(state.flame));
  graph.scrollTop = state.flame ? graph.scrollHeight : 0;
}

function listen() {
  const on = (id, type, action) => byId(id).addEventListener(type, action);
  on("controls", "submit", (event) => event.preventDefault());
  for (const name of ["process", "thread", "column"]) on(name, "change", (event) => choose(name, Number(event.target.value)));
  for (const button of byId("views").children) button.addEventListener("click", () => choose("view", button.value));
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
  byId("query").value = state.query;
  byId("regex").checked = state.regex;
  const counts = tree.columns.map(({ unit }, column) => (unit === "count" ? column : -1)).filter((column) => column >= 0);
  fillHeader(raw, tree.groupSums(counts, raw.groups.state.length).reduce((sum, value) => sum + value, 0));
  fillAbout(raw);
  fillStates(raw, (index, shown) => choose("states", state.states.with(index, shown)));
  update("values");
  updateControls();
  applyTheme();
  applyFlame();
  draw();
  listen();
  document.documentElement.dataset.ready = String(tree.size);
}

start();
