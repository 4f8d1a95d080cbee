// What can be shown: time on the CPU, off it, or both; which value of it, and of which processes, threads and states.

const OFF_TYPES = ["off_cpu", "blocked", "runnable", "waits"]; // as offered, the first by default
const WALL = { type: "wall", unit: "nanoseconds" };
const IDLE = "go_idle"; // not waiting for anything, so not shown until asked for
const STATES = {
  sleeping: "waits for an event: input, a lock, a timer",
  uninterruptible: "waits for a disk, or for something else that no signal may interrupt",
  preempted: "could run, but another thread had the CPU",
  stopped: "stopped by a signal or a debugger",
  exited: "has ended",
  go_idle: "parked by Go's scheduler, which has nothing for it to do",
};

// The views that a profile's columns allow, by name. `offered` are columns to choose one of.
function viewsOf(columns, preferred) {
  const place = (name) => columns.findIndex(({ type }) => type === name);
  const off = OFF_TYPES.map(place).filter((column) => column >= 0);
  const on = columns.map((_, column) => column).filter((column) => !off.includes(column));
  const views = {};
  if (on.length > 0) views.on = { offered: on, first: on.includes(preferred) ? preferred : on[0] };
  if (off.length > 0) views.off = { offered: off, first: off[0] };
  if (place("cpu") >= 0 && place("off_cpu") >= 0) views.wall = { offered: [], first: -1, parts: [place("cpu"), place("off_cpu")] };
  return views;
}

// The columns that are added up for what a view draws.
const drawnColumns = (view, column) => view.parts ?? [column];

// A flag for each group: is it of the chosen process, thread and states? -1 stands for all of them.
function wantedGroups(groups, { process, thread, states }) {
  return Uint8Array.from(groups.state, (state, group) =>
    ((process < 0 || groups.process[group] === process) && (thread < 0 || groups.thread[group] === thread) && states[state] ? 1 : 0));
}

// The values of a view: `drawn` decides the widths, `told` is what the tooltip lists, `offShare` is how much of a call's
// time is off the CPU (null where only one kind is shown). `whole` is what shares are of.
function valuesOf(tree, view, column, wanted) {
  const one = (index) => {
    const { own, total } = tree.values([index], wanted);
    return { type: tree.columns[index], own, total, whole: total[0] };
  };
  if (!view.parts) {
    const told = view.offered.map(one);
    return { drawn: told[view.offered.indexOf(column)], told, offShare: null };
  }
  const parts = view.parts.map(one);
  const { own, total } = tree.values(view.parts, wanted);
  const drawn = { type: WALL, own, total, whole: total[0] };
  for (const part of parts) part.whole = drawn.whole;
  const off = parts[1].total;
  return { drawn, told: [drawn, ...parts], offShare: (node) => (total[node] > 0 ? off[node] / total[node] : 0) };
}
