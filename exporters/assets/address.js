// The state in the address's fragment, so that a view can be kept or shared. What is as by default is left out.

const defaultStates = (raw) => raw.states.map((name) => name !== IDLE);

function defaultView(views, column) {
  return Object.keys(views).find((name) => views[name].offered.includes(column));
}

function remember(raw, views, state) {
  const { process, thread, view, column, states, top, query, regex, flame } = state;
  const shown = raw.states.filter((_, index) => index > 0 && states[index]).join(",") || "none";
  const usual = defaultStates(raw).every((value, index) => value === states[index]);
  const kept = { process: process >= 0 ? process : "", thread: thread >= 0 ? thread : "",
    view: view === defaultView(views, raw.column) ? "" : view, column: column === views[view].first ? "" : column,
    states: usual ? "" : shown, zoom: top || "", q: query, regex: regex ? 1 : "", flame: flame ? 1 : "",
    theme: state.theme === "auto" ? "" : state.theme };
  const fragment = new URLSearchParams(Object.entries(kept).filter(([, value]) => value !== "")).toString();
  history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
}

// What the fragment says; what is not a name or an index of ours is ignored.
function recall(raw, views, nodes) {
  const kept = new URLSearchParams(location.hash.slice(1));
  const index = (name, limit, otherwise) => {
    const number = kept.get(name) === null ? NaN : Number(kept.get(name));
    return Number.isInteger(number) && number >= 0 && number < limit ? number : otherwise;
  };
  const view = Object.hasOwn(views, kept.get("view")) ? kept.get("view") : defaultView(views, raw.column);
  const column = index("column", raw.columns.length, -1);
  const process = index("process", raw.processes.length, -1);
  const thread = index("thread", raw.threads.text.length, -1);
  const shown = kept.get("states")?.split(",");
  return {
    view, process,
    column: views[view].offered.includes(column) ? column : views[view].first,
    thread: thread >= 0 && [-1, raw.threads.process[thread]].includes(process) ? thread : -1,
    states: shown ? raw.states.map((name) => name === "" || shown.includes(name)) : defaultStates(raw),
    top: index("zoom", nodes, 0),
    query: kept.get("q") ?? "",
    regex: kept.get("regex") === "1",
    flame: kept.get("flame") === "1",
    theme: ["light", "dark"].includes(kept.get("theme")) ? kept.get("theme") : "auto",
    focus: -1, hover: -1,
  };
}
