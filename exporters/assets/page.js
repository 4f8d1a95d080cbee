// The page around the graph: texts, numbers, the details panel and the tooltip.

const byId = (id) => document.getElementById(id);

// A new element; strings become text, never markup.
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const SCALES = { nanoseconds: [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]], bytes: [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]] };

// A value with its unit: 1,234 samples; 1.23 s.
function formatValue(value, { type, unit }) {
  const scales = SCALES[unit];
  if (value === 0) return "0";
  if (!scales) return `${value.toLocaleString("en")} ${unit === "count" ? type : unit}`;
  const [size, name] = scales.find(([limit]) => Math.abs(value) >= limit) ?? scales.at(-1);
  return `${(value / size).toLocaleString("en", { maximumFractionDigits: size > 1 ? 2 : 0 })} ${name}`;
}

// What a column is called: samples; cpu time; off-CPU time; blocked.
const NAMES = { off_cpu: "off-CPU time", blocked: "blocked", runnable: "runnable" };
const columnName = ({ type, unit }) => NAMES[type] ?? (unit === "nanoseconds" ? `${type} time` : type);

function formatShare(part, whole) {
  if (!(whole > 0)) return "–";
  const percent = (100 * part) / whole;
  return `${percent.toFixed(percent > 0 && percent < 0.1 ? 3 : 1)} %`;
}

// Samples lost, and what else was noted, over all causes.
function lossTotals(losses) {
  const sum = (dropped) => losses.reduce((all, loss) => all + (loss.dropped === dropped ? loss.samples : 0), 0);
  return { lost: sum(true), partial: sum(false) };
}

function fillHeader(raw, samples) {
  byId("target").textContent = raw.target;
  byId("facts").textContent = raw.summary.join(" · ");
  const { lost, partial } = lossTotals(raw.losses);
  const parts = [];
  if (lost) parts.push(`${lost.toLocaleString("en")} samples lost (${formatShare(lost, lost + samples)})`);
  if (partial && partial * 100 >= samples) parts.push(`${partial.toLocaleString("en")} noted (${formatShare(partial, samples)})`);
  byId("loss").textContent = parts.join(", ") || "no samples lost";
  byId("loss").classList.toggle("warn", parts.length > 0);
}

function fillAbout(raw) {
  const list = element("dl", {});
  const row = (name, text) => list.append(element("dt", {}, name), element("dd", {}, text));
  for (const [name, text] of raw.facts) row(name, text);
  for (const loss of raw.losses) row(loss.dropped ? "lost" : "noted", loss.text);
  if (raw.losses.length === 0) row("lost", "nothing");
  for (const comment of raw.comments) row("note", comment);
  byId("about").append(list);
}

// The colours of the graph: of kinds of code or, where time on the CPU and off it are told apart, of these.
function fillLegend(tree, theme, hotCold) {
  const seen = new Set(tree.frames.kind);
  const names = hotCold ? ["on", "off"] : KINDS.filter((_, index) => seen.has(index));
  const items = [...names, "match"].map((name) => {
    const swatch = element("i", {});
    swatch.style.background = shadeOf(name, theme, 5);
    return element("li", {}, swatch, PALETTE[name].label);
  });
  byId("legend").replaceChildren(...items);
}

function whereOf(tree, node) {
  const file = tree.file(node);
  const place = file && tree.line(node) ? `${file}:${tree.line(node)}` : file;
  return [place, PALETTE[tree.kind(node)].label, tree.inlined(node) ? "inlined" : ""].filter(Boolean).join(" · ");
}

// What the tooltip says of a call, a row for each of the values told: {type, own, total, whole}.
function describeNode(tree, node, told) {
  const rows = told.map(({ type, own, total, whole }) => {
    const cell = (part) => element("td", {}, `${formatValue(part[node], type)}  (${formatShare(part[node], whole)})`);
    return element("tr", {}, element("th", {}, columnName(type)), cell(total), cell(own));
  });
  const head = element("tr", {}, ...["", "total", "self"].map((text) => element("th", {}, text)));
  const name = element("strong", {}, tree.name(node));
  return [name, element("span", { className: "where" }, whereOf(tree, node)), element("table", {}, head, ...rows)];
}

function speakNode(tree, node, { type, own, total }) {
  return `${tree.name(node)}, ${formatShare(total[node], total[0])} total, ${formatValue(own[node], type)} self`;
}

// Show the tooltip beside a point of the window, or hide it (no content).
function showTip(content, x, y) {
  const tip = byId("tip");
  tip.hidden = !content;
  if (!content) return;
  tip.replaceChildren(...content);
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, window.innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height < window.innerHeight ? y + 18 : Math.max(4, y - height - 8)}px`;
}

// The zoomed path as buttons; long ones keep their ends.
function fillPath(tree, top, onPick) {
  const path = tree.path(top);
  const shown = path.length > 7 ? [...path.slice(0, 3), -1, ...path.slice(-3)] : path;
  const parts = shown.flatMap((node, index) => {
    const label = node < 0 ? element("span", {}, "…") : element("button", { type: "button", title: tree.name(node) }, fitted(tree.name(node), 60));
    if (node >= 0) label.addEventListener("click", () => onPick(node));
    return index ? [element("span", {}, "›"), label] : [label];
  });
  byId("path").replaceChildren(...parts);
}
