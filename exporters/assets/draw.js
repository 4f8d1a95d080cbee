// Painting boxes. Names come from other people's binaries: they are only ever drawn or set as text content.

const ROW = 20; // CSS pixels
const FONT = '12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';
const SHADES = 12;

// In the order in which exporters/html.py numbers them.
const KINDS = ["go", "native", "kernel", "jit", "marker", "group"];

// The kinds first; then what was searched, and what tells time on the CPU from time off it where both are shown: warm and
// cold, as in hot/cold flame graphs. Hue and chroma in OKLCH, where equal lightness looks equally light whatever the hue:
// so one text colour is legible on all of them.
const PALETTE = {
  go: { label: "Go", hue: 200, chroma: 0.05 },
  native: { label: "native", hue: 285, chroma: 0.055 },
  kernel: { label: "kernel", hue: 45, chroma: 0.06 },
  jit: { label: "JIT", hue: 145, chroma: 0.06 },
  marker: { label: "marker: not code", hue: 95, chroma: 0.11 },
  group: { label: "process, thread", hue: 255, chroma: 0.01 },
  match: { label: "search match", hue: 345, chroma: 0.12 },
  on: { label: "on CPU", hue: 50, chroma: 0.085 },
  off: { label: "off CPU", hue: 250, chroma: 0.085 },
};
const [MATCH, ON, OFF] = ["match", "on", "off"].map((name) => Object.keys(PALETTE).indexOf(name));
const THEMES = {
  light: { lightness: 0.83, step: 0.028, text: "#14171b", dim: "#e9ebee", dimText: "#57606a", outline: "#14171b" },
  dark: { lightness: 0.37, step: 0.03, text: "#f2f4f7", dim: "#23282f", dimText: "#a0a8b3", outline: "#ffffff" },
};

// One of a kind's shades: neighbours differ a little in hue and lightness, a function always looks the same.
function shadeOf(kind, theme, shade) {
  const { hue, chroma } = PALETTE[kind];
  const { lightness, step } = THEMES[theme];
  return `oklch(${(lightness + (shade % 3) * step).toFixed(3)} ${chroma} ${hue + Math.floor(shade / 3) * 6 - 9})`;
}

function hash(text) {
  let value = 0;
  for (let index = 0; index < text.length; index++) value = (value * 31 + text.charCodeAt(index)) | 0;
  return value >>> 0;
}

// The name, or what of it is most telling in `room` characters: without its import path, then cut.
function fitted(name, room) {
  if (name.length <= room) return name;
  const short = name.replace(/^[^\s[({<]*\//, "");
  if (short.length <= room) return short;
  return room < 4 ? "" : `${short.slice(0, room - 1)}…`;
}

class Painter {
  constructor(canvas, tree) {
    this.canvas = canvas;
    this.tree = tree;
    this.context = canvas.getContext("2d");
    this.shades = Uint8Array.from(tree.frames.name, (name) => hash(tree.strings[name]) % SHADES);
    this.fills = {}; // by theme, then by place in PALETTE, then by shade
    for (const theme of Object.keys(THEMES)) {
      this.fills[theme] = Object.keys(PALETTE).map((kind) => Array.from({ length: SHADES }, (_, shade) => shadeOf(kind, theme, shade)));
    }
  }

  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  // Draw the rows that are visible. `y(depth)` is a row's top edge; `matches` is null when nothing is searched, `offShare`
  // (of a node) when time on the CPU and off it are not to be told apart.
  draw({ rows, y, theme, matches, offShare, focus, hover, top }) {
    const { context, tree, shades } = this;
    const colours = THEMES[theme];
    const fills = this.fills[theme];
    context.clearRect(0, 0, this.width, this.height);
    context.textBaseline = "middle";
    context.font = FONT;
    const letter = context.measureText("m").width;
    for (let depth = 0; depth < rows.length; depth++) {
      const edge = y(depth);
      if (edge > this.height || edge + ROW < 0) continue;
      context.globalAlpha = depth < tree.depth[top] ? 0.7 : 1; // callers of what is zoomed
      for (const { node, x, width } of rows[depth]) {
        const dimmed = matches !== null && !matches[node];
        const frame = tree.frame[node];
        const kind = matches !== null ? MATCH : offShare !== null ? ON : tree.frames.kind[frame];
        const filled = width > 3 ? width - 1 : width;
        context.fillStyle = dimmed ? colours.dim : fills[kind][shades[frame]];
        context.fillRect(x, edge, filled, ROW - 1);
        if (kind === ON) {
          // On the left, where callees are: waits end in one (schedule), while a call's own time is time on the CPU.
          context.fillStyle = fills[OFF][shades[frame]];
          context.fillRect(x, edge, filled * offShare(node), ROW - 1);
        }
        if (node === focus || node === hover) {
          context.strokeStyle = colours.outline;
          context.lineWidth = node === focus ? 2 : 1;
          context.strokeRect(x + 1, edge + 1, Math.max(1, width - 3), ROW - 3);
        }
        if (width < 28) continue;
        const text = fitted(tree.name(node), Math.floor((width - 9) / letter));
        context.fillStyle = dimmed ? colours.dimText : colours.text;
        context.font = tree.inlined(node) ? `italic ${FONT}` : FONT;
        // The limit squeezes letters wider than those of the font (CJK, emoji) into the box.
        if (text) context.fillText(text, x + 4, edge + ROW / 2, width - 8);
      }
    }
  }
}
