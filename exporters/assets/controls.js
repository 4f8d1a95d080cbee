// The controls above the graph: which process, thread, view, value and states. They show the state and change nothing.

const option = (value, text) => element("option", { value: String(value) }, text);

// Options for each of `texts`, the heaviest first, each with its share; `keep` says which are offered.
function weightedOptions(texts, sums, keep) {
  const all = sums.reduce((sum, value) => sum + value, 0);
  const entries = texts.map((text, index) => ({ text, index, sum: sums[index] })).filter(({ index }) => keep(index));
  entries.sort((a, b) => b.sum - a.sum || a.index - b.index);
  return entries.map(({ text, index, sum }) => option(index, `${text}: ${formatShare(sum, all)}`));
}

// The sums of wanted groups by process, thread or state.
function sumsBy(key, length, groups, groupSums, wanted) {
  const sums = new Array(length).fill(0);
  groups[key].forEach((index, group) => { if (index >= 0 && wanted[group]) sums[index] += groupSums[group]; });
  return sums;
}

function fillProcesses(raw, groupSums, state) {
  const wanted = wantedGroups(raw.groups, { ...state, process: -1, thread: -1 });
  const sums = sumsBy("process", raw.processes.length, raw.groups, groupSums, wanted);
  const options = weightedOptions(raw.processes, sums, () => true);
  byId("process").replaceChildren(option(-1, `all (${options.length})`), ...options);
  byId("process").value = String(state.process);
}

// The threads of the chosen process; of all of them where none is chosen, each with its process then.
function fillThreads(raw, groupSums, state) {
  const { text, process } = raw.threads;
  byId("thread").parentElement.hidden = text.length === 0;
  const wanted = wantedGroups(raw.groups, { ...state, thread: -1 });
  const sums = sumsBy("thread", text.length, raw.groups, groupSums, wanted);
  const texts = state.process < 0 ? text.map((thread, index) => `${thread} of ${raw.processes[process[index]]}`) : text;
  const options = weightedOptions(texts, sums, (index) => state.process < 0 || process[index] === state.process);
  byId("thread").replaceChildren(option(-1, `all (${options.length})`), ...options);
  byId("thread").value = String(state.thread);
}

function fillViews(views, columns, state) {
  const offered = views[state.view].offered;
  byId("views").hidden = Object.keys(views).length < 2;
  for (const button of byId("views").children) {
    button.hidden = !(button.value in views);
    button.setAttribute("aria-pressed", String(button.value === state.view));
  }
  byId("column").parentElement.hidden = offered.length < 2;
  byId("column").replaceChildren(...offered.map((index) => option(index, columnName(columns[index]))));
  byId("column").value = String(state.column);
}

// A box to tick for each state of threads off the CPU or of goroutines, with the time (or what is shown of it) spent in it.
function fillStates(raw, onChange) {
  const boxes = raw.states.map((name, index) => {
    const input = element("input", { type: "checkbox", value: String(index) });
    input.addEventListener("change", () => onChange(index, input.checked));
    return element("label", { className: "check", title: STATES[name] ?? "" }, input, ` ${name.replaceAll("_", " ")} `, element("b", {}));
  });
  const known = Object.keys(STATES);
  const place = (index) => (known.indexOf(raw.states[index]) + 1 || known.length + 1);
  const order = raw.states.map((_, index) => index).slice(1).sort((a, b) => place(a) - place(b)); // the first is the CPU
  byId("states").replaceChildren(...order.map((index) => boxes[index]));
}

function updateStates(raw, groupSums, type, state) {
  const wanted = wantedGroups(raw.groups, { ...state, states: raw.states.map(() => true) });
  const sums = sumsBy("state", raw.states.length, raw.groups, groupSums, wanted);
  byId("states").hidden = raw.states.length < 2 || (state.view === "on" && !sums.some((sum, index) => index > 0 && sum > 0));
  for (const label of byId("states").children) {
    const index = Number(label.firstChild.value);
    label.firstChild.checked = state.states[index];
    label.lastChild.textContent = formatValue(sums[index], type);
  }
}
