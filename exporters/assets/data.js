// The profile embedded in the page, as flat arrays: a call tree whose parents come before their children.

class CallTree {
  // `raw` is described in exporters/html.py.
  constructor(raw) {
    this.columns = raw.columns;
    this.strings = raw.strings;
    this.frames = raw.frames;
    this.own = raw.own;
    this.frame = Int32Array.from(raw.nodes.frame);
    this.size = this.frame.length;
    this.parent = new Int32Array(this.size).fill(-1);
    this.depth = new Int32Array(this.size);
    for (let node = 1; node < this.size; node++) {
      this.parent[node] = node - raw.nodes.up[node];
      this.depth[node] = this.depth[this.parent[node]] + 1;
    }
    this.#listChildren();
  }

  name(node) { return this.strings[this.frames.name[this.frame[node]]]; }
  kind(node) { return KINDS[this.frames.kind[this.frame[node]]]; }
  file(node) { return this.strings[this.frames.file[this.frame[node]]]; }
  line(node) { return this.frames.line[this.frame[node]]; }
  inlined(node) { return this.frames.inlined[this.frame[node]] === 1; }

  // Children of a node: children[firstChild[node]] up to children[firstChild[node + 1]].
  #listChildren() {
    this.firstChild = new Int32Array(this.size + 1);
    for (let node = 1; node < this.size; node++) this.firstChild[this.parent[node] + 1]++;
    for (let node = 0; node < this.size; node++) this.firstChild[node + 1] += this.firstChild[node];
    this.children = new Int32Array(Math.max(0, this.size - 1));
    const next = this.firstChild.slice();
    for (let node = 1; node < this.size; node++) this.children[next[this.parent[node]]++] = node;
  }

  // Own and total values of every node: these columns added up, of the groups that are wanted (a flag for each).
  values(columns, wanted) {
    const own = new Float64Array(this.size);
    const { node, group, values } = this.own;
    for (const column of columns) {
      const source = values[column];
      for (let row = 0; row < source.length; row++) if (wanted[group[row]]) own[node[row]] += source[row];
    }
    const total = own.slice();
    for (let node = this.size - 1; node > 0; node--) total[this.parent[node]] += total[node];
    return { own, total };
  }

  // The sum of these columns for each group.
  groupSums(columns, groups) {
    const sums = new Float64Array(groups);
    const { group, values } = this.own;
    for (const column of columns) values[column].forEach((value, row) => { sums[group[row]] += value; });
    return sums;
  }

  // Put the heaviest children first; those of equal weight stay by name.
  sortChildren(total) {
    const heavier = (a, b) => total[b] - total[a] || (this.name(a) < this.name(b) ? -1 : 1);
    for (let node = 0; node < this.size; node++) {
      const start = this.firstChild[node];
      const end = this.firstChild[node + 1];
      if (end - start > 1) this.children.subarray(start, end).sort(heavier);
    }
  }

  // The nodes from the root down to this one.
  path(node) {
    const nodes = [];
    for (; node >= 0; node = this.parent[node]) nodes.push(node);
    return nodes.reverse();
  }

  // One flag a node: does its function or file match? Asked once a frame, not once a node.
  matches(test) {
    const { name, file } = this.frames;
    const hit = name.map((_, frame) => test(this.strings[name[frame]]) || test(this.strings[file[frame]]));
    return Uint8Array.from(this.frame, (frame, node) => (node > 0 && hit[frame] ? 1 : 0));
  }

  // The value below `top` (inclusive) that has a matching call on its path, each part counted once.
  matchedTotal(matches, total, top) {
    const covered = new Uint8Array(this.size);
    let sum = 0;
    for (const node of this.path(top)) covered[top] |= matches[node];
    if (covered[top]) return total[top];
    const inside = new Uint8Array(this.size);
    inside[top] = 1;
    for (let node = top + 1; node < this.size; node++) {
      const parent = this.parent[node];
      if (!inside[parent]) continue;
      inside[node] = 1;
      covered[node] = covered[parent] | matches[node];
      if (covered[node] && !covered[parent]) sum += total[node];
    }
    return sum;
  }
}

// A test of names for what was typed; null where it is empty. Throws SyntaxError for a bad expression.
function searchTest(query, isRegex) {
  if (!query) return null;
  if (isRegex) {
    const expression = new RegExp(query, "iu");
    return (text) => expression.test(text);
  }
  const wanted = query.toLowerCase();
  return (text) => text.toLowerCase().includes(wanted);
}
